#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/base64.h>

#include "auth/sasl.h"
#include "auth/utf8.h"

/* Base64 of bytes that may hold NULs. */
static char *encode(const void *bytes, size_t len)
{
    char *out = malloc(len / 3 * 4 + 8);
    EVP_EncodeBlock((uint8_t *)out, bytes, len);
    return out;
}

/* On an allocation of its own length, so that ASan sees a read too far. */
static enum sasl_status start(struct sasl *s, enum sasl_mechanism m, const char *text)
{
    size_t len = strlen(text);
    char *fit = malloc(len > 0 ? len : 1);
    memcpy(fit, text, len);
    enum sasl_status status = sasl_start(s, m, "", fit, len);
    free(fit);
    return status;
}

static enum sasl_status step(struct sasl *s, const char *text)
{
    size_t len = strlen(text);
    char *fit = malloc(len > 0 ? len : 1);
    memcpy(fit, text, len);
    enum sasl_status status = sasl_step(s, fit, len);
    free(fit);
    return status;
}

static enum sasl_status plain(struct sasl *s, const void *bytes, size_t len)
{
    char *text = encode(bytes, len);
    enum sasl_status status = start(s, SASL_PLAIN, text);
    free(text);
    return status;
}

#define PLAIN(s, literal) plain((s), (literal), sizeof(literal) - 1)

static enum sasl_status step_bytes(struct sasl *s, const void *bytes, size_t len)
{
    char *text = encode(bytes, len);
    enum sasl_status status = step(s, text);
    free(text);
    return status;
}

static void assert_wiped(const struct sasl *s)
{
    struct sasl zero;
    memset(&zero, 0, sizeof zero);
    assert_memory_equal(s, &zero, sizeof zero);
}

static void assert_credential(const struct sasl *s, enum sasl_mechanism m, const char *login,
                              const char *password)
{
    assert_int_equal(s->credential.mechanism, m);
    assert_string_equal(s->credential.login, login);
    assert_int_equal(s->credential.login_len, strlen(login));
    assert_string_equal(s->credential.secret, password);
    assert_int_equal(s->credential.secret_len, strlen(password));
}

static void plain_with_initial_response(void **state)
{
    (void)state;
    struct sasl s;
    assert_int_equal(start(&s, SASL_PLAIN, "AGFsaWNlAHNlY3JldA=="), SASL_CREDENTIAL);
    assert_credential(&s, SASL_PLAIN, "alice", "secret");
}

static void plain_after_an_empty_challenge(void **state)
{
    (void)state;
    struct sasl s;
    assert_int_equal(sasl_start(&s, SASL_PLAIN, "", NULL, 0), SASL_CHALLENGE);
    assert_string_equal(s.challenge, "");
    assert_int_equal(step(&s, "AGFsaWNlAHNlY3JldA=="), SASL_CREDENTIAL);
    assert_credential(&s, SASL_PLAIN, "alice", "secret");
}

static void plain_takes_the_login_as_its_own_authzid(void **state)
{
    (void)state;
    struct sasl s;
    assert_int_equal(PLAIN(&s, "alice\0alice\0secret"), SASL_CREDENTIAL);
    assert_credential(&s, SASL_PLAIN, "alice", "secret");
}

static void plain_refuses_a_foreign_authzid(void **state)
{
    (void)state;
    struct sasl s;
    assert_int_equal(PLAIN(&s, "admin\0alice\0secret"), SASL_REFUSED);
    assert_wiped(&s);
    assert_int_equal(PLAIN(&s, "alic\0alice\0secret"), SASL_REFUSED);
    assert_int_equal(PLAIN(&s, "alicee\0alice\0secret"), SASL_REFUSED);
    assert_int_equal(PLAIN(&s, "ALICE\0alice\0secret"), SASL_REFUSED);
}

static void plain_needs_exactly_two_nuls(void **state)
{
    (void)state;
    struct sasl s;
    assert_int_equal(PLAIN(&s, ""), SASL_REFUSED);
    assert_int_equal(PLAIN(&s, "alice"), SASL_REFUSED);
    assert_int_equal(PLAIN(&s, "alice\0secret"), SASL_REFUSED);
    assert_int_equal(PLAIN(&s, "\0alice\0secret\0"), SASL_REFUSED);
    assert_int_equal(PLAIN(&s, "\0alice\0sec\0ret"), SASL_REFUSED);
    assert_int_equal(PLAIN(&s, "\0\0\0"), SASL_REFUSED);
    assert_wiped(&s);
}

static void empty_login_or_password_is_refused(void **state)
{
    (void)state;
    struct sasl s;
    assert_int_equal(PLAIN(&s, "\0\0secret"), SASL_REFUSED);
    assert_int_equal(PLAIN(&s, "\0alice\0"), SASL_REFUSED);
    assert_int_equal(PLAIN(&s, "\0\0"), SASL_REFUSED);
    assert_int_equal(start(&s, SASL_PLAIN, "="), SASL_REFUSED);
    assert_int_equal(start(&s, SASL_LOGIN, "="), SASL_REFUSED);
    assert_int_equal(sasl_start(&s, SASL_LOGIN, "", NULL, 0), SASL_CHALLENGE);
    assert_int_equal(step(&s, ""), SASL_REFUSED);
    assert_int_equal(start(&s, SASL_LOGIN, "YWxpY2U="), SASL_CHALLENGE);
    assert_int_equal(step(&s, ""), SASL_REFUSED);
    assert_wiped(&s);
}

