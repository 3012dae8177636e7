#include "auth/guard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const uint8_t key[16] = "0123456789abcde";
static const struct guard_rule twenty = {
    .failure_delay_ms = 2000, .lockout = 20, .period_ms = 600000};
static const struct guard_rule three = {.lockout = 3, .period_ms = 1000};

/* 10.X.Y.1, each another network by X and Y. */
static const uint8_t *v4(unsigned n)
{
    static uint8_t out[16];
    memset(out, 0, sizeof out);
    out[10] = out[11] = 0xff;
    out[12] = 10, out[13] = (uint8_t)(n >> 8), out[14] = (uint8_t)n, out[15] = 1;
    return out;
}

static const uint8_t *loopback(void)
{
    static uint8_t out[16] = {[10] = 0xff, [11] = 0xff, [12] = 127, [15] = 1};
    return out;
}

/* 2001:db8:0:NNII::1, each N another /56 of one /48, each I another /64 of that. */
static const uint8_t *v6(unsigned n, unsigned i)
{
    static uint8_t out[16];
    memset(out, 0, sizeof out);
    out[0] = 0x20, out[1] = 0x01, out[2] = 0x0d, out[3] = 0xb8;
    out[6] = (uint8_t)n, out[7] = (uint8_t)i, out[15] = 1;
    return out;
}

static struct guard_try try_of(const uint8_t *address, const char *login, const char *secret)
{
    return (struct guard_try){
        .address = address, .login = login, .secret = secret, .secret_len = strlen(secret)};
}

static struct guard_failure fail_once(struct guard *g, const uint8_t *address, const char *login,
                                      const char *secret, uint64_t now_ms)
{
    const struct guard_try t = try_of(address, login, secret);
    return guard_failed(g, &t, now_ms);
}

static void succeed(struct guard *g, const uint8_t *address, const char *login, uint64_t now_ms)
{
    const struct guard_try t = try_of(address, login, "right");
    guard_succeeded(g, &t, now_ms);
}

static bool admits(struct guard *g, const uint8_t *address, const char *login, const char *secret,
                   uint64_t now_ms)
{
    const struct guard_try t = try_of(address, login, secret);
    enum guard_what what;
    return guard_admits(g, &what, &t, now_ms);
}

static enum guard_what refusal(struct guard *g, const uint8_t *address, const char *login,
                               const char *secret, uint64_t now_ms)
{
    const struct guard_try t = try_of(address, login, secret);
    enum guard_what what = GUARD_WHATS;
    assert_false(guard_admits(g, &what, &t, now_ms));
    return what;
}

static void refusals_wait_longer_and_longer(void **state)
{
    (void)state;
    struct guard *g = guard_new(&twenty, key);
    assert_int_equal(fail_once(g, v4(1), "alice", "a", 0).delay_ms, 2000);
    assert_int_equal(fail_once(g, v4(1), "alice", "a", 0).delay_ms, 4000); /* the same one, too */
    assert_int_equal(fail_once(g, v4(1), "bob", "b", 0).delay_ms, 8000);
    assert_int_equal(fail_once(g, v4(2), "alice", "a", 0).delay_ms, 2000);
    succeed(g, v4(1), "carol", 0);
    assert_int_equal(fail_once(g, v4(1), "alice", "a", 0).delay_ms, 2000);
    guard_free(g);
}

static void distinct_wrong_passwords_lock_network_and_account(void **state)
{
    (void)state;
    struct guard *g = guard_new(&three, key);
    struct guard_failure f;
    fail_once(g, v4(1), "alice", "a", 0);
    f = fail_once(g, v4(1), "alice", "b", 0);
    assert_false(f.locked[GUARD_NETWORK] || f.locked[GUARD_ACCOUNT]);
    assert_true(admits(g, v4(1), "alice", "x", 0));
    f = fail_once(g, v4(1), "alice", "c", 0);
    assert_true(f.locked[GUARD_NETWORK] && f.locked[GUARD_ACCOUNT] && !f.locked[GUARD_PASSWORD]);
    assert_int_equal(f.strikes[GUARD_NETWORK], 3);
    assert_int_equal(f.strikes[GUARD_ACCOUNT], 3);
    assert_string_equal(f.network, "10.0.1.0/24");
    assert_int_equal(refusal(g, v4(1), "alice", "right", 0), GUARD_NETWORK);
    assert_int_equal(refusal(g, v4(1), "bob", "right", 999), GUARD_NETWORK);
    assert_int_equal(refusal(g, v4(2), "alice", "right", 999), GUARD_ACCOUNT);
    assert_true(admits(g, v4(2), "bob", "right", 0));
    assert_true(admits(g, v4(1), "alice", "right", 1000));
    assert_false(fail_once(g, v4(1), "alice", "d", 0).locked[GUARD_NETWORK]); /* told once */
    guard_free(g);
}

