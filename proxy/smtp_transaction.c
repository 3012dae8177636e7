#include <stdlib.h>
#include <string.h>

#include "proxy/path.h"
#include "proxy/smtp_core.h"

/* What the MTA must be able to do itself; SIZE is left out where it cannot. */
enum { NEEDS = EXTENSION_8BITMIME | EXTENSION_SMTPUTF8 | EXTENSION_DSN };

void smtp_stage_enter(struct smtp *s, enum smtp_stage stage)
{
    s->stage = stage;
}

void smtp_message_free(struct smtp_message *m)
{
    if (m == NULL)
        return;
    buf_clear(&m->refusal);
    free(m);
}

bool smtp_lacks(const struct smtp *s, unsigned extensions)
{
    unsigned has = capabilities_offered(&s->mta.capabilities, s->rules->hidden);

    return (extensions & NEEDS & ~has) != 0;
}

bool smtp_too_big(const struct capabilities *mta, const struct smtp *s,
                  const struct command_mail *mail)
{
    uint64_t limit = capabilities_size(mta, s->rules->max_size);

    return mail->size_given && mail->size > limit;
}

/* The transaction is over; if message data had begun, the log hears of it. */
void smtp_conclude(struct smtp *s, const char *noted)
{
    struct smtp_message *m = s->message;

    s->message = NULL;
    s->chunk = (struct smtp_chunk){0};
    smtp_permit_stop(s);
    smtp_stage_enter(s, STAGE_NONE);
    if (!m->data) {
        smtp_message_free(m);
        return;
    }
    if (noted != NULL) {
        strncpy(m->reply, noted, sizeof(m->reply) - 1);
        m->reply[sizeof(m->reply) - 1] = '\0';
    }
    smtp_message_free(s->ended);
    s->ended = m;
    s->notes |= 1U << SMTP_NOTE_MESSAGE;
}

void smtp_answer_and_conclude(struct smtp *s, const char *text)
{
    fifo_answer(&s->fifo, text);
    smtp_conclude(s, text);
}

void smtp_transaction_reset(struct smtp *s)
{
    if (s->stage == STAGE_CHUNK) /* DATA cannot be undone but by hanging up */
        smtp_transaction_abandon(s, "the client gave up before the last chunk");
    else if (s->message != NULL)
        smtp_conclude(s, NULL);
}

void smtp_cut(struct smtp *s)
{
    if (s->mta.state != MTA_NONE && s->mta.state != MTA_WANTED)
        s->cut = true;
    mta_forget(&s->mta);
}

void smtp_transaction_abandon(struct smtp *s, const char *noted)
{
    if (s->message == NULL)
        return;
    if (s->mta.state != MTA_READY)
        smtp_cut(s);
    fifo_given(&s->fifo);
    smtp_conclude(s, noted);
}

/* --- when the MTA fails ---------------------------------------------------------------------- */

static const char *const mishaps[] = {
    [MISHAP_AWAY] = SAY_MTA_AWAY,         [MISHAP_BUSY] = SAY_MTA_BUSY,
    [MISHAP_IDENTITY] = SAY_MTA_IDENTITY, [MISHAP_LOST] = SAY_MTA_LOST,
    [MISHAP_SLOW] = SAY_MTA_SLOW,         [MISHAP_CLOSING] = SAY_MTA_CLOSING,
    [MISHAP_NONSENSE] = SAY_MTA_NONSENSE,
};

/* An MTA may close a connection that has been idle; the MAIL that was on its way then had no effect
 * and is written once more, to a fresh one. */
static bool smtp_try_again(struct smtp *s, enum smtp_mishap mishap)
{
    struct smtp_message *m = s->message;
    bool tired = s->mta.used || (!m->written && s->mta.state >= MTA_READY);

    if (s->asking != ASKING_NOT) /* not to be written before the vault's word anyway */
        return true;
    if (!tired || m->retried || mishap == MISHAP_SLOW || mishap == MISHAP_NONSENSE)
        return false;
    m->retried = true;
    m->written = false;
    return true;
}

/* Nothing can come of the message; the client hears it (NULL: the refusal kept) at the end of the
 * data, or of the chunk under way or the next one. */
static void smtp_doom(struct smtp *s, const char *fate)
{
    s->message->fate = fate;
    s->message->lost = true;
    if (s->stage != STAGE_CHUNK)
        smtp_stage_enter(s, STAGE_DRAIN);
}

void smtp_rcpt_refuse(struct smtp *s, const char *text)
{
    s->message->rcpt_due = false;
    fifo_answer(&s->fifo, text);
    smtp_stage_enter(s, STAGE_OPEN);
}