static enum sasl_status plain_of(struct sasl *s, size_t login_len, size_t password_len)
{
    size_t len = 2 + login_len + password_len;
    char *bytes = malloc(len);
    memset(bytes, 'x', len);
    bytes[0] = bytes[1 + login_len] = '\0';
    enum sasl_status status = plain(s, bytes, len);
    free(bytes);
    return status;
}

static void lengths_are_kept_to_the_octet(void **state)
{
    (void)state;
    struct sasl s;
    assert_int_equal(plain_of(&s, SASL_LOGIN_MAX, SASL_PASSWORD_MAX), SASL_CREDENTIAL);
    assert_int_equal(strlen(s.credential.login), SASL_LOGIN_MAX);
    assert_int_equal(strlen(s.credential.secret), SASL_PASSWORD_MAX);
    assert_int_equal(plain_of(&s, SASL_LOGIN_MAX + 1, 8), SASL_REFUSED);
    assert_int_equal(plain_of(&s, 8, SASL_PASSWORD_MAX + 1), SASL_REFUSED);
    assert_int_equal(plain_of(&s, 8, 9000), SASL_REFUSED);
    assert_int_equal(plain_of(&s, 8, 70000), SASL_REFUSED);
    assert_int_equal(plain_of(&s, 65536 + 5, 5), SASL_REFUSED);
}

static void the_longest_line_is_decoded_not_overrun(void **state)
{
    (void)state;
    struct sasl s;
    char text[12289];
    memset(text, 'A', sizeof text);
    text[12288] = '\0';
    assert_int_equal(start(&s, SASL_PLAIN, text), SASL_REFUSED); /* 9,216 NULs */
    text[100] = '*';
    assert_int_equal(start(&s, SASL_PLAIN, text), SASL_BASE64);
}

static void control_octets_in_a_login_are_refused(void **state)
{
    (void)state;
    for (int c = 0; c < 256; c++) {
        struct sasl s;
        char bytes[] = {'\0', 'a', (char)c, 'b', '\0', 'p'};
        bool good = c >= 0x20 && c < 0x7f;
        assert_int_equal(plain(&s, bytes, sizeof bytes), good ? SASL_CREDENTIAL : SASL_REFUSED);
        assert_int_equal(sasl_start(&s, SASL_LOGIN, "", NULL, 0), SASL_CHALLENGE);
        assert_int_equal(step_bytes(&s, bytes + 1, 3), good ? SASL_CHALLENGE : SASL_REFUSED);
    }
}

static void nul_cr_and_lf_in_a_password_are_refused(void **state)
{
    (void)state;
    for (int c = 0; c < 128; c++) {
        struct sasl s;
        char bytes[] = {'\0', 'u', '\0', 'a', (char)c, 'b'};
        bool good = c != '\0' && c != '\r' && c != '\n';
        assert_int_equal(plain(&s, bytes, sizeof bytes), good ? SASL_CREDENTIAL : SASL_REFUSED);
        assert_int_equal(start(&s, SASL_LOGIN, "YWxpY2U="), SASL_CHALLENGE);
        assert_int_equal(step_bytes(&s, bytes + 3, 3), good ? SASL_CREDENTIAL : SASL_REFUSED);
    }
}

static void only_strict_utf8_passes(void **state)
{
    (void)state;
    static const char *const good[] = {"\xc3\xa9",         "\xe2\x82\xac", "\xf0\x9f\x98\x80",
                                       "\xf4\x8f\xbf\xbf", "\xed\x9f\xbf", "\xee\x80\x80"};
    static const char *const bad[] = {
        "\x80",         "\xbf",         "\xc0\x80",         "\xc1\xbf",
        "\xc3",         "\xe2\x82",     "\xf0\x9f\x98",     "\xc3(",
        "\xe0\x80\x80", "\xe0\x9f\xbf", "\xf0\x80\x80\x80", "\xf0\x8f\xbf\xbf",
        "\xed\xa0\x80", "\xed\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80",
        "\xfe",         "\xff",         "\xe2\x28\xa1"};
    struct sasl s;
    char bytes[32];
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        size_t n = strlen(good[i]);
        assert_true(utf8_ok(good[i], n));
        int len = snprintf(bytes, sizeof bytes, "%cu%s%c%s", 0, good[i], 0, good[i]);
        assert_int_equal(plain(&s, bytes, (size_t)len), SASL_CREDENTIAL);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int len = snprintf(bytes, sizeof bytes, "%cu%s%cp", 0, bad[i], 0);
        assert_int_equal(plain(&s, bytes, (size_t)len), SASL_REFUSED);
        len = snprintf(bytes, sizeof bytes, "%cu%cp%s", 0, 0, bad[i]);
        assert_int_equal(plain(&s, bytes, (size_t)len), SASL_REFUSED);
    }
}

static void base64_is_strict(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "A",
        "AG",
        "AGF",
        "AGFs=",
        "=AAA",
        "AAA=BBB=",
        "A===",
        "====",
        "AGFs\nAGFs",
        "AGFs AGFs",
        "AGFsAGF-",
        "AGFsAGF_",
        "AGFsaWNlAHNlY3JldA",
        "AGFsaWNlAHNlY3JldA=",
        "AGFsaWNlAHNlY3JldA==A",
        "AGFsaWNlAHNlY3JldA==AAAA",
        " AGFsaWNlAHNlY3JldA==",
        "AGFsaWNlAHNlY3JldA==\r",
        "\xc3\xa9\xc3\xa9",
    };
    struct sasl s;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(start(&s, SASL_PLAIN, bad[i]), SASL_BASE64);
        assert_wiped(&s);
    }
    assert_int_equal(sasl_start(&s, SASL_PLAIN, "", "AGFs\0AGF", 8), SASL_BASE64);
}

