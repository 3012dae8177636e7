#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "auth/saslauthd.h"
#include "fake_socket.h"

static const char asked[] = "\0\5alice\0\6secret\0\4smtp\0\0";

static struct fake_question one, two;

static bool heard_whole(size_t index)
{
    return fake_count > index && fake_connection[index].len >= sizeof asked - 1;
}

static void each_question_has_a_connection_and_an_answer(void **state)
{
    (void)state;
    static const struct {
        const char *answer;
        size_t len;
        enum backend_verdict verdict;
    } cases[] = {
        {"\0\2OK", 4, BACKEND_ACCEPTED},
        {"\0\2NO", 4, BACKEND_REJECTED},
        {"\0\14NO internal.", 14, BACKEND_UNAVAILABLE},
        {"HTTP/1.1 400 Bad Request\r\n", 26, BACKEND_UNAVAILABLE},
        {"\0\2OK\0\2NO", 8, BACKEND_UNAVAILABLE},
    };
    fake_listen(16);
    struct backend *b = fake_open("saslauthd");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fake_ask(b, &one, i % 2 ? SASL_PLAIN : SASL_LOGIN, "alice", "secret");
        UNTIL(heard_whole(i));
        assert_int_equal(fake_last()->len, sizeof asked - 1);
        assert_memory_equal(fake_last()->heard, asked, sizeof asked - 1);
        fake_say_octets(fake_last(), cases[i].answer, cases[i].len);
        UNTIL(one.answers == 1 && fake_connection[i].gone);
        assert_int_equal(one.verdict, cases[i].verdict);
    }
    backend_close(b);
}

static void two_at_once_hear_each_their_own(void **state)
{
    (void)state;
    fake_listen(16);
    struct backend *b = fake_open("saslauthd");
    fake_ask(b, &one, SASL_PLAIN, "alice", "secret");
    UNTIL(heard_whole(0));
    fake_ask(b, &two, SASL_PLAIN, "alice", "wrong!");
    UNTIL(heard_whole(1));
    fake_say_octets(&fake_connection[1], "\0\2NO", 4);
    UNTIL(two.answers == 1);
    assert_int_equal(one.answers, 0);
    fake_say_octets(&fake_connection[0], "\0\2O", 3);
    fake_turns(10);
    fake_say_octets(&fake_connection[0], "K", 1);
    UNTIL(one.answers == 1);
    assert_int_equal(one.verdict, BACKEND_ACCEPTED);
    assert_int_equal(two.verdict, BACKEND_REJECTED);
    backend_close(b);
}

static void without_saslauthd_there_is_no_verdict(void **state)
{
    (void)state;
    struct backend *b = fake_open("saslauthd");
    char text[BACKEND_ERROR_MAX];
    fake_ask(b, &one, SASL_PLAIN, "alice", "secret");
    UNTIL(one.answers == 1);
    assert_int_equal(one.verdict, BACKEND_UNAVAILABLE);
    assert_false(b->ops->describe(b, text));
    assert_non_null(strstr(text, fake_path));
    assert_non_null(strstr(text, "No such file"));
    fake_listen(16);
    assert_true(b->ops->describe(b, text));
    size_t before = fake_count;
    fake_ask(b, &one, SASL_PLAIN, "alice", "secret");
    UNTIL(fake_count >= before + 2); /* the check's, and this one */
    fake_hang_up(fake_last());
    UNTIL(one.answers == 1);
    assert_int_equal(one.verdict, BACKEND_UNAVAILABLE);
    backend_close(b);
}

/* Its processes are few and each answers one question after the other. */
static void who_finds_its_line_full_tries_again(void **state)
{
    (void)state;
    static struct fake_question many[20];
    fake_listen(1);
    struct backend *b = fake_open("saslauthd");
    for (size_t i = 0; i < 20; i++)
        fake_ask(b, &many[i], SASL_PLAIN, "alice", "secret");
    for (size_t done = 0; done < 20; done++) {
        UNTIL(heard_whole(done));
        fake_say_octets(&fake_connection[done], "\0\2OK", 4);
    }
    for (size_t i = 0; i < 20; i++) {
        UNTIL(many[i].answers == 1);
        assert_int_equal(many[i].verdict, BACKEND_ACCEPTED);
    }
    backend_close(b);
}

static void who_leaves_is_not_answered(void **state)
{
    (void)state;
    fake_listen(16);
    struct backend *b = fake_open("saslauthd");
    fake_ask(b, &one, SASL_PLAIN, "alice", "secret");
    UNTIL(heard_whole(0));
    b->ops->leave(b, &one.q);
    UNTIL(fake_connection[0].gone);
    fake_ask(b, &two, SASL_PLAIN, "alice", "secret");
    b->ops->leave(b, &two.q);
    fake_turns(20);
    assert_int_equal(one.answers + two.answers, 0);
    backend_close(b);
}

static void what_it_would_not_take_is_refused_here(void **state)
{
    (void)state;
    char secret[SASLAUTHD_STRING_MAX + 2] = "";
    memset(secret, 'x', sizeof secret - 1);
    fake_listen(16);
    struct backend *b = fake_open("saslauthd");
    fake_ask(b, &one, SASL_PLAIN, "alice", secret);
    UNTIL(one.answers == 1);
    assert_int_equal(one.verdict, BACKEND_REJECTED);
    assert_int_equal(fake_count, 0);
    backend_close(b);
}

static void the_last_answer_may_close_the_backend(void **state)
{
    (void)state;
    fake_listen(16);
    struct backend *b = fake_open("saslauthd");
    fake_ask(b, &one, SASL_PLAIN, "alice", "secret");
    one.close = b;
    UNTIL(heard_whole(0));
    fake_say_octets(fake_last(), "\0\2OK", 4);
    UNTIL(one.answers == 1);
    fake_turns(10);
    assert_int_equal(one.answers, 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fake_begin, fake_end)
    const struct CMUnitTest tests[] = {
        TEST(each_question_has_a_connection_and_an_answer),
        TEST(two_at_once_hear_each_their_own),
        TEST(without_saslauthd_there_is_no_verdict),
        TEST(who_finds_its_line_full_tries_again),
        TEST(who_leaves_is_not_answered),
        TEST(what_it_would_not_take_is_refused_here),
        TEST(the_last_answer_may_close_the_backend),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
