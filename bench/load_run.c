#include "bench/load_run.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

#include "bench/load_client.h"
#include "bench/load_report.h"
#include "bench/load_value.h"

static double cpu_seconds(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static double since(const struct load_run *r)
{
    return (double)(uv_hrtime() - r->began) / 1e9;
}

static void tell(const struct load_run *r, const char *event, int sessions)
{
    if (r->plan->events)
        load_report_event(stdout, event, since(r), sessions);
}

static bool has_other_than_idle(const struct load_run *r)
{
    for (unsigned i = 0; i < r->streams_count; i++)
        if (!r->streams[i].is_idle)
            return true;
    return false;
}

static uint64_t longest_hold(const struct load_run *r)
{
    uint64_t longest = 0;
    for (unsigned i = 0; i < r->plan->works_count; i++) {
        const struct load_work *w = &r->plan->works[i];
        longest = w->kind == LOAD_IDLE && w->hold > longest ? w->hold : longest;
    }
    return longest;
}

static void each_client(struct load_run *r, void (*visit)(struct load_client *c))
{
    struct load_client *c = r->clients, *next;
    for (; c != NULL; c = next) {
        next = load_client_next(c);
        visit(c);
    }
}

static void close_handle(uv_handle_t *handle, void *arg)
{
    (void)arg;
    if (!uv_is_closing(handle) && handle->type != UV_TCP)
        uv_close(handle, NULL);
}

static void end(struct load_run *r)
{
    if (r->state == LOAD_OVER)
        return;
    r->state = LOAD_OVER;
    each_client(r, load_client_abandon);
    uv_walk(&r->loop, close_handle, NULL);
}

static void abandon_if_patient(struct load_client *c)
{
    if (load_client_is_patient(c))
        load_client_abandon(c);
}

static void stop_measuring(struct load_run *r)
{
    if (r->state >= LOAD_DRAINING)
        return;
    if (r->state != LOAD_MEASURING) {
        r->measuring_from = uv_hrtime();
        r->cpu_from = cpu_seconds();
    }
    r->measuring_to = uv_hrtime();
    r->cpu_to = cpu_seconds();
    r->state = LOAD_DRAINING;
    r->drain_until = r->measuring_to + r->plan->timeout;
    tell(r, "measured", -1);
    if (r->holding > 0)
        tell(r, "released", -1);
    for (unsigned i = 0; i < r->streams_count; i++)
        load_stream_stop(&r->streams[i]);
    each_client(r, abandon_if_patient);
    if (r->clients == NULL)
        end(r);
}

static void on_measured(uv_timer_t *timer)
{
    stop_measuring(timer->data);
}

static void measure(struct load_run *r)
{
    r->state = LOAD_MEASURING;
    r->measuring_from = uv_hrtime();
    r->cpu_from = cpu_seconds();
    tell(r, "measuring", -1);
    uv_update_time(&r->loop);
    bool others = has_other_than_idle(r);
    uint64_t length = others ? r->plan->duration : longest_hold(r);
    if (r->plan->count == 0 || !others)
        uv_timer_start(&r->moment, on_measured, length / 1000000, 0);
}

static void on_warm(uv_timer_t *timer)
{
    struct load_run *r = timer->data;
    measure(r);
    for (unsigned i = 0; i < r->streams_count; i++)
        if (r->plan->warmup == 0)
            load_stream_begin(&r->streams[i]);
}

static void warm_up(struct load_run *r)
{
    r->state = LOAD_WARMING;
    if (r->plan->warmup == 0 || !has_other_than_idle(r)) {
        on_warm(&r->moment);
        return;
    }
    for (unsigned i = 0; i < r->streams_count; i++)
        load_stream_begin(&r->streams[i]);
    uv_timer_start(&r->moment, on_warm, r->plan->warmup / 1000000, 0);
}

/* Idle sessions come first; whatever else is to be done is done beside them. */
static void check_filled(struct load_run *r)
{
    unsigned open = 0;
    if (r->state != LOAD_FILLING)
        return;
    for (unsigned i = 0; i < r->streams_count; i++) {
        const struct load_stream *s = &r->streams[i];
        if (s->is_idle && s->opened < s->limit)
            return;
        open += s->is_idle ? s->open : 0;
    }
    if (open > r->holding)
        return;
    if (r->to_hold > 0)
        tell(r, "holding", (int)r->holding);
    warm_up(r);
}

static void check_over(struct load_run *r)
{
    const struct load_plan *p = r->plan;
    bool counted = p->count > 0 && r->started >= p->count;
    if (r->state == LOAD_MEASURING && counted && r->open == r->holding)
        stop_measuring(r);
    else if (r->state == LOAD_DRAINING && r->clients == NULL)
        end(r);
}

void load_run_greeted(struct load_run *r, struct load_stream *s)
{
    if (r->state < LOAD_DRAINING && !s->is_open)
        load_stream_fill(s);
}

void load_run_held(struct load_run *r)
{
    check_filled(r);
}

void load_run_closed(struct load_run *r, struct load_stream *s, bool failed)
{
    s->open--;
    /* A place that failed rests until the next tick, or a server that is away would keep us busy.
     */
    s->resting += failed;
    if (r->state == LOAD_OVER)
        return;
    load_stream_fill(s);
    check_filled(r);
    check_over(r);
}

static void on_tick(uv_timer_t *timer)
{
    struct load_run *r = timer->data;
    uint64_t now = uv_hrtime();
    struct load_client *c = r->clients, *next;
    for (; c != NULL; c = next) {
        next = load_client_next(c);
        load_client_tick(c, now);
    }
    for (unsigned i = 0; i < r->streams_count; i++) {
        r->streams[i].resting = 0;
        load_stream_fill(&r->streams[i]);
    }
    check_over(r);
    if (r->state == LOAD_DRAINING && now > r->drain_until)
        end(r);
    if (!r->plan->quiet && isatty(STDERR_FILENO))
        load_report_progress(stderr, r, since(r));
}

/* The first one ends the measuring, or the holding; the second one all. */
static void on_signal(uv_signal_t *handle, int number)
{
    struct load_run *r = handle->data;
    (void)number;
    if (r->state < LOAD_DRAINING)
        stop_measuring(r);
    else
        end(r);
}

static void allow_many_connections(void)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
}

