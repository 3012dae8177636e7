#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/command.h"

#define A10 "aaaaaaaaaa"
#define A100 A10 A10 A10 A10 A10 A10 A10 A10 A10 A10
#define A500 A100 A100 A100 A100 A100
#define EVERYTHING (~0U)

struct example {
    const char *in;
    const char *out;
};

struct verdict {
    const char *in;
    enum command_status status;
};

/* At the end of its memory, so that a look beyond it is seen. */
static enum command_status parse_mail(struct command_mail *out, const char *in)
{
    size_t len = strlen(in);
    char *copy = malloc(len + 1);
    enum command_status status;

    memcpy(copy + 1, in, len);
    status = command_parse_mail(out, copy + 1, len);
    free(copy);
    return status;
}

static enum command_status parse_rcpt(struct command_rcpt *out, const char *in)
{
    size_t len = strlen(in);
    char *copy = malloc(len + 1);
    enum command_status status;

    memcpy(copy + 1, in, len);
    status = command_parse_rcpt(out, copy + 1, len);
    free(copy);
    return status;
}

static void assert_wrote(struct buf *b, const char *in, const char *wanted)
{
    size_t len = strlen(wanted);

    if (buf_len(b) != len + 2 || memcmp(buf_data(b), wanted, len) != 0 ||
        memcmp(buf_data(b) + len, "\r\n", 2) != 0)
        fail_msg("%s -> %.*s", in, (int)buf_len(b), (const char *)buf_data(b));
    buf_clear(b);
}

static void expect_mail(const char *in, const char *wanted, unsigned offered)
{
    struct command_mail mail;
    enum command_status status = parse_mail(&mail, in);
    struct buf b;

    buf_init(&b, COMMAND_LINE_MAX);
    if (status != COMMAND_OK)
        fail_msg("%s: status %d", in, status);
    assert_true(command_write_mail(&b, &mail, offered));
    assert_wrote(&b, in, wanted);
}

static void expect_rcpt(const char *in, const char *wanted, unsigned offered)
{
    struct command_rcpt rcpt;
    enum command_status status = parse_rcpt(&rcpt, in);
    struct buf b;

    buf_init(&b, COMMAND_LINE_MAX);
    if (status != COMMAND_OK)
        fail_msg("%s: status %d", in, status);
    assert_true(command_write_rcpt(&b, &rcpt, offered));
    assert_wrote(&b, in, wanted);
}

static void only_lines_without_controls_are_clean(void **state)
{
    (void)state;
    assert_true(command_line_clean("", 0));
    assert_true(command_line_clean("MAIL FROM:<a@b> \x80\xff~", 19));
    for (unsigned c = 0; c < 256; c++) {
        char line[] = {'N', 'O', 'O', 'P', ' ', (char)c, 'x'};

        assert_int_equal(command_line_clean(line, sizeof(line)), c >= 0x20 && c != 0x7f);
        assert_int_equal(command_line_clean(line + 5, 1), c >= 0x20 && c != 0x7f);
    }
}

static void expect_verb(const char *line, size_t verb, const char *wanted)
{
    const char *args;
    size_t len;
    size_t got = command_verb(line, strlen(line), &args, &len);

    if (got != verb ||
        (wanted != NULL && (len != strlen(wanted) || memcmp(args, wanted, len) != 0)))
        fail_msg("'%s': %d '%.*s'", line, (int)got, (int)len, args);
}

static void a_verb_ends_at_a_space_or_the_end(void **state)
{
    (void)state;
    expect_verb("QUIT", 4, "");
    expect_verb("QUIT   ", 4, "");
    expect_verb("MAIL FROM:<a@b>", 4, "FROM:<a@b>");
    expect_verb("ehlo  x  ", 4, " x");
    expect_verb("NOOP a b ", 4, "a b");
    expect_verb("STARTTLS", 8, "");
    expect_verb("", 0, "");
    expect_verb("   ", 0, "");
    expect_verb(" MAIL FROM:<a@b>", 0, NULL);
    expect_verb("MAIL\tFROM:<a@b>", 0, NULL);
    expect_verb("X-FOO", 0, NULL);
    expect_verb("MAIL:", 0, NULL);
    expect_verb("250 ok", 0, NULL);
    expect_verb("QUIT\xc3\xbc", 0, NULL);
}

