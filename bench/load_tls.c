#include "bench/load_tls.h"

#include <arpa/inet.h>
#include <openssl/bytestring.h>
#include <openssl/err.h>
#include <openssl/pool.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TICKETS = 64, CHAINS = 4, CHAIN_MAX = 32768 };

struct chain {
    uint8_t *der; /* all certificates, one behind the other */
    size_t len;
};

/* A ring. */
struct shelf {
    SSL_SESSION *tickets[TICKETS];
    size_t put; /* the newest is at put - 1 */
};

struct load_tls_context {
    SSL_CTX *ssl;
    BIO_METHOD *method;
    X509_STORE *store; /* NULL: any certificate will do */
    const char *name;
    struct chain good[CHAINS];
    size_t goods;
    struct shelf shelves[LOAD_TLS_SHELVES];
};

struct load_tls {
    struct load_tls_context *context;
    struct shelf *shelf;
    SSL *ssl;
    struct load_wire *wire; /* while a call lasts */
    char reason[LOAD_TLS_REASON_MAX];
};

static int wire_read(BIO *bio, char *out, int len)
{
    struct load_wire *w = ((struct load_tls *)BIO_get_data(bio))->wire;
    BIO_clear_retry_flags(bio);
    if (len <= 0)
        return 0;
    if (w == NULL || w->in_len == 0) {
        BIO_set_retry_read(bio);
        return -1;
    }
    size_t n = w->in_len < (size_t)len ? w->in_len : (size_t)len;
    memcpy(out, w->in, n);
    w->in += n;
    w->in_len -= n;
    return (int)n;
}

static int wire_write(BIO *bio, const char *in, int len)
{
    struct load_wire *w = ((struct load_tls *)BIO_get_data(bio))->wire;
    BIO_clear_retry_flags(bio);
    if (len <= 0)
        return 0;
    if (w == NULL || w->out_cap - w->out_len < (size_t)len)
        return -1;
    memcpy(w->out + w->out_len, in, (size_t)len);
    w->out_len += (size_t)len;
    return len;
}

static long wire_ctrl(BIO *bio, int command, long larg, void *parg)
{
    (void)bio, (void)larg, (void)parg;
    return command == BIO_CTRL_FLUSH;
}

static bool concatenate(struct chain *chain, const SSL *ssl)
{
    const STACK_OF(CRYPTO_BUFFER) *certificates = SSL_get0_peer_certificates(ssl);
    CBB all;
    if (certificates == NULL || !CBB_init(&all, 4096))
        return false;
    for (size_t i = 0; i < sk_CRYPTO_BUFFER_num(certificates); i++) {
        const CRYPTO_BUFFER *one = sk_CRYPTO_BUFFER_value(certificates, i);
        if (!CBB_add_bytes(&all, CRYPTO_BUFFER_data(one), CRYPTO_BUFFER_len(one)))
            break;
    }
    if (CBB_finish(&all, &chain->der, &chain->len))
        return chain->len <= CHAIN_MAX;
    CBB_cleanup(&all);
    return false;
}

static bool is_good(const struct load_tls_context *c, const struct chain *chain)
{
    for (size_t i = 0; i < c->goods; i++)
        if (c->good[i].len == chain->len && memcmp(c->good[i].der, chain->der, chain->len) == 0)
            return true;
    return false;
}

static STACK_OF(X509) * parse(const SSL *ssl)
{
    const STACK_OF(CRYPTO_BUFFER) *buffers = SSL_get0_peer_certificates(ssl);
    STACK_OF(X509) *chain = sk_X509_new_null();
    for (size_t i = 0; chain != NULL && i < sk_CRYPTO_BUFFER_num(buffers); i++) {
        X509 *one = X509_parse_from_buffer(sk_CRYPTO_BUFFER_value(buffers, i));
        if (one == NULL || sk_X509_push(chain, one) == 0) {
            X509_free(one);
            sk_X509_pop_free(chain, X509_free);
            return NULL;
        }
    }
    return chain;
}

static bool expect_name(X509_VERIFY_PARAM *parameters, const char *name)
{
    struct in6_addr address;
    if (inet_pton(AF_INET, name, &address) == 1 || inet_pton(AF_INET6, name, &address) == 1)
        return X509_VERIFY_PARAM_set1_ip_asc(parameters, name) == 1;
    return X509_VERIFY_PARAM_set1_host(parameters, name, strlen(name)) == 1;
}

