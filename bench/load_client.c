#include "bench/load_client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/load_proxy.h"
#include "bench/load_value.h"

enum client_phase { CONNECTING, HANDSHAKING, TALKING, HOLDING, LEAVING, CLOSED };

#define LEAVING_TIME (5 * LOAD_SECOND) /* for the server to close behind its 221 */

struct load_client {
    uv_tcp_t tcp;
    uv_connect_t connect;
    uv_write_t write;
    struct load_stream *stream;
    struct load_job *job;
    struct load_client *next, **link;
    enum client_phase phase;
    bool greeted; /* counted among those that are */
    bool measured;
    bool primer; /* a full handshake for want of a ticket */
    bool failed;
    bool blocked; /* unsent octets are with the kernel */
    uint64_t intended;
    uint64_t started;
    uint64_t mark;     /* when the phase that is under way began */
    uint64_t deadline; /* unless something happens */
    uint64_t next_drip;
    size_t allowance; /* octets that a slow client may say now */
    struct load_tls *tls;
    uint8_t *unsent;
    uint8_t *dripping; /* a handshake's octets on their slow way */
    size_t dripping_at, dripping_len;
    struct load_talk talk;
};

static void pump(struct load_client *c);

static struct load_run *run_of(const struct load_client *c)
{
    return c->stream->run;
}

static const struct load_work *work_of(const struct load_client *c)
{
    return c->job->work;
}

static uv_stream_t *stream_of(struct load_client *c)
{
    return (uv_stream_t *)&c->tcp;
}

struct load_client *load_client_next(const struct load_client *c)
{
    return c->next;
}

bool load_client_is_patient(const struct load_client *c)
{
    return c->phase == HOLDING || work_of(c)->kind == LOAD_SLOW;
}

static void enter_list(struct load_client *c)
{
    struct load_run *r = run_of(c);
    c->next = r->clients;
    c->link = &r->clients;
    if (c->next != NULL)
        c->next->link = &c->next;
    r->clients = c;
    r->open++;
    r->opening++;
    r->open_max = r->open > r->open_max ? r->open : r->open_max;
}

static void leave_list(struct load_client *c)
{
    *c->link = c->next;
    if (c->next != NULL)
        c->next->link = c->link;
    run_of(c)->open--;
}

static void on_closed(uv_handle_t *handle)
{
    struct load_client *c = handle->data;
    struct load_stream *s = c->stream;
    bool failed = c->failed;
    load_tls_free(c->tls);
    free(c->unsent);
    free(c->dripping);
    free(c);
    load_run_closed(s->run, s, failed);
}

static void is_greeted(struct load_client *c)
{
    if (c->greeted)
        return;
    c->greeted = true;
    run_of(c)->opening--;
    if (c->phase != CLOSED)
        load_run_greeted(run_of(c), c->stream);
}

static void close_client(struct load_client *c)
{
    if (c->phase == CLOSED)
        return;
    run_of(c)->holding -= c->phase == HOLDING;
    c->phase = CLOSED;
    leave_list(c);
    is_greeted(c);
    uv_close((uv_handle_t *)&c->tcp, on_closed);
}

static void fail(struct load_client *c, const char *where, const char *what)
{
    if (c->phase == CLOSED)
        return;
    /* What comes behind the end of an operation is no part of it. */
    if (c->phase != LEAVING) {
        c->failed = true;
        load_tally_error(c->job->tally, where, what);
    }
    close_client(c);
}

static const char *where(const struct load_client *c)
{
    switch (c->phase) {
    case CONNECTING:
        return "connect";
    case HANDSHAKING:
        return "tls";
    case HOLDING:
        return "idle";
    default:
        return load_step_name(c->talk.step);
    }
}

static void progress(struct load_client *c)
{
    c->deadline = uv_hrtime() + run_of(c)->plan->timeout;
}

static void end_phase(struct load_client *c, enum load_phase phase)
{
    uint64_t now = uv_hrtime();
    if (c->measured && !c->primer)
        load_histogram_add(&c->job->tally->phases[phase], now - c->mark);
    c->mark = now;
}

