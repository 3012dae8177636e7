#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/channel.h"

enum { HEADER = 16 };

static const uint8_t input[TLS_SIGN_INPUT_MAX + 1] = "to be signed";
static char longest[SASL_PASSWORD_MAX + 2];
static char message[SASL_SECRET_MAX + 1] = "n,,n=\0r=";

static struct channel_frame sign_frame(size_t len)
{
    struct channel_frame f = {.type = CHANNEL_SIGN, .number = 0x0123456789abcdef};
    f.as.sign.certificate = 7;
    f.as.sign.algorithm = 0x0804;
    f.as.sign.input = input;
    f.as.sign.len = len;
    return f;
}

static struct channel_frame verify_frame(const char *login, const char *password)
{
    struct channel_frame f = {.type = CHANNEL_VERIFY, .number = 42};
    f.as.verify.listener = 3;
    f.as.verify.client = (struct auth_client){.port = 40000,
                                              .local_port = 465,
                                              .attempt = 2,
                                              .offered = SASL_PLAIN | SASL_SCRAM_SHA_256_PLUS,
                                              .session = "0a1b2c",
                                              .helo = "[192.0.2.1]",
                                              .tls_version = "TLSv1.3",
                                              .tls_cipher = "TLS_AES_128_GCM_SHA256"};
    memset(f.as.verify.client.address, 0xab, 16);
    memset(f.as.verify.client.local, 0xcd, 16);
    f.as.verify.mechanism = SASL_LOGIN;
    f.as.verify.login = login;
    f.as.verify.login_len = strlen(login);
    f.as.verify.secret = password;
    f.as.verify.secret_len = strlen(password);
    return f;
}

static struct channel_frame credential_frame(enum sasl_mechanism mechanism, const char *login,
                                             const char *secret, size_t len)
{
    struct channel_frame f = verify_frame(login, "");
    f.as.verify.mechanism = mechanism;
    f.as.verify.secret = secret;
    f.as.verify.secret_len = len;
    return f;
}

static struct channel_frame verdict_frame(enum channel_verdict word, const char *login)
{
    return (struct channel_frame){
        .type = CHANNEL_VERDICT,
        .number = 42,
        .as.verdict = {.word = word, .login = login, .login_len = strlen(login)}};
}

static struct channel_frame tickets_frame(size_t count)
{
    struct channel_frame f = {.type = CHANNEL_TICKETS, .as.tickets = {.count = count}};
    for (size_t i = 0; i < TICKET_KEYS_MAX; i++)
        memset(f.as.tickets.key[i], (int)('A' + i), TICKET_KEY_LEN);
    return f;
}

static struct buf encode(const struct channel_frame *f)
{
    struct buf b;
    buf_init(&b, CHANNEL_FRAME_MAX);
    assert_true(channel_encode(&b, f));
    assert_in_range(buf_len(&b), HEADER, CHANNEL_FRAME_MAX);
    return b;
}

static void refuse(const struct channel_frame *f)
{
    struct buf b;
    buf_init(&b, 65536);
    assert_false(channel_encode(&b, f));
    assert_int_equal(buf_len(&b), 0);
}

/* From an allocation of its own length: ASan sees a read too far. */
static enum channel_status decode_exact(struct channel_frame *out, const uint8_t *in, size_t len)
{
    uint8_t *fit = malloc(len > 0 ? len : 1);
    size_t used = 0;
    memcpy(fit, in, len);
    enum channel_status status = channel_decode(out, &used, fit, len);
    if (status == CHANNEL_FRAME)
        assert_int_equal(used, len);
    free(fit);
    return status;
}

/* Whole, and at every split: MORE until the last octet, and again the same bytes from what was
 * decoded. */
