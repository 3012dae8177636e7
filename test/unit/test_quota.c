#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/quota.h"

static const uint8_t key[16] = "0123456789abcde";
static uint64_t seed;

static unsigned roll(unsigned below)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(seed >> 33) % below;
}

static bool take(struct quota *q, const char *who, uint32_t amount, uint64_t now)
{
    return quota_take(q, who, strlen(who), amount, now);
}

static void so_many_and_no_more(void **state)
{
    (void)state;
    struct quota *q = quota_new(3, 1000, key);
    assert_true(take(q, "a", 1, 5000));
    assert_true(take(q, "a", 1, 5000));
    assert_true(take(q, "a", 1, 5000));
    assert_false(take(q, "a", 1, 5000));
    assert_false(take(q, "a", 1, 5999));
    assert_false(take(q, "a", 1, 6000)); /* a whole period later it still counts */
    quota_free(q);
}

static void a_period_and_a_slice_later_all_is_free_again(void **state)
{
    (void)state;
    struct quota *q = quota_new(3, 1600, key);
    assert_true(take(q, "a", 3, 5000)); /* the slice from 5000 to 5099 */
    assert_false(take(q, "a", 1, 6699));
    assert_true(take(q, "a", 3, 6700));
    quota_free(q);
}

static void keys_do_not_share(void **state)
{
    (void)state;
    struct quota *q = quota_new(1, 1000, key);
    assert_true(take(q, "a", 1, 0));
    assert_true(take(q, "b", 1, 0));
    assert_true(take(q, "", 1, 0));
    assert_true(quota_take(q, "a\0b", 3, 1, 0));
    assert_false(take(q, "a", 1, 0));
    assert_false(take(q, "b", 1, 0));
    assert_false(take(q, "", 1, 0));
    quota_free(q);
}

static void all_or_nothing(void **state)
{
    (void)state;
    struct quota *q = quota_new(10, 1000, key);
    assert_true(take(q, "a", 7, 0));
    assert_false(take(q, "a", 4, 0));
    assert_true(take(q, "a", 3, 0));
    assert_false(take(q, "a", 1, 0));
    assert_true(take(q, "a", 0, 0));
    assert_false(take(q, "b", 11, 0));
    assert_false(take(q, "b", UINT32_MAX, 0));
    assert_true(take(q, "b", 10, 0));
    quota_free(q);
}

static void a_refusal_does_not_prolong_anything(void **state)
{
    (void)state;
    struct quota *q = quota_new(1, 1600, key);
    assert_true(take(q, "a", 1, 0));
    for (uint64_t now = 0; now < 1700; now += 10)
        assert_false(take(q, "a", 1, now));
    assert_true(take(q, "a", 1, 1700));
    quota_free(q);
}

static void the_widest_numbers_work(void **state)
{
    (void)state;
    struct quota *q = quota_new(UINT32_MAX, UINT64_MAX, key);
    assert_true(take(q, "a", UINT32_MAX, UINT64_MAX));
    assert_false(take(q, "a", 1, UINT64_MAX));
    quota_free(q);
    q = quota_new(0, 1000, key);
    assert_false(take(q, "a", 1, 0));
    quota_free(q);
    q = quota_new(1, 1, key);
    assert_true(take(q, "a", 1, 0));
    assert_false(take(q, "a", 1, 1));
    assert_true(take(q, "a", 1, 17));
    quota_free(q);
}

static void a_clock_that_steps_back_gives_nothing_back(void **state)
{
    (void)state;
    struct quota *q = quota_new(2, 1000, key);
    assert_true(take(q, "a", 1, 100000));
    assert_true(take(q, "a", 1, 5));
    assert_false(take(q, "a", 1, 5));
    assert_false(take(q, "a", 1, 100500));
    assert_true(take(q, "a", 2, 102000));
    quota_free(q);
}

static void a_reload_keeps_what_was_taken(void **state)
{
    (void)state;
    struct quota *q = quota_new(10, 1000, key);
    assert_true(take(q, "a", 8, 0));
    quota_resize(q, 5);
    assert_false(take(q, "a", 1, 0));
    assert_true(take(q, "b", 5, 0));
    quota_resize(q, 9);
    assert_true(take(q, "a", 1, 0));
    assert_false(take(q, "a", 1, 0));
    quota_free(q);
}

/* Against the log of all that was taken: never too much in any period, and never refused without
 * need. */
static void check_against_log(uint32_t count, uint64_t period, unsigned pace)
{
    enum { STEPS = 3000 };
    static uint64_t when[STEPS];
    static uint32_t what[STEPS];
    struct quota *q = quota_new(count, period, key);
    const uint64_t slice = (period + QUOTA_SLICES - 1) / QUOTA_SLICES;
    uint64_t now = roll(1000);
    size_t n = 0;

    for (unsigned i = 0; i < STEPS; i++) {
        const uint32_t amount = 1 + roll(3);
        uint64_t strict = 0, wide = 0;
        now += roll(20) == 0 ? roll((unsigned)period * 2) : roll(pace);
        for (size_t j = 0; j < n; j++) {
            strict += now - when[j] <= period ? what[j] : 0;
            wide += now - when[j] < slice * (QUOTA_SLICES + 1) ? what[j] : 0;
        }
        const bool taken = take(q, "a", amount, now);
        if (taken)
            assert_true(strict + amount <= count);
        else
            assert_true(wide + amount > count);
        if (taken) {
            when[n] = now;
            what[n++] = amount;
        }
    }
    quota_free(q);
}

