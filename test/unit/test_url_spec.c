#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "auth/url_spec.h"

static bool parse(struct url_spec *u, const char *url, char error[URL_SPEC_ERROR_MAX])
{
    char scheme[16];
    const size_t len = strcspn(url, ":");

    snprintf(scheme, sizeof scheme, "%.*s", (int)len, url);
    error[0] = '\0';
    return url_spec_parse(u, scheme, url + len + 1, error);
}

static void each_scheme_has_its_port_and_tls(void **state)
{
    (void)state;
    static const struct {
        const char *url, *text;
        enum url_protocol protocol;
        enum url_tls tls;
    } cases[] = {
        {"imap://h.example/", "imap://h.example:143", URL_IMAP, URL_TLS_START},
        {"imaps://h.example", "imaps://h.example:993", URL_IMAP, URL_TLS_IMPLICIT},
        {"pop3://h.example/", "pop3://h.example:110", URL_POP3, URL_TLS_START},
        {"pop3s://h.example/", "pop3s://h.example:995", URL_POP3, URL_TLS_IMPLICIT},
        {"smtp://h.example/", "smtp://h.example:587", URL_SMTP, URL_TLS_START},
        {"smtps://h.example/", "smtps://h.example:465", URL_SMTP, URL_TLS_IMPLICIT},
        {"ldap://h.example/x", "ldap://h.example:389", URL_LDAP, URL_TLS_START},
        {"ldaps://h.example/x", "ldaps://h.example:636", URL_LDAP, URL_TLS_IMPLICIT},
        {"https://h.example/x", "https://h.example:443", URL_HTTP, URL_TLS_IMPLICIT},
        {"http://127.0.0.1/x", "http://127.0.0.1:80", URL_HTTP, URL_TLS_NONE},
        {"imaps://127.0.0.1:99/", "imaps://127.0.0.1:99", URL_IMAP, URL_TLS_IMPLICIT},
        {"ldap://[2001:db8::1]:7/", "ldap://[2001:db8::1]:7", URL_LDAP, URL_TLS_START},
    };
    char error[URL_SPEC_ERROR_MAX], text[URL_SPEC_TEXT_MAX];
    struct url_spec u;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_true(parse(&u, cases[i].url, error));
        url_spec_text(text, &u);
        assert_string_equal(text, cases[i].text);
        assert_int_equal(u.protocol, cases[i].protocol);
        assert_int_equal(u.tls, cases[i].tls);
    }
}

static void only_loopback_is_spoken_to_in_clear(void **state)
{
    (void)state;
    static const char *const here[] = {"imap://localhost/", "imap://LocalHost", "imap://127.0.0.1/",
                                       "imap://127.255.0.9/", "imap://[::1]/"};
    static const char *const away[] = {"imap://localhost.example/",
                                       "imap://127.0.0.1.example/",
                                       "imap://128.0.0.1/",
                                       "imap://126.0.0.1/",
                                       "imap://[::2]/",
                                       "imap://[::ffff:10.0.0.1]/",
                                       "imap://0.0.0.0/",
                                       "imap://127.1/",
                                       "imap://2130706433/"};
    char error[URL_SPEC_ERROR_MAX];
    struct url_spec u;

    for (size_t i = 0; i < sizeof here / sizeof *here; i++) {
        assert_true(parse(&u, here[i], error));
        assert_int_equal(u.tls, URL_TLS_NONE);
    }
    for (size_t i = 0; i < sizeof away / sizeof *away; i++) {
        assert_true(parse(&u, away[i], error));
        assert_int_equal(u.tls, URL_TLS_START);
    }
    assert_false(parse(&u, "http://auth.example/", error));
    assert_non_null(strstr(error, "in clear"));
    assert_non_null(strstr(error, "https://"));
}

static void the_rest_is_handed_on_as_it_is(void **state)
{
    (void)state;
    char error[URL_SPEC_ERROR_MAX];
    struct url_spec u;

    assert_true(parse(&u, "ldaps://h/ou=a,dc=b?uid?sub?(a=%u)", error));
    assert_string_equal(u.rest, "/ou=a,dc=b?uid?sub?(a=%u)");
    assert_true(parse(&u, "https://h:1/a?b=c@d", error));
    assert_string_equal(u.rest, "/a?b=c@d");
    assert_true(parse(&u, "imaps://h", error));
    assert_string_equal(u.rest, "");
}

static void what_is_no_url_gets_a_sentence(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "imaps:",
        "imaps:/",
        "imaps://",
        "imaps:///",
        "imaps:host",
        "imaps://:993/",
        "imaps://h:/",
        "imaps://h:0/",
        "imaps://h:65536/",
        "imaps://h:4294967297/",
        "imaps://h:99x/",
        "imaps://h:-1/",
        "imaps://u@h/",
        "imaps://u:p@h/",
        "imaps://h/#f",
        "imaps://h?x",
        "imaps://[::1/",
        "imaps://[::1]x/",
        "imaps://[1.2.3.4]/",
        "imaps://::1/",
        "imaps://h h/",
        "imaps://h\r\n/",
        "imaps://h/\x7f",
        "imaps://h/\xc3\xa4",
        "imaps://h%41/",
        "imaps://-h/",
        "imaps://.h/",
        "imaps://h\\/",
        "gopher://h/",
        "https://h/a b",
        "https://h/a\tb",
    };
    char error[URL_SPEC_ERROR_MAX], longest[400] = "imaps://";
    struct url_spec u;

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        if (parse(&u, wrong[i], error))
            fail_msg("%s was taken", wrong[i]);
        assert_true(strlen(error) > 20);
    }
    memset(longest + 8, 'a', URL_SPEC_HOST_MAX + 1);
    assert_false(parse(&u, longest, error));
    longest[8 + URL_SPEC_HOST_MAX] = '\0';
    assert_true(parse(&u, longest, error));
}

static void a_password_in_a_url_is_not_shown(void **state)
{
    (void)state;
    char error[URL_SPEC_ERROR_MAX];
    struct url_spec u;

    assert_false(parse(&u, "imaps://alice:hunter2@h/", error));
    assert_null(strstr(error, "hunter2"));
}

static void octets_are_decoded_and_controls_are_not(void **state)
{
    (void)state;
    char out[8];

    assert_true(url_spec_decode(out, sizeof out, "a%41%c3%A4%25", 13));
    assert_string_equal(out, "aA\xc3\xa4%");
    assert_true(url_spec_decode(out, sizeof out, "", 0));
    assert_string_equal(out, "");
    assert_true(url_spec_decode(out, sizeof out, "1234567", 7));
    assert_false(url_spec_decode(out, sizeof out, "12345678", 8));
    static const char *const wrong[] = {"%", "%4", "%4g", "%g4", "a%0d", "%0A", "%00", "%7f", "a%"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_false(url_spec_decode(out, sizeof out, wrong[i], strlen(wrong[i])));
    assert_false(url_spec_decode(out, sizeof out, "%41", 2)); /* the rest is not ours */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_scheme_has_its_port_and_tls),
        cmocka_unit_test(only_loopback_is_spoken_to_in_clear),
        cmocka_unit_test(the_rest_is_handed_on_as_it_is),
        cmocka_unit_test(what_is_no_url_gets_a_sentence),
        cmocka_unit_test(a_password_in_a_url_is_not_shown),
        cmocka_unit_test(octets_are_decoded_and_controls_are_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