static void there_and_back(const struct channel_frame *f)
{
    struct buf b = encode(f);
    struct channel_frame out;
    size_t used = 0;
    for (size_t n = 0; n < buf_len(&b); n++)
        assert_int_equal(decode_exact(&out, buf_data(&b), n), CHANNEL_MORE);
    assert_int_equal(channel_decode(&out, &used, buf_data(&b), buf_len(&b)), CHANNEL_FRAME);
    assert_int_equal(used, buf_len(&b));
    assert_int_equal(out.type, f->type);
    assert_true(out.number == f->number);
    struct buf again = encode(&out);
    assert_int_equal(buf_len(&again), buf_len(&b));
    assert_memory_equal(buf_data(&again), buf_data(&b), buf_len(&b));
    buf_clear(&again);
    buf_clear(&b);
}

static void frames_without_content_come_back(void **state)
{
    (void)state;
    static const enum channel_type types[] = {CHANNEL_READY, CHANNEL_CANCEL, CHANNEL_DRAIN};
    for (size_t i = 0; i < 3; i++) {
        struct channel_frame f = {.type = types[i], .number = UINT64_MAX - i};
        there_and_back(&f);
    }
}

static void a_question_for_a_signature_comes_back(void **state)
{
    (void)state;
    struct channel_frame out, f = sign_frame(12);
    size_t used;
    struct buf b = encode(&f);
    assert_int_equal(channel_decode(&out, &used, buf_data(&b), buf_len(&b)), CHANNEL_FRAME);
    assert_int_equal(out.as.sign.certificate, 7);
    assert_int_equal(out.as.sign.algorithm, 0x0804);
    assert_int_equal(out.as.sign.len, 12);
    assert_memory_equal(out.as.sign.input, "to be signed", 12);
    buf_clear(&b);
    there_and_back(&f);
    f = sign_frame(TLS_SIGN_INPUT_MAX);
    there_and_back(&f);
}

static void a_credential_comes_back(void **state)
{
    (void)state;
    struct channel_frame out, f = verify_frame("alice", "secret");
    size_t used;
    struct buf b = encode(&f);
    assert_int_equal(channel_decode(&out, &used, buf_data(&b), buf_len(&b)), CHANNEL_FRAME);
    assert_int_equal(out.as.verify.listener, 3);
    assert_int_equal(out.as.verify.mechanism, SASL_LOGIN);
    assert_int_equal(out.as.verify.login_len, 5);
    assert_memory_equal(out.as.verify.login, "alice", 5);
    assert_int_equal(out.as.verify.secret_len, 6);
    assert_memory_equal(out.as.verify.secret, "secret", 6);
    buf_clear(&b);
    there_and_back(&f);
}

static void who_asks_comes_back(void **state)
{
    (void)state;
    struct channel_frame out, f = verify_frame("alice", "secret");
    struct auth_client *c = &f.as.verify.client;
    size_t used;
    for (int bound = 0; bound <= 1; bound++) {
        c->bound = bound;
        memset(c->binding, bound ? 0x5a : 0, sizeof c->binding);
        there_and_back(&f);
        struct buf b = encode(&f);
        assert_int_equal(channel_decode(&out, &used, buf_data(&b), buf_len(&b)), CHANNEL_FRAME);
        const struct auth_client *d = &out.as.verify.client;
        assert_memory_equal(d->address, c->address, 16);
        assert_memory_equal(d->local, c->local, 16);
        assert_int_equal(d->port, 40000);
        assert_int_equal(d->local_port, 465);
        assert_int_equal(d->attempt, 2);
        assert_int_equal(d->offered, SASL_PLAIN | SASL_SCRAM_SHA_256_PLUS);
        assert_int_equal(d->bound, bound);
        assert_memory_equal(d->binding, c->binding, sizeof c->binding);
        assert_string_equal(d->session, "0a1b2c");
        assert_string_equal(d->helo, "[192.0.2.1]");
        assert_string_equal(d->tls_version, "TLSv1.3");
        assert_string_equal(d->tls_cipher, "TLS_AES_128_GCM_SHA256");
        buf_clear(&b);
    }
}

