/* Hostile octets from the first one on into a server engine.
 *
 * Octet 0: bits 0-2 how much goes in at a time, bits 3-5 the room for output, bit 6 refuses
 * signatures, bit 7: an honest client shakes hands first and the octets come behind it. Octet 1:
 * bit 0 lets old versions in, bit 1 closes at the end, bit 2 the honest client speaks 1.2, bit 3 it
 * writes the octets as application data. The rest is the client's. */
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>

#include "tls/certificate_parts.h"
#include "tls/engine.h"

#define CHECK(condition) ((condition) ? (void)0 : abort())

static struct certificate *certificate;
static struct tls_key *key;
static struct tls_context *contexts[2];
static SSL_CTX *clients[2];

struct harness {
    struct tls_engine *engine;
    SSL *client; /* NULL: only hostile octets */
    size_t in_max, out_cap;
    bool refuse, shook, failed;
    const uint8_t *in;
    size_t in_len;
};

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    struct self_signed made;
    char error[CERTIFICATE_ERROR_MAX];
    struct ticket_keys tickets = {0};
    (void)argc, (void)argv;

    CHECK(self_signed_make(&made, "mail.example", 1700000000));
    certificate = certificate_from_pem(made.chain, made.chain_len, "made", error);
    CHECK(certificate != NULL);
    key = tls_key_from_pem(made.key, made.key_len, "made", certificate, error);
    CHECK(key != NULL);
    self_signed_free(&made);
    ticket_keys_rotate(&tickets);
    for (uint16_t i = 0; i < 2; i++) {
        contexts[i] = tls_context_new(
            &(struct tls_settings){.min_version = i == 0 ? TLS1_2_VERSION : TLS1_VERSION,
                                   .scope = "fuzz",
                                   .certificates = &certificate,
                                   .certificate_count = 1},
            error);
        CHECK(contexts[i] != NULL);
        tls_context_tickets(contexts[i], &tickets);
        clients[i] = SSL_CTX_new(TLS_method());
        SSL_CTX_set_max_proto_version(clients[i], i == 0 ? TLS1_3_VERSION : TLS1_2_VERSION);
    }
    return 0;
}

static void answer(struct harness *h)
{
    const struct tls_job *job = tls_engine_job(h->engine);
    uint8_t signature[TLS_SIGNATURE_MAX];
    size_t len = 0;
    CHECK(job != NULL && job->certificate == 0 && job->len <= TLS_SIGN_INPUT_MAX);
    if (!h->refuse)
        tls_key_sign(key, job->algorithm, job->input, job->len, signature, &len);
    tls_engine_signed(h->engine, signature, len);
}

static void check_status(struct harness *h, enum tls_status status, size_t got)
{
    if (h->failed)
        CHECK(status == TLS_FAILED);
    if (status == TLS_FAILED) {
        h->failed = true;
        CHECK(tls_engine_failure(h->engine)[0] != '\0');
    }
    CHECK((status == TLS_OK) == (got > 0));
    h->shook = tls_engine_version(h->engine)[0] != '\0';
    /* No plaintext before the handshake is done, and no octets made up by chance get one done. */
    if (h->shook || got > 0)
        CHECK(h->shook && h->client != NULL);
}

/* Reads until nothing moves; false when it is over. */
static bool turn(struct harness *h)
{
    uint8_t plain[512], *out = malloc(h->out_cap);
    enum tls_status status = TLS_OK;

    while (status != TLS_WANT_INPUT && status != TLS_CLOSED && status != TLS_FAILED) {
        size_t n = h->in_len < h->in_max ? h->in_len : h->in_max, got = 0;
        uint8_t *in = malloc(n); /* exactly as long: the sanitizer sees a step beyond */
        if (n > 0)
            memcpy(in, h->in, n);
        struct tls_wire w = {.in = in, .in_len = n, .out = out, .out_cap = h->out_cap};
        status = tls_engine_read(h->engine, &w, plain, sizeof plain, &got);
        free(in);
        CHECK(w.in_used <= n && w.out_len <= h->out_cap && got <= sizeof plain);
        CHECK(status != TLS_WANT_OUTPUT || w.out_len > 0);
        check_status(h, status, got);
        if (h->client != NULL && w.out_len > 0)
            BIO_write(SSL_get_rbio(h->client), out, (int)w.out_len);
        h->in += w.in_used;
        h->in_len -= w.in_used;
        if (status == TLS_WANT_SIGNATURE)
            answer(h);
        if (status == TLS_WANT_INPUT && h->in_len > 0) {
            CHECK(w.in_used > 0);
            status = TLS_OK;
        }
    }
    free(out);
    return status == TLS_WANT_INPUT;
}

static bool give(struct harness *h, const uint8_t *data, size_t len)
{
    h->in = data;
    h->in_len = len;
    return turn(h);
}

static bool give_clients(struct harness *h)
{
    const uint8_t *data;
    size_t len;
    BIO_mem_contents(SSL_get_wbio(h->client), &data, &len);
    bool on = give(h, data, len);
    (void)BIO_reset(SSL_get_wbio(h->client));
    return on;
}

static void honest_handshake(struct harness *h, SSL_CTX *ctx)
{
    h->client = SSL_new(ctx);
    SSL_set_bio(h->client, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_connect_state(h->client);
    for (int i = 0; i < 4; i++) {
        SSL_do_handshake(h->client);
        if (!give_clients(h))
            return;
    }
    CHECK(h->refuse || h->shook);
}

static void finish(struct harness *h, bool write)
{
    static const uint8_t text[] = "221 2.0.0 bye\r\n";
    uint8_t *out = malloc(h->out_cap);
    enum tls_status status;
    size_t done = 0, taken;

    do {
        struct tls_wire w = {.out = out, .out_cap = h->out_cap};
        taken = 0;
        status = write && h->shook
                     ? tls_engine_write(h->engine, &w, text + done, sizeof text - done, &taken)
                     : tls_engine_close(h->engine, &w);
        done += taken;
        CHECK(w.in_used == 0 && w.out_len <= h->out_cap && done <= sizeof text);
        CHECK(!h->failed || status == TLS_FAILED);
        CHECK(status != TLS_WANT_OUTPUT || w.out_len > 0);
    } while (status == TLS_WANT_OUTPUT);
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const size_t sizes[] = {65536, 1, 2, 5, 64, 1000, 16384, 3};
    if (len < 2)
        return 0;
    struct harness h = {.engine = tls_engine_new(contexts[data[1] & 1]),
                        .in_max = sizes[data[0] & 7],
                        .out_cap = sizes[data[0] >> 3 & 7],
                        .refuse = (data[0] & 0x40) != 0};
    CHECK(h.engine != NULL);
    if ((data[0] & 0x80) != 0)
        honest_handshake(&h, clients[data[1] >> 2 & 1]);
    if (h.client != NULL && h.shook && (data[1] & 8) != 0) {
        if (len > 2)
            SSL_write(h.client, data + 2, (int)(len - 2));
        SSL_shutdown(h.client);
        give_clients(&h);
    } else {
        give(&h, data + 2, len - 2);
    }
    finish(&h, (data[1] & 2) == 0);
    finish(&h, false);
    SSL_free(h.client);
    tls_engine_free(h.engine);
    ERR_clear_error();
    return 0;
}
