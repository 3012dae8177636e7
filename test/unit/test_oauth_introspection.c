#include "auth/oauth_introspection.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NOW 1800000000

static const struct oauth_rules rules = {.issuer = "https://id.example/",
                                         .audience = "vestibule",
                                         .login_claim = "email",
                                         .introspected = true};

static void encoded(const char *text, size_t len, const char *expected)
{
    char *out = introspection_encode(text, len);
    assert_string_equal(out, expected);
    introspection_wipe(out);
}

static void all_but_the_plainest_is_escaped(void **state)
{
    (void)state;
    encoded("", 0, "");
    encoded("azAZ09-._~", 10, "azAZ09-._~");
    encoded("a b&c=d+e%f/g:h", 15, "a%20b%26c%3Dd%2Be%25f%2Fg%3Ah");
    encoded("\xc3\xa4\xff", 3, "%C3%A4%FF");
    encoded("\0\r\n", 3, "%00%0D%0A");
    char *form = introspection_form("a&token=b", 9);
    assert_string_equal(form, "token_type_hint=access_token&token=a%26token%3Db");
    introspection_wipe(form);
    introspection_wipe(NULL);
}

static enum introspection_status read_answer(long status, const char *body, const char *claimed)
{
    char login[SASL_LOGIN_MAX + 1] = "";
    const char *why = NULL;
    const size_t len = strlen(body);
    char *copy = malloc(len > 0 ? len : 1);
    memcpy(copy, body, len);
    enum introspection_status result =
        introspection_read(login, &why, status, copy, len, &rules, claimed, NOW);
    free(copy);
    assert_int_equal(why == NULL, result == INTROSPECTION_GOOD);
    if (result == INTROSPECTION_GOOD)
        assert_string_equal(login, "alice@any.example");
    return result;
}

static void answers_are_what_they_are(void **state)
{
    static const struct {
        const char *body;
        enum introspection_status status;
    } rows[] = {
        {"{\"active\":true,\"email\":\"alice@any.example\"}", INTROSPECTION_GOOD},
        {"{\"active\":true,\"email\":\"alice@any.example\",\"aud\":\"vestibule\",\"exp\":1800000300,"
         "\"iss\":\"https://id.example/\",\"scope\":\"mail\",\"x\":{\"y\":[]}}",
         INTROSPECTION_GOOD},
        {"{\"active\":false}", INTROSPECTION_REFUSED},
        {"{\"active\":false,\"email\":\"alice@any.example\"}", INTROSPECTION_REFUSED},
        {"{\"active\":true}", INTROSPECTION_REFUSED},
        {"{\"active\":true,\"username\":\"alice@any.example\",\"sub\":\"alice@any.example\"}",
         INTROSPECTION_REFUSED},
        {"{\"active\":true,\"email\":\"alice@any.example\",\"exp\":1799999940}",
         INTROSPECTION_REFUSED},
        {"{\"active\":true,\"email\":\"alice@any.example\",\"nbf\":1800000061}",
         INTROSPECTION_REFUSED},
        {"{\"active\":true,\"email\":\"alice@any.example\",\"aud\":\"x\"}", INTROSPECTION_REFUSED},
        {"{\"active\":true,\"email\":\"alice@any.example\",\"aud\":null}", INTROSPECTION_REFUSED},
        {"{\"active\":true,\"email\":\"alice@any.example\",\"iss\":\"x\"}", INTROSPECTION_REFUSED},
        {"{\"active\":true,\"email\":\"alice@any.example\",\"email_verified\":false}",
         INTROSPECTION_REFUSED},
        {"{\"active\":true,\"email\":\"bob@any.example\"}", INTROSPECTION_REFUSED},
        {"{\"active\":\"true\",\"email\":\"alice@any.example\"}", INTROSPECTION_NONSENSE},
        {"{\"active\":1,\"email\":\"alice@any.example\"}", INTROSPECTION_NONSENSE},
        {"{\"active\":null}", INTROSPECTION_NONSENSE},
        {"{\"email\":\"alice@any.example\"}", INTROSPECTION_NONSENSE},
        {"{\"active\":false,\"active\":true,\"email\":\"alice@any.example\"}",
         INTROSPECTION_NONSENSE},
        {"{\"error\":\"server_error\"}", INTROSPECTION_NONSENSE},
        {"{}", INTROSPECTION_NONSENSE},
        {"[{\"active\":true}]", INTROSPECTION_NONSENSE},
        {"true", INTROSPECTION_NONSENSE},
        {"", INTROSPECTION_NONSENSE},
        {"<html>", INTROSPECTION_NONSENSE},
        {"{\"active\":true,\"email\":\"alice@any.example\"}}", INTROSPECTION_NONSENSE},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(read_answer(200, rows[i].body, "alice@any.example"), rows[i].status);
        /* whatever is in it, only a 200 is an answer */
        static const long others[] = {0, 201, 204, 302, 400, 401, 403, 404, 500, 503};
        for (size_t j = 0; j < sizeof others / sizeof *others; j++)
            assert_int_equal(read_answer(others[j], rows[i].body, ""), INTROSPECTION_NONSENSE);
    }
}

static void an_answer_cut_anywhere_is_none(void **state)
{
    static const char whole[] = "{\"active\":true,\"email\":\"alice@any.example\"}";
    char text[sizeof whole];
    (void)state;
    for (size_t len = 0; len + 1 < sizeof whole; len++) {
        memcpy(text, whole, len);
        text[len] = '\0';
        assert_int_equal(read_answer(200, text, ""), INTROSPECTION_NONSENSE);
    }
    assert_int_equal(read_answer(200, whole, ""), INTROSPECTION_GOOD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_but_the_plainest_is_escaped),
        cmocka_unit_test(answers_are_what_they_are),
        cmocka_unit_test(an_answer_cut_anywhere_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