static void words_of_who_asks_are_short_and_printable(void **state)
{
    (void)state;
    struct channel_frame f = verify_frame("alice", "secret");
    memset(f.as.verify.client.helo, 'h', AUTH_CLIENT_HELO_MAX);
    refuse(&f); /* no end */
    f.as.verify.client.helo[AUTH_CLIENT_HELO_MAX - 1] = '\0';
    there_and_back(&f);
    f.as.verify.client.helo[3] = '\t';
    refuse(&f);
    f.as.verify.client.helo[3] = '\x7f';
    refuse(&f);
    f.as.verify.client.helo[3] = '\xc3';
    refuse(&f);
    f = verify_frame("alice", "secret");
    strcpy(f.as.verify.client.session, "a\nb");
    refuse(&f);
    f = verify_frame("alice", "secret");
    strcpy(f.as.verify.client.tls_version, "\r");
    refuse(&f);
    f = verify_frame("alice", "secret");
    strcpy(f.as.verify.client.tls_cipher, "\x1f");
    refuse(&f);
    f = verify_frame("alice", "secret");
    f.as.verify.client.offered = SASL_ALL + 1;
    refuse(&f);
}

static void each_kind_of_credential_has_its_shape(void **state)
{
    (void)state;
    struct channel_frame f = credential_frame(SASL_XOAUTH2, "alice", "token", 5);
    there_and_back(&f);
    f = credential_frame(SASL_OAUTHBEARER, "", "token", 5);
    there_and_back(&f);
    f = credential_frame(SASL_OAUTHBEARER, "", "", 0);
    refuse(&f);
    f = credential_frame(SASL_OAUTHBEARER, "", "to\0en", 5);
    refuse(&f);
    f = credential_frame(SASL_EXTERNAL, "alice@a.test", "", 0);
    there_and_back(&f);
    f = credential_frame(SASL_EXTERNAL, "", "", 0);
    refuse(&f);
    f = credential_frame(SASL_EXTERNAL, "alice", "x", 1);
    refuse(&f);
    f = credential_frame(SASL_SCRAM_SHA_256, "", message, 8);
    there_and_back(&f);
    f = credential_frame(SASL_CRAM_MD5, "", NULL, 0);
    there_and_back(&f);
    f = credential_frame(SASL_SCRAM_SHA_256, "alice", message, 8);
    refuse(&f);
    f = credential_frame(SASL_PLAIN, "", "secret", 6);
    refuse(&f);
}

static void the_longest_message_fits_a_frame(void **state)
{
    (void)state;
    struct channel_frame f = credential_frame(SASL_GSSAPI, "", message, SASL_SECRET_MAX);
    f.as.verify.client.bound = true;
    memset(f.as.verify.client.helo, 'h', AUTH_CLIENT_HELO_MAX - 1);
    there_and_back(&f);
    f.as.verify.secret_len++;
    refuse(&f);
}

static void messages_of_an_exchange_come_back(void **state)
{
    (void)state;
    static const struct {
        enum channel_type type;
        size_t max;
    } ways[] = {{CHANNEL_RESPOND, SASL_SECRET_MAX}, {CHANNEL_CHALLENGE, SASL_CHALLENGE_MAX}};
    for (size_t i = 0; i < 2; i++) {
        struct channel_frame out, f = {.type = ways[i].type, .number = 7};
        there_and_back(&f); /* nothing said */
        f.as.message.octets = (const uint8_t *)message;
        f.as.message.len = 8;
        size_t used;
        struct buf b = encode(&f);
        assert_int_equal(channel_decode(&out, &used, buf_data(&b), buf_len(&b)), CHANNEL_FRAME);
        assert_int_equal(out.as.message.len, 8);
        assert_memory_equal(out.as.message.octets, "n,,n=\0r=", 8);
        buf_clear(&b);
        f.as.message.len = ways[i].max;
        there_and_back(&f);
        f.as.message.len++;
        refuse(&f);
    }
}

static void what_can_be_offered_comes_back(void **state)
{
    (void)state;
    struct channel_frame out, f = {.type = CHANNEL_MECHANISMS, .as.mechanisms = SASL_ALL};
    struct buf b = encode(&f);
    assert_int_equal(decode_exact(&out, buf_data(&b), buf_len(&b)), CHANNEL_FRAME);
    assert_int_equal(out.as.mechanisms, SASL_ALL);
    buf_clear(&b);
    there_and_back(&f);
    f.as.mechanisms = 0;
    there_and_back(&f);
    f.as.mechanisms = SASL_ALL + 1;
    refuse(&f);
}

