#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/smtp.h"
#include "proxy/smtp_core.h"

/* What client, server and MTA say to each other is in test/conversations; here is what a
 * conversation cannot show: the answers to the caller's questions, and where the limits are. */

static const struct smtp_rules rules = {
    .hostname = "mail.example", .require_tls = true, .max_failures = 3, .trace = TRACE_NONE};
static const uint32_t mechanisms = SASL_PLAIN | SASL_LOGIN;
static const struct smtp_peer peer = {
    .address = "192.0.2.1", .session = "test", .mechanisms = &mechanisms};
static const struct smtp_tls_info tls = {.version = "TLSv1.3", .cipher = "TLS_AES_128_GCM_SHA256"};

struct talk {
    struct capabilities known;
    struct smtp *smtp;
    struct buf from_client, to_client, from_mta, to_mta;
    struct smtp_io io;
};

static void begin(struct talk *t)
{
    *t = (struct talk){.io = {.now = 1}};
    buf_init(&t->from_client, LIMIT_CLIENT_IN);
    buf_init(&t->to_client, LIMIT_CLIENT_OUT);
    buf_init(&t->from_mta, LIMIT_MTA_IN);
    buf_init(&t->to_mta, LIMIT_MTA_OUT);
    t->io.from_client = &t->from_client;
    t->io.to_client = &t->to_client;
    t->io.from_mta = &t->from_mta;
    t->io.to_mta = &t->to_mta;
    t->smtp = smtp_new(&rules, &peer, &t->known);
    assert_non_null(t->smtp);
}

static void end(struct talk *t)
{
    smtp_free(t->smtp);
    buf_clear(&t->from_client);
    buf_clear(&t->to_client);
    buf_clear(&t->from_mta);
    buf_clear(&t->to_mta);
}

static void advance(struct talk *t, enum smtp_todo expected)
{
    assert_int_equal(smtp_advance(t->smtp, &t->io), expected);
}

static void said(struct buf *b, const char *text)
{
    assert_int_equal(buf_len(b), strlen(text));
    assert_memory_equal(buf_data(b), text, strlen(text));
    buf_clear(b);
}

static void client(struct talk *t, const char *text, enum smtp_todo expected)
{
    assert_true(buf_text(&t->from_client, text));
    advance(t, expected);
}

static void mta(struct talk *t, const char *text, enum smtp_todo expected)
{
    assert_true(buf_text(&t->from_mta, text));
    advance(t, expected);
}

static void greet(struct talk *t)
{
    begin(t);
    advance(t, SMTP_WAIT);
    smtp_tls_started(t->smtp, &tls);
    client(t, "EHLO client.example\r\n", SMTP_WAIT);
    buf_clear(&t->to_client);
}

static void login(struct talk *t)
{
    greet(t);
    client(t, "AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n", SMTP_VERIFY);
    advance(t, SMTP_WAIT);
    smtp_verdict(t->smtp, SMTP_ACCEPTED, "alice");
    advance(t, SMTP_WAIT);
    buf_clear(&t->to_client);
}

static void open_mail(struct talk *t)
{
    login(t);
    client(t, "MAIL FROM:<alice@example.org>\r\n", SMTP_CONNECT);
    smtp_mta_connected(t->smtp);
    mta(t, "220 old.example\r\n", SMTP_WAIT);
    said(&t->to_mta, "EHLO client.example\r\n");
    mta(t, "250 old.example\r\n", SMTP_WAIT);
    said(&t->to_mta, "MAIL FROM:<alice@example.org>\r\n");
    mta(t, "250 ok\r\n", SMTP_WAIT);
    said(&t->to_client, "250 2.0.0 ok\r\n");
}

static void rcpt(struct talk *t)
{
    client(t, "RCPT TO:<bob@example.net>\r\n", SMTP_WAIT);
    said(&t->to_mta, "RCPT TO:<bob@example.net>\r\n");
    mta(t, "250 ok\r\n", SMTP_WAIT);
    said(&t->to_client, "250 2.0.0 ok\r\n");
}

static void open_data(struct talk *t)
{
    open_mail(t);
    rcpt(t);
    client(t, "DATA\r\n", SMTP_WAIT);
    said(&t->to_mta, "DATA\r\n");
    mta(t, "354 go\r\n", SMTP_WAIT);
    said(&t->to_client, SAY_DATA "\r\n");
}