static void base64_with_stray_bits_is_refused(void **state)
{
    (void)state;
    struct sasl s;
    /* "AGFsaWNlAHNlY3JldA==" with each other last character that decodes to the same octets */
    for (const char *c = "BCDEFGHIJKLMNOP"; *c != '\0'; c++) {
        char text[] = "AGFsaWNlAHNlY3JldA==";
        text[17] = *c;
        assert_int_equal(start(&s, SASL_PLAIN, text), SASL_BASE64);
    }
    assert_int_equal(start(&s, SASL_PLAIN, "AGFsaWNlAHNlY3JldHQ="), SASL_CREDENTIAL);
    assert_int_equal(start(&s, SASL_PLAIN, "AGFsaWNlAHNlY3JldHR="), SASL_BASE64);
}

static void a_star_cancels_and_wipes(void **state)
{
    (void)state;
    struct sasl s;
    assert_int_equal(sasl_start(&s, SASL_PLAIN, "", NULL, 0), SASL_CHALLENGE);
    assert_int_equal(step(&s, "*"), SASL_CANCELLED);
    assert_wiped(&s);
    assert_int_equal(start(&s, SASL_LOGIN, "YWxpY2U="), SASL_CHALLENGE);
    assert_string_equal(s.credential.login, "alice");
    assert_int_equal(step(&s, "*"), SASL_CANCELLED);
    assert_wiped(&s);
}

static void login_asks_for_name_and_password(void **state)
{
    (void)state;
    struct sasl s;
    assert_int_equal(sasl_start(&s, SASL_LOGIN, "", NULL, 0), SASL_CHALLENGE);
    assert_string_equal(s.challenge, "VXNlcm5hbWU6");
    assert_int_equal(step(&s, "YWxpY2U="), SASL_CHALLENGE);
    assert_string_equal(s.challenge, "UGFzc3dvcmQ6");
    assert_int_equal(step(&s, "c2VjcmV0"), SASL_CREDENTIAL);
    assert_credential(&s, SASL_LOGIN, "alice", "secret");
}

static void login_with_initial_response_asks_for_the_password(void **state)
{
    (void)state;
    struct sasl s;
    assert_int_equal(start(&s, SASL_LOGIN, "YWxpY2U="), SASL_CHALLENGE);
    assert_string_equal(s.challenge, "UGFzc3dvcmQ6");
    assert_int_equal(step(&s, "c2VjcmV0"), SASL_CREDENTIAL);
    assert_credential(&s, SASL_LOGIN, "alice", "secret");
}

static void nothing_of_an_exchange_is_left_for_the_next(void **state)
{
    (void)state;
    struct sasl s;
    assert_int_equal(start(&s, SASL_LOGIN, "YWxpY2U="), SASL_CHALLENGE);
    assert_int_equal(start(&s, SASL_PLAIN, "not base64"), SASL_BASE64);
    assert_wiped(&s);
    assert_int_equal(start(&s, SASL_LOGIN, "Ym9i"), SASL_CHALLENGE);
    assert_int_equal(step(&s, "c2VjcmV0"), SASL_CREDENTIAL);
    assert_credential(&s, SASL_LOGIN, "bob", "secret");
    sasl_wipe(&s);
    assert_wiped(&s);
    assert_int_equal(step(&s, "c2VjcmV0"), SASL_REFUSED);
}

static void a_shorter_credential_shows_nothing_of_a_longer_one(void **state)
{
    (void)state;
    struct sasl s;
    assert_int_equal(PLAIN(&s, "\0a-long-login\0a-long-password"), SASL_CREDENTIAL);
    assert_int_equal(PLAIN(&s, "\0b\0p"), SASL_CREDENTIAL);
    for (size_t i = 1; i < sizeof s.credential.login; i++)
        assert_int_equal(s.credential.login[i], 0);
    for (size_t i = 1; i < sizeof s.credential.secret; i++)
        assert_int_equal(s.credential.secret[i], 0);
}

/* An initial response of the mechanism. */
static enum sasl_status first(struct sasl *s, enum sasl_mechanism m, const char *external,
                              const void *bytes, size_t len)
{
    char *text = encode(bytes, len);
    enum sasl_status status = sasl_start(s, m, external, text, strlen(text));
    free(text);
    return status;
}

#define FIRST(s, m, literal) first((s), (m), "", (literal), sizeof(literal) - 1)
#define BEARER(s, literal) FIRST((s), SASL_OAUTHBEARER, literal)
#define XOAUTH2(s, literal) FIRST((s), SASL_XOAUTH2, literal)

static void a_bearer_token_with_and_without_a_name(void **state)
{
    (void)state;
    struct sasl s;
    assert_int_equal(BEARER(&s, "n,a=alice,\1auth=Bearer abc.DEF-_~+/09==\1\1"), SASL_CREDENTIAL);
    assert_credential(&s, SASL_OAUTHBEARER, "alice", "abc.DEF-_~+/09==");
    assert_int_equal(BEARER(&s, "n,,\1auth=Bearer t\1\1"), SASL_CREDENTIAL);
    assert_credential(&s, SASL_OAUTHBEARER, "", "t");
    assert_int_equal(BEARER(&s, "y,a=alice,\1auth=bearer t\1\1"), SASL_CREDENTIAL);
    assert_int_equal(sasl_start(&s, SASL_OAUTHBEARER, "", NULL, 0), SASL_CHALLENGE);
    assert_string_equal(s.challenge, "");
    assert_int_equal(step_bytes(&s, "n,,\1auth=Bearer t\1\1", 19), SASL_CREDENTIAL);
    assert_int_equal(XOAUTH2(&s, "user=alice@a.test\1auth=Bearer ya29.t\1\1"), SASL_CREDENTIAL);
    assert_credential(&s, SASL_XOAUTH2, "alice@a.test", "ya29.t");
}