static void the_longest_credential_fits_a_frame(void **state)
{
    (void)state;
    char login[SASL_LOGIN_MAX + 2];
    memset(login, 'l', sizeof login);
    login[SASL_LOGIN_MAX] = '\0';
    memset(longest, 'p', sizeof longest);
    longest[SASL_PASSWORD_MAX] = '\0';
    struct channel_frame f = verify_frame(login, longest);
    there_and_back(&f);
    f.as.verify.secret_len++;
    refuse(&f);
    f.as.verify.secret_len--;
    login[SASL_LOGIN_MAX] = 'l';
    f.as.verify.login_len++;
    refuse(&f);
}

static void signatures_and_verdicts_come_back(void **state)
{
    (void)state;
    struct channel_frame f = {.type = CHANNEL_SIGNED, .number = 1};
    there_and_back(&f); /* refused */
    f.as.signature.signature = input;
    f.as.signature.len = TLS_SIGNATURE_MAX;
    there_and_back(&f);
    f.as.signature.len++;
    refuse(&f);
    for (int v = CHANNEL_ACCEPTED; v <= CHANNEL_LIMITED; v++) {
        const char *login = v == CHANNEL_ACCEPTED ? "alice@a.test" : "";
        struct channel_frame out, g = verdict_frame((enum channel_verdict)v, login);
        size_t used;
        struct buf b = encode(&g);
        assert_int_equal(channel_decode(&out, &used, buf_data(&b), buf_len(&b)), CHANNEL_FRAME);
        assert_int_equal(out.as.verdict.word, v);
        assert_int_equal(out.as.verdict.login_len, strlen(login));
        assert_memory_equal(out.as.verdict.login, login, strlen(login));
        buf_clear(&b);
        there_and_back(&g);
    }
}

static void only_who_was_accepted_has_a_name(void **state)
{
    (void)state;
    struct channel_frame f = verdict_frame(CHANNEL_ACCEPTED, "");
    refuse(&f);
    for (int v = CHANNEL_REJECTED; v <= CHANNEL_LIMITED; v++) {
        f = verdict_frame((enum channel_verdict)v, "alice");
        refuse(&f);
    }
    f = verdict_frame(CHANNEL_ACCEPTED, "alice");
    f.as.verdict.login = "al\0ce";
    refuse(&f);
    char login[SASL_LOGIN_MAX + 2] = {0};
    memset(login, 'l', SASL_LOGIN_MAX + 1);
    f = verdict_frame(CHANNEL_ACCEPTED, login);
    refuse(&f);
    f.as.verdict.login_len--;
    there_and_back(&f);
}

static void ticket_keys_come_back(void **state)
{
    (void)state;
    for (size_t count = 0; count <= TICKET_KEYS_MAX; count++) {
        struct channel_frame out, f = tickets_frame(count);
        struct buf b = encode(&f);
        assert_int_equal(decode_exact(&out, buf_data(&b), buf_len(&b)), CHANNEL_FRAME);
        assert_int_equal(out.as.tickets.count, count);
        assert_memory_equal(out.as.tickets.key, f.as.tickets.key, count * TICKET_KEY_LEN);
        buf_clear(&b);
        there_and_back(&f);
    }
    struct channel_frame f = tickets_frame(TICKET_KEYS_MAX + 1);
    refuse(&f);
}

