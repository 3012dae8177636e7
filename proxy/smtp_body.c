#include "proxy/smtp_core.h"

void smtp_body_begin(struct smtp *s)
{
    struct smtp_message *m = s->message;

    m->data = true;
    smtp_stage_enter(s, STAGE_BODY);
    if (m->chunked)
        return;
    data_init(&m->scan, s->rules->newline,
              capabilities_size(&s->mta.capabilities, s->rules->max_size));
    fifo_answer(&s->fifo, SAY_DATA);
}

bool smtp_body_trace(struct smtp *s, struct smtp_io *io)
{
    struct smtp_message *m = s->message;
    struct buf *to = m->traced ? NULL : smtp_to_mta(s, io);
    size_t before = buf_len(io->to_mta);
    struct trace trace = {
        .mode = s->rules->trace,
        .helo = s->helo,
        .address = s->peer->address,
        .hostname = s->rules->hostname,
        .esmtp = s->hello == HELLO_EHLO,
        .authenticated = s->auth == AUTH_DONE,
        .utf8 = m->mail.smtputf8,
        .version = s->link == LINK_TLS ? s->tls.version : NULL,
        .cipher = s->tls.cipher,
        .session = s->peer->session,
        .now = io->now,
    };

    if (to == NULL)
        return m->traced;
    m->traced = true;
    if (!trace_write(to, &trace)) {
        smtp_out_of_memory(s);
        return false;
    }
    m->out = buf_len(to) - before;
    return true;
}

/* What keeps the message from being delivered; NULL: nothing so far. */
static const char *smtp_body_wrong(const struct smtp_message *m)
{
    switch (m->scan.fault) {
    case DATA_BARE_CR:
        return SAY_BARE_CR;
    case DATA_BARE_LF:
        return SAY_BARE_LF;
    case DATA_NUL:
        return SAY_NUL;
    case DATA_TOO_BIG:
        return SAY_TOO_BIG;
    case DATA_FINE:
        break;
    }
    return m->hops.count >= HOPS_MAX ? SAY_LOOP : NULL;
}

/* How much of what the client sent is message data. */
static size_t smtp_body_have(const struct smtp *s, const struct smtp_io *io)
{
    size_t have = buf_len(io->from_client);

    return s->message->chunked && have > s->chunk.left ? (size_t)s->chunk.left : have;
}

bool smtp_body_over(const struct smtp *s)
{
    return s->message->chunked ? s->chunk.left == 0 : s->message->scan.finished;
}

void smtp_body_scanned(struct smtp *s, struct smtp_io *io, size_t used)
{
    struct smtp_message *m = s->message;
    const char *wrong = smtp_body_wrong(m);

    m->in += used;
    if (m->chunked)
        s->chunk.left -= used;
    buf_consume(io->from_client, used);
    if (s->stage == STAGE_BODY && wrong != NULL) {
        m->fate = wrong;
        smtp_stage_enter(s, STAGE_DRAIN);
        smtp_cut(s);
    }
    if (!m->scan.finished)
        return;
    s->progress++;
    fifo_wait(&s->fifo);
    if (s->stage == STAGE_BODY)
        smtp_stage_enter(s, STAGE_DOT);
}

bool smtp_body_pass(struct smtp *s, struct smtp_io *io)
{
    enum {
        SLACK = 256, /* for stuffing, so that what came in one piece mostly goes in one */
        FLOW = 8192  /* so much at once says that the message is large */
    };
    size_t have = smtp_body_have(s, io);
    size_t used, room, want, out = 0;
    struct buf *to;
    uint8_t *space;

    if (s->message->chunked && s->chunk.left == 0)
        return smtp_chunk_end(s, io);
    if (have == 0 || buf_room(io->to_mta) < DATA_GROWTH || buf_len(io->from_mta) > 0)
        return false;
    if (!smtp_body_trace(s, io))
        return true;
    to = smtp_to_mta(s, io);
    if (to == NULL)
        return true;
    room = buf_room(to);
    want = have + SLACK < room ? have + SLACK : room;
    if (have >= FLOW && buf_len(to) == 0)
        want = room; /* more will come behind it: a buffer that grows is copied */
    space = buf_reserve(to, want);
    if (space == NULL)
        return smtp_wrote(s, false);
    used = data_scan(&s->message->scan, buf_data(io->from_client), have, space, want, &out);
    hops_scan(&s->message->hops, space, out);
    buf_commit(to, out);
    s->message->out += out;
    smtp_body_scanned(s, io, used);
    return true;
}

/* The client's end of a message that will not be delivered. */
static bool smtp_body_fate(struct smtp *s, struct smtp_io *io)
{
    struct smtp_message *m = s->message;

    if (m->fate != NULL) {
        smtp_answer_and_conclude(s, m->fate);
        return true;
    }
    if (!smtp_can_say(s, io))
        return false;
    fifo_given(&s->fifo);
    smtp_say_raw(s, io, &m->refusal);
    smtp_conclude(s, NULL);
    return true;
}

bool smtp_body_drain(struct smtp *s, struct smtp_io *io)
{
    uint8_t sink[4096];
    size_t out;
    size_t have = smtp_body_have(s, io);

    if (smtp_body_over(s))
        return smtp_body_fate(s, io);
    if (have == 0)
        return false;
    smtp_body_scanned(
        s, io,
        data_scan(&s->message->scan, buf_data(io->from_client), have, sink, sizeof(sink), &out));
    return true;
}

bool smtp_body_end(struct smtp *s, struct smtp_io *io)
{
    struct buf *to;

    if (buf_len(io->from_mta) > 0 || buf_room(io->to_mta) < DATA_TAIL)
        return false;
    smtp_stage_enter(s, STAGE_END);
    to = smtp_to_mta(s, io);
    return to == NULL || smtp_wrote(s, mta_end(&s->mta, to));
}