static void names_beside_a_token_are_decoded(void **state)
{
    (void)state;
    struct sasl s;
    assert_int_equal(BEARER(&s, "n,a==2C=3D=3D2C,\1auth=Bearer t\1\1"), SASL_CREDENTIAL);
    assert_credential(&s, SASL_OAUTHBEARER, ",==2C", "t");
    assert_int_equal(BEARER(&s, "n,a=al=ice,\1auth=Bearer t\1\1"), SASL_REFUSED);
    assert_int_equal(BEARER(&s, "n,a=al=2c,\1auth=Bearer t\1\1"), SASL_REFUSED);
    assert_int_equal(BEARER(&s, "n,a=al=2,\1auth=Bearer t\1\1"), SASL_REFUSED);
    assert_int_equal(BEARER(&s, "n,a=alice=,\1auth=Bearer t\1\1"), SASL_REFUSED);
    assert_int_equal(BEARER(&s, "n,a=al\0ce,\1auth=Bearer t\1\1"), SASL_REFUSED);
    assert_int_equal(BEARER(&s, "n,a=al\nce,\1auth=Bearer t\1\1"), SASL_REFUSED);
    assert_int_equal(BEARER(&s, "n,a=al\xff"
                                "ce,\1auth=Bearer t\1\1"),
                     SASL_REFUSED);
    assert_int_equal(XOAUTH2(&s, "user=a=2Cb\1auth=Bearer t\1\1"), SASL_CREDENTIAL);
    assert_credential(&s, SASL_XOAUTH2, "a=2Cb", "t");
    assert_int_equal(XOAUTH2(&s, "user=a\0b\1auth=Bearer t\1\1"), SASL_REFUSED);
}

static enum sasl_status bearer_of(struct sasl *s, size_t login_len, size_t token_len)
{
    size_t len = 16 + login_len + token_len + 2;
    char *bytes = malloc(len + 8);
    memcpy(bytes, "n,a=", 4);
    memset(bytes + 4, 'x', login_len);
    memcpy(bytes + 4 + login_len, ",\1auth=Bearer ", 14);
    memset(bytes + 18 + login_len, 'y', token_len);
    memcpy(bytes + 18 + login_len + token_len, "\1\1", 2);
    enum sasl_status status = first(s, SASL_OAUTHBEARER, "", bytes, len + 2);
    free(bytes);
    return status;
}

static void tokens_are_as_long_as_a_line_can_be(void **state)
{
    (void)state;
    struct sasl s;
    assert_int_equal(bearer_of(&s, SASL_LOGIN_MAX, SASL_SECRET_MAX - 20 - SASL_LOGIN_MAX),
                     SASL_CREDENTIAL);
    assert_int_equal(strlen(s.credential.secret), SASL_SECRET_MAX - 20 - SASL_LOGIN_MAX);
    assert_int_equal(bearer_of(&s, SASL_LOGIN_MAX, SASL_SECRET_MAX - 19 - SASL_LOGIN_MAX),
                     SASL_REFUSED);
    assert_int_equal(bearer_of(&s, SASL_LOGIN_MAX + 1, 8), SASL_REFUSED);
    assert_int_equal(bearer_of(&s, 8, 20000), SASL_REFUSED);
    assert_int_equal(bearer_of(&s, 1, 1), SASL_CREDENTIAL);
    assert_int_equal(bearer_of(&s, 0, 1), SASL_REFUSED);
    assert_int_equal(bearer_of(&s, 1, 0), SASL_REFUSED);
}

static void oauthbearer_of_another_shape_is_refused(void **state)
{
    (void)state;
    struct sasl s;
    assert_int_equal(BEARER(&s, ""), SASL_REFUSED);
    assert_int_equal(BEARER(&s, "\1"), SASL_REFUSED); /* the answer to an error that was none */
    assert_int_equal(BEARER(&s, "n,,"), SASL_REFUSED);
    assert_int_equal(BEARER(&s, "n,,\1"), SASL_REFUSED);
    assert_int_equal(BEARER(&s, "n,,\1\1"), SASL_REFUSED);
    assert_int_equal(BEARER(&s, "n,\1auth=Bearer t\1\1"), SASL_REFUSED);
    assert_int_equal(BEARER(&s, ",,\1auth=Bearer t\1\1"), SASL_REFUSED);
    assert_int_equal(BEARER(&s, "p=tls-exporter,,\1auth=Bearer t\1\1"), SASL_REFUSED);
    assert_int_equal(BEARER(&s, "F,n,,\1auth=Bearer t\1\1"), SASL_REFUSED);
    assert_int_equal(BEARER(&s, "n,alice,\1auth=Bearer t\1\1"), SASL_REFUSED);
    assert_int_equal(BEARER(&s, "n,a=,\1auth=Bearer t\1\1"), SASL_REFUSED);
    assert_int_equal(BEARER(&s, "n,,auth=Bearer t\1\1"), SASL_REFUSED);
    assert_int_equal(BEARER(&s, "n,,\1auth=Bearer t\1"), SASL_REFUSED);
    assert_int_equal(BEARER(&s, "n,,\1auth=Bearer t"), SASL_REFUSED);
    assert_int_equal(BEARER(&s, "n,,\1auth=Bearer t\1\1\1"), SASL_REFUSED);
    assert_int_equal(BEARER(&s, "n,,\1auth=Bearer t\1\1x"), SASL_REFUSED);
    assert_int_equal(BEARER(&s, "n,,\1\1auth=Bearer t\1\1"), SASL_REFUSED);
    assert_int_equal(BEARER(&s, "n,,\1auth=Basic t\1\1"), SASL_REFUSED);
    assert_int_equal(BEARER(&s, "n,,\1auth=Bearert\1\1"), SASL_REFUSED);
    assert_int_equal(BEARER(&s, "n,,\1auth=Bearer  t\1\1"), SASL_REFUSED);
    assert_int_equal(BEARER(&s, "n,,\1auth=Bearer t t\1\1"), SASL_REFUSED);
    assert_int_equal(BEARER(&s, "n,,\1auth=Bearer =\1\1"), SASL_REFUSED);
    assert_int_equal(BEARER(&s, "n,,\1auth=Bearer t=t\1\1"), SASL_REFUSED);
    assert_int_equal(BEARER(&s, "n,,\1auth=Bearer t\0t\1\1"), SASL_REFUSED);
    assert_int_equal(BEARER(&s, "n,,\1auth=Bearer t\r\n\1\1"), SASL_REFUSED);
    assert_int_equal(BEARER(&s, "n,,\1auth=\1\1"), SASL_REFUSED);
    assert_int_equal(BEARER(&s, "n,,\1auth\1\1"), SASL_REFUSED);
    assert_wiped(&s);
}

