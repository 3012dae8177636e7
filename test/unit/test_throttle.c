#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "auth/throttle.h"

static const uint8_t key[16] = "0123456789abcde";

static const uint8_t *v4(uint8_t a, uint8_t b, uint8_t c, uint8_t d)
{
    static uint8_t out[16];
    memset(out, 0, sizeof out);
    out[10] = out[11] = 0xff;
    out[12] = a, out[13] = b, out[14] = c, out[15] = d;
    return out;
}

/* 2001:db8:0:XXYY::N */
static const uint8_t *v6(uint8_t x, uint8_t y, uint8_t n)
{
    static uint8_t out[16];
    memset(out, 0, sizeof out);
    out[0] = 0x20, out[1] = 0x01, out[2] = 0x0d, out[3] = 0xb8;
    out[6] = x, out[7] = y, out[15] = n;
    return out;
}

static void the_delay_doubles_up_to_16_seconds(void **state)
{
    (void)state;
    static const uint64_t expected[] = {2000, 4000, 8000, 16000, 16000, 16000};
    struct throttle *t = throttle_new(2000, key);
    for (int i = 0; i < 6; i++)
        assert_int_equal(throttle_failure(t, v4(192, 0, 2, 1), 1000), expected[i]);
    throttle_free(t);
}

static void zero_is_no_delay(void **state)
{
    (void)state;
    struct throttle *t = throttle_new(0, key);
    for (int i = 0; i < 100; i++)
        assert_int_equal(throttle_failure(t, v4(192, 0, 2, 1), 1000), 0);
    throttle_free(t);
}

static void a_delay_that_does_not_divide_the_cap_stops_at_it(void **state)
{
    (void)state;
    struct throttle *t = throttle_new(3000, key);
    assert_int_equal(throttle_failure(t, v4(1, 2, 3, 4), 0), 3000);
    assert_int_equal(throttle_failure(t, v4(1, 2, 3, 4), 0), 6000);
    assert_int_equal(throttle_failure(t, v4(1, 2, 3, 4), 0), 12000);
    assert_int_equal(throttle_failure(t, v4(1, 2, 3, 4), 0), 16000);
    throttle_free(t);
    t = throttle_new(30000, key);
    assert_int_equal(throttle_failure(t, v4(1, 2, 3, 4), 0), 30000);
    assert_int_equal(throttle_failure(t, v4(1, 2, 3, 4), 0), 30000);
    throttle_free(t);
    t = throttle_new(UINT64_MAX, key);
    assert_int_equal(throttle_failure(t, v4(1, 2, 3, 4), 0), UINT64_MAX);
    throttle_free(t);
}

static void ipv4_counts_by_24_bits(void **state)
{
    (void)state;
    struct throttle *t = throttle_new(1000, key);
    assert_int_equal(throttle_failure(t, v4(192, 0, 2, 1), 0), 1000);
    assert_int_equal(throttle_failure(t, v4(192, 0, 2, 254), 0), 2000);
    assert_int_equal(throttle_failure(t, v4(192, 0, 3, 1), 0), 1000);
    assert_int_equal(throttle_failure(t, v4(193, 0, 2, 1), 0), 1000);
    throttle_free(t);
}

static void ipv6_counts_by_56_bits(void **state)
{
    (void)state;
    struct throttle *t = throttle_new(1000, key);
    assert_int_equal(throttle_failure(t, v6(0x12, 0x00, 1), 0), 1000);
    assert_int_equal(throttle_failure(t, v6(0x12, 0x00, 2), 0), 2000);
    assert_int_equal(throttle_failure(t, v6(0x12, 0xff, 3), 0), 4000);
    assert_int_equal(throttle_failure(t, v6(0x13, 0x00, 1), 0), 1000);
    throttle_free(t);
}

