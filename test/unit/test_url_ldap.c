#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "auth/url_ldap.h"

static struct url_ldap parsed(const char *rest)
{
    char error[URL_SPEC_ERROR_MAX];
    struct url_ldap u;

    if (!url_ldap_parse(&u, rest, error))
        fail_msg("%s: %s", rest, error);
    return u;
}

static void expect_name(const char *rest, const char *login, const char *expected)
{
    const struct url_ldap u = parsed(rest);
    char *name = url_ldap_name(&u, login);

    assert_string_equal(name, expected);
    free(name);
}

static void expect_filter(const char *rest, const char *login, const char *expected)
{
    const struct url_ldap u = parsed(rest);
    char *filter = url_ldap_filter(&u, login);

    assert_true(u.search);
    assert_string_equal(filter, expected);
    free(filter);
}

static void a_login_becomes_a_name(void **state)
{
    (void)state;
    expect_name("/uid=%u,ou=people,dc=x", "alice", "uid=alice,ou=people,dc=x");
    expect_name("/uid=%n,ou=%d,dc=x", "a@b@c.example", "uid=a@b,ou=c.example,dc=x");
    expect_name("/uid=%n,ou=%d,dc=x", "alice", "uid=alice,ou=,dc=x");
    expect_name("/%u", "alice@example.com", "alice@example.com");
    expect_name("/cn=a%20b%25%u%41", "x", "cn=a b%xA");
    expect_name("/cn=%u,ou=%dc", "x", "cn=x,ou=\xdc"); /* an octet, not a domain */
}

static void what_means_something_in_a_name_is_escaped(void **state)
{
    (void)state;
    expect_name("/uid=%u,dc=x", "alice,ou=people", "uid=alice\\2cou\\3dpeople,dc=x");
    expect_name("/uid=%u,dc=x", "a+cn=b", "uid=a\\2bcn\\3db,dc=x");
    expect_name("/uid=%u,dc=x", "a\\2c", "uid=a\\5c2c,dc=x");
    expect_name("/uid=%u,dc=x", "\"a\"<>;#", "uid=\\22a\\22\\3c\\3e\\3b\\23,dc=x");
    expect_name("/uid=%u,dc=x", "a b", "uid=a\\20b,dc=x");
    expect_name("/uid=%u,dc=x", "\xc3\xa4", "uid=\\c3\\a4,dc=x");
    expect_name("/uid=%u,dc=x", "%u%d", "uid=%u%d,dc=x"); /* is not filled in again */
}

static void a_search_has_a_base_an_attribute_a_scope_and_a_filter(void **state)
{
    (void)state;
    struct url_ldap u = parsed("/dc=x?mail?one?(mail=%u)");

    assert_string_equal(u.name, "dc=x");
    assert_string_equal(u.attribute, "mail");
    assert_int_equal(u.scope, URL_LDAP_ONE);
    assert_int_equal(parsed("/dc=x?").scope, URL_LDAP_SUB);
    assert_int_equal(parsed("/dc=x?uid?BASE").scope, URL_LDAP_BASE);
    assert_string_equal(parsed("/dc=x??").attribute, "uid");
    assert_false(parsed("/uid=%u,dc=x").search);
    assert_true(url_ldap_base_varies(&(struct url_ldap){.name = "dc=\3"}));
    u = parsed("/dc=x?uid");
    assert_false(url_ldap_base_varies(&u));
    u = parsed("/ou=%d,dc=x?uid");
    assert_true(url_ldap_base_varies(&u));
}

static void a_filter_without_a_login_is_joined_with_one(void **state)
{
    (void)state;
    expect_filter("/dc=x?", "alice", "(uid=alice)");
    expect_filter("/dc=x?cn", "alice", "(cn=alice)");
    expect_filter("/dc=x?uid?sub?(objectClass=person)", "alice",
                  "(&(objectClass=person)(uid=alice))");
    expect_filter("/dc=x?uid?sub?(|(uid=%u)(mail=%u))", "alice", "(|(uid=alice)(mail=alice))");
    expect_filter("/dc=x?uid?sub?(&(uid=%n)(o=%d))", "alice@b", "(&(uid=alice)(o=b))");
}

