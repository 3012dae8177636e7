#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "auth/saslauthd.h"

static struct sasl_credential credential(const char *login, const char *secret)
{
    struct sasl_credential c = {
        .mechanism = SASL_PLAIN, .login_len = strlen(login), .secret_len = strlen(secret)};
    memcpy(c.login, login, c.login_len);
    memcpy(c.secret, secret, c.secret_len);
    return c;
}

static void a_question_is_four_counted_strings(void **state)
{
    (void)state;
    static const char expected[] = "\0\021alice@any.example\0\7s e\tc:r\0\4smtp\0\0";
    struct sasl_credential c = credential("alice@any.example", "s e\tc:r");
    uint8_t out[SASLAUTHD_ASK_MAX];
    size_t len;
    assert_true(saslauthd_ask(out, &len, &c));
    assert_int_equal(len, sizeof expected - 1);
    assert_memory_equal(out, expected, len);
}

static void what_it_would_not_take_is_not_sent(void **state)
{
    (void)state;
    char longest[SASLAUTHD_STRING_MAX + 2] = "";
    uint8_t out[SASLAUTHD_ASK_MAX];
    size_t len;
    memset(longest, 'p', SASLAUTHD_STRING_MAX);
    struct sasl_credential c = credential("alice", longest);
    assert_true(saslauthd_ask(out, &len, &c));
    assert_int_equal(len, 2 + 5 + 2 + 256 + 2 + 4 + 2);
    assert_int_equal(out[7], 1);
    assert_int_equal(out[8], 0);
    longest[SASLAUTHD_STRING_MAX] = 'p';
    c = credential("alice", longest);
    assert_false(saslauthd_ask(out, &len, &c));
    assert_int_equal(len, 0);
}

/* Whole, octet by octet, and in two at every place: always the same. */
static void answers(enum saslauthd_status expected, const char *in, size_t len)
{
    struct saslauthd_reader r = {.len = 0};
    assert_int_equal(saslauthd_read(&r, (const uint8_t *)in, len), expected);
    enum saslauthd_status status = SASLAUTHD_MORE;
    r.len = 0;
    for (size_t i = 0; i < len && status == SASLAUTHD_MORE; i++)
        status = saslauthd_read(&r, (const uint8_t *)in + i, 1);
    assert_int_equal(status, expected);
    for (size_t split = 1; split < len; split++) {
        r.len = 0;
        status = saslauthd_read(&r, (const uint8_t *)in, split);
        if (status == SASLAUTHD_MORE)
            status = saslauthd_read(&r, (const uint8_t *)in + split, len - split);
        assert_int_equal(status, expected);
    }
}

#define ANSWERS(expected, text) answers(expected, text, sizeof text - 1)

static void answers_counted(enum saslauthd_status expected, const char *text, size_t len)
{
    char in[256] = {0, (char)len};
    memcpy(in + 2, text, len);
    answers(expected, in, 2 + len);
}

#define COUNTED(expected, text) answers_counted(expected, text, sizeof text - 1)

static void answers_are_understood(void **state)
{
    (void)state;
    COUNTED(SASLAUTHD_OK, "OK");
    COUNTED(SASLAUTHD_OK, "OK\0");
    COUNTED(SASLAUTHD_OK, "OK (success)");
    COUNTED(SASLAUTHD_NO, "NO");
    COUNTED(SASLAUTHD_NO, "NO authentication failed");
    COUNTED(SASLAUTHD_NO, "NO PAM auth error");
    ANSWERS(SASLAUTHD_MORE, "");
    ANSWERS(SASLAUTHD_MORE, "\0");
    ANSWERS(SASLAUTHD_MORE, "\0\3OK");
}

static void trouble_of_its_own_is_no_refusal(void **state)
{
    (void)state;
    COUNTED(SASLAUTHD_TROUBLE, "NO internal mechanism failure");
    COUNTED(SASLAUTHD_TROUBLE, "NO saslauthd internal error\0");
    COUNTED(SASLAUTHD_TROUBLE, "NO PAM start error");
    COUNTED(SASLAUTHD_TROUBLE,
            "NO [ALERT] The remote authentication server is currently unavailable");
}

static void what_is_no_answer_is_bad(void **state)
{
    (void)state;
    ANSWERS(SASLAUTHD_BAD, "\0\0");
    ANSWERS(SASLAUTHD_BAD, "\0\1O");
    ANSWERS(SASLAUTHD_BAD, "\0\2ok");
    ANSWERS(SASLAUTHD_BAD, "\0\2XX");
    ANSWERS(SASLAUTHD_BAD, "\0\3OKX");
    ANSWERS(SASLAUTHD_BAD, "\4\1");
    ANSWERS(SASLAUTHD_BAD, "\377\377");
    ANSWERS(SASLAUTHD_BAD, "OK\r\n");
    struct saslauthd_reader r = {.len = 0};
    assert_int_equal(saslauthd_read(&r, (const uint8_t *)"\0\2OKmore", 8), SASLAUTHD_BAD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_question_is_four_counted_strings),
        cmocka_unit_test(what_it_would_not_take_is_not_sent),
        cmocka_unit_test(answers_are_understood),
        cmocka_unit_test(trouble_of_its_own_is_no_refusal),
        cmocka_unit_test(what_is_no_answer_is_bad),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
