#include <openssl/err.h>
#include <openssl/ssl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "tls/client_ca_parts.h"
#include "tls/engine.h"
#include "tls_make.h"

#define CHAIN_MAX 12

static struct made server; /* what the engine shows */
static struct certificate *server_certificate;
static struct tls_key *server_key;
static struct made root, foreign, middle; /* authorities; middle is signed by root */
static struct client_ca *authorities;     /* root alone */
static char folder[] = "/tmp/vestibule-client-XXXXXX";

/* --- making certificates
 * ----------------------------------------------------------------------------------------
 */

/* What is not said is as a good client's has it. */
struct wish {
    const struct made *by; /* NULL: itself */
    EVP_PKEY *key;         /* NULL: a new one for P-256 */
    const char *common;    /* NULL: none */
    const char *names, *usage, *purpose, *constraints;
    long from, to;
    const EVP_MD *digest;
};

static void add_extension(X509 *x, int nid, const char *value)
{
    X509V3_CTX ctx;
    if (value == NULL)
        return;
    X509V3_set_ctx(&ctx, x, x, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_nconf_nid(NULL, &ctx, nid, value);
    assert_non_null(extension);
    X509_add_ext(x, extension, -1);
    X509_EXTENSION_free(extension);
}

static struct made made_by(const struct wish *w)
{
    static long serial = 100;
    struct made m = {.key = w->key != NULL ? w->key : make_ec_key(NID_X9_62_prime256v1),
                     .x = X509_new()};
    X509_set_version(m.x, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(m.x), serial++);
    if (w->common != NULL)
        X509_NAME_add_entry_by_NID(X509_get_subject_name(m.x), NID_commonName, MBSTRING_UTF8,
                                   (const uint8_t *)w->common, -1, -1, 0);
    X509_set_issuer_name(m.x, X509_get_subject_name(w->by != NULL ? w->by->x : m.x));
    ASN1_TIME_set(X509_getm_notBefore(m.x), time(NULL) + (w->from != 0 ? w->from : -MAKE_DAY));
    ASN1_TIME_set(X509_getm_notAfter(m.x), time(NULL) + (w->to != 0 ? w->to : MAKE_DAY));
    X509_set_pubkey(m.x, m.key);
    add_extension(m.x, NID_subject_alt_name, w->names);
    add_extension(m.x, NID_key_usage, w->usage);
    add_extension(m.x, NID_ext_key_usage, w->purpose);
    add_extension(m.x, NID_basic_constraints, w->constraints);
    X509_sign(m.x, w->by != NULL ? w->by->key : m.key,
              w->digest != NULL ? w->digest : EVP_sha256());
    return m;
}

static struct made authority(const char *name, const struct made *by, const char *constraints)
{
    return made_by(&(struct wish){
        .by = by, .common = name, .constraints = constraints, .usage = "critical,keyCertSign"});
}

static struct client_ca *trusting(X509 *const *list, size_t count)
{
    uint8_t *der[CHAIN_MAX] = {NULL};
    size_t len[CHAIN_MAX];
    for (size_t i = 0; i < count; i++)
        len[i] = (size_t)i2d_X509(list[i], &der[i]);
    struct client_ca *ca = client_ca_from_der((const uint8_t *const *)der, len, count);
    for (size_t i = 0; i < count; i++)
        OPENSSL_free(der[i]);
    return ca;
}

static int make_all(void **state)
{
    char path[256], error[CERTIFICATE_ERROR_MAX];
    (void)state;
    if (mkdtemp(folder) == NULL)
        return -1;
    server = make_certificate(make_ec_key(NID_X9_62_prime256v1), "DNS:mail.example");
    make_path(path, folder, "server.pem");
    write_pem(path, &server.x, 1, server.key, NULL);
    server_certificate = certificate_load(path, error);
    server_key = tls_key_load(path, server_certificate, error);
    root = authority("root", NULL, "critical,CA:TRUE");
    foreign = authority("foreign", NULL, "critical,CA:TRUE");
    middle = authority("middle", &root, "critical,CA:TRUE");
    authorities = trusting(&root.x, 1);
    return server_key != NULL && authorities != NULL ? unlink(path) : -1;
}

static int free_all(void **state)
{
    (void)state;
    made_free(&server);
    made_free(&root);
    made_free(&foreign);
    made_free(&middle);
    certificate_free(server_certificate);
    tls_key_free(server_key);
    client_ca_free(authorities);
    return rmdir(folder);
}

/* --- a connection in memory
 * -------------------------------------------------------------------------------------
 */

struct pair {
    SSL *client;
    struct tls_engine *engine;
    size_t piece;            /* octets that the engine gets and gives at a time */
    bool asked;              /* the client was asked for a certificate */
    CRYPTO_BUFFER *first_ca; /* and the first authority that was named with that */
    SSL_SESSION *ticket;
};

static int on_asked(SSL *ssl, void *pair)
{
    const STACK_OF(CRYPTO_BUFFER) *names = SSL_get0_server_requested_CAs(ssl);
    struct pair *p = pair;
    p->asked = true;
    if (names != NULL && sk_CRYPTO_BUFFER_num(names) == 1 && p->first_ca == NULL) {
        p->first_ca = sk_CRYPTO_BUFFER_value(names, 0);
        CRYPTO_BUFFER_up_ref(p->first_ca);
    }
    return 1;
}

static int on_ticket(SSL *ssl, SSL_SESSION *session)
{
    struct pair *p = SSL_get_app_data(ssl);
    SSL_SESSION_free(p->ticket);
    p->ticket = session;
    return 1;
}

static struct tls_context *context(const struct client_ca *ca, uint16_t min)
{
    const struct tls_settings s = {.min_version = min,
                                   .scope = "submissions",
                                   .certificates = &server_certificate,
                                   .certificate_count = 1,
                                   .client_ca = ca};
    char error[CERTIFICATE_ERROR_MAX];
    struct tls_context *c = tls_context_new(&s, error);
    struct ticket_keys tickets = {.count = 0};
    if (c == NULL)
        fail_msg("%s", error);
    ticket_keys_rotate(&tickets);
    tls_context_tickets(c, &tickets);
    return c;
}

static SSL_CTX *client_context(uint16_t version)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_method());
    SSL_CTX_set_min_proto_version(ctx, version);
    SSL_CTX_set_max_proto_version(ctx, version);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx, on_ticket);
    return ctx;
}

