#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <stdio.h>

#include "auth/dovecot.h"

/* --- what comes */

struct heard {
    size_t count;
    enum dovecot_status end;
    struct dovecot_line line[16];
};

/* In pieces of `piece` octets, the first one of `first`. */
static void hear(struct heard *h, const char *text, size_t len, size_t first, size_t piece)
{
    struct dovecot_reader *r = calloc(1, sizeof *r);
    memset(h, 0, sizeof *h);
    h->end = DOVECOT_MORE;
    for (size_t at = 0; at < len && h->end == DOVECOT_MORE;) {
        size_t left = at == 0 && first > 0 ? first : piece;
        if (left > len - at)
            left = len - at;
        const uint8_t *in = (const uint8_t *)text + at;
        at += left;
        while ((h->end = dovecot_read(r, &in, &left)) == DOVECOT_LINE) {
            assert_true(h->count < 16);
            if (!dovecot_parse(&h->line[h->count], r->line, r->len)) {
                h->end = DOVECOT_BAD;
                break;
            }
            h->count++;
        }
    }
    free(r);
}

/* Whole, octet by octet, and in two at every place: always the same. */
static void hear_all_ways(struct heard *whole, const char *text)
{
    const size_t len = strlen(text);
    struct heard other;
    hear(whole, text, len, 0, len);
    hear(&other, text, len, 1, 1);
    assert_memory_equal(whole, &other, sizeof other);
    for (size_t split = 1; split < len; split++) {
        hear(&other, text, len, split, len);
        assert_memory_equal(whole, &other, sizeof other);
    }
}

static bool parse(struct dovecot_line *out, const char *line)
{
    return dovecot_parse(out, line, strlen(line));
}

static void a_greeting_is_understood(void **state)
{
    (void)state;
    struct heard h;
    hear_all_ways(&h, "VERSION\t1\t2\nMECH\tPLAIN\tplaintext\nMECH\tSCRAM-SHA-256\tmutual-auth\n"
                      "SPID\t123\nCUID\t1\nCOOKIE\t0123abcd\nDONE\n");
    assert_int_equal(h.end, DOVECOT_MORE);
    assert_int_equal(h.count, 7);
    assert_int_equal(h.line[0].type, DOVECOT_VERSION);
    assert_int_equal(h.line[0].major, 1);
    assert_int_equal(h.line[0].minor, 2);
    assert_int_equal(h.line[1].type, DOVECOT_MECH);
    assert_int_equal(h.line[1].mechanisms, SASL_PLAIN | SASL_LOGIN);
    assert_int_equal(h.line[2].mechanisms, SASL_SCRAM_SHA_256);
    assert_int_equal(h.line[3].type, DOVECOT_OTHER);
    assert_int_equal(h.line[6].type, DOVECOT_DONE);
}

static void answers_are_understood(void **state)
{
    (void)state;
    struct heard h;
    hear_all_ways(
        &h, "OK\t7\tuser=alice@any.example\tresp=\nFAIL\t8\tuser=bob\tauthz\n"
            "FAIL\t9\ttemp\nFAIL\t10\tuser=x\tcode=temp_fail\nCONT\t11\tcj1hYmM=\nCONT\t12\t\n"
            "OK\t4294967295\n");
    assert_int_equal(h.count, 7);
    assert_int_equal(h.line[0].type, DOVECOT_OK);
    assert_int_equal(h.line[0].id, 7);
    assert_string_equal(h.line[0].user, "alice@any.example");
    assert_false(h.line[0].no_login);
    assert_int_equal(h.line[1].type, DOVECOT_FAIL);
    assert_int_equal(h.line[1].id, 8);
    assert_false(h.line[1].temporary);
    assert_true(h.line[2].temporary);
    assert_true(h.line[3].temporary);
    assert_int_equal(h.line[4].type, DOVECOT_CONT);
    assert_int_equal(h.line[4].message_len, 5);
    assert_memory_equal(h.line[4].message, "r=abc", 5);
    assert_int_equal(h.line[5].message_len, 0);
    assert_int_equal(h.line[6].id, UINT32_MAX);
    assert_string_equal(h.line[6].user, "");
}

