#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/mta.h"

struct side {
    struct mta mta;
    struct buf from, to;
    struct reply reply;
};

static void begin(struct side *s)
{
    *s = (struct side){.mta = {.state = MTA_NONE}};
    buf_init(&s->from, 16384);
    buf_init(&s->to, 65536);
    mta_want(&s->mta);
    mta_asked(&s->mta);
    mta_connected(&s->mta);
}

static void end(struct side *s)
{
    buf_clear(&s->from);
    buf_clear(&s->to);
}

static enum mta_event hear(struct side *s)
{
    return mta_hear(&s->mta, &s->reply, &s->from, &s->to, "client.example");
}

static enum mta_event say(struct side *s, const char *text)
{
    assert_true(buf_text(&s->from, text));
    return hear(s);
}

static void told(struct side *s, const char *text)
{
    assert_int_equal(buf_len(&s->to), strlen(text));
    assert_memory_equal(buf_data(&s->to), text, strlen(text));
    buf_clear(&s->to);
}

static void greet(struct side *s, const char *offer)
{
    assert_int_equal(say(s, "220 old.example\r\n"), MTA_MOVED);
    told(s, "EHLO client.example\r\n");
    assert_int_equal(say(s, offer), MTA_MOVED);
    assert_int_equal(s->mta.state, MTA_READY);
}

static void mail(struct side *s)
{
    struct command_mail m;
    const char *args = "FROM:<a@example.org>";

    assert_int_equal(command_parse_mail(&m, args, strlen(args)), COMMAND_OK);
    assert_true(mta_mail(&s->mta, &s->to, &m, 0));
    told(s, "MAIL FROM:<a@example.org>\r\n");
}

static void answer(struct side *s, const char *text)
{
    assert_int_equal(say(s, text), MTA_REPLY);
    mta_heard(&s->mta, &s->from, &s->reply);
    assert_int_equal(buf_len(&s->from), 0);
}

/* Up to the state in which message data goes out. */
static void data(struct side *s)
{
    begin(s);
    greet(s, "250 old.example\r\n");
    mail(s);
    answer(s, "250 ok\r\n");
    assert_true(mta_data(&s->mta, &s->to));
    told(s, "DATA\r\n");
    answer(s, "354 go\r\n");
    assert_int_equal(s->mta.state, MTA_DATA);
}

static const struct mta_identity identity = {.address = "192.0.2.1",
                                             .port = 4321,
                                             .helo = "client.example",
                                             .login = "al=ice",
                                             .esmtp = true};

/* Up to EHLO, whose answer is `offer`. */
static enum mta_event identify(struct side *s, const char *offer)
{
    begin(s);
    s->mta.identity = &identity;
    assert_int_equal(say(s, "220 old.example\r\n"), MTA_MOVED);
    told(s, "EHLO client.example\r\n");
    return say(s, offer);
}

static void the_identity_is_told_before_anything_else(void **state)
{
    struct side s;

    (void)state;
    assert_int_equal(identify(&s, "250-old.example\r\n250 XCLIENT ADDR LOGIN\r\n"), MTA_MOVED);
    told(&s, "XCLIENT ADDR=192.0.2.1 LOGIN=al+3Dice\r\n");
    assert_false(mta_idle(&s.mta, &s.from));
    assert_int_equal(say(&s, "220 old.example\r\n"), MTA_MOVED);
    told(&s, "EHLO client.example\r\n");
    assert_false(mta_idle(&s.mta, &s.from));
    assert_int_equal(say(&s, "250-old.example\r\n250 XCLIENT ADDR\r\n"), MTA_MOVED);
    assert_int_equal(buf_len(&s.to), 0); /* once */
    assert_true(mta_idle(&s.mta, &s.from));
    end(&s);
}

static void an_mta_that_does_not_take_the_identity_is_of_no_use(void **state)
{
    static const char *const answers[] = {"550 no\r\n", "421 no\r\n", "451 no\r\n", "354 go\r\n"};

    (void)state;
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        struct side s;

        assert_int_equal(identify(&s, "250-x\r\n250 XCLIENT NAME\r\n"), MTA_MOVED);
        told(&s, "XCLIENT NAME=[UNAVAILABLE]\r\n");
        assert_int_equal(say(&s, answers[i]), i == 1 ? MTA_HANGUP : MTA_UNIDENTIFIED);
        end(&s);
    }
}

static void a_503_to_the_second_ehlo_leaves_what_was_learnt(void **state)
{
    struct side s;

    (void)state;
    assert_int_equal(identify(&s, "250-x\r\n250-DSN\r\n250 XCLIENT NAME\r\n"), MTA_MOVED);
    buf_clear(&s.to);
    assert_int_equal(say(&s, "220 x\r\n"), MTA_MOVED);
    buf_clear(&s.to);
    assert_int_equal(say(&s, "503 again?\r\n"), MTA_MOVED);
    assert_int_equal(s.mta.state, MTA_READY);
    assert_int_equal(s.mta.capabilities.extensions, EXTENSION_DSN);
    end(&s);
}