static void leases_come_back(void **state)
{
    (void)state;
    there_and_back(
        &(struct channel_frame){.type = CHANNEL_LEASE,
                                .number = 9,
                                .as.lease = {.upstream = 3, .login = "alice", .login_len = 5}});
    there_and_back(
        &(struct channel_frame){.type = CHANNEL_LEASE, .number = 9, .as.lease = {.upstream = 3}});
    there_and_back(
        &(struct channel_frame){.type = CHANNEL_LEASED, .number = 9, .as.leased = CHANNEL_GRANTED});
    there_and_back(
        &(struct channel_frame){.type = CHANNEL_LEASED, .number = 9, .as.leased = CHANNEL_FULL});
    there_and_back(&(struct channel_frame){
        .type = CHANNEL_LEASED, .number = 9, .as.leased = CHANNEL_GRANTED_SOCKET});
    there_and_back(&(struct channel_frame){.type = CHANNEL_RETURN, .number = 9});
    refuse(&(struct channel_frame){.type = CHANNEL_LEASE,
                                   .as.lease = {.login = "al\0ice", .login_len = 6}});
    refuse(&(struct channel_frame){.type = CHANNEL_LEASED, .as.leased = (enum channel_lease)3});
}

static void the_address_that_a_lease_is_for_comes_back(void **state)
{
    (void)state;
    struct channel_frame out, f = {.type = CHANNEL_LEASE,
                                   .number = 9,
                                   .as.lease = {.upstream = 3, .login = "alice", .login_len = 5}};
    for (uint8_t i = 0; i < 16; i++)
        f.as.lease.source[i] = (uint8_t)(0xf0 + i);
    there_and_back(&f);
    struct buf b = encode(&f);
    assert_int_equal(decode_exact(&out, buf_data(&b), buf_len(&b)), CHANNEL_FRAME);
    assert_int_equal(out.as.lease.upstream, 3);
    assert_memory_equal(out.as.lease.source, f.as.lease.source, 16);
    assert_int_equal(out.as.lease.login_len, 5);
    buf_clear(&b);
}

static void only_one_answer_brings_a_descriptor(void **state)
{
    (void)state;
    for (uint32_t type = 0; type <= CHANNEL_MECHANISMS + 1; type++)
        for (uint32_t leased = CHANNEL_GRANTED; leased <= CHANNEL_GRANTED_SOCKET; leased++) {
            struct channel_frame f = {.type = (enum channel_type)type,
                                      .as.leased = (enum channel_lease)leased};
            assert_int_equal(channel_brings_descriptor(&f),
                             type == CHANNEL_LEASED && leased == CHANNEL_GRANTED_SOCKET);
        }
}

static void permissions_come_back(void **state)
{
    struct channel_frame ask = {.type = CHANNEL_PERMIT,
                                .number = 10,
                                .as.permit = {.what = CHANNEL_PERMIT_RECIPIENT,
                                              .login = "alice",
                                              .login_len = 5,
                                              .address = "a@b.test",
                                              .address_len = 8}};
    (void)state;
    there_and_back(&ask);
    ask.as.permit.what = CHANNEL_PERMIT_SENDER;
    ask.as.permit.address_len = 0;
    there_and_back(&ask);
    there_and_back(
        &(struct channel_frame){.type = CHANNEL_PERMITTED, .as.permission = CHANNEL_OVER_QUOTA});
    ask.as.permit.login_len = 0;
    refuse(&ask);
    ask.as.permit.login_len = 5;
    ask.as.permit.address_len = CHANNEL_ADDRESS_MAX + 1;
    refuse(&ask);
    refuse(&(struct channel_frame){.type = CHANNEL_PERMITTED,
                                   .as.permission = (enum channel_permission)3});
}

static void what_was_learnt_comes_back(void **state)
{
    (void)state;
    there_and_back(&(struct channel_frame){
        .type = CHANNEL_LEARNT, .as.learnt = {.upstream = 1, .extensions = 7, .size = 1ULL << 40}});
}

