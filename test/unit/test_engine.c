#include "tls/engine.h"

#include <malloc.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "tls_make.h"

enum { ECDSA_MAIL, RSA_MAIL, ECDSA_OTHER, RSA_ONLY, P384_ONLY, CERTIFICATES };

static struct made made[CERTIFICATES];
static struct certificate *certificate[CERTIFICATES];
static struct tls_key *key[CERTIFICATES];

static struct certificate *from_x509(X509 *x)
{
    uint8_t *der = NULL;
    size_t len = (size_t)i2d_X509(x, &der);
    const uint8_t *const list[] = {der};
    struct certificate *c = certificate_from_der(list, &len, 1);
    OPENSSL_free(der);
    return c;
}

static int make_all(void **state)
{
    (void)state;
    char path[] = "/tmp/vestibule-engine-XXXXXX", error[CERTIFICATE_ERROR_MAX];
    made[ECDSA_MAIL] = make_certificate(make_ec_key(NID_X9_62_prime256v1), "DNS:mail.example");
    made[RSA_MAIL] = make_certificate(make_rsa_key(2048), "DNS:mail.example");
    made[ECDSA_OTHER] = make_certificate(make_ec_key(NID_X9_62_prime256v1), "DNS:*.other.example");
    made[RSA_ONLY] = make_certificate(make_rsa_key(2048), "DNS:rsa.example");
    made[P384_ONLY] = make_certificate(make_ec_key(NID_secp384r1), "DNS:p384.example");
    close(mkstemp(path));
    for (size_t i = 0; i < CERTIFICATES; i++) {
        certificate[i] = from_x509(made[i].x);
        write_pem(path, NULL, 0, made[i].key, NULL);
        key[i] = certificate[i] == NULL ? NULL : tls_key_load(path, certificate[i], error);
        if (key[i] == NULL)
            return -1;
    }
    return unlink(path);
}

static int free_all(void **state)
{
    (void)state;
    for (size_t i = 0; i < CERTIFICATES; i++) {
        made_free(&made[i]);
        certificate_free(certificate[i]);
        tls_key_free(key[i]);
    }
    return 0;
}

static struct tls_context *context(const struct tls_settings *with)
{
    struct tls_settings s = with != NULL ? *with : (struct tls_settings){0};
    char error[CERTIFICATE_ERROR_MAX];
    if (s.min_version == 0)
        s.min_version = TLS1_2_VERSION;
    if (s.scope == NULL)
        s.scope = "submissions";
    if (s.certificates == NULL) {
        s.certificates = certificate;
        s.certificate_count = CERTIFICATES;
    }
    struct tls_context *c = tls_context_new(&s, error);
    if (c == NULL)
        fail_msg("%s", error);
    return c;
}

static SSL_CTX *client_context(uint16_t min, uint16_t max)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_method());
    SSL_CTX_set_min_proto_version(ctx, min);
    SSL_CTX_set_max_proto_version(ctx, max);
    return ctx;
}

/* One connection: a client in memory, and the engine that is tested. */
struct pair {
    SSL *client;
    struct tls_engine *engine;
    size_t in_max, out_max; /* octets given to the engine, room given to it, at a time */
    size_t out_next;        /* not 0: every other call has this room */
    bool refuse;
    size_t signatures;
    size_t signer;      /* the certificate of the last signature */
    uint16_t algorithm; /* of the last signature */
    uint8_t *feed;      /* ciphertext on its way to the engine */
    size_t feed_len, feed_cap;
    uint8_t sent[64]; /* the engine's last octets */
    size_t sent_len;
};

