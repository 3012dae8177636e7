/* A byte queue that is born with its maximum and holds no memory while it is empty.
 *
 * Octets that it moves or copies to other storage leave no copy behind, so wiping them once is
 * enough. Zero state: buf_init. Ownership: the struct is embedded in its owner, the storage is the
 * queue's. Pure: no socket, no clock. */
#ifndef VESTIBULE_PROXY_BUF_H
#define VESTIBULE_PROXY_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
    uint8_t *storage;
    size_t start; /* first unread byte */
    size_t end;   /* one past the last unread byte */
    size_t capacity;
    size_t max; /* octets that may wait at once; never exceeded */
};

void buf_init(struct buf *b, size_t max);

/* Overwrites and forgets the bytes and releases the storage; the queue stays usable. */
void buf_clear(struct buf *b);

static inline size_t buf_len(const struct buf *b)
{
    return b->end - b->start;
}

/* Never NULL, so that it may go to memcpy with a length of 0. */
static inline const uint8_t *buf_data(const struct buf *b)
{
    return b->storage != NULL ? b->storage + b->start : (const uint8_t *)"";
}

static inline size_t buf_room(const struct buf *b)
{
    return b->max - buf_len(b);
}

/* All or nothing: false, and nothing appended, when it would not fit or memory is short. */
bool buf_append(struct buf *b, const void *data, size_t len);
bool buf_text(struct buf *b, const char *text);
bool buf_printf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* At least `want` writable octets behind the unread ones, followed by buf_commit of what was used
 * (0 is fine: an empty queue lets its storage go again). NULL when they would not fit below the
 * maximum or memory is short. */
uint8_t *buf_reserve(struct buf *b, size_t want);
void buf_commit(struct buf *b, size_t used);

/* Drops `n` octets from the front; releases the storage when none is left. */
void buf_consume(struct buf *b, size_t n);

/* The same, for octets that held a secret: overwritten first. */
void buf_consume_secret(struct buf *b, size_t n);

#endif
