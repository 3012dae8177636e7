#include "auth/realm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

struct row {
    const char *login;
    const char *name; /* NULL: refused */
};

static void expect(const struct realm_rule *rule, const struct row *rows)
{
    for (; rows->login != NULL; rows++) {
        char out[SASL_LOGIN_MAX + 1] = "before";
        const bool ours = realm_apply(rule, out, rows->login);
        if (ours != (rows->name != NULL))
            fail_msg("\"%s\" is %s", rows->login, ours ? "ours" : "refused");
        if (ours)
            assert_string_equal(out, rows->name);
        memcpy(out, rows->login, strlen(rows->login) + 1); /* and in place */
        assert_int_equal(realm_apply(rule, out, out), ours);
        if (ours)
            assert_string_equal(out, rows->name);
    }
}

static void without_a_rule_a_login_stays_as_it_is(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"alice", "alice"}, {"Alice@Example.COM", "Alice@Example.COM"},
        {"a@b@c", "a@b@c"}, {"@", "@"},
        {"", NULL},         {NULL, NULL}};
    expect(&(struct realm_rule){.default_realm = NULL}, rows);
}

static void a_default_realm_is_added_where_there_is_none(void **state)
{
    (void)state;
    static const struct row rows[] = {{"alice", "alice@example.com"},
                                      {"alice@example.com", "alice@example.com"},
                                      {"alice@other.test", "alice@other.test"},
                                      {"", NULL},
                                      {NULL, NULL}};
    expect(&(struct realm_rule){.default_realm = "example.com"}, rows);
}

static void strip_without_a_realm_takes_any_domain_off(void **state)
{
    (void)state;
    static const struct row rows[] = {{"alice", "alice"},
                                      {"alice@example.com", "alice"},
                                      {"a@b@c", NULL},
                                      {"alice@", "alice"},
                                      {"@example.com", NULL},
                                      {"@", NULL},
                                      {"", NULL},
                                      {NULL, NULL}};
    expect(&(struct realm_rule){.domain = REALM_STRIP}, rows);
}

static void strip_with_a_realm_refuses_other_domains(void **state)
{
    (void)state;
    static const struct row rows[] = {{"alice", "alice"},
                                      {"alice@example.com", "alice"},
                                      {"alice@EXAMPLE.com", "alice"},
                                      {"alice@other.test", NULL},
                                      {"alice@example.com.other.test", NULL},
                                      {"alice@xexample.com", NULL},
                                      {"alice@example.co", NULL},
                                      {"alice@example.com@other.test", NULL},
                                      {"alice@other.test@example.com", NULL},
                                      {"alice@", NULL},
                                      {"@example.com", NULL},
                                      {NULL, NULL}};
    expect(&(struct realm_rule){.domain = REALM_STRIP, .default_realm = "example.com"}, rows);
}

static void ascii_letters_alone_go_to_lower_case(void **state)
{
    (void)state;
    static const struct row rows[] = {{"ALICE", "alice@example.com"},
                                      {"Al\xc3\x84z@B.Test", "al\xc3\x84z@b.test"},
                                      {"[\\]^_`{|}", "[\\]^_`{|}@example.com"},
                                      {NULL, NULL}};
    expect(&(struct realm_rule){.lower = true, .default_realm = "example.com"}, rows);
    static const struct row stripped[] = {{"ALICE@Example.Com", "alice"}, {NULL, NULL}};
    expect(&(struct realm_rule){.lower = true, .domain = REALM_STRIP}, stripped);
}

static void what_becomes_too_long_is_refused_not_cut(void **state)
{
    (void)state;
    char login[SASL_LOGIN_MAX + 8], out[SASL_LOGIN_MAX + 1];
    const struct realm_rule add = {.default_realm = "b.test"}, strip = {.domain = REALM_STRIP};
    memset(login, 'a', sizeof login);
    login[SASL_LOGIN_MAX - 7] = '\0';
    assert_true(realm_apply(&add, out, login));
    assert_int_equal(strlen(out), SASL_LOGIN_MAX);
    login[SASL_LOGIN_MAX - 7] = 'a';
    login[SASL_LOGIN_MAX - 6] = '\0';
    assert_false(realm_apply(&add, out, login));
    login[SASL_LOGIN_MAX - 6] = 'a';
    login[SASL_LOGIN_MAX] = '\0';
    assert_true(realm_apply(&strip, out, login));
    login[SASL_LOGIN_MAX] = 'a';
    login[SASL_LOGIN_MAX + 1] = '\0';
    assert_false(realm_apply(&strip, out, login));
    memcpy(login + SASL_LOGIN_MAX, "@b", 3);
    assert_true(realm_apply(&strip, out, login));
}

static void who_was_named_keeps_his_name(void **state)
{
    (void)state;
    static const struct realm_rule rules[] = {
        {.default_realm = NULL}, {.default_realm = "example.com"},
        {.domain = REALM_STRIP}, {.domain = REALM_STRIP, .default_realm = "example.com"},
        {.lower = true},
    };
    static const char *const logins[] = {
        "alice", "Alice@example.com", "bob@Example.com", "a@b@c", "@", "a@@b"};
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        for (size_t k = 0; k < sizeof logins / sizeof *logins; k++) {
            char once[SASL_LOGIN_MAX + 1], twice[SASL_LOGIN_MAX + 1];
            if (!realm_apply(&rules[i], once, logins[k]))
                continue;
            assert_true(realm_apply(&rules[i], twice, once));
            assert_string_equal(once, twice);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_rule_a_login_stays_as_it_is),
        cmocka_unit_test(a_default_realm_is_added_where_there_is_none),
        cmocka_unit_test(strip_without_a_realm_takes_any_domain_off),
        cmocka_unit_test(strip_with_a_realm_refuses_other_domains),
        cmocka_unit_test(ascii_letters_alone_go_to_lower_case),
        cmocka_unit_test(what_becomes_too_long_is_refused_not_cut),
        cmocka_unit_test(who_was_named_keeps_his_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
