#include "auth/line.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { MAX = 8 };

/* 10.0.N.1 */
static const uint8_t *from(unsigned n)
{
    static uint8_t out[16];
    memset(out, 0, sizeof out);
    out[10] = out[11] = 0xff;
    out[12] = 10, out[13] = (uint8_t)(n >> 8), out[14] = (uint8_t)n, out[15] = 1;
    return out;
}

static void who_came_first_goes_first(void **state)
{
    (void)state;
    struct line *l = line_new(MAX);
    struct line_place p[MAX];
    memset(p, 0, sizeof p);
    for (size_t i = 0; i < MAX; i++)
        assert_null(line_join(l, &p[i], from(1)));
    assert_int_equal(line_length(l), MAX);
    for (size_t i = 0; i < MAX; i++)
        assert_ptr_equal(line_next(l), &p[i]);
    assert_null(line_next(l));
    assert_int_equal(line_length(l), 0);
    line_free(l);
}

static void networks_take_turns(void **state)
{
    (void)state;
    struct line *l = line_new(MAX);
    struct line_place a[4] = {{0}}, b[2] = {{0}}, c = {0};
    for (size_t i = 0; i < 4; i++)
        line_join(l, &a[i], from(1));
    for (size_t i = 0; i < 2; i++)
        line_join(l, &b[i], from(2));
    line_join(l, &c, from(3));
    struct line_place *const order[] = {&a[0], &b[0], &c, &a[1], &b[1], &a[2], &a[3]};
    for (size_t i = 0; i < sizeof order / sizeof *order; i++)
        assert_ptr_equal(line_next(l), order[i]);
    assert_null(line_next(l));
    line_free(l);
}

static void addresses_of_one_network_stand_in_one_row(void **state)
{
    (void)state;
    struct line *l = line_new(MAX);
    struct line_place a[2] = {{0}}, b = {0};
    uint8_t neighbour[16];
    memcpy(neighbour, from(1), sizeof neighbour);
    neighbour[15] = 200;
    line_join(l, &a[0], from(1));
    line_join(l, &a[1], neighbour);
    line_join(l, &b, from(2));
    assert_ptr_equal(line_next(l), &a[0]);
    assert_ptr_equal(line_next(l), &b);
    assert_ptr_equal(line_next(l), &a[1]);
    line_free(l);
}

static void a_flood_from_one_network_keeps_nobody_else_out(void **state)
{
    (void)state;
    struct line *l = line_new(MAX);
    struct line_place flood[100], others[3] = {{0}};
    memset(flood, 0, sizeof flood);
    for (size_t i = 0; i < 100; i++)
        assert_ptr_equal(line_join(l, &flood[i], from(1)), i < MAX ? NULL : &flood[i]);
    assert_int_equal(line_length(l), MAX);
    for (size_t i = 0; i < 3; i++) {
        assert_ptr_equal(line_join(l, &others[i], from(2 + (unsigned)i)), &flood[MAX - 1 - i]);
        assert_null(flood[MAX - 1 - i].row);
    }
    assert_int_equal(line_length(l), MAX);
    assert_ptr_equal(line_next(l), &flood[0]);
    for (size_t i = 0; i < 3; i++)
        assert_ptr_equal(line_next(l), &others[i]);
    for (size_t i = 1; i < 5; i++)
        assert_ptr_equal(line_next(l), &flood[i]);
    assert_null(line_next(l));
    line_free(l);
}

/* Else a flood from many networks would take everybody's place in turn, and nobody be served. */
static void who_would_gain_nothing_in_fairness_takes_nobodys_place(void **state)
{
    (void)state;
    struct line *l = line_new(MAX);
    struct line_place p[MAX], late = {0}, later = {0};
    memset(p, 0, sizeof p);
    for (unsigned i = 0; i < MAX; i++)
        assert_null(line_join(l, &p[i], from(i)));
    assert_ptr_equal(line_join(l, &late, from(100)), &late);
    assert_null(late.row);
    assert_ptr_equal(line_join(l, &later, from(3)), &later);
    for (unsigned i = 0; i < MAX; i++)
        assert_ptr_equal(line_next(l), &p[i]);
    assert_null(line_next(l));
    line_free(l);
}