static void a_name_is_unescaped(void **state)
{
    (void)state;
    struct dovecot_line line;
    assert_true(parse(&line, "OK\t1\tuser=a=b c"));
    assert_string_equal(line.user, "a=b c");
    assert_true(parse(&line, "OK\t1\tuser=al\001ice"));
    assert_string_equal(line.user, "alice");
    /* what stands for a control octet is no login of anybody's */
    assert_false(parse(&line, "OK\t1\tuser=a\001tb"));
    assert_false(parse(&line, "OK\t1\tuser=a\001nb"));
    assert_false(parse(&line, "OK\t1\tuser=a\0010b"));
    assert_false(parse(&line, "OK\t1\tuser=a\001"));
    assert_false(parse(&line, "OK\t1\tuser="));
    assert_false(parse(&line, "OK\t1\tuser=\xff"));
}

static void success_that_is_no_leave_to_log_in_is_told_apart(void **state)
{
    (void)state;
    struct dovecot_line line;
    assert_true(parse(&line, "OK\t1\tuser=a\tnologin"));
    assert_true(line.no_login);
    assert_true(parse(&line, "OK\t1\tuser=a\tnologin=y"));
    assert_true(line.no_login);
    assert_true(parse(&line, "OK\t1\tuser=a\tproxy\thost=192.0.2.1"));
    assert_true(line.no_login);
    assert_true(parse(&line, "OK\t1\tuser=a\tproxy_maybe=y"));
    assert_true(line.no_login);
    assert_true(parse(&line, "OK\t1\tuser=nologin\treason=proxy\tproxying\tnologins=1"));
    assert_false(line.no_login);
}

static void only_what_clients_may_use_is_offered(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        unsigned bits;
    } cases[] = {
        {"MECH\tPLAIN", SASL_PLAIN | SASL_LOGIN},
        {"MECH\tLOGIN\tplaintext", 0},
        {"MECH\tANONYMOUS\tanonymous", 0},
        {"MECH\tPLAIN\tanonymous", 0},
        {"MECH\tAPOP\tprivate\tdictionary\tactive", 0},
        {"MECH\tCRAM-MD5\tprivate", 0},
        {"MECH\tDOVECOT-TOKEN\tprivate", 0},
        {"MECH\tSCRAM-SHA-256-PLUS\tmutual-auth", 0},
        {"MECH\tSCRAM-SHA-1-PLUS", 0},
        {"MECH\tEXTERNAL", 0},
        {"MECH\tMADE-UP", 0},
        {"MECH\tCRAM-MD5\tdictionary\tactive", SASL_CRAM_MD5},
        {"MECH\tDIGEST-MD5", SASL_DIGEST_MD5},
        {"MECH\tSCRAM-SHA-1", SASL_SCRAM_SHA_1},
        {"MECH\tOAUTHBEARER", SASL_OAUTHBEARER},
        {"MECH\tXOAUTH2", SASL_XOAUTH2},
        {"MECH\tGSSAPI", SASL_GSSAPI},
        {"MECH\tGSS-SPNEGO", SASL_GSS_SPNEGO},
        {"MECH\tNTLM", SASL_NTLM},
        {"MECH\tOTP", SASL_OTP},
    };
    struct dovecot_line line;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_true(parse(&line, cases[i].line));
        if (line.mechanisms != cases[i].bits)
            fail_msg("%s brings %x", cases[i].line, line.mechanisms);
    }
}

static void nonsense_is_seen(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "",
        "\t",
        "ok\t1",
        "OK",
        "OK\t",
        "OK\t-1",
        "OK\t 1",
        "OK\tx",
        "OK\t4294967296",
        "OK\t99999999999999999999",
        "OK\t1x",
        "FAIL",
        "FAIL\tuser=a",
        "CONT",
        "CONT\tx\t",
        "CONT\t1\t!",
        "CONT\t1\tAAA",
        "CONT\t1\tAA=A",
        "VERSION",
        "VERSION\t1",
        "VERSION\t1\tx",
        "VERSION\tx\t1",
        "MECH",
        "MECH\t",
        "HTTP/1.1 200 OK",
        "* OK IMAP",
        "220 smtp",
        "\xff",
    };
    struct dovecot_line line;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (parse(&line, cases[i]))
            fail_msg("taken: \"%s\"", cases[i]);
    assert_true(parse(&line, "FUTURE\twhat\tever"));
    assert_int_equal(line.type, DOVECOT_OTHER);
    assert_true(parse(&line, "NEW_THING"));
}

