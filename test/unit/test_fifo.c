#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/fifo.h"

static void take(struct fifo *f, const char *text)
{
    assert_string_equal(fifo_front(f), text);
    fifo_pop(f);
}

static void replies_leave_in_order(void **state)
{
    struct fifo f = {.count = 0};

    (void)state;
    assert_true(fifo_empty(&f));
    assert_null(fifo_front(&f));
    for (int round = 0; round < 3; round++) { /* round the ring */
        fifo_push(&f, "one");
        fifo_push(&f, "two");
        fifo_push(&f, "three");
        take(&f, "one");
        take(&f, "two");
        take(&f, "three");
        assert_true(fifo_empty(&f));
    }
}

static void a_reply_that_is_waited_for_holds_the_others_back(void **state)
{
    struct fifo f = {.count = 0};

    (void)state;
    fifo_wait(&f);
    assert_false(fifo_empty(&f));
    fifo_push(&f, "second");
    assert_null(fifo_front(&f));
    fifo_answer(&f, "first");
    take(&f, "first");
    take(&f, "second");
    assert_true(fifo_empty(&f));
}

static void a_reply_that_was_given_otherwise_lets_the_others_go(void **state)
{
    struct fifo f = {.count = 0};

    (void)state;
    fifo_wait(&f);
    fifo_push(&f, "second");
    fifo_given(&f);
    take(&f, "second");
    assert_true(fifo_empty(&f));
}

/* Even in a full house there is a place for the one that is waited for. */
static void it_is_bounded_and_loses_nothing(void **state)
{
    struct fifo f = {.count = 0};
    unsigned n = 0;

    (void)state;
    fifo_wait(&f);
    while (fifo_room(&f)) {
        fifo_push(&f, "behind");
        n++;
    }
    assert_int_equal(n, LIMIT_REPLIES_PENDING - 1);
    fifo_push(&f, "one too many");
    fifo_answer(&f, "first");
    take(&f, "first");
    for (unsigned i = 0; i < n; i++)
        take(&f, "behind");
    assert_true(fifo_empty(&f));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replies_leave_in_order),
        cmocka_unit_test(a_reply_that_is_waited_for_holds_the_others_back),
        cmocka_unit_test(a_reply_that_was_given_otherwise_lets_the_others_go),
        cmocka_unit_test(it_is_bounded_and_loses_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