static void on_written(uv_write_t *request, int status)
{
    struct load_client *c = request->handle->data;
    free(c->unsent);
    c->unsent = NULL;
    c->blocked = false;
    if (c->phase == CLOSED)
        return;
    if (status != 0) {
        fail(c, where(c), uv_strerror(status));
        return;
    }
    progress(c);
    pump(c);
}

static bool send_later(struct load_client *c, const uint8_t *rest, size_t len)
{
    c->unsent = malloc(len);
    if (c->unsent == NULL)
        return false;
    memcpy(c->unsent, rest, len);
    uv_buf_t buf = uv_buf_init((char *)c->unsent, (unsigned)len);
    c->blocked = uv_write(&c->write, stream_of(c), &buf, 1, on_written) == 0;
    return c->blocked;
}

/* All that stands in the staging area goes out, now or as soon as the kernel takes it. */
static void flush_staging(struct load_client *c)
{
    struct load_wire *w = &run_of(c)->wire;
    uv_buf_t all = uv_buf_init((char *)w->out, (unsigned)w->out_len);
    size_t len = w->out_len;
    w->out_len = 0;
    if (len == 0 || c->phase == CLOSED)
        return;
    int sent = c->blocked ? UV_EBUSY : uv_try_write(stream_of(c), &all, 1);
    size_t done = sent > 0 ? (size_t)sent : 0;
    if (sent < 0 && sent != UV_EAGAIN)
        fail(c, where(c), uv_strerror(sent));
    else if (done < len && !send_later(c, w->out + done, len - done))
        fail(c, where(c), "out of memory");
}

static bool drips_handshake(const struct load_client *c)
{
    return work_of(c)->kind == LOAD_SLOW && work_of(c)->part == LOAD_SLOW_HANDSHAKE;
}

/* The handshake's octets join those that wait. */
static void take_for_dripping(struct load_client *c)
{
    struct load_wire *w = &run_of(c)->wire;
    size_t left = c->dripping_len - c->dripping_at;
    uint8_t *all = w->out_len > 0 ? malloc(left + w->out_len) : NULL;
    if (all == NULL)
        return;
    if (left > 0)
        memcpy(all, c->dripping + c->dripping_at, left);
    memcpy(all + left, w->out, w->out_len);
    free(c->dripping);
    c->dripping = all;
    c->dripping_at = 0;
    c->dripping_len = left + w->out_len;
    w->out_len = 0;
}

static void drip(struct load_client *c)
{
    size_t left = c->dripping_len - c->dripping_at;
    size_t n = left < work_of(c)->octets ? left : work_of(c)->octets;
    uv_buf_t some = uv_buf_init((char *)c->dripping + c->dripping_at, (unsigned)n);
    int sent = n > 0 ? uv_try_write(stream_of(c), &some, 1) : 0;
    if (sent > 0) {
        c->dripping_at += (size_t)sent;
        progress(c);
    }
}

static bool is_slow(const struct load_client *c, const struct load_span *span)
{
    const struct load_work *w = work_of(c);
    return w->kind == LOAD_SLOW && ((w->part == LOAD_SLOW_COMMAND && !span->is_body) ||
                                    (w->part == LOAD_SLOW_DATA && span->is_body));
}

/* As much of what is to be said as fits, in one piece. */
static size_t gather(struct load_client *c, uint8_t *out, size_t cap)
{
    const struct load_span *span;
    size_t len = 0;
    while (len < cap && (span = load_talk_next(&c->talk)) != NULL) {
        size_t n = span->len < cap - len ? span->len : cap - len;
        if (is_slow(c, span)) {
            n = n < c->allowance ? n : c->allowance;
            c->allowance -= n;
        }
        if (n == 0)
            break;
        memcpy(out + len, span->at, n);
        load_talk_sent(&c->talk, n);
        len += n;
    }
    return len;
}

/* A whole record of a long message needs no gathering. */
static bool say_record(struct load_client *c)
{
    struct load_wire *w = &run_of(c)->wire;
    const struct load_span *span = load_talk_next(&c->talk);
    if (span == NULL || span->len < LOAD_TLS_RECORD || is_slow(c, span))
        return false;
    if (load_tls_write(c->tls, span->at, LOAD_TLS_RECORD, w) != LOAD_TLS_OK)
        return false;
    load_talk_sent(&c->talk, LOAD_TLS_RECORD);
    return true;
}