static void keys_beside_a_token_come_once(void **state)
{
    (void)state;
    struct sasl s;
    assert_int_equal(BEARER(&s, "n,,\1host=mail.a.test\1port=587\1auth=Bearer t\1\1"),
                     SASL_CREDENTIAL);
    assert_int_equal(BEARER(&s, "n,,\1auth=Bearer t\1mthd=POST\1qs=\1\1"), SASL_CREDENTIAL);
    assert_int_equal(BEARER(&s, "n,,\1auth=Bearer t\1auth=Bearer t\1\1"), SASL_REFUSED);
    assert_int_equal(BEARER(&s, "n,,\1auth=Bearer t\1AUTH=Bearer u\1\1"), SASL_REFUSED);
    assert_int_equal(BEARER(&s, "n,,\1host=a\1auth=Bearer t\1host=a\1\1"), SASL_REFUSED);
    assert_int_equal(BEARER(&s, "n,,\1x=\1auth=Bearer t\1x=\1\1"), SASL_REFUSED);
    assert_int_equal(BEARER(&s, "n,,\1host=\1auth=Bearer t\1\1"), SASL_REFUSED);
    assert_int_equal(BEARER(&s, "n,,\1host=a b\1auth=Bearer t\1\1"), SASL_REFUSED);
    assert_int_equal(BEARER(&s, "n,,\1port=0\1auth=Bearer t\1\1"), SASL_REFUSED);
    assert_int_equal(BEARER(&s, "n,,\1port=65535\1auth=Bearer t\1\1"), SASL_CREDENTIAL);
    assert_int_equal(BEARER(&s, "n,,\1port=65536\1auth=Bearer t\1\1"), SASL_REFUSED);
    assert_int_equal(BEARER(&s, "n,,\1port=587x\1auth=Bearer t\1\1"), SASL_REFUSED);
    assert_int_equal(BEARER(&s, "n,,\1port=\1auth=Bearer t\1\1"), SASL_REFUSED);
    assert_int_equal(BEARER(&s, "n,,\1=x\1auth=Bearer t\1\1"), SASL_REFUSED);
    assert_int_equal(BEARER(&s, "n,,\1k1=x\1auth=Bearer t\1\1"), SASL_REFUSED);
    assert_int_equal(BEARER(&s, "n,,\1k=\x80\1auth=Bearer t\1\1"), SASL_REFUSED);
    assert_int_equal(BEARER(&s, "n,,\1a=\1b=\1c=\1d=\1e=\1f=\1g=\1h=\1i=\1j=\1k=\1l=\1m=\1n=\1"
                                "o=\1auth=Bearer t\1\1"),
                     SASL_CREDENTIAL);
    assert_int_equal(BEARER(&s, "n,,\1a=\1b=\1c=\1d=\1e=\1f=\1g=\1h=\1i=\1j=\1k=\1l=\1m=\1n=\1"
                                "o=\1p=\1auth=Bearer t\1\1"),
                     SASL_REFUSED);
}

static void xoauth2_of_another_shape_is_refused(void **state)
{
    (void)state;
    struct sasl s;
    assert_int_equal(XOAUTH2(&s, ""), SASL_REFUSED);
    assert_int_equal(XOAUTH2(&s, "user="), SASL_REFUSED);
    assert_int_equal(XOAUTH2(&s, "user=alice"), SASL_REFUSED);
    assert_int_equal(XOAUTH2(&s, "user=\1auth=Bearer t\1\1"), SASL_REFUSED);
    assert_int_equal(XOAUTH2(&s, "auth=Bearer t\1user=alice\1\1"), SASL_REFUSED);
    assert_int_equal(XOAUTH2(&s, "user=alice\1auth=Bearer t\1"), SASL_REFUSED);
    assert_int_equal(XOAUTH2(&s, "user=alice\1auth=Bearer t\1\1\1"), SASL_REFUSED);
    assert_int_equal(XOAUTH2(&s, "user=alice\1auth=Bearer \1\1"), SASL_REFUSED);
    assert_int_equal(XOAUTH2(&s, "user=alice\1user=bob\1auth=Bearer t\1\1"), SASL_REFUSED);
    assert_int_equal(XOAUTH2(&s, "user=alice\1auth=Bearer t\1auth=Bearer t\1\1"), SASL_REFUSED);
    assert_int_equal(XOAUTH2(&s, "n,a=alice,\1auth=Bearer t\1\1"), SASL_REFUSED);
    assert_wiped(&s);
}

