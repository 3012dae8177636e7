#include "proxy/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BUF_FIRST = 256 };

void buf_init(struct buf *b, size_t max)
{
    *b = (struct buf){.max = max};
}

static void buf_release(struct buf *b)
{
    free(b->storage);
    buf_init(b, b->max);
}

void buf_clear(struct buf *b)
{
    buf_consume_secret(b, buf_len(b));
}

/* The unread octets go to the front; where they stood before is overwritten. */
static void buf_compact(struct buf *b)
{
    size_t len = buf_len(b);

    if (b->start == 0)
        return;
    memmove(b->storage, b->storage + b->start, len);
    explicit_bzero(b->storage + len, b->start);
    b->start = 0;
    b->end = len;
}

/* Not realloc: it may leave a copy of a secret in freed memory. One octet more than `capacity` is
 * for the NUL that vsnprintf insists on. */
static bool buf_grow(struct buf *b, size_t needed)
{
    size_t len = buf_len(b);
    size_t capacity = b->capacity > 0 ? b->capacity : BUF_FIRST;
    uint8_t *storage;

    while (capacity < needed && capacity <= b->max / 2)
        capacity *= 2;
    if (capacity < needed || capacity > b->max)
        capacity = b->max;
    storage = malloc(capacity + 1);
    if (storage == NULL)
        return false;
    if (len > 0) {
        memcpy(storage, buf_data(b), len);
        explicit_bzero(b->storage + b->start, len);
    }
    free(b->storage);
    b->storage = storage;
    b->capacity = capacity;
    b->start = 0;
    b->end = len;
    return true;
}

uint8_t *buf_reserve(struct buf *b, size_t want)
{
    size_t needed;

    if (want > buf_room(b))
        return NULL;
    needed = buf_len(b) + want;
    if (b->storage == NULL || needed > b->capacity) {
        if (!buf_grow(b, needed))
            return NULL;
    } else if (want > b->capacity - b->end) {
        buf_compact(b);
    }
    return b->storage + b->end;
}

void buf_commit(struct buf *b, size_t used)
{
    b->end += used;
    if (buf_len(b) == 0)
        buf_release(b);
}

bool buf_append(struct buf *b, const void *data, size_t len)
{
    uint8_t *to;

    if (len == 0)
        return true;
    to = buf_reserve(b, len);
    if (to == NULL)
        return false;
    memcpy(to, data, len);
    buf_commit(b, len);
    return true;
}

bool buf_text(struct buf *b, const char *text)
{
    return buf_append(b, text, strlen(text));
}

bool buf_printf(struct buf *b, const char *format, ...)
{
    va_list arguments;
    uint8_t *to;
    int len;

    va_start(arguments, format);
    len = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (len <= 0)
        return len == 0;
    to = buf_reserve(b, (size_t)len);
    if (to == NULL)
        return false;
    va_start(arguments, format);
    vsnprintf((char *)to, (size_t)len + 1, format, arguments);
    va_end(arguments);
    buf_commit(b, (size_t)len);
    return true;
}

void buf_consume(struct buf *b, size_t n)
{
    b->start += n;
    if (b->start == b->end)
        buf_release(b);
}

void buf_consume_secret(struct buf *b, size_t n)
{
    if (n > 0)
        explicit_bzero(b->storage + b->start, n);
    buf_consume(b, n);
}
