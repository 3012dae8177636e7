/* Questions of a backend that wait for an answer from elsewhere, each for BACKEND_REPLY_MS at most.
 * A driver.
 *
 * Also those whose answer is known at once: backend_ops.ask must not give it from inside. They need
 * no memory of their own, so that one that finds none is answered like any other. */
#ifndef VESTIBULE_AUTH_WAITING_H
#define VESTIBULE_AUTH_WAITING_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "auth/backend.h"

/* Part of the backend's own struct for a question. */
struct waiter {
    struct waiter *next;
    struct waiter **place; /* what points to this one; NULL: it does not wait */
    uint64_t deadline;
};

struct waiting {
    uv_timer_t timer; /* its `data` is the owner's */
    struct waiter *first;
    struct waiter **last;
    struct backend_question *later[BACKEND_CHALLENGE]; /* by verdict */
    void (*expired)(struct waiter *w);
};

/* `expired` is told each one whose time is over; it does not wait any more then. */
void waiting_start(struct waiting *all, uv_loop_t *loop, void (*expired)(struct waiter *w));
void waiting_add(struct waiting *all, struct waiter *w);
void waiting_remove(struct waiting *all, struct waiter *w); /* where it waits */

/* In the loop's next turn; uses q->state. */
void waiting_answer(struct waiting *all, struct backend_question *q, enum backend_verdict verdict);
/* Was it one of those? Then it is not answered. */
bool waiting_forget(struct waiting *all, struct backend_question *q);

/* Nothing waits any more; the timer is closed. */
void waiting_stop(struct waiting *all, uv_close_cb closed);

#endif
