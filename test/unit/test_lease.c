#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/lease.h"

static const uint8_t key[16] = "0123456789abcde";
static char front[2]; /* two owners */

static uint64_t seed;

static unsigned roll(unsigned below)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(seed >> 33) % below;
}

static void expect_next(struct lease_line *l, void *owner, uint64_t number)
{
    void *got = NULL;
    uint64_t n = 0;

    assert_true(lease_next(l, &got, &n));
    assert_ptr_equal(got, owner);
    assert_int_equal(n, number);
}

static void expect_none(struct lease_line *l)
{
    void *owner;
    uint64_t number;

    assert_false(lease_next(l, &owner, &number));
}

static void a_third_of_the_connections_is_a_logins_share(void **state)
{
    (void)state;
    static const struct {
        unsigned max, share;
    } table[] = {{1, 1}, {2, 1}, {3, 1}, {5, 1}, {6, 2}, {15, 5}, {20, 6}};

    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct lease_line *l = lease_new(table[i].max, key);
        for (unsigned n = 0; n < table[i].share; n++)
            assert_int_equal(lease_ask(l, front, n, "alice"), LEASE_GRANTED);
        assert_int_equal(lease_ask(l, front, 99, "alice"), LEASE_WAITING);
        assert_int_equal(lease_granted(l), table[i].share);
        lease_free(l);
    }
}

static void no_more_than_all_connections_are_given(void **state)
{
    (void)state;
    struct lease_line *l = lease_new(3, key);
    assert_int_equal(lease_ask(l, front, 1, "a"), LEASE_GRANTED);
    assert_int_equal(lease_ask(l, front, 2, "b"), LEASE_GRANTED);
    assert_int_equal(lease_ask(l, front, 3, "c"), LEASE_GRANTED);
    assert_int_equal(lease_ask(l, front, 4, "d"), LEASE_WAITING);
    expect_none(l);
    assert_true(lease_give_back(l, front, 2));
    expect_next(l, front, 4);
    expect_none(l);
    lease_free(l);
}

static void a_login_at_its_share_is_passed_over(void **state)
{
    (void)state;
    struct lease_line *l = lease_new(3, key);
    lease_ask(l, front, 1, "a");
    lease_ask(l, front, 2, "b");
    lease_ask(l, front, 3, "c");
    assert_int_equal(lease_ask(l, front, 4, "a"), LEASE_WAITING);
    assert_int_equal(lease_ask(l, front, 5, "d"), LEASE_WAITING);
    lease_give_back(l, front, 2);
    expect_next(l, front, 5);
    lease_give_back(l, front, 3);
    expect_none(l); /* a connection is free, and "a" has its share */
    lease_give_back(l, front, 1);
    expect_next(l, front, 4);
    lease_free(l);
}

static void logins_take_turns_and_each_login_keeps_its_order(void **state)
{
    (void)state;
    struct lease_line *l = lease_new(6, key);
    for (uint64_t n = 0; n < 6; n++)
        assert_int_equal(lease_ask(l, front, n, n < 2 ? "x" : n < 4 ? "y" : "z"), LEASE_GRANTED);
    for (uint64_t n = 10; n < 14; n++)
        assert_int_equal(lease_ask(l, front, n, "a"), LEASE_WAITING);
    assert_int_equal(lease_ask(l, front, 20, "b"), LEASE_WAITING);
    assert_int_equal(lease_ask(l, front, 30, "c"), LEASE_WAITING);
    assert_int_equal(lease_ask(l, front, 21, "b"), LEASE_WAITING);
    for (uint64_t n = 0; n < 5; n++)
        lease_give_back(l, front, n);
    expect_next(l, front, 10);
    expect_next(l, front, 20);
    expect_next(l, front, 30);
    expect_next(l, front, 11);
    expect_next(l, front, 21);
    expect_none(l);
    lease_free(l);
}

static void who_comes_later_does_not_overtake(void **state)
{
    (void)state;
    struct lease_line *l = lease_new(3, key);
    lease_ask(l, front, 1, "a");
    lease_ask(l, front, 2, "b");
    lease_ask(l, front, 3, "c");
    lease_ask(l, front, 4, "d");
    lease_give_back(l, front, 1);
    /* one is free, and it is d's */
    assert_int_equal(lease_ask(l, front, 5, "e"), LEASE_WAITING);
    expect_next(l, front, 4);
    expect_none(l);
    lease_free(l);
}

static void one_login_cannot_fill_the_line_for_the_others(void **state)
{
    (void)state;
    struct lease_line *l = lease_new(3, key);
    unsigned waiting = 0;
    uint64_t n = 0;

    lease_ask(l, front, n++, "x");
    lease_ask(l, front, n++, "y");
    assert_int_equal(lease_ask(l, front, n++, "a"), LEASE_GRANTED);
    while (lease_ask(l, front, n++, "a") == LEASE_WAITING)
        waiting++;
    assert_int_equal(waiting, LEASE_WAITING_LOGIN_MAX);
    assert_int_equal(lease_ask(l, front, n++, "b"), LEASE_WAITING);
    /* and b waits for no more than one turn of a */
    lease_give_back(l, front, 0);
    expect_next(l, front, n - 1);
    lease_free(l);
}

