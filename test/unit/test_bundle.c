#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <unistd.h>

#include "proxy/bundle.h"
#include "tls_make.h"

static const char conf_text[] = "[server]\n"
                                "hostname = mail.example.org\n"
                                "workers = 3\n"
                                "[listener one]\n"
                                "address = 127.0.0.1:1465\n"
                                "tls = implicit\n"
                                "[listener two]\n"
                                "address = 127.0.0.1:1587\n"
                                "tls = starttls\n"
                                "upstream = second\n"
                                "[upstream mta]\n"
                                "address = 127.0.0.1:25\n"
                                "[upstream second]\n"
                                "address = 127.0.0.1:2525\n"
                                "reply_timeout = 42s\n";

static char folder[] = "/tmp/test_bundle.XXXXXX";
static struct certificate *certificates[2];

static struct certificate *certificate_for(const char *name)
{
    char chain[64], key[64], error[CERTIFICATE_ERROR_MAX] = "";
    bool made;
    snprintf(chain, sizeof chain, "%s/%s.pem", folder, name);
    snprintf(key, sizeof key, "%s/%s.key", folder, name);
    if (!certificate_self_signed(chain, key, name, &made, error))
        fail_msg("%s", error);
    struct certificate *c = certificate_load(chain, error);
    if (c == NULL)
        fail_msg("%s", error);
    unlink(chain);
    unlink(key);
    return c;
}

static int make_certificates(void **state)
{
    (void)state;
    if (mkdtemp(folder) == NULL)
        return -1;
    certificates[0] = certificate_for("one.example.org");
    certificates[1] = certificate_for("two.example.org");
    return rmdir(folder);
}

static int free_certificates(void **state)
{
    (void)state;
    certificate_free(certificates[0]);
    certificate_free(certificates[1]);
    return 0;
}

static struct conf *parse_conf(const char *text)
{
    struct conf_errors *errors = calloc(1, sizeof *errors);
    struct conf *c = conf_parse(text, strlen(text), "test", NULL, errors);
    if (c == NULL)
        fail_msg("%s", errors->text);
    free(errors);
    return c;
}

static struct address resolve(const char *host, uint16_t port)
{
    struct address a;
    const char *error = "";
    if (address_resolve(&a, 1, host, port, &error) != 1)
        fail_msg("%s", error);
    return a;
}

/* The certificates are borrowed: free_bundle. */
static struct bundle *make_bundle(void)
{
    struct bundle *b = calloc(1, sizeof *b);
    b->conf = parse_conf(conf_text);
    assert_int_equal(b->conf->upstream_count, 2);
    b->certificate_count = 2;
    b->certificate[0] = certificates[0];
    b->certificate[1] = certificates[1];
    b->upstream[0].count = 2;
    b->upstream[0].at[0] = resolve("127.0.0.1", 25);
    b->upstream[0].at[1] = resolve("::1", 25);
    b->upstream[1].count = 1;
    b->upstream[1].at[0] = resolve("192.0.2.1", 2525);
    b->learnt[0] = (struct capabilities){.known = true, .extensions = 5, .size = 1ULL << 33};
    b->socket_count = 2;
    b->socket[0] = (struct bundle_socket){.listener = 1, .fd = 11};
    b->socket[1] = (struct bundle_socket){.listener = 0, .fd = 10};
    b->first_channel = 20;
    b->log = 2;
    b->tickets.count = 2;
    memset(b->tickets.key[0], 'a', TICKET_KEY_LEN);
    memset(b->tickets.key[1], 'b', TICKET_KEY_LEN);
    return b;
}

static void free_bundle(struct bundle *b)
{
    b->certificate_count = 0;
    bundle_free(b);
}

static struct buf encode(const struct bundle *b)
{
    struct buf out;
    buf_init(&out, BUNDLE_MAX);
    assert_true(bundle_encode(&out, b));
    return out;
}

static struct buf encoded(void)
{
    struct bundle *b = make_bundle();
    struct buf out = encode(b);
    free_bundle(b);
    return out;
}

static struct bundle *decode_exact(const uint8_t *in, size_t len)
{
    uint8_t *fit = malloc(len > 0 ? len : 1);
    memcpy(fit, in, len);
    struct bundle *b = bundle_decode(fit, len);
    free(fit);
    return b;
}

static void assert_same_certificate(const struct certificate *a, const struct certificate *b)
{
    assert_int_equal(certificate_chain_len(a), certificate_chain_len(b));
    for (size_t i = 0; i < certificate_chain_len(a); i++) {
        size_t a_len, b_len;
        const uint8_t *a_der = certificate_der(a, i, &a_len);
        const uint8_t *b_der = certificate_der(b, i, &b_len);
        assert_int_equal(a_len, b_len);
        assert_memory_equal(a_der, b_der, a_len);
    }
}