void smtp_mta_failed(struct smtp *s, enum smtp_mishap mishap)
{
    const char *text = mishaps[mishap];

    switch (s->stage) {
    case STAGE_NONE:
        break;
    case STAGE_MAIL:
        if (!smtp_try_again(s, mishap))
            smtp_answer_and_conclude(s, mishap == MISHAP_LOST ? SAY_MTA_AWAY : text);
        break;
    case STAGE_RCPT:
        s->message->lost = true;
        if (s->asking == ASKING_NOT)
            smtp_rcpt_refuse(s, text);
        break;
    case STAGE_OPEN:
        s->message->lost = true;
        break;
    case STAGE_DATA:
    case STAGE_DOT:
    case STAGE_END:
        if (!s->chunk.open)
            smtp_answer_and_conclude(s, text);
        else
            smtp_doom(s, text);
        break;
    case STAGE_BODY:
    case STAGE_CHUNK:
        smtp_doom(s, text);
        break;
    case STAGE_DRAIN:
        break;
    }
}

static bool smtp_give_up(struct smtp *s, enum smtp_mishap mishap)
{
    smtp_mta_failed(s, mishap);
    smtp_cut(s);
    return true;
}

static bool smtp_keep_refusal(struct smtp *s, const struct reply *r)
{
    struct smtp_message *m = s->message;

    if (!reply_relay(&m->refusal, r)) {
        smtp_out_of_memory(s);
        return false;
    }
    reply_summary(m->reply, sizeof(m->reply), r);
    smtp_doom(s, NULL);
    return true;
}

/* The MTA refuses in the middle of the message. */
static bool smtp_refused_early(struct smtp *s, const struct reply *r)
{
    if (smtp_keep_refusal(s, r))
        smtp_cut(s);
    return true;
}

/* --- what the MTA answers -------------------------------------------------------------------- */

/* The stage that follows from an answer; the reply itself was passed on already. */
static void smtp_after_answer(struct smtp *s, enum smtp_stage stage, bool positive)
{
    struct smtp_message *m = s->message;

    if (stage == STAGE_MAIL && positive) {
        smtp_stage_enter(s, STAGE_OPEN);
    } else if (stage == STAGE_RCPT) {
        m->accepted += positive ? 1 : 0;
        m->refused += positive ? 0 : 1;
        smtp_stage_enter(s, STAGE_OPEN);
    } else {
        m->delivered = stage == STAGE_END && positive;
        if (m->delivered) {
            s->messages++;
            s->junk = 0;
        }
        smtp_conclude(s, NULL);
    }
}

static bool smtp_transaction_answered(struct smtp *s, struct smtp_io *io, const struct reply *r)
{
    enum smtp_stage stage = s->stage;
    bool positive = r->code / 100 == 2;
    bool go = stage == STAGE_DATA && r->code == 354;

    if (!smtp_can_say(s, io))
        return false;
    if (s->chunk.open && !go) {
        (void)smtp_keep_refusal(s, r);
        mta_heard(&s->mta, io->from_mta, r);
        return true;
    }
    if (!go) {
        smtp_say_relayed(s, io, r);
        fifo_given(&s->fifo);
        reply_summary(s->message->reply, sizeof(s->message->reply), r);
    }
    mta_heard(&s->mta, io->from_mta, r);
    if (go)
        smtp_body_begin(s);
    else
        smtp_after_answer(s, stage, positive);
    return true;
}

/* Whose name the MTA sees; a client's that is no name is not passed on. */
static const char *smtp_own_name(const struct smtp *s)
{
    if (s->rules->helo_proxy || s->helo == NULL || !path_domain_ok(s->helo, strlen(s->helo)))
        return s->rules->hostname;
    return s->helo;
}

static void smtp_note_unidentified(struct smtp *s)
{
    if (s->mta.identity == NULL || s->mta.identified || s->mta.state != MTA_READY ||
        s->unidentified)
        return;
    s->unidentified = true;
    s->notes |= 1U << SMTP_NOTE_NO_XCLIENT;
}

static bool smtp_transaction_hear(struct smtp *s, struct smtp_io *io)
{
    struct reply reply;
    struct buf *to;

    if (buf_len(io->from_mta) == 0 || s->mta.state < MTA_BANNER || s->mta.state == MTA_QUIT)
        return false;
    to = smtp_to_mta(s, io);
    if (to == NULL)
        return true;
    switch (mta_hear(&s->mta, &reply, io->from_mta, to, smtp_own_name(s))) {
    case MTA_SILENT:
        return false;
    case MTA_MOVED:
        smtp_note_unidentified(s);
        return true;
    case MTA_REPLY:
        return smtp_transaction_answered(s, io, &reply);
    case MTA_REFUSAL:
        return smtp_refused_early(s, &reply);
    case MTA_HANGUP:
        return smtp_give_up(s, MISHAP_CLOSING);
    case MTA_UNUSABLE:
        return smtp_give_up(s, MISHAP_AWAY);
    case MTA_UNIDENTIFIED:
        return smtp_give_up(s, MISHAP_IDENTITY);
    case MTA_NONSENSE:
        return smtp_give_up(s, MISHAP_NONSENSE);
    case MTA_DESYNC:
        break;
    }
    smtp_transaction_abandon(s, "the mail server spoke when no reply was owed");
    s->notes |= 1U << SMTP_NOTE_DESYNC;
    smtp_abort(s, SMTP_END_DESYNC);
    return true;
}

