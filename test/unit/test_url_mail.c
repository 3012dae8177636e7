#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "auth/url_mail.h"

static enum url_mail_verdict judge(enum url_protocol p, bool fine, const char *heard)
{
    return url_mail_judge(p, true, fine, heard, strlen(heard));
}

#define IMAP_FRONT "* OK ready\r\n* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\nA001 OK done\r\n+ \r\n"
#define POP3_FRONT "+OK ready\r\n+OK\r\nSASL PLAIN\r\n.\r\n+ \r\n"
#define SMTP_FRONT "220 ready\r\n250-host\r\n250 AUTH PLAIN\r\n334 \r\n"

static void yes_and_no(void **state)
{
    (void)state;
    assert_int_equal(judge(URL_IMAP, true, IMAP_FRONT "A002 OK in\r\n"), URL_MAIL_ACCEPTED);
    assert_int_equal(judge(URL_IMAP, true, IMAP_FRONT "* CAPABILITY X\r\nA002 OK [X] in\r\n"),
                     URL_MAIL_ACCEPTED);
    assert_int_equal(judge(URL_IMAP, true, IMAP_FRONT "A002 OK in\r\n* STATUS x\r\n"),
                     URL_MAIL_ACCEPTED);
    assert_int_equal(judge(URL_IMAP, false, IMAP_FRONT "A002 NO [AUTHENTICATIONFAILED] x\r\n"),
                     URL_MAIL_REJECTED);
    assert_int_equal(judge(URL_IMAP, false, IMAP_FRONT "A002 NO\r\n"), URL_MAIL_REJECTED);
    assert_int_equal(judge(URL_POP3, true, POP3_FRONT "+OK in\r\n"), URL_MAIL_ACCEPTED);
    assert_int_equal(judge(URL_POP3, false, POP3_FRONT "-ERR [AUTH] no\r\n"), URL_MAIL_REJECTED);
    assert_int_equal(judge(URL_POP3, false, POP3_FRONT "-ERR\r\n"), URL_MAIL_REJECTED);
    assert_int_equal(judge(URL_POP3, false, POP3_FRONT "-ERR [IN-USE] open elsewhere\r\n"),
                     URL_MAIL_ACCEPTED);
    assert_int_equal(judge(URL_SMTP, true, SMTP_FRONT "235 2.7.0 in\r\n"), URL_MAIL_ACCEPTED);
    assert_int_equal(judge(URL_SMTP, false, SMTP_FRONT "535 5.7.8 no\r\n"), URL_MAIL_REJECTED);
    assert_int_equal(judge(URL_SMTP, false, SMTP_FRONT "535-5.7.8 no\r\n535 5.7.8 no\r\n"),
                     URL_MAIL_REJECTED);
}

static void not_now_is_never_no(void **state)
{
    (void)state;
    static const char *const imap[] = {
        "A002 NO [UNAVAILABLE] later\r\n",
        "A002 NO [unavailable]\r\n",
        "A002 NO [LIMIT] too many\r\n",
        "A002 NO [SERVERBUG] x\r\n",
        "A002 NO [INUSE] x\r\n",
        "A002 NO [CONTACTADMIN] x\r\n",
        "A002 NO [PRIVACYREQUIRED] x\r\n",
        "A002 BAD what\r\n",
        "* BYE going down\r\n",
        "A002 \r\n",
        "A002\r\n",
        "garbage\r\n",
        "A002 NOPE\r\n",
        "\r\n",
        "+ more\r\n",
    };
    static const char *const pop3[] = {"-ERR [SYS/TEMP] x\r\n",
                                       "-ERR [sys/perm] x\r\n",
                                       "-ERR [LOGIN-DELAY]\r\n",
                                       "garbage\r\n",
                                       "-ERRX\r\n",
                                       "+ \r\n",
                                       "\r\n"};
    static const char *const smtp[] = {"454 4.7.0 later\r\n", "421 bye\r\n",    "530 x\r\n",
                                       "534 5.7.9 weak\r\n",  "538 5.7.11\r\n", "500 what\r\n",
                                       "503 x\r\n",           "5355 x\r\n",     "535-half\r\n",
                                       "garbage\r\n",         "334 \r\n"};
    char heard[256];

    for (size_t i = 0; i < sizeof imap / sizeof *imap; i++) {
        snprintf(heard, sizeof heard, "* OK\r\n%s", imap[i]);
        assert_int_equal(judge(URL_IMAP, false, heard), URL_MAIL_UNAVAILABLE);
        assert_int_equal(judge(URL_IMAP, true, heard), URL_MAIL_UNAVAILABLE);
    }
    for (size_t i = 0; i < sizeof pop3 / sizeof *pop3; i++) {
        assert_int_equal(judge(URL_POP3, false, pop3[i]), URL_MAIL_UNAVAILABLE);
        assert_int_equal(judge(URL_POP3, true, pop3[i]), URL_MAIL_UNAVAILABLE);
    }
    for (size_t i = 0; i < sizeof smtp / sizeof *smtp; i++) {
        assert_int_equal(judge(URL_SMTP, false, smtp[i]), URL_MAIL_UNAVAILABLE);
        assert_int_equal(judge(URL_SMTP, true, smtp[i]), URL_MAIL_UNAVAILABLE);
    }
}

