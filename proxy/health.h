/* `vestibule health`: asks the running service, as a client would, whether it answers. For
 * containers and watchdogs. */
#ifndef VESTIBULE_PROXY_HEALTH_H
#define VESTIBULE_PROXY_HEALTH_H

#include <stdio.h>

#include "conf/conf.h"

/* Every listener's first address: a 220 banner in plaintext, or a TLS handshake and the banner
 * inside it. 0 all well; 1 one sentence on `out` for each that is not. Takes a few seconds at most.
 */
int health_run(const struct conf *conf, FILE *out);

#endif
