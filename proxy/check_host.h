/* `vestibule check` and the host: the account that the service becomes, what that may read and
 * write, the backends, the log. */
#ifndef VESTIBULE_PROXY_CHECK_HOST_H
#define VESTIBULE_PROXY_CHECK_HOST_H

#include "conf/conf.h"
#include "proxy/check_report.h"

void check_account(struct check_report *r, const struct conf *conf);
void check_backends(struct check_report *r, const struct conf *conf);
void check_log(struct check_report *r, const struct conf *conf);

/* As the service would, with its rights: a child of ours gives up the same. */
void check_files(struct check_report *r, const struct conf *conf);

#endif