static void a_line_that_does_not_end_is_bad(void **state)
{
    (void)state;
    static char long_line[DOVECOT_LINE_MAX + 1];
    struct heard h;
    memset(long_line, 'A', sizeof long_line);
    long_line[DOVECOT_LINE_MAX - 1] = '\n';
    hear(&h, long_line, DOVECOT_LINE_MAX, 0, 1000);
    assert_int_equal(h.end, DOVECOT_MORE);
    assert_int_equal(h.count, 1);
    memset(long_line, 'A', sizeof long_line);
    hear(&h, long_line, DOVECOT_LINE_MAX, 0, 1000);
    assert_int_equal(h.end, DOVECOT_BAD);
}

static void a_challenge_is_bounded(void **state)
{
    (void)state;
    struct dovecot_line line;
    static char text[8000];
    size_t len = (size_t)SASL_CHALLENGE_MAX / 3 * 4;
    memcpy(text, "CONT\t1\t", 7);
    memset(text + 7, 'A', sizeof text - 7);
    memcpy(text + 7 + len, "AA==", 4);
    assert_true(dovecot_parse(&line, text, 7 + len + 4));
    assert_int_equal(line.message_len, SASL_CHALLENGE_MAX);
    memcpy(text + 7 + len, "AAA=", 4);
    assert_false(dovecot_parse(&line, text, 7 + len + 4));
    memcpy(text + 7 + len, "AAAA", 4);
    assert_false(dovecot_parse(&line, text, 7 + len + 4 + 400));
}

/* --- what is sent */

static struct sasl_credential credential(enum sasl_mechanism mechanism, const char *login,
                                         const char *secret)
{
    struct sasl_credential c = {
        .mechanism = mechanism, .login_len = strlen(login), .secret_len = strlen(secret)};
    memcpy(c.login, login, c.login_len);
    memcpy(c.secret, secret, c.secret_len);
    return c;
}

static const struct auth_client nobody;

static void asks(const char *expected, const struct sasl_credential *c,
                 const struct auth_client *client)
{
    char out[DOVECOT_LINE_MAX + 1];
    size_t len = 0;
    assert_true(dovecot_ask(out, &len, DOVECOT_LINE_MAX, 5, c, client));
    out[len] = '\0';
    assert_string_equal(out, expected);
}

static void the_hello_says_who_we_are(void **state)
{
    (void)state;
    char out[65];
    size_t len;
    assert_true(dovecot_hello(out, &len, 64, 4294967295u));
    out[len] = '\0';
    assert_string_equal(out, "VERSION\t1\t2\nCPID\t4294967295\n");
    assert_false(dovecot_hello(out, &len, 27, 4294967295u));
    assert_int_equal(len, 0);
}

static void a_password_goes_as_plain(void **state)
{
    (void)state;
    struct sasl_credential c = credential(SASL_PLAIN, "alice", "secret");
    asks("AUTH\t5\tPLAIN\tservice=smtp\tno-penalty\tnologin\tresp=AGFsaWNlAHNlY3JldA==\n", &c,
         &nobody);
    c.mechanism = SASL_LOGIN;
    asks("AUTH\t5\tPLAIN\tservice=smtp\tno-penalty\tnologin\tresp=AGFsaWNlAHNlY3JldA==\n", &c,
         &nobody);
}

static void dovecot_hears_about_the_client(void **state)
{
    (void)state;
    struct sasl_credential c = credential(SASL_PLAIN, "a", "b");
    struct auth_client client = {
        .address = {[10] = 0xff, [11] = 0xff, 192, 0, 2, 7},
        .port = 40000,
        .local = {0x20, 0x01, 0x0d, 0xb8, [15] = 1},
        .local_port = 465,
        .session = "abc-1",
        .tls_version = "TLSv1.3",
        .tls_cipher = "TLS_AES_128_GCM_SHA256",
    };
    asks("AUTH\t5\tPLAIN\tservice=smtp\tsecured=tls\tno-penalty\tnologin\tsession=abc-1\t"
         "lip=2001:db8::1\tlport=465\trip=192.0.2.7\trport=40000\ttls_protocol=TLSv1.3\t"
         "tls_cipher=TLS_AES_128_GCM_SHA256\tresp=AGEAYg==\n",
         &c, &client);
    client.port = 0;
    client.local_port = 0;
    memset(client.local, 0, sizeof client.local);
    client.tls_version[0] = 0;
    client.tls_cipher[0] = 0;
    snprintf(client.session, sizeof client.session, "%s", "a\tb\001c\nd\re");
    asks("AUTH\t5\tPLAIN\tservice=smtp\tno-penalty\tnologin\tsession=a\001tb\0011c\001nd\001re\t"
         "rip=192.0.2.7\tresp=AGEAYg==\n",
         &c, &client);
}

