#include "proxy/mta.h"

#include <string.h>

#include "proxy/data.h"

static void mta_enter(struct mta *m, enum mta_state state)
{
    m->state = state;
}

/* All that belongs to one connection. */
static void mta_begin(struct mta *m, enum mta_state state)
{
    m->transaction = false;
    m->used = false;
    m->leave = false;
    m->identified = false;
    m->identity = NULL;
    m->transactions = 0;
    mta_enter(m, state);
}

void mta_forget(struct mta *m)
{
    mta_begin(m, MTA_NONE);
}

void mta_want(struct mta *m)
{
    mta_enter(m, MTA_WANTED);
}

void mta_asked(struct mta *m)
{
    mta_enter(m, MTA_CONNECTING);
}

void mta_connected(struct mta *m)
{
    m->capabilities = (struct capabilities){0};
    mta_begin(m, MTA_BANNER);
}

bool mta_idle(const struct mta *m, const struct buf *from)
{
    return m->state == MTA_READY && buf_len(from) == 0;
}

static bool mta_positive(const struct reply *r)
{
    return r->code / 100 == 2;
}

static void mta_learn(struct mta *m, const struct reply *r, bool esmtp)
{
    capabilities_learn(&m->capabilities, r, esmtp);
    m->learnt = true;
    mta_enter(m, MTA_READY);
}

static enum mta_event mta_say_hello(struct mta *m, struct buf *to, const char *name,
                                    enum mta_state state)
{
    const char *verb = state == MTA_EHLO ? "EHLO" : "HELO";

    mta_enter(m, state);
    return buf_printf(to, "%s %s\r\n", verb, name) ? MTA_MOVED : MTA_UNUSABLE;
}

static enum mta_event mta_identify(struct mta *m, struct buf *to)
{
    m->identified = true;
    mta_enter(m, MTA_XCLIENT);
    return mta_identity_write(to, m->identity, m->capabilities.xclient) ? MTA_MOVED
                                                                        : MTA_UNIDENTIFIED;
}

static enum mta_event mta_greet_ehlo(struct mta *m, const struct reply *r, struct buf *to,
                                     const char *name)
{
    if (mta_positive(r)) {
        mta_learn(m, r, true);
        if (m->identity != NULL && !m->identified && m->capabilities.xclient != 0)
            return mta_identify(m, to);
        return MTA_MOVED;
    }
    /* Some take a second EHLO amiss, and know us already. */
    if (r->code == 503 && m->identified) {
        mta_enter(m, MTA_READY);
        return MTA_MOVED;
    }
    return r->code / 100 == 5 ? mta_say_hello(m, to, name, MTA_HELO) : MTA_UNUSABLE;
}

/* One reply of the greeting: banner, EHLO, HELO, XCLIENT. */
static enum mta_event mta_greet(struct mta *m, const struct reply *r, struct buf *to,
                                const char *name)
{
    switch (m->state) {
    case MTA_BANNER:
        return r->code == 220 ? mta_say_hello(m, to, name, MTA_EHLO) : MTA_UNUSABLE;
    case MTA_EHLO:
        return mta_greet_ehlo(m, r, to, name);
    case MTA_XCLIENT:
        return mta_positive(r) ? mta_say_hello(m, to, name, MTA_EHLO) : MTA_UNIDENTIFIED;
    default:
        if (!mta_positive(r))
            return MTA_UNUSABLE;
        mta_learn(m, r, false);
        return MTA_MOVED;
    }
}

static bool mta_fits(const struct mta *m, unsigned code)
{
    if (code / 100 == 4 || code / 100 == 5)
        return true;
    if (m->state == MTA_BUSY && m->verb == MTA_VERB_DATA)
        return code == 354;
    return code / 100 == 2;
}

/* While no reply is owed only a hang-up makes sense, and while data goes out a refusal; what cannot
 * become one need not be waited for. */
static bool mta_may_become(const struct mta *m, const struct buf *from)
{
    size_t len = buf_len(from) < 3 ? buf_len(from) : 3;
    const uint8_t *said = buf_data(from);

    if (m->state == MTA_DATA || m->state == MTA_END)
        return said[0] == '4' || said[0] == '5';
    return memcmp(said, "421", len) == 0;
}

static enum mta_event mta_hear_unasked(const struct mta *m, struct reply *reply,
                                       const struct buf *from)
{
    if (!mta_may_become(m, from))
        return MTA_DESYNC;
    switch (reply_parse(reply, buf_data(from), buf_len(from))) {
    case REPLY_MORE:
        return MTA_SILENT;
    case REPLY_BAD:
        return MTA_DESYNC;
    case REPLY_COMPLETE:
        break;
    }
    return reply->code == 421 ? MTA_HANGUP : MTA_REFUSAL;
}

