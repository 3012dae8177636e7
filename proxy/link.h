/* The channel between vault and front on an event loop: what one loop turn asks leaves in one
 * write, what has come in is taken in one wake-up. The same driver serves both ends. */
#ifndef VESTIBULE_PROXY_LINK_H
#define VESTIBULE_PROXY_LINK_H

#include <stdbool.h>
#include <uv.h>

#include "proxy/channel.h"

#define LINK_LATER_MS 5

struct link;

struct link_events {
    void (*frame)(void *owner, struct link *l, const struct channel_frame *frame);
    void (*closed)(
        void *owner,
        struct link *l); /* the other end is gone, or spoke nonsense; once; link_close is yours */
    bool takes_descriptors; /* false: one that comes is nonsense, and never becomes ours */
};

/* Takes over `fd` (a stream socket, non-blocking from here on). The caller owns one hold, which
 * link_close gives up. NULL: out of memory, the descriptor is closed. */
struct link *link_open(uv_loop_t *loop, int fd, const struct link_events *events, void *owner);

/* Queued until the end of this loop turn; dropped silently when the link is closed. */
void link_send(struct link *l, const struct channel_frame *frame);

/* The same for what can wait a moment: it goes with the next frame that cannot, or after
 * LINK_LATER_MS. */
void link_send_later(struct link *l, const struct channel_frame *frame);

/* The same as link_send with a descriptor, for a frame that brings one (see channel.h); takes over
 * `fd` whatever happens. False: too many wait already, and nothing is sent. */
bool link_send_fd(struct link *l, const struct channel_frame *frame, int fd);

/* From within the frame event: the descriptor that came with this frame, the caller's from here on.
 * -1: none came, or it could not be taken in. What nobody takes is closed. */
int link_take_fd(struct link *l);

/* No event after this. Frames already queued are written if the socket takes them at once. */
void link_close(struct link *l);

/* Keeps the struct (not the connection) for an answer that comes later. */
struct link *link_hold(struct link *l);
void link_release(struct link *l);

#endif
