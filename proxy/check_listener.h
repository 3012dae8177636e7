/* `vestibule check` and one listener: does it answer, or could it be opened; and where it answers,
 * what it lets in. */
#ifndef VESTIBULE_PROXY_CHECK_LISTENER_H
#define VESTIBULE_PROXY_CHECK_LISTENER_H

#include <stdbool.h>

#include "conf/conf.h"
#include "proxy/check_report.h"

/* Every address; the first that greets is looked at in full. False: none does. */
bool check_listener(struct check_report *r, const struct conf *conf, const struct conf_listener *l);

#endif