static void who_brought_a_wrong_token_is_told_and_then_refused(void **state)
{
    (void)state;
    static const char *const answers[] = {"AQ==", "", "*", "not base64",
                                          "bixhPWEsAWF1dGg9QmVhcmVyIGIBAQ=="};
    struct sasl s;
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        assert_int_equal(BEARER(&s, "n,a=alice,\1auth=Bearer abc\1\1"), SASL_CREDENTIAL);
        assert_int_equal(sasl_refused(&s), SASL_CHALLENGE);
        assert_string_equal(s.challenge, "eyJzdGF0dXMiOiJpbnZhbGlkX3Rva2VuIn0=");
        assert_int_equal(s.credential.secret_len, 0);
        assert_string_equal(s.credential.secret, "");
        assert_int_equal(step(&s, answers[i]), SASL_REFUSED);
        assert_wiped(&s);
    }
    assert_int_equal(XOAUTH2(&s, "user=alice\1auth=Bearer abc\1\1"), SASL_CREDENTIAL);
    assert_int_equal(sasl_refused(&s), SASL_CHALLENGE);
    assert_string_equal(s.challenge, "eyJzdGF0dXMiOiI0MDEiLCJzY2hlbWVzIjoiYmVhcmVyIn0=");
    assert_int_equal(sasl_refused(&s), SASL_REFUSED);
    assert_wiped(&s);
}

static void who_brought_a_wrong_password_is_refused_at_once(void **state)
{
    (void)state;
    struct sasl s;
    assert_int_equal(PLAIN(&s, "\0alice\0secret"), SASL_CREDENTIAL);
    assert_int_equal(sasl_refused(&s), SASL_REFUSED);
    assert_wiped(&s);
    assert_int_equal(sasl_refused(&s), SASL_REFUSED);
    assert_int_equal(sasl_challenged(&s, (const uint8_t *)"x", 1), SASL_REFUSED);
}

static enum sasl_status external(struct sasl *s, const char *login, const char *authzid)
{
    return first(s, SASL_EXTERNAL, login, authzid, strlen(authzid));
}

static void external_is_whom_the_certificate_stands_for(void **state)
{
    (void)state;
    struct sasl s;
    assert_int_equal(sasl_start(&s, SASL_EXTERNAL, "alice@a.test", "=", 1), SASL_CREDENTIAL);
    assert_credential(&s, SASL_EXTERNAL, "alice@a.test", "");
    assert_int_equal(external(&s, "alice@a.test", "alice@a.test"), SASL_CREDENTIAL);
    assert_credential(&s, SASL_EXTERNAL, "alice@a.test", "");
    assert_int_equal(sasl_start(&s, SASL_EXTERNAL, "alice@a.test", NULL, 0), SASL_CHALLENGE);
    assert_string_equal(s.challenge, "");
    assert_int_equal(step(&s, ""), SASL_CREDENTIAL);
    assert_credential(&s, SASL_EXTERNAL, "alice@a.test", "");
    assert_int_equal(external(&s, "alice@a.test", "bob@a.test"), SASL_REFUSED);
    assert_int_equal(external(&s, "alice@a.test", "alice@a.tes"), SASL_REFUSED);
    assert_int_equal(external(&s, "alice@a.test", "alice@a.test1"), SASL_REFUSED);
    assert_int_equal(external(&s, "alice@a.test", "ALICE@a.test"), SASL_REFUSED);
    assert_int_equal(first(&s, SASL_EXTERNAL, "alice", "alice\0", 6), SASL_REFUSED);
    assert_int_equal(first(&s, SASL_EXTERNAL, "alice", "\0", 1), SASL_REFUSED);
    assert_wiped(&s);
}

static void external_without_a_certificate_is_nobody(void **state)
{
    (void)state;
    struct sasl s;
    char longest[SASL_LOGIN_MAX + 2] = {0};
    assert_int_equal(sasl_start(&s, SASL_EXTERNAL, "", "=", 1), SASL_REFUSED);
    assert_int_equal(external(&s, "", "alice"), SASL_REFUSED);
    memset(longest, 'l', SASL_LOGIN_MAX + 1);
    assert_int_equal(external(&s, longest, ""), SASL_REFUSED);
    longest[SASL_LOGIN_MAX] = '\0';
    assert_int_equal(external(&s, longest, ""), SASL_CREDENTIAL);
    assert_int_equal(external(&s, "al\nice", ""), SASL_REFUSED);
    assert_wiped(&s);
}

