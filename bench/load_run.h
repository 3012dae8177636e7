/* A run: streams of operations on one loop, until it is over. A driver. */
#ifndef VESTIBULE_BENCH_LOAD_RUN_H
#define VESTIBULE_BENCH_LOAD_RUN_H

#include <stdio.h>
#include <uv.h>

#include "bench/load_ledger.h"
#include "bench/load_plan.h"
#include "bench/load_schedule.h"
#include "bench/load_talk.h"
#include "bench/load_tally.h"
#include "bench/load_tls.h"

enum { LOAD_BLOCK = 65536, LOAD_STAGING = 262144, LOAD_TICK_MS = 100 };

/* A work of the plan, and what it needs and yields. */
struct load_job {
    unsigned index;
    unsigned shelf; /* of tickets: the first job with that server's index */
    const struct load_work *work;
    struct load_messages messages;
    struct load_envelope envelope;
    struct load_script script;
    struct load_tally *tally;
};

struct load_client;

/* Works that share arrivals (open loop) or places (closed loop). */
struct load_stream {
    struct load_run *run;
    struct load_job *jobs[LOAD_LEDGER_WORKS];
    unsigned weights[LOAD_LEDGER_WORKS];
    unsigned jobs_count;
    bool is_open;
    bool is_idle; /* its operations are opened once and held */
    double rate;
    unsigned limit;   /* connections at a time */
    unsigned open;    /* of these, until each is closed */
    unsigned resting; /* places that failed a moment ago */
    unsigned opened;  /* is_idle: so far */
    struct load_random random;
    struct load_schedule schedule;
    uv_poll_t arrivals;
    int timer;         /* a timerfd: libuv's own timers know milliseconds only */
    uint64_t *waiting; /* intended starts, a ring */
    size_t waiting_first, waiting_count;
};

enum load_state {
    LOAD_FILLING, /* idle sessions are being opened */
    LOAD_WARMING,
    LOAD_MEASURING,
    LOAD_DRAINING, /* nothing new starts */
    LOAD_OVER,
};

struct load_run {
    const struct load_plan *plan;
    struct load_tls_context *tls; /* NULL: no work needs it */
    uv_loop_t loop;
    uv_timer_t tick;
    uv_timer_t moment; /* when the state changes */
    uv_signal_t signals[2];
    enum load_state state;
    uint64_t id;
    uint64_t began;
    uint64_t measuring_from, measuring_to;
    double cpu_from, cpu_to;
    struct load_job jobs[LOAD_LEDGER_WORKS];
    struct load_stream streams[LOAD_LEDGER_WORKS + 1];
    unsigned streams_count;
    struct load_client *clients; /* a list */
    unsigned open, open_max;
    unsigned opening; /* not yet greeted */
    unsigned holding, to_hold;
    uint64_t started; /* in the measured time */
    uint64_t operations;
    uint64_t drain_until;
    struct load_ledger ledger;
    struct load_wire wire; /* its output is empty between events */
    uint8_t block[LOAD_BLOCK];
    uint8_t staging[LOAD_STAGING];
};

/* False: reason is one sentence. */
bool load_run_prepare(struct load_run *r, char reason[LOAD_ERROR_MAX],
                      const struct load_plan *plan);
void load_run(struct load_run *r); /* to its end */
void load_run_free(struct load_run *r);

/* Starts what may start now. */
void load_stream_fill(struct load_stream *s);
void load_stream_begin(struct load_stream *s); /* an open loop's arrivals */
void load_stream_stop(struct load_stream *s);
/* Asks for what a stream needs of the kernel; false: it has none. */
bool load_stream_prepare(struct load_stream *s);
void load_stream_free(struct load_stream *s);

/* What clients tell. */
void load_run_greeted(struct load_run *r, struct load_stream *s);
void load_run_held(struct load_run *r);
void load_run_closed(struct load_run *r, struct load_stream *s, bool failed);

static inline bool load_run_starts(const struct load_run *r)
{
    return r->state < LOAD_DRAINING;
}

#endif
