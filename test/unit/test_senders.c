#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sys/stat.h>
#include <unistd.h>

#include "auth/sender_list.h"
#include "auth/senders.h"
#include "auth/users.h"

static struct senders *parse(const char *text)
{
    char error[SENDERS_ERROR_MAX] = "";
    size_t len = strlen(text);
    char *fit = malloc(len > 0 ? len : 1);
    memcpy(fit, text, len);
    struct senders *s = senders_parse(fit, len, "senders", error);
    free(fit);
    if (s == NULL)
        fail_msg("%s", error);
    return s;
}

static void refuse(const char *text, size_t len, const char *expected)
{
    char error[SENDERS_ERROR_MAX] = "";
    struct senders *s = senders_parse(text, len, "senders", error);
    if (s != NULL)
        fail_msg("taken: %s", text);
    if (strstr(error, expected) == NULL)
        fail_msg("\"%s\" is not in: %s", expected, error);
    assert_null(strchr(error, '\n'));
}

#define REFUSE(literal, expected) refuse((literal), sizeof(literal) - 1, (expected))

static bool allows(const char *text, const char *login, const char *address)
{
    struct senders *s = parse(text);
    const bool yes = senders_allows(s, NULL, login, address);
    senders_release(s);
    return yes;
}

static void a_login_sends_as_what_is_listed_for_it(void **state)
{
    (void)state;
    static const char text[] = "# who may be whom\n\nalice: alice@example.org, sales@example.org\n"
                               "bob bob@example.org\tboss@example.org\n";
    assert_true(allows(text, "alice", "alice@example.org"));
    assert_true(allows(text, "alice", "sales@example.org"));
    assert_false(allows(text, "alice", "bob@example.org"));
    assert_false(allows(text, "alice", "boss@example.org"));
    assert_true(allows(text, "bob", "bob@example.org"));
    assert_true(allows(text, "bob", "boss@example.org"));
    assert_false(allows(text, "bob", "alice@example.org"));
    assert_false(allows(text, "carol", "alice@example.org"));
    assert_false(allows(text, "Alice", "alice@example.org"));
    assert_false(allows(text, "", "alice@example.org"));
}

static void the_null_path_is_always_allowed(void **state)
{
    (void)state;
    assert_true(allows("", "alice", ""));
    assert_true(senders_allows(NULL, NULL, "alice", ""));
}

static void what_no_file_lists_is_not_allowed(void **state)
{
    (void)state;
    assert_false(senders_allows(NULL, NULL, "alice", "alice@example.org"));
    assert_false(allows("", "alice@example.org", "alice@example.org"));
}

static void domains_are_compared_in_any_case_and_local_parts_as_they_are(void **state)
{
    (void)state;
    assert_true(allows("a: Alice@Example.ORG", "a", "Alice@eXAMPLE.org"));
    assert_false(allows("a: Alice@Example.ORG", "a", "alice@example.org"));
    assert_false(allows("a: alice@example.org", "a", "Alice@example.org"));
    /* only ASCII has a case here; look-alikes are others */
    assert_true(allows("a: a@b\xc3\xbc.example", "a", "a@B\xc3\xbc.example"));
    assert_false(allows("a: a@b\xc3\xbc.example", "a", "a@b\xc3\x9c.example"));
    assert_false(allows("a: ceo@example.org", "a", "c\xd0\xb5o@example.org"));
}

static void an_address_is_matched_whole(void **state)
{
    (void)state;
    static const char *const others[] = {
        "alice@example.or",
        "alice@example.orgx",
        "alice@example.org.evil.test",
        "alice@xexample.org",
        "xalice@example.org",
        "alicex@example.org",
        "lice@example.org",
        "alice@sub.example.org",
        "alic@example.org",
        "alice",
        "@example.org",
        "alice@",
        "alice@example",
    };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        if (allows("a: alice@example.org", "a", others[i]))
            fail_msg("allowed: %s", others[i]);
    }
}

static void a_domain_stands_for_everyone_in_it(void **state)
{
    (void)state;
    static const char text[] = "a: @example.org";
    assert_true(allows(text, "a", "anybody@EXAMPLE.org"));
    assert_true(allows(text, "a", "\"quoted one\"@example.org"));
    assert_false(allows(text, "a", "anybody@sub.example.org"));
    assert_false(allows(text, "a", "anybody@notexample.org"));
    /* the domain is behind the last @, not in a quoted local part */
    assert_false(allows(text, "a", "\"x@example.org\"@evil.test"));
    assert_true(allows(text, "a", "\"x@evil.test\"@example.org"));
    assert_true(allows("a: @[192.0.2.1]", "a", "x@[192.0.2.1]"));
    assert_false(allows("a: @[192.0.2.1]", "a", "x@[192.0.2.11]"));
}

