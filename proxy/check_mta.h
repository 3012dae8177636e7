/* `vestibule check` at the MTA's door: connects, says EHLO, reads what it offers, and leaves. */
#ifndef VESTIBULE_PROXY_CHECK_MTA_H
#define VESTIBULE_PROXY_CHECK_MTA_H

#include "conf/conf.h"
#include "proxy/check_report.h"

/* Every address of one upstream in turn. */
void check_mta(struct check_report *r, const struct conf *conf, const struct conf_upstream *u);

#endif
