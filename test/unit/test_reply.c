#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/reply.h"

static enum reply_status parse(struct reply *out, const char *in, size_t len)
{
    return reply_parse(out, (const uint8_t *)in, len);
}

/* Octet by octet: MORE for every beginning until the verdict, which then never changes. */
static enum reply_status parse_growing(struct reply *out, const char *in, size_t len)
{
    enum reply_status status = REPLY_MORE;

    for (size_t n = 0; n <= len; n++) {
        char *exact = malloc(n + 1);
        enum reply_status now;

        memcpy(exact + 1, in, n);
        now = parse(out, exact + 1, n);
        free(exact);
        if (status != REPLY_MORE)
            assert_int_equal(now, status);
        status = now;
    }
    parse(out, in, len);
    return status;
}

static void expect(const char *in, unsigned code, unsigned lines, size_t len)
{
    struct reply r;

    if (parse_growing(&r, in, strlen(in)) != REPLY_COMPLETE || r.code != code || r.lines != lines ||
        r.len != len)
        fail_msg("%s: %u, %u lines, %d octets", in, r.code, r.lines, (int)r.len);
}

static void replies_are_read(void **state)
{
    (void)state;
    expect("250 ok\r\n", 250, 1, 8);
    expect("250-a\r\n250-b\r\n250 c\r\n", 250, 3, 21);
    expect("250\r\n", 250, 1, 5);
    expect("250 \r\n", 250, 1, 6);
    expect("250-\r\n250\r\n", 250, 2, 11);
    expect("250 ok\n", 250, 1, 7);
    expect("250-a\n250 b\r\n", 250, 2, 13);
    expect("250\n", 250, 1, 4);
    expect("354 go\r\nmore", 354, 1, 8);
    expect("250 a\r\n250 b\r\n", 250, 1, 7);
    expect("559 x\r\n", 559, 1, 7);
    expect("421 \x80\xff\r\n", 421, 1, 8);
    expect("250 a\rb\r\r\n", 250, 1, 10);
}

static void unfinished_replies_want_more(void **state)
{
    static const char *const examples[] = {
        "",         "2",          "25",          "250",          "250\r",           "250 ok",
        "250 ok\r", "250-ok\r\n", "250-ok\r\n2", "250-a\r\n250", "250-\r\n250-\r\n"};
    struct reply r;

    (void)state;
    for (size_t i = 0; i < sizeof(examples) / sizeof(examples[0]); i++)
        assert_int_equal(parse_growing(&r, examples[i], strlen(examples[i])), REPLY_MORE);
}

static void what_is_no_reply_is_bad(void **state)
{
    static const char *const examples[] = {
        "\r\n",
        "\n",
        "x",
        " 250 ok\r\n",
        "150 x\r\n",
        "650 x\r\n",
        "050 x\r\n",
        "260 x\r\n",
        "290 x\r\n",
        "25 x\r\n",
        "25a x\r\n",
        "2500 x\r\n",
        "-250 x\r\n",
        "250x\r\n",
        "250\tx",
        "250\rx",
        "250_x\r\n",
        "250-a\r\n251 b\r\n",
        "250-a\r\n350 b\r\n",
        "250-a\r\nfoo\r\n",
        "250-a\r\n\r\n",
        "250-a\r\n25\r\n",
        "SSH-2.0-x\r\n",
        "HTTP/1.1 200\r\n",
    };
    struct reply r;

    (void)state;
    for (size_t i = 0; i < sizeof(examples) / sizeof(examples[0]); i++) {
        if (parse_growing(&r, examples[i], strlen(examples[i])) != REPLY_BAD)
            fail_msg("%s", examples[i]);
    }
    assert_int_equal(parse_growing(&r, "25\0 x\r\n", 7), REPLY_BAD);
    assert_int_equal(parse_growing(&r, "250\0x\r\n", 7), REPLY_BAD);
}

static void the_total_is_capped(void **state)
{
    static char in[REPLY_TOTAL_MAX + 10];
    struct reply r;

    (void)state;
    memset(in, 'x', sizeof(in));
    memcpy(in, "250 ", 4);
    assert_int_equal(parse(&r, in, REPLY_TOTAL_MAX - 1), REPLY_MORE);
    assert_int_equal(parse(&r, in, REPLY_TOTAL_MAX), REPLY_BAD);
    in[REPLY_TOTAL_MAX] = '\n';
    assert_int_equal(parse(&r, in, REPLY_TOTAL_MAX + 1), REPLY_BAD);
    in[REPLY_TOTAL_MAX - 1] = '\n';
    assert_int_equal(parse(&r, in, REPLY_TOTAL_MAX), REPLY_COMPLETE);
    assert_int_equal(r.len, REPLY_TOTAL_MAX);
}

