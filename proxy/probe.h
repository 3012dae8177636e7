/* Asks the MTAs what they offer, so that the first client's EHLO can be answered: at start, again
 * and again while one is away, and now and then after that. Worker 0 does it for all. */
#ifndef VESTIBULE_PROXY_PROBE_H
#define VESTIBULE_PROXY_PROBE_H

#include "proxy/worker.h"

struct probe;

/* NULL: out of memory; what the MTAs offer is then learnt from the first message. */
struct probe *probe_start(struct worker *w);

/* Has every MTA answered, or failed to, once? */
bool probe_settled(const struct probe *p);
void probe_stop(struct probe *p);

#endif