static void a_conversation_is_handed_on_message_by_message(void **state)
{
    (void)state;
    struct sasl s;
    assert_int_equal(FIRST(&s, SASL_SCRAM_SHA_256, "n,,n=alice,r=x"), SASL_CREDENTIAL);
    assert_credential(&s, SASL_SCRAM_SHA_256, "", "n,,n=alice,r=x");
    assert_false(s.asked_before);
    assert_int_equal(sasl_challenged(&s, (const uint8_t *)"r=xy,s=c2FsdA==,i=4096", 22),
                     SASL_CHALLENGE);
    assert_string_equal(s.challenge, "cj14eSxzPWMyRnNkQT09LGk9NDA5Ng==");
    assert_true(s.asked_before);
    assert_int_equal(step_bytes(&s, "c=\0iws", 6), SASL_CREDENTIAL);
    assert_int_equal(s.credential.secret_len, 6);
    assert_memory_equal(s.credential.secret, "c=\0iws", 7);
    assert_int_equal(s.credential.secret[8], 0); /* of the longer one before */
    assert_int_equal(sasl_challenged(&s, (const uint8_t *)"v=", 2), SASL_CHALLENGE);
    assert_int_equal(step(&s, ""), SASL_CREDENTIAL);
    assert_int_equal(s.credential.secret_len, 0);
    assert_true(s.asked_before);
    assert_int_equal(sasl_refused(&s), SASL_REFUSED);
    assert_wiped(&s);
}

static void a_conversation_that_the_client_begins_waits_for_it(void **state)
{
    (void)state;
    static const enum sasl_mechanism all[] = {SASL_SCRAM_SHA_256, SASL_SCRAM_SHA_256_PLUS,
                                              SASL_SCRAM_SHA_1,   SASL_GSSAPI,
                                              SASL_NTLM,          SASL_OTP};
    struct sasl s;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        assert_int_equal(sasl_start(&s, all[i], "", NULL, 0), SASL_CHALLENGE);
        assert_string_equal(s.challenge, "");
        assert_int_equal(step_bytes(&s, "x", 1), SASL_CREDENTIAL);
        assert_credential(&s, all[i], "", "x");
        assert_false(s.asked_before);
        assert_int_equal(start(&s, all[i], "="), SASL_CREDENTIAL);
        assert_int_equal(s.credential.secret_len, 0);
    }
}

static void a_conversation_that_the_server_begins_takes_no_first_word(void **state)
{
    (void)state;
    static const enum sasl_mechanism all[] = {SASL_CRAM_MD5, SASL_DIGEST_MD5};
    struct sasl s;
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(sasl_start(&s, all[i], "", NULL, 0), SASL_CREDENTIAL);
        assert_credential(&s, all[i], "", "");
        assert_false(s.asked_before);
        assert_int_equal(sasl_challenged(&s, (const uint8_t *)"<1@a>", 5), SASL_CHALLENGE);
        assert_string_equal(s.challenge, "PDFAYT4=");
        assert_int_equal(step_bytes(&s, "alice 00", 8), SASL_CREDENTIAL);
        assert_credential(&s, all[i], "", "alice 00");
        assert_int_equal(start(&s, all[i], "="), SASL_UNASKED);
        assert_int_equal(start(&s, all[i], "YWxpY2U="), SASL_UNASKED);
        assert_wiped(&s);
    }
}

static void a_conversation_is_bounded(void **state)
{
    (void)state;
    static uint8_t message[SASL_CHALLENGE_MAX + 1];
    struct sasl s;
    assert_int_equal(FIRST(&s, SASL_GSSAPI, "x"), SASL_CREDENTIAL);
    assert_int_equal(sasl_challenged(&s, message, SASL_CHALLENGE_MAX), SASL_CHALLENGE);
    assert_int_equal(strlen(s.challenge), (SASL_CHALLENGE_MAX + 2) / 3 * 4);
    assert_int_equal(step_bytes(&s, "x", 1), SASL_CREDENTIAL);
    assert_int_equal(sasl_challenged(&s, message, SASL_CHALLENGE_MAX + 1), SASL_REFUSED);
    assert_wiped(&s);
    assert_int_equal(sasl_start(&s, SASL_CRAM_MD5, "", NULL, 0), SASL_CREDENTIAL);
    for (int i = 0; i < SASL_STEPS_MAX; i++) {
        assert_int_equal(sasl_challenged(&s, message, 0), SASL_CHALLENGE);
        assert_string_equal(s.challenge, "");
        assert_int_equal(step(&s, ""), SASL_CREDENTIAL);
    }
    assert_int_equal(sasl_challenged(&s, message, 0), SASL_REFUSED);
    assert_wiped(&s);
    assert_int_equal(FIRST(&s, SASL_GSSAPI, "x"), SASL_CREDENTIAL);
    assert_int_equal(sasl_challenged(&s, message, 1), SASL_CHALLENGE);
    assert_int_equal(step(&s, "*"), SASL_CANCELLED);
    assert_wiped(&s);
}

static void only_a_conversation_has_challenges(void **state)
{
    (void)state;
    struct sasl s;
    assert_int_equal(PLAIN(&s, "\0alice\0secret"), SASL_CREDENTIAL);
    assert_int_equal(sasl_challenged(&s, (const uint8_t *)"x", 1), SASL_REFUSED);
    assert_wiped(&s);
    assert_int_equal(XOAUTH2(&s, "user=alice\1auth=Bearer abc\1\1"), SASL_CREDENTIAL);
    assert_int_equal(sasl_challenged(&s, (const uint8_t *)"x", 1), SASL_REFUSED);
    assert_wiped(&s);
}