static bool say_some(struct load_client *c)
{
    struct load_wire *w = &run_of(c)->wire;
    uint8_t text[LOAD_TLS_RECORD];
    size_t room = w->out_cap - w->out_len;
    if (c->tls == NULL) {
        size_t n = gather(c, w->out + w->out_len, room);
        w->out_len += n;
        return n > 0;
    }
    if (room < LOAD_TLS_RECORD + LOAD_TLS_OVERHEAD)
        return false;
    if (say_record(c))
        return true;
    size_t n = gather(c, text, sizeof text);
    if (n > 0 && load_tls_write(c->tls, text, n, w) != LOAD_TLS_OK)
        fail(c, where(c), load_tls_reason(c->tls));
    return n > 0 && c->phase != CLOSED;
}

static void pump(struct load_client *c)
{
    bool more = true;
    while (more && !c->blocked && (c->phase == TALKING || c->phase == LEAVING)) {
        while (say_some(c))
            continue;
        more = run_of(c)->wire.out_len > 0 && load_talk_next(&c->talk) != NULL;
        flush_staging(c);
    }
}

static void count_done(struct load_client *c)
{
    struct load_tally *t = c->job->tally;
    uint64_t now = uv_hrtime();
    t->ended_by_server += c->talk.ended_by_server;
    if (c->primer) {
        t->primers++;
        run_of(c)->started -= c->measured; /* another one will have to take its place */
        return;
    }
    t->ended += run_of(c)->state == LOAD_MEASURING;
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
    is_greeted(c);
    if (c->phase == CLOSED)
        return;
    c->phase = LEAVING;
    c->deadline = uv_hrtime() + LEAVING_TIME;
    if (after_quit)
        return;
    if (c->tls != NULL && !c->blocked)
        load_tls_close(c->tls, &run_of(c)->wire);
    flush_staging(c);
    close_client(c);
}

static void held(struct load_client *c)
{
    struct load_tally *t = c->job->tally;
    uint64_t now = uv_hrtime();
    c->phase = HOLDING;
    c->deadline = UINT64_MAX;
    run_of(c)->holding++;
    t->ops++;
    load_histogram_add(&t->latency, now - c->intended);
    load_histogram_add(&t->service, now - c->started);
    is_greeted(c);
    load_run_held(run_of(c));
}

static void message_accepted(struct load_client *c)
{
    struct load_run *r = run_of(c);
    load_ledger_accepted(&r->ledger, c->talk.number);
    if (r->state == LOAD_MEASURING) {
        c->job->tally->messages++;
        c->job->tally->octets += work_of(c)->size;
    }
    end_phase(c, LOAD_PHASE_MESSAGE);
}

static void heed_marks(struct load_client *c)
{
    unsigned marks = c->talk.marks;
    c->talk.marks = 0;
    if (marks & LOAD_MARK_GREETING) {
        end_phase(c, LOAD_PHASE_GREETING);
        is_greeted(c);
    }
    if (marks & LOAD_MARK_EHLO)
        end_phase(c, LOAD_PHASE_EHLO);
    if (marks & LOAD_MARK_AUTH)
        end_phase(c, LOAD_PHASE_AUTH);
    if (marks & LOAD_MARK_REPLY)
        load_tally_reply(c->job->tally, c->talk.code);
    if (marks & LOAD_MARK_MESSAGE)
        message_accepted(c);
    if (marks & LOAD_MARK_NUMBER)
        load_talk_number(&c->talk, load_ledger_number(&run_of(c)->ledger, c->job->index));
    if (marks & LOAD_MARK_OFFERED)
        load_ledger_offered(&run_of(c)->ledger, c->talk.number);
}

static void go_on_with_handshake(struct load_client *c);

static void begin_handshake(struct load_client *c)
{
    bool wants = work_of(c)->resume || work_of(c)->kind == LOAD_RESUME;
    bool has = load_tls_has_ticket(run_of(c)->tls, c->job->shelf);
    c->primer = work_of(c)->kind == LOAD_RESUME && !has;
    c->tls = load_tls_new(run_of(c)->tls, c->job->shelf, wants && has);
    c->phase = HANDSHAKING;
    if (c->tls != NULL)
        go_on_with_handshake(c);
    else
        fail(c, "tls", "out of memory");
}

