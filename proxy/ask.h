/* `vestibule status`: asks the running service over its control socket. */
#ifndef VESTIBULE_PROXY_ASK_H
#define VESTIBULE_PROXY_ASK_H

#include <stdbool.h>
#include <stdio.h>

#include "conf/conf.h"

/* The control socket of a configuration; false: its path is too long for `out`. */
bool ask_path(char *out, size_t cap, const struct conf *conf);

/* How the service does, for a person or (`json`) a program. 0, or 1 and a sentence on standard
 * error: it does not run, or we may not ask. Takes a few seconds at most. */
int ask_status(const struct conf *conf, bool json, FILE *out);

/* Lifts the lock-outs of a login or a network, or ("passwords") of passwords. 0; 1 and a sentence:
 * there is none. */
int ask_lift(const struct conf *conf, const char *name, FILE *out);

#endif
