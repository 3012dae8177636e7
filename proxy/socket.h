/* Non-blocking sockets moved by hand: read into and written from queues, one status word, no event
 * loop. */
#ifndef VESTIBULE_PROXY_SOCKET_H
#define VESTIBULE_PROXY_SOCKET_H

#include <stdbool.h>
#include <stddef.h>

#include "proxy/address.h"
#include "proxy/buf.h"

enum socket_status {
    SOCKET_MOVED,
    SOCKET_BLOCKED, /* nothing now; wait for the poll */
    SOCKET_ENDED,   /* the peer sent its end of file */
    SOCKET_FAILED,  /* reset, or out of memory */
};

/* Reads at most `most` octets, and no more than there is room for, behind what is queued. */
enum socket_status socket_fill(int fd, struct buf *b, size_t most);

/* The same, for who keeps note of whether there is more to read: a read that came short has taken
 * all. */
enum socket_status socket_take(int fd, struct buf *b, size_t most, bool *readable);

/* Writes what is queued. MOVED: some or all of it; nothing queued is BLOCKED. */
enum socket_status socket_drain(int fd, struct buf *b);

/* Reads and forgets. */
enum socket_status socket_discard(int fd);

/* -1 with errno: EAGAIN when nobody waits. It is tuned as the listening one was. */
int socket_accept(int listening, struct address *peer);

/* Replies are small and must not wait for an acknowledgement (Nagle); a peer that vanished must be
 * noticed. */
void socket_tune(int fd);

/* False with errno: it failed at once. */
bool socket_begin(int fd, const struct address *to);

/* Starts a connection; -1 with errno. */
int socket_connect(const struct address *to);

/* 0 when the started connection stands, else its errno. */
int socket_connected(int fd);

#endif