static void the_longest_row_gives_way(void **state)
{
    (void)state;
    struct line *l = line_new(MAX);
    struct line_place a[2] = {{0}}, b[5] = {{0}}, c = {0}, new = {0};
    for (size_t i = 0; i < 2; i++)
        line_join(l, &a[i], from(1));
    for (size_t i = 0; i < 5; i++)
        line_join(l, &b[i], from(2));
    line_join(l, &c, from(3));
    assert_ptr_equal(line_join(l, &new, from(3)), &b[4]);
    assert_int_equal(line_length(l), MAX);
    while (line_next(l) != NULL)
        ;
    line_free(l);
}

static void who_leaves_leaves_no_gap(void **state)
{
    (void)state;
    struct line *l = line_new(MAX);
    struct line_place a[3] = {{0}}, b = {0};
    for (size_t i = 0; i < 3; i++)
        line_join(l, &a[i], from(1));
    line_join(l, &b, from(2));
    line_leave(l, &a[1]);
    line_leave(l, &a[1]); /* twice is once */
    assert_int_equal(line_length(l), 3);
    line_leave(l, &a[0]);
    line_leave(l, &b);
    assert_ptr_equal(line_next(l), &a[2]);
    assert_null(line_next(l));
    assert_null(line_join(l, &a[1], from(1))); /* and may come again */
    assert_ptr_equal(line_next(l), &a[1]);
    line_free(l);
}

static void nobody_has_a_place_in_a_line_for_none(void **state)
{
    (void)state;
    struct line *l = line_new(1);
    struct line_place p = {0}, q = {0};
    assert_null(line_join(l, &p, from(1)));
    assert_ptr_equal(line_join(l, &q, from(2)), &q);
    assert_ptr_equal(line_next(l), &p);
    line_free(l);
}

/* Against a plain model: in order of rows, each row in order of arrival. */
static uint64_t seed = 7;

static unsigned roll(unsigned below)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(seed >> 33) % below;
}

static void any_order_of_coming_and_going_leaves_the_line_whole(void **state)
{
    (void)state;
    enum { PEOPLE = 64 };
    struct line_place p[PEOPLE];
    bool inside[PEOPLE] = {false};
    size_t count = 0;
    struct line *l = line_new(MAX);
    memset(p, 0, sizeof p);
    for (unsigned step = 0; step < 200000; step++) {
        const unsigned who = roll(PEOPLE);
        struct line_place *goes;
        switch (roll(3)) {
        case 0:
            if (inside[who])
                break;
            goes = line_join(l, &p[who], from(who % 7));
            inside[who] = goes != &p[who];
            count += inside[who];
            if (goes != NULL && goes != &p[who]) {
                assert_true(inside[goes - p]);
                inside[goes - p] = false;
                count--;
            }
            break;
        case 1:
            line_leave(l, &p[who]);
            count -= inside[who];
            inside[who] = false;
            break;
        default:
            goes = line_next(l);
            assert_int_equal(goes != NULL, count > 0);
            if (goes != NULL) {
                assert_true(inside[goes - p]);
                inside[goes - p] = false;
                count--;
            }
        }
        assert_int_equal(line_length(l), count);
        assert_true(count <= MAX);
    }
    while (line_next(l) != NULL)
        count--;
    assert_int_equal(count, 0);
    line_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_came_first_goes_first),
        cmocka_unit_test(networks_take_turns),
        cmocka_unit_test(addresses_of_one_network_stand_in_one_row),
        cmocka_unit_test(a_flood_from_one_network_keeps_nobody_else_out),
        cmocka_unit_test(who_would_gain_nothing_in_fairness_takes_nobodys_place),
        cmocka_unit_test(the_longest_row_gives_way),
        cmocka_unit_test(who_leaves_leaves_no_gap),
        cmocka_unit_test(nobody_has_a_place_in_a_line_for_none),
        cmocka_unit_test(any_order_of_coming_and_going_leaves_the_line_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
