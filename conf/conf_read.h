/* Text and environment -> configuration, without the facts about this host that defaults stand for.
 */
#ifndef VESTIBULE_CONF_CONF_READ_H
#define VESTIBULE_CONF_CONF_READ_H

#include "conf/conf.h"

/* As conf_parse, but hostname and user stay NULL and workers 0 where nobody gives them. Pure. */
struct conf *conf_read(const char *text, size_t len, const char *name, char *const *environment,
                       struct conf_errors *errors);

#endif
