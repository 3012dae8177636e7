/* What no single value can tell: do the parts of a configuration fit together? Pure. */
#ifndef VESTIBULE_CONF_CONF_CROSS_H
#define VESTIBULE_CONF_CONF_CROSS_H

#include "conf/conf_build.h"

/* Resolves which upstream each listener uses and its lowest TLS version, then checks the whole.
 * Keys whose value was wrong have none. */
void conf_cross_check(struct conf_build *b);

/* Would a socket listening on one keep another from listening on the other? By text: names are not
 * looked up. */
bool conf_cross_overlap(const struct conf_address *a, const struct conf_address *b);

#endif