static void other_protocols_are_known_by_their_lines(void **state)
{
    static const char *const foreign[] = {
        "GET / HTTP/1.1", "POST / HTTP/1.1", "PUT /x",  "HEAD /",         "CONNECT a:443 HTTP/1.1",
        "OPTIONS * x",    "DELETE /",        "PATCH /", "PRI * HTTP/2.0", "TRACE /",
        "get / http/1.0", "Host: localhost", "Host:x",  "User-Agent: x",  "X_y: z",
        "Content-Length:"};
    static const char *const ours[] = {"MAIL FROM:<a@b>",
                                       "RCPT TO:<a@b>",
                                       "EHLO a:b",
                                       "GET",
                                       "GETX /",
                                       "NOOP a: b",
                                       "",
                                       ":",
                                       ": x",
                                       "POSTMASTER x",
                                       "X-FOO",
                                       "XPRI a"};

    (void)state;
    for (size_t i = 0; i < sizeof(foreign) / sizeof(foreign[0]); i++)
        assert_true(command_foreign(foreign[i], strlen(foreign[i])));
    for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
        assert_false(command_foreign(ours[i], strlen(ours[i])));
}

static void mail_is_written_anew(void **state)
{
    static const struct example examples[] = {
        {"FROM:<a@b>", "MAIL FROM:<a@b>"},
        {"from:<a@b>", "MAIL FROM:<a@b>"},
        {"FROM: <a@b>", "MAIL FROM:<a@b>"},
        {"FROM:<>", "MAIL FROM:<>"},
        {"FROM:<a@b>  ", "MAIL FROM:<a@b>"},
        {"FROM:<@r:a@b>", "MAIL FROM:<a@b>"},
        {"FROM:<a@b> size=0", "MAIL FROM:<a@b> SIZE=0"},
        {"FROM:<a@b> SIZE=18446744073709551615", "MAIL FROM:<a@b> SIZE=18446744073709551615"},
        {"FROM:<a@b> SIZE=00000000000000000012", "MAIL FROM:<a@b> SIZE=12"},
        {"FROM:<a@b>   BODY=7bit", "MAIL FROM:<a@b> BODY=7BIT"},
        {"FROM:<a@b> Body=8BitMime", "MAIL FROM:<a@b> BODY=8BITMIME"},
        {"FROM:<a@b> smtputf8", "MAIL FROM:<a@b> SMTPUTF8"},
        {"FROM:<\xc3\xbc@b> SMTPUTF8", "MAIL FROM:<\xc3\xbc@b> SMTPUTF8"},
        {"FROM:<a@b> RET=full ENVID=QQ314159+2B", "MAIL FROM:<a@b> RET=FULL ENVID=QQ314159+2B"},
        {"FROM:<a@b> ENVID=" A100 " RET=HDRS", "MAIL FROM:<a@b> RET=HDRS ENVID=" A100},
        {"FROM:<a@b> AUTH=<>", "MAIL FROM:<a@b>"},
        {"FROM:<a@b> AUTH=boss+40corp", "MAIL FROM:<a@b>"},
        {"FROM:<a@b> ENVID=x RET=HDRS SMTPUTF8 BODY=8BITMIME AUTH=<> SIZE=7",
         "MAIL FROM:<a@b> SIZE=7 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=x"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(examples) / sizeof(examples[0]); i++)
        expect_mail(examples[i].in, examples[i].out, EVERYTHING);
}

static void mail_that_is_wrong_is_told_how(void **state)
{
    static const struct verdict examples[] = {
        {"", COMMAND_SYNTAX},
        {"<a@b>", COMMAND_SYNTAX},
        {"FROM", COMMAND_SYNTAX},
        {"FROM <a@b>", COMMAND_SYNTAX},
        {" FROM:<a@b>", COMMAND_SYNTAX},
        {"TO:<a@b>", COMMAND_SYNTAX},
        {"FROM:", COMMAND_BAD_PATH},
        {"FROM:  <a@b>", COMMAND_BAD_PATH},
        {"FROM:a@b", COMMAND_BAD_PATH},
        {"FROM:x <a@b>", COMMAND_BAD_PATH},
        {"FROM:\"a@b\" <c@d>", COMMAND_BAD_PATH},
        {"FROM:<a>", COMMAND_BAD_PATH},
        {"FROM:<a@b@c>", COMMAND_BAD_PATH},
        {"FROM:<postmaster>", COMMAND_BAD_PATH},
        {"FROM:<a@b\xef\xbc\x8e"
         "c> SMTPUTF8",
         COMMAND_BAD_PATH},
        {"FROM:<\xff\xfe@b>", COMMAND_NOT_UTF8},
        {"FROM:<\xc0\xaf@b> SMTPUTF8", COMMAND_NOT_UTF8},
        {"FROM:<a@b> ENVID=\xff", COMMAND_NOT_UTF8},
        {"FROM:<\xc3\xbc@b>", COMMAND_NEEDS_SMTPUTF8},
        {"FROM:<a@\xc3\xbc> SIZE=1", COMMAND_NEEDS_SMTPUTF8},
        {"FROM:<a@b> <c@d>", COMMAND_SYNTAX},
        {"FROM:<a@b>SIZE=3", COMMAND_SYNTAX},
        {"FROM:<a@b>>", COMMAND_SYNTAX},
        {"FROM:<a@b> =", COMMAND_SYNTAX},
        {"FROM:<a@b> =3", COMMAND_SYNTAX},
        {"FROM:<a@b> -X=3", COMMAND_SYNTAX},
        {"FROM:<a@b> FOO=", COMMAND_UNKNOWN_PARAMETER},
        {"FROM:<a@b> SIZE", COMMAND_SYNTAX},
        {"FROM:<a@b> SIZE=", COMMAND_SYNTAX},
        {"FROM:<a@b> SIZE=-1", COMMAND_SYNTAX},
        {"FROM:<a@b> SIZE=+1", COMMAND_SYNTAX},
        {"FROM:<a@b> SIZE=1x", COMMAND_SYNTAX},
        {"FROM:<a@b> SIZE=0x10", COMMAND_SYNTAX},
        {"FROM:<a@b> SIZE=1=2", COMMAND_SYNTAX},
        {"FROM:<a@b> SIZE=999999999999999999999", COMMAND_SYNTAX},
        {"FROM:<a@b> SIZE=000000000000000000001", COMMAND_SYNTAX},
        {"FROM:<a@b> SIZE=1 SIZE=1", COMMAND_SYNTAX},
        {"FROM:<a@b> SIZE=1 size=2", COMMAND_SYNTAX},
        {"FROM:<a@b> BODY=BINARYMIME", COMMAND_UNKNOWN_PARAMETER},
        {"FROM:<a@b> BODY=9BIT", COMMAND_SYNTAX},
        {"FROM:<a@b> BODY", COMMAND_SYNTAX},
        {"FROM:<a@b> BODY=7BIT BODY=7BIT", COMMAND_SYNTAX},
        {"FROM:<a@b> SMTPUTF8=yes", COMMAND_SYNTAX},
        {"FROM:<a@b> SMTPUTF8=", COMMAND_SYNTAX},
        {"FROM:<a@b> SMTPUTF8 SMTPUTF8", COMMAND_SYNTAX},
        {"FROM:<a@b> RET=SOME", COMMAND_SYNTAX},
        {"FROM:<a@b> RET", COMMAND_SYNTAX},
        {"FROM:<a@b> ENVID=", COMMAND_SYNTAX},
        {"FROM:<a@b> ENVID=a" A100, COMMAND_SYNTAX},
        {"FROM:<a@b> ENVID=+", COMMAND_SYNTAX},
        {"FROM:<a@b> ENVID=+4", COMMAND_SYNTAX},
        {"FROM:<a@b> ENVID=+4g", COMMAND_SYNTAX},
        {"FROM:<a@b> ENVID=+4a", COMMAND_SYNTAX},
        {"FROM:<a@b> ENVID=a+0D+0Ab", COMMAND_SYNTAX},
        {"FROM:<a@b> ENVID=\xc3\xbc", COMMAND_SYNTAX},
        {"FROM:<a@b> AUTH=", COMMAND_SYNTAX},
        {"FROM:<a@b> AUTH", COMMAND_SYNTAX},
        {"FROM:<a@b> AUTH=a+0Ab", COMMAND_SYNTAX},
        {"FROM:<a@b> AUTH=a+0D+0Ab", COMMAND_SYNTAX},
        {"FROM:<a@b> AUTH=a" A500, COMMAND_SYNTAX},
        {"FROM:<a@b> AUTH=<> AUTH=<>", COMMAND_SYNTAX},
        {"FROM:<a@b> REQUIRETLS", COMMAND_UNKNOWN_PARAMETER},
        {"FROM:<a@b> NOTIFY=NEVER", COMMAND_UNKNOWN_PARAMETER},
        {"FROM:<a@b> X-Y=z SIZE=x", COMMAND_SYNTAX},
        {"FROM:<a@b> XOORG=x SIZE=3", COMMAND_UNKNOWN_PARAMETER},
    };
    struct command_mail mail;

    (void)state;
    for (size_t i = 0; i < sizeof(examples) / sizeof(examples[0]); i++) {
        enum command_status status = parse_mail(&mail, examples[i].in);

        if (status != examples[i].status)
            fail_msg("%s: %d, not %d", examples[i].in, status, examples[i].status);
    }
}

static void rcpt_is_written_anew(void **state)
{
    static const struct example examples[] = {
        {"TO:<a@b>", "RCPT TO:<a@b>"},
        {"to: <a@b> ", "RCPT TO:<a@b>"},
        {"TO:<POSTMASTER>", "RCPT TO:<postmaster>"},
        {"TO:<@r,@s:a@b>", "RCPT TO:<a@b>"},
        {"TO:<\xc3\xbc@b>", "RCPT TO:<\xc3\xbc@b>"},
        {"TO:<a@b> NOTIFY=never", "RCPT TO:<a@b> NOTIFY=NEVER"},
        {"TO:<a@b> notify=delay,Failure,SUCCESS", "RCPT TO:<a@b> NOTIFY=SUCCESS,FAILURE,DELAY"},
        {"TO:<a@b> NOTIFY=DELAY,DELAY", "RCPT TO:<a@b> NOTIFY=DELAY"},
        {"TO:<a@b> ORCPT=rfc822;x+2By@b", "RCPT TO:<a@b> ORCPT=rfc822;x+2By@b"},
        {"TO:<a@b> ORCPT=utf-8;\\x{FC}@b NOTIFY=FAILURE",
         "RCPT TO:<a@b> NOTIFY=FAILURE ORCPT=utf-8;\\x{FC}@b"},
        {"TO:<a@b> ORCPT=rfc822;a\\b", "RCPT TO:<a@b> ORCPT=rfc822;a\\b"},
        {"TO:<a@b> ORCPT=" A10 ";" A100 A100 A100 A100 A10 A10 A10 A10 A10 A10 A10 A10 "aaaaaaaaa",
         "RCPT TO:<a@b> ORCPT=" A10 ";" A100 A100 A100 A100 A10 A10 A10 A10 A10 A10 A10 A10
         "aaaaaaaaa"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(examples) / sizeof(examples[0]); i++)
        expect_rcpt(examples[i].in, examples[i].out, EVERYTHING);
}

static void rcpt_that_is_wrong_is_told_how(void **state)
{
    static const struct verdict examples[] = {
        {"FROM:<a@b>", COMMAND_SYNTAX},
        {"TO:<>", COMMAND_BAD_PATH},
        {"TO:<a>", COMMAND_BAD_PATH},
        {"TO:<<a@b>>", COMMAND_BAD_PATH},
        {"TO:a@b", COMMAND_BAD_PATH},
        {"TO:<a@lab.test,b@remote.test>", COMMAND_BAD_PATH},
        {"TO:\"a@lab.test\" <b@remote.test>", COMMAND_BAD_PATH},
        {"TO:<\x80@b>", COMMAND_NOT_UTF8},
        {"TO:<a@b> SIZE=1", COMMAND_UNKNOWN_PARAMETER},
        {"TO:<a@b> RRVS=x", COMMAND_UNKNOWN_PARAMETER},
        {"TO:<a@b>NOTIFY=NEVER", COMMAND_SYNTAX},
        {"TO:<a@b> NOTIFY", COMMAND_SYNTAX},
        {"TO:<a@b> NOTIFY=", COMMAND_SYNTAX},
        {"TO:<a@b> NOTIFY=ALWAYS", COMMAND_SYNTAX},
        {"TO:<a@b> NOTIFY=NEVER,DELAY", COMMAND_SYNTAX},
        {"TO:<a@b> NOTIFY=DELAY,NEVER", COMMAND_SYNTAX},
        {"TO:<a@b> NOTIFY=DELAY,", COMMAND_SYNTAX},
        {"TO:<a@b> NOTIFY=,DELAY", COMMAND_SYNTAX},
        {"TO:<a@b> NOTIFY=DELAY;FAILURE", COMMAND_SYNTAX},
        {"TO:<a@b> NOTIFY=DELAY NOTIFY=DELAY", COMMAND_SYNTAX},
        {"TO:<a@b> ORCPT=", COMMAND_SYNTAX},
        {"TO:<a@b> ORCPT", COMMAND_SYNTAX},
        {"TO:<a@b> ORCPT=a@b", COMMAND_SYNTAX},
        {"TO:<a@b> ORCPT=;a@b", COMMAND_SYNTAX},
        {"TO:<a@b> ORCPT=rfc822;", COMMAND_SYNTAX},
        {"TO:<a@b> ORCPT=rfc822;a ORCPT=rfc822;a", COMMAND_SYNTAX},
        {"TO:<a@b> ORCPT=rfc822;" A500, COMMAND_SYNTAX},
        {"TO:<a@b> ORCPT=rfc822;a=b", COMMAND_SYNTAX},
        {"TO:<a@b> ORCPT=rfc822;\xc3\xbc", COMMAND_SYNTAX},
        {"TO:<a@b> ORCPT=utf-8;\\x{0A}", COMMAND_SYNTAX},
        {"TO:<a@b> ORCPT=utf-8;\\x{7F}", COMMAND_SYNTAX},
        {"TO:<a@b> ORCPT=utf-8;\\x{85}", COMMAND_SYNTAX},
        {"TO:<a@b> ORCPT=utf-8;\\x{D800}", COMMAND_SYNTAX},
        {"TO:<a@b> ORCPT=utf-8;\\x{110000}", COMMAND_SYNTAX},
        {"TO:<a@b> ORCPT=utf-8;\\x{}", COMMAND_SYNTAX},
        {"TO:<a@b> ORCPT=utf-8;\\x{FC", COMMAND_SYNTAX},
        {"TO:<a@b> ORCPT=utf-8;\\y", COMMAND_SYNTAX},
        {"TO:<a@b> ORCPT=utf-8;a\\", COMMAND_SYNTAX},
    };
    struct command_rcpt rcpt;

    (void)state;
    for (size_t i = 0; i < sizeof(examples) / sizeof(examples[0]); i++) {
        enum command_status status = parse_rcpt(&rcpt, examples[i].in);

        if (status != examples[i].status)
            fail_msg("%s: %d, not %d", examples[i].in, status, examples[i].status);
    }
}

static void no_escaped_control_passes_in_xtext(void **state)
{
    struct command_mail mail;
    struct command_rcpt rcpt;

    (void)state;
    for (unsigned c = 0; c < 256; c++) {
        bool graphic = c >= 0x21 && c <= 0x7e;
        char in[64];

        snprintf(in, sizeof(in), "TO:<a@b> ORCPT=rfc822;a+%02Xb", c);
        assert_int_equal(parse_rcpt(&rcpt, in), graphic ? COMMAND_OK : COMMAND_SYNTAX);
        snprintf(in, sizeof(in), "FROM:<a@b> ENVID=a+%02Xb", c);
        assert_int_equal(parse_mail(&mail, in), graphic ? COMMAND_OK : COMMAND_SYNTAX);
        snprintf(in, sizeof(in), "FROM:<a@b> AUTH=a+%02Xb", c);
        assert_int_equal(parse_mail(&mail, in), graphic || c == ' ' ? COMMAND_OK : COMMAND_SYNTAX);
    }
}

static void no_octet_but_its_own_passes_in_a_value(void **state)
{
    struct command_mail mail;

    (void)state;
    for (unsigned c = 0; c < 256; c++) {
        char in[] = "FROM:<a@b> ENVID=a?b";
        bool fine = c >= 0x21 && c <= 0x7e && c != '=' && c != '+';

        in[18] = (char)c;
        assert_int_equal(command_parse_mail(&mail, in, sizeof(in) - 1) == COMMAND_OK, fine);
    }
}

static void parameters_name_the_extensions_they_need(void **state)
{
    struct command_mail mail;
    struct command_rcpt rcpt;

    (void)state;
    assert_int_equal(parse_mail(&mail, "FROM:<a@b> AUTH=<>"), COMMAND_OK);
    assert_int_equal(mail.extensions, 0);
    assert_int_equal(parse_mail(&mail, "FROM:<a@b> SIZE=1 BODY=7BIT"), COMMAND_OK);
    assert_int_equal(mail.extensions, EXTENSION_SIZE | EXTENSION_8BITMIME);
    assert_int_equal(parse_mail(&mail, "FROM:<\xc3\xbc@b> SMTPUTF8 RET=FULL"), COMMAND_OK);
    assert_int_equal(mail.extensions, EXTENSION_SMTPUTF8 | EXTENSION_DSN);
    assert_int_equal(parse_mail(&mail, "FROM:<a@b> ENVID=x"), COMMAND_OK);
    assert_int_equal(mail.extensions, EXTENSION_DSN);
    assert_int_equal(parse_rcpt(&rcpt, "TO:<a@b>"), COMMAND_OK);
    assert_int_equal(rcpt.extensions, 0);
    assert_int_equal(parse_rcpt(&rcpt, "TO:<\xc3\xbc@b> NOTIFY=NEVER"), COMMAND_OK);
    assert_int_equal(rcpt.extensions, EXTENSION_SMTPUTF8 | EXTENSION_DSN);
}

static void what_is_not_offered_is_not_written(void **state)
{
    struct command_mail mail;
    struct command_rcpt rcpt;
    struct buf b;

    (void)state;
    expect_mail("FROM:<a@b> SIZE=1 BODY=8BITMIME RET=FULL ENVID=x", "MAIL FROM:<a@b>", 0);
    expect_mail("FROM:<a@b> SIZE=1 BODY=8BITMIME RET=FULL", "MAIL FROM:<a@b> SIZE=1",
                EXTENSION_SIZE);
    expect_rcpt("TO:<a@b> NOTIFY=NEVER ORCPT=x;y", "RCPT TO:<a@b>", EVERYTHING & ~EXTENSION_DSN);
    buf_init(&b, 1000);
    assert_int_equal(parse_mail(&mail, "FROM:<a@b> SMTPUTF8"), COMMAND_OK);
    assert_false(command_write_mail(&b, &mail, 0));
    assert_int_equal(parse_rcpt(&rcpt, "TO:<\xc3\xbc@b>"), COMMAND_OK);
    assert_false(command_write_rcpt(&b, &rcpt, EXTENSION_DSN));
    assert_int_equal(buf_len(&b), 0);
}

static void a_line_without_room_leaves_nothing(void **state)
{
    struct command_mail mail;
    struct buf b;

    (void)state;
    buf_init(&b, 16);
    assert_int_equal(parse_mail(&mail, "FROM:<a@b>"), COMMAND_OK);
    assert_false(command_write_mail(&b, &mail, 0));
    assert_int_equal(buf_len(&b), 0);
    buf_init(&b, 17);
    assert_true(command_write_mail(&b, &mail, 0));
    assert_wrote(&b, "", "MAIL FROM:<a@b>");
}

static void expect_auth(const char *in, const char *mechanism, const char *initial)
{
    struct command_auth auth;

    assert_int_equal(command_parse_auth(&auth, in, strlen(in)), COMMAND_OK);
    assert_int_equal(auth.mechanism_len, strlen(mechanism));
    assert_memory_equal(auth.mechanism, mechanism, auth.mechanism_len);
    assert_int_equal(auth.initial_given, initial != NULL);
    if (initial != NULL) {
        assert_int_equal(auth.initial_len, strlen(initial));
        assert_memory_equal(auth.initial, initial, auth.initial_len);
    }
}

static void auth_has_a_mechanism_and_maybe_a_response(void **state)
{
    static const char *const bad[] = {
        "",         " ",          "=",          "PLAIN a b", "PLAIN= x", "AAAAAAAAAAAAAAAAAAAAA",
        "PL\xc3IN", "PLAIN a\tb", "PLAIN \xff", "PL/AIN x",  " PLAIN"};
    struct command_auth auth;

    (void)state;
    expect_auth("PLAIN", "PLAIN", NULL);
    expect_auth("PLAIN  ", "PLAIN", NULL);
    expect_auth("plain AGEAYg==", "plain", "AGEAYg==");
    expect_auth("PLAIN  AGEAYg== ", "PLAIN", "AGEAYg==");
    expect_auth("EXTERNAL =", "EXTERNAL", "=");
    expect_auth("SCRAM-SHA-256-PLUS *", "SCRAM-SHA-256-PLUS", "*");
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(command_parse_auth(&auth, bad[i], strlen(bad[i])), COMMAND_SYNTAX);
}

static void a_size_beyond_64_bits_is_as_much_as_they_hold(void **state)
{
    static const char *const sizes[] = {"18446744073709551615", "18446744073709551616",
                                        "99999999999999999999"};

    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct command_mail mail;
        char args[64];

        snprintf(args, sizeof(args), "FROM:<a@b> SIZE=%s", sizes[i]);
        assert_int_equal(command_parse_mail(&mail, args, strlen(args)), COMMAND_OK);
        assert_true(mail.size_given && mail.size == UINT64_MAX);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_size_beyond_64_bits_is_as_much_as_they_hold),
        cmocka_unit_test(only_lines_without_controls_are_clean),
        cmocka_unit_test(a_verb_ends_at_a_space_or_the_end),
        cmocka_unit_test(other_protocols_are_known_by_their_lines),
        cmocka_unit_test(mail_is_written_anew),
        cmocka_unit_test(mail_that_is_wrong_is_told_how),
        cmocka_unit_test(rcpt_is_written_anew),
        cmocka_unit_test(rcpt_that_is_wrong_is_told_how),
        cmocka_unit_test(no_escaped_control_passes_in_xtext),
        cmocka_unit_test(no_octet_but_its_own_passes_in_a_value),
        cmocka_unit_test(parameters_name_the_extensions_they_need),
        cmocka_unit_test(what_is_not_offered_is_not_written),
        cmocka_unit_test(a_line_without_room_leaves_nothing),
        cmocka_unit_test(auth_has_a_mechanism_and_maybe_a_response),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
