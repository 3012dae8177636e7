/* `vestibule check` and the way round the door: does the MTA answer where strangers can reach it,
 * and could somebody else take its place. */
#ifndef VESTIBULE_PROXY_CHECK_EXPOSURE_H
#define VESTIBULE_PROXY_CHECK_EXPOSURE_H

#include "conf/conf.h"
#include "proxy/check_report.h"

/* Of an MTA on this host; what another host lets in cannot be seen from here. */
void check_exposure(struct check_report *r, const struct conf *conf, const struct conf_upstream *u);

#endif
