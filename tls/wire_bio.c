#include <openssl/mem.h>
#include <stdlib.h>
#include <string.h>

#include "tls/engine_parts.h"

/* An alert is one short record. While the handshake lasts, it may stand behind a flight in the same
 * write. */
#define WIRE_ALERT_MAX 128

/* `at` is where it was put. A body that is not in one piece, since its buffer was moved in between,
 * is known by its last piece. */
static void record_body(struct wire_record *r, uint8_t *at, size_t len)
{
    if (r->body == NULL || r->body + r->body_len != at) {
        r->body = at;
        r->body_len = 0;
    }
    r->body_len += len;
    r->left -= len;
}

static void record_follow(struct wire_record *r, uint8_t *at, size_t len)
{
    while (len > 0) {
        size_t n = r->left < len ? r->left : len;
        if (n > 0) {
            record_body(r, at, n);
        } else {
            n = 1;
            r->body = NULL; /* its buffer may be gone */
            r->head[r->head_len++] = *at;
            if (r->head_len == sizeof r->head) {
                r->left = (size_t)r->head[3] << 8 | r->head[4];
                r->head_len = 0;
            }
        }
        at += n;
        len -= n;
    }
}

void wire_record_wipe(struct wire_record *r)
{
    if (r->body != NULL && r->left == 0)
        OPENSSL_cleanse(r->body, r->body_len);
    r->body = NULL;
}

static int wire_read(BIO *bio, char *out, int len)
{
    struct tls_engine *e = BIO_get_data(bio);
    struct tls_wire *w = e->wire;
    size_t n = w->in_len - w->in_used;

    BIO_clear_retry_flags(bio);
    if (len <= 0)
        return 0;
    if (n == 0) {
        BIO_set_retry_read(bio);
        return -1;
    }
    if (n > (size_t)len)
        n = (size_t)len;
    memcpy(out, w->in + w->in_used, n);
    w->in_used += n;
    record_follow(&e->record, (uint8_t *)out, n);
    return (int)n;
}

static void keep_stuck(struct tls_engine *e, const char *rest, size_t len)
{
    e->stuck_len = 0;
    if (len > WIRE_ALERT_MAX && e->state == ENGINE_OPEN)
        return;
    uint8_t *copy = realloc(e->stuck, len);
    if (copy == NULL)
        return;
    memcpy(copy, rest, len);
    e->stuck = copy;
    e->stuck_len = len;
}

static int wire_write(BIO *bio, const char *in, int len)
{
    struct tls_engine *e = BIO_get_data(bio);
    struct tls_wire *w = e->wire;
    size_t n = w->out_cap - w->out_len;

    BIO_clear_retry_flags(bio);
    if (len <= 0)
        return 0;
    if (n > (size_t)len)
        n = (size_t)len;
    if (n < (size_t)len)
        keep_stuck(e, in + n, (size_t)len - n);
    else
        e->stuck_len = 0;
    if (n == 0) {
        BIO_set_retry_write(bio);
        return -1;
    }
    memcpy(w->out + w->out_len, in, n);
    w->out_len += n;
    return (int)n;
}

static long wire_ctrl(BIO *bio, int command, long larg, void *parg)
{
    (void)bio, (void)larg, (void)parg;
    return command == BIO_CTRL_FLUSH;
}

BIO_METHOD *wire_bio_method(void)
{
    BIO_METHOD *method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "borrowed bytes");
    if (method == NULL || BIO_meth_set_read(method, wire_read) != 1 ||
        BIO_meth_set_write(method, wire_write) != 1 || BIO_meth_set_ctrl(method, wire_ctrl) != 1) {
        BIO_meth_free(method);
        return NULL;
    }
    return method;
}