static void everything_comes_back(void **state)
{
    (void)state;
    struct buf bytes = encoded();
    struct bundle *sent = make_bundle();
    struct bundle *b = decode_exact(buf_data(&bytes), buf_len(&bytes));
    assert_non_null(b);
    assert_null(b->client_ca);
    assert_string_equal(b->conf->hostname, "mail.example.org");
    assert_int_equal(b->conf->workers, 3);
    assert_int_equal(b->conf->listener_count, 2);
    assert_string_equal(b->conf->listener[1].name, "two");
    assert_int_equal(b->conf->listener[1].upstream, 1);
    assert_int_equal(b->conf->upstream[1].reply_timeout, 42000);
    assert_int_equal(b->certificate_count, 2);
    assert_same_certificate(b->certificate[0], certificates[0]);
    assert_same_certificate(b->certificate[1], certificates[1]);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(b->upstream[i].count, sent->upstream[i].count);
        assert_true(capabilities_same(&b->learnt[i], &sent->learnt[i]));
        for (size_t j = 0; j < b->upstream[i].count; j++) {
            char text[ADDRESS_TEXT_MAX], expected[ADDRESS_TEXT_MAX];
            address_text(text, &b->upstream[i].at[j]);
            address_text(expected, &sent->upstream[i].at[j]);
            assert_string_equal(text, expected);
        }
    }
    assert_int_equal(b->socket_count, 2);
    assert_int_equal(b->socket[0].listener, 1);
    assert_int_equal(b->socket[0].fd, 11);
    assert_int_equal(b->socket[1].listener, 0);
    assert_int_equal(b->socket[1].fd, 10);
    assert_int_equal(b->first_channel, 20);
    assert_int_equal(b->log, 2);
    assert_int_equal(b->tickets.count, 2);
    assert_memory_equal(b->tickets.key, sent->tickets.key, 2 * TICKET_KEY_LEN);
    struct buf again = encode(b);
    assert_int_equal(buf_len(&again), buf_len(&bytes));
    assert_memory_equal(buf_data(&again), buf_data(&bytes), buf_len(&bytes));
    buf_clear(&again);
    buf_clear(&bytes);
    bundle_free(b);
    free_bundle(sent);
}

static void a_bundle_that_was_cut_is_none(void **state)
{
    (void)state;
    struct buf bytes = encoded();
    for (size_t n = 0; n < buf_len(&bytes); n++)
        assert_null(decode_exact(buf_data(&bytes), n));
    buf_clear(&bytes);
}

static void an_octet_too_many_is_none(void **state)
{
    (void)state;
    struct buf bytes = encoded();
    assert_true(buf_append(&bytes, "", 1));
    assert_null(decode_exact(buf_data(&bytes), buf_len(&bytes)));
    buf_clear(&bytes);
}

static void another_version_is_none(void **state)
{
    (void)state;
    struct buf bytes = encoded();
    uint8_t *copy = malloc(buf_len(&bytes));
    memcpy(copy, buf_data(&bytes), buf_len(&bytes));
    copy[4 + strlen("vestibule bundle ")] ^= 1;
    assert_null(bundle_decode(copy, buf_len(&bytes)));
    free(copy);
    buf_clear(&bytes);
}

static struct client_ca *make_client_ca(void)
{
    struct made m = make_certificate(make_ec_key(NID_X9_62_prime256v1), NULL);
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, m.x, m.x, NULL, NULL, 0);
    X509_EXTENSION *ca =
        X509V3_EXT_nconf_nid(NULL, &ctx, NID_basic_constraints, "critical,CA:TRUE");
    X509_add_ext(m.x, ca, -1);
    X509_EXTENSION_free(ca);
    X509_sign(m.x, m.key, EVP_sha256());
    uint8_t *der = NULL;
    int len = i2d_X509(m.x, &der);
    assert_true(len > 0);
    struct client_ca *made =
        client_ca_from_der((const uint8_t *[]){der}, (size_t[]){(size_t)len}, 1);
    OPENSSL_free(der);
    made_free(&m);
    return made;
}

static void authorities_of_clients_come_back(void **state)
{
    (void)state;
    struct bundle *sent = make_bundle();
    sent->client_ca = make_client_ca();
    assert_non_null(sent->client_ca);
    struct buf bytes = encode(sent);
    struct bundle *b = decode_exact(buf_data(&bytes), buf_len(&bytes));
    assert_non_null(b);
    size_t len, sent_len;
    const uint8_t *sent_der = client_ca_der(sent->client_ca, 0, &sent_len);
    assert_int_equal(client_ca_count(b->client_ca), 1);
    const uint8_t *der = client_ca_der(b->client_ca, 0, &len);
    assert_int_equal(len, sent_len);
    assert_memory_equal(der, sent_der, len);
    for (size_t n = 1; n < len; n++)
        assert_null(decode_exact(buf_data(&bytes), buf_len(&bytes) - n));
    buf_clear(&bytes);
    bundle_free(b);
    free_bundle(sent);
}

