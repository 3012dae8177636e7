#include "tls/ticket.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const uint8_t scope_a[TICKET_SCOPE_LEN] = "submissions";
static const uint8_t scope_b[TICKET_SCOPE_LEN] = "submission";
static const uint8_t session[] = "the state of a session";

static size_t sealed_by(const struct ticket_keys *keys, uint8_t out[128])
{
    size_t len;
    assert_true(ticket_seal(keys->key[0], scope_a, out, &len, 128, session, sizeof session));
    return len;
}

static bool opens(const struct ticket_keys *keys, const uint8_t *scope, const uint8_t *in,
                  size_t len)
{
    uint8_t out[128];
    size_t out_len;
    if (!ticket_open(keys, scope, out, &out_len, sizeof out, in, len))
        return false;
    assert_int_equal(out_len, sizeof session);
    assert_memory_equal(out, session, sizeof session);
    return true;
}

static void rotation_puts_a_fresh_key_in_front_and_drops_the_oldest(void **state)
{
    (void)state;
    struct ticket_keys keys = {0};
    uint8_t first[TICKET_KEY_LEN], second[TICKET_KEY_LEN];

    ticket_keys_rotate(&keys);
    assert_int_equal(keys.count, 1);
    memcpy(first, keys.key[0], sizeof first);
    ticket_keys_rotate(&keys);
    assert_int_equal(keys.count, 2);
    assert_memory_equal(keys.key[1], first, sizeof first);
    assert_memory_not_equal(keys.key[0], first, sizeof first);
    memcpy(second, keys.key[0], sizeof second);
    ticket_keys_rotate(&keys);
    ticket_keys_rotate(&keys);
    assert_int_equal(keys.count, TICKET_KEYS_MAX);
    assert_memory_equal(keys.key[2], second, sizeof second);
}

static void a_ticket_opens_until_its_key_is_dropped(void **state)
{
    (void)state;
    struct ticket_keys keys = {0};
    uint8_t ticket[128];

    ticket_keys_rotate(&keys);
    size_t len = sealed_by(&keys, ticket);
    assert_int_equal(len, sizeof session + TICKET_OVERHEAD);
    for (size_t i = 0; i < TICKET_KEYS_MAX; i++) {
        assert_true(opens(&keys, scope_a, ticket, len));
        ticket_keys_rotate(&keys);
    }
    assert_false(opens(&keys, scope_a, ticket, len));
}

static void a_ticket_opens_in_its_own_scope_only(void **state)
{
    (void)state;
    struct ticket_keys keys = {0};
    uint8_t ticket[128];
    ticket_keys_rotate(&keys);
    size_t len = sealed_by(&keys, ticket);
    assert_true(opens(&keys, scope_a, ticket, len));
    assert_false(opens(&keys, scope_b, ticket, len));
}

static void no_octet_of_a_ticket_may_change_or_lack(void **state)
{
    (void)state;
    struct ticket_keys keys = {0};
    uint8_t ticket[128];
    ticket_keys_rotate(&keys);
    size_t len = sealed_by(&keys, ticket);
    for (size_t i = 0; i < len; i++) {
        ticket[i] ^= 0x20;
        assert_false(opens(&keys, scope_a, ticket, len));
        ticket[i] ^= 0x20;
        assert_false(opens(&keys, scope_a, ticket, i));
    }
    assert_true(opens(&keys, scope_a, ticket, len));
}

static void two_tickets_of_one_session_differ(void **state)
{
    (void)state;
    struct ticket_keys keys = {0};
    uint8_t one[128], two[128];
    ticket_keys_rotate(&keys);
    size_t len = sealed_by(&keys, one);
    sealed_by(&keys, two);
    assert_memory_equal(one, two, 16);
    assert_memory_not_equal(one + 16, two + 16, len - 16);
}

static void sealing_in_place_and_without_room(void **state)
{
    (void)state;
    struct ticket_keys keys = {0};
    uint8_t buf[sizeof session + TICKET_OVERHEAD];
    size_t len;

    ticket_keys_rotate(&keys);
    memcpy(buf, session, sizeof session);
    assert_false(ticket_seal(keys.key[0], scope_a, buf, &len, sizeof buf - 1, buf, sizeof session));
    assert_int_equal(len, 0);
    assert_true(ticket_seal(keys.key[0], scope_a, buf, &len, sizeof buf, buf, sizeof session));
    assert_true(opens(&keys, scope_a, buf, len));
    assert_true(ticket_open(&keys, scope_a, buf, &len, sizeof buf, buf, sizeof buf));
    assert_memory_equal(buf, session, sizeof session);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rotation_puts_a_fresh_key_in_front_and_drops_the_oldest),
        cmocka_unit_test(a_ticket_opens_until_its_key_is_dropped),
        cmocka_unit_test(a_ticket_opens_in_its_own_scope_only),
        cmocka_unit_test(no_octet_of_a_ticket_may_change_or_lack),
        cmocka_unit_test(two_tickets_of_one_session_differ),
        cmocka_unit_test(sealing_in_place_and_without_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