static void the_number_of_lines_is_capped(void **state)
{
    static char in[10 * (REPLY_LINES_MAX + 1)];
    struct reply r;

    (void)state;
    for (unsigned i = 0; i < REPLY_LINES_MAX; i++)
        strcat(in, i + 1 < REPLY_LINES_MAX ? "250-\r\n" : "250 \r\n");
    assert_int_equal(parse(&r, in, strlen(in)), REPLY_COMPLETE);
    assert_int_equal(r.lines, REPLY_LINES_MAX);
    in[strlen(in) - 3] = '-';
    assert_int_equal(parse(&r, in, strlen(in)), REPLY_BAD);
}

static void lines_are_found_by_number(void **state)
{
    static const char in[] = "250-first\r\n250\r\n";
    static const char many[] = "250-a\r\n250-\r\n250 c d\n";
    const char *text;
    struct reply r;
    size_t len;

    (void)state;
    assert_int_equal(parse(&r, in, sizeof(in) - 1), REPLY_COMPLETE);
    assert_true(reply_line(&r, 0, &text, &len));
    assert_int_equal(len, 5);
    assert_memory_equal(text, "first", 5);
    assert_true(reply_line(&r, 1, &text, &len));
    assert_int_equal(len, 0);
    assert_false(reply_line(&r, 2, &text, &len));
    assert_int_equal(parse(&r, many, sizeof(many) - 1), REPLY_COMPLETE);
    assert_true(reply_line(&r, 1, &text, &len));
    assert_int_equal(len, 0);
    assert_true(reply_line(&r, 2, &text, &len));
    assert_int_equal(len, 3);
    assert_memory_equal(text, "c d", 3);
}

static void expect_relay(const char *in, const char *wanted)
{
    struct reply r;
    struct buf out;

    buf_init(&out, 65536);
    assert_int_equal(parse(&r, in, strlen(in)), REPLY_COMPLETE);
    assert_true(reply_relay(&out, &r));
    if (buf_len(&out) != strlen(wanted) || memcmp(buf_data(&out), wanted, strlen(wanted)) != 0)
        fail_msg("%s -> %.*s", in, (int)buf_len(&out), (const char *)buf_data(&out));
    buf_clear(&out);
}

static void an_enhanced_code_is_kept_or_added(void **state)
{
    (void)state;
    expect_relay("250 2.1.5 ok\r\n", "250 2.1.5 ok\r\n");
    expect_relay("250 ok\r\n", "250 2.0.0 ok\r\n");
    expect_relay("450 wait\r\n", "450 4.0.0 wait\r\n");
    expect_relay("550 no\r\n", "550 5.0.0 no\r\n");
    expect_relay("550 5.1.1\r\n", "550 5.1.1\r\n");
    expect_relay("550\r\n", "550 5.0.0\r\n");
    expect_relay("550 \r\n", "550 5.0.0\r\n");
    expect_relay("452 full\r\n", "452 4.3.1 full\r\n");
    expect_relay("503 order\r\n", "503 5.5.1 order\r\n");
    expect_relay("501 what\r\n", "501 5.5.4 what\r\n");
    expect_relay("500 what\r\n", "500 5.5.2 what\r\n");
    expect_relay("550 5.123.456 no\r\n", "550 5.123.456 no\r\n");
}

static void a_code_of_another_class_or_shape_is_no_code(void **state)
{
    (void)state;
    expect_relay("550 2.1.1 no\r\n", "550 5.0.0 2.1.1 no\r\n");
    expect_relay("550 5.1 no\r\n", "550 5.0.0 5.1 no\r\n");
    expect_relay("550 5.1.1no\r\n", "550 5.0.0 5.1.1no\r\n");
    expect_relay("550 5.1234.1 no\r\n", "550 5.0.0 5.1234.1 no\r\n");
    expect_relay("550 5..1 no\r\n", "550 5.0.0 5..1 no\r\n");
    expect_relay("550 5.1.1.1 no\r\n", "550 5.0.0 5.1.1.1 no\r\n");
    expect_relay("550 5\r\n", "550 5.0.0 5\r\n");
}

static void every_line_of_a_reply_carries_a_code(void **state)
{
    (void)state;
    expect_relay("250-a\r\n250 b\r\n", "250-2.0.0 a\r\n250 2.0.0 b\r\n");
    expect_relay("550-5.7.1 a\r\n550 b\r\n", "550-5.7.1 a\r\n550 5.7.1 b\r\n");
    expect_relay("550-a\r\n550-5.7.1 b\r\n550\r\n", "550-5.7.1 a\r\n550-5.7.1 b\r\n550 5.7.1\r\n");
    expect_relay("550-5.7.1 a\r\n550 5.7.2 b\r\n", "550-5.7.1 a\r\n550 5.7.2 b\r\n");
}