/* A server need not take the tickets that another one gave. */
static unsigned shelf_of(const struct load_plan *p, unsigned i)
{
    unsigned shelf = 0;
    while (memcmp(&p->works[shelf].server, &p->works[i].server, sizeof p->server) != 0)
        shelf++;
    return shelf;
}

static bool prepare_job(struct load_run *r, unsigned i)
{
    struct load_job *j = &r->jobs[i];
    j->index = i;
    j->shelf = shelf_of(r->plan, i);
    j->work = &r->plan->works[i];
    j->tally = calloc(1, sizeof *j->tally);
    j->script = (struct load_script){j->work, &j->messages, &j->envelope, r->id};
    return j->tally != NULL &&
           (!load_work_sends(j->work) ||
            (load_messages_make(&j->messages, j->work->size, j->work->chunked) &&
             load_envelope_make(&j->envelope, j->work)));
}

static struct load_stream *new_stream(struct load_run *r, double rate, unsigned concurrency)
{
    struct load_stream *s = &r->streams[r->streams_count++];
    s->run = r;
    s->timer = -1;
    s->is_open = rate > 0;
    s->rate = rate;
    s->limit = s->is_open ? r->plan->max_open : concurrency;
    s->random.state = r->plan->seed + r->streams_count * UINT64_C(1000003);
    return s;
}

static void join_stream(struct load_stream *s, struct load_job *j)
{
    s->weights[s->jobs_count] = j->work->weight;
    s->jobs[s->jobs_count++] = j;
}