static void an_idle_session_is_small(void **state)
{
    (void)state;
    assert_true(sizeof(struct smtp) <= 1024);
}

static void an_idle_session_holds_no_buffer(void **state)
{
    struct talk t;

    (void)state;
    login(&t);
    assert_null(t.from_client.storage);
    assert_null(t.from_mta.storage);
    assert_null(t.to_mta.storage);
    assert_null(t.smtp->sasl);
    assert_null(t.smtp->message);
    end(&t);
}

static void the_gate_opens_with_tls_and_a_login_and_not_before(void **state)
{
    struct talk t;

    (void)state;
    begin(&t);
    assert_false(smtp_may_forward(t.smtp));
    smtp_tls_started(t.smtp, &tls);
    assert_false(smtp_may_forward(t.smtp));
    end(&t);
    login(&t);
    assert_true(smtp_may_forward(t.smtp));
    t.smtp->link = LINK_PLAIN;
    assert_false(smtp_may_forward(t.smtp));
    t.smtp->link = LINK_TLS;
    t.smtp->auth = AUTH_NONE;
    assert_false(smtp_may_forward(t.smtp));
    end(&t);
}

/* Whatever state a bug may bring about, the one place that gives access asks the gate. */
static void a_shut_gate_ends_the_session(void **state)
{
    struct talk t;

    (void)state;
    login(&t);
    client(&t, "MAIL FROM:<alice@example.org>\r\n", SMTP_CONNECT);
    smtp_mta_connected(t.smtp);
    free(t.smtp->login);
    t.smtp->login = NULL;
    mta(&t, "220 old.example\r\n", SMTP_ABORT);
    assert_int_equal(smtp_end(t.smtp), SMTP_END_GATE);
    assert_int_equal(buf_len(&t.to_mta), 0);
    end(&t);
}

static void the_credential_is_there_while_it_is_checked_and_not_longer(void **state)
{
    const struct sasl_credential *c;
    struct talk t;

    (void)state;
    greet(&t);
    assert_null(smtp_credential(t.smtp));
    client(&t, "AUTH LOGIN YWxpY2U=\r\n", SMTP_WAIT);
    assert_null(smtp_credential(t.smtp));
    client(&t, "c2VjcmV0\r\n", SMTP_VERIFY);
    c = smtp_credential(t.smtp);
    assert_non_null(c);
    assert_int_equal(c->mechanism, SASL_LOGIN);
    assert_string_equal(c->login, "alice");
    assert_string_equal(c->secret, "secret");
    assert_null(smtp_login(t.smtp));
    smtp_verdict(t.smtp, SMTP_REJECTED, NULL);
    assert_null(smtp_credential(t.smtp));
    assert_null(t.smtp->sasl);
    assert_null(smtp_login(t.smtp));
    assert_null(smtp_mechanism(t.smtp));
    end(&t);
}

/* A queue with the storage of the line still in hand shows what is left of it. */
static void an_auth_line_is_wiped_from_the_queue(void **state)
{
    static const char line[] = "AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n";
    struct talk t;
    const uint8_t *where;

    (void)state;
    greet(&t);
    assert_true(buf_text(&t.from_client, line));
    assert_true(buf_text(&t.from_client, "NOOP\r\n"));
    where = buf_data(&t.from_client);
    advance(&t, SMTP_VERIFY);
    assert_int_equal(buf_len(&t.from_client), 6);
    for (size_t i = 0; i < strlen(line); i++)
        assert_int_equal(where[i], 0);
    end(&t);
}

static void the_client_is_not_read_while_its_password_is_checked(void **state)
{
    struct talk t;

    (void)state;
    greet(&t);
    assert_true(smtp_reads_client(t.smtp, &t.io));
    client(&t, "AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n", SMTP_VERIFY);
    assert_false(smtp_reads_client(t.smtp, &t.io));
    advance(&t, SMTP_WAIT);
    assert_false(smtp_reads_client(t.smtp, &t.io));
    smtp_verdict(t.smtp, SMTP_UNAVAILABLE, NULL);
    advance(&t, SMTP_WAIT);
    assert_true(smtp_reads_client(t.smtp, &t.io));
    end(&t);
}

