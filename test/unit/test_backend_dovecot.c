#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "fake_socket.h"

#define GREETING                                                                      \
    "VERSION\t1\t2\nMECH\tPLAIN\tplaintext\nMECH\tSCRAM-SHA-256\nMECH\tOAUTHBEARER\n" \
    "SPID\t1\nCUID\t1\nCOOKIE\tx\nDONE\n"

static struct backend *b;
static struct fake_question one, two;

static bool heard(const char *text)
{
    return fake_count > 0 && strstr(fake_last()->heard, text) != NULL;
}

static void greet(void)
{
    size_t before = fake_count;
    UNTIL(heard("CPID\t"));
    (void)before;
    fake_say(GREETING);
}

static void begin(void)
{
    fake_listen(16);
    b = fake_open("dovecot");
    greet();
    UNTIL(b->ops->mechanisms(b) & SASL_SCRAM_SHA_256);
}

static void the_list_of_mechanisms_is_dovecots(void **state)
{
    (void)state;
    b = fake_open("dovecot");
    assert_int_equal(b->ops->mechanisms(b), SASL_PLAIN | SASL_LOGIN);
    fake_listen(16);
    greet();
    unsigned wanted = SASL_PLAIN | SASL_LOGIN | SASL_SCRAM_SHA_256 | SASL_OAUTHBEARER;
    UNTIL(b->ops->mechanisms(b) == wanted);
    fake_away();
    fake_ask(b, &one, SASL_PLAIN, "alice", "secret");
    UNTIL(one.answers == 1);
    assert_int_equal(b->ops->mechanisms(b), wanted);
    fake_listen(16);
    size_t before = fake_count;
    UNTIL(fake_count > before);
    UNTIL(heard("CPID\t"));
    fake_say("VERSION\t1\t2\nMECH\tCRAM-MD5\nDONE\n");
    UNTIL(b->ops->mechanisms(b) == SASL_CRAM_MD5);
    backend_close(b);
}

static void passwords_are_right_wrong_or_cannot_be_checked(void **state)
{
    (void)state;
    static const struct {
        const char *answer;
        enum backend_verdict verdict;
        const char *login;
    } cases[] = {
        {"OK\t1\tuser=alice\n", BACKEND_ACCEPTED, "alice"},
        {"OK\t2\tuser=alice@any.example\toriginal_user=alice\n", BACKEND_ACCEPTED,
         "alice@any.example"},
        {"OK\t3\n", BACKEND_ACCEPTED, ""},
        {"OK\t4\tuser=alice\tnologin\n", BACKEND_REJECTED, ""},
        {"FAIL\t5\tuser=alice\n", BACKEND_REJECTED, ""},
        {"FAIL\t6\tuser=alice\tuser_disabled\n", BACKEND_REJECTED, ""},
        {"FAIL\t7\tuser=alice\ttemp\n", BACKEND_UNAVAILABLE, ""},
        {"FAIL\t8\tuser=alice\tcode=temp_fail\n", BACKEND_UNAVAILABLE, ""},
    };
    begin();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char question[32];
        snprintf(question, sizeof question, "AUTH\t%zu\tPLAIN\t", i + 1);
        fake_ask(b, &one, i % 2 ? SASL_PLAIN : SASL_LOGIN, "alice", "secret");
        UNTIL(heard(question));
        fake_say(cases[i].answer);
        UNTIL(one.answers == 1);
        assert_int_equal(one.verdict, cases[i].verdict);
        assert_string_equal(one.login, cases[i].login);
    }
    assert_true(heard("\trip=192.0.2.7\t"));
    assert_int_equal(fake_count, 1);
    backend_close(b);
}

static void questions_that_come_before_the_greeting_wait_for_it(void **state)
{
    (void)state;
    fake_listen(16);
    b = fake_open("dovecot");
    fake_ask(b, &one, SASL_PLAIN, "alice", "secret");
    UNTIL(heard("CPID\t"));
    fake_say("VERSION\t1\t2\nMECH\tPLAIN\n");
    fake_turns(20);
    assert_false(heard("AUTH"));
    assert_int_equal(one.answers, 0);
    fake_say("DONE\n");
    UNTIL(heard("AUTH\t1\tPLAIN"));
    fake_say("OK\t1\tuser=alice\n");
    UNTIL(one.answers == 1);
    assert_int_equal(one.verdict, BACKEND_ACCEPTED);
    backend_close(b);
}

