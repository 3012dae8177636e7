#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <netinet/in.h>

#include "proxy/address.h"

static struct address numeric(const char *host, uint16_t port)
{
    struct address out[4];
    const char *error = NULL;
    assert_int_equal(address_resolve(out, 4, host, port, &error), 1);
    return out[0];
}

static void assert_shown(const char *host, uint16_t port, const char *as_host, const char *as_text)
{
    struct address a = numeric(host, port);
    char text[ADDRESS_TEXT_MAX];
    address_host(text, &a);
    assert_string_equal(text, as_host);
    address_text(text, &a);
    assert_string_equal(text, as_text);
}

static void addresses_are_shown_with_and_without_port(void **state)
{
    (void)state;
    assert_shown("192.0.2.1", 25, "192.0.2.1", "192.0.2.1:25");
    assert_shown("2001:db8::1", 465, "2001:db8::1", "[2001:db8::1]:465");
    assert_shown("::", 65535, "::", "[::]:65535");
    assert_shown("2001:db8:1111:2222:3333:4444:5555:6666", 65535,
                 "2001:db8:1111:2222:3333:4444:5555:6666",
                 "[2001:db8:1111:2222:3333:4444:5555:6666]:65535");
}

static void a_mapped_address_is_shown_as_ipv4(void **state)
{
    (void)state;
    assert_shown("::ffff:192.0.2.1", 587, "192.0.2.1", "192.0.2.1:587");
}

static void octets_are_the_same_for_ipv4_and_its_mapped_form(void **state)
{
    (void)state;
    static const uint8_t expected[16] = {[10] = 0xff, 0xff, 192, 0, 2, 1};
    uint8_t octets[16];
    struct address a = numeric("192.0.2.1", 25);
    address_octets(octets, &a);
    assert_memory_equal(octets, expected, 16);
    a = numeric("::ffff:192.0.2.1", 25);
    address_octets(octets, &a);
    assert_memory_equal(octets, expected, 16);
    a = numeric("2001:db8::1", 25);
    address_octets(octets, &a);
    assert_int_equal(octets[0], 0x20);
    assert_int_equal(octets[15], 1);
}

static void the_port_and_length_are_those_of_the_family(void **state)
{
    (void)state;
    struct address a = numeric("192.0.2.1", 587);
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    assert_int_equal(a.len, sizeof v4);
    memcpy(&v4, &a.storage, sizeof v4);
    assert_int_equal(ntohs(v4.sin_port), 587);
    a = numeric("::1", 465);
    assert_int_equal(a.len, sizeof v6);
    memcpy(&v6, &a.storage, sizeof v6);
    assert_int_equal(ntohs(v6.sin6_port), 465);
}

static void a_star_is_every_address_of_each_family(void **state)
{
    (void)state;
    struct address out[4];
    const char *error = NULL;
    char text[ADDRESS_TEXT_MAX];
    size_t count = address_resolve(out, 4, "*", 465, &error);
    assert_in_range(count, 1, 2);
    address_text(text, &out[0]);
    assert_string_equal(text, "0.0.0.0:465");
    if (count == 2) {
        address_text(text, &out[1]);
        assert_string_equal(text, "[::]:465");
    }
    assert_int_equal(address_resolve(out, 1, "*", 465, &error), 1);
    assert_int_equal(address_resolve(out, 0, "*", 465, &error), 0);
}

static void localhost_resolves_and_the_maximum_holds(void **state)
{
    (void)state;
    struct address out[8];
    const char *error = NULL;
    assert_in_range(address_resolve(out, 8, "localhost", 25, &error), 1, 8);
    assert_int_equal(address_resolve(out, 1, "localhost", 25, &error), 1);
}

static void what_does_not_resolve_has_a_reason(void **state)
{
    (void)state;
    struct address out[1];
    const char *error = NULL;
    assert_int_equal(address_resolve(out, 1, "no such host", 25, &error), 0);
    assert_non_null(error);
    assert_true(error[0] != '\0');
}

static void an_address_of_no_family_is_shown_as_unknown(void **state)
{
    (void)state;
    struct address a = {.len = 0};
    char text[ADDRESS_TEXT_MAX];
    uint8_t octets[16];
    static const uint8_t zeros[16];
    address_text(text, &a);
    assert_string_equal(text, "unknown:0");
    address_octets(octets, &a);
    assert_memory_equal(octets, zeros, 16);
}

static void octets_and_port_make_the_address_again(void **state)
{
    static const char *const hosts[] = {"192.0.2.7", "2001:db8::7", "127.0.0.1", "::1"};
    (void)state;
    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
        struct address a, again;
        uint8_t octets[16];
        const char *error = "";
        assert_int_equal(address_resolve(&a, 1, hosts[i], 587, &error), 1);
        address_octets(octets, &a);
        address_from_octets(&again, octets, address_port(&a));
        assert_int_equal(again.len, a.len);
        assert_memory_equal(&again.storage, &a.storage, a.len);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_are_shown_with_and_without_port),
        cmocka_unit_test(a_mapped_address_is_shown_as_ipv4),
        cmocka_unit_test(octets_are_the_same_for_ipv4_and_its_mapped_form),
        cmocka_unit_test(the_port_and_length_are_those_of_the_family),
        cmocka_unit_test(a_star_is_every_address_of_each_family),
        cmocka_unit_test(localhost_resolves_and_the_maximum_holds),
        cmocka_unit_test(what_does_not_resolve_has_a_reason),
        cmocka_unit_test(an_address_of_no_family_is_shown_as_unknown),
        cmocka_unit_test(octets_and_port_make_the_address_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
