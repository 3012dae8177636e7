#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>

#include "conf/conf.h"
#include "proxy/network.h"

static void octets(uint8_t out[16], const char *text)
{
    char mapped[64];

    snprintf(mapped, sizeof mapped, "%s%s", strchr(text, ':') == NULL ? "::ffff:" : "", text);
    if (inet_pton(AF_INET6, mapped, out) != 1)
        fail_msg("not an address: %s", text);
}

static bool contains(const char *network, unsigned bits, const char *address)
{
    uint8_t n[16], a[16];

    octets(n, network);
    octets(a, address);
    return network_contains(n, (uint8_t)bits, a);
}

static void ipv4_networks_hold_what_is_theirs(void **state)
{
    (void)state;
    assert_true(contains("192.0.2.0", 96 + 24, "192.0.2.0"));
    assert_true(contains("192.0.2.0", 96 + 24, "192.0.2.255"));
    assert_false(contains("192.0.2.0", 96 + 24, "192.0.3.0"));
    assert_false(contains("192.0.2.0", 96 + 24, "192.0.1.255"));
    assert_true(contains("10.0.0.0", 96 + 8, "10.255.255.255"));
    assert_false(contains("10.0.0.0", 96 + 8, "11.0.0.0"));
    assert_true(contains("172.16.0.0", 96 + 12, "172.31.255.255"));
    assert_false(contains("172.16.0.0", 96 + 12, "172.32.0.0"));
    assert_true(contains("192.0.2.1", 128, "192.0.2.1"));
    assert_false(contains("192.0.2.1", 128, "192.0.2.0"));
    assert_true(contains("0.0.0.0", 96, "203.0.113.9"));
    assert_true(contains("128.0.0.0", 97, "255.0.0.1"));
    assert_false(contains("128.0.0.0", 97, "127.255.255.255"));
}

static void ipv6_networks_hold_what_is_theirs(void **state)
{
    (void)state;
    assert_true(contains("2001:db8::", 32, "2001:db8:ffff::1"));
    assert_false(contains("2001:db8::", 32, "2001:db9::"));
    assert_true(contains("2001:db8::", 33, "2001:db8:7fff::"));
    assert_false(contains("2001:db8::", 33, "2001:db8:8000::"));
    assert_true(contains("::1", 128, "::1"));
    assert_false(contains("::1", 128, "::"));
    assert_true(contains("::", 0, "2001:db8::1"));
}

static void the_families_do_not_mix(void **state)
{
    (void)state;
    assert_false(contains("::", 0, "192.0.2.1"));
    assert_false(contains("::", 64, "192.0.2.1"));
    assert_false(contains("::ffff:0:0", 95, "192.0.2.1"));
    assert_true(contains("::ffff:0:0", 96, "192.0.2.1"));
    assert_false(contains("0.0.0.0", 96, "2001:db8::1"));
    assert_false(contains("0.0.0.0", 96, "::1"));
    assert_false(contains("192.0.2.1", 128, "::192.0.2.1")); /* v4-compatible is no IPv4 */
}

static void a_mapped_address_is_the_ipv4_one(void **state)
{
    (void)state;
    assert_true(contains("192.0.2.0", 96 + 24, "::ffff:192.0.2.7"));
    assert_true(contains("::ffff:192.0.2.0", 96 + 24, "192.0.2.7"));
}

static void what_stands_behind_the_bits_does_not_matter(void **state)
{
    (void)state;
    assert_true(contains("192.0.2.77", 96 + 24, "192.0.2.1"));
    assert_true(contains("2001:db8::99", 32, "2001:db8::1"));
}

static void too_many_bits_hold_nobody(void **state)
{
    (void)state;
    assert_false(contains("192.0.2.1", 129, "192.0.2.1"));
    assert_false(contains("::1", 255, "::1"));
}

/* Every length, against a comparison bit by bit. */
static void every_length_counts_exactly_its_bits(void **state)
{
    (void)state;
    uint8_t network[16];

    octets(network, "2001:db8:5a5a:a5a5:1234:5678:9abc:def0");
    for (unsigned bits = 0; bits <= 128; bits++) {
        for (unsigned flipped = 0; flipped < 128; flipped++) {
            uint8_t address[16];
            memcpy(address, network, 16);
            address[flipped / 8] ^= (uint8_t)(0x80 >> flipped % 8);
            assert_int_equal(network_contains(network, (uint8_t)bits, address), flipped >= bits);
        }
    }
}

static void a_client_is_an_ipv4_address_or_a_64_of_ipv6(void **state)
{
    (void)state;
    static const char *const table[][2] = {
        {"192.0.2.77", "192.0.2.77"},
        {"2001:db8:1:2:ffff:4:5:6", "2001:db8:1:2::"},
        {"::1", "::"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        uint8_t in[16], out[16], expected[16];
        octets(in, table[i][0]);
        octets(expected, table[i][1]);
        network_of_client(out, in);
        assert_memory_equal(out, expected, 16);
        network_of_client(in, in); /* in place as well */
        assert_memory_equal(in, expected, 16);
    }
}

static void loopback_is_told_from_the_rest(void **state)
{
    (void)state;
    static const char *const yes[] = {"127.0.0.1", "127.255.255.254", "::1", "::ffff:127.0.0.1"};
    static const char *const no[] = {
        "128.0.0.1", "126.255.255.255", "::", "::2", "::127.0.0.1", "fe80::1"};
    uint8_t a[16];

    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++) {
        octets(a, yes[i]);
        assert_true(network_is_loopback(a));
    }
    for (size_t i = 0; i < sizeof no / sizeof *no; i++) {
        octets(a, no[i]);
        assert_false(network_is_loopback(a));
    }
}

static void a_list_holds_what_one_of_its_networks_holds(void **state)
{
    struct conf_networks networks = {.count = 2};
    const uint8_t six[16] = {0x20, 0x01, 0x0d, 0xb8, [15] = 7};
    const uint8_t four[16] = {[10] = 0xff, [11] = 0xff, [12] = 192, [14] = 2, [15] = 7};

    (void)state;
    memcpy(networks.at[0].address, four, 16);
    networks.at[0].bits = 128;
    memcpy(networks.at[1].address, six, 16);
    networks.at[1].bits = 32;
    assert_true(network_listed(&networks, four));
    assert_true(network_listed(&networks, six));
    networks.count = 1;
    assert_false(network_listed(&networks, six));
    networks.count = 0;
    assert_false(network_listed(&networks, four));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_list_holds_what_one_of_its_networks_holds),
        cmocka_unit_test(ipv4_networks_hold_what_is_theirs),
        cmocka_unit_test(ipv6_networks_hold_what_is_theirs),
        cmocka_unit_test(the_families_do_not_mix),
        cmocka_unit_test(a_mapped_address_is_the_ipv4_one),
        cmocka_unit_test(what_stands_behind_the_bits_does_not_matter),
        cmocka_unit_test(too_many_bits_hold_nobody),
        cmocka_unit_test(every_length_counts_exactly_its_bits),
        cmocka_unit_test(a_client_is_an_ipv4_address_or_a_64_of_ipv6),
        cmocka_unit_test(loopback_is_told_from_the_rest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