static void heed(struct load_client *c)
{
    if (c->phase == CLOSED)
        return;
    heed_marks(c);
    if (c->phase == CLOSED)
        return;
    switch (c->talk.status) {
    case LOAD_TALK_MORE:
        break;
    case LOAD_TALK_TLS:
        begin_handshake(c);
        break;
    case LOAD_TALK_HOLD:
        held(c);
        break;
    case LOAD_TALK_DONE:
        done(c);
        break;
    case LOAD_TALK_FAILED:
        fail(c, where(c), c->talk.what);
    }
}

static void secured(struct load_client *c)
{
    bool resumed = load_tls_resumed(c->tls);
    c->job->tally->resumed += resumed;
    if (work_of(c)->kind == LOAD_RESUME && !resumed && !c->primer) {
        fail(c, "tls", "the session was not resumed");
        return;
    }
    end_phase(c, LOAD_PHASE_TLS);
    c->phase = TALKING;
    load_talk_secured(&c->talk);
    heed(c);
}

static void go_on_with_handshake(struct load_client *c)
{
    struct load_wire *w = &run_of(c)->wire;
    enum load_tls_status status = load_tls_handshake(c->tls, w);
    if (drips_handshake(c))
        take_for_dripping(c);
    if (status == LOAD_TLS_OK)
        secured(c);
    flush_staging(c);
    if (status == LOAD_TLS_FAILED || status == LOAD_TLS_ENDED)
        fail(c, "tls", load_tls_reason(c->tls));
}

static void ended(struct load_client *c)
{
    if (c->phase == TALKING) {
        load_talk_ended(&c->talk);
        heed(c);
    }
    if (c->phase == LEAVING)
        close_client(c);
    else if (work_of(c)->kind == LOAD_SLOW && c->phase != CLOSED) {
        c->talk.ended_by_server = true;
        done(c);
    } else
        fail(c, where(c), "the server ended the connection");
}

static void take_records(struct load_client *c)
{
    struct load_wire *w = &run_of(c)->wire;
    enum load_tls_status status = LOAD_TLS_OK;
    uint8_t text[LOAD_TLS_RECORD];
    size_t got;
    while (status == LOAD_TLS_OK && c->phase >= TALKING && c->phase != CLOSED) {
        status = load_tls_read(c->tls, text, &got, sizeof text, w);
        if (status == LOAD_TLS_OK && c->phase != LEAVING) {
            bool was_holding = c->phase == HOLDING;
            load_talk_take(&c->talk, text, got);
            if (was_holding)
                fail(c, where(c), c->talk.what);
            heed(c);
        }
    }
    if (c->phase == CLOSED)
        return;
    if (status == LOAD_TLS_ENDED)
        ended(c);
    else if (status == LOAD_TLS_FAILED)
        fail(c, where(c), load_tls_reason(c->tls));
}

static void take(struct load_client *c, const uint8_t *in, size_t len)
{
    struct load_wire *w = &run_of(c)->wire;
    if (c->phase != HOLDING && c->phase != LEAVING)
        progress(c);
    if (c->tls == NULL && c->phase != LEAVING) {
        bool was_holding = c->phase == HOLDING;
        load_talk_take(&c->talk, in, len);
        if (was_holding)
            fail(c, where(c), c->talk.what);
        heed(c);
    } else if (c->tls != NULL) {
        w->in = in;
        w->in_len = len;
        if (c->phase == HANDSHAKING)
            go_on_with_handshake(c);
        if (c->phase > HANDSHAKING)
            take_records(c);
        w->in_len = 0;
    }
    pump(c);
}

static void on_read(uv_stream_t *stream, ssize_t got, const uv_buf_t *block)
{
    struct load_client *c = stream->data;
    if (c->phase == CLOSED || got == 0)
        return;
    if (got > 0)
        take(c, (const uint8_t *)block->base, (size_t)got);
    else if (got == UV_EOF)
        ended(c);
    else if (work_of(c)->kind == LOAD_SLOW || c->phase == LEAVING)
        ended(c);
    else
        fail(c, where(c), uv_strerror((int)got));
    flush_staging(c);
}

