#include "proxy/smtp.h"

#include <stdlib.h>
#include <string.h>

#include "proxy/recipients.h"
#include "proxy/smtp_core.h"

static void smtp_closing_enter(struct smtp *s, enum smtp_closing closing)
{
    s->closing = closing;
}

void smtp_link_enter(struct smtp *s, enum smtp_link link)
{
    s->link = link;
}

struct smtp *smtp_new(const struct smtp_rules *rules, const struct smtp_peer *peer,
                      const struct capabilities *mta)
{
    struct smtp *s = calloc(1, sizeof(*s));

    if (s == NULL)
        return NULL;
    s->rules = rules;
    s->peer = peer;
    s->known = mta;
    s->banner_due = true;
    smtp_link_enter(s, rules->starttls || rules->tls_never ? LINK_PLAIN : LINK_HANDSHAKE);
    return s;
}

void smtp_free(struct smtp *s)
{
    if (s == NULL)
        return;
    smtp_auth_stop(s);
    smtp_forget(s);
    free(s->login);
    smtp_message_free(s->message);
    smtp_message_free(s->ended);
    free(s);
}

/* --- the gate, and the ways out -------------------------------------------------------------- */

static bool smtp_logged_in(const struct smtp *s)
{
    return s->link == LINK_TLS && s->auth == AUTH_DONE && s->login != NULL;
}

/* A listener where one may do without AUTH, and the TLS that it asks for. */
static bool smtp_needs_no_login(const struct smtp *s)
{
    return s->rules->auth != SMTP_AUTH_REQUIRED && (s->link == LINK_TLS || !s->rules->require_tls);
}

static bool smtp_trusted(const struct smtp *s)
{
    return smtp_needs_no_login(s) && s->peer->trusted;
}

static bool smtp_has_gate(const struct smtp *s)
{
    return smtp_needs_no_login(s) && s->rules->gate != NULL;
}

bool smtp_may_forward(const struct smtp *s)
{
    return smtp_logged_in(s) || smtp_trusted(s) || smtp_has_gate(s);
}

const char *smtp_may_reach(const struct smtp *s, const struct path *path)
{
    if (smtp_logged_in(s) || smtp_trusted(s))
        return NULL;
    if (!smtp_has_gate(s))
        return SAY_RELAY;
    switch (recipients_judge(path, s->rules->gate->domains, s->rules->gate->count)) {
    case RECIPIENTS_OK:
        return NULL;
    case RECIPIENTS_SYNTAX:
        return SAY_NOT_PLAIN;
    case RECIPIENTS_RELAY:
        break;
    }
    return SAY_RELAY;
}

struct buf *smtp_to_mta(struct smtp *s, struct smtp_io *io)
{
    if (smtp_may_forward(s))
        return io->to_mta;
    smtp_abort(s, SMTP_END_GATE);
    return NULL;
}

void smtp_finish(struct smtp *s, enum smtp_end end)
{
    if (s->end != SMTP_END_NONE)
        return;
    s->end = end;
    smtp_closing_enter(s, CLOSING_SAY);
}

void smtp_abort(struct smtp *s, enum smtp_end end)
{
    smtp_finish(s, end);
    smtp_closing_enter(s, CLOSING_ABORT);
}

void smtp_out_of_memory(struct smtp *s)
{
    smtp_abort(s, SMTP_END_MEMORY);
}

void smtp_inject(struct smtp *s)
{
    s->notes |= 1U << SMTP_NOTE_INJECTION;
    smtp_finish(s, SMTP_END_INJECTION);
}

/* The MTA gets a QUIT where that is all there is to say; nobody waits for its answer. */
static void smtp_leave_mta(struct smtp *s, struct smtp_io *io)
{
    struct buf *to;

    if (s->mta.state == MTA_NONE)
        return;
    if (!mta_idle(&s->mta, io->from_mta) || s->mta.transaction) {
        smtp_cut(s);
        return;
    }
    to = smtp_to_mta(s, io);
    if (to != NULL && !mta_quit(&s->mta, to))
        smtp_out_of_memory(s);
}

static bool smtp_close_down(struct smtp *s, struct smtp_io *io)
{
    switch (s->closing) {
    case CLOSING_SAY:
        if (s->stage == STAGE_CHUNK)
            smtp_transaction_abandon(s, "the session ended before the last chunk");
        if (!fifo_empty(&s->fifo) || !smtp_can_say(s, io))
            return false;
        smtp_closing_enter(s, CLOSING_LEAVE);
        smtp_say_end(s, io);
        return true;
    case CLOSING_LEAVE:
        /* A client that takes no replies would keep us waiting for it. */
        smtp_closing_enter(
            s, s->end == SMTP_END_SLOW && s->client_gone ? CLOSING_ABORT : CLOSING_CLOSE);
        smtp_leave_mta(s, io);
        return true;
    case CLOSING_NOT:
    case CLOSING_CLOSE:
    case CLOSING_ABORT:
        break;
    }
    return false;
}