static void what_breaks_a_limit_is_not_sent(void **state)
{
    (void)state;
    struct channel_frame f = sign_frame(0);
    refuse(&f);
    f = sign_frame(TLS_SIGN_INPUT_MAX + 1);
    refuse(&f);
    f = verify_frame("", "secret");
    refuse(&f);
    f = verify_frame("alice", "");
    refuse(&f);
    f = verify_frame("alice", "secret");
    f.as.verify.login = "al\0ce";
    refuse(&f);
    f = verify_frame("alice", "secret");
    f.as.verify.secret = "sec\0et";
    refuse(&f);
    f = verify_frame("alice", "secret");
    f.as.verify.mechanism = (enum sasl_mechanism)(SASL_PLAIN | SASL_LOGIN);
    refuse(&f);
    f = (struct channel_frame){.type = CHANNEL_VERDICT, .as.verdict.word = (enum channel_verdict)4};
    refuse(&f);
    f = (struct channel_frame){.type = (enum channel_type)0};
    refuse(&f);
    f = (struct channel_frame){.type = (enum channel_type)(CHANNEL_MECHANISMS + 1)};
    refuse(&f);
}

static void a_full_queue_takes_nothing_of_a_frame(void **state)
{
    (void)state;
    struct channel_frame f = verify_frame("alice", "secret");
    struct buf b;
    buf_init(&b, 50);
    assert_false(channel_encode(&b, &f));
    assert_int_equal(buf_len(&b), 0);
}

static void assert_bad(const struct buf *b, size_t offset, uint32_t value)
{
    uint8_t bytes[CHANNEL_FRAME_MAX];
    struct channel_frame out;
    memcpy(bytes, buf_data(b), buf_len(b));
    memcpy(bytes + offset, &value, sizeof value);
    assert_int_equal(decode_exact(&out, bytes, buf_len(b)), CHANNEL_BAD);
}

static void assert_bad16(const struct buf *b, size_t offset, uint16_t value)
{
    uint8_t bytes[CHANNEL_FRAME_MAX];
    struct channel_frame out;
    memcpy(bytes, buf_data(b), buf_len(b));
    memcpy(bytes + offset, &value, sizeof value);
    assert_int_equal(decode_exact(&out, bytes, buf_len(b)), CHANNEL_BAD);
}

static void corrupt_frames_are_bad(void **state)
{
    (void)state;
    struct channel_frame f = verify_frame("alice", "secret");
    struct buf b = encode(&f);
    assert_bad(&b, 4, 0); /* types */
    assert_bad(&b, 4, CHANNEL_MECHANISMS + 1);
    assert_bad(&b, 4, 0x80000000);
    assert_bad(&b, 4, CHANNEL_READY); /* content where there is none */
    size_t bound = HEADER + 4 + 16 + 2 + 16 + 2 + 4 + 4;
    assert_bad(&b, bound, 2);
    assert_bad(&b, bound, 0xffffffff);
    assert_bad16(&b, bound + 4, 7);  /* a session id longer than it is */
    assert_bad16(&b, bound + 4, 24); /* and than any */
    assert_bad16(&b, bound + 4, 0xffff);
    assert_bad(&b, bound + 6, 0); /* NULs in it */
    size_t mechanism = buf_len(&b) - 5 - 6 - 4 - 4;
    assert_bad(&b, mechanism, 0);
    assert_bad(&b, mechanism, 3);
    assert_bad(&b, mechanism, SASL_ALL + 1);
    assert_bad(&b, mechanism, SASL_EXTERNAL); /* which has no password */
    assert_bad16(&b, mechanism + 4, 6);       /* longer than the frame */
    assert_bad16(&b, mechanism + 4, 4);       /* an octet left over */
    assert_bad16(&b, mechanism + 4, 0xffff);
    assert_bad16(&b, mechanism + 6, 0);
    assert_bad(&b, mechanism + 8, 0);  /* NULs in the login */
    assert_bad(&b, mechanism + 13, 0); /* and in the password */
    buf_clear(&b);
    f = verdict_frame(CHANNEL_REJECTED, "");
    b = encode(&f);
    assert_bad(&b, HEADER, 4);
    assert_bad(&b, HEADER, 0xffffffff);
    buf_clear(&b);
    f = tickets_frame(1);
    b = encode(&f);
    assert_bad(&b, HEADER, 0);
    assert_bad(&b, HEADER, 2);
    assert_bad(&b, HEADER, TICKET_KEYS_MAX + 1);
    assert_bad(&b, HEADER, 0xffffffff);
    buf_clear(&b);
    f = sign_frame(12);
    b = encode(&f);
    assert_bad16(&b, HEADER + 6, 11);
    assert_bad16(&b, HEADER + 6, 13);
    assert_bad16(&b, HEADER + 6, 0);
    buf_clear(&b);
}