/* The chain leaf first; NULL: the client has no certificate. */
static void pair_open(struct pair *p, struct tls_context *c, SSL_CTX *client, EVP_PKEY *key,
                      X509 *const *chain, size_t count)
{
    *p = (struct pair){.client = SSL_new(client), .engine = tls_engine_new(c), .piece = 16384};
    SSL_set_bio(p->client, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_connect_state(p->client);
    SSL_set_app_data(p->client, p);
    SSL_set_cert_cb(p->client, on_asked, p);
    if (count == 0)
        return;
    assert_int_equal(SSL_use_certificate(p->client, chain[0]), 1);
    assert_int_equal(SSL_use_PrivateKey(p->client, key), 1);
    for (size_t i = 1; i < count; i++)
        SSL_add1_chain_cert(p->client, chain[i]);
}

static void pair_close(struct pair *p)
{
    SSL_free(p->client);
    CRYPTO_BUFFER_free(p->first_ca);
    tls_engine_free(p->engine);
    ERR_clear_error();
}

static void sign(struct tls_engine *e)
{
    const struct tls_job *job = tls_engine_job(e);
    uint8_t signature[TLS_SIGNATURE_MAX];
    size_t len;
    assert_true(tls_key_sign(server_key, job->algorithm, job->input, job->len, signature, &len));
    tls_engine_signed(e, signature, len);
}

/* The engine takes what the client has said, and says what it has to say. `text` goes out once the
 * handshake is done. */
static enum tls_status turn(struct pair *p, const char *text)
{
    uint8_t out[16384];
    for (;;) {
        const uint8_t *in;
        size_t in_len, taken;
        BIO_mem_contents(SSL_get_wbio(p->client), &in, &in_len);
        struct tls_wire w = {.in = in,
                             .in_len = in_len < p->piece ? in_len : p->piece,
                             .out = out,
                             .out_cap = p->piece};
        enum tls_status status = tls_engine_handshake(p->engine, &w);
        uint8_t used[16384];
        BIO_write(SSL_get_rbio(p->client), out, (int)w.out_len);
        (void)BIO_read(SSL_get_wbio(p->client), used, (int)w.in_used);
        if (status == TLS_WANT_SIGNATURE) {
            sign(p->engine);
        } else if (status == TLS_OK && text != NULL) {
            w = (struct tls_wire){.out = out, .out_cap = sizeof out};
            status = tls_engine_write(p->engine, &w, (const uint8_t *)text, strlen(text), &taken);
            BIO_write(SSL_get_rbio(p->client), out, (int)w.out_len);
            return status;
        } else if (status != TLS_WANT_OUTPUT && (status != TLS_WANT_INPUT || in_len == w.in_used)) {
            return status;
        }
    }
}

static enum tls_status shake(struct pair *p)
{
    enum tls_status status = TLS_WANT_INPUT;
    for (int i = 0; i < 20 && status == TLS_WANT_INPUT; i++) {
        SSL_do_handshake(p->client);
        status = turn(p, NULL);
    }
    if (status == TLS_OK) {
        char got[8];
        int len = 0;
        assert_int_equal(turn(p, "220 x"), TLS_OK);
        assert_int_equal(SSL_do_handshake(p->client), 1);
        for (int n = 1; n > 0; len += n > 0 ? n : 0) /* TLS 1.0 has it in two records */
            n = SSL_read(p->client, got, sizeof got);
        assert_int_equal(len, 5);
    }
    return status;
}

static void assert_alert(struct pair *p, int alert)
{
    uint8_t octet;
    ERR_clear_error();
    (void)(SSL_in_init(p->client) ? SSL_do_handshake(p->client) : SSL_read(p->client, &octet, 1));
    assert_int_equal(ERR_GET_REASON(ERR_peek_error()), SSL_AD_REASON_OFFSET + alert);
    ERR_clear_error();
}

static const uint16_t versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
#define EACH_VERSION \
    size_t v = 0;    \
    v < 2;           \
    v++

/* `login` "": nobody's. */
static void gets_in_as(const struct client_ca *ca, const char *login, EVP_PKEY *key,
                       X509 *const *chain, size_t count)
{
    for (EACH_VERSION) {
        struct tls_context *c = context(ca, TLS1_2_VERSION);
        SSL_CTX *client = client_context(versions[v]);
        struct pair p;
        pair_open(&p, c, client, key, chain, count);
        assert_string_equal(tls_engine_client(p.engine), "");
        if (shake(&p) != TLS_OK)
            fail_msg("%s", tls_engine_failure(p.engine));
        assert_true(p.asked);
        assert_string_equal(tls_engine_client(p.engine), login);
        SSL_SESSION_free(p.ticket);
        pair_close(&p);
        SSL_CTX_free(client);
        tls_context_free(c);
    }
}

static void is_refused(const struct client_ca *ca, const char *word, int alert, EVP_PKEY *key,
                       X509 *const *chain, size_t count)
{
    for (EACH_VERSION) {
        for (size_t piece = 1; piece <= 16384; piece *= 16384) {
            struct tls_context *c = context(ca, TLS1_2_VERSION);
            SSL_CTX *client = client_context(versions[v]);
            struct pair p;
            pair_open(&p, c, client, key, chain, count);
            p.piece = piece;
            assert_int_equal(shake(&p), TLS_FAILED);
            if (strstr(tls_engine_failure(p.engine), word) == NULL)
                fail_msg("\"%s\" does not say \"%s\"", tls_engine_failure(p.engine), word);
            assert_alert(&p, alert);
            assert_string_equal(tls_engine_client(p.engine), "");
            pair_close(&p);
            SSL_CTX_free(client);
            tls_context_free(c);
        }
    }
}

/* --- who gets in
 * ------------------------------------------------------------------------------------------------
 */

static void a_certificate_says_who_it_is(void **state)
{
    const struct {
        struct wish wish;
        const char *login;
    } rows[] = {
        {{.by = &root, .common = "alice"}, "alice"},
        {{.by = &root, .names = "email:alice@any.example"}, "alice@any.example"},
        {{.by = &root, .common = "x", .names = "email:alice@any.example,email:bob@any.example"},
         "alice@any.example"},
        {{.by = &root, .common = "x", .names = "DNS:y,email:alice@any.example"},
         "alice@any.example"},
        {{.by = &root, .common = "printer 7", .names = "DNS:printer.example"}, "printer 7"},
        {{.by = &root, .common = "j\xc3\xbcrgen"}, "j\xc3\xbcrgen"},
        {{.by = &root, .common = "alice", .purpose = "clientAuth"}, "alice"},
        {{.by = &root, .common = "alice", .purpose = "serverAuth,clientAuth"}, "alice"},
        {{.by = &root, .common = "alice", .usage = "digitalSignature"}, "alice"},
        {{.by = &root, .names = "DNS:nobody"}, ""},
        {{.by = &root}, ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct made m = made_by(&rows[i].wish);
        gets_in_as(authorities, rows[i].login, m.key, &m.x, 1);
        made_free(&m);
    }
}

static void keys_of_several_kinds_will_do(void **state)
{
    EVP_PKEY *keys[] = {make_rsa_key(2048), make_ec_key(NID_secp384r1), make_ec_key(NID_secp521r1)};
    (void)state;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        struct made m = made_by(&(struct wish){.by = &root, .common = "alice", .key = keys[i]});
        gets_in_as(authorities, "alice", m.key, &m.x, 1);
        made_free(&m);
    }
}

static void authorities_may_stand_between(void **state)
{
    struct made m = made_by(&(struct wish){.by = &middle, .common = "alice"});
    X509 *chain[] = {m.x, middle.x, root.x};
    struct client_ca *both = trusting(chain + 1, 2), *only_middle = trusting(chain + 1, 1);
    (void)state;
    gets_in_as(authorities, "alice", m.key, chain, 2);
    gets_in_as(authorities, "alice", m.key, chain, 3); /* who sends the root as well */
    gets_in_as(both, "alice", m.key, chain, 1);
    gets_in_as(only_middle, "alice", m.key, chain, 1); /* an anchor need not be a root */
    is_refused(authorities, "does not lead to", SSL_AD_UNKNOWN_CA, m.key, chain, 1);
    client_ca_free(both);
    client_ca_free(only_middle);
    made_free(&m);
}

static void who_has_none_goes_on_without(void **state)
{
    (void)state;
    gets_in_as(authorities, "", NULL, NULL, 0);
}

static void nobody_is_asked_where_there_are_no_authorities(void **state)
{
    struct made m = made_by(&(struct wish){.by = &root, .common = "alice"});
    (void)state;
    for (EACH_VERSION) {
        struct tls_context *c = context(NULL, TLS1_2_VERSION);
        SSL_CTX *client = client_context(versions[v]);
        struct pair p;
        pair_open(&p, c, client, m.key, &m.x, 1);
        assert_int_equal(shake(&p), TLS_OK);
        assert_false(p.asked);
        assert_string_equal(tls_engine_client(p.engine), "");
        SSL_SESSION_free(p.ticket);
        pair_close(&p);
        SSL_CTX_free(client);
        tls_context_free(c);
    }
    made_free(&m);
}

static void the_client_is_told_which_authorities_there_are(void **state)
{
    struct tls_context *c = context(authorities, TLS1_2_VERSION);
    (void)state;
    for (EACH_VERSION) {
        SSL_CTX *client = client_context(versions[v]);
        struct pair p;
        pair_open(&p, c, client, NULL, NULL, 0);
        assert_int_equal(shake(&p), TLS_OK);
        uint8_t *der = NULL;
        const int len = i2d_X509_NAME(X509_get_subject_name(root.x), &der);
        assert_non_null(p.first_ca);
        assert_int_equal(CRYPTO_BUFFER_len(p.first_ca), len);
        assert_memory_equal(CRYPTO_BUFFER_data(p.first_ca), der, len);
        SSL_SESSION_free(p.ticket);
        OPENSSL_free(der);
        pair_close(&p);
        SSL_CTX_free(client);
    }
    tls_context_free(c);
}

/* --- who does not
 * -----------------------------------------------------------------------------------------------
 */

static void certificates_that_do_not_verify_end_the_handshake(void **state)
{
    const struct {
        struct wish wish;
        const char *word;
        int alert;
    } rows[] = {
        {{.by = &root, .common = "a", .from = -2 * MAKE_DAY, .to = -60},
         "expired",
         SSL_AD_CERTIFICATE_EXPIRED},
        {{.by = &root, .common = "a", .from = 60, .to = MAKE_DAY},
         "not valid yet",
         SSL_AD_CERTIFICATE_EXPIRED},
        {{.by = &foreign, .common = "a"}, "does not lead to", SSL_AD_UNKNOWN_CA},
        {{.common = "a"}, "signed by itself", SSL_AD_UNKNOWN_CA},
        {{.common = "root"}, "client's certificate", SSL_AD_UNKNOWN_CA},
        {{.by = &root, .common = "a", .purpose = "serverAuth"},
         "not meant for TLS clients",
         SSL_AD_UNSUPPORTED_CERTIFICATE},
        {{.by = &root, .common = "a", .purpose = "emailProtection"},
         "not meant for TLS clients",
         SSL_AD_UNSUPPORTED_CERTIFICATE},
        {{.by = &root, .common = "a", .digest = EVP_sha1()},
         "MD5 or SHA-1",
         SSL_AD_BAD_CERTIFICATE},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct made m = made_by(&rows[i].wish);
        is_refused(authorities, rows[i].word, rows[i].alert, m.key, &m.x, 1);
        made_free(&m);
    }
}

static void a_small_key_is_refused(void **state)
{
    struct made m =
        made_by(&(struct wish){.by = &root, .common = "alice", .key = make_rsa_key(1024)});
    (void)state;
    is_refused(authorities, "RSA below 2048", SSL_AD_BAD_CERTIFICATE, m.key, &m.x, 1);
    made_free(&m);
}

static void a_changed_certificate_is_refused(void **state)
{
    struct made m = made_by(&(struct wish){.by = &root, .common = "alice"});
    struct made fake = root;
    (void)state;
    fake.key = foreign.key; /* the right issuer's name, another's signature */
    struct made forged = made_by(&(struct wish){.by = &fake, .common = "alice"});
    is_refused(authorities, "signature", SSL_AD_DECRYPT_ERROR, forged.key, &forged.x, 1);
    made_free(&m);
    made_free(&forged);
}

/* CVE-2002-0862 and its many children: a client's certificate signs another. */
static void a_client_is_no_authority(void **state)
{
    struct made alice =
        made_by(&(struct wish){.by = &root, .common = "alice", .constraints = "CA:FALSE"});
    struct made bob = made_by(&(struct wish){.by = &alice, .common = "bob"});
    X509 *chain[] = {bob.x, alice.x};
    (void)state;
    is_refused(authorities, "no authority", SSL_AD_UNKNOWN_CA, bob.key, chain, 2);
    made_free(&alice);
    made_free(&bob);
}

static void an_authority_that_may_have_none_below_it(void **state)
{
    struct made last = authority("last", &root, "critical,CA:TRUE,pathlen:0");
    struct made below = authority("below", &last, "critical,CA:TRUE");
    struct made m = made_by(&(struct wish){.by = &below, .common = "alice"});
    X509 *chain[] = {m.x, below.x, last.x};
    (void)state;
    is_refused(authorities, "may not have such below it", SSL_AD_UNKNOWN_CA, m.key, chain, 3);
    made_free(&last);
    made_free(&below);
    made_free(&m);
}

static void a_chain_has_an_end(void **state)
{
    struct made step[6];
    X509 *chain[7];
    (void)state;
    for (size_t i = 0; i < 6; i++) {
        char name[16];
        snprintf(name, sizeof name, "step %zu", i);
        step[i] = authority(name, i == 0 ? &root : &step[i - 1], "critical,CA:TRUE");
    }
    for (size_t steps = 4; steps <= 6; steps++) {
        struct made m = made_by(&(struct wish){.by = &step[steps - 1], .common = "alice"});
        chain[0] = m.x;
        for (size_t i = 0; i < steps; i++)
            chain[1 + i] = step[steps - 1 - i].x;
        if (steps == 4)
            gets_in_as(authorities, "alice", m.key, chain, steps + 1);
        else
            is_refused(authorities, "client's certificate", SSL_AD_UNKNOWN_CA, m.key, chain,
                       steps + 1);
        made_free(&m);
    }
    for (size_t i = 0; i < 6; i++)
        made_free(&step[i]);
}

static void a_chain_of_any_length_is_not_read(void **state)
{
    static char names[20000];
    size_t len = 0;
    (void)state;
    for (int i = 0; i < 700; i++)
        len += (size_t)snprintf(names + len, sizeof names - len, "%sDNS:name-%08d.example",
                                i > 0 ? "," : "", i);
    struct made m = made_by(&(struct wish){.by = &root, .common = "alice", .names = names});
    struct tls_context *c = context(authorities, TLS1_2_VERSION);
    for (EACH_VERSION) {
        SSL_CTX *client = client_context(versions[v]);
        struct pair p;
        pair_open(&p, c, client, m.key, &m.x, 1);
        assert_int_equal(shake(&p), TLS_FAILED);
        pair_close(&p);
        SSL_CTX_free(client);
    }
    tls_context_free(c);
    made_free(&m);
}

/* --- again
 * ------------------------------------------------------------------------------------------------------
 */

/* A ticket carries no login: who showed a certificate has to show it anew. */
static void a_session_with_a_certificate_is_not_resumed(void **state)
{
    struct made m = made_by(&(struct wish){.by = &root, .common = "alice"});
    (void)state;
    for (EACH_VERSION) {
        for (int shown = 0; shown <= 1; shown++) {
            struct tls_context *c = context(authorities, TLS1_2_VERSION);
            SSL_CTX *client = client_context(versions[v]);
            struct pair p, again;
            pair_open(&p, c, client, m.key, &m.x, (size_t)shown);
            assert_int_equal(shake(&p), TLS_OK);
            pair_open(&again, c, client, m.key, &m.x, (size_t)shown);
            if (p.ticket != NULL)
                SSL_set_session(again.client, p.ticket);
            else
                assert_true(shown);
            assert_int_equal(shake(&again), TLS_OK);
            assert_int_equal(tls_engine_resumed(again.engine), !shown);
            assert_string_equal(tls_engine_client(again.engine), shown ? "alice" : "");
            SSL_SESSION_free(p.ticket);
            SSL_SESSION_free(again.ticket);
            pair_close(&p);
            pair_close(&again);
            SSL_CTX_free(client);
            tls_context_free(c);
        }
    }
    made_free(&m);
}

/* One connection for each: nothing of the one before stays. */
static void engines_do_not_share_a_client(void **state)
{
    struct made m = made_by(&(struct wish){.by = &root, .common = "alice"});
    struct tls_context *c = context(authorities, TLS1_2_VERSION);
    (void)state;
    for (EACH_VERSION) {
        SSL_CTX *client = client_context(versions[v]);
        struct pair one, two;
        pair_open(&one, c, client, m.key, &m.x, 1);
        pair_open(&two, c, client, NULL, NULL, 0);
        assert_int_equal(shake(&one), TLS_OK);
        assert_int_equal(shake(&two), TLS_OK);
        assert_string_equal(tls_engine_client(one.engine), "alice");
        assert_string_equal(tls_engine_client(two.engine), "");
        SSL_SESSION_free(one.ticket);
        SSL_SESSION_free(two.ticket);
        pair_close(&one);
        pair_close(&two);
        SSL_CTX_free(client);
    }
    tls_context_free(c);
    made_free(&m);
}

/* --- names
 * ------------------------------------------------------------------------------------------------------
 */

static void set_mailbox(X509 *x, const void *octets, int len)
{
    GENERAL_NAMES *names = GENERAL_NAMES_new();
    GENERAL_NAME *name = GENERAL_NAME_new();
    ASN1_IA5STRING *text = ASN1_IA5STRING_new();
    ASN1_STRING_set(text, octets, len);
    GENERAL_NAME_set0_value(name, GEN_EMAIL, text);
    sk_GENERAL_NAME_push(names, name);
    X509_add1_ext_i2d(x, NID_subject_alt_name, names, 0, X509V3_ADD_APPEND);
    GENERAL_NAMES_free(names);
}

static void set_common(X509 *x, int type, const void *octets, int len)
{
    X509_NAME_add_entry_by_NID(X509_get_subject_name(x), NID_commonName, type, octets, len, -1, 0);
}

static void assert_name(X509 *x, const char *expected)
{
    char name[CLIENT_CA_LOGIN_MAX + 1];
    if (client_name(name, x))
        assert_string_equal(name, expected != NULL ? expected : "(nobody)");
    else
        assert_null(expected);
    X509_free(x);
}

static X509 *with_mailbox(const char *octets, int len)
{
    X509 *x = X509_new();
    set_common(x, V_ASN1_UTF8STRING, "fallback", -1);
    set_mailbox(x, octets, len);
    return x;
}

static X509 *with_common(int type, const char *octets, int len)
{
    X509 *x = X509_new();
    set_common(x, type, octets, len);
    return x;
}

/* CVE-2009-2408: what stands before a NUL is not the name. */
static void a_mailbox_that_cannot_be_a_login_is_nobody(void **state)
{
    char longest[257];
    (void)state;
    memset(longest, 'a', sizeof longest);
    assert_name(with_mailbox("a@b", 3), "a@b");
    assert_name(with_mailbox("a@b\0c", 5), NULL);
    assert_name(with_mailbox("\0a@b", 4), NULL);
    assert_name(with_mailbox("a@b\0", 4), NULL);
    assert_name(with_mailbox("", 0), NULL);
    assert_name(with_mailbox("a b@c", 5), NULL);
    assert_name(with_mailbox("a@b\n", 4), NULL);
    assert_name(with_mailbox("a@b\x7f", 4), NULL);
    assert_name(with_mailbox("a@b\xc3\xa4", 5), NULL);
    assert_name(with_mailbox(longest, 256), NULL);
    longest[255] = '\0';
    assert_name(with_mailbox(longest, 255), longest);

    X509 *twice = with_mailbox("a@b", 3); /* two extensions of one kind are none */
    set_mailbox(twice, "c@d", 3);
    assert_name(twice, NULL);

    X509 *damaged = with_common(V_ASN1_UTF8STRING, "fallback", -1);
    ASN1_OCTET_STRING *junk = ASN1_OCTET_STRING_new();
    ASN1_OCTET_STRING_set(junk, (const uint8_t *)"\x30\x05junk", 6);
    X509_EXTENSION *e = X509_EXTENSION_create_by_NID(NULL, NID_subject_alt_name, 0, junk);
    X509_add_ext(damaged, e, -1);
    X509_EXTENSION_free(e);
    ASN1_OCTET_STRING_free(junk);
    assert_name(damaged, NULL);
}

static void a_common_name_that_cannot_be_a_login_is_nobody(void **state)
{
    (void)state;
    assert_name(with_common(V_ASN1_UTF8STRING, "alice", -1), "alice");
    assert_name(with_common(V_ASN1_PRINTABLESTRING, "alice", -1), "alice");
    assert_name(with_common(V_ASN1_BMPSTRING, "\0\x6a\0\xfc", 4), "j\xc3\xbc");
    assert_name(with_common(V_ASN1_UTF8STRING, "alice\0x", 7), NULL);
    assert_name(with_common(V_ASN1_BMPSTRING, "\0\x61\0\0\0\x62", 6), NULL);
    assert_name(with_common(V_ASN1_UTF8STRING, "a\nb", 3), NULL);
    assert_name(with_common(V_ASN1_UTF8STRING, "a\x1b[0m", 5), NULL);
    assert_name(with_common(V_ASN1_UTF8STRING, "a\xc2\x85", 3), NULL);
    assert_name(with_common(V_ASN1_UTF8STRING, "a\xff", 2), NULL);

    X509 *two = with_common(V_ASN1_UTF8STRING, "alice", -1);
    set_common(two, V_ASN1_UTF8STRING, "bob", -1);
    assert_name(two, NULL);
    assert_name(X509_new(), NULL);
}

/* --- files
 * ------------------------------------------------------------------------------------------------------
 */

static void load_fails(const char *path, const char *word)
{
    char error[CERTIFICATE_ERROR_MAX] = "";
    assert_null(client_ca_load(path, error));
    if (strstr(error, word) == NULL || strstr(error, path) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", error, word);
}

static void write_text(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    fputs(text, f);
    fclose(f);
}

static void files_are_read_or_refused_with_a_sentence(void **state)
{
    char path[256], error[CERTIFICATE_ERROR_MAX];
    X509 *both[] = {root.x, middle.x}, *many[33];
    (void)state;
    make_path(path, folder, "ca.pem");
    load_fails(path, "cannot be read");
    write_pem(path, both, 2, NULL, NULL);
    struct client_ca *ca = client_ca_load(path, error);
    assert_non_null(ca);
    assert_int_equal(client_ca_count(ca), 2);

    /* as it goes to the front */
    const uint8_t *der[2];
    size_t len[2];
    for (size_t i = 0; i < 2; i++)
        der[i] = client_ca_der(ca, i, &len[i]);
    struct client_ca *copy = client_ca_from_der(der, len, 2);
    assert_non_null(copy);
    assert_int_equal(client_ca_count(copy), 2);
    assert_null(client_ca_from_der(der, len, 0));
    len[1]--;
    assert_null(client_ca_from_der(der, len, 2));
    client_ca_free(copy);
    client_ca_free(ca);

    for (size_t i = 0; i < 33; i++)
        many[i] = root.x;
    write_pem(path, many, 33, NULL, NULL);
    load_fails(path, "more than 32");
    write_pem(path, both, 2, server.key, NULL);
    load_fails(path, "private key");
    write_pem(path, &server.x, 1, NULL, NULL);
    load_fails(path, "no authority");
    write_text(path, "");
    load_fails(path, "no certificate in PEM");
    write_text(path, "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n");
    load_fails(path, "damaged");
    write_text(path, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    load_fails(path, "does not parse");
    unlink(path);
}

/* --- what binds a login to its channel
 * --------------------------------------------------------------------------
 */

static void the_binding_is_the_same_on_both_sides(void **state)
{
    static const char label[] = "EXPORTER-Channel-Binding";
    struct tls_context *c = context(NULL, TLS1_VERSION);
    uint8_t last[TLS_BINDING_LEN] = {0};
    (void)state;
    for (EACH_VERSION) {
        SSL_CTX *client = client_context(versions[v]);
        uint8_t ours[TLS_BINDING_LEN + 1] = {[TLS_BINDING_LEN] = 0xa5}, theirs[TLS_BINDING_LEN];
        struct pair p;
        pair_open(&p, c, client, NULL, NULL, 0);
        assert_false(tls_engine_binding(p.engine, ours));
        SSL_do_handshake(p.client);
        turn(&p, NULL);
        assert_false(tls_engine_binding(p.engine, ours));
        assert_int_equal(shake(&p), TLS_OK);
        assert_true(tls_engine_binding(p.engine, ours));
        assert_int_equal(ours[TLS_BINDING_LEN], 0xa5);
        assert_int_equal(SSL_export_keying_material(p.client, theirs, sizeof theirs, label,
                                                    strlen(label), (const uint8_t *)"", 0, 1),
                         1);
        assert_memory_equal(ours, theirs, sizeof theirs);
        assert_memory_not_equal(ours, last, sizeof last);
        memcpy(last, ours, sizeof last);
        SSL_SESSION_free(p.ticket);
        pair_close(&p);
        SSL_CTX_free(client);
    }
    tls_context_free(c);
}

static void old_versions_have_no_binding(void **state)
{
    struct tls_context *c = context(NULL, TLS1_VERSION);
    (void)state;
    for (uint16_t version = TLS1_VERSION; version <= TLS1_1_VERSION; version++) {
        SSL_CTX *client = client_context(version);
        uint8_t ours[TLS_BINDING_LEN];
        struct pair p;
        pair_open(&p, c, client, NULL, NULL, 0);
        assert_int_equal(shake(&p), TLS_OK);
        assert_false(tls_engine_binding(p.engine, ours));
        SSL_SESSION_free(p.ticket);
        pair_close(&p);
        SSL_CTX_free(client);
    }
    tls_context_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_certificate_says_who_it_is),
        cmocka_unit_test(keys_of_several_kinds_will_do),
        cmocka_unit_test(authorities_may_stand_between),
        cmocka_unit_test(who_has_none_goes_on_without),
        cmocka_unit_test(nobody_is_asked_where_there_are_no_authorities),
        cmocka_unit_test(the_client_is_told_which_authorities_there_are),
        cmocka_unit_test(certificates_that_do_not_verify_end_the_handshake),
        cmocka_unit_test(a_small_key_is_refused),
        cmocka_unit_test(a_changed_certificate_is_refused),
        cmocka_unit_test(a_client_is_no_authority),
        cmocka_unit_test(an_authority_that_may_have_none_below_it),
        cmocka_unit_test(a_chain_has_an_end),
        cmocka_unit_test(a_chain_of_any_length_is_not_read),
        cmocka_unit_test(a_session_with_a_certificate_is_not_resumed),
        cmocka_unit_test(engines_do_not_share_a_client),
        cmocka_unit_test(a_mailbox_that_cannot_be_a_login_is_nobody),
        cmocka_unit_test(a_common_name_that_cannot_be_a_login_is_nobody),
        cmocka_unit_test(files_are_read_or_refused_with_a_sentence),
        cmocka_unit_test(the_binding_is_the_same_on_both_sides),
        cmocka_unit_test(old_versions_have_no_binding),
    };
    return cmocka_run_group_tests(tests, make_all, free_all);
}
