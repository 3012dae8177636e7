/* What the MTAs offered, kept in state_dir over restarts, so that a first client's EHLO is answered
 * in full even while the MTA is away. One small file for each upstream, in the words of SMTP: the
 * MTA's address, then what it offered. */
#ifndef VESTIBULE_PROXY_LEARNT_H
#define VESTIBULE_PROXY_LEARNT_H

#include <stdbool.h>

#include "conf/conf.h"
#include "proxy/capabilities.h"

/* Nothing known (out->known false) when there is no file, or it is another address's, or makes no
 * sense. */
void learnt_load(struct capabilities *out, const char *state_dir,
                 const struct conf_upstream *upstream);

/* Written beside and renamed. False with errno. */
bool learnt_save(const char *state_dir, const struct conf_upstream *upstream,
                 const struct capabilities *c);

#endif