static void a_token_goes_as_its_mechanism_has_it(void **state)
{
    (void)state;
    struct sasl_credential c = credential(SASL_OAUTHBEARER, "a,b=c", "tok");
    /* n,a=a=2Cb=3Dc,^Aauth=Bearer tok^A^A */
    asks("AUTH\t5\tOAUTHBEARER\tservice=smtp\tno-penalty\tnologin\t"
         "resp=bixhPWE9MkNiPTNEYywBYXV0aD1CZWFyZXIgdG9rAQE=\n",
         &c, &nobody);
    c = credential(SASL_OAUTHBEARER, "", "tok");
    /* n,,^Aauth=Bearer tok^A^A */
    asks("AUTH\t5\tOAUTHBEARER\tservice=smtp\tno-penalty\tnologin\t"
         "resp=biwsAWF1dGg9QmVhcmVyIHRvawEB\n",
         &c, &nobody);
    c = credential(SASL_XOAUTH2, "alice", "tok");
    /* user=alice^Aauth=Bearer tok^A^A */
    asks("AUTH\t5\tXOAUTH2\tservice=smtp\tno-penalty\tnologin\t"
         "resp=dXNlcj1hbGljZQFhdXRoPUJlYXJlciB0b2sBAQ==\n",
         &c, &nobody);
}

static void a_message_goes_as_it_is_and_an_empty_one_not_at_all(void **state)
{
    (void)state;
    struct sasl_credential c = credential(SASL_SCRAM_SHA_256, "", "n,,n=a,r=b");
    asks("AUTH\t5\tSCRAM-SHA-256\tservice=smtp\tno-penalty\tnologin\tresp=biwsbj1hLHI9Yg==\n", &c,
         &nobody);
    c = credential(SASL_CRAM_MD5, "", "");
    asks("AUTH\t5\tCRAM-MD5\tservice=smtp\tno-penalty\tnologin\n", &c, &nobody);
}

static void a_response_is_one_line(void **state)
{
    (void)state;
    char out[65];
    size_t len;
    assert_true(dovecot_continue(out, &len, 64, 9, (const uint8_t *)"a\0\n", 3));
    out[len] = '\0';
    assert_string_equal(out, "CONT\t9\tYQAK\n");
    assert_true(dovecot_continue(out, &len, 64, 9, NULL, 0));
    out[len] = '\0';
    assert_string_equal(out, "CONT\t9\t\n");
    assert_true(dovecot_cancel(out, &len, 64, 9));
    out[len] = '\0';
    assert_string_equal(out, "CANCEL\t9\n");
}

/* Dovecot closes the connection of all when one line is too long. */
static void what_does_not_fit_is_not_sent(void **state)
{
    (void)state;
    static struct sasl_credential c;
    static char out[DOVECOT_LINE_MAX];
    size_t len, whole;
    c.mechanism = SASL_SCRAM_SHA_256;
    c.secret_len = SASL_SECRET_MAX;
    memset(c.secret, 'x', c.secret_len);
    assert_true(dovecot_ask(out, &whole, DOVECOT_LINE_MAX, 1, &c, &nobody));
    assert_false(dovecot_ask(out, &len, DOVECOT_LINE_MAX_OLD, 1, &c, &nobody));
    assert_int_equal(len, 0);
    for (size_t cap = 0; cap < whole; cap++) {
        char *exact = malloc(cap + 1);
        assert_false(dovecot_ask(exact, &len, cap, 1, &c, &nobody));
        free(exact);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_greeting_is_understood),
        cmocka_unit_test(answers_are_understood),
        cmocka_unit_test(a_name_is_unescaped),
        cmocka_unit_test(success_that_is_no_leave_to_log_in_is_told_apart),
        cmocka_unit_test(only_what_clients_may_use_is_offered),
        cmocka_unit_test(nonsense_is_seen),
        cmocka_unit_test(a_line_that_does_not_end_is_bad),
        cmocka_unit_test(a_challenge_is_bounded),
        cmocka_unit_test(the_hello_says_who_we_are),
        cmocka_unit_test(a_password_goes_as_plain),
        cmocka_unit_test(dovecot_hears_about_the_client),
        cmocka_unit_test(a_token_goes_as_its_mechanism_has_it),
        cmocka_unit_test(a_message_goes_as_it_is_and_an_empty_one_not_at_all),
        cmocka_unit_test(a_response_is_one_line),
        cmocka_unit_test(what_does_not_fit_is_not_sent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
