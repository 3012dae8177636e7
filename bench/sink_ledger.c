#include "bench/sink_ledger.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST_ENTRIES = 1024 };

/* Newest first: it is nearly always that one. */
static struct sink_run *run_with(const struct sink_ledger *l, uint64_t id)
{
    for (size_t i = l->count; i > 0; i--)
        if (l->runs[i - 1].id == id)
            return &l->runs[i - 1];
    return NULL;
}

static struct sink_run *new_run(struct sink_ledger *l, uint64_t id)
{
    if (l->runs == NULL)
        l->runs = calloc(SINK_LEDGER_RUNS_MAX, sizeof *l->runs);
    if (l->runs == NULL || l->count == SINK_LEDGER_RUNS_MAX)
        return NULL;
    l->runs[l->count] = (struct sink_run){.id = id};
    return &l->runs[l->count++];
}

static bool make_room(struct sink_ledger *l, struct sink_run *r, uint64_t number)
{
    size_t wanted = r->capacity == 0 ? FIRST_ENTRIES : r->capacity;
    if (number < r->capacity)
        return true;
    if (number >= SINK_LEDGER_ENTRIES_MAX)
        return false;
    while (wanted <= number)
        wanted *= 2;
    if (l->capacity - r->capacity + wanted > SINK_LEDGER_ENTRIES_MAX)
        return false;
    struct sink_entry *entries = realloc(r->entries, wanted * sizeof *entries);
    if (entries == NULL)
        return false;
    memset(entries + r->capacity, 0, (wanted - r->capacity) * sizeof *entries);
    l->capacity += wanted - r->capacity;
    r->entries = entries;
    r->capacity = wanted;
    return true;
}

bool sink_ledger_enter(struct sink_ledger *l, uint64_t run, uint64_t number, uint64_t octets,
                       uint64_t digest)
{
    struct sink_run *r = run_with(l, run);
    if (r == NULL)
        r = new_run(l, run);
    if (r == NULL || !make_room(l, r, number))
        return false;
    struct sink_entry *e = &r->entries[number];
    *e = (struct sink_entry){.digest = digest, .octets = octets, .times = e->times + 1};
    r->messages++;
    r->length = number < r->length ? r->length : (size_t)number + 1;
    return true;
}

const struct sink_run *sink_ledger_find(const struct sink_ledger *l, uint64_t run)
{
    return run_with(l, run);
}

void sink_ledger_clear(struct sink_ledger *l)
{
    for (size_t i = 0; i < l->count; i++)
        free(l->runs[i].entries);
    free(l->runs);
    *l = (struct sink_ledger){0};
}
