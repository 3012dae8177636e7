#include "tls/client.h"

#include <limits.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>

struct tls_client {
    SSL *ssl;
    unsigned alert;
    bool open; /* the handshake is done, and nothing fatal came since */
};

static bool offer_alpn(SSL *ssl, const char *name)
{
    uint8_t list[1 + 255];
    size_t len = strlen(name);
    if (len == 0 || len > 255)
        return false;
    list[0] = (uint8_t)len;
    memcpy(list + 1, name, len);
    return SSL_set_alpn_protos(ssl, list, (unsigned)len + 1) == 0; /* 0 is its success */
}

static bool configure(struct tls_client *c, int fd, const struct tls_client_settings *s)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    c->ssl = context != NULL ? SSL_new(context) : NULL;
    SSL_CTX_free(context); /* the connection holds it */
    return c->ssl != NULL && SSL_set_min_proto_version(c->ssl, s->min_version) == 1 &&
           SSL_set_max_proto_version(c->ssl, s->max_version) == 1 && SSL_set_fd(c->ssl, fd) == 1 &&
           (s->alpn == NULL || offer_alpn(c->ssl, s->alpn));
}

struct tls_client *tls_client_new(int fd, const struct tls_client_settings *settings)
{
    ERR_clear_error();
    struct tls_client *c = calloc(1, sizeof *c);
    if (c == NULL)
        return NULL;
    if (configure(c, fd, settings)) {
        SSL_set_verify(c->ssl, SSL_VERIFY_NONE, NULL);
        SSL_set_connect_state(c->ssl);
        return c;
    }
    tls_client_free(c);
    return NULL;
}

void tls_client_free(struct tls_client *c)
{
    if (c == NULL)
        return;
    if (c->open)
        SSL_shutdown(c->ssl);
    SSL_free(c->ssl);
    ERR_clear_error();
    free(c);
}

/* An alert of the peer stands in the error queue as its number and an offset. */
static unsigned alert_received(void)
{
    uint32_t error = ERR_peek_error();
    int reason = ERR_GET_REASON(error);
    bool is_alert = ERR_GET_LIB(error) == ERR_LIB_SSL && reason >= SSL_AD_REASON_OFFSET &&
                    reason < SSL_AD_REASON_OFFSET + 256;
    return is_alert ? (unsigned)(reason - SSL_AD_REASON_OFFSET) : 0;
}

static enum tls_client_status status_of(struct tls_client *c, int answer)
{
    switch (SSL_get_error(c->ssl, answer)) {
    case SSL_ERROR_NONE:
        return TLS_CLIENT_OK;
    case SSL_ERROR_WANT_READ:
        return TLS_CLIENT_WANT_READ;
    case SSL_ERROR_WANT_WRITE:
        return TLS_CLIENT_WANT_WRITE;
    case SSL_ERROR_ZERO_RETURN:
        return TLS_CLIENT_CLOSED;
    default:
        c->alert = alert_received();
        c->open = false;
        /* An end without close_notify leaves nothing in the error queue. */
        return answer == 0 && ERR_peek_error() == 0 ? TLS_CLIENT_CLOSED : TLS_CLIENT_FAILED;
    }
}

enum tls_client_status tls_client_handshake(struct tls_client *c)
{
    ERR_clear_error();
    enum tls_client_status status = status_of(c, SSL_do_handshake(c->ssl));
    if (status == TLS_CLIENT_OK)
        c->open = true;
    return status;
}

enum tls_client_status tls_client_read(struct tls_client *c, void *out, size_t cap, size_t *got)
{
    ERR_clear_error();
    int n = SSL_read(c->ssl, out, cap < INT_MAX ? (int)cap : INT_MAX);
    *got = n > 0 ? (size_t)n : 0;
    return status_of(c, n);
}

enum tls_client_status tls_client_write(struct tls_client *c, const void *in, size_t len)
{
    ERR_clear_error();
    return status_of(c, SSL_write(c->ssl, in, len < INT_MAX ? (int)len : INT_MAX));
}

bool tls_client_pending(const struct tls_client *c)
{
    return SSL_pending(c->ssl) > 0;
}

unsigned tls_client_alert(const struct tls_client *c)
{
    return c->alert;
}
