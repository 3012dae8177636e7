/* The vault's word on senders and recipients ([policy]): is the address one of the login's, and is
 * the login within its quota? Counts live in the vault, so they hold over all listeners, workers
 * and reloads. */
#ifndef VESTIBULE_PROXY_PERMIT_H
#define VESTIBULE_PROXY_PERMIT_H

#include <stdint.h>

#include "proxy/channel.h"
#include "proxy/edition.h"

struct permits;

struct permits *permits_new(void); /* NULL: out of memory */
void permits_free(struct permits *p);

/* At start and after a reload: what was counted stays where the period stays. */
void permits_measure(struct permits *p, const struct conf_policy *policy);

/* Judges a CHANNEL_PERMIT of a front that runs with `e`. */
enum channel_permission permits_judge(struct permits *p, struct edition *e,
                                      const struct channel_frame *question, uint64_t now_ms);

#endif
