#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/hops.h"

static unsigned whole(const char *text)
{
    struct hops h = {0};
    hops_scan(&h, (const uint8_t *)text, strlen(text));
    return h.count;
}

/* The same whole, octet by octet, and cut at every position. */
static void counts(const char *text, unsigned expected)
{
    size_t len = strlen(text);
    struct hops trickle = {0};
    assert_int_equal(whole(text), expected);
    for (size_t i = 0; i < len; i++)
        hops_scan(&trickle, (const uint8_t *)text + i, 1);
    assert_int_equal(trickle.count, expected);
    for (size_t cut = 0; cut <= len; cut++) {
        struct hops h = {0};
        hops_scan(&h, (const uint8_t *)text, cut);
        hops_scan(&h, (const uint8_t *)text + cut, len - cut);
        assert_int_equal(h.count, expected);
    }
}

static void received_fields_are_counted_in_any_case(void **state)
{
    (void)state;
    counts("Received: a\r\nRECEIVED: b\r\nreceived:c\r\n\r\n", 3);
}

static void others_and_folded_lines_are_not(void **state)
{
    (void)state;
    counts(
        "Subject: Received:\r\n Received: folded\r\nX-Received: x\r\nReceivedx: y\r\nReceive: z\r\n\r\n",
        0);
}

static void the_body_is_not_looked_at(void **state)
{
    (void)state;
    counts("Received: a\r\n\r\nReceived: b\r\nReceived: c\r\n", 1);
}

static void a_message_without_a_header_has_none(void **state)
{
    (void)state;
    counts("\r\nReceived: a\r\n", 0);
    counts("", 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(received_fields_are_counted_in_any_case),
        cmocka_unit_test(others_and_folded_lines_are_not),
        cmocka_unit_test(the_body_is_not_looked_at),
        cmocka_unit_test(a_message_without_a_header_has_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