static void impossible_lengths_are_bad_at_once(void **state)
{
    (void)state;
    static const uint32_t lengths[] = {0, 1, 15, CHANNEL_FRAME_MAX + 1, 0x7fffffff, 0xffffffff};
    struct channel_frame out;
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
        assert_int_equal(decode_exact(&out, (const uint8_t *)&lengths[i], 4), CHANNEL_BAD);
}

static void a_frame_may_not_be_longer_than_its_content(void **state)
{
    (void)state;
    static const enum channel_type types[] = {CHANNEL_READY, CHANNEL_CANCEL, CHANNEL_DRAIN,
                                              CHANNEL_VERDICT};
    for (size_t i = 0; i < 4; i++) {
        struct channel_frame out, f = {.type = types[i]};
        if (types[i] == CHANNEL_VERDICT)
            f.as.verdict.word = CHANNEL_REJECTED;
        struct buf b = encode(&f);
        uint8_t bytes[64] = {0};
        uint32_t len = (uint32_t)buf_len(&b) + 1;
        memcpy(bytes, buf_data(&b), buf_len(&b));
        memcpy(bytes, &len, sizeof len);
        assert_int_equal(decode_exact(&out, bytes, len), CHANNEL_BAD);
        buf_clear(&b);
    }
}

static void frames_in_a_row_are_taken_one_by_one(void **state)
{
    (void)state;
    struct channel_frame out, frames[3];
    struct buf b;
    size_t used;
    buf_init(&b, 4096);
    frames[0] = verify_frame("alice", "secret");
    frames[1] = (struct channel_frame){.type = CHANNEL_CANCEL, .number = 42};
    frames[2] = sign_frame(5);
    for (int i = 0; i < 3; i++)
        assert_true(channel_encode(&b, &frames[i]));
    for (int i = 0; i < 3; i++) {
        assert_int_equal(channel_decode(&out, &used, buf_data(&b), buf_len(&b)), CHANNEL_FRAME);
        assert_int_equal(out.type, frames[i].type);
        buf_consume(&b, used);
    }
    assert_int_equal(buf_len(&b), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_without_content_come_back),
        cmocka_unit_test(a_question_for_a_signature_comes_back),
        cmocka_unit_test(a_credential_comes_back),
        cmocka_unit_test(who_asks_comes_back),
        cmocka_unit_test(words_of_who_asks_are_short_and_printable),
        cmocka_unit_test(each_kind_of_credential_has_its_shape),
        cmocka_unit_test(the_longest_message_fits_a_frame),
        cmocka_unit_test(messages_of_an_exchange_come_back),
        cmocka_unit_test(what_can_be_offered_comes_back),
        cmocka_unit_test(only_who_was_accepted_has_a_name),
        cmocka_unit_test(the_longest_credential_fits_a_frame),
        cmocka_unit_test(signatures_and_verdicts_come_back),
        cmocka_unit_test(ticket_keys_come_back),
        cmocka_unit_test(leases_come_back),
        cmocka_unit_test(the_address_that_a_lease_is_for_comes_back),
        cmocka_unit_test(only_one_answer_brings_a_descriptor),
        cmocka_unit_test(permissions_come_back),
        cmocka_unit_test(what_was_learnt_comes_back),
        cmocka_unit_test(what_breaks_a_limit_is_not_sent),
        cmocka_unit_test(a_full_queue_takes_nothing_of_a_frame),
        cmocka_unit_test(corrupt_frames_are_bad),
        cmocka_unit_test(impossible_lengths_are_bad_at_once),
        cmocka_unit_test(a_frame_may_not_be_longer_than_its_content),
        cmocka_unit_test(frames_in_a_row_are_taken_one_by_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
