#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bench/load_histogram.h"
#include "bench/load_schedule.h"

static struct load_histogram h;

static void clear(void)
{
    memset(&h, 0, sizeof h);
}

static void nothing_has_no_percentiles(void **state)
{
    (void)state;
    clear();
    assert_int_equal(load_histogram_quantile(&h, 0.5), 0);
    assert_true(load_histogram_mean(&h) == 0);
}

static void small_values_are_exact(void **state)
{
    (void)state;
    clear();
    for (uint64_t i = 1; i <= 1000; i++)
        load_histogram_add(&h, i);
    assert_int_equal(load_histogram_quantile(&h, 0.5), 500);
    assert_int_equal(load_histogram_quantile(&h, 0.99), 990);
    assert_int_equal(load_histogram_quantile(&h, 0.999), 999);
    assert_int_equal(load_histogram_quantile(&h, 1), 1000);
    assert_int_equal(load_histogram_quantile(&h, 0), 1);
    assert_true(load_histogram_mean(&h) == 500.5);
}

/* Alone beside a larger one, so that max does not make it exact. */
static void any_value_is_known_to_a_thousandth(void **state)
{
    (void)state;
    struct load_random random = {7};
    for (int i = 0; i < 200; i++) {
        uint64_t value = load_random_next(&random) >> (22 + i % 40);
        clear();
        load_histogram_add(&h, value);
        load_histogram_add(&h, UINT64_C(1) << 42);
        uint64_t found = load_histogram_quantile(&h, 0.5);
        assert_true(found >= value);
        assert_true((double)(found - value) <= 0.001 * (double)value);
    }
}

static void neighbours_never_change_places(void **state)
{
    (void)state;
    uint64_t last = 0;
    for (uint64_t value = 1; value < UINT64_C(1) << 41; value += value / 700 + 1) {
        clear();
        load_histogram_add(&h, value);
        load_histogram_add(&h, UINT64_C(1) << 42);
        uint64_t found = load_histogram_quantile(&h, 0.5);
        assert_true(found >= last);
        last = found;
    }
}

static void what_is_beyond_the_last_bucket_is_told_by_max(void **state)
{
    (void)state;
    clear();
    load_histogram_add(&h, 5);
    load_histogram_add(&h, UINT64_MAX / 4);
    assert_int_equal(load_histogram_quantile(&h, 0.5), 5);
    assert_true(load_histogram_quantile(&h, 1) == UINT64_MAX / 4);
    assert_int_equal(h.count, 2);
}

static void fixed_arrivals_do_not_drift(void **state)
{
    (void)state;
    struct load_schedule s;
    load_schedule_init(&s, 3, false, 1000, 1);
    assert_int_equal(load_schedule_due(&s), 1000);
    for (int i = 0; i < 3000000; i++)
        load_schedule_advance(&s);
    assert_int_equal(load_schedule_due(&s), 1000 + UINT64_C(1000000) * 1000000000);
}

/* Of an exponential distribution, mean and deviation are the same. */
static void poisson_arrivals_keep_the_rate_and_come_in_bursts(void **state)
{
    (void)state;
    enum { N = 200000 };
    struct load_schedule s;
    double sum = 0, squares = 0;
    load_schedule_init(&s, 1000, true, 0, 42);
    double last = s.due;
    for (int i = 0; i < N; i++) {
        load_schedule_advance(&s);
        double gap = (s.due - last) / 1e6;
        assert_true(gap >= 0);
        sum += gap;
        squares += gap * gap;
        last = s.due;
    }
    double mean = sum / N, variance = squares / N - mean * mean;
    assert_true(mean > 0.98 && mean < 1.02);
    assert_true(variance > 0.95 && variance < 1.05);
}

static void weights_are_kept(void **state)
{
    (void)state;
    const unsigned weights[] = {1, 3, 6};
    unsigned seen[3] = {0, 0, 0};
    struct load_random random = {3};
    for (int i = 0; i < 100000; i++)
        seen[load_choose(&random, weights, 3)]++;
    assert_in_range(seen[0], 9500, 10500);
    assert_in_range(seen[1], 29000, 31000);
    assert_in_range(seen[2], 59000, 61000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_has_no_percentiles),
        cmocka_unit_test(small_values_are_exact),
        cmocka_unit_test(any_value_is_known_to_a_thousandth),
        cmocka_unit_test(neighbours_never_change_places),
        cmocka_unit_test(what_is_beyond_the_last_bucket_is_told_by_max),
        cmocka_unit_test(fixed_arrivals_do_not_drift),
        cmocka_unit_test(poisson_arrivals_keep_the_rate_and_come_in_bursts),
        cmocka_unit_test(weights_are_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