/* A server without AUTH, or one that says PREAUTH, is content without a login. */
static void a_login_that_was_never_given_is_not_accepted(void **state)
{
    (void)state;
    static const char *const heard[] = {"* PREAUTH hello\r\nA001 OK\r\n", "+OK\r\n",
                                        "220 x\r\n250 host\r\n", "235 in\r\n", ""};

    for (size_t i = 0; i < sizeof heard / sizeof *heard; i++)
        for (int p = URL_IMAP; p <= URL_SMTP; p++) {
            assert_int_equal(url_mail_judge(p, false, true, heard[i], strlen(heard[i])),
                             URL_MAIL_NO_WAY);
            assert_int_equal(url_mail_judge(p, false, false, heard[i], strlen(heard[i])),
                             URL_MAIL_NO_WAY);
        }
}

/* Both must say so: the library, and the server's own last whole line. */
static void the_library_and_the_server_must_agree(void **state)
{
    (void)state;
    assert_int_equal(judge(URL_IMAP, false, IMAP_FRONT "A002 OK in\r\n"), URL_MAIL_UNAVAILABLE);
    assert_int_equal(judge(URL_IMAP, true, IMAP_FRONT "A002 NO x\r\n"), URL_MAIL_UNAVAILABLE);
    assert_int_equal(judge(URL_POP3, false, "+OK in\r\n"), URL_MAIL_UNAVAILABLE);
    assert_int_equal(judge(URL_POP3, true, "-ERR x\r\n"), URL_MAIL_UNAVAILABLE);
    assert_int_equal(judge(URL_SMTP, false, "235 in\r\n"), URL_MAIL_UNAVAILABLE);
    assert_int_equal(judge(URL_SMTP, true, "535 x\r\n"), URL_MAIL_UNAVAILABLE);
}

static void half_a_line_is_none(void **state)
{
    (void)state;
    static const char imap[] = IMAP_FRONT "A002 OK in\r\n", smtp[] = SMTP_FRONT "235 in\r\n";

    for (size_t len = strlen(IMAP_FRONT); len < strlen(imap); len++)
        assert_int_equal(url_mail_judge(URL_IMAP, true, false, imap, len), URL_MAIL_UNAVAILABLE);
    for (size_t len = 0; len < strlen(smtp); len++)
        assert_int_equal(url_mail_judge(URL_SMTP, true, true, smtp, len), URL_MAIL_UNAVAILABLE);
    assert_int_equal(url_mail_judge(URL_SMTP, true, true, smtp, strlen(smtp)), URL_MAIL_ACCEPTED);
}

static void gives(enum url_protocol p, const char *line, bool expected)
{
    assert_int_equal(url_mail_gives(p, line, strlen(line)), expected);
}

