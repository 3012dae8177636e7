#include "auth/cache.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const uint8_t key[32] = "0123456789abcdef0123456789abcde";
static char found[SASL_LOGIN_MAX + 1];

static struct sasl_credential *credential(enum sasl_mechanism mechanism, const char *login,
                                          const char *secret)
{
    static struct sasl_credential c;
    memset(&c, 0, sizeof c);
    c.mechanism = mechanism;
    c.login_len = (size_t)snprintf(c.login, sizeof c.login, "%s", login);
    c.secret_len = (size_t)snprintf(c.secret, sizeof c.secret, "%s", secret);
    return &c;
}

static bool find(struct auth_cache *c, const char *login, const char *secret, uint64_t now_ms)
{
    return auth_cache_find(c, found, credential(SASL_PLAIN, login, secret), 1, now_ms);
}

static void keep(struct auth_cache *c, const char *login, const char *secret, uint64_t now_ms)
{
    auth_cache_keep(c, credential(SASL_PLAIN, login, secret), login, 1, now_ms);
}

static void the_same_credential_alone_is_found(void **state)
{
    (void)state;
    struct auth_cache *c = auth_cache_new(1000, key);
    assert_false(find(c, "alice", "secret", 0));
    keep(c, "alice", "secret", 0);
    assert_true(find(c, "alice", "secret", 0));
    assert_string_equal(found, "alice");
    assert_false(find(c, "alice", "Secret", 0));
    assert_false(find(c, "alice", "secrets", 0));
    assert_false(find(c, "alice", "secre", 0));
    assert_false(find(c, "alice", "", 0));
    assert_false(find(c, "bob", "secret", 0));
    assert_false(find(c, "Alice", "secret", 0));
    assert_false(auth_cache_find(c, found, credential(SASL_XOAUTH2, "alice", "secret"), 1, 0));
    auth_cache_free(c);
}

/* Two that read the same once they stand behind each other. */
static void login_and_secret_do_not_run_into_each_other(void **state)
{
    (void)state;
    struct auth_cache *c = auth_cache_new(1000, key);
    keep(c, "alice", "secret", 0);
    assert_false(find(c, "alices", "ecret", 0));
    assert_false(find(c, "alic", "esecret", 0));
    assert_false(find(c, "", "alicesecret", 0));
    assert_false(find(c, "alicesecret", "", 0));
    keep(c, "bob", "", 0);
    assert_false(find(c, "bo", "b", 0));
    auth_cache_free(c);
}

static void one_users_password_does_not_open_anothers_account(void **state)
{
    (void)state;
    struct auth_cache *c = auth_cache_new(1000, key);
    keep(c, "alice", "alices", 0);
    keep(c, "bob", "bobs", 0);
    assert_false(find(c, "alice", "bobs", 0));
    assert_false(find(c, "bob", "alices", 0));
    assert_true(find(c, "bob", "bobs", 0));
    assert_string_equal(found, "bob");
    auth_cache_free(c);
}

static void the_name_that_was_accepted_is_told(void **state)
{
    (void)state;
    struct auth_cache *c = auth_cache_new(1000, key);
    auth_cache_keep(c, credential(SASL_PLAIN, "ALICE", "secret"), "alice@example.com", 1, 0);
    assert_true(find(c, "ALICE", "secret", 0));
    assert_string_equal(found, "alice@example.com");
    auth_cache_free(c);
}

static void it_is_forgotten_in_time_and_use_does_not_make_it_longer(void **state)
{
    (void)state;
    struct auth_cache *c = auth_cache_new(1000, key);
    keep(c, "alice", "secret", 500);
    assert_true(find(c, "alice", "secret", 1499));
    assert_false(find(c, "alice", "secret", 1500));
    assert_false(find(c, "alice", "secret", 600));
    keep(c, "alice", "secret", 2000);
    keep(c, "alice", "secret", 2900); /* checked anew */
    assert_true(find(c, "alice", "secret", 3899));
    auth_cache_free(c);
}

static void another_generation_empties_it(void **state)
{
    (void)state;
    struct auth_cache *c = auth_cache_new(1000, key);
    keep(c, "alice", "secret", 0);
    assert_false(auth_cache_find(c, found, credential(SASL_PLAIN, "alice", "secret"), 2, 0));
    assert_false(find(c, "alice", "secret", 0)); /* and it does not come back */
    keep(c, "alice", "secret", 0);
    auth_cache_keep(c, credential(SASL_PLAIN, "bob", "secret"), "bob", 2, 0);
    assert_false(auth_cache_find(c, found, credential(SASL_PLAIN, "alice", "secret"), 2, 0));
    auth_cache_free(c);
}

static void it_can_be_emptied_and_be_off(void **state)
{
    (void)state;
    struct auth_cache *c = auth_cache_new(1000, key);
    keep(c, "alice", "secret", 0);
    auth_cache_empty(c);
    assert_false(find(c, "alice", "secret", 0));
    auth_cache_free(c);
    c = auth_cache_new(0, key);
    keep(c, "alice", "secret", 0);
    assert_false(find(c, "alice", "secret", 0));
    auth_cache_free(c);
    auth_cache_free(NULL);
}

static void it_is_bounded_and_the_oldest_go_first(void **state)
{
    (void)state;
    struct auth_cache *c = auth_cache_new(100000, key);
    char login[16];
    size_t old = 0, young = 0;
    for (unsigned i = 0; i < 50000; i++) {
        snprintf(login, sizeof login, "user%u", i);
        keep(c, login, "secret", i);
    }
    for (unsigned i = 0; i < 50000; i++) {
        snprintf(login, sizeof login, "user%u", i);
        if (find(c, login, "secret", 50000)) {
            old += i < 25000;
            young += i >= 49000;
        }
    }
    assert_true(old < 100);
    assert_true(young > 950);
    auth_cache_free(c);
}

static bool holds(const void *memory, size_t len, const char *text)
{
    return memmem(memory, len, text, strlen(text)) != NULL;
}

static void neither_login_nor_secret_is_kept(void **state)
{
    (void)state;
    struct auth_cache *c = auth_cache_new(1000, key);
    auth_cache_keep(c, credential(SASL_PLAIN, "alice-in-wonderland", "Tr0ub4dor&3"), "alice", 1, 0);
    /* the table itself, which is far larger than so much */
    assert_false(holds(c, 8192 * 40, "Tr0ub4dor&3"));
    assert_false(holds(c, 8192 * 40, "alice-in-wonderland"));
    auth_cache_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_credential_alone_is_found),
        cmocka_unit_test(login_and_secret_do_not_run_into_each_other),
        cmocka_unit_test(one_users_password_does_not_open_anothers_account),
        cmocka_unit_test(the_name_that_was_accepted_is_told),
        cmocka_unit_test(it_is_forgotten_in_time_and_use_does_not_make_it_longer),
        cmocka_unit_test(another_generation_empties_it),
        cmocka_unit_test(it_can_be_emptied_and_be_off),
        cmocka_unit_test(it_is_bounded_and_the_oldest_go_first),
        cmocka_unit_test(neither_login_nor_secret_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