/* Whatever the backend says, there is no nameless login. */
static void an_acceptance_without_a_name_is_none(void **state)
{
    static const char *const names[] = {NULL, ""};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct talk t;

        greet(&t);
        client(&t, "AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n", SMTP_VERIFY);
        smtp_verdict(t.smtp, SMTP_ACCEPTED, names[i]);
        advance(&t, SMTP_WAIT);
        said(&t.to_client, SAY_AUTH_UNAVAILABLE "\r\n");
        assert_false(smtp_may_forward(t.smtp));
        end(&t);
    }
}

/* Octets that are there all the same wait for TLS, or for the verdict. */
static void nothing_is_taken_while_tls_or_a_verdict_is_pending(void **state)
{
    struct talk t;

    (void)state;
    begin(&t);
    client(&t, "NOOP\r\n", SMTP_WAIT);
    assert_int_equal(buf_len(&t.from_client), 6);
    assert_int_equal(buf_len(&t.to_client), 0);
    end(&t);
    greet(&t);
    client(&t, "AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\nNOOP\r\n", SMTP_VERIFY);
    advance(&t, SMTP_WAIT);
    assert_int_equal(buf_len(&t.from_client), 6);
    end(&t);
}

static void a_login_does_not_stand_for_a_greeting(void **state)
{
    struct talk t;

    (void)state;
    login(&t);
    t.smtp->hello = HELLO_NONE;
    client(&t, "MAIL FROM:<>\r\n", SMTP_WAIT);
    said(&t.to_client, SAY_NEED_HELLO "\r\n");
    end(&t);
}

static void a_gate_without_auth_opens_for_its_domains_alone(void **state)
{
    static const char *const domains[] = {"example.com"};
    static const struct smtp_gate gate = {.domains = domains, .count = 1};
    struct smtp_rules open = rules;
    struct smtp_peer near = peer;
    struct talk t;

    (void)state;
    greet(&t);
    t.smtp->rules = &open;
    t.smtp->peer = &near;
    assert_false(smtp_may_forward(t.smtp));
    open.gate = &gate;
    assert_false(smtp_may_forward(t.smtp)); /* AUTH is required */
    near.trusted = true;
    assert_false(smtp_may_forward(t.smtp));
    open.auth = SMTP_AUTH_NONE;
    assert_true(smtp_may_forward(t.smtp));
    near.trusted = false;
    assert_true(smtp_may_forward(t.smtp));
    open.gate = NULL;
    assert_false(smtp_may_forward(t.smtp));
    near.trusted = true;
    assert_true(smtp_may_forward(t.smtp));
    t.smtp->link = LINK_PLAIN;
    assert_false(smtp_may_forward(t.smtp)); /* TLS is required */
    open.gate = &gate;
    near.trusted = false;
    assert_false(smtp_may_forward(t.smtp));
    open.require_tls = false;
    assert_true(smtp_may_forward(t.smtp));
    open.gate = NULL;
    near.trusted = true;
    assert_true(smtp_may_forward(t.smtp));
    end(&t);
}

static void the_vault_is_asked_about_what_the_mta_would_get(void **state)
{
    struct smtp_rules asking = rules;
    struct talk t;

    (void)state;
    login(&t);
    asking.permit_sender = true;
    t.smtp->rules = &asking;
    assert_null(smtp_permit(t.smtp));
    client(&t, "MAIL FROM:<@relay.example:alice@example.org>\r\n", SMTP_PERMIT);
    advance(&t, SMTP_WAIT);
    assert_int_equal(smtp_permit(t.smtp)->what, SMTP_PERMIT_SENDER);
    assert_string_equal(smtp_permit(t.smtp)->address, "alice@example.org");
    assert_int_equal(smtp_waiting(t.smtp, &t.io).what, SMTP_FOR_VERDICT);
    smtp_permitted(t.smtp, SMTP_PERMIT_ALLOWED);
    assert_null(smtp_permit(t.smtp));
    advance(&t, SMTP_CONNECT);
    end(&t);
}