static void the_line_is_bounded(void **state)
{
    (void)state;
    struct lease_line *l = lease_new(1, key);
    char login[16];
    uint64_t n = 0;

    assert_int_equal(lease_ask(l, front, n++, "x"), LEASE_GRANTED);
    for (unsigned i = 0; i < LEASE_WAITING_MAX; i++) {
        snprintf(login, sizeof login, "login%u", i);
        assert_int_equal(lease_ask(l, front, n++, login), LEASE_WAITING);
    }
    assert_int_equal(lease_ask(l, front, n, "one too many"), LEASE_FULL);
    assert_int_equal(lease_waiting(l), LEASE_WAITING_MAX);
    assert_false(lease_give_back(l, front, n)); /* nothing of it is remembered */
    assert_true(lease_give_back(l, front, 7));  /* one goes away */
    assert_int_equal(lease_ask(l, front, n, "one too many"), LEASE_WAITING);
    lease_free(l);
}

static void who_asks_again_gets_the_same_answer(void **state)
{
    (void)state;
    struct lease_line *l = lease_new(1, key);
    assert_int_equal(lease_ask(l, front, 1, "a"), LEASE_GRANTED);
    assert_int_equal(lease_ask(l, front, 2, "a"), LEASE_WAITING);
    assert_int_equal(lease_ask(l, front, 1, "a"), LEASE_GRANTED);
    assert_int_equal(lease_ask(l, front, 2, "a"), LEASE_WAITING);
    assert_int_equal(lease_granted(l), 1);
    assert_int_equal(lease_waiting(l), 1);
    lease_free(l);
}

static void one_who_waits_can_give_up(void **state)
{
    (void)state;
    struct lease_line *l = lease_new(1, key);
    lease_ask(l, front, 1, "a");
    lease_ask(l, front, 2, "b");
    lease_ask(l, front, 3, "c");
    assert_true(lease_give_back(l, front, 2));
    assert_false(lease_give_back(l, front, 2));
    lease_give_back(l, front, 1);
    expect_next(l, front, 3);
    assert_int_equal(lease_waiting(l), 0);
    lease_free(l);
}

static void nobody_gives_back_for_another_owner(void **state)
{
    (void)state;
    struct lease_line *l = lease_new(1, key);
    lease_ask(l, &front[0], 1, "a");
    assert_false(lease_give_back(l, &front[1], 1));
    assert_int_equal(lease_granted(l), 1);
    lease_free(l);
    /* so many that some of both owners meet in one bucket */
    l = lease_new(60000, key);
    for (uint64_t n = 0; n < 20000; n++)
        assert_int_equal(lease_ask(l, &front[0], n, "a"), LEASE_GRANTED);
    for (uint64_t n = 0; n < 20000; n++)
        assert_false(lease_give_back(l, &front[1], n));
    lease_free(l);
}

static void an_owner_that_died_frees_all_it_had(void **state)
{
    (void)state;
    struct lease_line *l = lease_new(3, key);
    lease_ask(l, &front[0], 1, "a");
    lease_ask(l, &front[0], 2, "b");
    lease_ask(l, &front[1], 1, "c");
    lease_ask(l, &front[0], 3, "d");
    lease_ask(l, &front[1], 2, "a");
    lease_ask(l, &front[1], 3, "e");
    lease_owner_gone(l, &front[0]);
    assert_int_equal(lease_granted(l), 1);
    assert_int_equal(lease_waiting(l), 2);
    /* "a" was at its share when "e" came: "e" had its turn before */
    expect_next(l, &front[1], 3);
    expect_next(l, &front[1], 2);
    expect_none(l);
    lease_free(l);
}

static void a_reload_can_widen_and_narrow(void **state)
{
    (void)state;
    struct lease_line *l = lease_new(1, key);
    lease_ask(l, front, 1, "a");
    lease_ask(l, front, 2, "a");
    lease_ask(l, front, 3, "b");
    lease_resize(l, 6);
    expect_next(l, front, 3); /* b could have used a turn from the first */
    expect_next(l, front, 2);
    expect_none(l);
    lease_resize(l, 2);
    assert_int_equal(lease_granted(l), 3);
    assert_int_equal(lease_ask(l, front, 4, "c"), LEASE_WAITING);
    lease_give_back(l, front, 1);
    expect_none(l);
    lease_give_back(l, front, 2);
    expect_next(l, front, 4);
    lease_free(l);
}

/* The same rules told in the dullest way. */
enum { HOLDERS = 64, LOGINS = 7 };

struct model {
    enum { AWAY, WAITS, HOLDS } is[HOLDERS];
    unsigned login[HOLDERS];
    unsigned long came[HOLDERS];
    unsigned long passed[HOLDERS]; /* grants to others since it came */
    unsigned held[LOGINS];
    unsigned granted, waiting;
};

static void model_grant(struct model *m, unsigned n)
{
    m->is[n] = HOLDS;
    m->held[m->login[n]]++;
    m->granted++;
}