static void a_phone_with_an_old_password_is_one_strike(void **state)
{
    (void)state;
    struct guard *g = guard_new(&three, key);
    for (uint64_t i = 0; i < 1000; i++) {
        struct guard_failure f = fail_once(g, v4(1), "alice", "old", i);
        assert_false(f.locked[GUARD_NETWORK] || f.locked[GUARD_ACCOUNT] ||
                     f.locked[GUARD_PASSWORD]);
        assert_int_equal(f.strikes[GUARD_ACCOUNT], 1);
    }
    assert_true(admits(g, v4(1), "alice", "right", 1000));
    guard_free(g);
}

static void without_a_known_password_each_failure_is_one_of_its_own(void **state)
{
    (void)state;
    struct guard *g = guard_new(&three, key);
    for (int i = 0; i < 3; i++)
        fail_once(g, v4(1), "", "", 0);
    assert_int_equal(refusal(g, v4(1), "", "", 0), GUARD_NETWORK);
    assert_true(admits(g, v4(2), "", "", 0)); /* nobody's account was counted */
    for (unsigned i = 10; i < 20; i++)
        fail_once(g, v4(i), "", "", 0);
    assert_true(admits(g, v4(2), "", "", 0));
    guard_free(g);
}

static void a_success_takes_the_accounts_strikes_back(void **state)
{
    (void)state;
    struct guard *g = guard_new(&three, key);
    for (int round = 0; round < 5; round++) {
        fail_once(g, v4(1), "alice", "a", 0);
        fail_once(g, v4(1), "alice", "b", 0);
        succeed(g, v4(1), "alice", 0);
    }
    assert_true(admits(g, v4(1), "alice", "right", 0));
    guard_free(g);
}

static void an_account_of_his_own_does_not_help_a_guesser(void **state)
{
    (void)state;
    struct guard *g = guard_new(&three, key);
    char login[16];
    unsigned tried = 0;
    for (; tried < 100 && admits(g, v4(1), "mallory", "right", 0); tried++) {
        snprintf(login, sizeof login, "user%u", tried);
        fail_once(g, v4(1), login, "Summer2026", 0);
        succeed(g, v4(1), "mallory", 0);
    }
    assert_int_equal(tried, 3);
    guard_free(g);
}

static void the_owner_gets_in_while_his_account_is_locked_out(void **state)
{
    (void)state;
    struct guard *g = guard_new(&three, key);
    succeed(g, v4(1), "alice", 0);
    for (unsigned i = 0; i < 3; i++)
        fail_once(g, v4(10 + i), "alice", (char[]){(char)('a' + i), '\0'}, 1);
    assert_int_equal(refusal(g, v4(2), "alice", "right", 2), GUARD_ACCOUNT);
    assert_true(admits(g, v4(1), "alice", "right", 2));
    succeed(g, v4(1), "alice", 2);
    assert_int_equal(refusal(g, v4(2), "alice", "right", 3), GUARD_ACCOUNT); /* for others still */
    assert_true(admits(g, v4(1), "bob", "right", 3));
    guard_free(g);
}

static void known_as_good_is_one_account_of_one_network(void **state)
{
    (void)state;
    struct guard *g = guard_new(&three, key);
    succeed(g, v4(1), "bob", 0);
    succeed(g, v4(2), "alice", 0);
    for (unsigned i = 0; i < 3; i++)
        fail_once(g, v4(10 + i), "alice", (char[]){(char)('a' + i), '\0'}, 1);
    assert_int_equal(refusal(g, v4(1), "alice", "right", 2), GUARD_ACCOUNT);
    assert_true(admits(g, v4(2), "alice", "right", 2));
    guard_free(g);
}

