/* What the sink's connections share. */
#ifndef VESTIBULE_BENCH_SINK_SERVER_H
#define VESTIBULE_BENCH_SINK_SERVER_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "bench/sink_fault.h"
#include "bench/sink_ledger.h"

struct sink_client;
struct sink_asker;

struct sink_counts {
    uint64_t sessions;
    uint64_t open_max;
    uint64_t commands;
    uint64_t messages;
    uint64_t octets;
    uint64_t rejected;
    uint64_t aborted;
    uint64_t xclient;
    uint64_t unlisted;
};

struct sink {
    const char *directory; /* NULL: messages are counted, not kept */
    bool quiet;
    bool auth;
    bool xclient;
    bool proxy;
    bool chunking;
    uint64_t size_max;
    struct sink_faults faults;

    uv_loop_t loop;
    uv_tcp_t listener;
    uv_tcp_t control;
    uv_signal_t signals[3];
    uint64_t numbers;  /* given to clients, never anew */
    uint64_t messages; /* begun: the N of a file's name */
    uint64_t open;
    struct sink_counts counts;
    struct sink_ledger ledger;
    struct sink_client *clients; /* a list of all that are open */
    struct sink_asker *askers;
    uint8_t block[65536]; /* what was read; used up before the next read */
};

#endif
