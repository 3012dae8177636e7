/* A connection to the MTA on an event loop: tried over the addresses in order, again and again
 * while the MTA is away, until queue_timeout; then a socket with its poll, until upstream_close. */
#ifndef VESTIBULE_PROXY_UPSTREAM_H
#define VESTIBULE_PROXY_UPSTREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "proxy/address.h"

struct upstream_target {
    const struct address *address;
    size_t address_count;
    uint64_t connect_timeout; /* per address, milliseconds */
};

struct upstream;

enum upstream_event {
    UPSTREAM_CONNECTED,
    UPSTREAM_FAILED, /* queue_timeout is over */
    UPSTREAM_READY,  /* readable or writable, as armed */
};

typedef void upstream_cb(void *owner, enum upstream_event event, bool readable, bool writable);

/* `patience` is for all tries together, milliseconds; 0: each address once. NULL: out of memory.
 * The target is borrowed. The callback is never called from within. */
struct upstream *upstream_open(uv_loop_t *loop, const struct upstream_target *target,
                               uint64_t patience, upstream_cb *cb, void *owner);

/* The same over a socket made elsewhere (transparent, bound already), which it takes over whatever
 * happens. It can be used once, so there is one attempt, at `to`. */
struct upstream *upstream_open_with(uv_loop_t *loop, const struct upstream_target *target, int fd,
                                    const struct address *to, upstream_cb *cb, void *owner);

/* Which events to report; only after UPSTREAM_CONNECTED. */
void upstream_arm(struct upstream *u, bool readable, bool writable);
int upstream_fd(const struct upstream *u); /* -1 until connected */

/* Closes at once; no callback after it. Frees itself when the loop lets go. */
void upstream_close(struct upstream *u);

#endif
