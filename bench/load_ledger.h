/* Which messages were offered and which of them the server took on; and what the sink says about
 * each. Pure: it only allocates. */
#ifndef VESTIBULE_BENCH_LOAD_LEDGER_H
#define VESTIBULE_BENCH_LOAD_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LOAD_LEDGER_MAX = 4 * 1024 * 1024, LOAD_LEDGER_WORKS = 16 };

/* Zero state: all zero. */
struct load_ledger {
    uint8_t *marks; /* a number's work and what became of it */
    size_t capacity;
    uint64_t next; /* number to be given */
};

struct load_ledger_sums {
    uint64_t offered;
    uint64_t accepted;
    uint64_t delivered;
    uint64_t lost;
    uint64_t twice;
    uint64_t altered;
    uint64_t unconfirmed;
    bool has_example;
    uint64_t example; /* the number of one that is lost, twice or altered */
};

/* A message of that work (below LOAD_LEDGER_WORKS) gets a number. Beyond LOAD_LEDGER_MAX, or short
 * of memory, it is not followed. */
uint64_t load_ledger_number(struct load_ledger *l, unsigned work);
void load_ledger_offered(struct load_ledger *l, uint64_t number);
void load_ledger_accepted(struct load_ledger *l, uint64_t number);

/* False: it was never offered. */
bool load_ledger_was_offered(const struct load_ledger *l, unsigned *work, bool *accepted,
                             uint64_t number);

/* One that the sink has, so many times, unharmed or not. */
void load_ledger_found(struct load_ledger *l, struct load_ledger_sums *sums, uint64_t number,
                       uint64_t times, bool unharmed);
/* Once all have been found: what is missing. */
void load_ledger_close(struct load_ledger *l, struct load_ledger_sums *sums);

void load_ledger_free(struct load_ledger *l);

#endif
