/* `vestibule check`: looks at what the configuration names, as the service would meet it, and says
 * what it found: one line a finding, `ok`, `warning` or `problem`, each with what to do. Where the
 * service runs, it comes to the door as a stranger and tries to get in. It changes nothing, sends
 * no mail, and may run beside the service. */
#ifndef VESTIBULE_PROXY_CHECK_H
#define VESTIBULE_PROXY_CHECK_H

#include <stdio.h>

#include "conf/conf.h"

/* Blocks, at most about the connect timeout and half a minute for each address of an MTA, and about
 * a minute for each listener that answers. Ignores SIGPIPE from then on. 0: nothing worse than
 * warnings; 1: a problem. */
int check_run(const struct conf *conf, FILE *out);

#endif
