#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "auth/utf8.h"
#include "proxy/path.h"

#define A10 "aaaaaaaaaa"
#define A60 A10 A10 A10 A10 A10 A10
#define A63 A60 "aaa"
#define A64 A60 "aaaa"
#define D255 A63 "." A63 "." A63 "." A63

struct example {
    const char *in;
    const char *out;
};

/* Copied to where its end is the end of the memory, so that a look beyond it is seen. */
static enum path_status parse(struct path *out, const char *in, enum path_kind kind, size_t *used)
{
    size_t len = strlen(in);
    char *copy = malloc(len + 1);
    enum path_status status;

    memcpy(copy + 1, in, len);
    status = path_parse(out, used, copy + 1, len, kind);
    free(copy);
    return status;
}

static void expect(const char *in, enum path_kind kind, const char *wanted)
{
    struct path path;
    size_t used;
    enum path_status status = parse(&path, in, kind, &used);

    if (status != PATH_OK || strcmp(path.text, wanted) != 0 || used != strlen(in))
        fail_msg("%s: status %d, \"%s\", used %d", in, status, path.text, (int)used);
}

static void refuse(const char *in, enum path_kind kind, enum path_status wanted)
{
    struct path path;
    size_t used;
    enum path_status status = parse(&path, in, kind, &used);

    if (status != wanted || used != 0)
        fail_msg("%s: status %d, \"%s\"", in, status, path.text);
}

static void mailboxes_come_out_in_canonical_form(void **state)
{
    static const struct example examples[] = {
        {"<a@b>", "a@b"},
        {"<Mixed.Case+tag@Example.ORG>", "Mixed.Case+tag@Example.ORG"},
        {"<!#$%&'*+-/=?^_`{|}~@b.example>", "!#$%&'*+-/=?^_`{|}~@b.example"},
        {"<a@under_score.example>", "a@under_score.example"},
        {"<a@1.2.3.example>", "a@1.2.3.example"},
        {"<a@xn--bcher-kva.example>", "a@xn--bcher-kva.example"},
        {"<\"plain\"@b>", "plain@b"},
        {"<\"pl\\ain\"@b>", "plain@b"},
        {"<\"a b\"@c>", "\"a b\"@c"},
        {"<\"a..b\"@c>", "\"a..b\"@c"},
        {"<\"a@b\"@c>", "\"a@b\"@c"},
        {"<\"a\\@b\"@c>", "\"a@b\"@c"},
        {"<\"a\\\"b\\\\c\"@d>", "\"a\\\"b\\\\c\"@d"},
        {"<\"<>\"@d>", "\"<>\"@d"},
        {"<a@[192.0.2.1]>", "a@[192.0.2.1]"},
        {"<a@[IPv6:2001:db8::1]>", "a@[IPv6:2001:db8::1]"},
        {"<a@[ipv6:::ffff:192.0.2.1]>", "a@[ipv6:::ffff:192.0.2.1]"},
        {"<a@[tag:what-ever]>", "a@[tag:what-ever]"},
        {"<@a:b@c>", "b@c"},
        {"<@a.example,@b.example:c@d.example>", "c@d.example"},
        {"<" A64 "@b>", A64 "@b"},
        {"<a@" A63 ".b>", "a@" A63 ".b"},
        {"<a@" D255 ">", "a@" D255},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(examples) / sizeof(examples[0]); i++) {
        expect(examples[i].in, PATH_FORWARD, examples[i].out);
        expect(examples[i].in, PATH_REVERSE, examples[i].out);
    }
}