/* --- the loop -------------------------------------------------------------------------------- */

static bool smtp_quiet(const struct smtp *s)
{
    return (s->link == LINK_PLAIN || s->link == LINK_TLS) && s->auth != AUTH_CHALLENGE &&
           s->auth != AUTH_ASK && s->auth != AUTH_VERDICT;
}

static bool smtp_between_transactions(const struct smtp *s)
{
    bool waits = s->stage == STAGE_OPEN || s->stage == STAGE_CHUNK;

    return s->stage == STAGE_NONE || (waits && s->message->lost);
}

static bool smtp_take_command(struct smtp *s, struct smtp_io *io)
{
    bool stage_ok = s->stage == STAGE_NONE || s->stage == STAGE_MAIL || s->stage == STAGE_OPEN ||
                    s->stage == STAGE_RCPT || s->stage == STAGE_CHUNK || s->stage == STAGE_END;

    return smtp_quiet(s) && stage_ok && smtp_can_say(s, io) && smtp_take_line(s, io);
}

static bool smtp_say_banner(struct smtp *s, struct smtp_io *io)
{
    if (!s->banner_due || !smtp_quiet(s) || !smtp_can_say(s, io))
        return false;
    s->banner_due = false;
    smtp_say(s, io, "220 %s ESMTP", s->rules->hostname);
    return true;
}

/* What a connection that is gone left behind. */
static void smtp_clear_mta_queues(const struct smtp *s, struct smtp_io *io)
{
    if (s->mta.state >= MTA_BANNER)
        return;
    buf_clear(io->from_mta);
    buf_clear(io->to_mta);
}

/* The next small step; false: there is none. */
static bool smtp_step(struct smtp *s, struct smtp_io *io)
{
    smtp_clear_mta_queues(s, io);
    if (smtp_flush(s, io) || smtp_auth_challenge(s, io) || smtp_transact(s, io))
        return true;
    if (s->closing != CLOSING_NOT)
        return smtp_close_down(s, io);
    if (s->chunk.open)
        return smtp_chunk_refused(s, io);
    if (s->draining && smtp_quiet(s) && fifo_empty(&s->fifo) && smtp_between_transactions(s)) {
        smtp_finish(s, SMTP_END_DRAIN);
        return true;
    }
    if (smtp_say_banner(s, io))
        return true;
    return !s->banner_due && smtp_take_command(s, io);
}

static enum smtp_todo smtp_ask(struct smtp *s, struct smtp_io *io)
{
    if (s->link == LINK_STARTTLS && s->closing == CLOSING_NOT && fifo_empty(&s->fifo)) {
        smtp_link_enter(s, LINK_HANDSHAKE);
        return SMTP_STARTTLS;
    }
    if (s->auth == AUTH_ASK) {
        smtp_auth_asked(s);
        return SMTP_VERIFY;
    }
    if (s->asking == ASKING_DUE) {
        smtp_permit_asked(s);
        return SMTP_PERMIT;
    }
    if (s->mta.state == MTA_WANTED && smtp_to_mta(s, io) != NULL) {
        mta_asked(&s->mta);
        return SMTP_CONNECT;
    }
    return SMTP_WAIT;
}

static enum smtp_todo smtp_todo(struct smtp *s, struct smtp_io *io)
{
    enum smtp_todo asked = SMTP_WAIT;

    if (s->cut) {
        s->cut = false;
        buf_clear(io->from_mta);
        buf_clear(io->to_mta);
        return SMTP_CUT;
    }
    if (s->leaving) {
        s->leaving = false;
        return SMTP_LEAVE;
    }
    if (smtp_give_note(s))
        return SMTP_NOTE;
    if (s->closing < CLOSING_CLOSE)
        asked = smtp_ask(s, io);
    if (s->closing == CLOSING_CLOSE)
        return SMTP_CLOSE;
    return s->closing == CLOSING_ABORT ? SMTP_ABORT : asked;
}

enum smtp_todo smtp_advance(struct smtp *s, struct smtp_io *io)
{
    enum smtp_todo next;

    smtp_drop_note(s);
    while ((next = smtp_todo(s, io)) == SMTP_WAIT && smtp_step(s, io))
        ;
    if (next == SMTP_WAIT)
        s->wait = smtp_waiting(s, io);
    return next;
}

