#include "auth/strikes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const struct strikes_rule three_a_second = {.limit = 3, .period_ms = 1000};

/* Against "whom" 7; what 0 is distinct from all. */
static enum strikes_word add(struct strikes *s, uint64_t who, uint64_t what, uint64_t now_ms)
{
    uint32_t count;
    return strikes_add(s, &count, &three_a_second, who, "name", (struct strikes_offence){7, what},
                       now_ms);
}

static uint32_t count_of(struct strikes *s, uint64_t who, uint64_t what, uint64_t now_ms)
{
    uint32_t count = 99;
    const struct strikes_rule never = {.limit = 0, .period_ms = 1000};
    strikes_add(s, &count, &never, who, "name", (struct strikes_offence){7, what}, now_ms);
    return count;
}

static void the_same_offence_counts_once(void **state)
{
    (void)state;
    struct strikes *s = strikes_new();
    assert_int_equal(add(s, 1, 11, 0), STRIKES_NEW);
    for (int i = 0; i < 100; i++)
        assert_int_equal(add(s, 1, 11, 1), STRIKES_SAME);
    assert_int_equal(add(s, 1, 12, 2), STRIKES_NEW);
    assert_int_equal(add(s, 1, 11, 3), STRIKES_SAME);
    assert_int_equal(add(s, 1, 13, 4), STRIKES_LOCKED);
    strikes_free(s);
}

static void the_same_against_another_is_another(void **state)
{
    (void)state;
    struct strikes *s = strikes_new();
    uint32_t count = 0;
    add(s, 1, 11, 0);
    assert_int_equal(
        strikes_add(s, &count, &three_a_second, 1, "", (struct strikes_offence){8, 11}, 0),
        STRIKES_NEW);
    assert_int_equal(count, 2);
    strikes_free(s);
}

static void an_unknown_offence_is_one_of_its_own(void **state)
{
    (void)state;
    struct strikes *s = strikes_new();
    assert_int_equal(add(s, 1, 0, 0), STRIKES_NEW);
    assert_int_equal(add(s, 1, 0, 0), STRIKES_NEW);
    assert_int_equal(add(s, 1, 0, 0), STRIKES_LOCKED);
    strikes_free(s);
}

static void a_lock_out_lasts_one_period_and_then_all_is_forgotten(void **state)
{
    (void)state;
    struct strikes *s = strikes_new();
    add(s, 1, 11, 0);
    add(s, 1, 12, 100);
    assert_false(strikes_locked(s, 1, 100));
    add(s, 1, 13, 200);
    assert_true(strikes_locked(s, 1, 200));
    assert_true(strikes_locked(s, 1, 1199));
    assert_false(strikes_locked(s, 1, 1200));
    assert_false(strikes_locked(s, 2, 200));
    assert_int_equal(count_of(s, 1, 14, 1200), 1);
    strikes_free(s);
}

static void more_offences_do_not_make_a_lock_out_longer(void **state)
{
    (void)state;
    struct strikes *s = strikes_new();
    for (uint64_t i = 0; i < 3; i++)
        add(s, 1, 11 + i, 0);
    for (uint64_t i = 0; i < 100; i++)
        assert_int_equal(add(s, 1, 100 + i, 900), STRIKES_NEW);
    assert_true(strikes_locked(s, 1, 999));
    assert_false(strikes_locked(s, 1, 1000));
    strikes_free(s);
}

/* A count that began anew with each period would let nearly twice as many through. */
static void any_period_counts_not_only_one_that_began_with_the_first(void **state)
{
    (void)state;
    struct strikes *s = strikes_new();
    add(s, 1, 11, 0);
    add(s, 1, 12, 900);
    assert_int_equal(add(s, 1, 13, 1100), STRIKES_NEW); /* the first is too old */
    assert_int_equal(add(s, 1, 14, 1200), STRIKES_LOCKED);
    strikes_free(s);
}

static void what_is_a_period_old_counts_no_more(void **state)
{
    (void)state;
    struct strikes *s = strikes_new();
    add(s, 1, 11, 0);
    assert_int_equal(count_of(s, 1, 12, 999), 2);
    assert_int_equal(count_of(s, 1, 13, 1000), 2);
    assert_int_equal(count_of(s, 1, 11, 1500), 3);
    strikes_free(s);
}

static void a_limit_beyond_those_remembered_one_by_one_holds(void **state)
{
    (void)state;
    const struct strikes_rule many = {.limit = 3 * STRIKES_SEEN, .period_ms = 1000};
    struct strikes *s = strikes_new();
    uint32_t count = 0;
    for (uint64_t i = 1; i < many.limit; i++) {
        assert_int_equal(strikes_add(s, &count, &many, 1, "", (struct strikes_offence){7, i}, i),
                         STRIKES_NEW);
        assert_int_equal(count, i);
    }
    assert_int_equal(strikes_add(s, &count, &many, 1, "", (struct strikes_offence){7, 9999}, 200),
                     STRIKES_LOCKED);
    strikes_free(s);
}

static void those_behind_the_remembered_age_together(void **state)
{
    (void)state;
    struct strikes *s = strikes_new();
    for (uint64_t i = 1; i <= STRIKES_SEEN + 10; i++)
        count_of(s, 1, i, i);
    /* the youngest of the ten that were pushed out is from 10 */
    assert_int_equal(count_of(s, 1, 1000, 1009), STRIKES_SEEN + 11);
    assert_int_equal(count_of(s, 1, 1001, 1020), STRIKES_SEEN - 8);
    strikes_free(s);
}

