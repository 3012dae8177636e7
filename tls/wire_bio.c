#include <stdlib.h>
#include <string.h>

#include "tls/engine_parts.h"

/* An alert is one short record. While the handshake lasts, it may stand behind a flight in the same
 * write. */
#define WIRE_ALERT_MAX 128

static int wire_read(BIO *bio, char *out, int len)
{
    const struct tls_engine *e = BIO_get_data(bio);
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