static void kinds_of_mechanisms(void **state)
{
    (void)state;
    assert_int_equal(sasl_kind(SASL_PLAIN), SASL_KIND_PASSWORD);
    assert_int_equal(sasl_kind(SASL_LOGIN), SASL_KIND_PASSWORD);
    assert_int_equal(sasl_kind(SASL_OAUTHBEARER), SASL_KIND_TOKEN);
    assert_int_equal(sasl_kind(SASL_XOAUTH2), SASL_KIND_TOKEN);
    assert_int_equal(sasl_kind(SASL_EXTERNAL), SASL_KIND_EXTERNAL);
    for (unsigned bit = 1; bit < SASL_ALL; bit <<= 1) {
        if (bit != SASL_PLAIN && bit != SASL_LOGIN && bit != SASL_OAUTHBEARER &&
            bit != SASL_XOAUTH2 && bit != SASL_EXTERNAL)
            assert_int_equal(sasl_kind((enum sasl_mechanism)bit), SASL_KIND_EXCHANGE);
    }
}

static void mechanisms_by_name(void **state)
{
    (void)state;
    assert_int_equal(sasl_by_name("PLAIN", 5), SASL_PLAIN);
    assert_int_equal(sasl_by_name("lOgIn", 5), SASL_LOGIN);
    assert_int_equal(sasl_by_name("PLAI", 4), 0);
    assert_int_equal(sasl_by_name("PLAINX", 6), 0);
    assert_int_equal(sasl_by_name("", 0), 0);
    assert_int_equal(sasl_by_name("ANONYMOUS", 9), 0);
    assert_int_equal(sasl_by_name("scram-sha-256-plus", 18), SASL_SCRAM_SHA_256_PLUS);
    assert_int_equal(sasl_by_name("SCRAM-SHA-256", 13), SASL_SCRAM_SHA_256);
    for (unsigned bit = 1; bit < SASL_ALL; bit <<= 1) {
        const char *name = sasl_name((enum sasl_mechanism)bit);
        assert_int_equal(sasl_by_name(name, strlen(name)), bit);
    }
    assert_string_equal(sasl_name(SASL_PLAIN), "PLAIN");
    assert_string_equal(sasl_name(SASL_LOGIN), "LOGIN");
    assert_string_equal(sasl_name((enum sasl_mechanism)0), "");
}

static void mechanisms_are_listed_strongest_first(void **state)
{
    (void)state;
    char out[16];
    sasl_list(out, sizeof out, SASL_LOGIN | SASL_PLAIN);
    assert_string_equal(out, "PLAIN LOGIN");
    sasl_list(out, sizeof out, SASL_LOGIN);
    assert_string_equal(out, "LOGIN");
    sasl_list(out, sizeof out, 0);
    assert_string_equal(out, "");
    char all[SASL_LIST_MAX];
    sasl_list(all, sizeof all, SASL_ALL);
    assert_true(strlen(all) + 1 <= SASL_LIST_MAX - 8);
    assert_int_equal(strncmp(all, "EXTERNAL SCRAM-SHA-256-PLUS ", 28), 0);
    assert_string_equal(all + strlen(all) - 17, " NTLM PLAIN LOGIN");
    sasl_list(out, 11, SASL_LOGIN | SASL_PLAIN); /* one octet too few: whole names only */
    assert_string_equal(out, "PLAIN");
    sasl_list(out, 12, SASL_LOGIN | SASL_PLAIN);
    assert_string_equal(out, "PLAIN LOGIN");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_with_initial_response),
        cmocka_unit_test(plain_after_an_empty_challenge),
        cmocka_unit_test(plain_takes_the_login_as_its_own_authzid),
        cmocka_unit_test(plain_refuses_a_foreign_authzid),
        cmocka_unit_test(plain_needs_exactly_two_nuls),
        cmocka_unit_test(empty_login_or_password_is_refused),
        cmocka_unit_test(lengths_are_kept_to_the_octet),
        cmocka_unit_test(the_longest_line_is_decoded_not_overrun),
        cmocka_unit_test(control_octets_in_a_login_are_refused),
        cmocka_unit_test(nul_cr_and_lf_in_a_password_are_refused),
        cmocka_unit_test(only_strict_utf8_passes),
        cmocka_unit_test(base64_is_strict),
        cmocka_unit_test(base64_with_stray_bits_is_refused),
        cmocka_unit_test(a_star_cancels_and_wipes),
        cmocka_unit_test(login_asks_for_name_and_password),
        cmocka_unit_test(login_with_initial_response_asks_for_the_password),
        cmocka_unit_test(nothing_of_an_exchange_is_left_for_the_next),
        cmocka_unit_test(a_shorter_credential_shows_nothing_of_a_longer_one),
        cmocka_unit_test(a_bearer_token_with_and_without_a_name),
        cmocka_unit_test(names_beside_a_token_are_decoded),
        cmocka_unit_test(tokens_are_as_long_as_a_line_can_be),
        cmocka_unit_test(oauthbearer_of_another_shape_is_refused),
        cmocka_unit_test(keys_beside_a_token_come_once),
        cmocka_unit_test(xoauth2_of_another_shape_is_refused),
        cmocka_unit_test(who_brought_a_wrong_token_is_told_and_then_refused),
        cmocka_unit_test(who_brought_a_wrong_password_is_refused_at_once),
        cmocka_unit_test(external_is_whom_the_certificate_stands_for),
        cmocka_unit_test(external_without_a_certificate_is_nobody),
        cmocka_unit_test(a_conversation_is_handed_on_message_by_message),
        cmocka_unit_test(a_conversation_that_the_client_begins_waits_for_it),
        cmocka_unit_test(a_conversation_that_the_server_begins_takes_no_first_word),
        cmocka_unit_test(a_conversation_is_bounded),
        cmocka_unit_test(only_a_conversation_has_challenges),
        cmocka_unit_test(kinds_of_mechanisms),
        cmocka_unit_test(mechanisms_by_name),
        cmocka_unit_test(mechanisms_are_listed_strongest_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
