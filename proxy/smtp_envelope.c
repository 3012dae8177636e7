#include <stdlib.h>
#include <string.h>

#include "proxy/smtp_core.h"

static const char *smtp_parse_trouble(enum command_status status, const char *path,
                                      const char *utf8)
{
    switch (status) {
    case COMMAND_OK:
        return NULL;
    case COMMAND_SYNTAX:
        return SAY_ARGUMENT;
    case COMMAND_UNKNOWN_PARAMETER:
        return SAY_PARAMETER;
    case COMMAND_BAD_PATH:
        return path;
    case COMMAND_NOT_UTF8:
        return SAY_NOT_UTF8;
    case COMMAND_NEEDS_SMTPUTF8:
        break;
    }
    return utf8;
}

static const char *smtp_check_mail(const struct smtp *s, struct command_mail *mail,
                                   const struct smtp_line *line)
{
    const char *trouble = smtp_parse_trouble(command_parse_mail(mail, line->args, line->len),
                                             SAY_SENDER, SAY_SENDER_UTF8);

    if (trouble != NULL)
        return trouble;
    if ((mail->extensions & ~s->offered) != 0)
        return SAY_PARAMETER;
    return smtp_too_big(s->known, s, mail) ? SAY_TOO_BIG : NULL;
}

const char *smtp_do_mail(struct smtp *s, struct smtp_io *io, const struct smtp_line *line)
{
    struct command_mail mail;
    const char *trouble;

    (void)io;
    if (s->hello == HELLO_NONE)
        return SAY_NEED_HELLO;
    if (s->stage == STAGE_OPEN && s->message->lost)
        smtp_transaction_reset(s);
    if (s->stage != STAGE_NONE)
        return SAY_NESTED;
    trouble = smtp_check_mail(s, &mail, line);
    if (trouble != NULL)
        return trouble;
    s->message = calloc(1, sizeof(*s->message));
    if (s->message == NULL) {
        smtp_out_of_memory(s);
        return NULL;
    }
    buf_init(&s->message->refusal, SMTP_RELAYED_MAX);
    s->message->mail = mail;
    fifo_wait(&s->fifo);
    smtp_stage_enter(s, STAGE_MAIL);
    smtp_permit_ask(s, SMTP_PERMIT_SENDER, s->message->mail.path.text);
    return NULL;
}

static const char *smtp_check_rcpt(const struct smtp *s, struct command_rcpt *rcpt,
                                   const struct smtp_line *line)
{
    const struct smtp_message *m = s->message;
    const char *trouble = smtp_parse_trouble(command_parse_rcpt(rcpt, line->args, line->len),
                                             SAY_RECIPIENT, SAY_RECIPIENT_UTF8);

    if (trouble != NULL)
        return trouble;
    if (rcpt->path.utf8 && !m->mail.smtputf8)
        return SAY_RECIPIENT_UTF8;
    if ((rcpt->extensions & ~s->offered) != 0)
        return SAY_PARAMETER;
    if (m->accepted >= (m->mail.path.text[0] == '\0' ? LIMIT_NULL_RECIPIENTS : LIMIT_RECIPIENTS))
        return SAY_TOO_MANY;
    return smtp_lacks(s, rcpt->extensions) ? SAY_MTA_LACKS : NULL;
}

const char *smtp_do_rcpt(struct smtp *s, struct smtp_io *io, const struct smtp_line *line)
{
    struct command_rcpt rcpt;
    const char *trouble;

    (void)io;
    if (s->stage != STAGE_OPEN)
        return s->stage == STAGE_CHUNK ? SAY_CHUNKS_OPEN : SAY_NEED_MAIL;
    if (s->message->lost)
        return SAY_MTA_LOST;
    trouble = smtp_check_rcpt(s, &rcpt, line);
    if (trouble != NULL)
        return trouble;
    s->message->rcpt = rcpt;
    s->message->rcpt_due = true;
    fifo_wait(&s->fifo);
    smtp_stage_enter(s, STAGE_RCPT);
    smtp_permit_ask(s, SMTP_PERMIT_RECIPIENT, s->message->rcpt.path.text);
    return NULL;
}

const char *smtp_do_data(struct smtp *s, struct smtp_io *io, const struct smtp_line *line)
{
    struct buf *to;

    (void)line;
    if (s->stage != STAGE_OPEN)
        return s->stage == STAGE_CHUNK ? SAY_CHUNKS_OPEN : SAY_NEED_MAIL;
    if (s->message->lost) {
        smtp_conclude(s, NULL);
        return SAY_MTA_LOST;
    }
    if (s->message->accepted == 0)
        return SAY_NEED_RCPT;
    to = smtp_to_mta(s, io);
    if (to == NULL)
        return NULL;
    fifo_wait(&s->fifo);
    smtp_stage_enter(s, STAGE_DATA);
    (void)smtp_wrote(s, mta_data(&s->mta, to));
    return NULL;
}

const char *smtp_do_rset(struct smtp *s, struct smtp_io *io, const struct smtp_line *line)
{
    (void)io, (void)line;
    smtp_transaction_reset(s);
    return SAY_OK;
}
