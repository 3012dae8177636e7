/* `vestibule check` and TLS at the door: what must not get in before it, beside it or below it. */
#ifndef VESTIBULE_PROXY_CHECK_TLS_H
#define VESTIBULE_PROXY_CHECK_TLS_H

#include "proxy/check_door.h"
#include "proxy/check_report.h"

/* STARTTLS injection, AUTH in clear, versions below min_version, another application protocol: as
 * far as they go with the listener, a line each. */
void check_tls(struct check_report *r, const struct check_door *d);

#endif
