#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>

#include "proxy/proxy_header.h"

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define TCP4_ADDRESSES "\xc0\x00\x02\x01\xc6\x33\x64\x07\xc8\x22\x01\xd1"
#define HELLO "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"

/* A literal without its NUL. */
#define OCTETS(literal) literal, sizeof(literal) - 1

static enum proxy_header_status parse(struct proxy_header *h, size_t *used, const void *in,
                                      size_t len)
{
    uint8_t *fit = malloc(len > 0 ? len : 1);

    memcpy(fit, in, len);
    memset(h, 0xaa, sizeof *h);
    enum proxy_header_status status = proxy_header_parse(h, used, fit, len);
    free(fit);
    return status;
}

static void expect_address(const uint8_t got[16], const char *expected)
{
    char mapped[64];
    uint8_t octets[16];

    snprintf(mapped, sizeof mapped, "%s%s", strchr(expected, ':') == NULL ? "::ffff:" : "",
             expected);
    assert_int_equal(inet_pton(AF_INET6, mapped, octets), 1);
    assert_memory_equal(got, octets, 16);
}

/* Whole, cut at every octet, and with every number of octets of what follows behind it. */
static struct proxy_header take(const void *in, size_t len)
{
    struct proxy_header h;
    uint8_t glued[PROXY_HEADER_MAX + sizeof HELLO];
    size_t used = 0;

    for (size_t n = 0; n < len; n++) {
        if (parse(&h, &used, in, n) != PROXY_MORE)
            fail_msg("no PROXY_MORE after %zu octets of %zu", n, len);
    }
    memcpy(glued, in, len);
    memcpy(glued + len, HELLO, sizeof HELLO);
    for (size_t n = len; n <= len + sizeof HELLO; n++) {
        used = 0;
        assert_int_equal(parse(&h, &used, glued, n), PROXY_HEADER);
        assert_int_equal(used, len);
    }
    return h;
}

/* Bad with its last octet, and not before; whatever follows. */
static void bad_at_last(const void *in, size_t len)
{
    struct proxy_header h;
    uint8_t longer[PROXY_HEADER_MAX + 64];
    size_t used;

    for (size_t n = 0; n < len; n++) {
        if (parse(&h, &used, in, n) != PROXY_MORE)
            fail_msg("no PROXY_MORE after %zu octets of: %s", n, (const char *)in);
    }
    if (parse(&h, &used, in, len) != PROXY_BAD)
        fail_msg("not bad: %s", (const char *)in);
    memcpy(longer, in, len);
    memcpy(longer + len, " 1\r\n", 4);
    assert_int_equal(parse(&h, &used, longer, len + 4), PROXY_BAD);
}

static void expect_local(struct proxy_header h)
{
    static const uint8_t nothing[16];

    assert_true(h.local);
    assert_memory_equal(h.source, nothing, 16);
    assert_memory_equal(h.destination, nothing, 16);
    assert_int_equal(h.source_port, 0);
    assert_int_equal(h.destination_port, 0);
}

static void version_1_names_ipv4_clients(void **state)
{
    (void)state;
    struct proxy_header h = take(OCTETS("PROXY TCP4 192.0.2.1 198.51.100.7 51234 465\r\n"));
    assert_false(h.local);
    expect_address(h.source, "192.0.2.1");
    expect_address(h.destination, "198.51.100.7");
    assert_int_equal(h.source_port, 51234);
    assert_int_equal(h.destination_port, 465);
    h = take(OCTETS("PROXY TCP4 0.0.0.0 255.255.255.255 1 65535\r\n"));
    expect_address(h.source, "0.0.0.0");
    expect_address(h.destination, "255.255.255.255");
    assert_int_equal(h.source_port, 1);
    assert_int_equal(h.destination_port, 65535);
}