static void on_block(uv_handle_t *handle, size_t suggested, uv_buf_t *block)
{
    struct load_run *r = run_of(handle->data);
    (void)suggested;
    *block = uv_buf_init((char *)r->block, sizeof r->block);
}

static void on_connected(uv_connect_t *request, int status)
{
    struct load_client *c = request->handle->data;
    struct load_wire *w = &run_of(c)->wire;
    if (c->phase == CLOSED)
        return;
    if (status != 0) {
        fail(c, "connect", uv_strerror(status));
        return;
    }
    progress(c);
    end_phase(c, LOAD_PHASE_CONNECT);
    uv_read_start(stream_of(c), on_block, on_read);
    w->out_len = load_proxy_header(w->out, run_of(c)->plan->proxy, &work_of(c)->server,
                                   run_of(c)->operations);
    if (work_of(c)->security == LOAD_IMPLICIT)
        begin_handshake(c);
    else
        c->phase = TALKING;
    flush_staging(c);
}

/* A port is chosen with the connection, so that one may serve for several servers. */
static int bind_source(struct load_client *c)
{
    const struct load_plan *p = run_of(c)->plan;
    uint32_t span = p->source_last - p->source_first + 1, on = 1;
    struct sockaddr_in from = {.sin_family = AF_INET};
    if (p->source_first == 0)
        return 0;
    from.sin_addr.s_addr = htonl(p->source_first + (uint32_t)(run_of(c)->operations % span));
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return uv_translate_sys_error(errno);
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    int error = bind(fd, (const struct sockaddr *)&from, sizeof from) != 0
                    ? uv_translate_sys_error(errno)
                    : uv_tcp_open(&c->tcp, fd);
    if (error != 0)
        close(fd);
    return error;
}

static void begin(struct load_client *c)
{
    int error = bind_source(c);
    if (error == 0)
        error = uv_tcp_connect(&c->connect, &c->tcp, (const struct sockaddr *)&work_of(c)->server,
                               on_connected);
    if (error != 0)
        fail(c, "connect", uv_strerror(error));
    else
        uv_tcp_nodelay(&c->tcp, 1);
}

bool load_client_start(struct load_stream *s, struct load_job *j, uint64_t intended)
{
    struct load_run *r = s->run;
    const struct load_plan *p = r->plan;
    struct load_client *c = calloc(1, sizeof *c);
    const struct load_user *user =
        p->users_count > 0 ? &p->users[r->operations % p->users_count] : NULL;
    if (c == NULL)
        return false;
    r->operations++;
    c->stream = s;
    c->job = j;
    c->intended = intended;
    c->started = c->mark = uv_hrtime();
    c->measured = s->is_idle || (r->state == LOAD_MEASURING && intended >= r->measuring_from);
    load_talk_init(&c->talk, &j->script, user != NULL ? user->login : NULL,
                   user != NULL ? user->password : NULL, r->operations);
    uv_tcp_init(&r->loop, &c->tcp);
    c->tcp.data = c;
    enter_list(c);
    progress(c);
    begin(c);
    return true;
}

static void drip_in_time(struct load_client *c, uint64_t now)
{
    if (now < c->next_drip || c->phase == CONNECTING || c->phase == LEAVING)
        return;
    c->next_drip = now + work_of(c)->interval;
    c->allowance = work_of(c)->octets;
    if (drips_handshake(c))
        drip(c);
    else {
        if (c->phase == TALKING && load_talk_next(&c->talk) != NULL)
            progress(c);
        pump(c);
        flush_staging(c);
    }
}

void load_client_tick(struct load_client *c, uint64_t now)
{
    if (work_of(c)->kind == LOAD_SLOW)
        drip_in_time(c, now);
    if (now < c->deadline || c->phase == CLOSED)
        return;
    if (c->phase == LEAVING)
        close_client(c);
    else
        fail(c, where(c), "nothing happened for the whole timeout");
}

void load_client_abandon(struct load_client *c)
{
    bool ends_well = c->phase == HOLDING || c->phase == LEAVING;
    c->job->tally->unfinished += !ends_well && c->measured;
    close_client(c);
}