static void each_answer_finds_its_question(void **state)
{
    (void)state;
    begin();
    fake_ask(b, &one, SASL_PLAIN, "alice", "secret");
    fake_ask(b, &two, SASL_PLAIN, "bob", "secret");
    UNTIL(heard("AUTH\t2\t"));
    fake_say("OK\t2\tuser=bob\nFAIL\t1\tuser=alice\n");
    UNTIL(one.answers == 1 && two.answers == 1);
    assert_int_equal(one.verdict, BACKEND_REJECTED);
    assert_int_equal(two.verdict, BACKEND_ACCEPTED);
    assert_string_equal(two.login, "bob");
    backend_close(b);
}

static void an_exchange_goes_to_and_fro(void **state)
{
    (void)state;
    begin();
    fake_ask(b, &one, SASL_SCRAM_SHA_256, "", "n,,n=a,r=b");
    UNTIL(heard("AUTH\t1\tSCRAM-SHA-256\t") && heard("resp=biwsbj1hLHI9Yg==\n"));
    fake_say("CONT\t1\tcj1hYmM=\n");
    UNTIL(one.answers == 1);
    assert_int_equal(one.verdict, BACKEND_CHALLENGE);
    assert_string_equal(one.message, "r=abc");
    fake_respond(b, &one, "c=biws");
    UNTIL(heard("CONT\t1\tYz1iaXdz\n"));
    fake_say("CONT\t1\tdj14\n");
    UNTIL(one.answers == 2);
    assert_string_equal(one.message, "v=x");
    fake_respond(b, &one, "");
    UNTIL(heard("CONT\t1\t\n"));
    fake_say("OK\t1\tuser=a\n");
    UNTIL(one.answers == 3);
    assert_int_equal(one.verdict, BACKEND_ACCEPTED);
    assert_string_equal(one.login, "a");
    backend_close(b);
}

static void who_it_is_must_be_said(void **state)
{
    (void)state;
    begin();
    fake_ask(b, &one, SASL_SCRAM_SHA_256, "", "n,,n=a,r=b");
    UNTIL(heard("AUTH\t1\t"));
    fake_say("OK\t1\n");
    UNTIL(one.answers == 1);
    assert_int_equal(one.verdict, BACKEND_UNAVAILABLE);
    backend_close(b);
}

static void a_refused_token_is_acknowledged(void **state)
{
    (void)state;
    begin();
    fake_ask(b, &one, SASL_OAUTHBEARER, "alice", "token");
    UNTIL(heard("AUTH\t1\tOAUTHBEARER\t"));
    fake_say("CONT\t1\teyJzdGF0dXMiOiJpbnZhbGlkX3Rva2VuIn0=\n");
    UNTIL(heard("CONT\t1\tAQ==\n"));
    assert_int_equal(one.answers, 0);
    fake_say("FAIL\t1\tuser=alice\n");
    UNTIL(one.answers == 1);
    assert_int_equal(one.verdict, BACKEND_REJECTED);
    backend_close(b);
}

/* All who wait are told "later", the connection is closed, and the next one serves again. */
static void nonsense_ends_the_connection_and_the_next_one_serves(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "\n",
        "OK\n",
        "OK\tx\n",
        "OK\t0\n",
        "OK\t3\n",
        "FAIL\t4000000000\n",
        "VERSION\t2\t0\n",
        "DONE\n",
        "CONT\t1\tAAAA\n",
        "OK\t1\tuser=\n",
        "OK\t1\tuser=a\001tb\n",
        "HTTP/1.1 400 Bad Request\r\n",
        "* OK ready\r\n",
        "220 mail ESMTP\r\n",
    };
    begin();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t before = fake_count;
        fake_ask(b, &one, SASL_PLAIN, "alice", "secret");
        fake_ask(b, &two, SASL_PLAIN, "bob", "secret");
        UNTIL(heard("AUTH\t2\t"));
        fake_say(cases[i]);
        UNTIL(one.answers == 1 && two.answers == 1);
        assert_int_equal(one.verdict, BACKEND_UNAVAILABLE);
        assert_int_equal(two.verdict, BACKEND_UNAVAILABLE);
        UNTIL(fake_connection[before - 1].gone);
        UNTIL(fake_count > before);
        greet();
        fake_turns(10);
    }
    fake_ask(b, &one, SASL_PLAIN, "alice", "secret");
    UNTIL(heard("AUTH\t1\t"));
    fake_say("OK\t1\tuser=alice\n");
    UNTIL(one.answers == 1);
    assert_int_equal(one.verdict, BACKEND_ACCEPTED);
    backend_close(b);
}

static void a_line_without_end_is_nonsense(void **state)
{
    (void)state;
    static char endless[20000];
    memset(endless, 'A', sizeof endless - 1);
    begin();
    fake_ask(b, &one, SASL_PLAIN, "alice", "secret");
    UNTIL(heard("AUTH\t1\t"));
    fake_say(endless);
    UNTIL(one.answers == 1 && fake_connection[0].gone);
    assert_int_equal(one.verdict, BACKEND_UNAVAILABLE);
    backend_close(b);
}

