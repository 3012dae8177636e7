#include "bench/load_client_parts.h"
#include "bench/load_value.h"

#define LEAVING_TIME (5 * LOAD_SECOND) /* for the server to close behind its 221 */

void load_client_end_phase(struct load_client *c, enum load_phase phase)
{
    uint64_t now = uv_hrtime();
    if (c->measured && !c->primer)
        load_histogram_add(&c->job->tally->phases[phase], now - c->mark);
    c->mark = now;
}

static void count_done(struct load_client *c)
{
    struct load_tally *t = c->job->tally;
    uint64_t now = uv_hrtime();
    t->ended_by_server += c->talk.ended_by_server;
    if (c->primer) {
        t->primers++;
        load_client_run(c)->started -= c->measured; /* another one will have to take its place */
        return;
    }
    t->ended += load_client_run(c)->state == LOAD_MEASURING;
    if (!c->measured)
        return;
    t->ops++;
    load_histogram_add(&t->latency, now - c->intended);
    load_histogram_add(&t->service, now - c->started);
}

/* Behind a QUIT the server closes, else we do. */
static void done(struct load_client *c)
{
    bool after_quit = c->talk.step == LOAD_STEP_QUIT && !c->talk.ended_by_server;
    count_done(c);
    load_client_is_greeted(c);
    if (c->phase == LOAD_CLOSED)
        return;
    c->phase = LOAD_LEAVING;
    c->deadline = uv_hrtime() + LEAVING_TIME;
    if (after_quit)
        return;
    if (c->tls != NULL && !c->blocked)
        load_tls_close(c->tls, &load_client_run(c)->wire);
    load_client_flush(c);
    load_client_close(c);
}

static void held(struct load_client *c)
{
    struct load_tally *t = c->job->tally;
    uint64_t now = uv_hrtime();
    c->phase = LOAD_HOLDING;
    c->deadline = UINT64_MAX;
    load_client_run(c)->holding++;
    t->ops++;
    load_histogram_add(&t->latency, now - c->intended);
    load_histogram_add(&t->service, now - c->started);
    load_client_is_greeted(c);
    load_run_held(load_client_run(c));
}

static void message_accepted(struct load_client *c)
{
    struct load_run *r = load_client_run(c);
    load_ledger_accepted(&r->ledger, c->talk.number);
    if (r->state == LOAD_MEASURING) {
        c->job->tally->messages++;
        c->job->tally->octets += load_client_work(c)->size;
    }
    load_client_end_phase(c, LOAD_PHASE_MESSAGE);
}

static void heed_marks(struct load_client *c)
{
    unsigned marks = c->talk.marks;
    c->talk.marks = 0;
    if (marks & LOAD_MARK_GREETING) {
        load_client_end_phase(c, LOAD_PHASE_GREETING);
        load_client_is_greeted(c);
    }
    if (marks & LOAD_MARK_EHLO)
        load_client_end_phase(c, LOAD_PHASE_EHLO);
    if (marks & LOAD_MARK_AUTH)
        load_client_end_phase(c, LOAD_PHASE_AUTH);
    if (marks & LOAD_MARK_REPLY)
        load_tally_reply(c->job->tally, c->talk.code);
    if (marks & LOAD_MARK_MESSAGE)
        message_accepted(c);
    if (marks & LOAD_MARK_NUMBER)
        load_talk_number(&c->talk, load_ledger_number(&load_client_run(c)->ledger, c->job->index));
    if (marks & LOAD_MARK_OFFERED)
        load_ledger_offered(&load_client_run(c)->ledger, c->talk.number);
}

static void go_on_with_handshake(struct load_client *c);

void load_client_begin_handshake(struct load_client *c)
{
    bool wants = load_client_work(c)->resume || load_client_work(c)->kind == LOAD_RESUME;
    bool has = load_tls_has_ticket(load_client_run(c)->tls, c->job->shelf);
    c->primer = load_client_work(c)->kind == LOAD_RESUME && !has;
    c->tls = load_tls_new(load_client_run(c)->tls, c->job->shelf, wants && has);
    c->phase = LOAD_HANDSHAKING;
    if (c->tls != NULL)
        go_on_with_handshake(c);
    else
        load_client_fail(c, "tls", "out of memory");
}

static void heed(struct load_client *c)
{
    if (c->phase == LOAD_CLOSED)
        return;
    heed_marks(c);
    if (c->phase == LOAD_CLOSED)
        return;
    switch (c->talk.status) {
    case LOAD_TALK_MORE:
        break;
    case LOAD_TALK_TLS:
        load_client_begin_handshake(c);
        break;
    case LOAD_TALK_HOLD:
        held(c);
        break;
    case LOAD_TALK_DONE:
        done(c);
        break;
    case LOAD_TALK_FAILED:
        load_client_fail(c, load_client_where(c), c->talk.what);
    }
}

