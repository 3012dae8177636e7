#include <ctype.h>
#include <openssl/err.h>
#include <openssl/nid.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tls/certificate_parts.h"
#include "tls/client_ca_parts.h"
#include "tls/engine_parts.h"

/* Forward-secret AEAD only. Within brackets the client's order rules: a telephone without AES in
 * silicon is faster with the other one. */
#define CONTEXT_CIPHERS                                              \
    "[ECDHE-ECDSA-AES128-GCM-SHA256|ECDHE-ECDSA-CHACHA20-POLY1305]:" \
    "[ECDHE-RSA-AES128-GCM-SHA256|ECDHE-RSA-CHACHA20-POLY1305]:"     \
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384"
/* TLS 1.0 and 1.1 have nothing better. */
#define CONTEXT_CIPHERS_OLD                                         \
    CONTEXT_CIPHERS ":ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA:" \
                    "ECDHE-ECDSA-AES256-SHA:ECDHE-RSA-AES256-SHA"

#ifdef SSL_GROUP_X25519_MLKEM768
#define CONTEXT_GROUPS "X25519MLKEM768:X25519:P-256:P-384"
#else
#define CONTEXT_GROUPS "X25519:P-256:P-384"
#endif

/* In the order of our preference; SHA-1 is left out (RFC 9155), but not where TLS below 1.2 was
 * asked for. */
static const uint16_t signature_algorithms[] = {
    SSL_SIGN_ECDSA_SECP256R1_SHA256, SSL_SIGN_ECDSA_SECP384R1_SHA384, SSL_SIGN_RSA_PSS_RSAE_SHA256,
    SSL_SIGN_RSA_PSS_RSAE_SHA384,    SSL_SIGN_RSA_PSS_RSAE_SHA512,    SSL_SIGN_RSA_PKCS1_SHA256,
    SSL_SIGN_RSA_PKCS1_SHA384,       SSL_SIGN_RSA_PKCS1_SHA512,       SSL_SIGN_ECDSA_SHA1,
    SSL_SIGN_RSA_PKCS1_SHA1,
};
#define CONTEXT_SHA1_ALGORITHMS 2

/* What clients may sign with: what certificates are issued for, without SHA-1. */
static const uint16_t client_algorithms[] = {
    SSL_SIGN_ECDSA_SECP256R1_SHA256, SSL_SIGN_ECDSA_SECP384R1_SHA384,
    SSL_SIGN_ECDSA_SECP521R1_SHA512, SSL_SIGN_ED25519,
    SSL_SIGN_RSA_PSS_RSAE_SHA256,    SSL_SIGN_RSA_PSS_RSAE_SHA384,
    SSL_SIGN_RSA_PSS_RSAE_SHA512,    SSL_SIGN_RSA_PKCS1_SHA256,
    SSL_SIGN_RSA_PKCS1_SHA384,       SSL_SIGN_RSA_PKCS1_SHA512,
};
/* The library would take 100 kB from anybody; this is what any handshake message may have. */
#define CONTEXT_CLIENT_CHAIN_MAX 16384

static bool alpn_known(const uint8_t *name, size_t len)
{
    static const char *const known[] = {"smtp", "esmtp", "submission"};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strlen(known[i]) == len && memcmp(known[i], name, len) == 0)
            return true;
    return false;
}

/* The client's first that we know. Anything else is another protocol's client on our port (ALPACA).
 */
