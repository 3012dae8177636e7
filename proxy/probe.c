#include "proxy/probe.h"

#include <stdlib.h>

#include "proxy/limits.h"
#include "proxy/log.h"
#include "proxy/proxy_header.h"
#include "proxy/reply.h"
#include "proxy/socket.h"

#define PROBE_AGAIN_MS 300000 /* what an MTA offers changes with its configuration, rarely */
#define PROBE_RETRY_MIN_MS 500
#define PROBE_RETRY_MAX_MS 30000

enum ask { ASK_BANNER, ASK_EHLO, ASK_HELO };

struct question {
    struct probe *probe;
    size_t index; /* of the upstream */
    const char *helo;
    struct upstream_target target;
    uint64_t reply_timeout;
    struct upstream *upstream;
    uv_timer_t timer;
    uint64_t retry;
    enum ask ask;
    struct buf in;
    struct buf out;
    bool said_away;
    bool settled; /* it answered or failed to, once */
};

struct probe {
    struct worker *worker;
    size_t count;
    size_t open; /* timers that libuv still holds */
    struct question question[];
};

static void on_timer(uv_timer_t *timer);

static void hang_up(struct question *q, uint64_t again)
{
    if (q->upstream != NULL)
        upstream_close(q->upstream);
    q->upstream = NULL;
    buf_clear(&q->in);
    buf_clear(&q->out);
    q->settled = true;
    uv_timer_start(&q->timer, on_timer, again, 0);
}

static void not_now(struct question *q, const char *why)
{
    if (!q->said_away)
        log_say(LOG_LEVEL_WARNING, "mta_away",
                "the MTA of upstream %s %s; asking again until it answers",
                q->probe->worker->front->conf->upstream[q->index].name, why);
    q->said_away = true;
    hang_up(q, q->retry);
    q->retry = q->retry * 2 > PROBE_RETRY_MAX_MS ? PROBE_RETRY_MAX_MS : q->retry * 2;
}

static void learnt(struct question *q, const struct reply *r, bool esmtp)
{
    struct capabilities c;
    capabilities_learn(&c, r, esmtp);
    worker_learnt(q->probe->worker, q->index, &c);
    if (q->said_away)
        log_say(LOG_LEVEL_INFO, "mta_back", "the MTA of upstream %s answers",
                q->probe->worker->front->conf->upstream[q->index].name);
    q->said_away = false;
    q->retry = PROBE_RETRY_MIN_MS;
    (void)buf_text(&q->out, "QUIT\r\n");
    (void)socket_drain(upstream_fd(q->upstream), &q->out);
    hang_up(q, PROBE_AGAIN_MS);
}

static void say(struct question *q, enum ask ask, const char *verb)
{
    q->ask = ask;
    (void)buf_printf(&q->out, "%s %s\r\n", verb, q->helo);
}

/* False: the question is over. */
static bool take_reply(struct question *q, const struct reply *r)
{
    bool good = r->code / 100 == 2;
    if (q->ask == ASK_BANNER && good)
        say(q, ASK_EHLO, "EHLO");
    else if (q->ask == ASK_EHLO && r->code / 100 == 5)
        say(q, ASK_HELO, "HELO");
    else if (q->ask != ASK_BANNER && good)
        learnt(q, r, q->ask == ASK_EHLO);
    else
        not_now(q, "refuses the conversation");
    return q->upstream != NULL;
}

static void take_bytes(struct question *q)
{
    for (;;) {
        enum socket_status status = socket_fill(upstream_fd(q->upstream), &q->in, LIMIT_MTA_IN);
        if (status == SOCKET_BLOCKED)
            return;
        struct reply r;
        enum reply_status parsed =
            status == SOCKET_MOVED ? reply_parse(&r, buf_data(&q->in), buf_len(&q->in)) : REPLY_BAD;
        if (parsed == REPLY_BAD) {
            not_now(q, status == SOCKET_MOVED ? "does not speak SMTP" : "hung up");
            return;
        }
        if (parsed == REPLY_COMPLETE) {
            size_t len = r.len;
            if (!take_reply(q, &r))
                return;
            buf_consume(&q->in, len);
        }
    }
}

/* An MTA that waits for a PROXY header gets one that speaks for nobody. */
static void introduce(struct question *q)
{
    enum conf_identity identity = q->probe->worker->front->conf->upstream[q->index].identity;
    uint8_t header[PROXY_HEADER_WRITE_MAX];
    if (identity != CONF_IDENTITY_PROXY_V1 && identity != CONF_IDENTITY_PROXY_V2)
        return;
    size_t len =
        proxy_header_write_local(header, identity == CONF_IDENTITY_PROXY_V1 ? PROXY_V1 : PROXY_V2);
    (void)buf_append(&q->out, header, len);
}

static void on_upstream(void *owner, enum upstream_event event, bool readable, bool writable)
{
    struct question *q = owner;
    (void)writable;
    if (event == UPSTREAM_FAILED) {
        not_now(q, "cannot be reached");
        return;
    }
    if (event == UPSTREAM_CONNECTED) {
        introduce(q);
        uv_timer_start(&q->timer, on_timer, q->reply_timeout, 0);
    }
    if (readable)
        take_bytes(q);
    if (q->upstream == NULL)
        return;
    (void)socket_drain(upstream_fd(q->upstream), &q->out);
    upstream_arm(q->upstream, true, buf_len(&q->out) > 0);
}

static void ask_again(struct question *q)
{
    q->ask = ASK_BANNER;
    q->upstream = upstream_open(&q->probe->worker->loop, &q->target, 0, on_upstream, q);
    if (q->upstream == NULL)
        not_now(q, "was not asked: out of memory");
}

static void on_timer(uv_timer_t *timer)
{
    struct question *q = timer->data;
    if (q->upstream != NULL)
        not_now(q, "does not answer in time");
    else
        ask_again(q);
}

struct probe *probe_start(struct worker *w)
{
    const struct conf *conf = w->front->conf;
    struct probe *p = calloc(1, sizeof *p + conf->upstream_count * sizeof p->question[0]);
    if (p == NULL)
        return NULL;
    p->worker = w;
    p->count = p->open = conf->upstream_count;
    for (size_t i = 0; i < p->count; i++) {
        struct question *q = &p->question[i];
        *q = (struct question){
            .probe = p, .index = i, .helo = conf->hostname, .retry = PROBE_RETRY_MIN_MS};
        q->target = (struct upstream_target){.address = w->front->bundle->upstream[i].at,
                                             .address_count = w->front->bundle->upstream[i].count,
                                             .connect_timeout = conf->upstream[i].connect_timeout};
        q->reply_timeout = conf->upstream[i].reply_timeout;
        buf_init(&q->in, LIMIT_MTA_IN);
        buf_init(&q->out, 1024);
        uv_timer_init(&w->loop, &q->timer);
        q->timer.data = q;
        ask_again(q);
    }
    return p;
}

bool probe_settled(const struct probe *p)
{
    for (size_t i = 0; i < p->count; i++)
        if (!p->question[i].settled)
            return false;
    return true;
}

static void on_closed(uv_handle_t *handle)
{
    struct question *q = handle->data;
    struct probe *p = q->probe;
    if (--p->open == 0)
        free(p);
}

void probe_stop(struct probe *p)
{
    for (size_t i = 0; i < p->count; i++) {
        struct question *q = &p->question[i];
        if (q->upstream != NULL)
            upstream_close(q->upstream);
        buf_clear(&q->in);
        buf_clear(&q->out);
        uv_close((uv_handle_t *)&q->timer, on_closed);
    }
}
