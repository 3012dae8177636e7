#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/trace.h"

static const struct trace usual = {
    .mode = TRACE_FULL,
    .helo = "laptop.example",
    .address = "192.0.2.1",
    .hostname = "mx.example",
    .esmtp = true,
    .authenticated = true,
    .version = "TLSv1.3",
    .cipher = "TLS_AES_128_GCM_SHA256",
    .session = "4f2a",
    .now = 1795517999,
};

static char text[4096];

static const char *written(const struct trace *t)
{
    struct buf b;

    buf_init(&b, sizeof(text) - 1);
    assert_true(trace_write(&b, t));
    memcpy(text, buf_data(&b), buf_len(&b));
    text[buf_len(&b)] = '\0';
    buf_clear(&b);
    return text;
}

/* Whatever a client says: three lines, each ended by CR LF, the later two folded, none too long, no
 * stray octet, one comment at most on a line. */
static void assert_one_header(const char *header)
{
    unsigned lines = 0;

    assert_int_equal(strncmp(header, "Received: from ", 15), 0);
    while (*header != '\0') {
        size_t len = strcspn(header, "\r\n");
        unsigned open = 0, close = 0;

        assert_true(len > 1 && len <= 998);
        assert_true(lines == 0 || header[0] == '\t');
        for (size_t i = lines == 0 ? 0 : 1; i < len; i++) {
            assert_true(header[i] >= 0x20 && header[i] < 0x7f);
            open += header[i] == '(';
            close += header[i] == ')';
        }
        assert_true(open <= 1 && open == close);
        assert_int_equal(strncmp(header + len, "\r\n", 2), 0);
        header += len + 2;
        lines++;
    }
    assert_int_equal(lines, 3);
}

static void the_header_says_who_how_and_when(void **state)
{
    (void)state;
    assert_string_equal(written(&usual),
                        "Received: from laptop.example ([192.0.2.1])\r\n"
                        "\tby mx.example with ESMTPSA (TLSv1.3 TLS_AES_128_GCM_SHA256)\r\n"
                        "\tid 4f2a; Tue, 24 Nov 2026 10:59:59 +0000\r\n");
    assert_one_header(text);
}

static void ipv6_is_tagged(void **state)
{
    struct trace t = usual;

    (void)state;
    t.address = "2001:db8::1";
    assert_non_null(strstr(written(&t), "from laptop.example ([IPv6:2001:db8::1])\r\n"));
}