static void an_identity_belongs_to_one_connection(void **state)
{
    struct side s;

    (void)state;
    assert_int_equal(identify(&s, "250-x\r\n250 XCLIENT NAME\r\n"), MTA_MOVED);
    mta_forget(&s.mta);
    assert_null(s.mta.identity);
    assert_false(s.mta.identified);
    end(&s);
}

static void an_identity_is_xtext_and_bounded(void **state)
{
    static char login[COMMAND_LINE_MAX];
    struct mta_identity i = {.address = "2001:db8::1", .login = "a b\r\n\x7f+=\xc3\xa9"};
    struct buf b;

    (void)state;
    buf_init(&b, 65536);
    assert_true(mta_identity_write(&b, &i,
                                   XCLIENT_ADDR | XCLIENT_PORT | XCLIENT_PROTO | XCLIENT_HELO |
                                       XCLIENT_LOGIN | XCLIENT_DESTADDR));
    const char *wanted = "XCLIENT ADDR=IPV6:2001:db8::1 PORT=[UNAVAILABLE] PROTO=SMTP "
                         "HELO=[UNAVAILABLE] LOGIN=a+20b+0D+0A+7F+2B+3D+C3+A9 "
                         "DESTADDR=[UNAVAILABLE]\r\n";
    assert_int_equal(buf_len(&b), strlen(wanted));
    assert_memory_equal(buf_data(&b), wanted, strlen(wanted));
    buf_clear(&b);
    for (size_t len = sizeof(login) - 30; len < sizeof(login); len++) {
        memset(login, 'x', len);
        i.login = login;
        if (mta_identity_write(&b, &i, XCLIENT_LOGIN))
            assert_true(buf_len(&b) <= COMMAND_LINE_MAX + 2);
        else
            assert_int_equal(buf_len(&b), 0);
        assert_int_equal(buf_len(&b) > 0, strlen("XCLIENT LOGIN=") + len <= COMMAND_LINE_MAX);
        buf_clear(&b);
    }
}

static void accepted_mails_are_counted_for_each_connection(void **state)
{
    struct side s;

    (void)state;
    begin(&s);
    greet(&s, "250 old.example\r\n");
    mail(&s);
    answer(&s, "550 no\r\n");
    assert_int_equal(s.mta.transactions, 0);
    mail(&s);
    answer(&s, "250 ok\r\n");
    assert_int_equal(s.mta.transactions, 1);
    mta_forget(&s.mta);
    assert_int_equal(s.mta.transactions, 0);
    end(&s);
}

static void the_offer_is_learnt_wherever_it_is_cut(void **state)
{
    const char *all = "220 old.example\r\n";
    const char *offer = "250-old.example\r\n250-8BITMIME\r\n250 SIZE 1000\r\n";
    char first[128];

    (void)state;
    for (size_t cut = 0; cut <= strlen(offer); cut++) {
        struct side s;

        begin(&s);
        say(&s, all);
        told(&s, "EHLO client.example\r\n");
        snprintf(first, sizeof(first), "%.*s", (int)cut, offer);
        assert_int_equal(say(&s, first), cut == strlen(offer) ? MTA_MOVED : MTA_SILENT);
        if (cut < strlen(offer)) {
            assert_false(s.mta.learnt);
            assert_int_equal(say(&s, offer + cut), MTA_MOVED);
        }
        assert_true(s.mta.learnt);
        assert_int_equal(s.mta.capabilities.extensions, EXTENSION_8BITMIME | EXTENSION_SIZE);
        assert_int_equal(s.mta.capabilities.size, 1000);
        end(&s);
    }
}

static void nothing_is_written_before_the_banner(void **state)
{
    struct side s;

    (void)state;
    begin(&s);
    assert_int_equal(hear(&s), MTA_SILENT);
    assert_int_equal(buf_len(&s.to), 0);
    assert_false(mta_idle(&s.mta, &s.from));
    end(&s);
}

static void banners_other_than_220_are_refusals(void **state)
{
    static const struct {
        const char *banner;
        enum mta_event event;
    } rows[] = {
        {"554 no\r\n", MTA_UNUSABLE},         {"450 no\r\n", MTA_UNUSABLE},
        {"250 odd\r\n", MTA_UNUSABLE},        {"421 busy\r\n", MTA_HANGUP},
        {"hello\r\n", MTA_NONSENSE},          {"354 odd\r\n", MTA_UNUSABLE},
        {"220-a\r\n221 b\r\n", MTA_NONSENSE},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct side s;

        begin(&s);
        assert_int_equal(say(&s, rows[i].banner), rows[i].event);
        assert_int_equal(buf_len(&s.to), 0);
        end(&s);
    }
}