static void an_mta_idles_between_transactions(void **state)
{
    struct talk t;

    (void)state;
    login(&t);
    assert_false(smtp_mta_idles(t.smtp));
    end(&t);
    open_data(&t);
    assert_false(smtp_mta_idles(t.smtp));
    client(&t, ".\r\n", SMTP_WAIT);
    buf_clear(&t.to_mta);
    mta(&t, "250 ok\r\n", SMTP_NOTE);
    advance(&t, SMTP_WAIT);
    assert_true(smtp_mta_idles(t.smtp));
    smtp_mta_idle_out(t.smtp);
    advance(&t, SMTP_LEAVE);
    said(&t.to_mta, "QUIT\r\n");
    assert_false(smtp_mta_idles(t.smtp));
    advance(&t, SMTP_WAIT);
    end(&t);
}

/* A QUIT that did not get out is not left to the next connection. */
static void a_quit_that_stays_behind_is_dropped(void **state)
{
    struct talk t;

    (void)state;
    open_mail(&t);
    client(&t, "RSET\r\n", SMTP_WAIT);
    buf_clear(&t.to_mta);
    mta(&t, "250 ok\r\n", SMTP_WAIT);
    smtp_mta_idle_out(t.smtp);
    advance(&t, SMTP_LEAVE);
    client(&t, "MAIL FROM:<alice@example.org>\r\n", SMTP_CONNECT);
    assert_int_equal(buf_len(&t.to_mta), 0);
    end(&t);
}

static void a_chunk_that_is_thrown_away_makes_progress(void **state)
{
    static char octets[LIMIT_DATA_UNIT + 1];
    struct smtp_waiting before;
    struct talk t;

    (void)state;
    memset(octets, 'x', LIMIT_DATA_UNIT);
    greet(&t);
    client(&t, "BDAT 40000\r\n", SMTP_WAIT);
    before = smtp_waiting(t.smtp, &t.io);
    assert_int_equal(before.what, SMTP_FOR_DATA);
    client(&t, "x", SMTP_WAIT);
    assert_int_equal(smtp_waiting(t.smtp, &t.io).unit, before.unit);
    octets[LIMIT_DATA_UNIT - 1] = '\0';
    client(&t, octets, SMTP_WAIT);
    assert_int_equal(smtp_waiting(t.smtp, &t.io).unit, before.unit + 1);
    end(&t);
}

static void who_it_is_is_known_after_the_login(void **state)
{
    struct talk t;

    (void)state;
    login(&t);
    assert_string_equal(smtp_login(t.smtp), "alice");
    assert_string_equal(smtp_mechanism(t.smtp), "PLAIN");
    assert_string_equal(smtp_helo(t.smtp), "client.example");
    assert_int_equal(smtp_messages(t.smtp), 0);
    end(&t);
}

static void what_the_mta_offers_is_told_once(void **state)
{
    struct capabilities c;
    struct talk t;

    (void)state;
    login(&t);
    assert_false(smtp_learnt(t.smtp, &c));
    client(&t, "MAIL FROM:<>\r\n", SMTP_CONNECT);
    smtp_mta_connected(t.smtp);
    mta(&t, "220 x\r\n", SMTP_WAIT);
    buf_clear(&t.to_mta);
    assert_false(smtp_learnt(t.smtp, &c));
    mta(&t, "250-x\r\n250 DSN\r\n", SMTP_WAIT);
    assert_true(smtp_learnt(t.smtp, &c));
    assert_int_equal(c.extensions, EXTENSION_DSN);
    assert_false(smtp_learnt(t.smtp, &c));
    end(&t);
}

static void a_thousand_recipients_and_no_more(void **state)
{
    struct talk t;

    (void)state;
    open_mail(&t);
    for (unsigned i = 0; i < LIMIT_RECIPIENTS; i++)
        rcpt(&t);
    client(&t, "RCPT TO:<bob@example.net>\r\n", SMTP_WAIT);
    said(&t.to_client, SAY_TOO_MANY "\r\n");
    assert_int_equal(buf_len(&t.to_mta), 0);
    client(&t, "DATA\r\n", SMTP_WAIT);
    said(&t.to_mta, "DATA\r\n");
    end(&t);
}