static void the_line_that_gives_the_login_is_known(void **state)
{
    (void)state;
    gives(URL_IMAP, "A002 AUTHENTICATE PLAIN\r\n", true);
    gives(URL_IMAP, "A002 LOGIN alice secret\r\n", true);
    gives(URL_IMAP, "A001 CAPABILITY\r\n", false);
    gives(URL_IMAP, "A001 STARTTLS\r\n", false);
    gives(URL_IMAP, "LOGIN", false);
    gives(URL_POP3, "AUTH PLAIN\r\n", true);
    gives(URL_POP3, "USER alice\r\n", true);
    gives(URL_POP3, "CAPA\r\n", false);
    gives(URL_POP3, "STLS\r\n", false);
    gives(URL_SMTP, "AUTH PLAIN AGE=\r\n", true);
    gives(URL_SMTP, "EHLO AUTH \r\n", false);
    gives(URL_SMTP, "STARTTLS\r\n", false);
    gives(URL_SMTP, "AUTH", false);
}

static void the_first_line_tells_who_it_is(void **state)
{
    (void)state;
    static const struct {
        enum url_protocol p;
        const char *line;
        bool right;
    } cases[] = {{URL_IMAP, "* OK x\r\n", true},
                 {URL_IMAP, "+OK x\r\n", false},
                 {URL_IMAP, "220 x\r\n", false},
                 {URL_POP3, "+OK x\r\n", true},
                 {URL_POP3, "-ERR x\r\n", true},
                 {URL_POP3, "* OK\r\n", false},
                 {URL_SMTP, "220-x\r\n", true},
                 {URL_SMTP, "554 x\r\n", true},
                 {URL_SMTP, "+OK\r\n", false},
                 {URL_SMTP, "999 x\r\n", false},
                 {URL_SMTP, "22", false},
                 {URL_IMAP, "HTTP/1.1 400\r\n", false},
                 {URL_POP3, "SSH-2.0-x\r\n", false},
                 {URL_SMTP, "", false}};

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(url_mail_greets(cases[i].p, cases[i].line, strlen(cases[i].line)),
                         cases[i].right);
}

static void the_last_line_is_shown_without_tricks(void **state)
{
    (void)state;
    char out[16];

    url_mail_last(out, sizeof out, "a\r\n535 \x1b[31mno\r\n", 17);
    assert_string_equal(out, "535 ?[31mno");
    url_mail_last(out, sizeof out, "0123456789abcdefgh\r\n", 20);
    assert_string_equal(out, "0123456789abcde");
    url_mail_last(out, sizeof out, "whole\r\nhalf", 11);
    assert_string_equal(out, "whole");
    url_mail_last(out, sizeof out, "", 0);
    assert_string_equal(out, "");
}

static void without_sasl_less_can_be_said(void **state)
{
    (void)state;
    char longest[300];

    assert_true(url_mail_clear_ok(URL_IMAP, "alice smith", "pass word"));
    assert_false(url_mail_clear_ok(URL_IMAP, "j\xc3\xb6rg", "x"));
    assert_false(url_mail_clear_ok(URL_IMAP, "alice", "p\xc3\xa4ss"));
    assert_false(url_mail_clear_ok(URL_IMAP, "alice", "p\ns"));
    assert_true(url_mail_clear_ok(URL_POP3, "alice", "pass word"));
    assert_false(url_mail_clear_ok(URL_POP3, "alice smith", "x"));
    memset(longest, 'a', sizeof longest);
    longest[249] = '\0';
    assert_false(url_mail_clear_ok(URL_POP3, "alice", longest));
    assert_false(url_mail_clear_ok(URL_POP3, longest, "x"));
    longest[248] = '\0';
    assert_true(url_mail_clear_ok(URL_POP3, longest, longest));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(yes_and_no),
        cmocka_unit_test(not_now_is_never_no),
        cmocka_unit_test(a_login_that_was_never_given_is_not_accepted),
        cmocka_unit_test(the_library_and_the_server_must_agree),
        cmocka_unit_test(half_a_line_is_none),
        cmocka_unit_test(the_line_that_gives_the_login_is_known),
        cmocka_unit_test(the_first_line_tells_who_it_is),
        cmocka_unit_test(the_last_line_is_shown_without_tricks),
        cmocka_unit_test(without_sasl_less_can_be_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