static bool verify(struct load_tls *t, STACK_OF(X509) * chain)
{
    struct load_tls_context *c = t->context;
    X509_STORE_CTX *check = X509_STORE_CTX_new();
    bool good = check != NULL && chain != NULL && sk_X509_num(chain) > 0 &&
                X509_STORE_CTX_init(check, c->store, sk_X509_value(chain, 0), chain) == 1 &&
                X509_STORE_CTX_set_default(check, "ssl_server") == 1 &&
                expect_name(X509_STORE_CTX_get0_param(check), c->name);
    if (!good)
        snprintf(t->reason, sizeof t->reason, "the certificate cannot be read");
    else if (X509_verify_cert(check) != 1) {
        snprintf(t->reason, sizeof t->reason, "certificate: %s",
                 X509_verify_cert_error_string(X509_STORE_CTX_get_error(check)));
        good = false;
    }
    X509_STORE_CTX_free(check);
    return good;
}

static bool verify_once(struct load_tls *t)
{
    struct load_tls_context *c = t->context;
    struct chain chain = {NULL, 0};
    bool whole = concatenate(&chain, t->ssl);
    bool good = whole && is_good(c, &chain), known = good;
    if (!known) {
        STACK_OF(X509) *parsed = parse(t->ssl);
        good = verify(t, parsed);
        sk_X509_pop_free(parsed, X509_free);
    }
    if (good && !known && whole && c->goods < CHAINS)
        c->good[c->goods++] = chain;
    else
        OPENSSL_free(chain.der);
    return good;
}

static enum ssl_verify_result_t on_certificate(SSL *ssl, uint8_t *alert)
{
    struct load_tls *t = SSL_get_app_data(ssl);
    *alert = SSL_AD_BAD_CERTIFICATE;
    return t->context->store == NULL || verify_once(t) ? ssl_verify_ok : ssl_verify_invalid;
}

static int on_ticket(SSL *ssl, SSL_SESSION *session)
{
    struct shelf *s = ((struct load_tls *)SSL_get_app_data(ssl))->shelf;
    size_t at = s->put++ % TICKETS;
    SSL_SESSION_free(s->tickets[at]);
    s->tickets[at] = session;
    return 1;
}

static X509_STORE *read_store(const char *path)
{
    X509_STORE *store = X509_STORE_new();
    if (store != NULL && X509_STORE_load_locations(store, path, NULL) == 1)
        return store;
    X509_STORE_free(store);
    return NULL;
}

static bool configure(struct load_tls_context *c, const struct load_tls_settings *s)
{
    c->ssl = SSL_CTX_new(TLS_with_buffers_method());
    c->method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "borrowed bytes");
    if (c->ssl == NULL || c->method == NULL || !BIO_meth_set_read(c->method, wire_read) ||
        !BIO_meth_set_write(c->method, wire_write) || !BIO_meth_set_ctrl(c->method, wire_ctrl))
        return false;
    SSL_CTX_set_session_cache_mode(c->ssl, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(c->ssl, on_ticket);
    SSL_CTX_set_custom_verify(c->ssl, SSL_VERIFY_PEER, on_certificate);
    return SSL_CTX_set_min_proto_version(c->ssl, TLS1_2_VERSION) == 1 &&
           SSL_CTX_set_max_proto_version(c->ssl, s->max_version) == 1;
}

struct load_tls_context *load_tls_context_new(char reason[LOAD_TLS_REASON_MAX],
                                              const struct load_tls_settings *settings)
{
    struct load_tls_context *c = calloc(1, sizeof *c);
    if (c == NULL || !configure(c, settings)) {
        snprintf(reason, LOAD_TLS_REASON_MAX, "TLS cannot be set up: out of memory.");
        load_tls_context_free(c);
        return NULL;
    }
    c->name = settings->name;
    c->store = settings->ca != NULL ? read_store(settings->ca) : NULL;
    if (settings->ca != NULL && c->store == NULL) {
        snprintf(reason, LOAD_TLS_REASON_MAX, "%s holds no PEM certificates that can be read.",
                 settings->ca);
        load_tls_context_free(c);
        return NULL;
    }
    return c;
}