static void no_period_ever_holds_more_than_the_count(void **state)
{
    (void)state;
    static const uint64_t periods[] = {1, 7, 16, 17, 100, 1000, 1601, 60000};
    seed = 7;
    for (size_t i = 0; i < sizeof periods / sizeof *periods; i++) {
        check_against_log(5, periods[i], (unsigned)periods[i] / 8 + 1);
        check_against_log(40, periods[i], (unsigned)periods[i] / 30 + 1);
    }
}

/* What a key took before a flood of others is not forgotten, be it at its limit or below. */
static void a_flood_of_keys_washes_nobody_out(void **state)
{
    (void)state;
    struct quota *q = quota_new(10, 1000000, key);
    assert_true(take(q, "full", 10, 0));
    assert_true(take(q, "half", 5, 0));
    for (uint32_t i = 0; i < 1000000; i++)
        quota_take(q, &i, sizeof i, 1 + i % 3, 1);
    assert_false(take(q, "full", 1, 2));
    assert_false(take(q, "half", 6, 2));
    assert_true(take(q, "half", 5, 2));
    quota_free(q);
}

/* In a table that is too small for them all: each key on its own stays within the count, through
 * places that fall free and are taken again. */
static void crowded_keys_stay_within_their_count(void **state)
{
    (void)state;
    enum { KEYS = 300000, PERIOD = 1600, ROUNDS = 12 };
    static uint8_t taken[ROUNDS][KEYS];
    struct quota *q = quota_new(3, PERIOD, key);
    unsigned refused = 0, allowed = 0;

    seed = 3;
    for (unsigned round = 0; round < ROUNDS; round++) {
        /* rounds half a period apart; a crowd, then only a few, then a crowd again */
        const unsigned step = round % 4 < 2 ? 1 : 50;
        for (uint32_t i = 0; i < KEYS; i += 1 + roll(step)) {
            const uint64_t now = round * (PERIOD / 2) + i / (KEYS / 100);
            const unsigned before = taken[round][i] + (round > 0 ? taken[round - 1][i] : 0u);
            if (quota_take(q, &i, sizeof i, 1, now)) {
                taken[round][i]++;
                allowed++;
                assert_true(before + 1 <= 3);
            } else {
                refused++;
            }
        }
    }
    assert_true(allowed > 65536 && refused > 0);
    quota_free(q);
}

/* Keys that found their part of the table full get a place of their own later, and bring along what
 * they took before. */
static void what_was_taken_without_a_place_counts_on(void **state)
{
    (void)state;
    enum { CROWD = 110000, KEYS = 3000 };
    static bool taken[KEYS];
    struct quota *q = quota_new(10, 1600, key);
    unsigned count = 0;

    for (uint32_t i = 0; i < CROWD; i++)
        quota_take(q, &i, sizeof i, 1, 0);
    for (uint32_t i = 0; i < KEYS; i++) {
        const uint32_t who = CROWD + i;
        taken[i] = quota_take(q, &who, sizeof who, 6, 1000);
        count += taken[i];
    }
    assert_true(count > KEYS / 4);
    for (uint32_t i = 0; i < KEYS; i++) { /* the crowd has gone */
        const uint32_t who = CROWD + i;
        assert_false(taken[i] && quota_take(q, &who, sizeof who, 6, 1750));
    }
    quota_free(q);
}

static void after_a_flood_there_is_room_again(void **state)
{
    (void)state;
    struct quota *q = quota_new(2, 1600, key);
    for (uint32_t i = 0; i < 1000000; i++)
        quota_take(q, &i, sizeof i, 2, 0);
    for (uint32_t i = 2000000; i < 2001000; i++) {
        assert_true(quota_take(q, &i, sizeof i, 2, 1700));
        assert_false(quota_take(q, &i, sizeof i, 1, 1700));
    }
    quota_free(q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(so_many_and_no_more),
        cmocka_unit_test(a_period_and_a_slice_later_all_is_free_again),
        cmocka_unit_test(keys_do_not_share),
        cmocka_unit_test(all_or_nothing),
        cmocka_unit_test(a_refusal_does_not_prolong_anything),
        cmocka_unit_test(the_widest_numbers_work),
        cmocka_unit_test(a_clock_that_steps_back_gives_nothing_back),
        cmocka_unit_test(a_reload_keeps_what_was_taken),
        cmocka_unit_test(no_period_ever_holds_more_than_the_count),
        cmocka_unit_test(a_flood_of_keys_washes_nobody_out),
        cmocka_unit_test(crowded_keys_stay_within_their_count),
        cmocka_unit_test(what_was_taken_without_a_place_counts_on),
        cmocka_unit_test(after_a_flood_there_is_room_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