static void what_is_no_mailbox_is_refused(void **state)
{
    static const char *const examples[] = {
        "",
        "<",
        ">",
        "a@b",
        "<a@b",
        "a@b>",
        "< a@b>",
        "<a@b >",
        "<<a@b>>",
        "<@>",
        "<a@>",
        "<@b>",
        "<a>",
        "<a.@b>",
        "<.a@b>",
        "<a..b@c>",
        "<a b@c>",
        "<a@b@c>",
        "<a\\@b@c>",
        "<a@b c>",
        "<a@b.>",
        "<a@.b>",
        "<a@b..c>",
        "<a@-b>",
        "<a@b->",
        "<a@b.-c>",
        "<a@b/c>",
        "<a@b%c>",
        "<\"\"@b>",
        "<\"a@b>",
        "<\"a\"b@c>",
        "<a\"b\"@c>",
        "<\"a\".\"b\"@c>",
        "<\"a\\\"@b>",
        "<\"a\tb\"@c>",
        "<\"\\\xc3\xbc\"@b>",
        "<a@[tag:x@y]>",
        "<a@[tag:x%y]>",
        "<\"a\nb\"@c>",
        "<a\nb@c>",
        "<a@b\r>",
        "<a@b\n>",
        "<a\177@b>",
        "<a@[]>",
        "<a@[192.0.2]>",
        "<a@[192.0.2.256]>",
        "<a@[192.0.2.01]>",
        "<a@[192.0.2.1>",
        "<a@192.0.2.1]>",
        "<a@[192.0.2.1]x>",
        "<a@[IPv6:192.0.2.1]>",
        "<a@[IPv6:2001:db8::1::]>",
        "<a@[IPv6:fe80::1%eth0]>",

        "<a@[tag:]>",
        "<a@[tag-:x]>",
        "<a@[tag:x y]>",
        "<a@[tag:x\\]>",
        "<a@[:x]>",
        "<@a>",
        "<@a:>",
        "<@a:@b:c@d>",
        "<@a,b:c@d>",
        "<@a,:c@d>",
        "<@:a@b>",
        "<@[192.0.2.1]:a@b>",
        "<a,b@c>",
        "<a@b,c@d>",
        "<a;b@c>",
        "<user@remote.test(c)@lab.test>",
        "<user(@lab.test)@remote.test>",
        "<\"user@remote.test\">",
        "<remote.test!user>",
        "<user%remote.test>",
        "<a@b:c>",
        "<a@" A64 ".b>",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(examples) / sizeof(examples[0]); i++) {
        refuse(examples[i], PATH_FORWARD, PATH_SYNTAX);
        refuse(examples[i], PATH_REVERSE, PATH_SYNTAX);
    }
}

static void routing_tricks_are_told_from_plain_mailboxes(void **state)
{
    struct path path;
    size_t used;

    (void)state;
    assert_int_equal(parse(&path, "<\"user@remote.test\"@lab.test>", PATH_FORWARD, &used), PATH_OK);
    assert_true(path.quoted);
    assert_int_equal(path.local_len, strlen("\"user@remote.test\""));
    assert_string_equal(path.text + path.local_len, "@lab.test");
    assert_int_equal(parse(&path, "<\"user%remote.test\"@lab.test>", PATH_FORWARD, &used), PATH_OK);
    assert_false(path.quoted);
    assert_string_equal(path.text, "user%remote.test@lab.test");
    assert_int_equal(parse(&path, "<user@[127.0.0.1]>", PATH_FORWARD, &used), PATH_OK);
    assert_true(path.literal);
    assert_int_equal(parse(&path, "<user@lab.test>", PATH_FORWARD, &used), PATH_OK);
    assert_false(path.literal);
    assert_false(path.quoted);
    assert_int_equal(path.local_len, 4);
}

static void the_null_path_is_a_sender_only(void **state)
{
    (void)state;
    expect("<>", PATH_REVERSE, "");
    refuse("<>", PATH_FORWARD, PATH_SYNTAX);
    refuse("<@a:>", PATH_REVERSE, PATH_SYNTAX);
}

static void postmaster_without_a_domain_is_a_recipient_only(void **state)
{
    struct path path;
    size_t used;

    (void)state;
    expect("<Postmaster>", PATH_FORWARD, "postmaster");
    expect("<POSTMASTER>", PATH_FORWARD, "postmaster");
    expect("<Postmaster@b>", PATH_FORWARD, "Postmaster@b");
    refuse("<Postmaster>", PATH_REVERSE, PATH_SYNTAX);
    refuse("<\"postmaster\">", PATH_FORWARD, PATH_SYNTAX);
    refuse("<@a:postmaster>", PATH_FORWARD, PATH_SYNTAX);
    refuse("<postmasters>", PATH_FORWARD, PATH_SYNTAX);
    refuse("<postmaste>", PATH_FORWARD, PATH_SYNTAX);
    assert_int_equal(parse(&path, "<postMaster>", PATH_FORWARD, &used), PATH_OK);
    assert_int_equal(path.local_len, 10);
}