static void secured(struct load_client *c)
{
    bool resumed = load_tls_resumed(c->tls);
    c->job->tally->resumed += resumed;
    if (load_client_work(c)->kind == LOAD_RESUME && !resumed && !c->primer) {
        load_client_fail(c, "tls", "the session was not resumed");
        return;
    }
    load_client_end_phase(c, LOAD_PHASE_TLS);
    c->phase = LOAD_TALKING;
    load_talk_secured(&c->talk);
    heed(c);
}

static void go_on_with_handshake(struct load_client *c)
{
    struct load_wire *w = &load_client_run(c)->wire;
    enum load_tls_status status = load_tls_handshake(c->tls, w);
    if (load_client_drips_handshake(c))
        load_client_keep_for_dripping(c);
    if (status == LOAD_TLS_OK)
        secured(c);
    load_client_flush(c);
    if (status == LOAD_TLS_FAILED || status == LOAD_TLS_ENDED)
        load_client_fail(c, "tls", load_tls_reason(c->tls));
}

static void ended(struct load_client *c)
{
    if (c->phase == LOAD_TALKING) {
        load_talk_ended(&c->talk);
        heed(c);
    }
    if (c->phase == LOAD_LEAVING)
        load_client_close(c);
    else if (load_client_work(c)->kind == LOAD_SLOW && c->phase != LOAD_CLOSED) {
        c->talk.ended_by_server = true;
        done(c);
    } else
        load_client_fail(c, load_client_where(c), "the server ended the connection");
}

static void take_records(struct load_client *c)
{
    struct load_wire *w = &load_client_run(c)->wire;
    enum load_tls_status status = LOAD_TLS_OK;
    uint8_t text[LOAD_TLS_RECORD];
    size_t got;
    while (status == LOAD_TLS_OK && c->phase >= LOAD_TALKING && c->phase != LOAD_CLOSED) {
        status = load_tls_read(c->tls, text, &got, sizeof text, w);
        if (status == LOAD_TLS_OK && c->phase != LOAD_LEAVING) {
            bool was_holding = c->phase == LOAD_HOLDING;
            load_talk_take(&c->talk, text, got);
            if (was_holding)
                load_client_fail(c, load_client_where(c), c->talk.what);
            heed(c);
        }
    }
    if (c->phase == LOAD_CLOSED)
        return;
    if (status == LOAD_TLS_ENDED)
        ended(c);
    else if (status == LOAD_TLS_FAILED)
        load_client_fail(c, load_client_where(c), load_tls_reason(c->tls));
}

static void take(struct load_client *c, const uint8_t *in, size_t len)
{
    struct load_wire *w = &load_client_run(c)->wire;
    if (c->phase != LOAD_HOLDING && c->phase != LOAD_LEAVING)
        load_client_progress(c);
    if (c->tls == NULL && c->phase != LOAD_LEAVING) {
        bool was_holding = c->phase == LOAD_HOLDING;
        load_talk_take(&c->talk, in, len);
        if (was_holding)
            load_client_fail(c, load_client_where(c), c->talk.what);
        heed(c);
    } else if (c->tls != NULL) {
        w->in = in;
        w->in_len = len;
        if (c->phase == LOAD_HANDSHAKING)
            go_on_with_handshake(c);
        if (c->phase > LOAD_HANDSHAKING)
            take_records(c);
        w->in_len = 0;
    }
    load_client_pump(c);
}

static void on_read(uv_stream_t *stream, ssize_t got, const uv_buf_t *block)
{
    struct load_client *c = stream->data;
    if (c->phase == LOAD_CLOSED || got == 0)
        return;
    if (got > 0)
        take(c, (const uint8_t *)block->base, (size_t)got);
    else if (got == UV_EOF)
        ended(c);
    else if (load_client_work(c)->kind == LOAD_SLOW || c->phase == LOAD_LEAVING)
        ended(c);
    else
        load_client_fail(c, load_client_where(c), uv_strerror((int)got));
    load_client_flush(c);
}

static void on_block(uv_handle_t *handle, size_t suggested, uv_buf_t *block)
{
    struct load_run *r = load_client_run(handle->data);
    (void)suggested;
    *block = uv_buf_init((char *)r->block, sizeof r->block);
}

void load_client_listen(struct load_client *c)
{
    uv_read_start(load_client_stream(c), on_block, on_read);
}