static void forgiven_is_all_or_what_was_done_to_one(void **state)
{
    (void)state;
    struct strikes *s = strikes_new();
    uint32_t count;
    add(s, 1, 11, 0);
    strikes_add(s, &count, &three_a_second, 1, "", (struct strikes_offence){8, 12}, 0);
    strikes_forgive_whom(s, 1, 7);
    assert_int_equal(count_of(s, 1, 13, 0), 2);
    strikes_forgive_whom(s, 2, 7); /* never seen */
    strikes_forgive(s, 1);
    strikes_forgive(s, 2);
    assert_int_equal(count_of(s, 1, 11, 0), 1);
    strikes_free(s);
}

static void a_lock_out_ends_with_all_but_not_with_one(void **state)
{
    (void)state;
    struct strikes *s = strikes_new();
    for (uint64_t i = 0; i < 3; i++)
        add(s, 1, 11 + i, 0);
    strikes_forgive_whom(s, 1, 7);
    assert_true(strikes_locked(s, 1, 0));
    strikes_forgive(s, 1);
    assert_false(strikes_locked(s, 1, 0));
    strikes_free(s);
}

static void the_locked_out_are_listed_with_time_and_count(void **state)
{
    (void)state;
    struct strikes *s = strikes_new();
    struct strikes_view v;
    size_t place = 0, listed = 0;
    unsigned seen = 0;
    for (uint64_t who = 1; who <= 20; who++)
        for (uint64_t i = 0; i < (who <= 5 ? 3 : 2); i++)
            add(s, who * 0x9e3779b97f4a7c15u, 11 + i, 100);
    while (strikes_next_locked(s, &v, &place, 400)) {
        listed++;
        assert_string_equal(v.name, "name");
        assert_int_equal(v.left_ms, 700);
        assert_int_equal(v.count, 3);
        for (uint64_t who = 1; who <= 5; who++)
            seen |= v.who == who * 0x9e3779b97f4a7c15u ? 1u << who : 0;
    }
    assert_int_equal(listed, 5);
    assert_int_equal(seen, 0x3e);
    place = 0;
    assert_false(strikes_next_locked(s, &v, &place, 1100));
    strikes_free(s);
}

static uint64_t mixed(uint64_t i)
{
    i = (i + 1) * 0x9e3779b97f4a7c15u;
    i ^= i >> 29;
    return i * 0xbf58476d1ce4e5b9u | 1;
}

static void a_flood_washes_neither_the_locked_out_nor_the_worst_away(void **state)
{
    (void)state;
    struct strikes *s = strikes_new();
    for (uint64_t i = 0; i < 3; i++)
        add(s, 5, 11 + i, 0);
    add(s, 9, 11, 0);
    add(s, 9, 12, 0);
    for (uint64_t i = 0; i < 500000; i++)
        add(s, mixed(i), 11, 1);
    assert_true(strikes_locked(s, 5, 2));
    assert_int_equal(add(s, 9, 13, 2), STRIKES_LOCKED);
    strikes_free(s);
}

static void a_newcomer_finds_a_place_while_not_all_are_locked_out(void **state)
{
    (void)state;
    struct strikes *s = strikes_new();
    for (uint64_t i = 0; i < 100000; i++)
        for (uint64_t k = 0; k < 2; k++)
            add(s, mixed(i), 11 + k, 1);
    for (uint64_t i = 0; i < 2; i++)
        assert_int_equal(add(s, mixed(1u << 20), 11 + i, 2), STRIKES_NEW);
    assert_int_equal(add(s, mixed(1u << 20), 13, 2), STRIKES_LOCKED);
    strikes_free(s);
}

static void when_all_are_locked_out_newcomers_are_not_counted(void **state)
{
    (void)state;
    struct strikes *s = strikes_new();
    for (uint64_t i = 0; i < 100000; i++)
        for (uint64_t k = 0; k < 3; k++)
            add(s, mixed(i), 11 + k, 1);
    for (uint64_t k = 0; k < 5; k++)
        assert_int_equal(add(s, mixed(1u << 20), 11 + k, 2), STRIKES_SAME);
    assert_false(strikes_locked(s, mixed(1u << 20), 2));
    assert_int_equal(add(s, mixed(1u << 20), 11, 1001), STRIKES_NEW);
    strikes_free(s);
}

static void a_clock_that_steps_back_does_no_harm(void **state)
{
    (void)state;
    struct strikes *s = strikes_new();
    add(s, 1, 11, 1000000);
    add(s, 1, 12, 5);
    assert_int_equal(add(s, 1, 13, 6), STRIKES_LOCKED);
    assert_true(strikes_locked(s, 1, 0));
    strikes_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_offence_counts_once),
        cmocka_unit_test(the_same_against_another_is_another),
        cmocka_unit_test(an_unknown_offence_is_one_of_its_own),
        cmocka_unit_test(a_lock_out_lasts_one_period_and_then_all_is_forgotten),
        cmocka_unit_test(more_offences_do_not_make_a_lock_out_longer),
        cmocka_unit_test(any_period_counts_not_only_one_that_began_with_the_first),
        cmocka_unit_test(what_is_a_period_old_counts_no_more),
        cmocka_unit_test(a_limit_beyond_those_remembered_one_by_one_holds),
        cmocka_unit_test(those_behind_the_remembered_age_together),
        cmocka_unit_test(forgiven_is_all_or_what_was_done_to_one),
        cmocka_unit_test(a_lock_out_ends_with_all_but_not_with_one),
        cmocka_unit_test(the_locked_out_are_listed_with_time_and_count),
        cmocka_unit_test(a_flood_washes_neither_the_locked_out_nor_the_worst_away),
        cmocka_unit_test(a_newcomer_finds_a_place_while_not_all_are_locked_out),
        cmocka_unit_test(when_all_are_locked_out_newcomers_are_not_counted),
        cmocka_unit_test(a_clock_that_steps_back_does_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
