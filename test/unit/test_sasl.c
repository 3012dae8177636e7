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
        cmocka_unit_test(mechanisms_by_name),
        cmocka_unit_test(mechanisms_are_listed_strongest_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