static void model_drain(struct lease_line *l, struct model *m, unsigned max, unsigned share)
{
    void *owner;
    uint64_t number;

    while (lease_next(l, &owner, &number)) {
        unsigned n = (unsigned)number;
        assert_true(number < HOLDERS && m->is[n] == WAITS);
        assert_ptr_equal(owner, &front[n % 2]);
        for (unsigned i = 0; i < HOLDERS; i++) {
            if (i != n && m->is[i] == WAITS && m->login[i] == m->login[n])
                assert_true(m->came[i] > m->came[n]);
            m->passed[i]++;
        }
        /* at most once round the logins for each of its own that was before it */
        assert_true(m->passed[n] <= (unsigned long)HOLDERS * (LOGINS + share));
        m->waiting--;
        model_grant(m, n);
        assert_true(m->granted <= max && m->held[m->login[n]] <= share);
    }
    /* nothing lies idle that somebody could use */
    for (unsigned i = 0; m->granted < max && i < HOLDERS; i++)
        assert_true(m->is[i] != WAITS || m->held[m->login[i]] == share);
}

static void model_end(struct model *m, unsigned n)
{
    if (m->is[n] == HOLDS) {
        m->held[m->login[n]]--;
        m->granted--;
    } else if (m->is[n] == WAITS) {
        m->waiting--;
    }
    m->is[n] = AWAY;
}

static void run_model(unsigned max, unsigned steps)
{
    static const char *const names[LOGINS] = {"a", "b", "c", "d", "e", "f", "g"};
    const unsigned share = max / 3 > 0 ? max / 3 : 1;
    struct lease_line *l = lease_new(max, key);
    struct model m = {.granted = 0};

    for (unsigned step = 0; step < steps; step++) {
        unsigned n = roll(HOLDERS);
        if (roll(500) == 0) {
            unsigned gone = roll(2);
            lease_owner_gone(l, &front[gone]);
            for (unsigned i = gone; i < HOLDERS; i += 2)
                model_end(&m, i);
        } else if (m.is[n] == AWAY) {
            /* the first login asks far more than the others */
            m.login[n] = roll(2) ? 0 : roll(LOGINS);
            m.came[n] = step;
            m.passed[n] = 0;
            const bool fits = m.granted < max && m.held[m.login[n]] < share;
            const enum lease_answer answer = lease_ask(l, &front[n % 2], n, names[m.login[n]]);
            assert_int_equal(answer, fits ? LEASE_GRANTED : LEASE_WAITING);
            if (fits) {
                model_grant(&m, n);
            } else {
                m.is[n] = WAITS;
                m.waiting++;
            }
        } else {
            assert_true(lease_give_back(l, &front[n % 2], n));
            model_end(&m, n);
        }
        model_drain(l, &m, max, share);
        assert_int_equal(lease_granted(l), m.granted);
        assert_int_equal(lease_waiting(l), m.waiting);
    }
    lease_free(l);
}

static void whatever_happens_shares_hold_and_nobody_starves(void **state)
{
    (void)state;
    seed = 1;
    for (unsigned max = 0; max <= 16; max++)
        run_model(max, 20000);
}

/* Busy logins with long lines: one who comes alone gets a connection within one round. */
static void a_quiet_login_waits_one_round_at_most(void **state)
{
    (void)state;
    static const char *const busy[] = {"a", "b", "c", "d", "e"};
    struct lease_line *l = lease_new(3, key);
    uint64_t held[3];
    uint64_t number = 0;
    void *owner;
    unsigned rounds = 0;

    for (unsigned i = 0; i < 5 * 200; i++) {
        if (lease_ask(l, front, i, busy[i % 5]) == LEASE_GRANTED)
            held[i] = i;
    }
    assert_int_equal(lease_ask(l, front, 5000, "quiet"), LEASE_WAITING);
    while (number != 5000) {
        lease_give_back(l, front, held[rounds % 3]);
        assert_true(lease_next(l, &owner, &number));
        held[rounds++ % 3] = number;
    }
    assert_true(rounds <= 6);
    lease_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_third_of_the_connections_is_a_logins_share),
        cmocka_unit_test(no_more_than_all_connections_are_given),
        cmocka_unit_test(a_login_at_its_share_is_passed_over),
        cmocka_unit_test(logins_take_turns_and_each_login_keeps_its_order),
        cmocka_unit_test(who_comes_later_does_not_overtake),
        cmocka_unit_test(one_login_cannot_fill_the_line_for_the_others),
        cmocka_unit_test(the_line_is_bounded),
        cmocka_unit_test(who_asks_again_gets_the_same_answer),
        cmocka_unit_test(one_who_waits_can_give_up),
        cmocka_unit_test(nobody_gives_back_for_another_owner),
        cmocka_unit_test(an_owner_that_died_frees_all_it_had),
        cmocka_unit_test(a_reload_can_widen_and_narrow),
        cmocka_unit_test(whatever_happens_shares_hold_and_nobody_starves),
        cmocka_unit_test(a_quiet_login_waits_one_round_at_most),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