/* From behind the same local webmail, which is never locked out as a network. */
static void who_guesses_from_where_the_owner_is_known_has_no_more_guesses(void **state)
{
    (void)state;
    struct guard *g = guard_new(&three, key);
    char secret[16];
    unsigned tried = 0;
    succeed(g, loopback(), "alice", 0);
    for (; tried < 100; tried++) {
        snprintf(secret, sizeof secret, "guess%u", tried);
        if (!admits(g, loopback(), "alice", secret, 1))
            break;
        fail_once(g, loopback(), "alice", secret, 1);
    }
    assert_int_equal(tried, 3);
    assert_true(admits(g, loopback(), "bob", "right", 1));
    assert_true(admits(g, loopback(), "alice", "right", 1001));
    guard_free(g);
}

static void a_loopback_network_is_never_locked_out(void **state)
{
    (void)state;
    struct guard *g = guard_new(&three, key);
    char login[16], secret[16];
    for (unsigned i = 0; i < 100; i++) {
        snprintf(login, sizeof login, "user%u", i);
        snprintf(secret, sizeof secret, "guess%u", i);
        struct guard_failure f = fail_once(g, loopback(), login, secret, 0);
        assert_false(f.locked[GUARD_NETWORK]);
        assert_string_equal(f.network, "");
    }
    assert_true(admits(g, loopback(), "alice", "right", 0));
    guard_free(g);
}

static void one_password_for_many_accounts_is_locked_out_itself(void **state)
{
    (void)state;
    struct guard *g = guard_new(&three, key);
    struct guard_failure f = {.delay_ms = 0};
    succeed(g, v4(1), "dave", 0);
    for (unsigned i = 0; i < 3; i++) {
        f = fail_once(g, v4(100 + i), (char[]){(char)('a' + i), '\0'}, "Summer2026", 1);
        assert_int_equal(f.locked[GUARD_PASSWORD], i == 2);
    }
    assert_int_equal(refusal(g, v4(200), "erin", "Summer2026", 2), GUARD_PASSWORD);
    assert_true(admits(g, v4(200), "erin", "Summer2027", 2));
    assert_true(admits(g, v4(1), "dave", "Summer2026", 2)); /* where he is known it is his own */
    assert_true(admits(g, v4(200), "erin", "Summer2026", 1001));
    guard_free(g);
}

/* Distributions: who guesses from where, and who is kept out of it. */

static void a_thousand_sources_guess_at_one_account_and_its_owner_logs_in(void **state)
{
    (void)state;
    struct guard *g = guard_new(&twenty, key);
    char secret[16];
    unsigned looked_at = 0;
    succeed(g, v4(60000), "alice", 0);
    for (unsigned i = 0; i < 1000; i++) {
        snprintf(secret, sizeof secret, "guess%u", i);
        if (admits(g, v4(i), "alice", secret, i)) {
            looked_at++;
            fail_once(g, v4(i), "alice", secret, i);
        }
        if (i % 10 == 0) {
            assert_true(admits(g, v4(60000), "alice", "right", i));
            if (i < 15 || i >= 30)
                succeed(g, v4(60000), "alice", i);
        }
    }
    /* at most a lock-out's worth behind each of the owner's logins before it began */
    assert_in_range(looked_at, 20, 60);
    assert_false(admits(g, v4(5000), "alice", "right", 1000));
    assert_true(admits(g, v4(5000), "bob", "right", 1000));
    guard_free(g);
}

static void one_source_guesses_at_a_thousand_accounts_and_their_owners_log_in(void **state)
{
    (void)state;
    struct guard *g = guard_new(&twenty, key);
    char login[16], secret[16];
    unsigned looked_at = 0;
    for (unsigned i = 0; i < 1000; i++) {
        snprintf(login, sizeof login, "user%u", i);
        snprintf(secret, sizeof secret, "guess%u", i);
        if (admits(g, v4(1), login, secret, i)) {
            looked_at++;
            fail_once(g, v4(1), login, secret, i);
        }
        assert_true(admits(g, v4(1000 + i), login, "right", i));
    }
    assert_int_equal(looked_at, 20);
    guard_free(g);
}

