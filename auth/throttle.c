#include "auth/throttle.h"

#include <openssl/siphash.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "auth/source.h"

/* Networks share sets by their hash; within a set the worst stay. 16,384 in all, half a megabyte.
 */
enum { THROTTLE_SETS = 2048, THROTTLE_WAYS = 8 };

/* A minute without a failure takes one doubling back. */
enum { THROTTLE_FADE_MS = 60000 };

struct throttle_entry {
    uint8_t network[16];
    uint64_t since_ms; /* of the last failure, moved on with each step that faded */
    unsigned failures; /* 0: free */
};

struct throttle {
    uint64_t base_ms;
    unsigned failures_max; /* more would not make it longer, only fade later */
    uint64_t key[2];
    struct throttle_entry entries[THROTTLE_SETS][THROTTLE_WAYS];
};

static uint64_t throttle_delay(const struct throttle *t, unsigned failures)
{
    uint64_t delay = t->base_ms;

    for (unsigned i = 1; i < failures && delay < THROTTLE_DELAY_MAX_MS; i++)
        delay *= 2;
    /* whoever configures more than the cap gets what he asked for */
    if (delay > THROTTLE_DELAY_MAX_MS)
        delay = t->base_ms > THROTTLE_DELAY_MAX_MS ? t->base_ms : THROTTLE_DELAY_MAX_MS;
    return delay;
}

struct throttle *throttle_new(uint64_t base_ms, const uint8_t key[16])
{
    struct throttle *t = calloc(1, sizeof *t);

    if (t == NULL)
        return NULL;
    t->base_ms = base_ms;
    memcpy(t->key, key, sizeof t->key);
    t->failures_max = 1;
    while (base_ms > 0 &&
           throttle_delay(t, t->failures_max + 1) > throttle_delay(t, t->failures_max))
        t->failures_max++;
    return t;
}

void throttle_free(struct throttle *t)
{
    free(t);
}

static struct throttle_entry *throttle_set(struct throttle *t, const uint8_t network[16])
{
    return t->entries[SIPHASH_24(t->key, network, 16) % THROTTLE_SETS];
}

static struct throttle_entry *throttle_find(struct throttle_entry *set, const uint8_t network[16])
{
    for (size_t i = 0; i < THROTTLE_WAYS; i++) {
        if (set[i].failures > 0 && memcmp(set[i].network, network, 16) == 0)
            return &set[i];
    }
    return NULL;
}

static void throttle_fade(struct throttle_entry *e, uint64_t now_ms)
{
    uint64_t steps;

    if (e->failures == 0 || now_ms < e->since_ms)
        return;
    steps = (now_ms - e->since_ms) / THROTTLE_FADE_MS;
    if (steps >= e->failures)
        e->failures = 0;
    else
        e->failures -= (unsigned)steps;
    e->since_ms += steps * THROTTLE_FADE_MS;
}

/* A free place, or that of a network which did no worse than the newcomer; NULL: all are worse. */
static struct throttle_entry *throttle_place(struct throttle_entry *set)
{
    struct throttle_entry *mildest = &set[0];

    for (size_t i = 1; i < THROTTLE_WAYS; i++) {
        if (set[i].failures < mildest->failures ||
            (set[i].failures == mildest->failures && set[i].since_ms < mildest->since_ms))
            mildest = &set[i];
    }
    return mildest->failures <= 1 ? mildest : NULL;
}

uint64_t throttle_failure(struct throttle *t, const uint8_t address[16], uint64_t now_ms)
{
    uint8_t network[16];
    struct throttle_entry *set;
    struct throttle_entry *e;

    source_of(network, address);
    set = throttle_set(t, network);
    for (size_t i = 0; i < THROTTLE_WAYS; i++)
        throttle_fade(&set[i], now_ms);
    e = throttle_find(set, network);
    if (e == NULL) {
        e = throttle_place(set);
        if (e == NULL)
            return throttle_delay(t, 1);
        memcpy(e->network, network, sizeof e->network);
        e->failures = 0;
    }
    if (e->failures < t->failures_max)
        e->failures++;
    e->since_ms = now_ms;
    return throttle_delay(t, e->failures);
}

void throttle_success(struct throttle *t, const uint8_t address[16])
{
    uint8_t network[16];
    struct throttle_entry *e;

    source_of(network, address);
    e = throttle_find(throttle_set(t, network), network);
    if (e != NULL)
        e->failures = 0;
}
