/* What came out of a work. Pure. */
#ifndef VESTIBULE_BENCH_LOAD_TALLY_H
#define VESTIBULE_BENCH_LOAD_TALLY_H

#include <stddef.h>
#include <stdint.h>

#include "bench/load_histogram.h"

enum load_phase {
    LOAD_PHASE_CONNECT,
    LOAD_PHASE_TLS,
    LOAD_PHASE_GREETING,
    LOAD_PHASE_EHLO,
    LOAD_PHASE_AUTH,
    LOAD_PHASE_MESSAGE,
    LOAD_PHASES,
};

enum { LOAD_ERRORS_MAX = 16, LOAD_REPLIES_MAX = 8, LOAD_WHERE_MAX = 16, LOAD_TEXT_MAX = 160 };

struct load_error {
    char where[LOAD_WHERE_MAX];
    char what[LOAD_TEXT_MAX];
    uint64_t count;
};

struct load_reply {
    unsigned code;
    uint64_t count;
};

/* Zero state: all zero. Large: never on the stack. */
struct load_tally {
    uint64_t ops;
    uint64_t failed;
    uint64_t unfinished;
    uint64_t ended;
    uint64_t late;
    uint64_t primers;
    uint64_t ended_by_server;
    uint64_t resumed;
    uint64_t messages;
    uint64_t octets;
    struct load_error errors[LOAD_ERRORS_MAX]; /* the last one takes what finds no place */
    size_t errors_count;
    struct load_reply replies[LOAD_REPLIES_MAX];
    size_t replies_count;
    struct load_histogram latency;
    struct load_histogram service;
    struct load_histogram phases[LOAD_PHASES];
};

void load_tally_error(struct load_tally *t, const char *where, const char *what);
void load_tally_sort_errors(struct load_tally *t); /* the most frequent first */
void load_tally_reply(struct load_tally *t, unsigned code);

const char *load_phase_name(enum load_phase phase);

#endif
