#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "auth/url_http.h"

static char login[SASL_LOGIN_MAX + 1];

static enum url_http_verdict judge(long status, const char *headers)
{
    return url_http_judge(login, status, headers, strlen(headers));
}

static void without_auth_status_the_status_decides(void **state)
{
    (void)state;
    static const struct {
        long status;
        enum url_http_verdict verdict;
    } cases[] = {
        {200, URL_HTTP_ACCEPTED},    {204, URL_HTTP_ACCEPTED},    {299, URL_HTTP_ACCEPTED},
        {401, URL_HTTP_REJECTED},    {403, URL_HTTP_REJECTED},    {0, URL_HTTP_UNAVAILABLE},
        {100, URL_HTTP_UNAVAILABLE}, {199, URL_HTTP_UNAVAILABLE}, {300, URL_HTTP_UNAVAILABLE},
        {302, URL_HTTP_UNAVAILABLE}, {400, URL_HTTP_UNAVAILABLE}, {404, URL_HTTP_UNAVAILABLE},
        {407, URL_HTTP_UNAVAILABLE}, {429, URL_HTTP_UNAVAILABLE}, {500, URL_HTTP_UNAVAILABLE},
        {503, URL_HTTP_UNAVAILABLE}};

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(judge(cases[i].status, "HTTP/1.1 x\r\nX: y\r\n\r\n"), cases[i].verdict);
        assert_string_equal(login, "");
    }
}

static void auth_status_decides_as_nginx_has_it(void **state)
{
    (void)state;
    assert_int_equal(judge(200, "HTTP/1.0 200 OK\r\nAuth-Status: OK\r\nAuth-Port: 25\r\n\r\n"),
                     URL_HTTP_ACCEPTED);
    assert_int_equal(judge(200, "auth-status:OK\r\n"), URL_HTTP_ACCEPTED);
    assert_int_equal(judge(200, "Auth-Status: \t OK \t\r\n"), URL_HTTP_ACCEPTED);
    static const char *const no[] = {
        "Auth-Status: Invalid login or password\r\nAuth-Wait: 3\r\n",
        "Auth-Status: ok\r\n",
        "Auth-Status: OKAY\r\n",
        "Auth-Status:\r\n",
        "Auth-Status: O K\r\n",
        "Auth-Status: OK\r\nAuth-Status: Invalid\r\n",
        "Auth-Status: no\r\nAuth-Error-Code: 535 5.7.8\r\n",
        "Auth-Status: no\r\nAuth-Error-Code:\r\n",
    };
    for (size_t i = 0; i < sizeof no / sizeof *no; i++)
        assert_int_equal(judge(200, no[i]), URL_HTTP_REJECTED);
    assert_int_equal(judge(401, "Auth-Status: Invalid\r\n"), URL_HTTP_REJECTED);
    static const char *const later[] = {
        "Auth-Status: WAIT\r\n",
        "Auth-Status: Temporary server problem, try again later\r\n",
        "Auth-Status: temporary\r\n",
        "Auth-Status: x\r\nAuth-Error-Code: 451 4.3.0\r\n",
        "Auth-Error-Code: 421\r\nAuth-Status: x\r\n",
    };
    for (size_t i = 0; i < sizeof later / sizeof *later; i++)
        assert_int_equal(judge(200, later[i]), URL_HTTP_UNAVAILABLE);
    assert_int_equal(judge(500, "Auth-Status: Invalid\r\n"), URL_HTTP_UNAVAILABLE);
}

static void ok_counts_with_a_good_status_alone(void **state)
{
    (void)state;
    static const long statuses[] = {0, 199, 302, 401, 403, 404, 500};

    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++)
        assert_int_equal(judge(statuses[i], "Auth-Status: OK\r\n"), URL_HTTP_UNAVAILABLE);
}