void load_tls_context_free(struct load_tls_context *c)
{
    if (c == NULL)
        return;
    for (size_t i = 0; i < LOAD_TLS_SHELVES; i++)
        for (size_t k = 0; k < TICKETS; k++)
            SSL_SESSION_free(c->shelves[i].tickets[k]);
    for (size_t i = 0; i < c->goods; i++)
        OPENSSL_free(c->good[i].der);
    SSL_CTX_free(c->ssl);
    BIO_meth_free(c->method);
    X509_STORE_free(c->store);
    free(c);
}

bool load_tls_has_ticket(const struct load_tls_context *c, unsigned shelf)
{
    return c->shelves[shelf].put > 0;
}

static bool prepare(struct load_tls *t, bool resume)
{
    struct load_tls_context *c = t->context;
    struct in6_addr address;
    BIO *bio = BIO_new(c->method);
    t->ssl = SSL_new(c->ssl);
    if (bio == NULL || t->ssl == NULL) {
        BIO_free(bio);
        return false;
    }
    BIO_set_data(bio, t);
    BIO_set_init(bio, 1);
    SSL_set_bio(t->ssl, bio, bio);
    SSL_set_app_data(t->ssl, t);
    SSL_set_connect_state(t->ssl);
    bool is_name =
        inet_pton(AF_INET, c->name, &address) != 1 && inet_pton(AF_INET6, c->name, &address) != 1;
    if (is_name && SSL_set_tlsext_host_name(t->ssl, c->name) != 1)
        return false;
    const struct shelf *s = t->shelf;
    return !resume || s->put == 0 ||
           SSL_set_session(t->ssl, s->tickets[(s->put - 1) % TICKETS]) == 1;
}

struct load_tls *load_tls_new(struct load_tls_context *c, unsigned shelf, bool resume)
{
    struct load_tls *t = calloc(1, sizeof *t);
    if (t == NULL)
        return NULL;
    t->context = c;
    t->shelf = &c->shelves[shelf];
    if (prepare(t, resume))
        return t;
    load_tls_free(t);
    return NULL;
}

void load_tls_free(struct load_tls *t)
{
    if (t == NULL)
        return;
    SSL_free(t->ssl);
    free(t);
}

static enum load_tls_status status_of(struct load_tls *t, int answer)
{
    switch (SSL_get_error(t->ssl, answer)) {
    case SSL_ERROR_NONE:
        return LOAD_TLS_OK;
    case SSL_ERROR_WANT_READ:
        return LOAD_TLS_MORE;
    case SSL_ERROR_ZERO_RETURN:
        return LOAD_TLS_ENDED;
    default:
        break;
    }
    const char *why = ERR_reason_error_string(ERR_peek_error());
    if (t->reason[0] == '\0')
        snprintf(t->reason, sizeof t->reason, "TLS: %s", why != NULL ? why : "it broke off");
    return LOAD_TLS_FAILED;
}

enum load_tls_status load_tls_handshake(struct load_tls *t, struct load_wire *w)
{
    ERR_clear_error();
    t->wire = w;
    enum load_tls_status status = status_of(t, SSL_do_handshake(t->ssl));
    t->wire = NULL;
    return status;
}

enum load_tls_status load_tls_read(struct load_tls *t, void *out, size_t *got, size_t cap,
                                   struct load_wire *w)
{
    ERR_clear_error();
    t->wire = w;
    int n = SSL_read(t->ssl, out, (int)cap);
    enum load_tls_status status = status_of(t, n);
    t->wire = NULL;
    *got = n > 0 ? (size_t)n : 0;
    return status;
}

enum load_tls_status load_tls_write(struct load_tls *t, const void *in, size_t len,
                                    struct load_wire *w)
{
    ERR_clear_error();
    t->wire = w;
    enum load_tls_status status = status_of(t, SSL_write(t->ssl, in, (int)len));
    t->wire = NULL;
    return status;
}

void load_tls_close(struct load_tls *t, struct load_wire *w)
{
    ERR_clear_error();
    t->wire = w;
    SSL_shutdown(t->ssl);
    t->wire = NULL;
}

bool load_tls_resumed(const struct load_tls *t)
{
    return SSL_session_reused(t->ssl) == 1;
}

const char *load_tls_reason(const struct load_tls *t)
{
    return t->reason;
}