static int choose_alpn(SSL *ssl, const uint8_t **out, uint8_t *out_len, const uint8_t *in,
                       unsigned len, void *arg)
{
    (void)ssl, (void)arg;
    for (size_t i = 0; i < len; i += 1u + in[i]) {
        if (in[i] > len - i - 1)
            break;
        if (alpn_known(in + i + 1, in[i])) {
            *out = in + i + 1;
            *out_len = in[i];
            return SSL_TLSEXT_ERR_OK;
        }
    }
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

/* A session is good for the same listener, the same certificate and the same name only: all else is
 * a full handshake. */
static bool bind_session(SSL *ssl, const struct tls_context *c, const struct certificate *chosen,
                         const char *sni)
{
    uint8_t digest[SHA256_DIGEST_LENGTH];
    SHA256_CTX hash;

    SHA256_Init(&hash);
    SHA256_Update(&hash, c->scope, sizeof c->scope);
    SHA256_Update(&hash, certificate_digest(chosen), CERTIFICATE_DIGEST_LEN);
    for (; sni != NULL && *sni != '\0'; sni++) {
        const uint8_t octet = (uint8_t)tolower((unsigned char)*sni);
        SHA256_Update(&hash, &octet, 1);
    }
    SHA256_Final(digest, &hash);
    return SSL_set_session_id_context(ssl, digest, sizeof digest) == 1;
}

static enum ssl_select_cert_result_t select_certificate(const SSL_CLIENT_HELLO *hello)
{
    struct tls_engine *e = SSL_get_app_data(hello->ssl);
    const char *sni = SSL_get_servername(hello->ssl, TLSEXT_NAMETYPE_host_name);

    e->chosen = choose_certificate(e->context, hello, sni);
    const struct certificate *chosen = e->context->certificates[e->chosen];
    return bind_session(hello->ssl, e->context, chosen, sni) &&
                   SSL_set_chain_and_key(hello->ssl, certificate_buffers(chosen),
                                         certificate_chain_len(chosen), NULL, &signing_method) == 1
               ? ssl_select_cert_success
               : ssl_select_cert_error;
}

static void copy_tickets(struct tls_context *c, struct ticket_keys *out)
{
    pthread_mutex_lock(&c->lock);
    *out = c->tickets;
    pthread_mutex_unlock(&c->lock);
}

static size_t ticket_overhead(SSL *ssl)
{
    (void)ssl;
    return TICKET_OVERHEAD;
}

static int seal(SSL *ssl, uint8_t *out, size_t *out_len, size_t cap, const uint8_t *in, size_t len)
{
    const struct tls_engine *e = SSL_get_app_data(ssl);
    struct ticket_keys keys;

    copy_tickets(e->context, &keys);
    /* The keys were taken away while this client shook hands, or it showed a certificate, which a
     * later connection has to show anew: what it gets, nobody opens. */
    if (keys.count == 0 || e->certified)
        ticket_keys_rotate(&keys);
    bool good = ticket_seal(keys.key[0], e->context->scope, out, out_len, cap, in, len);
    OPENSSL_cleanse(&keys, sizeof keys);
    return good;
}

static enum ssl_ticket_aead_result_t unseal(SSL *ssl, uint8_t *out, size_t *out_len, size_t cap,
                                            const uint8_t *in, size_t len)
{
    const struct tls_engine *e = SSL_get_app_data(ssl);
    struct ticket_keys keys;

    copy_tickets(e->context, &keys);
    bool good = ticket_open(&keys, e->context->scope, out, out_len, cap, in, len);
    OPENSSL_cleanse(&keys, sizeof keys);
    return good ? ssl_ticket_aead_success : ssl_ticket_aead_ignore_ticket;
}

static const SSL_TICKET_AEAD_METHOD ticket_method = {
    .max_overhead = ticket_overhead, .seal = seal, .open = unseal};

void tls_context_tickets(struct tls_context *c, const struct ticket_keys *keys)
{
    pthread_mutex_lock(&c->lock);
    c->tickets = *keys;
    pthread_mutex_unlock(&c->lock);
}

static enum ssl_verify_result_t check_client(SSL *ssl, uint8_t *alert)
{
    struct tls_engine *e = SSL_get_app_data(ssl);
    const STACK_OF(CRYPTO_BUFFER) *chain = SSL_get0_peer_certificates(ssl);

    e->certified = true;
    free(e->client);
    const char *fault = client_ca_check(e->context->client_ca, &e->client, alert, chain);
    if (fault == NULL)
        return ssl_verify_ok;
    e->failure = fault;
    return ssl_verify_invalid;
}

/* Who shows none goes on without. The certificate is not needed any more once it was looked at. */
static bool ask_clients(struct tls_context *c, const struct client_ca *ca)
{
    STACK_OF(CRYPTO_BUFFER) *names = client_ca_names(ca);

    if (names == NULL)
        return false;
    c->client_ca = ca;
    SSL_CTX_set0_client_CAs(c->ssl, names);
    SSL_CTX_set_custom_verify(c->ssl, SSL_VERIFY_PEER, check_client);
    SSL_CTX_set_max_cert_list(c->ssl, CONTEXT_CLIENT_CHAIN_MAX);
    SSL_CTX_set_retain_only_sha256_of_client_certs(c->ssl, 1);
    return SSL_CTX_set_verify_algorithm_prefs(
               c->ssl, client_algorithms, sizeof client_algorithms / sizeof client_algorithms[0]) ==
           1;
}

static void set_behaviour(struct tls_context *c)
{
    SSL_CTX *ssl = c->ssl;
    SSL_CTX_set_mode(ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_NO_AUTO_CHAIN | SSL_MODE_CBC_RECORD_SPLITTING);
    SSL_CTX_set_options(ssl, SSL_OP_CIPHER_SERVER_PREFERENCE);
    /* A replayed first flight would be a message sent twice. */
    SSL_CTX_set_early_data_enabled(ssl, 0);
    SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_timeout(ssl, TICKET_ROTATE_S);
    SSL_CTX_set_session_psk_dhe_timeout(ssl, TICKET_ROTATE_S);
    SSL_CTX_set_ticket_aead_method(ssl, &ticket_method);
    SSL_CTX_set_alpn_select_cb(ssl, choose_alpn, NULL);
    SSL_CTX_set_select_certificate_cb(ssl, select_certificate);
}

/* Static RSA has no forward secrecy, and asks the key to decrypt: it never comes near the key. */
static bool ciphers_forward_secret(const SSL_CTX *ssl)
{
    const STACK_OF(SSL_CIPHER) *list = SSL_CTX_get_ciphers(ssl);
    for (size_t i = 0; i < sk_SSL_CIPHER_num(list); i++)
        if (SSL_CIPHER_get_kx_nid(sk_SSL_CIPHER_value(list, i)) == NID_kx_rsa)
            return false;
    return true;
}

static bool set_ciphers(SSL_CTX *ssl, const struct tls_settings *s, char *error)
{
    const bool old = s->min_version < TLS1_2_VERSION;
    const char *list = s->ciphers != NULL ? s->ciphers
                       : old              ? CONTEXT_CIPHERS_OLD
                                          : CONTEXT_CIPHERS;

    if (SSL_CTX_set_strict_cipher_list(ssl, list) != 1)
        snprintf(error, CERTIFICATE_ERROR_MAX,
                 "ciphers \"%.200s\": the TLS library knows no such list; leave it out for the "
                 "built-in one, or name suites like ECDHE-ECDSA-AES128-GCM-SHA256",
                 list);
    else if (!ciphers_forward_secret(ssl))
        snprintf(error, CERTIFICATE_ERROR_MAX,
                 "ciphers \"%.200s\": holds suites without forward secrecy; add :!kRSA", list);
    else
        return true;
    return false;
}

static bool set_protocol(SSL_CTX *ssl, const struct tls_settings *s, char *error)
{
    const char *groups = s->groups != NULL ? s->groups : CONTEXT_GROUPS;
    const size_t algorithms = sizeof signature_algorithms / sizeof signature_algorithms[0] -
                              (s->min_version < TLS1_2_VERSION ? 0 : CONTEXT_SHA1_ALGORITHMS);

    if (s->min_version < TLS1_VERSION || SSL_CTX_set_min_proto_version(ssl, s->min_version) != 1 ||
        SSL_CTX_set_max_proto_version(ssl, TLS1_3_VERSION) != 1)
        snprintf(error, CERTIFICATE_ERROR_MAX,
                 "min_version 0x%04x: is no version of TLS; give 1.0, 1.1, 1.2 or 1.3",
                 (unsigned)s->min_version);
    else if (SSL_CTX_set1_curves_list(ssl, groups) != 1)
        snprintf(error, CERTIFICATE_ERROR_MAX,
                 "groups \"%.200s\": the TLS library does not know them; leave it out for the "
                 "built-in list, or name some of X25519, P-256, P-384, colons between",
                 groups);
    else if (SSL_CTX_set_signing_algorithm_prefs(ssl, signature_algorithms, algorithms) != 1)
        snprintf(error, CERTIFICATE_ERROR_MAX, "the TLS library refuses the signature algorithms");
    else
        return set_ciphers(ssl, s, error);
    return false;
}

static bool set_certificates(struct tls_context *c, const struct tls_settings *s)
{
    c->certificates = s->certificates;
    c->certificate_count = s->certificate_count;
    c->in_default_group = calloc(s->certificate_count, sizeof *c->in_default_group);
    if (c->in_default_group == NULL)
        return false;
    for (size_t i = 0; i < s->certificate_count; i++)
        c->in_default_group[i] =
            i == 0 || certificate_shares_name(s->certificates[0], s->certificates[i]);
    return true;
}

static bool context_start(struct tls_context *c, const struct tls_settings *s)
{
    if (pthread_mutex_init(&c->lock, NULL) != 0)
        abort();
    SHA256((const uint8_t *)s->scope, strlen(s->scope), c->scope);
    c->ssl = SSL_CTX_new(TLS_with_buffers_method());
    c->wire = wire_bio_method();
    return c->ssl != NULL && c->wire != NULL && set_certificates(c, s) &&
           (s->client_ca == NULL || ask_clients(c, s->client_ca)) &&
           SSL_CTX_set_session_id_context(c->ssl, c->scope, sizeof c->scope) == 1 &&
           SSL_CTX_set_num_tickets(c->ssl, 1) == 1;
}

struct tls_context *tls_context_new(const struct tls_settings *settings,
                                    char error[CERTIFICATE_ERROR_MAX])
{
    if (settings->certificate_count == 0) {
        snprintf(error, CERTIFICATE_ERROR_MAX, "listener %.64s: has no certificate; name one",
                 settings->scope);
        return NULL;
    }
    struct tls_context *c = calloc(1, sizeof *c);
    snprintf(error, CERTIFICATE_ERROR_MAX, "listener %.64s: no memory is left for TLS",
             settings->scope);
    if (c == NULL)
        return NULL;
    if (!context_start(c, settings) || !set_protocol(c->ssl, settings, error)) {
        tls_context_free(c);
        ERR_clear_error();
        return NULL;
    }
    set_behaviour(c);
    error[0] = '\0';
    return c;
}

void tls_context_free(struct tls_context *c)
{
    if (c == NULL)
        return;
    SSL_CTX_free(c->ssl);
    BIO_meth_free(c->wire);
    pthread_mutex_destroy(&c->lock);
    OPENSSL_cleanse(&c->tickets, sizeof c->tickets);
    free(c->in_default_group);
    free(c);
}