static void a_star_stands_for_everyone(void **state)
{
    (void)state;
    assert_true(allows("relay *", "relay", "anybody@any.where"));
    assert_false(allows("relay *", "other", "anybody@any.where"));
}

static void a_login_may_hold_blanks_and_stand_on_several_lines(void **state)
{
    (void)state;
    static const char text[] = "mary jane: mary@example.org\nz: z@example.org\n"
                               "mary jane : jane@example.org\nmary: m@example.org\n"
                               "\tuser@example.org:\tu@example.org ,v@example.org,\n";
    assert_true(allows(text, "mary jane", "mary@example.org"));
    assert_true(allows(text, "mary jane", "jane@example.org"));
    assert_false(allows(text, "mary jane", "m@example.org"));
    assert_true(allows(text, "mary", "m@example.org"));
    assert_true(allows(text, "user@example.org", "v@example.org"));
}

static void a_colon_in_an_address_does_not_end_the_login(void **state)
{
    (void)state;
    assert_true(allows("a x@[IPv6:2001:db8::1]", "a", "x@[ipv6:2001:DB8::1]"));
    assert_true(allows("a:x@[IPv6:2001:db8::1]", "a", "x@[IPv6:2001:db8::1]"));
    REFUSE("mary jane:m@example.org", "no sound local part");
}

static void a_bad_line_is_named(void **state)
{
    (void)state;
    REFUSE("# x\na: a@b.test\nbob\n", "senders:3: the line of \"bob\": no address");
    REFUSE("bob:\n", "no address");
    REFUSE("bob: ,\n", "no address");
    REFUSE(": a@b.test\n", "senders:1: the login is empty");
    REFUSE("a: b\n", "holds no @");
    REFUSE("a: a@b.test # note\n", "holds no @");
    REFUSE("a: *@b.test\n", "write @domain");
    REFUSE("a: a*@b.test\n", "write @domain");
    REFUSE("a: \"a@b.test\"\n", "needs quotes");
    REFUSE("a: a\\@b@b.test\n", "needs quotes");
    REFUSE("a: a@b@c.test\n", "no sound domain");
    REFUSE("a: @\n", "no sound domain");
    REFUSE("a: a@\n", "no sound domain");
    REFUSE("a: a@b.test.\n", "no sound domain");
    REFUSE("a: a@.b\n", "no sound domain");
    REFUSE("a: a@b..c\n", "no sound domain");
    REFUSE("a: @*\n", "no sound domain");
    REFUSE("a: a@[1.2.3.4\n", "no sound domain");
    REFUSE("a: a@[]\n", "no sound domain");
    REFUSE("a: a@[1]x\n", "no sound domain");
    REFUSE("a: .a@b.test\n", "no sound local part");
    REFUSE("a: a.@b.test\n", "no sound local part");
    REFUSE("a: <a@b.test>\n", "no sound");
    REFUSE("a: \xff@b.test\n", "not UTF-8");
    REFUSE("\xff: a@b.test\n", "the login is not UTF-8");
    REFUSE("a: a@b.test\r\n", "a carriage return");
    REFUSE("a: a@b.test\0\n", "a control character");
    REFUSE("a\x7f: a@b.test\n", "a control character");
}

static void addresses_have_their_lengths(void **state)
{
    (void)state;
    char list[400];

    memset(list, 'x', sizeof list);
    memcpy(list + 64, "@b.test", 8);
    assert_null(sender_list_fault(list));
    memset(list, 'x', 70);
    memcpy(list + 65, "@b.test", 8);
    assert_non_null(sender_list_fault(list));
    memset(list, 'x', sizeof list);
    list[0] = '@';
    list[256] = '\0';
    assert_null(sender_list_fault(list));
    list[256] = 'x';
    list[257] = '\0';
    assert_non_null(sender_list_fault(list));
}

static void the_third_field_of_the_users_file_counts_as_well(void **state)
{
    (void)state;
    static const char text[] = "alice:!:alice@example.org,@example.net\nbob:!\n";
    char error[USERS_ERROR_MAX];
    struct users *u = users_parse(text, sizeof text - 1, "users", error);
    struct senders *s = parse("alice: a2@example.org\nbob: bob@example.org\ncarol: *");

    assert_non_null(u);
    assert_true(senders_allows(NULL, u, "alice", "alice@EXAMPLE.org"));
    assert_true(senders_allows(NULL, u, "alice", "x@example.net"));
    assert_false(senders_allows(NULL, u, "alice", "a2@example.org"));
    assert_true(senders_allows(s, u, "alice", "a2@example.org"));
    assert_true(senders_allows(s, u, "alice", "x@example.net"));
    assert_false(senders_allows(NULL, u, "bob", "bob@example.org"));
    assert_true(senders_allows(s, u, "bob", "bob@example.org"));
    assert_true(senders_allows(s, u, "carol", "any@where.test"));
    assert_false(senders_allows(s, u, "dave", "any@where.test"));
    users_release(u);
    senders_release(s);
}