static void a_greeting_without_version_or_of_another_is_none(void **state)
{
    (void)state;
    static const char *const cases[] = {"MECH\tPLAIN\nDONE\n", "VERSION\t2\t0\nMECH\tPLAIN\nDONE\n",
                                        "OK\t1\tuser=alice\n"};
    fake_listen(16);
    b = fake_open("dovecot");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t before = fake_count;
        UNTIL(fake_count > before || (i == 0 && fake_count == 1));
        UNTIL(heard("CPID\t"));
        before = fake_count;
        fake_ask(b, &one, SASL_PLAIN, "alice", "secret");
        fake_say(cases[i]);
        UNTIL(one.answers == 1 && fake_connection[before - 1].gone);
        assert_int_equal(one.verdict, BACKEND_UNAVAILABLE);
        UNTIL(fake_count > before);
        fake_hang_up(fake_last()); /* the next case starts from a new one */
    }
    backend_close(b);
}

static void without_dovecot_there_is_no_verdict(void **state)
{
    (void)state;
    b = fake_open("dovecot");
    for (int i = 0; i < 3; i++) {
        fake_ask(b, &one, SASL_PLAIN, "alice", "secret");
        UNTIL(one.answers == 1);
        assert_int_equal(one.verdict, BACKEND_UNAVAILABLE);
    }
    backend_close(b);
}

static void a_connection_that_ends_answers_all_once(void **state)
{
    (void)state;
    begin();
    fake_ask(b, &one, SASL_PLAIN, "alice", "secret");
    fake_ask(b, &two, SASL_SCRAM_SHA_256, "", "n,,n=a,r=b");
    UNTIL(heard("AUTH\t2\t"));
    fake_say("CONT\t2\tcj1hYmM=\n");
    UNTIL(two.answers == 1);
    fake_away();
    UNTIL(one.answers == 1);
    assert_int_equal(one.verdict, BACKEND_UNAVAILABLE);
    fake_turns(20);
    assert_int_equal(two.answers, 1); /* it waits for the client, not for Dovecot */
    fake_respond(b, &two, "c=biws");
    UNTIL(two.answers == 2);
    assert_int_equal(two.verdict, BACKEND_UNAVAILABLE);
    backend_close(b);
}

/* Numbers begin anew with each connection: what was meant for the old one's first is not for the
 * new one's. */
static void an_exchange_does_not_go_on_with_another_dovecot(void **state)
{
    (void)state;
    begin();
    fake_ask(b, &one, SASL_SCRAM_SHA_256, "", "n,,n=a,r=b");
    UNTIL(heard("AUTH\t1\t"));
    fake_say("CONT\t1\tcj1hYmM=\n");
    UNTIL(one.answers == 1);
    size_t before = fake_count;
    fake_hang_up(fake_last());
    UNTIL(fake_count > before);
    greet();
    fake_turns(20);
    fake_ask(b, &two, SASL_PLAIN, "bob", "secret");
    UNTIL(heard("AUTH\t1\tPLAIN"));
    fake_say("OK\t1\tuser=bob\n");
    UNTIL(two.answers == 1);
    assert_string_equal(two.login, "bob");
    assert_int_equal(one.answers, 1);
    fake_respond(b, &one, "c=biws");
    UNTIL(one.answers == 2);
    assert_int_equal(one.verdict, BACKEND_UNAVAILABLE);
    assert_false(heard("CONT"));
    backend_close(b);
}

static void who_leaves_is_not_answered(void **state)
{
    (void)state;
    begin();
    fake_ask(b, &one, SASL_PLAIN, "alice", "secret");
    UNTIL(heard("AUTH\t1\t"));
    b->ops->leave(b, &one.q);
    UNTIL(heard("CANCEL\t1\n"));
    fake_ask(b, &two, SASL_PLAIN, "bob", "secret");
    UNTIL(heard("AUTH\t2\t"));
    fake_say("OK\t1\tuser=alice\nOK\t2\tuser=bob\n");
    UNTIL(two.answers == 1);
    assert_string_equal(two.login, "bob");
    assert_int_equal(one.answers, 0);
    /* nor one who is to hear at once, or before he was sent */
    fake_away();
    fake_turns(20);
    fake_ask(b, &one, SASL_PLAIN, "alice", "secret");
    fake_ask(b, &two, SASL_PLAIN, "bob", "secret");
    b->ops->leave(b, &one.q);
    UNTIL(two.answers == 1);
    assert_int_equal(one.answers, 0);
    backend_close(b);
}

