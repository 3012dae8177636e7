#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/smtp_core.h"

/* How sessions end: the word for the log, and the last reply, to which the session id is added.
 * NULL: it was said already, or nobody is there to hear it. */
static const struct {
    const char *name;
    const char *text;
} ends[] = {
    [SMTP_END_NONE] = {"none", NULL},
    [SMTP_END_QUIT] = {"quit", NULL},
    [SMTP_END_CLIENT_GONE] = {"client_gone", NULL},
    [SMTP_END_IDLE] = {"idle", "421 4.4.2 Idle too long, closing"},
    [SMTP_END_DRAIN] = {"drain", "421 4.3.2 Shutting down, try again"},
    [SMTP_END_ERRORS] = {"errors", "421 4.7.0 Too many errors, closing"},
    [SMTP_END_AUTH_FAILURES] = {"auth_failures", "421 4.7.0 Too many failed logins, closing"},
    [SMTP_END_LIMITED] = {"limited", "421 4.7.0 Too many logins, try again later"},
    [SMTP_END_FOREIGN] = {"foreign", "421 4.7.0 This is a mail submission service, closing"},
    [SMTP_END_BARE_LF] = {"bare_lf", "500 5.5.2 Bare LF in command, closing"},
    [SMTP_END_INJECTION] = {"injection", "554 5.5.0 SMTP protocol synchronization, closing"},
    [SMTP_END_DESYNC] = {"desync", NULL},
    [SMTP_END_SLOW] = {"slow", "421 4.4.2 Too slow, closing"},
    [SMTP_END_BDAT] = {"bdat", "501 5.5.4 Bad chunk size in BDAT, closing"},
    [SMTP_END_VAULT] = {"vault", "421 4.3.0 Temporary failure, try again later"},
    [SMTP_END_MEMORY] = {"memory", NULL},
    [SMTP_END_GATE] = {"gate", NULL},
};

const char *smtp_end_name(enum smtp_end end)
{
    return ends[end].name;
}

bool smtp_can_say(const struct smtp *s, const struct smtp_io *io)
{
    return s->client_gone || buf_room(io->to_client) >= SMTP_RELAYED_MAX;
}

/* Blunders in the protocol. Not: a wrong password (counted on its own), and verdicts on an address,
 * a size or a message. */
static bool smtp_is_error(const char *text)
{
    return strncmp(text, "50", 2) == 0 || strncmp(text, "530", 3) == 0 ||
           strncmp(text, "555", 3) == 0;
}

static unsigned smtp_error_limit(const struct smtp *s)
{
    return s->auth == AUTH_DONE || s->peer->trusted ? LIMIT_ERRORS_AFTER : LIMIT_ERRORS_BEFORE;
}

void smtp_reply(struct smtp *s, const char *text)
{
    if (smtp_is_error(text) && ++s->errors > smtp_error_limit(s))
        smtp_finish(s, SMTP_END_ERRORS);
    else
        fifo_push(&s->fifo, text);
}

void smtp_say(struct smtp *s, struct smtp_io *io, const char *format, ...)
{
    char line[512];
    va_list arguments;
    int len;

    if (s->client_gone)
        return;
    va_start(arguments, format);
    len = vsnprintf(line, sizeof(line) - 2, format, arguments);
    va_end(arguments);
    if (len > (int)sizeof(line) - 3)
        len = (int)sizeof(line) - 3;
    memcpy(line + len, "\r\n", 2);
    s->said += (size_t)len + 2;
    if (!buf_append(io->to_client, line, (size_t)len + 2))
        smtp_out_of_memory(s);
}

/* What was appended by others. */
static void smtp_count_said(struct smtp *s, const struct smtp_io *io, size_t before, bool ok)
{
    s->said += buf_len(io->to_client) - before;
    if (!ok)
        smtp_out_of_memory(s);
}

void smtp_say_relayed(struct smtp *s, struct smtp_io *io, const struct reply *r)
{
    size_t before = buf_len(io->to_client);

    if (!s->client_gone)
        smtp_count_said(s, io, before, reply_relay(io->to_client, r));
}

void smtp_say_raw(struct smtp *s, struct smtp_io *io, const struct buf *lines)
{
    size_t before = buf_len(io->to_client);

    if (!s->client_gone)
        smtp_count_said(s, io, before, buf_append(io->to_client, buf_data(lines), buf_len(lines)));
}

void smtp_say_offer(struct smtp *s, struct smtp_io *io)
{
    size_t before = buf_len(io->to_client);
    char mechanisms[SASL_LIST_MAX];
    struct capabilities_offer offer = {
        .hostname = s->rules->hostname,
        .starttls = s->rules->starttls && s->link == LINK_PLAIN,
        .mechanisms = s->listed != 0 ? mechanisms : NULL,
        .max_size = s->rules->max_size,
        .hidden = s->rules->hidden,
    };

    if (s->client_gone)
        return;
    sasl_list(mechanisms, sizeof(mechanisms), s->listed);
    smtp_count_said(s, io, before, capabilities_write(io->to_client, s->known, &offer));
}

void smtp_say_challenge(struct smtp *s, struct smtp_io *io, const char *challenge)
{
    size_t before = buf_len(io->to_client);
    bool ok = buf_text(io->to_client, "334 ") && buf_text(io->to_client, challenge) &&
              buf_text(io->to_client, "\r\n");

    smtp_count_said(s, io, before, ok);
}

void smtp_say_end(struct smtp *s, struct smtp_io *io)
{
    if (ends[s->end].text != NULL)
        smtp_say(s, io, "%s (session %s)", ends[s->end].text, s->peer->session);
}

bool smtp_flush(struct smtp *s, struct smtp_io *io)
{
    const char *text = fifo_front(&s->fifo);

    if (text == NULL || !smtp_can_say(s, io))
        return false;
    fifo_pop(&s->fifo);
    smtp_say(s, io, "%s", text);
    return true;
}

static void smtp_note_message(struct smtp *s, struct smtp_note *note)
{
    const struct smtp_message *m = s->ended;

    *note = (struct smtp_note){
        .kind = SMTP_NOTE_MESSAGE,
        .sender = m->mail.path.text,
        .recipients = m->accepted,
        .refused = m->refused,
        .octets = m->scan.octets,
        .reply = m->reply,
        .delivered = m->delivered,
        .client_gone = s->client_gone,
    };
}

bool smtp_give_note(struct smtp *s)
{
    for (unsigned kind = SMTP_NOTE_MESSAGE; kind <= SMTP_NOTE_NO_XCLIENT; kind++) {
        if ((s->notes & 1U << kind) == 0)
            continue;
        s->notes &= ~(1U << kind);
        if (kind == SMTP_NOTE_MESSAGE)
            smtp_note_message(s, &s->note);
        else
            s->note = (struct smtp_note){.kind = (enum smtp_note_kind)kind};
        return true;
    }
    return false;
}

void smtp_drop_note(struct smtp *s)
{
    if ((s->notes & 1U << SMTP_NOTE_MESSAGE) != 0)
        return;
    smtp_message_free(s->ended);
    s->ended = NULL;
}