/* An answer to what the MTA has not even read yet is none. */
static enum mta_event mta_hear_too_early(const struct mta *m, const struct reply *reply)
{
    if (m->state == MTA_END && (reply->code / 100 == 4 || reply->code / 100 == 5))
        return MTA_REFUSAL;
    return MTA_DESYNC;
}

static enum mta_event mta_hear_rset(struct mta *m, struct buf *from, const struct reply *reply)
{
    if (!mta_positive(reply))
        return MTA_UNUSABLE;
    m->transaction = false;
    mta_heard(m, from, reply);
    return MTA_MOVED;
}

static enum mta_event mta_hear_owed(struct mta *m, struct reply *reply, struct buf *from,
                                    struct buf *to, const char *name)
{
    enum mta_event event;

    switch (reply_parse(reply, buf_data(from), buf_len(from))) {
    case REPLY_MORE:
        /* The beginning of an answer to what the MTA has not read yet. */
        return buf_len(to) > 0 && !mta_may_become(m, from) ? MTA_DESYNC : MTA_SILENT;
    case REPLY_BAD:
        return MTA_NONSENSE;
    case REPLY_COMPLETE:
        break;
    }
    if (reply->code == 421)
        return MTA_HANGUP;
    if (buf_len(to) > 0)
        return mta_hear_too_early(m, reply);
    if (m->state < MTA_READY) {
        event = mta_greet(m, reply, to, name);
        buf_consume(from, reply->len);
        m->replies++;
        return event;
    }
    if (m->state == MTA_BUSY && m->verb == MTA_VERB_RSET)
        return mta_hear_rset(m, from, reply);
    return mta_fits(m, reply->code) ? MTA_REPLY : MTA_NONSENSE;
}

enum mta_event mta_hear(struct mta *m, struct reply *reply, struct buf *from, struct buf *to,
                        const char *name)
{
    if (buf_len(from) == 0)
        return MTA_SILENT;
    switch (m->state) {
    case MTA_NONE:
    case MTA_WANTED:
    case MTA_CONNECTING:
    case MTA_QUIT:
        buf_clear(from);
        return MTA_SILENT;
    case MTA_READY:
    case MTA_DATA:
        return mta_hear_unasked(m, reply, from);
    case MTA_BANNER:
    case MTA_EHLO:
    case MTA_HELO:
    case MTA_XCLIENT:
    case MTA_BUSY:
    case MTA_END:
        break;
    }
    return mta_hear_owed(m, reply, from, to, name);
}

void mta_heard(struct mta *m, struct buf *from, const struct reply *reply)
{
    if (m->state == MTA_BUSY && m->verb == MTA_VERB_MAIL) {
        m->transaction = mta_positive(reply);
        m->transactions += m->transaction ? 1 : 0;
        m->used = true;
    }
    /* After a refusal at the dot some MTAs keep the envelope: RSET will tell them. */
    if (m->state == MTA_END && mta_positive(reply))
        m->transaction = false;
    m->replies++;
    mta_enter(m, m->state == MTA_BUSY && m->verb == MTA_VERB_DATA && reply->code == 354
                     ? MTA_DATA
                     : MTA_READY);
    buf_consume(from, reply->len);
}

static bool mta_busy(struct mta *m, enum mta_verb verb, bool written)
{
    m->verb = verb;
    mta_enter(m, MTA_BUSY);
    return written;
}

bool mta_mail(struct mta *m, struct buf *to, const struct command_mail *mail, unsigned hidden)
{
    unsigned offered = m->capabilities.extensions & ~hidden;

    return mta_busy(m, MTA_VERB_MAIL, command_write_mail(to, mail, offered));
}

bool mta_rcpt(struct mta *m, struct buf *to, const struct command_rcpt *rcpt, unsigned hidden)
{
    unsigned offered = m->capabilities.extensions & ~hidden;

    return mta_busy(m, MTA_VERB_RCPT, command_write_rcpt(to, rcpt, offered));
}

bool mta_data(struct mta *m, struct buf *to)
{
    return mta_busy(m, MTA_VERB_DATA, buf_text(to, "DATA\r\n"));
}

bool mta_reset(struct mta *m, struct buf *to)
{
    return mta_busy(m, MTA_VERB_RSET, buf_text(to, "RSET\r\n"));
}

bool mta_quit(struct mta *m, struct buf *to)
{
    mta_enter(m, MTA_QUIT);
    return buf_text(to, "QUIT\r\n");
}

bool mta_end(struct mta *m, struct buf *to)
{
    mta_enter(m, MTA_END);
    return buf_text(to, DATA_END);
}