static void names_that_only_look_like_it_do_not_count(void **state)
{
    (void)state;
    assert_int_equal(judge(401, "X-Auth-Status: OK\r\n"), URL_HTTP_REJECTED);
    assert_int_equal(judge(401, "Auth-Status : OK\r\n"), URL_HTTP_REJECTED);
    assert_int_equal(judge(401, "Auth-Statuses: OK\r\n"), URL_HTTP_REJECTED);
    assert_int_equal(judge(401, "X: Auth-Status: OK\r\n"), URL_HTTP_REJECTED);
}

static void an_accepting_answer_may_say_who_it_is(void **state)
{
    (void)state;
    assert_int_equal(judge(200, "Auth-Status: OK\r\nAuth-User: alice\r\n"), URL_HTTP_ACCEPTED);
    assert_string_equal(login, "alice");
    assert_int_equal(judge(200, "Auth-Status: OK\r\nAuth-User: al\x01ice\r\n"),
                     URL_HTTP_UNAVAILABLE);
    assert_int_equal(judge(200, "Auth-Status: OK\r\nAuth-User:\r\n"), URL_HTTP_UNAVAILABLE);
    assert_string_equal(login, "");
    assert_int_equal(judge(200, "Auth-User: alice\r\n"), URL_HTTP_ACCEPTED);
    assert_string_equal(login, ""); /* that is nginx's alone */
    assert_int_equal(judge(200, "Auth-Status: no\r\nAuth-User: alice\r\n"), URL_HTTP_REJECTED);
    assert_string_equal(login, "");
}

static struct sasl_credential credential(const char *name, const char *password)
{
    struct sasl_credential c = {.mechanism = SASL_PLAIN};

    c.login_len = (size_t)snprintf(c.login, sizeof c.login, "%s", name);
    c.secret_len = (size_t)snprintf(c.secret, sizeof c.secret, "%s", password);
    return c;
}

static bool has(char **lines, const char *line)
{
    for (; *lines != NULL; lines++)
        if (strcmp(*lines, line) == 0)
            return true;
    return false;
}

static void a_login_is_told_as_nginx_tells_it(void **state)
{
    (void)state;
    const struct auth_client client = {.address = {[10] = 0xff, [11] = 0xff, 192, 0, 2, 42},
                                       .attempt = 2,
                                       .helo = "laptop.example",
                                       .tls_version = "TLSv1.3",
                                       .tls_cipher = "TLS_AES_128_GCM_SHA256"};
    const struct sasl_credential c = credential("al ice%", "p\xc3\xa4 %41\tx+&=\"");
    char *more[] = {"X-Auth-Key: k", NULL};
    char **lines = url_http_headers(&c, &client, more);
    static const char *const expected[] = {"Auth-Method: plain",
                                           "Auth-User: al%20ice%25",
                                           "Auth-Pass: p\xc3\xa4%20%2541%09x+&=\"",
                                           "Auth-Protocol: smtp",
                                           "Auth-Login-Attempt: 2",
                                           "Client-IP: 192.0.2.42",
                                           "Client-Host: [UNAVAILABLE]",
                                           "Auth-SMTP-Helo: laptop.example",
                                           "Auth-SSL: on",
                                           "Auth-SSL-Protocol: TLSv1.3",
                                           "Auth-SSL-Cipher: TLS_AES_128_GCM_SHA256",
                                           "X-Auth-Key: k"};

    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++)
        if (!has(lines, expected[i]))
            fail_msg("it does not say %s", expected[i]);
    assert_null(lines[sizeof expected / sizeof *expected]);
    url_http_free(lines);
}

static void what_is_not_known_is_not_told(void **state)
{
    (void)state;
    const struct auth_client client = {.address = {0x20, 0x01, 0x0d, 0xb8, [15] = 1}};
    const struct sasl_credential c = credential("a", "b");
    char **lines = url_http_headers(&c, &client, NULL);

    assert_true(has(lines, "Client-IP: 2001:db8::1"));
    assert_true(has(lines, "Auth-Login-Attempt: 1"));
    for (char **l = lines; *l != NULL; l++) {
        assert_null(strstr(*l, "Auth-SSL"));
        assert_null(strstr(*l, "Helo"));
    }
    url_http_free(lines);
}