static void prepare_streams(struct load_run *r)
{
    const struct load_plan *p = r->plan;
    struct load_stream *shared = NULL;
    for (unsigned i = 0; i < p->works_count; i++) {
        const struct load_work *w = &p->works[i];
        struct load_stream *s = shared;
        if (w->kind == LOAD_IDLE) {
            s = new_stream(r, 0, w->concurrency > 0 ? w->concurrency : p->concurrency);
            s->is_idle = true;
            r->to_hold += s->limit;
        } else if (w->rate > 0 || w->concurrency > 0) {
            s = new_stream(r, w->rate, w->concurrency);
        } else if (shared == NULL) {
            s = shared = new_stream(r, p->rate, p->concurrency);
        }
        join_stream(s, &r->jobs[i]);
    }
}

static bool needs_tls(const struct load_plan *p)
{
    for (unsigned i = 0; i < p->works_count; i++)
        if (p->works[i].security != LOAD_PLAINTEXT)
            return true;
    return false;
}

static bool prepare_tls(struct load_run *r, char reason[LOAD_ERROR_MAX])
{
    const struct load_plan *p = r->plan;
    const struct load_tls_settings settings = {p->insecure ? NULL : p->ca, p->name, p->tls_max};
    if (needs_tls(p))
        r->tls = load_tls_context_new(reason, &settings);
    return r->tls != NULL || !needs_tls(p);
}

static bool prepare_loop(struct load_run *r)
{
    static const int numbers[] = {SIGINT, SIGTERM};
    bool good = uv_loop_init(&r->loop) == 0 && uv_timer_init(&r->loop, &r->tick) == 0 &&
                uv_timer_init(&r->loop, &r->moment) == 0;
    r->tick.data = r->moment.data = r;
    for (size_t i = 0; i < 2; i++) {
        good = good && uv_signal_init(&r->loop, &r->signals[i]) == 0;
        r->signals[i].data = r;
        good = good && uv_signal_start(&r->signals[i], on_signal, numbers[i]) == 0;
    }
    for (unsigned i = 0; i < r->streams_count; i++)
        good = good && load_stream_prepare(&r->streams[i]);
    return good;
}

bool load_run_prepare(struct load_run *r, char reason[LOAD_ERROR_MAX], const struct load_plan *plan)
{
    r->plan = plan;
    r->wire.out = r->staging;
    r->wire.out_cap = sizeof r->staging;
    allow_many_connections();
    if (!prepare_tls(r, reason))
        return false;
    bool good = getrandom(&r->id, sizeof r->id, 0) == sizeof r->id;
    for (unsigned i = 0; i < plan->works_count; i++)
        good = good && prepare_job(r, i);
    prepare_streams(r);
    if (good && prepare_loop(r))
        return true;
    snprintf(reason, LOAD_ERROR_MAX, "Out of memory or of descriptors before it began.");
    return false;
}

void load_run(struct load_run *r)
{
    r->began = uv_hrtime();
    r->state = LOAD_FILLING;
    uv_timer_start(&r->tick, on_tick, LOAD_TICK_MS, LOAD_TICK_MS);
    for (unsigned i = 0; i < r->streams_count; i++)
        if (r->streams[i].is_idle)
            load_stream_fill(&r->streams[i]);
    check_filled(r);
    uv_run(&r->loop, UV_RUN_DEFAULT);
    uv_loop_close(&r->loop);
}

void load_run_free(struct load_run *r)
{
    for (unsigned i = 0; i < r->streams_count; i++)
        load_stream_free(&r->streams[i]);
    for (unsigned i = 0; i < r->plan->works_count; i++) {
        load_messages_free(&r->jobs[i].messages);
        load_envelope_free(&r->jobs[i].envelope);
        free(r->jobs[i].tally);
    }
    load_ledger_free(&r->ledger);
    load_tls_context_free(r->tls);
}