static void a_dovecot_of_old_is_not_told_of_leavers(void **state)
{
    (void)state;
    fake_listen(16);
    b = fake_open("dovecot");
    UNTIL(heard("CPID\t"));
    fake_say("VERSION\t1\t1\nMECH\tPLAIN\nDONE\n");
    fake_ask(b, &one, SASL_PLAIN, "alice", "secret");
    UNTIL(heard("AUTH\t1\t"));
    b->ops->leave(b, &one.q);
    fake_ask(b, &two, SASL_PLAIN, "bob", "secret");
    UNTIL(heard("AUTH\t2\t"));
    assert_false(heard("CANCEL"));
    fake_say("FAIL\t1\nOK\t2\tuser=bob\n");
    UNTIL(two.answers == 1);
    assert_int_equal(one.answers, 0);
    backend_close(b);
}

/* It would end everybody's connection. */
static void a_message_longer_than_any_line_is_refused_here(void **state)
{
    (void)state;
    static char huge[SASL_SECRET_MAX + 1];
    memset(huge, 'x', SASL_SECRET_MAX);
    fake_listen(16);
    b = fake_open("dovecot");
    UNTIL(heard("CPID\t"));
    fake_ask(b, &two, SASL_SCRAM_SHA_256, "", huge); /* waits for the greeting */
    fake_say("VERSION\t1\t1\nMECH\tSCRAM-SHA-256\nMECH\tPLAIN\nDONE\n");
    UNTIL(two.answers == 1);
    assert_int_equal(two.verdict, BACKEND_REJECTED);
    fake_ask(b, &one, SASL_SCRAM_SHA_256, "", huge);
    UNTIL(one.answers == 1);
    assert_int_equal(one.verdict, BACKEND_REJECTED);
    fake_ask(b, &one, SASL_SCRAM_SHA_256, "", "n,,n=a,r=b");
    UNTIL(heard("AUTH\t1\t"));
    fake_say("CONT\t1\tcj1hYmM=\n");
    UNTIL(one.answers == 1);
    fake_respond(b, &one, huge);
    UNTIL(one.answers == 2);
    assert_int_equal(one.verdict, BACKEND_REJECTED);
    assert_int_equal(fake_count, 1);
    assert_false(fake_last()->gone);
    backend_close(b);
}

static void the_last_answer_may_close_the_backend(void **state)
{
    (void)state;
    begin();
    fake_ask(b, &one, SASL_PLAIN, "alice", "secret");
    one.close = b;
    UNTIL(heard("AUTH\t1\t"));
    fake_say("OK\t1\tuser=alice\nOK\t1\tuser=alice\nnonsense\n");
    UNTIL(one.answers == 1);
    fake_turns(20);
    assert_int_equal(one.answers, 1);
}

static void the_check_says_what_is_wrong(void **state)
{
    (void)state;
    char text[BACKEND_ERROR_MAX] = "";
    b = fake_open("dovecot");
    assert_false(b->ops->describe(b, text));
    assert_non_null(strstr(text, fake_path));
    assert_non_null(strstr(text, "no such file or directory"));
    backend_close(b);
}

static void a_path_that_no_socket_can_have_is_an_error(void **state)
{
    (void)state;
    static const struct backend_settings none;
    char error[BACKEND_ERROR_MAX] = "";
    char spec[200] = "dovecot:/";
    memset(spec + 9, 'x', 107);
    assert_null(backend_open(spec, &none, error));
    assert_non_null(strstr(error, "107"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fake_begin, fake_end)
    const struct CMUnitTest tests[] = {
        TEST(the_list_of_mechanisms_is_dovecots),
        TEST(passwords_are_right_wrong_or_cannot_be_checked),
        TEST(questions_that_come_before_the_greeting_wait_for_it),
        TEST(each_answer_finds_its_question),
        TEST(an_exchange_goes_to_and_fro),
        TEST(who_it_is_must_be_said),
        TEST(a_refused_token_is_acknowledged),
        TEST(nonsense_ends_the_connection_and_the_next_one_serves),
        TEST(a_line_without_end_is_nonsense),
        TEST(a_greeting_without_version_or_of_another_is_none),
        TEST(without_dovecot_there_is_no_verdict),
        TEST(a_connection_that_ends_answers_all_once),
        TEST(an_exchange_does_not_go_on_with_another_dovecot),
        TEST(who_leaves_is_not_answered),
        TEST(a_dovecot_of_old_is_not_told_of_leavers),
        TEST(a_message_longer_than_any_line_is_refused_here),
        TEST(the_last_answer_may_close_the_backend),
        TEST(the_check_says_what_is_wrong),
        TEST(a_path_that_no_socket_can_have_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
