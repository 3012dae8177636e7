#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/capabilities.h"

static struct capabilities learn(const char *text, bool esmtp)
{
    struct capabilities c;
    struct reply r;

    assert_int_equal(reply_parse(&r, (const uint8_t *)text, strlen(text)), REPLY_COMPLETE);
    capabilities_learn(&c, &r, esmtp);
    assert_true(c.known);
    return c;
}

static void expect(const struct capabilities *mta, const struct capabilities_offer *offer,
                   const char *wanted)
{
    struct buf b;

    buf_init(&b, 4096);
    assert_true(capabilities_write(&b, mta, offer));
    if (buf_len(&b) != strlen(wanted) || memcmp(buf_data(&b), wanted, strlen(wanted)) != 0)
        fail_msg("%.*s", (int)buf_len(&b), (const char *)buf_data(&b));
    buf_clear(&b);
}

#define POSTFIX                                                                           \
    "250-mail.example\r\n250-PIPELINING\r\n250-SIZE 10240000\r\n250-VRFY\r\n250-ETRN\r\n" \
    "250-XCLIENT NAME ADDR\r\n250-XFORWARD NAME\r\n250-AUTH PLAIN\r\n250-STARTTLS\r\n"    \
    "250-ENHANCEDSTATUSCODES\r\n250-8BITMIME\r\n250-DSN\r\n250-SMTPUTF8\r\n250 CHUNKING\r\n"

static void what_the_mta_offers_is_learnt(void **state)
{
    struct capabilities c = learn(POSTFIX, true);

    (void)state;
    assert_int_equal(c.extensions, EXTENSION_PIPELINING | EXTENSION_SIZE |
                                       EXTENSION_ENHANCEDSTATUSCODES | EXTENSION_8BITMIME |
                                       EXTENSION_DSN | EXTENSION_SMTPUTF8 | EXTENSION_CHUNKING);
    assert_int_equal(c.size, 10240000);
}

static void keywords_are_read_in_any_case_and_shape(void **state)
{
    struct capabilities c;

    (void)state;
    c = learn("250-x\n250-size\t 7 \n250-8bitMime foo\n250 dsn\n", true);
    assert_int_equal(c.extensions, EXTENSION_SIZE | EXTENSION_8BITMIME | EXTENSION_DSN);
    assert_int_equal(c.size, 7);
}

static void nothing_else_is_taken_for_a_keyword(void **state)
{
    struct capabilities c =
        learn("250-DSN 8BITMIME\r\n250-XDSN\r\n250-DSNX\r\n250-SIZ\r\n250- DSN\r\n250 \r\n", true);

    (void)state;
    assert_int_equal(c.extensions, 0);
    c = learn("250 PIPELINING\r\n", true);
    assert_int_equal(c.extensions, 0);
}

static void the_attributes_of_xclient_are_learnt_and_not_offered(void **state)
{
    struct capabilities c = learn(
        "250-x\r\n250 xclient NAME addr REVERSE_NAME  PORT PROTO HELO LOGIN DESTADDR\r\n", true);
    struct capabilities same = {.known = true};

    (void)state;
    assert_int_equal(c.xclient, XCLIENT_NAME | XCLIENT_ADDR | XCLIENT_PORT | XCLIENT_PROTO |
                                    XCLIENT_HELO | XCLIENT_LOGIN | XCLIENT_DESTADDR);
    assert_int_equal(c.extensions, 0);
    assert_true(capabilities_same(&c, &same));
    c = learn("250-x\r\n250-XCLIENT\r\n250-XCLIENTS ADDR\r\n250 XCLIEN ADDR\r\n", true);
    assert_int_equal(c.xclient, 0);
    c = learn("250-x\r\n250 XCLIENT ADDRESS ADD\r\n", true);
    assert_int_equal(c.xclient, 0);
}

static void an_mta_that_knows_helo_only_offers_nothing(void **state)
{
    struct capabilities c = learn("250-x\r\n250 DSN\r\n", false);

    (void)state;
    assert_int_equal(c.extensions, 0);
    assert_int_equal(capabilities_offered(&c, 0), EXTENSION_SIZE | EXTENSION_PIPELINING |
                                                      EXTENSION_ENHANCEDSTATUSCODES |
                                                      EXTENSION_CHUNKING);
}

static void a_size_that_is_no_number_is_no_limit(void **state)
{
    static const char *const values[] = {"", " 0", " -1", " 1x", " 18446744073709551616", " 1 2"};

    (void)state;
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        char text[64];
        struct capabilities c;

        snprintf(text, sizeof(text), "250-x\r\n250 SIZE%s\r\n", values[i]);
        c = learn(text, true);
        assert_int_equal(c.extensions, EXTENSION_SIZE);
        assert_int_equal(c.size, 0);
    }
}