static void helo_is_tried_when_ehlo_is_unknown(void **state)
{
    struct side s;

    (void)state;
    begin(&s);
    say(&s, "220 old.example\r\n");
    told(&s, "EHLO client.example\r\n");
    assert_int_equal(say(&s, "500 what?\r\n"), MTA_MOVED);
    told(&s, "HELO client.example\r\n");
    assert_int_equal(say(&s, "250-old.example\r\n250 SIZE 5\r\n"), MTA_MOVED);
    assert_int_equal(s.mta.state, MTA_READY);
    assert_true(s.mta.capabilities.known);
    assert_int_equal(s.mta.capabilities.extensions, 0);
    end(&s);
}

static void a_temporary_refusal_of_ehlo_is_not_answered_with_helo(void **state)
{
    struct side s;

    (void)state;
    begin(&s);
    say(&s, "220 old.example\r\n");
    told(&s, "EHLO client.example\r\n");
    assert_int_equal(say(&s, "451 later\r\n"), MTA_UNUSABLE);
    assert_int_equal(buf_len(&s.to), 0);
    end(&s);
}

static void a_reply_stays_until_it_is_heard(void **state)
{
    struct side s;

    (void)state;
    begin(&s);
    greet(&s, "250 old.example\r\n");
    mail(&s);
    assert_int_equal(say(&s, "250 ok\r\n"), MTA_REPLY);
    assert_int_equal(hear(&s), MTA_REPLY);
    assert_int_equal(s.mta.state, MTA_BUSY);
    assert_false(s.mta.transaction);
    mta_heard(&s.mta, &s.from, &s.reply);
    assert_int_equal(s.mta.state, MTA_READY);
    assert_true(s.mta.transaction);
    assert_int_equal(hear(&s), MTA_SILENT);
    end(&s);
}

static void a_reply_to_what_was_not_sent_yet_is_a_desync(void **state)
{
    struct side s;
    struct command_mail m = {.size = 0};

    (void)state;
    begin(&s);
    greet(&s, "250 old.example\r\n");
    assert_true(mta_mail(&s.mta, &s.to, &m, 0));
    assert_int_equal(say(&s, "250 ok\r\n"), MTA_DESYNC);
    end(&s);
}

static void classes_that_a_command_cannot_have_are_nonsense(void **state)
{
    struct side s;

    (void)state;
    begin(&s);
    greet(&s, "250 old.example\r\n");
    mail(&s);
    assert_int_equal(say(&s, "354 go\r\n"), MTA_NONSENSE);
    end(&s);
    begin(&s);
    greet(&s, "250 old.example\r\n");
    assert_true(mta_data(&s.mta, &s.to));
    told(&s, "DATA\r\n");
    assert_int_equal(say(&s, "250 ok\r\n"), MTA_NONSENSE);
    end(&s);
    data(&s);
    assert_true(mta_end(&s.mta, &s.to));
    told(&s, ".\r\n");
    assert_int_equal(say(&s, "354 more\r\n"), MTA_NONSENSE);
    end(&s);
}

static void an_idle_mta_may_hang_up_and_nothing_else(void **state)
{
    static const struct {
        const char *text;
        enum mta_event event;
    } rows[] = {
        {"4", MTA_SILENT},         {"42", MTA_SILENT},        {"421", MTA_SILENT},
        {"421-a\r\n", MTA_SILENT}, {"421 a\r\n", MTA_HANGUP}, {"2", MTA_DESYNC},
        {"45", MTA_DESYNC},        {"422 a\r\n", MTA_DESYNC}, {"\r\n", MTA_DESYNC},
        {"5", MTA_DESYNC},         {"421x", MTA_DESYNC},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct side s;

        begin(&s);
        greet(&s, "250 old.example\r\n");
        assert_int_equal(say(&s, rows[i].text), rows[i].event);
        assert_false(mta_idle(&s.mta, &s.from));
        end(&s);
    }
}

static void during_data_the_mta_may_refuse_and_nothing_else(void **state)
{
    static const struct {
        const char *text;
        enum mta_event event;
    } rows[] = {
        {"4", MTA_SILENT},           {"55", MTA_SILENT},          {"552 full\r\n", MTA_REFUSAL},
        {"450 no\r\n", MTA_REFUSAL}, {"421 bye\r\n", MTA_HANGUP}, {"2", MTA_DESYNC},
        {"354 go\r\n", MTA_DESYNC},  {"\r\n", MTA_DESYNC},        {"5xx\r\n", MTA_DESYNC},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct side s;

        data(&s);
        assert_int_equal(say(&s, rows[i].text), rows[i].event);
        end(&s);
    }
}

