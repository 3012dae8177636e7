#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/path.h"
#include "proxy/recipients.h"

static const char *const domains[] = {"lab.test", "xn--bcher-kva.example", "dotted.test."};

enum { UNPARSED = -1 };

/* What becomes of RCPT TO: and this. */
static int judge(const char *text)
{
    struct path path;
    size_t used;

    if (path_parse(&path, &used, text, strlen(text), PATH_FORWARD) != PATH_OK ||
        used != strlen(text))
        return UNPARSED;
    return (int)recipients_judge(&path, domains, sizeof domains / sizeof *domains);
}

static void expect_all(int expected, const char *const *texts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int got = judge(texts[i]);
        if (got != expected)
            fail_msg("%s: %d, not %d", texts[i], got, expected);
    }
}

#define EXPECT_ALL(expected, table) expect_all(expected, table, sizeof table / sizeof *table)

static void plain_recipients_of_listed_domains_are_fine(void **state)
{
    (void)state;
    static const char *const table[] = {
        "<user@lab.test>",       "<User.Name+tag@LAB.Test>",     "<o'brien_1#x*y?z~^=a@lab.test>",
        "<a-b@lab.test>",        "<user@xn--bcher-kva.example>", "<user@dotted.test>",
        "<\"plain\"@lab.test>", /* the quotes are not needed and gone */
        "<postmaster@lab.test>", "<@remote.test:user@lab.test>", /* the route is dropped */
    };
    EXPECT_ALL(RECIPIENTS_OK, table);
}

static void postmaster_needs_no_domain(void **state)
{
    (void)state;
    static const char *const table[] = {"<postmaster>", "<Postmaster>", "<POSTMASTER>"};
    EXPECT_ALL(RECIPIENTS_OK, table);
}

/* Each of them was routed outward by an MTA when localhost asked. */
static void what_mtas_take_for_a_route_is_refused(void **state)
{
    (void)state;
    static const char *const table[] = {
        "<user%remote.test@lab.test>",
        "<\"user@remote.test\"@lab.test>",
        "<\"user%remote.test\"@lab.test>",
        "<remote.test!user@lab.test>",
        "<\"remote.test!user\"@lab.test>",
        "<\"user\\@remote.test\"@lab.test>",
        "<user%remote.test%other.test@lab.test>",
        "<%@lab.test>",
        "<!@lab.test>",
        "<\"@remote.test:user\"@lab.test>",
        "<\"user:remote\"@lab.test>",
    };
    EXPECT_ALL(RECIPIENTS_SYNTAX, table);
}

static void what_is_no_path_never_gets_here(void **state)
{
    (void)state;
    static const char *const table[] = {
        "<user@remote.test@lab.test>",
        "<user\\@remote.test@lab.test>",
        "<user@remote.test(c)@lab.test>",
        "<user(@lab.test)@remote.test>",
        "<remote.test!user>",
        "<user%remote.test>",
        "<\"user@remote.test\">",
        "<user@lab.test,user2@remote.test>",
        "\"user@lab.test\" <user@remote.test>",
        "u <user@remote.test>",
        "<<user@remote.test>>",
        "<>",
        "<user@lab.test.>",
        "<\"\"@lab.test>",
        "<user>",
    };
    EXPECT_ALL(UNPARSED, table);
}

static void foreign_domains_are_not_relayed_to(void **state)
{
    (void)state;
    static const char *const table[] = {
        "<user@remote.test>",
        "<user@sub.lab.test>",
        "<user@xlab.test>",
        "<user@lab.tes>",
        "<user@lab.testx>",
        "<user@test>",
        "<user@localhost>",
        "<postmaster@remote.test>",
        "<user@b\xc3\xbc"
        "cher.example>", /* the A-label is listed, this is not */
        "<user@l\xc3\xa4"
        "b.test>", /* a look-alike */
        "<user%lab.test@remote.test>",
        "<@lab.test:user@remote.test>",
    };
    EXPECT_ALL(RECIPIENTS_RELAY, table);
}

static void literals_are_not_relayed_to(void **state)
{
    (void)state;
    static const char *const table[] = {
        "<user@[127.0.0.1]>",
        "<user%remote.test@[127.0.0.1]>",
        "<user@[IPv6:::1]>",
    };
    EXPECT_ALL(RECIPIENTS_RELAY, table);
}