static void the_smaller_size_counts(void **state)
{
    struct capabilities c = {.known = true, .extensions = EXTENSION_SIZE, .size = 100};

    (void)state;
    assert_int_equal(capabilities_size(&c, 0), 100);
    assert_int_equal(capabilities_size(&c, 50), 50);
    assert_int_equal(capabilities_size(&c, 100), 100);
    assert_int_equal(capabilities_size(&c, 150), 100);
    c.size = 0;
    assert_int_equal(capabilities_size(&c, 0), CAPABILITIES_SIZE_DEFAULT);
    assert_int_equal(capabilities_size(&c, 150), 150);
    c.size = 10;
    c.known = false;
    assert_int_equal(capabilities_size(&c, 150), 150);
}

static void only_what_we_carry_is_offered(void **state)
{
    struct capabilities c = learn(POSTFIX, true);
    struct capabilities_offer offer = {.hostname = "mx.example", .mechanisms = "PLAIN LOGIN"};

    (void)state;
    expect(
        &c, &offer,
        "250-mx.example\r\n250-PIPELINING\r\n250-SIZE 10240000\r\n250-8BITMIME\r\n"
        "250-SMTPUTF8\r\n250-DSN\r\n250-ENHANCEDSTATUSCODES\r\n250-CHUNKING\r\n250 AUTH PLAIN LOGIN\r\n");
    offer.mechanisms = NULL;
    offer.starttls = true;
    offer.max_size = 1000;
    offer.hidden =
        EXTENSION_DSN | EXTENSION_PIPELINING | EXTENSION_ENHANCEDSTATUSCODES | EXTENSION_CHUNKING;
    expect(&c, &offer,
           "250-mx.example\r\n250-SIZE 1000\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 STARTTLS\r\n");
}

static void smtputf8_comes_with_8bitmime_only(void **state)
{
    struct capabilities c = learn("250-x\r\n250-SMTPUTF8\r\n250 DSN\r\n", true);

    (void)state;
    assert_int_equal(capabilities_offered(&c, 0) & EXTENSION_SMTPUTF8, 0);
    c = learn("250-x\r\n250-SMTPUTF8\r\n250 8BITMIME\r\n", true);
    assert_int_not_equal(capabilities_offered(&c, 0) & EXTENSION_SMTPUTF8, 0);
    assert_int_equal(capabilities_offered(&c, EXTENSION_8BITMIME) & EXTENSION_SMTPUTF8, 0);
    assert_int_equal(capabilities_offered(&c, EXTENSION_SMTPUTF8) & EXTENSION_SMTPUTF8, 0);
}

static void an_unknown_mta_offers_what_is_ours(void **state)
{
    struct capabilities c = {.known = false, .extensions = EXTENSION_DSN};
    struct capabilities_offer offer = {.hostname = "mx.example"};

    (void)state;
    expect(
        &c, &offer,
        "250-mx.example\r\n250-PIPELINING\r\n250-SIZE 52428800\r\n250-ENHANCEDSTATUSCODES\r\n250 CHUNKING\r\n");
    offer.hidden = ~0U;
    expect(&c, &offer, "250 mx.example\r\n");
}

static void an_answer_without_room_leaves_nothing(void **state)
{
    struct capabilities c = {.known = false};
    struct capabilities_offer offer = {.hostname = "mx.example"};
    char name[3000];
    struct buf b;

    (void)state;
    buf_init(&b, 30);
    assert_false(capabilities_write(&b, &c, &offer));
    assert_int_equal(buf_len(&b), 0);
    memset(name, 'a', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    offer.hostname = name;
    buf_init(&b, 30000);
    assert_false(capabilities_write(&b, &c, &offer));
    assert_int_equal(buf_len(&b), 0);
}

static void what_is_recorded_is_learnt_again(void **state)
{
    const struct capabilities all[] = {
        {.known = true,
         .extensions = EXTENSION_SIZE | EXTENSION_8BITMIME | EXTENSION_DSN,
         .size = 52428800},
        {.known = true, .extensions = EXTENSION_SIZE},
        {.known = true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        struct capabilities again;
        struct reply r;
        struct buf b;

        buf_init(&b, REPLY_TOTAL_MAX);
        assert_true(capabilities_record(&b, &all[i], "127.0.0.1:25"));
        assert_int_equal(reply_parse(&r, buf_data(&b), buf_len(&b)), REPLY_COMPLETE);
        capabilities_learn(&again, &r, true);
        assert_true(capabilities_same(&again, &all[i]));
        buf_clear(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_attributes_of_xclient_are_learnt_and_not_offered),
        cmocka_unit_test(what_the_mta_offers_is_learnt),
        cmocka_unit_test(keywords_are_read_in_any_case_and_shape),
        cmocka_unit_test(nothing_else_is_taken_for_a_keyword),
        cmocka_unit_test(an_mta_that_knows_helo_only_offers_nothing),
        cmocka_unit_test(a_size_that_is_no_number_is_no_limit),
        cmocka_unit_test(the_smaller_size_counts),
        cmocka_unit_test(only_what_we_carry_is_offered),
        cmocka_unit_test(smtputf8_comes_with_8bitmime_only),
        cmocka_unit_test(what_is_recorded_is_learnt_again),
        cmocka_unit_test(an_unknown_mta_offers_what_is_ours),
        cmocka_unit_test(an_answer_without_room_leaves_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
