#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/buf.h"

static void assert_holds(const struct buf *b, const char *text)
{
    assert_int_equal(buf_len(b), strlen(text));
    assert_memory_equal(buf_data(b), text, strlen(text));
}

static void an_empty_queue_holds_no_memory(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 100);
    assert_null(b.storage);
    assert_int_equal(buf_len(&b), 0);
    assert_int_equal(buf_room(&b), 100);
    assert_non_null(buf_data(&b));
    assert_true(buf_text(&b, "hello"));
    assert_non_null(b.storage);
    buf_consume(&b, 5);
    assert_null(b.storage);
    assert_int_equal(buf_room(&b), 100);
}

static void appending_nothing_is_fine(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 0);
    assert_true(buf_append(&b, NULL, 0));
    assert_true(buf_text(&b, ""));
    assert_true(buf_printf(&b, "%s", ""));
    assert_null(b.storage);
    assert_false(buf_text(&b, "x"));
    buf_clear(&b);
}

static void the_maximum_is_exact_and_never_exceeded(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 10);
    assert_true(buf_text(&b, "0123456789"));
    assert_int_equal(buf_room(&b), 0);
    assert_false(buf_text(&b, "x"));
    assert_false(buf_printf(&b, "%d", 1));
    assert_null(buf_reserve(&b, 1));
    assert_holds(&b, "0123456789");
    buf_consume(&b, 3);
    assert_int_equal(buf_room(&b), 3);
    assert_false(buf_text(&b, "abcd"));
    assert_true(buf_text(&b, "abc"));
    assert_holds(&b, "3456789abc");
    buf_clear(&b);
}

static void an_append_is_all_or_nothing(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 8);
    assert_true(buf_text(&b, "abcde"));
    assert_false(buf_printf(&b, "%s-%s", "fg", "h"));
    assert_holds(&b, "abcde");
    assert_true(buf_printf(&b, "%s", "fgh"));
    assert_holds(&b, "abcdefgh");
    assert_false(buf_append(&b, "x", SIZE_MAX));
    buf_clear(&b);
}

static void reserve_and_commit_extend_the_queue(void **state)
{
    struct buf b;
    uint8_t *to;

    (void)state;
    buf_init(&b, 4096);
    to = buf_reserve(&b, 4096);
    assert_non_null(to);
    memset(to, 'x', 4096);
    buf_commit(&b, 4096);
    assert_int_equal(buf_len(&b), 4096);
    assert_null(buf_reserve(&b, 1));
    buf_consume(&b, 4095);
    to = buf_reserve(&b, 4095);
    assert_non_null(to);
    memset(to, 'y', 4095);
    buf_commit(&b, 4095);
    assert_int_equal(buf_data(&b)[0], 'x');
    assert_int_equal(buf_data(&b)[4095], 'y');
    buf_clear(&b);
}

static void a_reservation_that_is_not_used_leaves_nothing(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 1000);
    assert_non_null(buf_reserve(&b, 500));
    buf_commit(&b, 0);
    assert_null(b.storage);
    assert_non_null(buf_reserve(&b, 0));
    buf_commit(&b, 0);
    assert_null(b.storage);
}

static void a_secret_is_overwritten_when_consumed(void **state)
{
    struct buf b;
    const uint8_t *where;

    (void)state;
    buf_init(&b, 1000);
    assert_true(buf_text(&b, "secretrest"));
    where = buf_data(&b);
    buf_consume_secret(&b, 6);
    for (size_t i = 0; i < 6; i++)
        assert_int_equal(where[i], 0);
    assert_holds(&b, "rest");
    buf_clear(&b);
}

static void moving_to_the_front_leaves_no_copy_behind(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 256);
    for (unsigned i = 0; i < 200; i++)
        assert_true(buf_text(&b, "p"));
    assert_true(buf_text(&b, "SECRETSECRETSECRET"));
    buf_consume(&b, 200);
    assert_true(buf_reserve(&b, 100) != NULL);
    assert_int_equal(b.start, 0);
    for (size_t i = b.end; i < 218; i++)
        assert_int_equal(b.storage[i], 0);
    assert_holds(&b, "SECRETSECRETSECRET");
    buf_clear(&b);
}

/* Against an array of which the front is cut off: the same octets, whatever the steps. */
static void random_steps_agree_with_a_plain_array(void **state)
{
    static uint8_t model[3000];
    size_t len = 0;
    struct buf b;
    unsigned seed = 1;
    uint8_t next = 0;

    (void)state;
    buf_init(&b, sizeof(model));
    for (unsigned step = 0; step < 100000; step++) {
        uint8_t chunk[700];
        size_t n = (size_t)rand_r(&seed) % sizeof(chunk);

        if (rand_r(&seed) % 2 == 0) {
            bool fits = n <= sizeof(model) - len;

            for (size_t i = 0; i < n; i++)
                chunk[i] = next++;
            assert_int_equal(buf_append(&b, chunk, n), fits);
            if (fits) {
                memcpy(model + len, chunk, n);
                len += n;
            } else {
                next = (uint8_t)(next - n);
            }
        } else {
            n = n < len ? n : len;
            if (step % 3 == 0)
                buf_consume_secret(&b, n);
            else
                buf_consume(&b, n);
            memmove(model, model + n, len - n);
            len -= n;
        }
        assert_int_equal(buf_len(&b), len);
        assert_memory_equal(buf_data(&b), model, len);
        assert_true(b.capacity <= b.max);
        assert_int_equal(b.storage == NULL, len == 0);
    }
    buf_clear(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_queue_holds_no_memory),
        cmocka_unit_test(appending_nothing_is_fine),
        cmocka_unit_test(the_maximum_is_exact_and_never_exceeded),
        cmocka_unit_test(an_append_is_all_or_nothing),
        cmocka_unit_test(reserve_and_commit_extend_the_queue),
        cmocka_unit_test(a_reservation_that_is_not_used_leaves_nothing),
        cmocka_unit_test(a_secret_is_overwritten_when_consumed),
        cmocka_unit_test(moving_to_the_front_leaves_no_copy_behind),
        cmocka_unit_test(random_steps_agree_with_a_plain_array),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
