#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/smtp.h"

/* A whole session against a well-behaved MTA, once for each allocation that it makes, with that one
 * failing: whatever fails, nothing is touched that was freed, the session ends or goes on, and a
 * message is whole at the MTA or not there. The linker puts these in the place of the library's
 * (see Makefile). */

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
char *__real_strdup(const char *text);
char *__real_strndup(const char *text, size_t len);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t len);

static unsigned long left; /* allocations until the one that fails; 0: none does */
static bool failed;

static bool fails(void)
{
    if (left == 0 || --left > 0)
        return false;
    failed = true;
    return true;
}

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : __real_calloc(count, size);
}

char *__wrap_strdup(const char *text)
{
    return fails() ? NULL : __real_strdup(text);
}

char *__wrap_strndup(const char *text, size_t len)
{
    return fails() ? NULL : __real_strndup(text, len);
}

#define BODY "Subject: x\r\n\r\none\r\n..two\r\nthree\r\n"

static const char *const script[] = {
    "EHLO client.example\r\n",
    "AUTH LOGIN\r\n",
    "YWxpY2U=\r\n",
    "c2VjcmV0\r\n",
    "AUTH OAUTHBEARER bixhPWFsaWNlLAFhdXRoPUJlYXJlciBhYmMBAQ==\r\n",
    "AQ==\r\n",
    "AUTH SCRAM-SHA-256 biwsbj1hbGljZSxyPXg=\r\n",
    "Yz1iaXdz\r\n",
    "MAIL FROM:<alice@example.org> SIZE=40\r\n",
    "RCPT TO:<bob@example.net>\r\nRCPT TO:<carol@example.net>\r\nNOOP\r\n",
    "DATA\r\n",
    BODY ".\r\n",
    "MAIL FROM:<alice@example.org>\r\nRCPT TO:<bob@example.net>\r\n",
    "BDAT 5\r\nhello",
    "BDAT 2 LAST\r\n\r\n",
    "RSET\r\nQUIT\r\n",
};

struct scene {
    struct smtp *smtp;
    struct capabilities known;
    struct buf from_client, to_client, from_mta, to_mta;
    struct smtp_io io;
    bool over;
    bool in_data;      /* the MTA reads a message */
    unsigned whole;    /* messages that ended with a dot */
    unsigned noted;    /* that the core called delivered */
    char message[256]; /* as far as the MTA has read it */
    size_t message_len;
};

/* The MTA answers what it was told, a line at a time. */
static void answer(struct scene *s, const char *line, size_t len)
{
    const char *reply = strncmp(line, "DATA", 4) == 0 ? "354 go\r\n" : "250 2.0.0 ok\r\n";

    if (s->in_data && len == 3 && line[0] == '.') {
        s->in_data = false;
        s->whole++;
    } else if (s->in_data) {
        assert_true(s->message_len + len < sizeof(s->message));
        memcpy(s->message + s->message_len, line, len);
        s->message_len += len;
        return;
    } else if (strncmp(line, "DATA", 4) == 0) {
        s->in_data = true;
        s->message_len = 0;
    }
    if (!buf_text(&s->from_mta, reply))
        s->over = true; /* the driver could not read: it ends the session */
}

/* False: there was no whole line. */
static bool mta_reads(struct scene *s)
{
    for (bool read = false;; read = true) {
        const char *text = (const char *)buf_data(&s->to_mta);
        const char *lf = memchr(text, '\n', buf_len(&s->to_mta));
        if (lf == NULL)
            return read;
        answer(s, text, (size_t)(lf - text) + 1);
        buf_consume(&s->to_mta, (size_t)(lf - text) + 1);
    }
}

static void cut(struct scene *s)
{
    buf_clear(&s->to_mta);
    buf_clear(&s->from_mta);
    s->in_data = false;
}

/* Only who speaks SCRAM to its end is let in. */
static void judge(struct scene *s)
{
    if (smtp_exchanges(s->smtp))
        smtp_verdict(s->smtp, SMTP_ACCEPTED, "alice");
    else if (smtp_credential(s->smtp)->mechanism == SASL_SCRAM_SHA_256)
        smtp_challenged(s->smtp, (const uint8_t *)"r=xy", 4);
    else
        smtp_verdict(s->smtp, SMTP_REJECTED, "");
}