static void the_dots_answer_counts_only_when_the_dot_has_left(void **state)
{
    struct side s;

    (void)state;
    data(&s);
    assert_true(mta_end(&s.mta, &s.to));
    assert_int_equal(say(&s, "250 queued\r\n"), MTA_DESYNC);
    end(&s);
    data(&s);
    assert_true(mta_end(&s.mta, &s.to));
    assert_int_equal(say(&s, "552 full\r\n"), MTA_REFUSAL);
    end(&s);
    data(&s);
    assert_true(mta_end(&s.mta, &s.to));
    told(&s, ".\r\n");
    answer(&s, "250 queued\r\n");
    assert_false(s.mta.transaction);
    end(&s);
}

/* Some MTAs keep the envelope then; RSET is due. */
static void a_message_that_was_refused_leaves_the_transaction_open(void **state)
{
    struct side s;

    (void)state;
    data(&s);
    assert_true(mta_end(&s.mta, &s.to));
    told(&s, ".\r\n");
    answer(&s, "550 spam\r\n");
    assert_true(s.mta.transaction);
    assert_true(mta_reset(&s.mta, &s.to));
    told(&s, "RSET\r\n");
    assert_int_equal(say(&s, "250 ok\r\n"), MTA_MOVED);
    assert_false(s.mta.transaction);
    assert_true(mta_idle(&s.mta, &s.from));
    end(&s);
}

static void what_an_mta_says_after_quit_is_thrown_away(void **state)
{
    struct side s;

    (void)state;
    begin(&s);
    greet(&s, "250 old.example\r\n");
    assert_true(mta_quit(&s.mta, &s.to));
    told(&s, "QUIT\r\n");
    assert_int_equal(say(&s, "221 bye\r\n250 what?\r\n"), MTA_SILENT);
    assert_int_equal(buf_len(&s.from), 0);
    end(&s);
}

static void size_goes_only_to_an_mta_that_offers_it(void **state)
{
    static const char args[] = "FROM:<a@example.org> SIZE=10";
    struct side s;
    struct command_mail m;

    (void)state;
    assert_int_equal(command_parse_mail(&m, args, strlen(args)), COMMAND_OK);
    begin(&s);
    greet(&s, "250-x\r\n250 SIZE 1000\r\n");
    assert_true(mta_mail(&s.mta, &s.to, &m, 0));
    told(&s, "MAIL FROM:<a@example.org> SIZE=10\r\n");
    answer(&s, "250 ok\r\n");
    assert_true(mta_mail(&s.mta, &s.to, &m, EXTENSION_SIZE));
    told(&s, "MAIL FROM:<a@example.org>\r\n");
    end(&s);
    begin(&s);
    greet(&s, "250 x\r\n");
    assert_true(mta_mail(&s.mta, &s.to, &m, 0));
    told(&s, "MAIL FROM:<a@example.org>\r\n");
    end(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_identity_is_told_before_anything_else),
        cmocka_unit_test(an_mta_that_does_not_take_the_identity_is_of_no_use),
        cmocka_unit_test(a_503_to_the_second_ehlo_leaves_what_was_learnt),
        cmocka_unit_test(an_identity_belongs_to_one_connection),
        cmocka_unit_test(an_identity_is_xtext_and_bounded),
        cmocka_unit_test(accepted_mails_are_counted_for_each_connection),
        cmocka_unit_test(the_offer_is_learnt_wherever_it_is_cut),
        cmocka_unit_test(nothing_is_written_before_the_banner),
        cmocka_unit_test(banners_other_than_220_are_refusals),
        cmocka_unit_test(helo_is_tried_when_ehlo_is_unknown),
        cmocka_unit_test(a_temporary_refusal_of_ehlo_is_not_answered_with_helo),
        cmocka_unit_test(a_reply_stays_until_it_is_heard),
        cmocka_unit_test(a_reply_to_what_was_not_sent_yet_is_a_desync),
        cmocka_unit_test(classes_that_a_command_cannot_have_are_nonsense),
        cmocka_unit_test(an_idle_mta_may_hang_up_and_nothing_else),
        cmocka_unit_test(during_data_the_mta_may_refuse_and_nothing_else),
        cmocka_unit_test(the_dots_answer_counts_only_when_the_dot_has_left),
        cmocka_unit_test(a_message_that_was_refused_leaves_the_transaction_open),
        cmocka_unit_test(what_an_mta_says_after_quit_is_thrown_away),
        cmocka_unit_test(size_goes_only_to_an_mta_that_offers_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