/* Counted from the end, whose layout is fixed: learnt (2 x 16), sockets (2 x 8), first channel,
 * log, ticket count, two keys, no authorities of clients. */
enum {
    FROM_CLIENT_CA = 4,
    FROM_TICKETS = FROM_CLIENT_CA + 2 * TICKET_KEY_LEN + 4,
    FROM_LOG = FROM_TICKETS + 4,
    FROM_CHANNEL = FROM_LOG + 4,
    FROM_SOCKETS = FROM_CHANNEL + 2 * 8,
    FROM_SOCKET_COUNT = FROM_SOCKETS + 4,
    FROM_LEARNT = FROM_SOCKET_COUNT + 2 * 16,
    FROM_LAST_ADDRESS = FROM_LEARNT + 16 + 4, /* its length stands in front */
    FROM_LAST_ADDRESS_COUNT = FROM_LAST_ADDRESS + 4,
};

static void assert_none_with(size_t from_end, uint32_t value)
{
    struct buf bytes = encoded();
    size_t len = buf_len(&bytes);
    uint8_t *copy = malloc(len);
    memcpy(copy, buf_data(&bytes), len);
    memcpy(copy + len - from_end, &value, sizeof value);
    assert_null(bundle_decode(copy, len));
    free(copy);
    buf_clear(&bytes);
}

static void counts_and_numbers_out_of_range_are_none(void **state)
{
    (void)state;
    static const uint32_t large[] = {0x7fffffff, 0x80000000, 0xffffffff, 0x05555556};
    for (size_t i = 0; i < sizeof large / sizeof *large; i++) {
        assert_none_with(FROM_TICKETS, large[i]);
        assert_none_with(FROM_SOCKET_COUNT, large[i]);
        assert_none_with(FROM_LAST_ADDRESS, large[i]);
        assert_none_with(FROM_LAST_ADDRESS_COUNT, large[i]);
    }
    assert_none_with(FROM_CLIENT_CA, 1);
    assert_none_with(FROM_CLIENT_CA, CLIENT_CA_MAX + 1);
    assert_none_with(FROM_CLIENT_CA, 0xffffffff);
    assert_none_with(FROM_TICKETS, TICKET_KEYS_MAX + 1);
    assert_none_with(FROM_TICKETS, 1);
    assert_none_with(FROM_SOCKET_COUNT, BUNDLE_SOCKETS_MAX + 1);
    assert_none_with(FROM_SOCKET_COUNT, 1);
    assert_none_with(FROM_SOCKETS, 2); /* there are two listeners */
    assert_none_with(FROM_SOCKETS + 4 - 8, 0xffffffff);
    assert_none_with(FROM_CHANNEL, 0xffffffff);
    assert_none_with(FROM_LOG, 0xffffffff);
    assert_none_with(FROM_LAST_ADDRESS, 15);
    assert_none_with(FROM_LAST_ADDRESS - 4, 1); /* a family that is none of ours */
    assert_none_with(FROM_LAST_ADDRESS_COUNT, CONF_ADDRESSES_MAX + 1);
}

static void what_breaks_a_limit_is_not_encoded(void **state)
{
    (void)state;
    struct buf out;
    struct bundle *b = make_bundle();
    buf_init(&out, BUNDLE_MAX);
    b->socket[0].listener = 2;
    assert_false(bundle_encode(&out, b));
    b->socket[0].listener = 1;
    b->socket[0].fd = -1;
    assert_false(bundle_encode(&out, b));
    b->socket[0].fd = 11;
    b->log = -1;
    assert_false(bundle_encode(&out, b));
    b->log = 2;
    b->tickets.count = TICKET_KEYS_MAX + 1;
    assert_false(bundle_encode(&out, b));
    b->tickets.count = 0;
    b->upstream[0].at[0].len = 3;
    assert_false(bundle_encode(&out, b));
    free_bundle(b);
    buf_clear(&out);
}

static void a_queue_that_is_too_small_is_an_error(void **state)
{
    (void)state;
    struct bundle *b = make_bundle();
    struct buf out;
    buf_init(&out, 600);
    assert_false(bundle_encode(&out, b));
    buf_clear(&out);
    free_bundle(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_comes_back),
        cmocka_unit_test(a_bundle_that_was_cut_is_none),
        cmocka_unit_test(an_octet_too_many_is_none),
        cmocka_unit_test(another_version_is_none),
        cmocka_unit_test(authorities_of_clients_come_back),
        cmocka_unit_test(counts_and_numbers_out_of_range_are_none),
        cmocka_unit_test(what_breaks_a_limit_is_not_encoded),
        cmocka_unit_test(a_queue_that_is_too_small_is_an_error),
    };
    return cmocka_run_group_tests(tests, make_certificates, free_certificates);
}