/* True: call again. */
static bool obey(struct scene *s, enum smtp_todo todo)
{
    switch (todo) {
    case SMTP_VERIFY:
        judge(s);
        return true;
    case SMTP_CONNECT:
        smtp_mta_connected(s->smtp);
        if (!buf_text(&s->from_mta, "220 old.example\r\n"))
            s->over = true;
        return true;
    case SMTP_NOTE:
        s->noted += smtp_note(s->smtp)->kind == SMTP_NOTE_MESSAGE && smtp_note(s->smtp)->delivered;
        return true;
    case SMTP_LEAVE:
    case SMTP_CUT:
        cut(s);
        return true;
    case SMTP_CLOSE:
    case SMTP_ABORT:
        s->over = true;
        return false;
    default:
        return false;
    }
}

static void run(struct scene *s)
{
    for (unsigned steps = 0; !s->over; steps++) {
        bool again = obey(s, smtp_advance(s->smtp, &s->io));

        again |= mta_reads(s);
        assert_true(steps < 1000);
        buf_clear(&s->to_client);
        if (!again)
            return;
    }
}

static const struct smtp_rules rules = {
    .hostname = "mail.example", .require_tls = true, .max_failures = 3, .trace = TRACE_NONE};
static const uint32_t mechanisms = SASL_LOGIN | SASL_OAUTHBEARER | SASL_SCRAM_SHA_256;
static const struct smtp_peer peer = {
    .address = "192.0.2.1", .session = "test", .mechanisms = &mechanisms};
static const struct smtp_tls_info tls = {.version = "TLSv1.3", .cipher = "TLS_AES_128_GCM_SHA256"};

static void play(struct scene *s)
{
    run(s);
    smtp_tls_started(s->smtp, &tls);
    run(s);
    for (size_t i = 0; i < sizeof(script) / sizeof(script[0]) && !s->over; i++) {
        if (!buf_text(&s->from_client, script[i]))
            return; /* the driver's own memory: it closes */
        run(s);
    }
}

/* One session in which the n-th allocation fails. Returns the messages that arrived. */
static unsigned session(unsigned long n)
{
    struct scene s = {.io = {.now = 1}};
    struct buf *queues[] = {&s.from_client, &s.to_client, &s.from_mta, &s.to_mta};
    static const size_t room[] = {LIMIT_CLIENT_IN, LIMIT_CLIENT_OUT, LIMIT_MTA_IN, LIMIT_MTA_OUT};

    for (size_t i = 0; i < 4; i++)
        buf_init(queues[i], room[i]);
    s.io.from_client = &s.from_client;
    s.io.to_client = &s.to_client;
    s.io.from_mta = &s.from_mta;
    s.io.to_mta = &s.to_mta;
    failed = false;
    left = n;
    s.smtp = smtp_new(&rules, &peer, &s.known);
    if (s.smtp != NULL)
        play(&s);
    left = 0;
    smtp_free(s.smtp);
    for (size_t i = 0; i < 4; i++)
        buf_clear(queues[i]);
    assert_true(s.noted <= s.whole);
    if (s.whole > 0 && !s.in_data)
        assert_true(memcmp(s.message, s.whole == 1 ? BODY : "hello\r\n", s.message_len) == 0);
    return s.whole;
}

static void without_a_failure_both_messages_arrive(void **state)
{
    (void)state;
    assert_int_equal(session(0), 2);
    assert_false(failed);
}

static void whichever_allocation_fails_nothing_breaks(void **state)
{
    unsigned long n = 1;
    unsigned arrived = 0;

    (void)state;
    do
        arrived = session(n++);
    while (failed && n < 10000);
    assert_false(failed); /* the last one had no such allocation */
    assert_int_equal(arrived, 2);
    assert_true(n > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_failure_both_messages_arrive),
        cmocka_unit_test(whichever_allocation_fails_nothing_breaks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
