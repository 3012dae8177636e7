#include "proxy/sign.h"

#include <stdlib.h>
#include <string.h>

#define SIGNING_MAX 256 /* RSA signatures in the pool at once: a second's work for a core */

struct signing {
    uv_work_t work;
    struct signer *signer;
    struct link *link;
    struct edition *edition;
    uint64_t number;
    const struct tls_key *key;
    uint16_t algorithm;
    size_t len;
    uint8_t input[TLS_SIGN_INPUT_MAX];
    size_t signature_len;
    uint8_t signature[TLS_SIGNATURE_MAX];
};

static void send_signature(struct link *l, uint64_t number, const uint8_t *signature, size_t len)
{
    link_send(l, &(struct channel_frame){.type = CHANNEL_SIGNED,
                                         .number = number,
                                         .as.signature = {.signature = signature, .len = len}});
}

static void sign_in_pool(uv_work_t *work)
{
    struct signing *s = work->data;
    if (!tls_key_sign(s->key, s->algorithm, s->input, s->len, s->signature, &s->signature_len))
        s->signature_len = 0;
}

static void after_signing(uv_work_t *work, int status)
{
    struct signing *s = work->data;
    (void)status;
    send_signature(s->link, s->number, s->signature, s->signature_len);
    s->signer->running--;
    link_release(s->link);
    edition_release(s->edition);
    free(s);
}

static bool sign_later(struct signer *signer, struct link *l, struct edition *e,
                       const struct channel_frame *q)
{
    struct signing *s = signer->running < SIGNING_MAX ? calloc(1, sizeof *s) : NULL;
    if (s == NULL)
        return false;
    s->signer = signer;
    s->link = link_hold(l);
    s->edition = edition_hold(e);
    s->number = q->number;
    s->key = e->key[q->as.sign.certificate];
    s->algorithm = q->as.sign.algorithm;
    s->len = q->as.sign.len;
    memcpy(s->input, q->as.sign.input, q->as.sign.len);
    s->work.data = s;
    signer->running++;
    uv_queue_work(signer->loop, &s->work, sign_in_pool, after_signing);
    return true;
}

void signer_take(struct signer *s, struct link *l, struct edition *e, const struct channel_frame *q)
{
    uint8_t signature[TLS_SIGNATURE_MAX];
    size_t len = 0;
    if (q->as.sign.certificate < e->certificate_count) {
        const struct tls_key *key = e->key[q->as.sign.certificate];
        if (tls_key_slow(key) && sign_later(s, l, e, q))
            return;
        if (!tls_key_slow(key) && !tls_key_sign(key, q->as.sign.algorithm, q->as.sign.input,
                                                q->as.sign.len, signature, &len))
            len = 0;
    }
    send_signature(l, q->number, signature, len);
}