static void length_limits_are_exact(void **state)
{
    char quoted[2 * PATH_LOCAL_MAX + 16] = "<\"";
    struct path path;
    size_t used;

    (void)state;
    refuse("<" A64 "a@b>", PATH_FORWARD, PATH_TOO_LONG);
    refuse("<a@" D255 ".a>", PATH_FORWARD, PATH_TOO_LONG);
    refuse("<" A64 "a@b@c>", PATH_FORWARD, PATH_SYNTAX);
    for (unsigned i = 0; i < PATH_LOCAL_MAX; i++)
        strcat(quoted, "\\\"");
    strcat(quoted, "\"@b>");
    assert_int_equal(parse(&path, quoted, PATH_FORWARD, &used), PATH_OK);
    assert_int_equal(path.local_len, 2 * PATH_LOCAL_MAX + 2);
    assert_string_equal(path.text + path.local_len, "@b");
}

static void only_the_bracketed_part_is_taken(void **state)
{
    struct path path;
    size_t used;

    (void)state;
    assert_int_equal(parse(&path, "<a@b> SIZE=1", PATH_REVERSE, &used), PATH_OK);
    assert_int_equal(used, 5);
    assert_int_equal(parse(&path, "<>>", PATH_REVERSE, &used), PATH_OK);
    assert_int_equal(used, 2);
}

static void utf8_passes_and_is_told(void **state)
{
    static const char *const examples[] = {
        "<j\xc3\xbcrgen@m\xc3\xbcsli.example>",
        "<\xe7\x94\xa8\xe6\x88\xb7@\xe4\xbe\x8b\xe5\xad\x90.\xe5\xb9\xbf\xe5\x91\x8a>",
        "<a@\xf0\x9f\x93\xa7.example>",
        "<\"\xc3\xa9 \xc3\xa9\"@b>",
        "<\xc2\xa0@b>",
        "<a@\xe2\x80\xa7.b>",
    };
    struct path path;
    size_t used;

    (void)state;
    for (size_t i = 0; i < sizeof(examples) / sizeof(examples[0]); i++) {
        assert_int_equal(parse(&path, examples[i], PATH_FORWARD, &used), PATH_OK);
        assert_true(path.utf8);
        assert_int_equal(used, strlen(examples[i]));
    }
    assert_int_equal(parse(&path, "<a@b>", PATH_FORWARD, &used), PATH_OK);
    assert_false(path.utf8);
}

static void bad_utf8_and_look_alikes_are_refused(void **state)
{
    static const char *const bad[] = {
        "\xff\xfe",
        "\x80",
        "\xc3",
        "\xc3(",
        "\xc0\xaf",
        "\xc1\xbf",
        "\xe0\x80\xaf",
        "\xe0\x9f\xbf",
        "\xf0\x80\x80\xaf",
        "\xf0\x8f\xbf\xbf",
        "\xed\xa0\x80",
        "\xed\xbf\xbf",
        "\xf4\x90\x80\x80",
        "\xf5\x80\x80\x80",
        "\xe2\x82",
        "\xf0\x9f\x93",
        "\xfc\x80\x80\x80\x80\xaf",
        "\xc2\x80",
        "\xc2\x85",
        "\xc2\x9f",
        "\xe2\x80\xa8",
        "\xe2\x80\xa9",
        "\xef\xbc\xa0",
        "\xef\xbc\x8e",
        "\xe3\x80\x82",
        "\xef\xbd\xa1",
    };
    static const char *const forms[] = {"<a%s@b>", "<%s@b>",   "<\"%s\"@b>",
                                        "<a@b%s>", "<a@%s.b>", "<\"\\%s\"@b>"};
    char in[64];

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        for (size_t k = 0; k < sizeof(forms) / sizeof(forms[0]); k++) {
            snprintf(in, sizeof(in), forms[k], bad[i]);
            refuse(in, PATH_FORWARD, PATH_SYNTAX);
        }
    }
    assert_false(utf8_ok("a\xc3", 2));
    assert_true(utf8_ok("a\xc3\xbc", 3));
    assert_true(utf8_ok("", 0));
}