static void an_intermediate_reply_carries_none(void **state)
{
    (void)state;
    expect_relay("354 go on\r\n", "354 go on\r\n");
    expect_relay("354\r\n", "354 \r\n");
    expect_relay("354-a\n354 b\n", "354-a\r\n354 b\r\n");
}

static void text_is_cleaned_and_bounded(void **state)
{
    static const char nul[] = "250 2.0.0 a\0b\r\n";
    char in[REPLY_TEXT_MAX + 100] = "550 ";
    struct reply r;
    struct buf out;

    (void)state;
    expect_relay("250 2.0.0 a\tb\x80\xff\x7f\x1b[31m\rc\r\r\n", "250 2.0.0 a?b????[31m?c?\r\n");
    buf_init(&out, 2000);
    assert_int_equal(parse(&r, nul, sizeof(nul) - 1), REPLY_COMPLETE);
    assert_true(reply_relay(&out, &r));
    assert_memory_equal(buf_data(&out), "250 2.0.0 a?b\r\n", 15);
    buf_clear(&out);
    memset(in + 4, 'x', REPLY_TEXT_MAX + 50);
    strcpy(in + 4 + REPLY_TEXT_MAX + 50, "\r\n");
    assert_int_equal(parse(&r, in, strlen(in)), REPLY_COMPLETE);
    assert_true(reply_relay(&out, &r));
    assert_int_equal(buf_len(&out), 4 + REPLY_TEXT_MAX + 2);
    assert_memory_equal(buf_data(&out), "550 5.0.0 xxx", 13);
    assert_memory_equal(buf_data(&out) + buf_len(&out) - 3, "x\r\n", 3);
    buf_clear(&out);
}

static void a_reply_that_does_not_fit_leaves_nothing(void **state)
{
    struct reply r;
    struct buf out;

    (void)state;
    buf_init(&out, 20);
    assert_int_equal(parse(&r, "250-a\r\n250 b\r\n", 14), REPLY_COMPLETE);
    assert_false(reply_relay(&out, &r));
    assert_int_equal(buf_len(&out), 0);
}

static void the_largest_reply_grows_less_than_its_room(void **state)
{
    static char in[10 * REPLY_LINES_MAX];
    struct reply r;
    struct buf out;

    (void)state;
    strcpy(in, "550-5.123.456 x\n");
    for (unsigned i = 1; i < REPLY_LINES_MAX; i++)
        strcat(in, i + 1 < REPLY_LINES_MAX ? "550-\n" : "550\n");
    buf_init(&out, 65536);
    assert_int_equal(parse(&r, in, strlen(in)), REPLY_COMPLETE);
    assert_true(reply_relay(&out, &r));
    assert_int_equal(buf_len(&out), 17 + (REPLY_LINES_MAX - 1) * 15);
    buf_clear(&out);
}

static void the_summary_is_one_clean_line(void **state)
{
    struct reply r;
    char text[16];

    (void)state;
    assert_int_equal(parse(&r, "550-a\x1b b\r\n550 c\r\n", 17), REPLY_COMPLETE);
    reply_summary(text, sizeof(text), &r);
    assert_string_equal(text, "550 a? b");
    assert_int_equal(parse(&r, "250 0123456789abcdef\r\n", 22), REPLY_COMPLETE);
    reply_summary(text, sizeof(text), &r);
    assert_string_equal(text, "250 0123456789a");
    reply_summary(text, 3, &r);
    assert_string_equal(text, "25");
    assert_int_equal(parse(&r, "250\r\n", 5), REPLY_COMPLETE);
    reply_summary(text, sizeof(text), &r);
    assert_string_equal(text, "250");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replies_are_read),
        cmocka_unit_test(unfinished_replies_want_more),
        cmocka_unit_test(what_is_no_reply_is_bad),
        cmocka_unit_test(the_total_is_capped),
        cmocka_unit_test(the_number_of_lines_is_capped),
        cmocka_unit_test(lines_are_found_by_number),
        cmocka_unit_test(an_enhanced_code_is_kept_or_added),
        cmocka_unit_test(a_code_of_another_class_or_shape_is_no_code),
        cmocka_unit_test(every_line_of_a_reply_carries_a_code),
        cmocka_unit_test(an_intermediate_reply_carries_none),
        cmocka_unit_test(text_is_cleaned_and_bounded),
        cmocka_unit_test(a_reply_that_does_not_fit_leaves_nothing),
        cmocka_unit_test(the_largest_reply_grows_less_than_its_room),
        cmocka_unit_test(the_summary_is_one_clean_line),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
