#include "proxy/quota.h"

#include <openssl/siphash.h>
#include <stdlib.h>
#include <string.h>

/* One more than a period has: the slice that runs is not whole yet, and neither is the oldest. */
enum { QUOTA_RING = QUOTA_SLICES + 1, QUOTA_WAYS = 8, QUOTA_SETS = QUOTA_KEYS / QUOTA_WAYS };

struct quota_count {
    uint64_t slice; /* the newest; its place in the ring is slice % QUOTA_RING */
    uint32_t sum;
    uint32_t taken[QUOTA_RING];
};

struct quota_entry {
    uint64_t id[2]; /* a keyed hash of the key: two keys with the same one are not to be had */
    struct quota_count count; /* a sum of 0: free */
};

struct quota_set {
    struct quota_entry entries[QUOTA_WAYS];
    struct quota_count shared; /* by keys that found no place */
};

struct quota {
    uint32_t count;
    uint64_t slice_ms;
    uint64_t keys[2][2];
    struct quota_set sets[QUOTA_SETS];
};

struct quota *quota_new(uint32_t count, uint64_t period_ms, const uint8_t key[16])
{
    struct quota *q = calloc(1, sizeof *q);

    if (q == NULL)
        return NULL;
    q->count = count;
    q->slice_ms = period_ms / QUOTA_SLICES + (period_ms % QUOTA_SLICES > 0);
    if (q->slice_ms == 0)
        q->slice_ms = 1;
    memcpy(q->keys[0], key, sizeof q->keys[0]);
    for (uint8_t i = 0; i < 2; i++)
        q->keys[1][i] = SIPHASH_24(q->keys[0], &i, 1);
    return q;
}

void quota_free(struct quota *q)
{
    free(q);
}

void quota_resize(struct quota *q, uint32_t count)
{
    q->count = count;
}

/* Lets go what is too old to count. */
static void quota_advance(struct quota_count *c, uint64_t slice)
{
    if (slice <= c->slice)
        return;
    if (slice - c->slice >= QUOTA_RING) {
        memset(c->taken, 0, sizeof c->taken);
        c->sum = 0;
    } else {
        for (uint64_t s = c->slice + 1; s <= slice; s++) {
            c->sum -= c->taken[s % QUOTA_RING];
            c->taken[s % QUOTA_RING] = 0;
        }
    }
    c->slice = slice;
}

static bool quota_add(struct quota_count *c, uint32_t max, uint32_t amount)
{
    if (amount > max || c->sum > max - amount)
        return false;
    c->taken[c->slice % QUOTA_RING] += amount;
    c->sum += amount;
    return true;
}

static struct quota_entry *quota_find(struct quota_set *set, const uint64_t id[2])
{
    for (size_t i = 0; i < QUOTA_WAYS; i++) {
        struct quota_entry *e = &set->entries[i];
        if (e->count.sum > 0 && e->id[0] == id[0] && e->id[1] == id[1])
            return e;
    }
    return NULL;
}

static struct quota_entry *quota_place(struct quota_set *set)
{
    for (size_t i = 0; i < QUOTA_WAYS; i++) {
        if (set->entries[i].count.sum == 0)
            return &set->entries[i];
    }
    return NULL;
}

/* A key without a count of its own may have taken from the shared one: that is what its own starts
 * with. */
static bool quota_take_first(struct quota_set *set, const uint64_t id[2], uint32_t max,
                             uint32_t amount)
{
    struct quota_entry *e = quota_place(set);
    struct quota_count own = set->shared;

    if (e == NULL)
        return quota_add(&set->shared, max, amount);
    if (!quota_add(&own, max, amount))
        return false;
    *e = (struct quota_entry){.id = {id[0], id[1]}, .count = own};
    return true;
}

bool quota_take(struct quota *q, const void *key, size_t len, uint32_t amount, uint64_t now_ms)
{
    const uint64_t id[2] = {SIPHASH_24(q->keys[0], key, len), SIPHASH_24(q->keys[1], key, len)};
    struct quota_set *set = &q->sets[id[0] % QUOTA_SETS];
    struct quota_entry *e;

    if (amount == 0)
        return true;
    for (size_t i = 0; i < QUOTA_WAYS; i++)
        quota_advance(&set->entries[i].count, now_ms / q->slice_ms);
    quota_advance(&set->shared, now_ms / q->slice_ms);
    e = quota_find(set, id);
    return e != NULL ? quota_add(&e->count, q->count, amount)
                     : quota_take_first(set, id, q->count, amount);
}