static void no_control_octet_passes_anywhere(void **state)
{
    static const char *const forms[] = {"<a%cb@c>", "<\"a%cb\"@c>", "<\"a\\%cb\"@c>", "<a@b%cc>",
                                        "<a@[t:b%cc]>"};

    (void)state;
    for (unsigned c = 1; c < 0x20; c++) {
        for (size_t k = 0; k < sizeof(forms) / sizeof(forms[0]); k++) {
            char in[32];

            snprintf(in, sizeof(in), forms[k], c);
            refuse(in, PATH_FORWARD, PATH_SYNTAX);
        }
    }
    for (size_t i = 0; i < 5; i++) {
        char nul[] = "<a@b>";
        struct path path;
        size_t used;

        nul[i] = '\0';
        assert_int_not_equal(path_parse(&path, &used, nul, 5, PATH_FORWARD), PATH_OK);
    }
    {
        struct path path;
        size_t used;

        assert_int_equal(path_parse(&path, &used, "<a@[1.2.3.4\0]>", 14, PATH_FORWARD),
                         PATH_SYNTAX);
        assert_int_equal(path_parse(&path, &used, "<\"a\0b\"@c>", 9, PATH_FORWARD), PATH_SYNTAX);
    }
}

/* What is canonical once stays so, and every part of it that is shorter is refused, not half read.
 */
static void every_beginning_of_a_path_is_refused(void **state)
{
    static const char *const paths[] = {"<\"a\\\"b\"@c.example>", "<@r,@s:a@[IPv6:::1]>",
                                        "<Postmaster>", "<\xc3\xbc@\xc3\xbc>"};

    (void)state;
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        struct path path, again;
        char wrapped[PATH_TEXT_MAX + 3];
        size_t used;

        for (size_t len = 0; len < strlen(paths[i]); len++) {
            char *cut = strndup(paths[i], len);

            refuse(cut, PATH_FORWARD, PATH_SYNTAX);
            free(cut);
        }
        assert_int_equal(parse(&path, paths[i], PATH_FORWARD, &used), PATH_OK);
        snprintf(wrapped, sizeof(wrapped), "<%s>", path.text);
        assert_int_equal(parse(&again, wrapped, PATH_FORWARD, &used), PATH_OK);
        assert_string_equal(again.text, path.text);
    }
}

static void domains_and_literals_alone(void **state)
{
    static const char *const good[] = {"localhost",   "a.example",  "my_pc",
                                       "[192.0.2.1]", "[IPv6:::1]", D255};
    static const char *const bad[] = {
        "",  ".",   "a.",  "a b", "[192.0.2.1",    "192.0.2.1]", "a\xc3\xbc", "a/b",
        "-", "a@b", "a\n", "<a>", "[192.0.2.1] x", D255 ".a",    "()"};

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        assert_true(path_domain_ok(good[i], strlen(good[i])));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(path_domain_ok(bad[i], strlen(bad[i])));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mailboxes_come_out_in_canonical_form),
        cmocka_unit_test(what_is_no_mailbox_is_refused),
        cmocka_unit_test(routing_tricks_are_told_from_plain_mailboxes),
        cmocka_unit_test(the_null_path_is_a_sender_only),
        cmocka_unit_test(postmaster_without_a_domain_is_a_recipient_only),
        cmocka_unit_test(length_limits_are_exact),
        cmocka_unit_test(only_the_bracketed_part_is_taken),
        cmocka_unit_test(utf8_passes_and_is_told),
        cmocka_unit_test(bad_utf8_and_look_alikes_are_refused),
        cmocka_unit_test(no_control_octet_passes_anywhere),
        cmocka_unit_test(every_beginning_of_a_path_is_refused),
        cmocka_unit_test(domains_and_literals_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