static void a_thousand_sources_try_one_password_on_a_thousand_accounts(void **state)
{
    (void)state;
    struct guard *g = guard_new(&twenty, key);
    char login[16];
    unsigned looked_at = 0;
    for (unsigned i = 0; i < 1000; i++) {
        snprintf(login, sizeof login, "user%u", i);
        if (admits(g, v4(i), login, "Summer2026", i)) {
            looked_at++;
            fail_once(g, v4(i), login, "Summer2026", i);
        }
        assert_true(admits(g, v4(2000 + i), login, "right", i));
    }
    assert_int_equal(looked_at, 20);
    guard_free(g);
}

static void five_thousand_addresses_of_a_64_are_one_source(void **state)
{
    (void)state;
    struct guard *g = guard_new(&twenty, key);
    uint8_t address[16];
    char secret[16];
    unsigned looked_at = 0;
    memcpy(address, v6(3, 7), sizeof address);
    for (unsigned i = 0; i < 5000; i++) {
        address[14] = (uint8_t)(i >> 8), address[15] = (uint8_t)i;
        snprintf(secret, sizeof secret, "guess%u", i);
        if (admits(g, address, "", secret, i)) {
            looked_at++;
            fail_once(g, address, "", secret, i);
        }
    }
    assert_int_equal(looked_at, 20);
    guard_free(g);
}

static void all_networks_of_a_48_have_four_times_as_many_guesses(void **state)
{
    (void)state;
    struct guard *g = guard_new(&twenty, key);
    char login[16], secret[16];
    unsigned looked_at = 0;
    struct guard_lock lock;
    bool told = false;
    for (unsigned i = 0; i < 5000; i++) {
        snprintf(login, sizeof login, "user%u", i);
        snprintf(secret, sizeof secret, "guess%u", i);
        if (admits(g, v6(i, i >> 8), login, secret, i)) {
            looked_at++;
            struct guard_failure f = fail_once(g, v6(i, i >> 8), login, secret, i);
            told |= f.locked[GUARD_NETWORK] && strcmp(f.network, "2001:db8::/48") == 0;
        }
    }
    assert_int_equal(looked_at, 80);
    assert_true(told);
    size_t place = 0;
    assert_true(guard_list(g, &lock, &place, 5000));
    assert_string_equal(lock.name, "2001:db8::/48");
    assert_int_equal(lock.strikes, 80);
    assert_true(guard_lift(g, "2001:db8:0:4242::1", 5000));
    assert_true(admits(g, v6(1, 1), "alice", "right", 5000));
    guard_free(g);
}

static void lock_outs_are_listed_and_lifted(void **state)
{
    (void)state;
    struct guard *g = guard_new(&three, key);
    struct guard_lock lock;
    unsigned networks = 0, accounts = 0, passwords = 0;
    size_t i = 0, place = 0;
    for (int k = 0; k < 3; k++)
        fail_once(g, v4(1), "alice", (char[]){(char)('a' + k), '\0'}, 100);
    for (unsigned k = 0; k < 3; k++)
        fail_once(g, v4(10 + k), (char[]){(char)('a' + k), '\0'}, "spray", 100);
    for (; guard_list(g, &lock, &place, 400); i++) {
        assert_int_equal(lock.left_ms, 700);
        assert_int_equal(lock.strikes, 3);
        networks += lock.what == GUARD_NETWORK && strcmp(lock.name, "10.0.1.0/24") == 0;
        accounts += lock.what == GUARD_ACCOUNT && strcmp(lock.name, "alice") == 0;
        passwords += lock.what == GUARD_PASSWORD && strcmp(lock.name, "") == 0;
    }
    assert_true(i == 3 && networks == 1 && accounts == 1 && passwords == 1);
    assert_false(guard_lift(g, "bob", 400));
    assert_false(guard_lift(g, "10.0.2.0/24", 400));
    assert_false(guard_lift(g, "", 400));
    assert_true(guard_lift(g, "alice", 400));
    assert_false(guard_lift(g, "alice", 400));
    assert_true(admits(g, v4(2), "alice", "right", 400));
    assert_true(guard_lift(g, "10.0.1.200", 400));
    assert_true(admits(g, v4(1), "alice", "right", 400));
    assert_true(guard_lift(g, "passwords", 400));
    assert_true(admits(g, v4(2), "erin", "spray", 400));
    place = 0;
    assert_false(guard_list(g, &lock, &place, 400));
    /* what was lifted begins anew */
    assert_false(fail_once(g, v4(1), "alice", "d", 401).locked[GUARD_ACCOUNT]);
    guard_free(g);
}

