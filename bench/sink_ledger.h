/* Which messages came, how often, and with what in them. Pure: it only allocates. */
#ifndef VESTIBULE_BENCH_SINK_LEDGER_H
#define VESTIBULE_BENCH_SINK_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SINK_LEDGER_ENTRIES_MAX = 4 * 1024 * 1024, /* of all runs together */
    SINK_LEDGER_RUNS_MAX = 1024,
};

/* One message; times 0: none with that number. */
struct sink_entry {
    uint64_t digest; /* of the last that came */
    uint64_t octets;
    uint32_t times;
};

/* Numbers count from 0, so an array will do: entries[number]. */
struct sink_run {
    uint64_t id;
    uint64_t messages; /* that came, repeated ones too */
    struct sink_entry *entries;
    size_t length;
    size_t capacity;
};

/* Zero state: all zero. */
struct sink_ledger {
    struct sink_run *runs;
    size_t count;
    size_t capacity; /* entries of all runs */
};

/* False: full, or short of memory; nothing is entered then. */
bool sink_ledger_enter(struct sink_ledger *l, uint64_t run, uint64_t number, uint64_t octets,
                       uint64_t digest);

/* NULL: no message of it came. */
const struct sink_run *sink_ledger_find(const struct sink_ledger *l, uint64_t run);

void sink_ledger_clear(struct sink_ledger *l);

#endif