/* The deadline of a message moves with each unit of data, not with each octet. */
static void progress_is_counted_in_units(void **state)
{
    uint8_t piece[LIMIT_DATA_UNIT / 4];
    struct smtp_waiting before, after;
    struct talk t;

    (void)state;
    memset(piece, 'x', sizeof(piece));
    open_data(&t);
    before = smtp_waiting(t.smtp, &t.io);
    assert_int_equal(before.what, SMTP_FOR_DATA);
    for (int i = 0; i < 4; i++) {
        after = smtp_waiting(t.smtp, &t.io);
        assert_int_equal(after.unit, before.unit);
        assert_true(buf_append(&t.from_client, piece, sizeof(piece)));
        advance(&t, SMTP_WAIT);
        buf_clear(&t.to_mta);
    }
    after = smtp_waiting(t.smtp, &t.io);
    assert_int_equal(after.what, SMTP_FOR_DATA);
    assert_int_equal(after.unit, before.unit + 1);
    end(&t);
}

static void octets_of_a_command_do_not_renew_its_deadline(void **state)
{
    struct smtp_waiting before, after;
    struct talk t;

    (void)state;
    greet(&t);
    client(&t, "NO", SMTP_WAIT);
    before = smtp_waiting(t.smtp, &t.io);
    assert_int_equal(before.what, SMTP_FOR_LINE);
    client(&t, "OP", SMTP_WAIT);
    after = smtp_waiting(t.smtp, &t.io);
    assert_memory_equal(&before, &after, sizeof(after));
    client(&t, "\r\n", SMTP_WAIT);
    after = smtp_waiting(t.smtp, &t.io);
    assert_int_equal(after.what, SMTP_FOR_COMMAND);
    assert_int_not_equal(after.unit, before.unit);
    end(&t);
}

static void memory_per_message_does_not_grow_with_it(void **state)
{
    uint8_t piece[LIMIT_CLIENT_IN];
    size_t most = 0;
    struct talk t;

    (void)state;
    memset(piece, 'x', sizeof(piece));
    open_data(&t);
    for (int i = 0; i < 207; i++) {
        size_t n = buf_room(&t.from_client);

        assert_true(buf_append(&t.from_client, piece, n));
        advance(&t, SMTP_WAIT);
        if (buf_len(&t.to_mta) > most)
            most = buf_len(&t.to_mta);
        if (i % 8 == 7) /* a slow MTA */
            buf_consume(&t.to_mta, buf_len(&t.to_mta) / 2);
    }
    assert_true(most <= LIMIT_MTA_OUT);
    assert_int_equal(buf_room(&t.from_client), 0);
    assert_false(smtp_reads_client(t.smtp, &t.io));
    assert_int_equal(smtp_waiting(t.smtp, &t.io).what, SMTP_FOR_BLOCK);
    end(&t);
}

/* A queue that takes nothing stands for memory that is short. */
static void short_memory_ends_the_session(void **state)
{
    struct talk t;

    (void)state;
    open_mail(&t);
    t.to_mta.max = 4;
    client(&t, "RCPT TO:<bob@example.net>\r\n", SMTP_ABORT);
    assert_int_equal(smtp_end(t.smtp), SMTP_END_MEMORY);
    advance(&t, SMTP_ABORT);
    end(&t);
}

static void the_end_stays_the_end(void **state)
{
    struct talk t;

    (void)state;
    login(&t);
    client(&t, "QUIT\r\nMAIL FROM:<>\r\n", SMTP_CLOSE);
    said(&t.to_client, SAY_BYE "\r\n");
    smtp_drain(t.smtp);
    smtp_timed_out(t.smtp);
    smtp_client_gone(t.smtp);
    smtp_verdict(t.smtp, SMTP_ACCEPTED, "mallory");
    smtp_mta_connected(t.smtp);
    smtp_mta_lost(t.smtp);
    advance(&t, SMTP_CLOSE);
    assert_int_equal(smtp_end(t.smtp), SMTP_END_QUIT);
    assert_string_equal(smtp_login(t.smtp), "alice");
    assert_int_equal(buf_len(&t.to_client), 0);
    end(&t);
}

static void a_message_is_noted_with_all_that_is_known(void **state)
{
    const struct smtp_note *n;
    struct talk t;

    (void)state;
    open_data(&t);
    client(&t, "hello\r\n.\r\n", SMTP_WAIT);
    said(&t.to_mta, "hello\r\n.\r\n");
    mta(&t, "250 2.0.0 queued as 42\r\n", SMTP_NOTE);
    n = smtp_note(t.smtp);
    assert_int_equal(n->kind, SMTP_NOTE_MESSAGE);
    assert_string_equal(n->sender, "alice@example.org");
    assert_int_equal(n->recipients, 1);
    assert_int_equal(n->refused, 0);
    assert_int_equal(n->octets, 7);
    assert_string_equal(n->reply, "250 2.0.0 queued as 42");
    assert_true(n->delivered);
    assert_false(n->client_gone);
    assert_int_equal(smtp_messages(t.smtp), 1);
    advance(&t, SMTP_WAIT);
    end(&t);
}