static void many_logins_are_told_apart(void **state)
{
    (void)state;
    enum { COUNT = 500 };
    char *text = malloc(COUNT * 40);
    size_t len = 0;

    for (int i = 0; i < COUNT; i++)
        len += (size_t)sprintf(text + len, "u%d: a%d@example.org\n", (i * 7919) % COUNT,
                               (i * 7919) % COUNT);
    struct senders *s = parse(text);
    for (int i = 0; i < COUNT; i++) {
        char login[16], own[32], other[32];
        snprintf(login, sizeof login, "u%d", i);
        snprintf(own, sizeof own, "a%d@example.org", i);
        snprintf(other, sizeof other, "a%d@example.org", (i + 1) % COUNT);
        assert_true(senders_allows(s, NULL, login, own));
        assert_false(senders_allows(s, NULL, login, other));
    }
    senders_release(s);
    free(text);
}

static void every_prefix_of_a_file_is_taken_or_refused_with_a_sentence(void **state)
{
    (void)state;
    static const char text[] = "# c\nalice: a@b.test, @c.test\nmary jane: *\n\nbob b@[IPv6:::1]\n";
    for (size_t n = 0; n < sizeof text; n++) {
        char error[SENDERS_ERROR_MAX] = "";
        char *fit = malloc(n > 0 ? n : 1);
        memcpy(fit, text, n);
        struct senders *s = senders_parse(fit, n, "senders", error);
        assert_true((s == NULL) == (error[0] != '\0'));
        senders_release(s);
        free(fit);
    }
}

static void a_snapshot_lives_as_long_as_it_is_held(void **state)
{
    (void)state;
    struct senders *s = parse("a: *");
    struct senders *held = senders_hold(s);
    senders_release(s);
    assert_true(senders_allows(held, NULL, "a", "x@y.test"));
    senders_release(held);
    senders_release(NULL);
}

static void a_file_is_loaded_or_its_fault_told(void **state)
{
    (void)state;
    char path[] = "/tmp/test_senders.XXXXXX";
    char error[SENDERS_ERROR_MAX] = "";
    const int fd = mkstemp(path);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, "a: x@y.test\n", 12), 12);
    struct senders *s = senders_load(path, error);
    assert_non_null(s);
    assert_true(senders_allows(s, NULL, "a", "x@y.test"));
    senders_release(s);
    assert_int_equal(write(fd, "b\n", 2), 2);
    close(fd);
    assert_null(senders_load(path, error));
    assert_non_null(strstr(error, path));
    assert_non_null(strstr(error, ":2: "));
    unlink(path);
    assert_null(senders_load(path, error));
    assert_non_null(strstr(error, "cannot be read: No such file"));
    assert_null(senders_load("/tmp", error));
    assert_non_null(strstr(error, "not a plain file"));
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_null(senders_load(path, error)); /* and it does not hang */
    assert_non_null(strstr(error, "not a plain file"));
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_login_sends_as_what_is_listed_for_it),
        cmocka_unit_test(the_null_path_is_always_allowed),
        cmocka_unit_test(what_no_file_lists_is_not_allowed),
        cmocka_unit_test(domains_are_compared_in_any_case_and_local_parts_as_they_are),
        cmocka_unit_test(an_address_is_matched_whole),
        cmocka_unit_test(a_domain_stands_for_everyone_in_it),
        cmocka_unit_test(a_star_stands_for_everyone),
        cmocka_unit_test(a_login_may_hold_blanks_and_stand_on_several_lines),
        cmocka_unit_test(a_colon_in_an_address_does_not_end_the_login),
        cmocka_unit_test(a_bad_line_is_named),
        cmocka_unit_test(addresses_have_their_lengths),
        cmocka_unit_test(the_third_field_of_the_users_file_counts_as_well),
        cmocka_unit_test(many_logins_are_told_apart),
        cmocka_unit_test(every_prefix_of_a_file_is_taken_or_refused_with_a_sentence),
        cmocka_unit_test(a_snapshot_lives_as_long_as_it_is_held),
        cmocka_unit_test(a_file_is_loaded_or_its_fault_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