static void no_octet_of_a_login_ends_a_header(void **state)
{
    (void)state;
    const struct auth_client client = {.helo = "x"};
    char every[256];

    for (int i = 1; i < 256; i++)
        every[i - 1] = (char)i;
    every[255] = '\0';
    const struct sasl_credential c = credential(every, every);
    char **lines = url_http_headers(&c, &client, NULL);
    for (char **l = lines; *l != NULL; l++)
        for (const unsigned char *o = (unsigned char *)*l; *o != '\0'; o++)
            assert_true(*o >= 0x20 && *o != 0x7f);
    url_http_free(lines);
}

static void a_header_file_is_read(void **state)
{
    (void)state;
    static const char text[] = "# a comment\r\n\nX-Auth-Key: se cret\r\nX-Two:2\nX-Last: l";
    const char *why;
    char **lines = url_http_lines(text, strlen(text), &why);

    assert_string_equal(lines[0], "X-Auth-Key: se cret");
    assert_string_equal(lines[1], "X-Two:2");
    assert_string_equal(lines[2], "X-Last: l");
    assert_null(lines[3]);
    url_http_free(lines);
    lines = url_http_lines("", 0, &why);
    assert_non_null(lines);
    assert_null(lines[0]);
    url_http_free(lines);
}

static void a_wrong_header_file_is_not(void **state)
{
    (void)state;
    static const char *const wrong[] = {"no colon\n",
                                        ": x\n",
                                        "X Y: z\n",
                                        "X:\n",
                                        "X: \n",
                                        "X: a\x01\n",
                                        "X: a\rb\n",
                                        "X: \x7f\n",
                                        " X: folded\n",
                                        "Authorization: Basic x\n",
                                        "auth-user: x\n",
                                        "Auth-Anything: x\n",
                                        "client-ip: x\n",
                                        "HOST: x\n",
                                        "Content-Length: 1\n",
                                        "Transfer-Encoding: chunked\n",
                                        "Connection: close\n"};
    const char *why;
    char many[512] = "", longest[URL_HTTP_LINE_MAX + 8] = "X: ";

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        if (url_http_lines(wrong[i], strlen(wrong[i]), &why) != NULL)
            fail_msg("%s was taken", wrong[i]);
    assert_null(url_http_lines("X: a\0b\n", 7, &why));
    for (int i = 0; i < 17; i++)
        strcat(many, "X-Y: z\n");
    assert_null(url_http_lines(many, strlen(many), &why));
    assert_non_null(strstr(why, "16"));
    char **lines = url_http_lines(many, 7 * 16, &why);
    assert_non_null(lines);
    url_http_free(lines);
    memset(longest + 3, 'a', sizeof longest - 4);
    assert_null(url_http_lines(longest, URL_HTTP_LINE_MAX + 1, &why));
    lines = url_http_lines(longest, URL_HTTP_LINE_MAX, &why);
    assert_non_null(lines);
    url_http_free(lines);
}

static void basic_takes_no_colon(void **state)
{
    (void)state;
    assert_true(url_http_login_ok("alice@example.com"));
    assert_false(url_http_login_ok("alice:x"));
    assert_false(url_http_login_ok(":"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_auth_status_the_status_decides),
        cmocka_unit_test(auth_status_decides_as_nginx_has_it),
        cmocka_unit_test(ok_counts_with_a_good_status_alone),
        cmocka_unit_test(names_that_only_look_like_it_do_not_count),
        cmocka_unit_test(an_accepting_answer_may_say_who_it_is),
        cmocka_unit_test(a_login_is_told_as_nginx_tells_it),
        cmocka_unit_test(what_is_not_known_is_not_told),
        cmocka_unit_test(no_octet_of_a_login_ends_a_header),
        cmocka_unit_test(a_header_file_is_read),
        cmocka_unit_test(a_wrong_header_file_is_not),
        cmocka_unit_test(basic_takes_no_colon),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
