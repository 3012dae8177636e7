#include <stdlib.h>
#include <string.h>

#include "bench/load_client_parts.h"

static void on_written(uv_write_t *request, int status)
{
    struct load_client *c = request->handle->data;
    free(c->unsent);
    c->unsent = NULL;
    c->blocked = false;
    if (c->phase == LOAD_CLOSED)
        return;
    if (status != 0) {
        load_client_fail(c, load_client_where(c), uv_strerror(status));
        return;
    }
    load_client_progress(c);
    load_client_pump(c);
}

static bool send_later(struct load_client *c, const uint8_t *rest, size_t len)
{
    c->unsent = malloc(len);
    if (c->unsent == NULL)
        return false;
    memcpy(c->unsent, rest, len);
    uv_buf_t buf = uv_buf_init((char *)c->unsent, (unsigned)len);
    c->blocked = uv_write(&c->write, load_client_stream(c), &buf, 1, on_written) == 0;
    return c->blocked;
}

/* All that stands in the staging area goes out, now or as soon as the kernel takes it. */
void load_client_flush(struct load_client *c)
{
    struct load_wire *w = &load_client_run(c)->wire;
    uv_buf_t all = uv_buf_init((char *)w->out, (unsigned)w->out_len);
    size_t len = w->out_len;
    w->out_len = 0;
    if (len == 0 || c->phase == LOAD_CLOSED)
        return;
    int sent = c->blocked ? UV_EBUSY : uv_try_write(load_client_stream(c), &all, 1);
    size_t done = sent > 0 ? (size_t)sent : 0;
    if (sent < 0 && sent != UV_EAGAIN)
        load_client_fail(c, load_client_where(c), uv_strerror(sent));
    else if (done < len && !send_later(c, w->out + done, len - done))
        load_client_fail(c, load_client_where(c), "out of memory");
}

bool load_client_drips_handshake(const struct load_client *c)
{
    return load_client_work(c)->kind == LOAD_SLOW &&
           load_client_work(c)->part == LOAD_SLOW_HANDSHAKE;
}

/* The handshake's octets join those that wait. */
void load_client_keep_for_dripping(struct load_client *c)
{
    struct load_wire *w = &load_client_run(c)->wire;
    size_t left = c->dripping_len - c->dripping_at;
    uint8_t *all = w->out_len > 0 ? malloc(left + w->out_len) : NULL;
    if (all == NULL)
        return;
    if (left > 0)
        memcpy(all, c->dripping + c->dripping_at, left);
    memcpy(all + left, w->out, w->out_len);
    free(c->dripping);
    c->dripping = all;
    c->dripping_at = 0;
    c->dripping_len = left + w->out_len;
    w->out_len = 0;
}

void load_client_drip(struct load_client *c)
{
    size_t left = c->dripping_len - c->dripping_at;
    size_t n = left < load_client_work(c)->octets ? left : load_client_work(c)->octets;
    uv_buf_t some = uv_buf_init((char *)c->dripping + c->dripping_at, (unsigned)n);
    int sent = n > 0 ? uv_try_write(load_client_stream(c), &some, 1) : 0;
    if (sent > 0) {
        c->dripping_at += (size_t)sent;
        load_client_progress(c);
    }
}

static bool is_slow(const struct load_client *c, const struct load_span *span)
{
    const struct load_work *w = load_client_work(c);
    return w->kind == LOAD_SLOW && ((w->part == LOAD_SLOW_COMMAND && !span->is_body) ||
                                    (w->part == LOAD_SLOW_DATA && span->is_body));
}

/* As much of what is to be said as fits, in one piece. */
static size_t gather(struct load_client *c, uint8_t *out, size_t cap)
{
    const struct load_span *span;
    size_t len = 0;
    while (len < cap && (span = load_talk_next(&c->talk)) != NULL) {
        size_t n = span->len < cap - len ? span->len : cap - len;
        if (is_slow(c, span)) {
            n = n < c->allowance ? n : c->allowance;
            c->allowance -= n;
        }
        if (n == 0)
            break;
        memcpy(out + len, span->at, n);
        load_talk_sent(&c->talk, n);
        len += n;
    }
    return len;
}

/* A whole record of a long message needs no gathering. */
static bool say_record(struct load_client *c)
{
    struct load_wire *w = &load_client_run(c)->wire;
    const struct load_span *span = load_talk_next(&c->talk);
    if (span == NULL || span->len < LOAD_TLS_RECORD || is_slow(c, span))
        return false;
    if (load_tls_write(c->tls, span->at, LOAD_TLS_RECORD, w) != LOAD_TLS_OK)
        return false;
    load_talk_sent(&c->talk, LOAD_TLS_RECORD);
    return true;
}

static bool say_some(struct load_client *c)
{
    struct load_wire *w = &load_client_run(c)->wire;
    uint8_t text[LOAD_TLS_RECORD];
    size_t room = w->out_cap - w->out_len;
    if (c->tls == NULL) {
        size_t n = gather(c, w->out + w->out_len, room);
        w->out_len += n;
        return n > 0;
    }
    if (room < LOAD_TLS_RECORD + LOAD_TLS_OVERHEAD)
        return false;
    if (say_record(c))
        return true;
    size_t n = gather(c, text, sizeof text);
    if (n > 0 && load_tls_write(c->tls, text, n, w) != LOAD_TLS_OK)
        load_client_fail(c, load_client_where(c), load_tls_reason(c->tls));
    return n > 0 && c->phase != LOAD_CLOSED;
}

void load_client_pump(struct load_client *c)
{
    bool more = true;
    while (more && !c->blocked && (c->phase == LOAD_TALKING || c->phase == LOAD_LEAVING)) {
        while (say_some(c))
            continue;
        more = load_client_run(c)->wire.out_len > 0 && load_talk_next(&c->talk) != NULL;
        load_client_flush(c);
    }
}
