#include <errno.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "bench/load_client.h"
#include "bench/load_run.h"

enum { WAITING_MAX = 1 << 20 };

static bool start_one(struct load_stream *s, uint64_t intended)
{
    struct load_run *r = s->run;
    struct load_job *job = s->jobs[load_choose(&s->random, s->weights, s->jobs_count)];
    if (!load_client_start(s, job, intended))
        return false;
    s->open++;
    r->started += r->state == LOAD_MEASURING && !s->is_idle;
    return true;
}

static bool may_start(const struct load_stream *s)
{
    const struct load_run *r = s->run;
    bool enough = r->plan->count > 0 && r->started >= r->plan->count;
    if (s->is_idle)
        return r->state == LOAD_FILLING && s->opened < s->limit && r->opening < r->plan->opening;
    return load_run_starts(r) && r->state != LOAD_FILLING && !enough &&
           s->open + s->resting < s->limit;
}

static void fill_open(struct load_stream *s)
{
    while (s->waiting_count > 0 && may_start(s)) {
        if (!start_one(s, s->waiting[s->waiting_first]))
            return;
        s->waiting_first = (s->waiting_first + 1) % WAITING_MAX;
        s->waiting_count--;
    }
}

static void fill_closed(struct load_stream *s)
{
    while (may_start(s) && s->run->opening < s->run->plan->opening) {
        if (!start_one(s, uv_hrtime()))
            return;
        s->opened++;
    }
}

void load_stream_fill(struct load_stream *s)
{
    if (s->is_open)
        fill_open(s);
    else
        fill_closed(s);
}

static void set_timer(struct load_stream *s)
{
    uint64_t due = load_schedule_due(&s->schedule);
    struct itimerspec when = {
        .it_value = {.tv_sec = (time_t)(due / 1000000000), .tv_nsec = (long)(due % 1000000000)}};
    timerfd_settime(s->timer, TFD_TIMER_ABSTIME, &when, NULL);
}

/* What must wait for a place keeps the time at which it should have had one. */
static void arrive(struct load_stream *s, uint64_t intended)
{
    struct load_tally *tally = s->jobs[0]->tally;
    if (s->waiting_count == WAITING_MAX) {
        load_tally_error(tally, "schedule", "more than a million operations wait");
        return;
    }
    s->waiting[(s->waiting_first + s->waiting_count) % WAITING_MAX] = intended;
    s->waiting_count++;
    load_stream_fill(s);
    tally->late += s->waiting_count > 0 && load_run_starts(s->run);
}

static void on_due(uv_poll_t *poll, int status, int events)
{
    struct load_stream *s = poll->data;
    uint64_t expirations, now;
    (void)status, (void)events;
    if (read(s->timer, &expirations, sizeof expirations) < 0 && errno != EAGAIN)
        return;
    now = uv_hrtime();
    while (load_schedule_due(&s->schedule) <= now && load_run_starts(s->run)) {
        uint64_t intended = load_schedule_due(&s->schedule);
        load_schedule_advance(&s->schedule);
        arrive(s, intended);
    }
    if (load_run_starts(s->run))
        set_timer(s);
}

bool load_stream_prepare(struct load_stream *s)
{
    s->timer = -1;
    if (!s->is_open)
        return true;
    s->waiting = malloc(WAITING_MAX * sizeof *s->waiting);
    s->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (s->waiting == NULL || s->timer < 0)
        return false;
    s->arrivals.data = s;
    return uv_poll_init(&s->run->loop, &s->arrivals, s->timer) == 0;
}

void load_stream_begin(struct load_stream *s)
{
    if (!s->is_open) {
        load_stream_fill(s);
        return;
    }
    load_schedule_init(&s->schedule, s->rate, s->run->plan->poisson, uv_hrtime(),
                       load_random_next(&s->random));
    uv_poll_start(&s->arrivals, UV_READABLE, on_due);
    set_timer(s);
}

void load_stream_stop(struct load_stream *s)
{
    if (s->is_open)
        uv_poll_stop(&s->arrivals);
    s->jobs[0]->tally->unfinished += s->waiting_count;
    s->waiting_count = 0;
}

void load_stream_free(struct load_stream *s)
{
    if (s->timer >= 0)
        close(s->timer);
    free(s->waiting);
}