static void a_login_that_looks_like_a_network_is_lifted_by_its_name(void **state)
{
    (void)state;
    struct guard *g = guard_new(&three, key);
    for (unsigned k = 0; k < 3; k++)
        fail_once(g, v4(10 + k), "10.9.9.9", (char[]){(char)('a' + k), '\0'}, 0);
    assert_true(guard_lift(g, "10.9.9.9", 0));
    assert_true(admits(g, v4(1), "10.9.9.9", "right", 0));
    guard_free(g);
}

static void without_a_lock_out_nobody_is_kept_out(void **state)
{
    (void)state;
    const struct guard_rule off = {.failure_delay_ms = 1000};
    struct guard *g = guard_new(&off, key);
    char secret[16];
    for (unsigned i = 0; i < 1000; i++) {
        snprintf(secret, sizeof secret, "guess%u", i);
        struct guard_failure f = fail_once(g, v4(1), "alice", secret, 0);
        assert_false(f.locked[GUARD_NETWORK] || f.locked[GUARD_ACCOUNT]);
        assert_in_range(f.delay_ms, 1000, 16000);
    }
    assert_true(admits(g, v4(1), "alice", "right", 0));
    guard_free(g);
}

static void a_reload_keeps_counts_and_lock_outs(void **state)
{
    (void)state;
    const struct guard_rule two = {.lockout = 2, .period_ms = 1000};
    struct guard *g = guard_new(&three, key);
    for (int k = 0; k < 3; k++)
        fail_once(g, v4(1), "alice", (char[]){(char)('a' + k), '\0'}, 0);
    fail_once(g, v4(2), "bob", "a", 0);
    guard_measure(g, &two);
    assert_false(admits(g, v4(3), "alice", "right", 1));
    assert_true(fail_once(g, v4(2), "bob", "b", 1).locked[GUARD_ACCOUNT]);
    guard_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refusals_wait_longer_and_longer),
        cmocka_unit_test(distinct_wrong_passwords_lock_network_and_account),
        cmocka_unit_test(a_phone_with_an_old_password_is_one_strike),
        cmocka_unit_test(without_a_known_password_each_failure_is_one_of_its_own),
        cmocka_unit_test(a_success_takes_the_accounts_strikes_back),
        cmocka_unit_test(an_account_of_his_own_does_not_help_a_guesser),
        cmocka_unit_test(the_owner_gets_in_while_his_account_is_locked_out),
        cmocka_unit_test(known_as_good_is_one_account_of_one_network),
        cmocka_unit_test(who_guesses_from_where_the_owner_is_known_has_no_more_guesses),
        cmocka_unit_test(a_loopback_network_is_never_locked_out),
        cmocka_unit_test(one_password_for_many_accounts_is_locked_out_itself),
        cmocka_unit_test(a_thousand_sources_guess_at_one_account_and_its_owner_logs_in),
        cmocka_unit_test(one_source_guesses_at_a_thousand_accounts_and_their_owners_log_in),
        cmocka_unit_test(a_thousand_sources_try_one_password_on_a_thousand_accounts),
        cmocka_unit_test(five_thousand_addresses_of_a_64_are_one_source),
        cmocka_unit_test(all_networks_of_a_48_have_four_times_as_many_guesses),
        cmocka_unit_test(lock_outs_are_listed_and_lifted),
        cmocka_unit_test(a_login_that_looks_like_a_network_is_lifted_by_its_name),
        cmocka_unit_test(without_a_lock_out_nobody_is_kept_out),
        cmocka_unit_test(a_reload_keeps_counts_and_lock_outs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
