#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "auth/peer_certificate.h"
#include "tls_make.h"

static char fault[PEER_CERTIFICATE_FAULT_MAX];

static const char *fault_of(const char *names, long from, long to, const char *host)
{
    struct made m = make_certificate_for(make_ec_key(NID_X9_62_prime256v1), names, from, to, NULL);
    uint8_t *der = NULL;
    const int len = i2d_X509(m.x, &der);

    peer_certificate_fault(fault, der, (size_t)len, host, time(NULL));
    OPENSSL_free(der);
    made_free(&m);
    return fault;
}

#define SAYS(text, part)            \
    if (strstr(text, part) == NULL) \
    fail_msg("it says: %s", fault)

static void each_fault_is_named(void **state)
{
    (void)state;
    SAYS(fault_of("DNS:mail.example", -9 * MAKE_DAY, -2 * MAKE_DAY, "mail.example"),
         "expired on 2");
    SAYS(fault_of("DNS:mail.example", 2 * MAKE_DAY, 9 * MAKE_DAY, "mail.example"),
         "begins to hold on 2");
    SAYS(fault_of("DNS:mail.example", -MAKE_DAY, MAKE_DAY, "other.example"),
         "for subject.example, does not name other.example");
    SAYS(fault_of("DNS:mail.example", -MAKE_DAY, MAKE_DAY, "192.0.2.1"), "does not name 192.0.2.1");
    SAYS(fault_of("DNS:mail.example", -MAKE_DAY, MAKE_DAY, "mail.example"),
         "issued by subject.example, which is no authority");
    SAYS(fault_of("DNS:*.mail.example", -MAKE_DAY, MAKE_DAY, "a.mail.example"), "no authority");
    SAYS(fault_of("IP:192.0.2.1", -MAKE_DAY, MAKE_DAY, "192.0.2.1"), "no authority");
    SAYS(fault_of("IP:2001:db8::1", -MAKE_DAY, MAKE_DAY, "2001:db8::1"), "no authority");
}

static void what_is_no_certificate_is_said_to_be_none(void **state)
{
    (void)state;
    char until[PEER_CERTIFICATE_DATE_MAX] = "x";

    peer_certificate_fault(fault, (const uint8_t *)"garbage", 7, "h", 0);
    assert_string_equal(fault, "its certificate cannot be read");
    peer_certificate_fault(fault, NULL, 0, "h", 0);
    assert_string_equal(fault, "its certificate cannot be read");
    peer_certificate_until(until, (const uint8_t *)"garbage", 7);
    assert_string_equal(until, "");
}

static void the_last_day_is_shown(void **state)
{
    (void)state;
    struct made m =
        make_certificate_for(make_ec_key(NID_X9_62_prime256v1), "DNS:x", -MAKE_DAY, MAKE_DAY, NULL);
    char until[PEER_CERTIFICATE_DATE_MAX], expected[16];
    const time_t then = time(NULL) + MAKE_DAY;
    uint8_t *der = NULL;
    struct tm tm;
    const int len = i2d_X509(m.x, &der);

    strftime(expected, sizeof expected, "%Y-%m-%d", gmtime_r(&then, &tm));
    peer_certificate_until(until, der, (size_t)len);
    assert_string_equal(until, expected);
    OPENSSL_free(der);
    made_free(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_fault_is_named),
        cmocka_unit_test(what_is_no_certificate_is_said_to_be_none),
        cmocka_unit_test(the_last_day_is_shown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
