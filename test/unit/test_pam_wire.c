#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "auth/pam_wire.h"

static struct pam_wire_question longest(void)
{
    struct pam_wire_question q = {.id = UINT32_MAX};
    memset(q.service, 's', PAM_WIRE_SERVICE_MAX);
    memset(q.host, 'h', PAM_WIRE_HOST_MAX);
    memset(q.login, 'l', SASL_LOGIN_MAX);
    memset(q.password, 'p', SASL_PASSWORD_MAX);
    return q;
}

static void same(const struct pam_wire_question *a, const struct pam_wire_question *b)
{
    assert_int_equal(a->id, b->id);
    assert_string_equal(a->service, b->service);
    assert_string_equal(a->host, b->host);
    assert_string_equal(a->login, b->login);
    assert_string_equal(a->password, b->password);
}

static void a_question_arrives_as_it_was(void **state)
{
    (void)state;
    struct pam_wire_question q[] = {
        {7, "smtp", "192.0.2.7", "alice", "s e c r e t"}, {1, "s", "", "l", ""}, longest()};
    for (size_t i = 0; i < sizeof q / sizeof *q; i++) {
        uint8_t message[PAM_WIRE_MAX];
        struct pam_wire_question out;
        size_t len;
        pam_wire_ask(message, &len, &q[i]);
        assert_true(pam_wire_asked(&out, message, len));
        same(&out, &q[i]);
    }
}

/* Every message is whole, so one that was cut or grew is none; and nothing is kept of it. */
static void a_question_of_another_length_is_none(void **state)
{
    (void)state;
    static const struct pam_wire_question nothing;
    struct pam_wire_question q = {7, "smtp", "192.0.2.7", "alice", "secret"};
    uint8_t message[PAM_WIRE_MAX] = {0};
    size_t len;
    pam_wire_ask(message, &len, &q);
    for (size_t cut = 0; cut < len; cut++) {
        struct pam_wire_question out = {0};
        uint8_t *exact = malloc(cut + 1);
        memcpy(exact, message, cut);
        assert_false(pam_wire_asked(&out, exact, cut));
        assert_memory_equal(&out.password, nothing.password, sizeof out.password);
        free(exact);
    }
    assert_false(pam_wire_asked(&q, message, len + 1));
}

static void strings_are_bounded_and_hold_no_nul(void **state)
{
    (void)state;
    struct pam_wire_question q = {7, "smtp", "h", "alice", "secret"}, out;
    uint8_t message[PAM_WIRE_MAX];
    size_t len;
    pam_wire_ask(message, &len, &q);
    message[len - 2] = '\0';
    assert_false(pam_wire_asked(&out, message, len));
    q.login[0] = '\0';
    pam_wire_ask(message, &len, &q);
    assert_false(pam_wire_asked(&out, message, len));
    q = (struct pam_wire_question){7, "", "h", "alice", "secret"};
    pam_wire_ask(message, &len, &q);
    assert_false(pam_wire_asked(&out, message, len));
    uint16_t count = PAM_WIRE_SERVICE_MAX + 1;
    memset(message, 'x', sizeof message);
    memcpy(message + 4, &count, sizeof count);
    assert_false(pam_wire_asked(&out, message, sizeof message));
}

static void an_answer_arrives_as_it_was(void **state)
{
    (void)state;
    static const struct pam_wire_answer cases[] = {{0, PAM_WIRE_HELLO},
                                                   {1, PAM_WIRE_ACCEPTED},
                                                   {UINT32_MAX, PAM_WIRE_REJECTED},
                                                   {9, PAM_WIRE_UNAVAILABLE}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t message[PAM_WIRE_MAX];
        struct pam_wire_answer out;
        size_t len;
        pam_wire_answer(message, &len, &cases[i]);
        assert_true(pam_wire_answered(&out, message, len));
        assert_int_equal(out.id, cases[i].id);
        assert_int_equal(out.word, cases[i].word);
        for (size_t cut = 0; cut < len; cut++)
            assert_false(pam_wire_answered(&out, message, cut));
        assert_false(pam_wire_answered(&out, message, len + 1));
    }
}

static void answers_that_are_none(void **state)
{
    (void)state;
    struct pam_wire_answer out;
    assert_false(pam_wire_answered(&out, (const uint8_t *)"\1\0\0\0\4", 5));
    assert_false(pam_wire_answered(&out, (const uint8_t *)"\1\0\0\0\377", 5));
    assert_false(pam_wire_answered(&out, (const uint8_t *)"\1\0\0\0\0", 5)); /* HELLO has no id */
    assert_false(pam_wire_answered(&out, (const uint8_t *)"\0\0\0\0\1", 5)); /* a verdict has one */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_question_arrives_as_it_was),
        cmocka_unit_test(a_question_of_another_length_is_none),
        cmocka_unit_test(strings_are_bounded_and_hold_no_nul),
        cmocka_unit_test(an_answer_arrives_as_it_was),
        cmocka_unit_test(answers_that_are_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