/* --- what the MTA is told -------------------------------------------------------------------- */

bool smtp_wrote(struct smtp *s, bool ok)
{
    if (!ok)
        smtp_out_of_memory(s);
    return true;
}

static bool smtp_reset_mta(struct smtp *s, struct smtp_io *io)
{
    struct buf *to;

    if (!s->mta.transaction || !mta_idle(&s->mta, io->from_mta) || s->closing != CLOSING_NOT)
        return false;
    to = smtp_to_mta(s, io);
    return to == NULL || smtp_wrote(s, mta_reset(&s->mta, to));
}

/* The MTA has had enough of us, or we of it. */
static bool smtp_leave(struct smtp *s, struct smtp_io *io)
{
    unsigned most = s->rules->messages_per_connection;
    bool due = s->mta.leave || (most != 0 && s->mta.transactions >= most);
    struct buf *to;

    if (!due || !mta_idle(&s->mta, io->from_mta) || s->closing != CLOSING_NOT)
        return false;
    to = smtp_to_mta(s, io);
    if (to == NULL)
        return true;
    s->leaving = true;
    (void)smtp_wrote(s, mta_quit(&s->mta, to));
    mta_forget(&s->mta);
    return true;
}

static bool smtp_write_mail(struct smtp *s, struct smtp_io *io)
{
    struct smtp_message *m = s->message;
    struct buf *to;

    if (smtp_lacks(s, m->mail.extensions)) {
        smtp_answer_and_conclude(s, SAY_MTA_LACKS);
        return true;
    }
    if (smtp_too_big(&s->mta.capabilities, s, &m->mail)) {
        smtp_answer_and_conclude(s, SAY_TOO_BIG);
        return true;
    }
    m->written = true;
    to = smtp_to_mta(s, io);
    return to == NULL || smtp_wrote(s, mta_mail(&s->mta, to, &m->mail, s->rules->hidden));
}

static bool smtp_transaction_begin(struct smtp *s, struct smtp_io *io)
{
    if (s->message->written || s->asking != ASKING_NOT)
        return false;
    if (smtp_leave(s, io))
        return true;
    if (s->mta.state == MTA_NONE) {
        mta_want(&s->mta);
        return true;
    }
    if (s->mta.transaction)
        return smtp_reset_mta(s, io);
    return mta_idle(&s->mta, io->from_mta) && smtp_write_mail(s, io);
}

static bool smtp_write_rcpt(struct smtp *s, struct smtp_io *io)
{
    struct smtp_message *m = s->message;
    const char *refusal;
    struct buf *to;

    if (!m->rcpt_due || s->asking != ASKING_NOT || !mta_idle(&s->mta, io->from_mta))
        return false;
    refusal = smtp_may_reach(s, &m->rcpt.path);
    if (refusal != NULL) {
        smtp_rcpt_refuse(s, refusal);
        return true;
    }
    m->rcpt_due = false;
    to = smtp_to_mta(s, io);
    return to == NULL || smtp_wrote(s, mta_rcpt(&s->mta, to, &m->rcpt, s->rules->hidden));
}

/* --- the whole ------------------------------------------------------------------------------- */

static bool smtp_spoke_before_354(struct smtp *s, const struct smtp_io *io)
{
    if (s->chunk.open || buf_len(io->from_client) == 0)
        return false;
    smtp_transaction_abandon(s, NULL);
    smtp_inject(s);
    return true;
}

bool smtp_transact(struct smtp *s, struct smtp_io *io)
{
    if (s->stage == STAGE_DATA && smtp_spoke_before_354(s, io))
        return true;
    if (smtp_transaction_hear(s, io))
        return true;
    switch (s->stage) {
    case STAGE_NONE:
        return smtp_leave(s, io) || smtp_reset_mta(s, io);
    case STAGE_MAIL:
        return smtp_transaction_begin(s, io);
    case STAGE_BODY:
        return smtp_body_pass(s, io);
    case STAGE_DRAIN:
        return smtp_body_drain(s, io);
    case STAGE_DOT:
        return smtp_body_end(s, io);
    case STAGE_RCPT:
        return smtp_write_rcpt(s, io);
    case STAGE_OPEN:
    case STAGE_DATA:
    case STAGE_CHUNK:
    case STAGE_END:
        break;
    }
    return false;
}