/* --- events ---------------------------------------------------------------------------------- */

static bool smtp_over(const struct smtp *s)
{
    return s->closing >= CLOSING_CLOSE;
}

void smtp_tls_started(struct smtp *s, const struct smtp_tls_info *info)
{
    if (smtp_over(s) || s->link != LINK_HANDSHAKE)
        return;
    s->tls = *info;
    smtp_link_enter(s, LINK_TLS);
}

static void smtp_identify(struct smtp *s)
{
    bool named = s->helo != NULL && path_domain_ok(s->helo, strlen(s->helo));

    s->identity = (struct mta_identity){
        .address = s->peer->address,
        .port = s->peer->port,
        .local = s->peer->local,
        .helo = named ? s->helo : NULL,
        .login = s->login,
        .esmtp = s->hello == HELLO_EHLO,
    };
    s->mta.identity = &s->identity;
}

void smtp_mta_connected(struct smtp *s)
{
    if (smtp_over(s) || s->mta.state != MTA_CONNECTING)
        return;
    mta_connected(&s->mta);
    if (s->rules->xclient)
        smtp_identify(s);
}

void smtp_mta_busy(struct smtp *s)
{
    if (smtp_over(s) || s->mta.state != MTA_CONNECTING)
        return;
    smtp_mta_failed(s, MISHAP_BUSY);
    mta_forget(&s->mta);
}

void smtp_mta_unidentified(struct smtp *s)
{
    if (smtp_over(s) || s->mta.state != MTA_CONNECTING)
        return;
    smtp_mta_failed(s, MISHAP_IDENTITY);
    mta_forget(&s->mta);
}

void smtp_mta_idle_out(struct smtp *s)
{
    if (smtp_mta_idles(s))
        s->mta.leave = true;
}

void smtp_mta_lost(struct smtp *s)
{
    if (smtp_over(s) || s->mta.state == MTA_NONE || s->mta.state == MTA_WANTED)
        return;
    smtp_mta_failed(s, s->mta.state == MTA_CONNECTING ? MISHAP_AWAY : MISHAP_LOST);
    mta_forget(&s->mta);
}

/* Nobody hears us any more. After the final dot the MTA's word is still awaited, for the log. */
static void smtp_lose_client(struct smtp *s, enum smtp_end end, const char *noted)
{
    s->client_gone = true;
    smtp_finish(s, end);
    if (s->stage == STAGE_END)
        return;
    fifo_given(&s->fifo);
    smtp_auth_stop(s);
    smtp_transaction_abandon(s, noted);
}

void smtp_client_gone(struct smtp *s)
{
    if (!smtp_over(s) && !s->client_gone)
        smtp_lose_client(s, SMTP_END_CLIENT_GONE, "the client went away before the end of data");
}

static void mta_too_slow(struct smtp *s)
{
    enum smtp_mishap mishap = s->mta.state == MTA_CONNECTING ? MISHAP_AWAY : MISHAP_SLOW;

    if (s->mta.state == MTA_NONE || s->mta.state == MTA_WANTED)
        return;
    smtp_mta_failed(s, mishap);
    smtp_cut(s);
}

/* A word on one address that comes late must not be taken for a word on the next. */
static void smtp_verdict_late(struct smtp *s)
{
    smtp_verdict(s, SMTP_UNAVAILABLE, NULL);
    if (s->asking == ASKING_NOT)
        return;
    smtp_permitted(s, SMTP_PERMIT_UNAVAILABLE);
    smtp_finish(s, SMTP_END_VAULT);
}

void smtp_timed_out(struct smtp *s)
{
    if (smtp_over(s))
        return;
    switch (s->wait.what) {
    case SMTP_FOR_COMMAND:
        smtp_finish(s, SMTP_END_IDLE);
        break;
    case SMTP_FOR_LINE:
        smtp_finish(s, SMTP_END_SLOW);
        break;
    case SMTP_FOR_DATA:
        smtp_transaction_abandon(s, "the client was too slow");
        smtp_finish(s, SMTP_END_SLOW);
        break;
    case SMTP_FOR_VERDICT:
        smtp_verdict_late(s);
        break;
    case SMTP_FOR_CONNECT:
    case SMTP_FOR_BANNER:
    case SMTP_FOR_REPLY:
    case SMTP_FOR_START:
    case SMTP_FOR_BLOCK:
    case SMTP_FOR_END:
        mta_too_slow(s);
        break;
    case SMTP_FOR_WRITE:
        if (!s->client_gone)
            smtp_lose_client(s, SMTP_END_SLOW, "the client takes no replies");
        break;
    }
}

