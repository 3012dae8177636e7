/* The replies that a session owes, in the order of their commands (RFC 5321 4.2, RFC 2920).
 *
 * At most the first one waits for somebody else's answer; those behind it are constants, read ahead
 * of it. Zero state: no reply owed. Texts are borrowed for good: string constants, without CR LF.
 * Pure. */
#ifndef VESTIBULE_PROXY_FIFO_H
#define VESTIBULE_PROXY_FIFO_H

#include <stdbool.h>

#include "proxy/limits.h"

struct fifo {
    bool waiting; /* the first reply is not known yet */
    unsigned char first;
    unsigned char count; /* texts, the waiting one not counted */
    const char *text[LIMIT_REPLIES_PENDING];
};

static inline bool fifo_empty(const struct fifo *f)
{
    return !f->waiting && f->count == 0;
}

/* Room for one more text? A waiting reply has its place kept. */
static inline bool fifo_room(const struct fifo *f)
{
    return f->count + (f->waiting ? 1 : 0) < LIMIT_REPLIES_PENDING;
}

/* A command's reply is known at once; there is room. */
void fifo_push(struct fifo *f, const char *text);

/* A command's reply will be known later; nothing is owed yet. */
void fifo_wait(struct fifo *f);

/* The reply that was waited for was given otherwise, or, with a text, is this. */
void fifo_given(struct fifo *f);
void fifo_answer(struct fifo *f, const char *text);

/* The reply that may go out now; NULL: none. fifo_pop drops it. */
const char *fifo_front(const struct fifo *f);
void fifo_pop(struct fifo *f);

#endif
