#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/gauge.h"

static const uint8_t key[16] = "0123456789abcde";
static char front[2]; /* two owners */
static uint64_t seed;

static unsigned roll(unsigned below)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(seed >> 33) % below;
}

static bool enter(struct gauge *g, void *owner, uint64_t number, const char *who)
{
    return gauge_enter(g, owner, number, who, strlen(who));
}

static void so_many_of_a_key_at_a_time(void **state)
{
    (void)state;
    struct gauge *g = gauge_new(2, 100, key);
    assert_true(enter(g, front, 1, "a"));
    assert_true(enter(g, front, 2, "a"));
    assert_false(enter(g, front, 3, "a"));
    assert_true(enter(g, front, 4, "b"));
    assert_true(gauge_leave(g, front, 1));
    assert_true(enter(g, front, 3, "a"));
    assert_false(enter(g, front, 1, "a"));
    assert_int_equal(gauge_inside(g), 3);
    gauge_free(g);
}

static void a_refusal_leaves_no_trace(void **state)
{
    (void)state;
    struct gauge *g = gauge_new(0, 100, key);
    assert_false(enter(g, front, 1, "a"));
    assert_false(enter(g, front, 2, "b")); /* who looks for leaks would find one */
    assert_false(gauge_leave(g, front, 1));
    assert_int_equal(gauge_inside(g), 0);
    gauge_resize(g, 1, 100);
    assert_true(enter(g, front, 1, "a"));
    gauge_free(g);
}

static void who_is_inside_enters_once_and_leaves_once(void **state)
{
    (void)state;
    struct gauge *g = gauge_new(1, 100, key);
    assert_true(enter(g, front, 1, "a"));
    assert_true(enter(g, front, 1, "a"));
    assert_true(enter(g, front, 1, "b")); /* still inside as "a" */
    assert_true(enter(g, front, 2, "b"));
    assert_int_equal(gauge_inside(g), 2);
    assert_true(gauge_leave(g, front, 1));
    assert_false(gauge_leave(g, front, 1));
    assert_true(enter(g, front, 3, "a"));
    gauge_free(g);
}

static void nobody_leaves_for_another(void **state)
{
    (void)state;
    struct gauge *g = gauge_new(1, 100, key);
    assert_true(enter(g, &front[0], 1, "a"));
    assert_false(gauge_leave(g, &front[1], 1));
    assert_false(gauge_leave(g, &front[0], 2));
    assert_false(enter(g, &front[1], 1, "a"));
    gauge_free(g);
    /* so many that some of both owners meet in one bucket */
    g = gauge_new(20000, 20000, key);
    for (uint64_t n = 0; n < 20000; n++)
        assert_true(enter(g, &front[0], n, "a"));
    for (uint64_t n = 0; n < 20000; n++)
        assert_false(gauge_leave(g, &front[1], n));
    gauge_free(g);
}

static void the_sum_is_bounded(void **state)
{
    (void)state;
    struct gauge *g = gauge_new(5, 3, key);
    assert_true(enter(g, front, 1, "a"));
    assert_true(enter(g, front, 2, "b"));
    assert_true(enter(g, front, 3, "c"));
    assert_false(enter(g, front, 4, "d"));
    gauge_leave(g, front, 2);
    assert_true(enter(g, front, 4, "d"));
    gauge_free(g);
}

static void an_owner_that_died_leaves_with_all_of_his(void **state)
{
    (void)state;
    struct gauge *g = gauge_new(2, 100, key);
    enter(g, &front[0], 1, "a");
    enter(g, &front[1], 1, "a");
    enter(g, &front[0], 2, "b");
    gauge_owner_gone(g, &front[0]);
    assert_int_equal(gauge_inside(g), 1);
    assert_true(enter(g, &front[1], 2, "a"));
    assert_false(enter(g, &front[1], 3, "a"));
    gauge_free(g);
}

static void keys_are_told_apart_to_the_octet(void **state)
{
    (void)state;
    struct gauge *g = gauge_new(1, 100, key);
    assert_true(gauge_enter(g, front, 1, "a", 1));
    assert_true(gauge_enter(g, front, 2, "a\0", 2));
    assert_true(gauge_enter(g, front, 3, "", 0));
    assert_false(gauge_enter(g, front, 4, "", 0));
    gauge_free(g);
}

static void whatever_happens_the_counts_are_exact(void **state)
{
    (void)state;
    enum { HOLDERS = 500, KEYS = 20, MAX = 7, TOTAL = 90 };
    struct gauge *g = gauge_new(MAX, TOTAL, key);
    int inside[HOLDERS];
    unsigned count[KEYS] = {0}, total = 0;

    memset(inside, -1, sizeof inside);
    seed = 5;
    for (unsigned step = 0; step < 200000; step++) {
        const unsigned n = roll(HOLDERS);
        const int k = (int)roll(KEYS);
        if (roll(2000) == 0) {
            const unsigned gone = roll(2);
            gauge_owner_gone(g, &front[gone]);
            for (unsigned i = gone; i < HOLDERS; i += 2) {
                if (inside[i] >= 0)
                    count[inside[i]]--, total--;
                inside[i] = -1;
            }
        } else if (inside[n] >= 0) {
            assert_true(gauge_leave(g, &front[n % 2], n));
            count[inside[n]]--, total--;
            inside[n] = -1;
        } else {
            const bool fits = total < TOTAL && count[k] < MAX;
            assert_int_equal(gauge_enter(g, &front[n % 2], n, &k, sizeof k), fits);
            if (fits) {
                inside[n] = k;
                count[k]++, total++;
            }
        }
        assert_int_equal(gauge_inside(g), total);
    }
    gauge_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(so_many_of_a_key_at_a_time),
        cmocka_unit_test(a_refusal_leaves_no_trace),
        cmocka_unit_test(who_is_inside_enters_once_and_leaves_once),
        cmocka_unit_test(nobody_leaves_for_another),
        cmocka_unit_test(the_sum_is_bounded),
        cmocka_unit_test(an_owner_that_died_leaves_with_all_of_his),
        cmocka_unit_test(keys_are_told_apart_to_the_octet),
        cmocka_unit_test(whatever_happens_the_counts_are_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