void smtp_drain(struct smtp *s)
{
    s->draining = true;
}

/* --- questions ------------------------------------------------------------------------------- */

bool smtp_half_heard(const struct smtp *s, const struct smtp_io *io)
{
    return (s->mta.state == MTA_READY || s->mta.state == MTA_DATA) && buf_len(io->from_mta) > 0;
}

static bool mta_owes(const struct smtp *s)
{
    return s->stage == STAGE_MAIL || s->stage == STAGE_RCPT || s->stage == STAGE_DATA ||
           s->stage == STAGE_END;
}

static enum smtp_waiting_for mta_wait(const struct smtp *s, const struct smtp_io *io)
{
    if (buf_len(io->from_mta) > 0 && !smtp_can_say(s, io))
        return SMTP_FOR_WRITE;
    if (s->mta.state == MTA_WANTED || s->mta.state == MTA_CONNECTING)
        return SMTP_FOR_CONNECT;
    if (s->mta.state == MTA_BANNER)
        return SMTP_FOR_BANNER;
    if (s->stage == STAGE_DATA)
        return SMTP_FOR_START;
    return s->stage == STAGE_END ? SMTP_FOR_END : SMTP_FOR_REPLY;
}

static enum smtp_waiting_for smtp_data_wait(const struct smtp *s, const struct smtp_io *io)
{
    if (s->stage == STAGE_DRAIN)
        return smtp_body_over(s) ? SMTP_FOR_WRITE : SMTP_FOR_DATA;
    if (s->stage == STAGE_DOT || buf_room(io->to_mta) < DATA_GROWTH || buf_len(io->from_mta) > 0)
        return SMTP_FOR_BLOCK;
    return SMTP_FOR_DATA;
}

static enum smtp_waiting_for smtp_command_wait(const struct smtp *s, const struct smtp_io *io)
{
    if (!smtp_can_say(s, io))
        return SMTP_FOR_WRITE;
    if (smtp_half_heard(s, io))
        return SMTP_FOR_REPLY;
    if (s->discarding != NULL || buf_len(io->from_client) > 0)
        return SMTP_FOR_LINE;
    return SMTP_FOR_COMMAND;
}

static uint32_t smtp_unit(const struct smtp *s, const struct smtp_io *io,
                          enum smtp_waiting_for what)
{
    uint64_t octets = 0;

    if (what == SMTP_FOR_DATA)
        octets = s->chunk.refusal != NULL ? s->chunk.size - s->chunk.left : s->message->in;
    else if (what == SMTP_FOR_BLOCK)
        octets = s->message->out - buf_len(io->to_mta);
    else if (what == SMTP_FOR_WRITE)
        octets = s->said - buf_len(io->to_client);
    return s->progress + s->mta.replies + (uint32_t)(octets / LIMIT_DATA_UNIT);
}

struct smtp_waiting smtp_waiting(const struct smtp *s, const struct smtp_io *io)
{
    enum smtp_waiting_for what;

    if (s->auth == AUTH_ASK || s->auth == AUTH_VERDICT || s->asking != ASKING_NOT)
        what = SMTP_FOR_VERDICT;
    else if (s->chunk.open && s->chunk.refusal != NULL)
        what = SMTP_FOR_DATA;
    else if (mta_owes(s))
        what = mta_wait(s, io);
    else if (s->stage == STAGE_BODY || s->stage == STAGE_DRAIN || s->stage == STAGE_DOT)
        what = smtp_data_wait(s, io);
    else
        what = smtp_command_wait(s, io);
    return (struct smtp_waiting){.what = what, .unit = smtp_unit(s, io, what)};
}

bool smtp_reads_client(const struct smtp *s, const struct smtp_io *io)
{
    return s->closing == CLOSING_NOT && smtp_quiet(s) && buf_room(io->from_client) > 0;
}

bool smtp_mta_idles(const struct smtp *s)
{
    return !smtp_over(s) && s->mta.state == MTA_READY && s->stage == STAGE_NONE;
}

const struct smtp_note *smtp_note(const struct smtp *s)
{
    return &s->note;
}

bool smtp_learnt(struct smtp *s, struct capabilities *out)
{
    if (!s->mta.learnt)
        return false;
    s->mta.learnt = false;
    *out = s->mta.capabilities;
    return true;
}

enum smtp_end smtp_end(const struct smtp *s)
{
    return s->end;
}

const char *smtp_helo(const struct smtp *s)
{
    return s->helo;
}

unsigned smtp_messages(const struct smtp *s)
{
    return s->messages;
}
