/* `vestibule check` and what TLS is made of: certificates, their keys, dates and names, the
 * settings, ticket keys. */
#ifndef VESTIBULE_PROXY_CHECK_CERTIFICATE_H
#define VESTIBULE_PROXY_CHECK_CERTIFICATE_H

#include "conf/conf.h"
#include "proxy/check_report.h"

void check_certificates(struct check_report *r, const struct conf *conf);
void check_tickets(struct check_report *r, const struct conf *conf);

#endif
