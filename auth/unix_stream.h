/* A connection to a Unix socket, on a loop. A driver.
 *
 * Ends by itself are told once by `closed`, whatever they were: it could not be made, the peer
 * left, it broke. What is written is copied, and wiped once it is gone. */
#ifndef VESTIBULE_AUTH_UNIX_STREAM_H
#define VESTIBULE_AUTH_UNIX_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#define UNIX_STREAM_PATH_MAX 107     /* sockaddr_un without its NUL */
#define UNIX_STREAM_UNSENT_MAX 65536 /* octets that a peer who reads nothing may leave with us */

struct unix_stream;

struct unix_stream_events {
    void (*connected)(void *owner);
    void (*data)(void *owner, const uint8_t *data, size_t len); /* borrowed for the call */
    void (*closed)(void *owner, int why); /* libuv's error, UV_EOF at an orderly end; after it the
                                             stream is gone */
};

/* No event comes from inside of it. NULL: out of memory, or the path is longer than the limit. */
struct unix_stream *unix_stream_open(uv_loop_t *loop, const char *path,
                                     const struct unix_stream_events *events, void *owner);

/* False: out of memory, or the peer does not read; the connection is of no use any more. */
bool unix_stream_write(struct unix_stream *s, const void *data, size_t len);

/* No event comes any more. NULL is nothing; may be called from inside of any event but `closed`. */
void unix_stream_close(struct unix_stream *s);

#endif
