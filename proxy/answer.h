/* The vault's work for the fronts: signatures and verdicts. ECDSA is signed at once, RSA and
 * password hashes go to the thread pool; the queue for passwords is bounded, and a refusal waits as
 * long as the throttle says. */
#ifndef VESTIBULE_PROXY_ANSWER_H
#define VESTIBULE_PROXY_ANSWER_H

#include <uv.h>

#include "proxy/channel.h"
#include "proxy/edition.h"
#include "proxy/link.h"

#define ANSWER_WAITING_MAX \
    64 /* passwords in line; one more gets "unavailable" (454), never a wait without end */

struct answers;

/* `parallel` password checks at once; the thread pool must be larger, so that signatures find a
 * thread. */
struct answers *answers_new(uv_loop_t *loop, unsigned parallel);
/* Drops the refusals that wait for their time, so that the loop can end. */
void answers_stop(struct answers *a);
void answers_free(struct answers *a); /* nothing is under way any more */

/* failure_delay, at start and after a reload. */
void answers_failure_delay(struct answers *a, uint64_t milliseconds);

/* Takes a CHANNEL_SIGN, CHANNEL_VERIFY or CHANNEL_CANCEL. The answer goes over the link, if that
 * still stands. */
void answers_take(struct answers *a, struct link *l, struct edition *e,
                  const struct channel_frame *question);

#endif