static void what_means_something_in_a_filter_is_escaped(void **state)
{
    (void)state;
    expect_filter("/dc=x?", "*", "(uid=\\2a)");
    expect_filter("/dc=x?", "*)(uid=*", "(uid=\\2a\\29\\28uid=\\2a)");
    expect_filter("/dc=x?", "a\\2a", "(uid=a\\5c2a)");
    expect_filter("/dc=x?", "\xc3\xa4", "(uid=\\c3\\a4)");
    expect_filter("/dc=x?", "%u", "(uid=%u)");
    expect_filter("/dc=x?uid?sub?(uid=%n)", "a)(b@c", "(uid=a\\29\\28b)");
}

static void what_would_be_no_question_gets_half_a_sentence(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",
        "/",
        "/ou=people,dc=x",
        "/uid=%d,dc=x",
        "/uid=%x,dc=x",
        "/uid=%,dc=x",
        "/uid=%u%0a",
        "/uid=%u%00",
        "/dc=x?uid,cn",
        "/dc=x?uid?tree",
        "/dc=x?uid?su",
        "/dc=x?uid?sub?uid=%u",
        "/dc=x?uid?sub?(uid=%u)?x",
        "/dc=x?u(d",
        "/dc=x?uid?sub?(uid=%q)",
        "/dc=x?uid?sub?(a=%0d)",
    };
    char error[URL_SPEC_ERROR_MAX], longest[URL_LDAP_TEMPLATE_MAX + 8] = "/%u";
    struct url_ldap u;

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        error[0] = '\0';
        if (url_ldap_parse(&u, wrong[i], error))
            fail_msg("%s was taken", wrong[i]);
        assert_true(strlen(error) > 20);
    }
    memset(longest + 3, 'a', URL_LDAP_TEMPLATE_MAX);
    assert_false(url_ldap_parse(&u, longest, error));
    longest[3 + URL_LDAP_TEMPLATE_MAX - 2] = '\0';
    assert_true(url_ldap_parse(&u, longest, error));
}

static void one_user_has_one_spelling(void **state)
{
    (void)state;
    const struct url_ldap u = parsed("/uid=%u,dc=x"), domain = parsed("/uid=%n,ou=%d");

    assert_true(url_ldap_login_ok(&u, "alice smith", false));
    static const char *const wrong[] = {"",      " alice", "alice ", "al  ice",
                                        "a\x1f", "a\n",    "a\x7f",  "\t"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_false(url_ldap_login_ok(&u, wrong[i], true));
    /* a soft hyphen, full-width letters: to a directory they are alice */
    assert_false(url_ldap_login_ok(&u, "al\xc2\xadice", false));
    assert_true(url_ldap_login_ok(&u, "al\xc2\xadice", true));
    assert_true(url_ldap_login_ok(&domain, "alice@example.com", false));
    assert_false(url_ldap_login_ok(&domain, "alice", false));
    assert_false(url_ldap_login_ok(&domain, "alice@", false));
    assert_false(url_ldap_login_ok(&domain, "@example.com", false));
    assert_false(url_ldap_login_ok(&domain, "alice @example.com", false));
    assert_false(url_ldap_login_ok(&domain, "alice@ example.com", false));
}

static void the_longest_login_fits_everywhere(void **state)
{
    (void)state;
    char template[URL_LDAP_TEMPLATE_MAX + 2] = "/", login[SASL_LOGIN_MAX + 1];
    struct url_ldap u;
    char error[URL_SPEC_ERROR_MAX], *name;

    for (size_t i = 0; i < (URL_LDAP_TEMPLATE_MAX - 1) / 1; i += 2)
        memcpy(template + 1 + i, "%u", 2);
    template[URL_LDAP_TEMPLATE_MAX - 1] = '\0';
    memset(login, ',', SASL_LOGIN_MAX);
    login[SASL_LOGIN_MAX] = '\0';
    assert_true(url_ldap_parse(&u, template, error));
    name = url_ldap_name(&u, login);
    assert_int_equal(strlen(name), strlen(u.name) * 3 * SASL_LOGIN_MAX);
    free(name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_login_becomes_a_name),
        cmocka_unit_test(what_means_something_in_a_name_is_escaped),
        cmocka_unit_test(a_search_has_a_base_an_attribute_a_scope_and_a_filter),
        cmocka_unit_test(a_filter_without_a_login_is_joined_with_one),
        cmocka_unit_test(what_means_something_in_a_filter_is_escaped),
        cmocka_unit_test(what_would_be_no_question_gets_half_a_sentence),
        cmocka_unit_test(one_user_has_one_spelling),
        cmocka_unit_test(the_longest_login_fits_everywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
