#include "auth/source.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const uint8_t *address(const char *text)
{
    static uint8_t out[16];
    memset(out, 0, sizeof out);
    out[10] = out[11] = 0xff;
    if (inet_pton(AF_INET, text, out + 12) != 1)
        assert_int_equal(inet_pton(AF_INET6, text, out), 1);
    return out;
}

static void expect_text(const char *of, const char *text)
{
    uint8_t source[SOURCE_LEN];
    char found[SOURCE_TEXT_MAX];
    source_of(source, address(of));
    source_text(found, source);
    assert_string_equal(found, text);
}

static void ipv4_counts_by_24_bits_and_ipv6_by_56(void **state)
{
    (void)state;
    expect_text("192.0.2.77", "192.0.2.0/24");
    expect_text("::ffff:192.0.2.77", "192.0.2.0/24");
    expect_text("255.255.255.255", "255.255.255.0/24");
    expect_text("2001:db8:1:2ff::1", "2001:db8:1:200::/56");
    expect_text("2001:db8:1:3ff:ffff::1", "2001:db8:1:300::/56");
    expect_text("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ffff:ffff:ffff:ff00::/56");
}

static void around_ipv6_are_48_bits_and_around_ipv4_nothing(void **state)
{
    (void)state;
    uint8_t source[SOURCE_LEN], around[SOURCE_LEN];
    char text[SOURCE_TEXT_MAX];
    source_of(source, address("2001:db8:1:2ff::1"));
    assert_true(source_around(around, source));
    source_around_text(text, around);
    assert_string_equal(text, "2001:db8:1::/48");
    source_of(source, address("192.0.2.77"));
    assert_false(source_around(around, source));
}

static void loopback_is_all_of_127_and_one_of_ipv6(void **state)
{
    (void)state;
    static const struct {
        const char *address;
        bool loopback;
    } table[] = {{"127.0.0.1", true},  {"127.255.3.4", true}, {"::1", true},
                 {"128.0.0.1", false}, {"126.0.0.1", false},  {"0:0:0:100::1", false},
                 {"192.0.2.1", false}, {"2001:db8::1", false}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        uint8_t source[SOURCE_LEN];
        source_of(source, address(table[i].address));
        assert_int_equal(source_loopback(source), table[i].loopback);
    }
}

static void what_is_written_is_read_back(void **state)
{
    (void)state;
    static const char *const addresses[] = {"192.0.2.77", "0.0.0.0", "2001:db8:1:2ff::1", "::1"};
    for (size_t i = 0; i < sizeof addresses / sizeof *addresses; i++) {
        uint8_t source[SOURCE_LEN], again[SOURCE_LEN];
        char text[SOURCE_TEXT_MAX];
        source_of(source, address(addresses[i]));
        source_text(text, source);
        assert_true(source_parse(again, text));
        assert_memory_equal(again, source, sizeof source);
        assert_true(source_parse(again, addresses[i]));
        assert_memory_equal(again, source, sizeof source);
    }
    uint8_t around[SOURCE_LEN], again[SOURCE_LEN];
    assert_true(source_around_parse(around, "2001:db8:1:2ff::1"));
    assert_true(source_around_parse(again, "2001:db8:1::/48"));
    assert_memory_equal(again, around, sizeof around);
}

static void what_is_neither_network_nor_address_is_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "alice",
        "192.0.2",
        "192.0.2.0/23",
        "192.0.2.0/24 ",
        "/24",
        "192.0.2.0/240",
        "2001:db8::/64",
        "2001:db8::/24",
        "192.0.2.0/56",
        "::1/",
        "192.0.2.256",
        "2001:db8::/48",
        "1:2:3:4:5:6:7:8:9",
        "0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000"};
    uint8_t out[SOURCE_LEN];
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (source_parse(out, texts[i]))
            fail_msg("%s", texts[i]);
    assert_false(source_around_parse(out, "192.0.2.1"));
    assert_false(source_around_parse(out, "192.0.2.0/24"));
    assert_false(source_around_parse(out, "2001:db8::/56"));
    assert_false(source_around_parse(out, "bob"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ipv4_counts_by_24_bits_and_ipv6_by_56),
        cmocka_unit_test(around_ipv6_are_48_bits_and_around_ipv4_nothing),
        cmocka_unit_test(loopback_is_all_of_127_and_one_of_ipv6),
        cmocka_unit_test(what_is_written_is_read_back),
        cmocka_unit_test(what_is_neither_network_nor_address_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