static void the_protocol_word_fits_the_session(void **state)
{
    static const struct {
        bool esmtp, tls, auth, utf8;
        const char *word;
    } examples[] = {
        {false, false, false, false, "SMTP"},   {false, true, false, false, "SMTP"},
        {false, true, true, true, "SMTP"},      {true, false, false, false, "ESMTP"},
        {true, false, true, false, "ESMTPA"},   {true, true, false, false, "ESMTPS"},
        {true, true, true, false, "ESMTPSA"},   {true, false, false, true, "UTF8SMTP"},
        {true, false, true, true, "UTF8SMTPA"}, {true, true, false, true, "UTF8SMTPS"},
        {true, true, true, true, "UTF8SMTPSA"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(examples) / sizeof(examples[0]); i++) {
        struct trace t = usual;
        char wanted[64];

        t.esmtp = examples[i].esmtp;
        t.version = examples[i].tls ? "TLSv1.2" : NULL;
        t.authenticated = examples[i].auth;
        t.utf8 = examples[i].utf8;
        snprintf(wanted, sizeof(wanted), "by mx.example with %s%s", examples[i].word,
                 examples[i].tls ? " (TLSv1.2 " : "\r\n");
        if (strstr(written(&t), wanted) == NULL)
            fail_msg("%s: %s", examples[i].word, text);
        assert_one_header(text);
    }
}

static void no_name_breaks_out(void **state)
{
    static const char *const names[] = {
        "x) by evil (\r\nBcc: v@x",
        "a\nb",
        "a\rb",
        "(",
        ")",
        "\"",
        "\\",
        ";",
        "a b",
        "a\tb",
        "\xc3\xbc",
        "\x7f",
        "\x1b[31m",
        "<a@b>",
        "a,b",
        "",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct trace t = usual;

        t.helo = names[i];
        assert_one_header(written(&t));
        t.mode = TRACE_NO_IP;
        assert_one_header(written(&t));
        t = usual;
        t.address = t.cipher = t.version = t.session = t.hostname = names[i];
        written(&t);
        if (names[i][0] != '\0')
            assert_one_header(text);
    }
    for (unsigned c = 1; c < 256; c++) {
        char name[] = {'a', (char)c, 'b', '\0'};
        struct trace t = usual;

        t.helo = name;
        assert_one_header(written(&t));
    }
}

static void a_bad_name_is_still_told_as_far_as_it_can_be(void **state)
{
    struct trace t = usual;

    (void)state;
    t.helo = "x) by evil (\r\nBcc: v@x";
    assert_non_null(strstr(written(&t), "from x??by?evil????Bcc:?v?x ([192.0.2.1])\r\n"));
    t.helo = "[192.0.2.7]";
    assert_non_null(strstr(written(&t), "from [192.0.2.7] ([192.0.2.1])\r\n"));
    t.helo = NULL;
    assert_non_null(strstr(written(&t), "from unknown ([192.0.2.1])\r\n"));
}

static void long_names_are_cut(void **state)
{
    char name[3000];
    struct trace t = usual;

    (void)state;
    memset(name, 'a', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    t.helo = name;
    assert_one_header(written(&t));
    assert_int_equal(strcspn(text + 15, " "), 255);
    t.address = t.hostname = t.version = t.cipher = t.session = name;
    assert_one_header(written(&t));
}

static void no_ip_gives_no_address_away(void **state)
{
    static const char *const addresses[] = {"[192.0.2.1]", "[IPv6:2001:db8::1]", "192.0.2.1",
                                            "2001:db8::1"};
    struct trace t = usual;

    (void)state;
    t.mode = TRACE_NO_IP;
    assert_non_null(strstr(written(&t), "Received: from laptop.example\r\n"));
    assert_null(strstr(text, "192.0.2.1"));
    assert_one_header(text);
    for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
        t.helo = addresses[i];
        assert_non_null(strstr(written(&t), "Received: from unknown\r\n"));
        assert_null(strstr(text, "192.0.2.1"));
        assert_null(strstr(text, "2001:db8::1"));
    }
}

static void none_writes_nothing(void **state)
{
    struct trace t = usual;

    (void)state;
    t.mode = TRACE_NONE;
    assert_string_equal(written(&t), "");
}

static void dates_are_right_at_the_edges(void **state)
{
    static const struct {
        int64_t now;
        const char *date;
    } examples[] = {
        {0, "; Thu, 1 Jan 1970 00:00:00 +0000\r\n"},
        {951782400, "; Tue, 29 Feb 2000 00:00:00 +0000\r\n"},
        {1767225599, "; Wed, 31 Dec 2025 23:59:59 +0000\r\n"},
        {4102444800, "; Fri, 1 Jan 2100 00:00:00 +0000\r\n"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(examples) / sizeof(examples[0]); i++) {
        struct trace t = usual;

        t.now = examples[i].now;
        if (strstr(written(&t), examples[i].date) == NULL)
            fail_msg("%s", text);
    }
}

static void a_header_without_room_leaves_nothing(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 50);
    assert_false(trace_write(&b, &usual));
    assert_int_equal(buf_len(&b), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_header_says_who_how_and_when),
        cmocka_unit_test(ipv6_is_tagged),
        cmocka_unit_test(the_protocol_word_fits_the_session),
        cmocka_unit_test(no_name_breaks_out),
        cmocka_unit_test(a_bad_name_is_still_told_as_far_as_it_can_be),
        cmocka_unit_test(long_names_are_cut),
        cmocka_unit_test(no_ip_gives_no_address_away),
        cmocka_unit_test(none_writes_nothing),
        cmocka_unit_test(dates_are_right_at_the_edges),
        cmocka_unit_test(a_header_without_room_leaves_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