/* Every end has a word for the log. */
static void ends_have_names(void **state)
{
    (void)state;
    for (unsigned e = SMTP_END_NONE; e <= SMTP_END_GATE; e++) {
        const char *name = smtp_end_name((enum smtp_end)e);

        assert_non_null(name);
        for (unsigned other = SMTP_END_NONE; other < e; other++)
            assert_string_not_equal(name, smtp_end_name((enum smtp_end)other));
    }
}

/* At any moment of a message a session can be freed without a trace (run with ASan). */
static void a_session_can_be_freed_at_any_moment(void **state)
{
    static const char *const lines[] = {"AUTH LOGIN\r\n",
                                        "AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n",
                                        "MAIL FROM:<a@example.org>\r\n",
                                        "RCPT TO:<b@example.net>\r\n",
                                        "DATA\r\n",
                                        "x\r\n",
                                        ".\r\n"};

    (void)state;
    for (size_t until = 0; until <= sizeof(lines) / sizeof(lines[0]); until++) {
        struct talk t;

        greet(&t);
        for (size_t i = until == 1 ? 0 : 1; i < until; i++) {
            buf_text(&t.from_client, lines[i]);
            (void)smtp_advance(t.smtp, &t.io);
            smtp_verdict(t.smtp, SMTP_ACCEPTED, "alice");
            smtp_mta_connected(t.smtp);
            (void)smtp_advance(t.smtp, &t.io);
            buf_clear(&t.to_mta);
            if (i == 2) {
                mta(&t, "220 x\r\n", SMTP_WAIT);
                buf_clear(&t.to_mta);
                mta(&t, "250 x\r\n", SMTP_WAIT);
                buf_clear(&t.to_mta);
            }
            if (i > 1 && i != 5)
                buf_text(&t.from_mta, i == 4 ? "354 x\r\n" : "250 x\r\n");
            (void)smtp_advance(t.smtp, &t.io);
        }
        end(&t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_idle_session_is_small),
        cmocka_unit_test(an_idle_session_holds_no_buffer),
        cmocka_unit_test(the_gate_opens_with_tls_and_a_login_and_not_before),
        cmocka_unit_test(a_shut_gate_ends_the_session),
        cmocka_unit_test(the_credential_is_there_while_it_is_checked_and_not_longer),
        cmocka_unit_test(an_auth_line_is_wiped_from_the_queue),
        cmocka_unit_test(the_client_is_not_read_while_its_password_is_checked),
        cmocka_unit_test(an_acceptance_without_a_name_is_none),
        cmocka_unit_test(nothing_is_taken_while_tls_or_a_verdict_is_pending),
        cmocka_unit_test(a_login_does_not_stand_for_a_greeting),
        cmocka_unit_test(a_gate_without_auth_opens_for_its_domains_alone),
        cmocka_unit_test(the_vault_is_asked_about_what_the_mta_would_get),
        cmocka_unit_test(an_mta_idles_between_transactions),
        cmocka_unit_test(a_quit_that_stays_behind_is_dropped),
        cmocka_unit_test(a_chunk_that_is_thrown_away_makes_progress),
        cmocka_unit_test(who_it_is_is_known_after_the_login),
        cmocka_unit_test(what_the_mta_offers_is_told_once),
        cmocka_unit_test(a_thousand_recipients_and_no_more),
        cmocka_unit_test(progress_is_counted_in_units),
        cmocka_unit_test(octets_of_a_command_do_not_renew_its_deadline),
        cmocka_unit_test(memory_per_message_does_not_grow_with_it),
        cmocka_unit_test(short_memory_ends_the_session),
        cmocka_unit_test(the_end_stays_the_end),
        cmocka_unit_test(a_message_is_noted_with_all_that_is_known),
        cmocka_unit_test(ends_have_names),
        cmocka_unit_test(a_session_can_be_freed_at_any_moment),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