static void version_1_names_ipv6_clients(void **state)
{
    (void)state;
    struct proxy_header h = take(OCTETS("PROXY TCP6 2001:db8::1 2001:DB8::2 51234 465\r\n"));
    assert_false(h.local);
    expect_address(h.source, "2001:db8::1");
    expect_address(h.destination, "2001:db8::2");
    h = take(OCTETS("PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
                    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe 65535 65535\r\n"));
    expect_address(h.destination, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe");
    h = take(OCTETS("PROXY TCP6 ::ffff:192.0.2.1 ::ffff:192.0.2.2 9 25\r\n"));
    expect_address(h.source, "192.0.2.1");
}

static void version_1_may_not_know(void **state)
{
    (void)state;
    char longest[107];

    expect_local(take(OCTETS("PROXY UNKNOWN\r\n")));
    expect_local(take(OCTETS("PROXY UNKNOWN \r\n")));
    expect_local(take(OCTETS("PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n")));
    memset(longest, 'x', sizeof longest);
    memcpy(longest, "PROXY UNKNOWN ", 14);
    memcpy(longest + 105, "\r\n", 2);
    expect_local(take(longest, sizeof longest));
}

static void version_1_is_at_most_107_octets(void **state)
{
    (void)state;
    char line[110];

    memset(line, 'x', sizeof line);
    memcpy(line, "PROXY UNKNOWN ", 14);
    memcpy(line + 106, "\r\n", 3);
    bad_at_last(line, 107);
}

static void version_1_is_read_to_the_letter(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "p",
        "PROXY\t",
        "PROXY  ",
        "PROXY t",
        "PROXY TCP ",
        "PROXY TCP5",
        "PROXY TCP4  ",
        "PROXY TCP4\r",
        "PROXY UNKNOWNX",
        "PROXY UNKNOWN\n",
        "PROXY UNKNOWN \t",
        "PROXY UNKNOWN\rX",
        "PROXY TCP4 256",
        "PROXY TCP4 00",
        "PROXY TCP4 192.01",
        "PROXY TCP4 192.0.02",
        "PROXY TCP4 192.0.2 ",
        "PROXY TCP4 192..",
        "PROXY TCP4 .",
        "PROXY TCP4 -",
        "PROXY TCP4 +",
        "PROXY TCP4 192.0.2.1.",
        "PROXY TCP4 1a",
        "PROXY TCP4 2001", /* families do not mix */
        "PROXY TCP4 192.0.2.1 2001",
        "PROXY TCP6 192.0.2.1 ",
        "PROXY TCP6 2001:db8::1 192.0.2.1 ",
        "PROXY TCP6  ",
        "PROXY TCP6 g",
        "PROXY TCP6 2001:db8::1%",
        "PROXY TCP6 1::2::3 ",
        "PROXY TCP6 1:2:3:4:5:6:7 ",
        "PROXY TCP6 12345:: ",
        "PROXY TCP6 [",
        "PROXY TCP4 192.0.2.1 198.51.100.7 0",
        "PROXY TCP4 192.0.2.1 198.51.100.7 65536",
        "PROXY TCP4 192.0.2.1 198.51.100.7 99999",
        "PROXY TCP4 192.0.2.1 198.51.100.7  ",
        "PROXY TCP4 192.0.2.1 198.51.100.7 1\r",
        "PROXY TCP4 192.0.2.1 198.51.100.7 1 0",
        "PROXY TCP4 192.0.2.1 198.51.100.7 1 655350",
        "PROXY TCP4 192.0.2.1 198.51.100.7 1 25 ",
        "PROXY TCP4 192.0.2.1 198.51.100.7 1 25\n",
        "PROXY TCP4 192.0.2.1 198.51.100.7 1 25\rX",
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        bad_at_last(lines[i], strlen(lines[i]));
}

static void version_2_names_ipv4_clients(void **state)
{
    (void)state;
    struct proxy_header h = take(OCTETS(SIGNATURE "\x21\x11\x00\x0c" TCP4_ADDRESSES));
    assert_false(h.local);
    expect_address(h.source, "192.0.2.1");
    expect_address(h.destination, "198.51.100.7");
    assert_int_equal(h.source_port, 51234);
    assert_int_equal(h.destination_port, 465);
}

static void version_2_names_ipv6_clients(void **state)
{
    (void)state;
    struct proxy_header h = take(OCTETS(SIGNATURE "\x21\x21\x00\x24"
                                                  "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"
                                                  "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02"
                                                  "\xc8\x22\x01\xd1"));
    assert_false(h.local);
    expect_address(h.source, "2001:db8::1");
    expect_address(h.destination, "2001:db8::2");
    assert_int_equal(h.source_port, 51234);
    assert_int_equal(h.destination_port, 465);
}

static void version_2_may_be_local_or_of_no_network(void **state)
{
    (void)state;
    uint8_t path[16 + 216] = SIGNATURE "\x21\x31\x00\xd8/run/socket";

    expect_local(take(OCTETS(SIGNATURE "\x20\x00\x00\x00")));
    expect_local(take(OCTETS(SIGNATURE "\x20\x11\x00\x0c" TCP4_ADDRESSES)));
    expect_local(take(OCTETS(SIGNATURE "\x20\xff\x00\x03xyz")));
    expect_local(take(OCTETS(SIGNATURE "\x21\x00\x00\x00")));
    expect_local(take(OCTETS(SIGNATURE "\x21\x00\x00\x05xyzzy")));
    expect_local(take(path, sizeof path));
    path[13] = 0x32;
    expect_local(take(path, sizeof path));
}

static void extras_of_version_2_are_skipped(void **state)
{
    (void)state;
    uint8_t longest[16 + 536] = SIGNATURE "\x21\x11\x02\x18" TCP4_ADDRESSES "\x04\x02\x09";
    struct proxy_header h = take(OCTETS(SIGNATURE "\x21\x11\x00\x1a" TCP4_ADDRESSES
                                                  "\x01\x00\x04smtp\x04\x00\x00\x04\x00\x01x"));
    assert_false(h.local);
    expect_address(h.source, "192.0.2.1");
    h = take(longest, sizeof longest);
    expect_address(h.source, "192.0.2.1");
}

static void version_2_is_read_to_the_letter(void **state)
{
    (void)state;
    bad_at_last(OCTETS("\n"));
    bad_at_last(OCTETS("\r\r"));
    bad_at_last(OCTETS("\r\n\r\n\0\r\nQUIT\r"));
    bad_at_last(OCTETS(SIGNATURE "\x11"));     /* version 1 in binary */
    bad_at_last(OCTETS(SIGNATURE "\x22"));     /* an unknown command */
    bad_at_last(OCTETS(SIGNATURE "\x21\x12")); /* UDP */
    bad_at_last(OCTETS(SIGNATURE "\x21\x22"));
    bad_at_last(OCTETS(SIGNATURE "\x21\x10"));
    bad_at_last(OCTETS(SIGNATURE "\x21\x01"));
    bad_at_last(OCTETS(SIGNATURE "\x21\x33"));
    bad_at_last(OCTETS(SIGNATURE "\x21\x41"));
    bad_at_last(OCTETS(SIGNATURE "\x21\x11\xff")); /* 65,535 octets */
    bad_at_last(OCTETS(SIGNATURE "\x21\x11\x03"));
    bad_at_last(OCTETS(SIGNATURE "\x21\x11\x02\x19")); /* 537 */
    bad_at_last(OCTETS(SIGNATURE "\x20\x00\x02\x19"));
    bad_at_last(OCTETS(SIGNATURE "\x21\x11\x00\x0b")); /* shorter than its addresses */
    bad_at_last(OCTETS(SIGNATURE "\x21\x21\x00\x23"));
    bad_at_last(OCTETS(SIGNATURE "\x21\x31\x00\xd7"));
    bad_at_last(
        OCTETS(SIGNATURE "\x21\x11\x00\x0c\xc0\x00\x02\x01\xc6\x33\x64\x07\x00\x00\x01\xd1"));
    bad_at_last(OCTETS(SIGNATURE "\x21\x11\x00\x0d" TCP4_ADDRESSES)); /* an extra of one octet */
    bad_at_last(OCTETS(SIGNATURE "\x21\x11\x00\x0e" TCP4_ADDRESSES));
    bad_at_last(OCTETS(SIGNATURE "\x21\x11\x00\x10" TCP4_ADDRESSES "\x04\x00\x02")); /* too long */
    bad_at_last(OCTETS(SIGNATURE "\x21\x11\x00\x10" TCP4_ADDRESSES "\x04\xff\xff"));
    bad_at_last(OCTETS(SIGNATURE "\x21\x11\x00\x11" TCP4_ADDRESSES "\x04\x00\x01")); /* a rest */
}

static void what_is_no_header_is_bad_at_once(void **state)
{
    (void)state;
    bad_at_last(OCTETS("\x16"));
    bad_at_last(OCTETS("E"));
    bad_at_last(OCTETS("\0"));
    bad_at_last(OCTETS("PRX"));
}

static void octets_of(uint8_t out[16], const char *text)
{
    char mapped[64];

    snprintf(mapped, sizeof mapped, "%s%s", strchr(text, ':') == NULL ? "::ffff:" : "", text);
    assert_int_equal(inet_pton(AF_INET6, mapped, out), 1);
}

static void expect_written(enum proxy_header_version version, const char *source,
                           const char *destination, const void *expected, size_t len)
{
    uint8_t out[PROXY_HEADER_WRITE_MAX];
    uint8_t from[16], to[16];

    octets_of(from, source);
    octets_of(to, destination);
    assert_int_equal(proxy_header_write(out, version, from, 51234, to, 465), len);
    assert_memory_equal(out, expected, len);
    struct proxy_header h = take(out, len);
    assert_memory_equal(h.source, from, 16);
    assert_memory_equal(h.destination, to, 16);
}

static void headers_are_written_as_the_specification_shows_them(void **state)
{
    (void)state;
    expect_written(PROXY_V1, "192.0.2.1", "198.51.100.7",
                   OCTETS("PROXY TCP4 192.0.2.1 198.51.100.7 51234 465\r\n"));
    expect_written(PROXY_V1, "2001:db8::1", "::1",
                   OCTETS("PROXY TCP6 2001:db8::1 ::1 51234 465\r\n"));
    expect_written(PROXY_V1, "192.0.2.1", "::1",
                   OCTETS("PROXY TCP6 ::ffff:192.0.2.1 ::1 51234 465\r\n"));
    expect_written(PROXY_V2, "192.0.2.1", "198.51.100.7",
                   OCTETS(SIGNATURE "\x21\x11\x00\x0c" TCP4_ADDRESSES));
    expect_written(PROXY_V2, "2001:db8::1", "192.0.2.1",
                   OCTETS(SIGNATURE "\x21\x21\x00\x24"
                                    "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"
                                    "\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\x00\x02\x01"
                                    "\xc8\x22\x01\xd1"));
}

static void the_longest_header_fits(void **state)
{
    (void)state;
    uint8_t out[PROXY_HEADER_WRITE_MAX];
    uint8_t ones[16];

    memset(ones, 0xff, sizeof ones);
    size_t len = proxy_header_write(out, PROXY_V1, ones, 65535, ones, 65535);
    assert_int_equal(len, 104);
    take(out, len);
}

static void headers_of_our_own_connections_are_local(void **state)
{
    (void)state;
    uint8_t out[PROXY_HEADER_WRITE_MAX];

    assert_int_equal(proxy_header_write_local(out, PROXY_V1), 15);
    assert_memory_equal(out, "PROXY UNKNOWN\r\n", 15);
    assert_int_equal(proxy_header_write_local(out, PROXY_V2), 16);
    assert_memory_equal(out, SIGNATURE "\x20\x00\x00\x00", 16);
    expect_local(take(out, 16));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(version_1_names_ipv4_clients),
        cmocka_unit_test(version_1_names_ipv6_clients),
        cmocka_unit_test(version_1_may_not_know),
        cmocka_unit_test(version_1_is_at_most_107_octets),
        cmocka_unit_test(version_1_is_read_to_the_letter),
        cmocka_unit_test(version_2_names_ipv4_clients),
        cmocka_unit_test(version_2_names_ipv6_clients),
        cmocka_unit_test(version_2_may_be_local_or_of_no_network),
        cmocka_unit_test(extras_of_version_2_are_skipped),
        cmocka_unit_test(version_2_is_read_to_the_letter),
        cmocka_unit_test(what_is_no_header_is_bad_at_once),
        cmocka_unit_test(headers_are_written_as_the_specification_shows_them),
        cmocka_unit_test(the_longest_header_fits),
        cmocka_unit_test(headers_of_our_own_connections_are_local),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