static void pair_open(struct pair *p, struct tls_context *c, SSL_CTX *client)
{
    *p = (struct pair){.in_max = SIZE_MAX, .out_max = SIZE_MAX};
    p->client = SSL_new(client);
    SSL_set_bio(p->client, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_connect_state(p->client);
    p->engine = tls_engine_new(c);
    assert_non_null(p->engine);
}

static void pair_close(struct pair *p)
{
    SSL_free(p->client);
    tls_engine_free(p->engine);
    free(p->feed);
    ERR_clear_error();
}

static void feed_append(struct pair *p, const void *data, size_t len)
{
    if (p->feed_cap < p->feed_len + len)
        p->feed = realloc(p->feed, p->feed_cap = 2 * (p->feed_len + len));
    memcpy(p->feed + p->feed_len, data, len);
    p->feed_len += len;
}

/* What the client has written is now on its way. */
static void collect(struct pair *p)
{
    const uint8_t *data;
    size_t len;
    BIO *bio = SSL_get_wbio(p->client);
    BIO_mem_contents(bio, &data, &len);
    if (len > 0)
        feed_append(p, data, len);
    (void)BIO_reset(bio);
}

static void deliver(struct pair *p, const uint8_t *data, size_t len)
{
    if (len > 0)
        BIO_write(SSL_get_rbio(p->client), data, (int)len);
    for (size_t i = 0; i < len; i++) {
        if (p->sent_len == sizeof p->sent)
            memmove(p->sent, p->sent + 1, --p->sent_len);
        p->sent[p->sent_len++] = data[i];
    }
}

static void answer(struct pair *p)
{
    const struct tls_job *job = tls_engine_job(p->engine);
    uint8_t signature[TLS_SIGNATURE_MAX];
    size_t len = 0;
    assert_non_null(job);
    p->signatures++;
    p->signer = job->certificate;
    p->algorithm = job->algorithm;
    assert_true(p->refuse || tls_key_sign(key[job->certificate], job->algorithm, job->input,
                                          job->len, signature, &len));
    tls_engine_signed(p->engine, signature, len);
    assert_null(tls_engine_job(p->engine));
}

typedef enum tls_status step_fn(struct pair *p, struct tls_wire *w, void *arg);

/* Runs one call until it wants input that is not there, or has an end. Checks what the wire
 * promises. */
static enum tls_status run(struct pair *p, step_fn *step, void *arg)
{
    static uint8_t out[32768];
    for (;;) {
        uint8_t guard = 0xa5;
        size_t room = p->out_max < sizeof out - 1 ? p->out_max : sizeof out - 1;
        out[room] = guard;
        struct tls_wire w = {.in = p->feed,
                             .in_len = p->feed_len < p->in_max ? p->feed_len : p->in_max,
                             .out = out,
                             .out_cap = room};
        size_t shown = w.in_len;
        enum tls_status status = step(p, &w, arg);
        assert_true(w.in_used <= shown);
        assert_true(w.out_len <= room);
        assert_int_equal(out[room], guard);
        if (p->out_next != 0) {
            const size_t was = p->out_max;
            p->out_max = p->out_next;
            p->out_next = was;
        }
        deliver(p, out, w.out_len);
        p->feed_len -= w.in_used;
        if (p->feed_len > 0)
            memmove(p->feed, p->feed + w.in_used, p->feed_len);
        if (status == TLS_WANT_SIGNATURE)
            answer(p);
        else if (status == TLS_WANT_OUTPUT)
            assert_true(w.out_len > 0);
        else if (status != TLS_WANT_INPUT || p->feed_len == 0)
            return status;
        else
            assert_true(w.in_used > 0);
    }
}

static enum tls_status step_handshake(struct pair *p, struct tls_wire *w, void *arg)
{
    (void)arg;
    return tls_engine_handshake(p->engine, w);
}

struct transfer {
    uint8_t *data;
    size_t len, done;
};

static enum tls_status step_read(struct pair *p, struct tls_wire *w, void *arg)
{
    struct transfer *t = arg;
    size_t got;
    enum tls_status status =
        tls_engine_read(p->engine, w, t->data + t->done, t->len - t->done, &got);
    t->done += got;
    assert_int_equal(status == TLS_OK, got > 0);
    return status;
}

static enum tls_status step_write(struct pair *p, struct tls_wire *w, void *arg)
{
    struct transfer *t = arg;
    size_t taken;
    /* Other memory at every call: the engine must not rely on the address. */
    uint8_t *copy = malloc(t->len - t->done + 1);
    memcpy(copy, t->data + t->done, t->len - t->done);
    enum tls_status status = tls_engine_write(p->engine, w, copy, t->len - t->done, &taken);
    memset(copy, 0xee, t->len - t->done);
    free(copy);
    t->done += taken;
    return status;
}

static enum tls_status step_close(struct pair *p, struct tls_wire *w, void *arg)
{
    (void)arg;
    return tls_engine_close(p->engine, w);
}

static enum tls_status shake(struct pair *p)
{
    for (int turn = 0; turn < 20; turn++) {
        int client = SSL_do_handshake(p->client);
        collect(p);
        enum tls_status status = run(p, step_handshake, NULL);
        if (status == TLS_OK && client != 1)
            client = SSL_do_handshake(p->client);
        if (status == TLS_OK && client == 1)
            return TLS_OK;
        if (status == TLS_FAILED || status == TLS_CLOSED)
            return status;
    }
    return TLS_WANT_INPUT;
}

static void say(struct pair *p, const char *text)
{
    struct transfer t = {(uint8_t *)text, strlen(text), 0};
    char got[200];
    int n = 0, done = 0;
    assert_int_equal(run(p, step_write, &t), TLS_OK);
    assert_int_equal(t.done, t.len);
    while ((n = SSL_read(p->client, got + done, (int)sizeof got - done)) > 0)
        done += n;
    assert_int_equal(done, (int)t.len);
    assert_memory_equal(got, text, t.len);
}

static void hear(struct pair *p, const char *text)
{
    uint8_t got[200];
    struct transfer t = {got, sizeof got, 0};
    const size_t len = strlen(text);
    assert_int_equal(SSL_write(p->client, text, (int)len), (int)len);
    collect(p);
    assert_int_equal(run(p, step_read, &t), TLS_OK);
    assert_int_equal(t.done, len);
    assert_memory_equal(got, text, len);
}

/* The client got this fatal alert. */
static void assert_alert(struct pair *p, int alert)
{
    uint8_t octet;
    ERR_clear_error();
    (void)(SSL_in_init(p->client) ? SSL_do_handshake(p->client) : SSL_read(p->client, &octet, 1));
    assert_int_equal(ERR_GET_REASON(ERR_peek_error()), SSL_AD_REASON_OFFSET + alert);
    ERR_clear_error();
}

static void converse(struct tls_context *c, SSL_CTX *client, size_t in_max, size_t out_max)
{
    struct pair p;
    pair_open(&p, c, client);
    p.in_max = in_max;
    p.out_max = out_max;
    assert_int_equal(shake(&p), TLS_OK);
    assert_int_equal(p.signatures, 1);
    say(&p, "220 mail.example ESMTP\r\n");
    hear(&p, "EHLO client.example\r\n");
    say(&p, "250 mail.example\r\n");
    pair_close(&p);
}

static void both_versions_shake_hands_and_talk(void **state)
{
    (void)state;
    struct tls_context *c = context(NULL);
    for (uint16_t version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        SSL_CTX *client = client_context(version, version);
        converse(c, client, SIZE_MAX, SIZE_MAX);
        converse(c, client, 1, SIZE_MAX);
        converse(c, client, SIZE_MAX, 1);
        converse(c, client, 1, 1);
        converse(c, client, 3, 7);
        SSL_CTX_free(client);
    }
    tls_context_free(c);
}

static void first_flight_cut_at_every_place(void **state)
{
    (void)state;
    struct tls_context *c = context(NULL);
    SSL_CTX *client = client_context(TLS1_2_VERSION, TLS1_3_VERSION);
    size_t len = 1;
    for (size_t cut = 0; cut < len; cut++) {
        struct pair p;
        pair_open(&p, c, client);
        SSL_set_tlsext_host_name(p.client, "mail.example");
        SSL_do_handshake(p.client);
        collect(&p);
        len = p.feed_len;
        p.feed_len = cut;
        assert_int_equal(run(&p, step_handshake, NULL), TLS_WANT_INPUT);
        memmove(p.feed, p.feed + cut, len - cut);
        p.feed_len = len - cut;
        assert_int_equal(shake(&p), TLS_OK);
        hear(&p, "NOOP\r\n");
        pair_close(&p);
    }
    assert_true(len > 100);
    SSL_CTX_free(client);
    tls_context_free(c);
}

static void facts_are_told(void **state)
{
    (void)state;
    struct tls_context *c = context(NULL);
    SSL_CTX *client = client_context(TLS1_2_VERSION, TLS1_3_VERSION);
    struct pair p;

    SSL_CTX_set1_curves_list(client, "X25519");
    pair_open(&p, c, client);
    assert_string_equal(tls_engine_version(p.engine), "");
    assert_string_equal(tls_engine_cipher(p.engine), "");
    assert_string_equal(tls_engine_group(p.engine), "");
    assert_string_equal(tls_engine_sni(p.engine), "");
    SSL_set_tlsext_host_name(p.client, "mail.example");
    assert_int_equal(shake(&p), TLS_OK);
    hear(&p, "NOOP\r\n");
    assert_string_equal(tls_engine_version(p.engine), "TLSv1.3");
    assert_int_equal(strncmp(tls_engine_cipher(p.engine), "TLS_", 4), 0);
    assert_string_equal(tls_engine_group(p.engine), "X25519");
    assert_string_equal(tls_engine_sni(p.engine), "mail.example");
    assert_string_equal(tls_engine_failure(p.engine), "");
    assert_false(tls_engine_resumed(p.engine));
    pair_close(&p);

    SSL_CTX_set_max_proto_version(client, TLS1_2_VERSION);
    SSL_CTX_set_cipher_list(client, "ECDHE-RSA-AES128-GCM-SHA256");
    pair_open(&p, c, client);
    assert_int_equal(shake(&p), TLS_OK);
    assert_string_equal(tls_engine_version(p.engine), "TLSv1.2");
    assert_string_equal(tls_engine_cipher(p.engine), "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256");
    assert_string_equal(tls_engine_group(p.engine), "X25519");
    pair_close(&p);
    SSL_CTX_free(client);
    tls_context_free(c);
}

/* Which certificate the client saw; the signature was asked of the same. */
static size_t chosen(struct tls_context *c, SSL_CTX *client, const char *name)
{
    struct pair p;
    size_t index = CERTIFICATES;
    pair_open(&p, c, client);
    if (name != NULL)
        SSL_set_tlsext_host_name(p.client, name);
    assert_int_equal(shake(&p), TLS_OK);
    X509 *seen = SSL_get_peer_certificate(p.client);
    for (size_t i = 0; i < CERTIFICATES; i++)
        if (X509_cmp(seen, made[i].x) == 0)
            index = i;
    X509_free(seen);
    assert_int_equal(p.signer, index);
    hear(&p, "NOOP\r\n");
    pair_close(&p);
    return index;
}

static void the_name_asked_for_chooses_the_certificate(void **state)
{
    (void)state;
    struct tls_context *c = context(NULL);
    for (uint16_t version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        SSL_CTX *client = client_context(version, version);
        assert_int_equal(chosen(c, client, NULL), ECDSA_MAIL);
        assert_int_equal(chosen(c, client, "mail.example"), ECDSA_MAIL);
        assert_int_equal(chosen(c, client, "MAIL.EXAMPLE"), ECDSA_MAIL);
        assert_int_equal(chosen(c, client, "unknown.example"), ECDSA_MAIL);
        assert_int_equal(chosen(c, client, "a.other.example"), ECDSA_OTHER);
        assert_int_equal(chosen(c, client, ".other.example"), ECDSA_MAIL);
        assert_int_equal(chosen(c, client, "other.example"), ECDSA_MAIL);
        assert_int_equal(chosen(c, client, "rsa.example"), RSA_ONLY);
        assert_int_equal(chosen(c, client, "p384.example"), P384_ONLY);
        SSL_CTX_free(client);
    }
    tls_context_free(c);
}

static void a_name_that_is_none_is_kept_from_the_log(void **state)
{
    (void)state;
    struct tls_context *c = context(NULL);
    SSL_CTX *client = client_context(TLS1_2_VERSION, TLS1_3_VERSION);
    const char *const names[] = {"evil\x1b[2J", "two words", "a\nb", ".example"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct pair p;
        pair_open(&p, c, client);
        SSL_set_tlsext_host_name(p.client, names[i]);
        assert_int_equal(shake(&p), TLS_OK);
        assert_string_equal(tls_engine_sni(p.engine), "");
        pair_close(&p);
    }
    SSL_CTX_free(client);
    tls_context_free(c);
}

static void ecdsa_goes_to_those_who_can_verify_it(void **state)
{
    (void)state;
    struct tls_context *c = context(NULL);
    const uint16_t rsa_only[] = {SSL_SIGN_RSA_PSS_RSAE_SHA256, SSL_SIGN_RSA_PKCS1_SHA256};
    const uint16_t p384_and_rsa[] = {SSL_SIGN_ECDSA_SECP384R1_SHA384, SSL_SIGN_RSA_PSS_RSAE_SHA256};
    SSL_CTX *client;

    for (uint16_t version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        client = client_context(version, version);
        SSL_CTX_set_verify_algorithm_prefs(client, rsa_only, 2);
        assert_int_equal(chosen(c, client, "mail.example"), RSA_MAIL);
        assert_int_equal(chosen(c, client, NULL), RSA_MAIL);
        SSL_CTX_set_verify_algorithm_prefs(client, p384_and_rsa, 2);
        assert_int_equal(chosen(c, client, "mail.example"), RSA_MAIL);
        assert_int_equal(chosen(c, client, "p384.example"), P384_ONLY);
        SSL_CTX_free(client);
    }
    /* TLS 1.2 says it by suites and groups as well. */
    client = client_context(TLS1_2_VERSION, TLS1_2_VERSION);
    SSL_CTX_set_cipher_list(client, "ECDHE-RSA-AES128-GCM-SHA256");
    assert_int_equal(chosen(c, client, "mail.example"), RSA_MAIL);
    SSL_CTX_free(client);
    client = client_context(TLS1_2_VERSION, TLS1_2_VERSION);
    SSL_CTX_set1_curves_list(client, "X25519:P-384");
    assert_int_equal(chosen(c, client, "mail.example"), RSA_MAIL);
    SSL_CTX_free(client);
    tls_context_free(c);
}

static void rsa_signs_by_pss_or_by_pkcs1(void **state)
{
    (void)state;
    struct tls_context *c = context(NULL);
    const uint16_t pkcs1[] = {SSL_SIGN_RSA_PKCS1_SHA384};
    const uint16_t pss[] = {SSL_SIGN_RSA_PSS_RSAE_SHA512};
    SSL_CTX *client = client_context(TLS1_2_VERSION, TLS1_2_VERSION);
    struct pair p;

    for (size_t i = 0; i < 2; i++) {
        SSL_CTX_set_verify_algorithm_prefs(client, i == 0 ? pkcs1 : pss, 1);
        pair_open(&p, c, client);
        SSL_set_tlsext_host_name(p.client, "rsa.example");
        assert_int_equal(shake(&p), TLS_OK);
        assert_int_equal(p.algorithm, i == 0 ? pkcs1[0] : pss[0]);
        hear(&p, "NOOP\r\n");
        pair_close(&p);
    }
    SSL_CTX_free(client);
    tls_context_free(c);
}

static void alpn(struct tls_context *c, const char *offer, size_t offer_len, const char *expected)
{
    for (uint16_t version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        SSL_CTX *client = client_context(version, version);
        struct pair p;
        const uint8_t *selected;
        unsigned len;
        pair_open(&p, c, client);
        SSL_set_alpn_protos(p.client, (const uint8_t *)offer, offer_len);
        enum tls_status status = shake(&p);
        if (expected == NULL) {
            assert_int_equal(status, TLS_FAILED);
            assert_string_equal(tls_engine_failure(p.engine), "no application protocol in common");
            assert_alert(&p, 120);
            /* In clear, on the wire: record of type 21, level 2, description 120. */
            const uint8_t alert[] = {21, 3, p.sent[p.sent_len - 5], 0, 2, 2, 120};
            assert_memory_equal(p.sent + p.sent_len - sizeof alert, alert, sizeof alert);
        } else {
            assert_int_equal(status, TLS_OK);
            SSL_get0_alpn_selected(p.client, &selected, &len);
            assert_int_equal(len, strlen(expected));
            assert_memory_equal(selected, expected, len);
        }
        pair_close(&p);
        SSL_CTX_free(client);
    }
}

static void only_mail_protocols_are_spoken(void **state)
{
    (void)state;
    struct tls_context *c = context(NULL);
    alpn(c, "", 0, "");
    alpn(c, "\x04smtp", 5, "smtp");
    alpn(c,
         "\x05"
         "esmtp",
         6, "esmtp");
    alpn(c, "\x0asubmission", 11, "submission");
    alpn(c, "\x02h2\x04smtp", 8, "smtp");
    alpn(c, "\x08http/1.1", 9, NULL);
    alpn(c, "\x02h2\x04imap\x05smtps", 14, NULL);
    alpn(c, "\x04SMTP", 5, NULL);
    tls_context_free(c);
}

/* Keeps the last ticket that the client was given. */
static SSL_SESSION *last_session;

static int keep_session(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl;
    SSL_SESSION_free(last_session);
    last_session = session;
    return 1;
}

static SSL_CTX *resuming_client(uint16_t version)
{
    SSL_CTX *client = client_context(version, version);
    SSL_CTX_set_session_cache_mode(client, SSL_SESS_CACHE_CLIENT);
    SSL_CTX_sess_set_new_cb(client, keep_session);
    return client;
}

static void forget_session(void)
{
    SSL_SESSION_free(last_session);
    last_session = NULL;
}

/* Connects with the session; says whether it was resumed. The next ticket, if there is one, is in
 * last_session. */
static bool connects(struct tls_context *c, SSL_CTX *client, SSL_SESSION *session, const char *name)
{
    struct pair p;
    pair_open(&p, c, client);
    if (name != NULL)
        SSL_set_tlsext_host_name(p.client, name);
    if (session != NULL)
        SSL_set_session(p.client, session);
    assert_int_equal(shake(&p), TLS_OK);
    say(&p, "220 hello\r\n");
    hear(&p, "NOOP\r\n");
    bool resumed = tls_engine_resumed(p.engine);
    assert_int_equal(resumed, SSL_session_reused(p.client));
    assert_int_equal(p.signatures, resumed ? 0 : 1);
    assert_int_not_equal(tls_engine_group(p.engine)[0], '\0');
    if (name != NULL)
        assert_string_equal(tls_engine_sni(p.engine), name);
    pair_close(&p);
    return resumed;
}

static SSL_SESSION *fresh_session(struct tls_context *c, SSL_CTX *client, const char *name)
{
    forget_session();
    assert_false(connects(c, client, NULL, name));
    assert_non_null(last_session);
    SSL_SESSION *session = last_session;
    last_session = NULL;
    return session;
}

static void tickets_resume_and_age(void **state)
{
    (void)state;
    struct tls_context *c = context(NULL);
    for (uint16_t version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        struct ticket_keys keys = {0};
        SSL_CTX *client = resuming_client(version);
        ticket_keys_rotate(&keys);
        tls_context_tickets(c, &keys);
        SSL_SESSION *session = fresh_session(c, client, "mail.example");
        assert_int_equal(SSL_SESSION_get_timeout(session) <= TICKET_ROTATE_S, 1);
        assert_false(SSL_SESSION_early_data_capable(session));
        assert_true(connects(c, client, session, "mail.example"));
        ticket_keys_rotate(&keys);
        tls_context_tickets(c, &keys);
        assert_true(connects(c, client, session, "mail.example"));
        ticket_keys_rotate(&keys);
        ticket_keys_rotate(&keys);
        tls_context_tickets(c, &keys);
        assert_false(connects(c, client, session, "mail.example"));
        SSL_SESSION_free(session);
        SSL_CTX_free(client);
    }
    forget_session();
    tls_context_free(c);
}

static void a_ticket_is_good_for_one_listener_and_one_name(void **state)
{
    (void)state;
    struct tls_context *one = context(NULL);
    struct tls_context *two = context(&(struct tls_settings){.scope = "submission"});
    struct tls_context *same = context(NULL);
    struct ticket_keys keys = {0};

    ticket_keys_rotate(&keys);
    tls_context_tickets(one, &keys);
    tls_context_tickets(two, &keys);
    tls_context_tickets(same, &keys);
    for (uint16_t version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        SSL_CTX *client = resuming_client(version);
        SSL_SESSION *session = fresh_session(one, client, "mail.example");
        assert_false(connects(two, client, session, "mail.example"));
        assert_false(connects(one, client, session, "a.other.example"));
        assert_false(connects(one, client, session, "unknown.example"));
        assert_false(connects(one, client, session, NULL));
        assert_true(connects(same, client, session, "mail.example"));
        SSL_SESSION_free(session);
        SSL_CTX_free(client);
    }
    forget_session();
    tls_context_free(one);
    tls_context_free(two);
    tls_context_free(same);
}

static void no_ticket_before_there_are_keys(void **state)
{
    (void)state;
    struct tls_context *c = context(NULL);
    for (uint16_t version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        SSL_CTX *client = resuming_client(version);
        forget_session();
        assert_false(connects(c, client, NULL, NULL));
        /* TLS 1.2 gives a session either way; it holds no ticket. */
        assert_true(last_session == NULL || !SSL_SESSION_has_ticket(last_session));
        SSL_CTX_free(client);
    }
    forget_session();
    tls_context_free(c);
}

static void keys_taken_away_under_a_handshake_do_no_harm(void **state)
{
    (void)state;
    struct tls_context *c = context(NULL);
    for (uint16_t version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        struct ticket_keys keys = {0};
        const struct ticket_keys none = {0};
        SSL_CTX *client = resuming_client(version);
        struct pair p;
        ticket_keys_rotate(&keys);
        tls_context_tickets(c, &keys);
        pair_open(&p, c, client);
        tls_context_tickets(c, &none);
        forget_session();
        assert_int_equal(shake(&p), TLS_OK);
        say(&p, "220 hello\r\n");
        pair_close(&p);
        assert_non_null(last_session);
        SSL_SESSION *session = last_session;
        last_session = NULL;
        tls_context_tickets(c, &keys);
        assert_false(connects(c, client, session, NULL));
        tls_context_tickets(c, &none);
        assert_false(connects(c, client, session, NULL));
        SSL_SESSION_free(session);
        SSL_CTX_free(client);
    }
    forget_session();
    tls_context_free(c);
}

static void old_versions_only_where_told(void **state)
{
    (void)state;
    struct tls_context *c = context(NULL);
    struct tls_context *lax = context(&(struct tls_settings){.min_version = TLS1_VERSION});
    struct tls_context *strict = context(&(struct tls_settings){.min_version = TLS1_3_VERSION});
    SSL_CTX *client = client_context(TLS1_1_VERSION, TLS1_1_VERSION);
    struct pair p;

    pair_open(&p, c, client);
    assert_int_equal(shake(&p), TLS_FAILED);
    assert_string_equal(tls_engine_failure(p.engine), "unsupported protocol version");
    assert_alert(&p, SSL_AD_PROTOCOL_VERSION);
    pair_close(&p);
    pair_open(&p, lax, client);
    assert_int_equal(shake(&p), TLS_OK);
    assert_string_equal(tls_engine_version(p.engine), "TLSv1.1");
    say(&p, "220 old\r\n");
    hear(&p, "HELO printer\r\n");
    pair_close(&p);
    SSL_CTX_free(client);

    client = client_context(TLS1_VERSION, TLS1_VERSION);
    converse(lax, client, SIZE_MAX, SIZE_MAX);
    SSL_CTX_free(client);
    client = client_context(TLS1_2_VERSION, TLS1_2_VERSION);
    pair_open(&p, strict, client);
    assert_int_equal(shake(&p), TLS_FAILED);
    pair_close(&p);
    SSL_CTX_free(client);
    tls_context_free(c);
    tls_context_free(lax);
    tls_context_free(strict);
}

static void weak_suites_are_not_spoken(void **state)
{
    (void)state;
    struct tls_context *c = context(NULL);
    const char *const weak[] = {"AES128-GCM-SHA256", "AES128-SHA", "ECDHE-RSA-AES128-SHA",
                                "ECDHE-ECDSA-AES256-SHA", "DES-CBC3-SHA"};
    for (size_t i = 0; i < sizeof weak / sizeof weak[0]; i++) {
        SSL_CTX *client = client_context(TLS1_2_VERSION, TLS1_2_VERSION);
        struct pair p;
        if (SSL_CTX_set_strict_cipher_list(client, weak[i]) == 1) {
            pair_open(&p, c, client);
            assert_int_equal(shake(&p), TLS_FAILED);
            assert_string_equal(tls_engine_failure(p.engine), "no cipher in common");
            assert_alert(&p, SSL_AD_HANDSHAKE_FAILURE);
            pair_close(&p);
        }
        SSL_CTX_free(client);
    }
    tls_context_free(c);
}

static void bad_settings_give_a_sentence(const struct tls_settings *with, const char *word)
{
    struct tls_settings s = *with;
    char error[CERTIFICATE_ERROR_MAX] = "";
    s.scope = "submissions";
    if (s.min_version == 0)
        s.min_version = TLS1_2_VERSION;
    s.certificates = certificate;
    if (s.certificate_count == 0)
        s.certificate_count = CERTIFICATES;
    assert_null(tls_context_new(&s, error));
    if (strstr(error, word) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", error, word);
}

static void settings_that_cannot_be(void **state)
{
    (void)state;
    char error[CERTIFICATE_ERROR_MAX] = "";
    bad_settings_give_a_sentence(&(struct tls_settings){.ciphers = "NONSENSE"}, "NONSENSE");
    bad_settings_give_a_sentence(&(struct tls_settings){.ciphers = "ALL"}, "forward secrecy");
    bad_settings_give_a_sentence(&(struct tls_settings){.groups = "P-257"}, "P-257");
    bad_settings_give_a_sentence(&(struct tls_settings){.min_version = 0x0305}, "0x0305");
    bad_settings_give_a_sentence(&(struct tls_settings){.min_version = 0x0300}, "0x0300");
    assert_null(tls_context_new(&(struct tls_settings){.scope = "x", .min_version = TLS1_2_VERSION},
                                error));
    assert_non_null(strstr(error, "no certificate"));
    tls_context_free(context(&(struct tls_settings){.ciphers = "ECDHE-ECDSA-AES128-GCM-SHA256",
                                                    .groups = "P-256:X25519"}));
}

static void a_refused_signature_fails_with_an_alert(void **state)
{
    (void)state;
    struct tls_context *c = context(NULL);
    for (uint16_t version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        SSL_CTX *client = client_context(version, version);
        for (size_t out_max = 1; out_max < 20000; out_max *= 97) {
            struct pair p;
            pair_open(&p, c, client);
            p.refuse = true;
            p.out_max = out_max;
            assert_int_equal(shake(&p), TLS_FAILED);
            assert_string_equal(tls_engine_failure(p.engine), "the signature was refused");
            assert_alert(&p, SSL_AD_INTERNAL_ERROR);
            assert_int_equal(run(&p, step_handshake, NULL), TLS_FAILED);
            pair_close(&p);
        }
        SSL_CTX_free(client);
    }
    tls_context_free(c);
}

static void a_wrong_signature_does_not_pass(void **state)
{
    (void)state;
    struct tls_context *c = context(NULL);
    SSL_CTX *client = client_context(TLS1_3_VERSION, TLS1_3_VERSION);
    struct pair p;
    uint8_t junk[TLS_SIGNATURE_MAX + 1] = {1}, out[20000];

    for (size_t i = 0; i < 2; i++) {
        pair_open(&p, c, client);
        SSL_do_handshake(p.client);
        collect(&p);
        struct tls_wire w = {.in = p.feed, .in_len = p.feed_len, .out = out, .out_cap = sizeof out};
        assert_int_equal(tls_engine_handshake(p.engine, &w), TLS_WANT_SIGNATURE);
        w.in_len = 0;
        assert_int_equal(tls_engine_handshake(p.engine, &w), TLS_WANT_SIGNATURE);
        tls_engine_signed(p.engine, junk, i == 0 ? 70 : sizeof junk);
        tls_engine_signed(p.engine, junk, 1);
        enum tls_status status = tls_engine_handshake(p.engine, &w);
        deliver(&p, out, w.out_len);
        /* 70 octets go out, and the client sees that they are no signature; 513 never were one. */
        assert_int_equal(status, i == 0 ? TLS_WANT_INPUT : TLS_FAILED);
        assert_int_equal(SSL_do_handshake(p.client), -1);
        pair_close(&p);
    }
    SSL_CTX_free(client);
    tls_context_free(c);
}

static void an_engine_thrown_away_at_any_stage_leaks_nothing(void **state)
{
    (void)state;
    struct tls_context *c = context(NULL);
    SSL_CTX *client = client_context(TLS1_2_VERSION, TLS1_3_VERSION);
    struct pair p;
    uint8_t out[4];

    pair_open(&p, c, client);
    pair_close(&p);
    pair_open(&p, c, client);
    SSL_do_handshake(p.client);
    collect(&p);
    struct tls_wire w = {.in = p.feed, .in_len = p.feed_len, .out = out, .out_cap = sizeof out};
    assert_int_equal(tls_engine_handshake(p.engine, &w), TLS_WANT_SIGNATURE);
    answer(&p);
    w.in_len = 0;
    assert_int_equal(tls_engine_handshake(p.engine, &w), TLS_WANT_OUTPUT);
    assert_int_equal(w.out_len, sizeof out);
    pair_close(&p);
    SSL_CTX_free(client);
    tls_context_free(c);
}

static void plaintext_is_named_for_what_it_is(void **state)
{
    (void)state;
    struct tls_context *c = context(NULL);
    SSL_CTX *client = client_context(TLS1_2_VERSION, TLS1_3_VERSION);
    const struct {
        const char *in, *failure;
    } rows[] = {
        {"EHLO client.example\r\n", "no TLS: plaintext on a TLS port?"},
        {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "an HTTP request on a TLS port"},
        {"CONNECT a:25 HTTP/1.1\r\n\r\n", "an HTTP request on a TLS port"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct pair p;
        pair_open(&p, c, client);
        feed_append(&p, rows[i].in, strlen(rows[i].in));
        assert_int_equal(run(&p, step_handshake, NULL), TLS_FAILED);
        assert_string_equal(tls_engine_failure(p.engine), rows[i].failure);
        pair_close(&p);
    }
    SSL_CTX_free(client);
    tls_context_free(c);
}

static int trust_nobody(int good, X509_STORE_CTX *store)
{
    (void)good, (void)store;
    return 0;
}

static void a_client_without_trust_is_named(void **state)
{
    (void)state;
    struct tls_context *c = context(NULL);
    for (uint16_t version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        SSL_CTX *client = client_context(version, version);
        SSL_CTX_set_verify(client, SSL_VERIFY_PEER, trust_nobody);
        struct pair p;
        pair_open(&p, c, client);
        assert_int_equal(shake(&p), TLS_FAILED);
        assert_int_equal(
            strncmp(tls_engine_failure(p.engine), "the client does not trust our certificate", 41),
            0);
        pair_close(&p);
        SSL_CTX_free(client);
    }
    tls_context_free(c);
}

static void close_notify_from_the_client(void **state)
{
    (void)state;
    struct tls_context *c = context(NULL);
    for (uint16_t version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        SSL_CTX *client = client_context(version, version);
        struct pair p;
        uint8_t got[100];
        struct transfer t = {got, sizeof got, 0};
        pair_open(&p, c, client);
        assert_int_equal(shake(&p), TLS_OK);
        SSL_write(p.client, "QUIT\r\n", 6);
        SSL_shutdown(p.client);
        collect(&p);
        assert_int_equal(run(&p, step_read, &t), TLS_OK);
        assert_int_equal(t.done, 6);
        assert_int_equal(run(&p, step_read, &t), TLS_CLOSED);
        assert_int_equal(run(&p, step_read, &t), TLS_CLOSED);
        /* It may still be listening. */
        t = (struct transfer){(uint8_t *)"221 bye\r\n", 9, 0};
        assert_int_equal(run(&p, step_write, &t), TLS_OK);
        assert_int_equal(run(&p, step_close, NULL), TLS_OK);
        pair_close(&p);
        SSL_CTX_free(client);
    }
    tls_context_free(c);
}

static void close_notify_from_us(void **state)
{
    (void)state;
    struct tls_context *c = context(NULL);
    const size_t rooms[] = {1, 5, SIZE_MAX};
    for (size_t i = 0; i < 3; i++) {
        SSL_CTX *client = client_context(TLS1_2_VERSION, TLS1_2_VERSION + (i & 1));
        struct pair p;
        uint8_t octet;
        pair_open(&p, c, client);
        p.out_max = rooms[i];
        /* Before the handshake there is nothing to say. */
        assert_int_equal(run(&p, step_close, NULL), TLS_OK);
        assert_int_equal(shake(&p), TLS_OK);
        say(&p, "221 bye\r\n");
        assert_int_equal(run(&p, step_close, NULL), TLS_OK);
        assert_int_equal(run(&p, step_close, NULL), TLS_OK);
        int n = SSL_read(p.client, &octet, 1);
        assert_int_equal(SSL_get_error(p.client, n), SSL_ERROR_ZERO_RETURN);
        struct transfer t = {(uint8_t *)"more", 4, 0};
        assert_int_equal(run(&p, step_write, &t), TLS_FAILED);
        assert_int_equal(t.done, 0);
        pair_close(&p);
        SSL_CTX_free(client);
    }
    tls_context_free(c);
}

static void closing_inside_a_record_is_no_clean_end(void **state)
{
    (void)state;
    struct tls_context *c = context(NULL);
    SSL_CTX *client = client_context(TLS1_2_VERSION, TLS1_3_VERSION);
    struct pair p;
    uint8_t out[4];
    size_t taken;

    pair_open(&p, c, client);
    assert_int_equal(shake(&p), TLS_OK);
    struct tls_wire w = {.out = out, .out_cap = sizeof out};
    assert_int_equal(tls_engine_write(p.engine, &w, (const uint8_t *)"250 ok\r\n", 8, &taken),
                     TLS_WANT_OUTPUT);
    assert_int_equal(taken, 0);
    assert_int_equal(tls_engine_close(p.engine, &w), TLS_FAILED);
    assert_int_equal(w.out_len, 0);
    assert_string_equal(tls_engine_failure(p.engine), "closed in the middle of a record");
    pair_close(&p);
    SSL_CTX_free(client);
    tls_context_free(c);
}

static void a_cut_stream_is_never_a_clean_end(void **state)
{
    (void)state;
    struct tls_context *c = context(NULL);
    for (uint16_t version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        SSL_CTX *client = client_context(version, version);
        size_t len = 1;
        for (size_t cut = 0; cut < len; cut++) {
            struct pair p;
            uint8_t got[100];
            struct transfer t = {got, sizeof got, 0};
            pair_open(&p, c, client);
            assert_int_equal(shake(&p), TLS_OK);
            SSL_write(p.client, "DATA\r\n", 6);
            SSL_shutdown(p.client);
            collect(&p);
            len = p.feed_len;
            p.feed_len = cut;
            enum tls_status status;
            while ((status = run(&p, step_read, &t)) == TLS_OK)
                ;
            assert_int_equal(status, TLS_WANT_INPUT);
            assert_true(t.done == 0 || t.done == 6);
            pair_close(&p);
        }
        SSL_CTX_free(client);
    }
    tls_context_free(c);
}

static void a_forged_close_is_a_failure(void **state)
{
    (void)state;
    struct tls_context *c = context(NULL);
    SSL_CTX *client = client_context(TLS1_2_VERSION, TLS1_3_VERSION);
    const uint8_t forged[] = {21, 3, 3, 0, 2, 1, 0};
    struct pair p;
    uint8_t got[10];
    struct transfer t = {got, sizeof got, 0};

    pair_open(&p, c, client);
    assert_int_equal(shake(&p), TLS_OK);
    feed_append(&p, forged, sizeof forged);
    assert_int_equal(run(&p, step_read, &t), TLS_FAILED);
    pair_close(&p);
    SSL_CTX_free(client);
    tls_context_free(c);
}

static void key_updates_are_answered_and_a_flood_is_not(void **state)
{
    (void)state;
    struct tls_context *c = context(NULL);
    SSL_CTX *client = client_context(TLS1_3_VERSION, TLS1_3_VERSION);
    struct pair p;
    uint8_t got[10];
    struct transfer t = {got, sizeof got, 0};

    pair_open(&p, c, client);
    assert_int_equal(shake(&p), TLS_OK);
    for (int i = 0; i < 100; i++) {
        SSL_key_update(p.client, SSL_KEY_UPDATE_REQUESTED);
        hear(&p, "NOOP\r\n");
        say(&p, "250 ok\r\n");
    }
    for (int i = 0; i < 100; i++) {
        SSL_key_update(p.client, SSL_KEY_UPDATE_NOT_REQUESTED);
        SSL_write(p.client, "", 0);
    }
    collect(&p);
    assert_true(p.feed_len > 100 * 22);
    assert_int_equal(run(&p, step_read, &t), TLS_FAILED);
    assert_string_equal(tls_engine_failure(p.engine), "too many key updates");
    pair_close(&p);
    SSL_CTX_free(client);
    tls_context_free(c);
}

static void after_a_failure_nothing_moves_any_more(void **state)
{
    (void)state;
    struct tls_context *c = context(NULL);
    for (uint16_t version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        for (size_t out_max = 1; out_max < 100; out_max += 40) {
            SSL_CTX *client = client_context(version, version);
            struct pair p;
            uint8_t got[100];
            struct transfer t = {got, sizeof got, 0};
            pair_open(&p, c, client);
            assert_int_equal(shake(&p), TLS_OK);
            say(&p, "220 hello\r\n");
            SSL_write(p.client, "NOOP\r\n", 6);
            SSL_write(p.client, "NOOP\r\n", 6);
            collect(&p);
            p.feed[10] ^= 1;
            p.out_max = out_max;
            assert_int_equal(run(&p, step_read, &t), TLS_FAILED);
            assert_string_equal(tls_engine_failure(p.engine), "a record does not decrypt");
            assert_alert(&p, SSL_AD_BAD_RECORD_MAC);
            size_t left = p.feed_len;
            assert_true(left > 0);
            assert_int_equal(run(&p, step_read, &t), TLS_FAILED);
            assert_int_equal(run(&p, step_write, &t), TLS_FAILED);
            assert_int_equal(run(&p, step_close, NULL), TLS_FAILED);
            assert_int_equal(run(&p, step_handshake, NULL), TLS_FAILED);
            assert_int_equal(t.done, 0);
            assert_int_equal(p.feed_len, left);
            pair_close(&p);
            SSL_CTX_free(client);
        }
    }
    tls_context_free(c);
}

#define BULK (25u * 1024 * 1024)

static void upload(struct pair *p, const uint8_t *bulk, uint8_t *got)
{
    size_t given = 0;
    struct transfer t = {got, BULK, 0};
    while (t.done < BULK) {
        if (given < BULK) {
            size_t n = BULK - given < 60000 ? BULK - given : 60000;
            assert_int_equal(SSL_write(p->client, bulk + given, (int)n), (int)n);
            given += n;
            collect(p);
        }
        enum tls_status status = TLS_OK;
        while (t.done < BULK && status == TLS_OK)
            status = run(p, step_read, &t);
        assert_true(t.done == BULK || status == TLS_WANT_INPUT);
    }
}

static void twenty_five_megabytes_both_ways(void **state)
{
    (void)state;
    struct tls_context *c = context(NULL);
    uint8_t *bulk = malloc(BULK), *got = malloc(BULK);
    uint32_t x = 2463534242u;
    for (size_t i = 0; i < BULK; i++) {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        bulk[i] = (uint8_t)x;
    }
    for (uint16_t version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        SSL_CTX *client = client_context(version, version);
        struct pair p;
        pair_open(&p, c, client);
        assert_int_equal(shake(&p), TLS_OK);
        p.in_max = 65536;
        p.out_max = 20001;
        upload(&p, bulk, got);
        assert_memory_equal(got, bulk, BULK);
        memset(got, 0, BULK);
        size_t done = 0;
        for (size_t from = 0; from < BULK; from += 100000) {
            struct transfer t = {bulk + from, BULK - from < 100000 ? BULK - from : 100000, 0};
            assert_int_equal(run(&p, step_write, &t), TLS_OK);
            assert_int_equal(t.done, t.len);
            int n;
            while ((n = SSL_read(p.client, got + done,
                                 (int)(BULK - done < 65536 ? BULK - done : 65536))) > 0)
                done += (size_t)n;
        }
        assert_int_equal(done, BULK);
        assert_memory_equal(got, bulk, BULK);
        pair_close(&p);
        SSL_CTX_free(client);
    }
    free(bulk);
    free(got);
    tls_context_free(c);
}

static void output_room_is_respected_for_bulk(void **state)
{
    (void)state;
    struct tls_context *c = context(NULL);
    SSL_CTX *client = client_context(TLS1_2_VERSION, TLS1_3_VERSION);
    const size_t rooms[] = {1, 2, 100, 511, 512, 513, 1000, 16384, 16406};
    const size_t count = sizeof rooms / sizeof rooms[0];
    static uint8_t bulk[40000], got[40000];
    for (size_t i = 0; i < sizeof bulk; i++)
        bulk[i] = (uint8_t)(i * 31);
    for (size_t i = 0; i < count * count; i++) {
        struct pair p;
        size_t done = 0;
        int n;
        pair_open(&p, c, client);
        assert_int_equal(shake(&p), TLS_OK);
        p.out_max = rooms[i / count];
        p.out_next = rooms[i % count];
        struct transfer t = {bulk, sizeof bulk, 0};
        assert_int_equal(run(&p, step_write, &t), TLS_OK);
        assert_int_equal(t.done, sizeof bulk);
        while (done < sizeof got &&
               (n = SSL_read(p.client, got + done, (int)(sizeof got - done))) > 0)
            done += (size_t)n;
        assert_int_equal(done, sizeof got);
        assert_memory_equal(got, bulk, sizeof got);
        pair_close(&p);
    }
    SSL_CTX_free(client);
    tls_context_free(c);
}

/* The sanitizers' own allocator does not tell. */
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define IDLE 100
#define IDLE_MAX 6144

static size_t heap(void)
{
    return mallinfo2().uordblks;
}

static void an_idle_engine_is_small(void **state)
{
    (void)state;
    struct tls_context *c = context(NULL);
    struct ticket_keys keys = {0};
    static struct tls_engine *idle[IDLE];

    ticket_keys_rotate(&keys);
    tls_context_tickets(c, &keys);
    for (uint16_t version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        SSL_CTX *client = client_context(version, version);
        converse(c, client, SIZE_MAX, SIZE_MAX);
        size_t before = heap();
        for (size_t i = 0; i < IDLE; i++) {
            struct pair p;
            pair_open(&p, c, client);
            assert_int_equal(shake(&p), TLS_OK);
            say(&p, "220 hello\r\n");
            hear(&p, "NOOP\r\n");
            idle[i] = p.engine;
            p.engine = NULL;
            pair_close(&p);
        }
        size_t each = (heap() - before) / IDLE;
        print_message("idle engine, TLS 1.%d: %zu octets\n", version - TLS1_VERSION, each);
        assert_in_range(each, 500, IDLE_MAX);
        for (size_t i = 0; i < IDLE; i++)
            tls_engine_free(idle[i]);
        SSL_CTX_free(client);
    }
    tls_context_free(c);
}
#endif

static struct tls_context *shared;

static void *rotate_often(void *arg)
{
    struct ticket_keys keys = {0};
    (void)arg;
    for (int i = 0; i < 2000; i++) {
        ticket_keys_rotate(&keys);
        tls_context_tickets(shared, &keys);
    }
    return NULL;
}

static void keys_change_while_others_shake_hands(void **state)
{
    (void)state;
    pthread_t thread;
    SSL_CTX *client = client_context(TLS1_2_VERSION, TLS1_3_VERSION);
    shared = context(NULL);
    assert_int_equal(pthread_create(&thread, NULL, rotate_often, NULL), 0);
    for (int i = 0; i < 40; i++)
        converse(shared, client, SIZE_MAX, SIZE_MAX);
    pthread_join(thread, NULL);
    SSL_CTX_free(client);
    tls_context_free(shared);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_versions_shake_hands_and_talk),
        cmocka_unit_test(first_flight_cut_at_every_place),
        cmocka_unit_test(facts_are_told),
        cmocka_unit_test(the_name_asked_for_chooses_the_certificate),
        cmocka_unit_test(a_name_that_is_none_is_kept_from_the_log),
        cmocka_unit_test(ecdsa_goes_to_those_who_can_verify_it),
        cmocka_unit_test(rsa_signs_by_pss_or_by_pkcs1),
        cmocka_unit_test(only_mail_protocols_are_spoken),
        cmocka_unit_test(tickets_resume_and_age),
        cmocka_unit_test(a_ticket_is_good_for_one_listener_and_one_name),
        cmocka_unit_test(no_ticket_before_there_are_keys),
        cmocka_unit_test(keys_taken_away_under_a_handshake_do_no_harm),
        cmocka_unit_test(old_versions_only_where_told),
        cmocka_unit_test(weak_suites_are_not_spoken),
        cmocka_unit_test(settings_that_cannot_be),
        cmocka_unit_test(a_refused_signature_fails_with_an_alert),
        cmocka_unit_test(a_wrong_signature_does_not_pass),
        cmocka_unit_test(an_engine_thrown_away_at_any_stage_leaks_nothing),
        cmocka_unit_test(plaintext_is_named_for_what_it_is),
        cmocka_unit_test(a_client_without_trust_is_named),
        cmocka_unit_test(close_notify_from_the_client),
        cmocka_unit_test(close_notify_from_us),
        cmocka_unit_test(closing_inside_a_record_is_no_clean_end),
        cmocka_unit_test(a_cut_stream_is_never_a_clean_end),
        cmocka_unit_test(a_forged_close_is_a_failure),
        cmocka_unit_test(key_updates_are_answered_and_a_flood_is_not),
        cmocka_unit_test(after_a_failure_nothing_moves_any_more),
        cmocka_unit_test(twenty_five_megabytes_both_ways),
        cmocka_unit_test(output_room_is_respected_for_bulk),
#ifdef IDLE
        cmocka_unit_test(an_idle_engine_is_small),
#endif
        cmocka_unit_test(keys_change_while_others_shake_hands),
    };
    return cmocka_run_group_tests(tests, make_all, free_all);
}