static void a_literal_is_not_relayed_to_even_if_listed(void **state)
{
    (void)state;
    static const char *const literals[] = {"[127.0.0.1]"};
    struct path path;
    size_t used;

    assert_int_equal(path_parse(&path, &used, "<user@[127.0.0.1]>", 18, PATH_FORWARD), PATH_OK);
    assert_int_equal(recipients_judge(&path, literals, 1), RECIPIENTS_RELAY);
}

static void pipes_files_options_and_expansions_are_refused(void **state)
{
    (void)state;
    static const char *const table[] = {
        "<|sh@lab.test>",
        "<\"|/bin/sh\"@lab.test>",
        "</etc/passwd@lab.test>",
        "<\"/etc/passwd\"@lab.test>",
        "<a/b@lab.test>",
        "<-bs@lab.test>",
        "<-@lab.test>",
        "<${run{sh}}@lab.test>",
        "<$x@lab.test>",
        "<a`b`@lab.test>",
        "<a&b@lab.test>",
        "<a{b@lab.test>",
        "<a}b@lab.test>",
        "<\":include:/etc/passwd\"@lab.test>",
        "<\"a b\"@lab.test>",
        "<\"a;b\"@lab.test>",
        "<\"a\\\\b\"@lab.test>",
        "<\"a\\\"b\"@lab.test>",
        "<\"a,b\"@lab.test>",
        "<\"a(b)\"@lab.test>",
        "<\"a.\"@lab.test>",
        "<\".a\"@lab.test>",
        "<\"a..b\"@lab.test>",
        "<b\xc3\xbc"
        "cher@lab.test>",
    };
    EXPECT_ALL(RECIPIENTS_SYNTAX, table);
}

/* Of all octets that path_parse can let through in a local part, alone and inside. */
static void no_special_octet_gets_through(void **state)
{
    (void)state;
    static const char fine[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                               "#'*+-=?^_~";
    for (int c = 1; c < 256; c++) {
        char text[64];
        snprintf(text, sizeof text, "<a%cb@lab.test>", c);
        const int bare = judge(text);
        snprintf(text, sizeof text, "<\"a%cb\"@lab.test>", c);
        const int quoted = judge(text);
        if (strchr(fine, c) != NULL || c == '.')
            assert_true(bare == RECIPIENTS_OK && quoted == RECIPIENTS_OK);
        else if (c == '\\') /* in quotes it only says that a b follows */
            assert_true(bare != RECIPIENTS_OK && quoted == RECIPIENTS_OK);
        else
            assert_true(bare != RECIPIENTS_OK && quoted != RECIPIENTS_OK);
    }
}

static void an_empty_list_is_nobody_but_postmaster(void **state)
{
    (void)state;
    struct path path;
    size_t used;
    static const char *const blank[] = {"", "."};

    path_parse(&path, &used, "<a@lab.test>", 12, PATH_FORWARD);
    assert_int_equal(recipients_judge(&path, NULL, 0), RECIPIENTS_RELAY);
    assert_int_equal(recipients_judge(&path, blank, 2), RECIPIENTS_RELAY);
    path_parse(&path, &used, "<postmaster>", 12, PATH_FORWARD);
    assert_int_equal(recipients_judge(&path, NULL, 0), RECIPIENTS_OK);
}

static void the_null_path_is_nobody(void **state)
{
    (void)state;
    struct path path;
    size_t used;

    assert_int_equal(path_parse(&path, &used, "<>", 2, PATH_REVERSE), PATH_OK);
    assert_int_equal(recipients_judge(&path, domains, 3), RECIPIENTS_RELAY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_recipients_of_listed_domains_are_fine),
        cmocka_unit_test(postmaster_needs_no_domain),
        cmocka_unit_test(what_mtas_take_for_a_route_is_refused),
        cmocka_unit_test(what_is_no_path_never_gets_here),
        cmocka_unit_test(foreign_domains_are_not_relayed_to),
        cmocka_unit_test(literals_are_not_relayed_to),
        cmocka_unit_test(a_literal_is_not_relayed_to_even_if_listed),
        cmocka_unit_test(pipes_files_options_and_expansions_are_refused),
        cmocka_unit_test(no_special_octet_gets_through),
        cmocka_unit_test(an_empty_list_is_nobody_but_postmaster),
        cmocka_unit_test(the_null_path_is_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
