#include "proxy/transparent.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct address from_text(const char *host, uint16_t port)
{
    struct address a = {.len = 0};
    if (strchr(host, ':') != NULL) {
        struct sockaddr_in6 *six = (struct sockaddr_in6 *)&a.storage;
        *six = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(port)};
        assert_int_equal(inet_pton(AF_INET6, host, &six->sin6_addr), 1);
        a.len = sizeof *six;
    } else {
        struct sockaddr_in *four = (struct sockaddr_in *)&a.storage;
        *four = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port)};
        assert_int_equal(inet_pton(AF_INET, host, &four->sin_addr), 1);
        a.len = sizeof *four;
    }
    return a;
}

/* What a client with this address gets of these; NULL: nothing. */
static const char *target(const char *client, const char *first, const char *second)
{
    static char text[ADDRESS_TEXT_MAX];
    struct address mta[2] = {from_text(first, 25), from_text(second, 26)}, out;
    struct address from = from_text(client, 4711);
    uint8_t source[16];
    address_octets(source, &from);
    if (!transparent_target(&out, mta, 2, source))
        return NULL;
    address_text(text, &out);
    return text;
}

static void the_first_address_of_the_clients_family_is_taken(void **state)
{
    (void)state;
    assert_string_equal(target("192.0.2.1", "127.0.0.1", "127.0.0.2"), "127.0.0.1:25");
    assert_string_equal(target("192.0.2.1", "::1", "127.0.0.2"), "127.0.0.2:26");
    assert_string_equal(target("2001:db8::1", "127.0.0.1", "::1"), "[::1]:26");
    assert_null(target("2001:db8::1", "127.0.0.1", "127.0.0.2"));
    assert_null(target("192.0.2.1", "::1", "::2"));
}

static void mapped_addresses_are_ipv4(void **state)
{
    (void)state;
    assert_string_equal(target("::ffff:192.0.2.1", "::1", "127.0.0.2"), "127.0.0.2:26");
    assert_string_equal(target("192.0.2.1", "::1", "::ffff:127.0.0.2"), "127.0.0.2:26");
    assert_null(target("2001:db8::1", "127.0.0.1", "::ffff:127.0.0.2"));

    struct address mta = from_text("::ffff:127.0.0.2", 26), from = from_text("192.0.2.1", 1), out;
    uint8_t source[16];
    address_octets(source, &from);
    assert_true(transparent_target(&out, &mta, 1, source));
    assert_int_equal(out.storage.ss_family, AF_INET); /* what the socket is of */
    assert_string_equal(transparent_family(source), "IPv4");
}

static void a_scope_is_kept(void **state)
{
    (void)state;
    struct address mta = from_text("fe80::1", 25), from = from_text("2001:db8::1", 1), out;
    uint8_t source[16];
    ((struct sockaddr_in6 *)&mta.storage)->sin6_scope_id = 7;
    address_octets(source, &from);
    assert_true(transparent_target(&out, &mta, 1, source));
    assert_int_equal(((struct sockaddr_in6 *)&out.storage)->sin6_scope_id, 7);
    assert_string_equal(transparent_family(source), "IPv6");
}

/* "Any" would be the host's own address, which the MTA trusts. */
static void nobodys_address_gets_no_socket(void **state)
{
    (void)state;
    static const uint8_t nobody[16], mapped[16] = {[10] = 0xff, [11] = 0xff};
    errno = 0;
    assert_int_equal(transparent_socket(nobody), -1);
    assert_int_equal(errno, EADDRNOTAVAIL);
    errno = 0;
    assert_int_equal(transparent_socket(mapped), -1);
    assert_int_equal(errno, EADDRNOTAVAIL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_address_of_the_clients_family_is_taken),
        cmocka_unit_test(mapped_addresses_are_ipv4),
        cmocka_unit_test(a_scope_is_kept),
        cmocka_unit_test(nobodys_address_gets_no_socket),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