static void a_success_forgets_the_networks_failures(void **state)
{
    (void)state;
    struct throttle *t = throttle_new(1000, key);
    throttle_failure(t, v4(192, 0, 2, 1), 0);
    throttle_failure(t, v4(192, 0, 2, 1), 0);
    throttle_failure(t, v4(198, 51, 100, 1), 0);
    throttle_success(t, v4(192, 0, 2, 77));
    assert_int_equal(throttle_failure(t, v4(192, 0, 2, 1), 0), 1000);
    assert_int_equal(throttle_failure(t, v4(198, 51, 100, 1), 0), 2000);
    throttle_success(t, v4(203, 0, 113, 1)); /* never seen */
    throttle_free(t);
}

static void failures_fade_when_it_is_quiet(void **state)
{
    (void)state;
    struct throttle *t = throttle_new(1000, key);
    for (int i = 0; i < 100; i++)
        throttle_failure(t, v4(192, 0, 2, 1), 0);
    assert_int_equal(throttle_failure(t, v4(192, 0, 2, 1), 59000), 16000);
    /* one step back in a minute, one forth with the failure */
    assert_int_equal(throttle_failure(t, v4(192, 0, 2, 1), 59000 + 61000), 16000);
    assert_int_equal(throttle_failure(t, v4(192, 0, 2, 1), 120000 + 121000), 8000 * 1);
    assert_int_equal(throttle_failure(t, v4(192, 0, 2, 1), 241000 + 3600000), 1000);
    throttle_free(t);
}

static void a_clock_that_steps_back_does_no_harm(void **state)
{
    (void)state;
    struct throttle *t = throttle_new(1000, key);
    throttle_failure(t, v4(192, 0, 2, 1), 1000000);
    assert_int_equal(throttle_failure(t, v4(192, 0, 2, 1), 5), 2000);
    throttle_free(t);
}

static void a_flood_of_networks_does_not_wash_the_worst_out(void **state)
{
    (void)state;
    struct throttle *t = throttle_new(1000, key);
    for (int i = 0; i < 5; i++)
        throttle_failure(t, v4(192, 0, 2, 1), 0);
    for (unsigned i = 0; i < 1000000; i++)
        throttle_failure(t, v4((uint8_t)(10 + (i >> 16)), (uint8_t)(i >> 8), (uint8_t)i, 1), 1);
    assert_int_equal(throttle_failure(t, v4(192, 0, 2, 1), 2), 16000);
    throttle_free(t);
}

static void a_newcomer_pays_the_base_when_all_places_are_worse(void **state)
{
    (void)state;
    struct throttle *t = throttle_new(1000, key);
    for (unsigned i = 0; i < 100000; i++) {
        throttle_failure(t, v4((uint8_t)(10 + (i >> 16)), (uint8_t)(i >> 8), (uint8_t)i, 1), 1);
        throttle_failure(t, v4((uint8_t)(10 + (i >> 16)), (uint8_t)(i >> 8), (uint8_t)i, 1), 1);
    }
    assert_int_equal(throttle_failure(t, v4(192, 0, 2, 1), 2), 1000);
    /* an hour later there is room again */
    assert_int_equal(throttle_failure(t, v4(192, 0, 2, 1), 3600000), 1000);
    assert_int_equal(throttle_failure(t, v4(192, 0, 2, 1), 3600000), 2000);
    throttle_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_delay_doubles_up_to_16_seconds),
        cmocka_unit_test(zero_is_no_delay),
        cmocka_unit_test(a_delay_that_does_not_divide_the_cap_stops_at_it),
        cmocka_unit_test(ipv4_counts_by_24_bits),
        cmocka_unit_test(ipv6_counts_by_56_bits),
        cmocka_unit_test(a_success_forgets_the_networks_failures),
        cmocka_unit_test(failures_fade_when_it_is_quiet),
        cmocka_unit_test(a_clock_that_steps_back_does_no_harm),
        cmocka_unit_test(a_flood_of_networks_does_not_wash_the_worst_out),
        cmocka_unit_test(a_newcomer_pays_the_base_when_all_places_are_worse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
