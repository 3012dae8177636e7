#include <stdlib.h>
#include <string.h>

#include "tls/engine_parts.h"

static enum ssl_private_key_result_t signing_start(SSL *ssl, uint8_t *out, size_t *out_len,
                                                   size_t cap, uint16_t algorithm,
                                                   const uint8_t *in, size_t len)
{
    struct tls_engine *e = SSL_get_app_data(ssl);
    (void)out, (void)out_len, (void)cap;

    free(e->signing);
    e->signing = len > TLS_SIGN_INPUT_MAX ? NULL : malloc(sizeof *e->signing);
    if (e->signing == NULL)
        return ssl_private_key_failure;
    e->signing->answered = false;
    e->signing->signature_len = 0;
    memcpy(e->signing->input, in, len);
    e->signing->job = (struct tls_job){
        .certificate = e->chosen, .algorithm = algorithm, .input = e->signing->input, .len = len};
    return ssl_private_key_retry;
}

static enum ssl_private_key_result_t signing_complete(SSL *ssl, uint8_t *out, size_t *out_len,
                                                      size_t cap)
{
    struct tls_engine *e = SSL_get_app_data(ssl);
    struct engine_signing *s = e->signing;

    if (s == NULL)
        return ssl_private_key_failure;
    if (!s->answered)
        return ssl_private_key_retry;
    const bool good = s->signature_len > 0 && s->signature_len <= cap;
    if (good) {
        memcpy(out, s->signature, s->signature_len);
        *out_len = s->signature_len;
    }
    e->refused = !good;
    e->signing = NULL;
    free(s);
    return good ? ssl_private_key_success : ssl_private_key_failure;
}

/* Only static RSA would ask for it, and there is none. */
static enum ssl_private_key_result_t signing_decrypt(SSL *ssl, uint8_t *out, size_t *out_len,
                                                     size_t cap, const uint8_t *in, size_t len)
{
    (void)ssl, (void)out, (void)out_len, (void)cap, (void)in, (void)len;
    return ssl_private_key_failure;
}

const SSL_PRIVATE_KEY_METHOD signing_method = {
    .sign = signing_start,
    .decrypt = signing_decrypt,
    .complete = signing_complete,
};

const struct tls_job *tls_engine_job(const struct tls_engine *e)
{
    return e->signing == NULL || e->signing->answered ? NULL : &e->signing->job;
}

void tls_engine_signed(struct tls_engine *e, const uint8_t *signature, size_t len)
{
    struct engine_signing *s = e->signing;
    if (s == NULL || s->answered)
        return;
    s->answered = true;
    s->signature_len = len <= TLS_SIGNATURE_MAX ? len : 0;
    if (s->signature_len > 0)
        memcpy(s->signature, signature, len);
}
