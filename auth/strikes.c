#include "auth/strikes.h"

#include <stdlib.h>
#include <string.h>

/* In sets by their hash. */
enum { STRIKES_WAYS = 8, STRIKES_SETS = STRIKES_MAX / STRIKES_WAYS };

struct strikes_mark {
    struct strikes_offence offence;
    uint64_t at_ms;
};

struct strikes_entry {
    uint64_t who;      /* 0: free */
    uint64_t last_ms;  /* of the last offence */
    uint64_t until_ms; /* 0: not locked out */
    uint32_t seen_count;
    uint32_t older; /* those that `seen` has no place for any more */
    uint64_t older_ms;
    char *name;
    struct strikes_mark seen[STRIKES_SEEN]; /* the oldest first */
};

struct strikes {
    struct strikes_entry entries[STRIKES_SETS][STRIKES_WAYS];
};

struct strikes *strikes_new(void)
{
    return calloc(1, sizeof(struct strikes));
}

static void strikes_clear(struct strikes_entry *e)
{
    free(e->name);
    memset(e, 0, sizeof *e);
}

void strikes_free(struct strikes *s)
{
    for (size_t i = 0; s != NULL && i < STRIKES_SETS; i++)
        for (size_t k = 0; k < STRIKES_WAYS; k++)
            free(s->entries[i][k].name);
    free(s);
}

static const struct strikes_entry *strikes_find(const struct strikes *s, uint64_t who)
{
    const struct strikes_entry *set = s->entries[who % STRIKES_SETS];

    for (size_t i = 0; i < STRIKES_WAYS; i++)
        if (set[i].who == who)
            return &set[i];
    return NULL;
}

static struct strikes_entry *strikes_at(struct strikes *s, uint64_t who)
{
    return (struct strikes_entry *)strikes_find(s, who);
}

static uint32_t strikes_count(const struct strikes_entry *e)
{
    return e->seen_count + e->older;
}

/* A clock that stepped back makes nothing older. */
static bool strikes_too_old(uint64_t at_ms, uint64_t period_ms, uint64_t now_ms)
{
    return now_ms > at_ms && now_ms - at_ms >= period_ms;
}

/* What is too old to count goes; who has nothing left and is not locked out leaves his place. */
static void strikes_age(struct strikes_entry *e, uint64_t period_ms, uint64_t now_ms)
{
    uint32_t gone = 0;

    if (e->until_ms > now_ms)
        return;
    if (e->until_ms != 0) { /* a lock-out that is over wipes the slate clean */
        strikes_clear(e);
        return;
    }
    while (gone < e->seen_count && strikes_too_old(e->seen[gone].at_ms, period_ms, now_ms))
        gone++;
    e->seen_count -= gone;
    memmove(e->seen, e->seen + gone, e->seen_count * sizeof e->seen[0]);
    if (strikes_too_old(e->older_ms, period_ms, now_ms))
        e->older = 0;
    if (e->who != 0 && strikes_count(e) == 0)
        strikes_clear(e);
}

/* Milder is who is not locked out, has fewer, has been quiet for longer. */
static bool strikes_milder(const struct strikes_entry *a, const struct strikes_entry *b)
{
    if ((a->until_ms != 0) != (b->until_ms != 0))
        return a->until_ms == 0;
    if (strikes_count(a) != strikes_count(b))
        return strikes_count(a) < strikes_count(b);
    return a->last_ms < b->last_ms;
}

/* A free place, or that of the mildest; NULL: all are locked out. So the worst stay: in a full set
 * newcomers take each other's place. */
static struct strikes_entry *strikes_place(struct strikes_entry *set)
{
    struct strikes_entry *mildest = &set[0];

    for (size_t i = 1; i < STRIKES_WAYS; i++)
        if (strikes_milder(&set[i], mildest))
            mildest = &set[i];
    return mildest->until_ms == 0 ? mildest : NULL;
}

static struct strikes_entry *strikes_open(struct strikes *s, uint64_t who, const char *name,
                                          uint64_t period_ms, uint64_t now_ms)
{
    struct strikes_entry *set = s->entries[who % STRIKES_SETS];
    struct strikes_entry *e;

    for (size_t i = 0; i < STRIKES_WAYS; i++)
        strikes_age(&set[i], period_ms, now_ms);
    e = strikes_at(s, who);
    if (e != NULL || (e = strikes_place(set)) == NULL)
        return e;
    strikes_clear(e);
    e->who = who;
    e->name = strdup(name); /* without one it is counted all the same */
    return e;
}

static bool strikes_known(const struct strikes_entry *e, struct strikes_offence o)
{
    for (size_t i = 0; o.what != 0 && i < e->seen_count; i++)
        if (e->seen[i].offence.what == o.what && e->seen[i].offence.whom == o.whom)
            return true;
    return false;
}

static void strikes_put(struct strikes_entry *e, struct strikes_offence o, uint64_t now_ms)
{
    if (e->seen_count == STRIKES_SEEN) {
        e->older++;
        e->older_ms = e->seen[0].at_ms;
        e->seen_count--;
        memmove(e->seen, e->seen + 1, e->seen_count * sizeof e->seen[0]);
    }
    e->seen[e->seen_count++] = (struct strikes_mark){.offence = o, .at_ms = now_ms};
    e->last_ms = now_ms;
}

enum strikes_word strikes_add(struct strikes *s, uint32_t *count, const struct strikes_rule *rule,
                              uint64_t who, const char *name, struct strikes_offence offence,
                              uint64_t now_ms)
{
    struct strikes_entry *e = strikes_open(s, who, name, rule->period_ms, now_ms);
    const bool same = e == NULL || strikes_known(e, offence);

    if (!same)
        strikes_put(e, offence, now_ms);
    *count = e != NULL ? strikes_count(e) : 0;
    if (same)
        return STRIKES_SAME;
    if (e->until_ms != 0 || rule->limit == 0 || *count < rule->limit)
        return STRIKES_NEW;
    e->until_ms = now_ms + rule->period_ms;
    return STRIKES_LOCKED;
}

bool strikes_locked(const struct strikes *s, uint64_t who, uint64_t now_ms)
{
    const struct strikes_entry *e = strikes_find(s, who);

    return e != NULL && e->until_ms > now_ms;
}

void strikes_forgive(struct strikes *s, uint64_t who)
{
    struct strikes_entry *e = strikes_at(s, who);

    if (e != NULL)
        strikes_clear(e);
}

void strikes_forgive_whom(struct strikes *s, uint64_t who, uint64_t whom)
{
    struct strikes_entry *e = strikes_at(s, who);
    uint32_t kept = 0;

    if (e == NULL)
        return;
    for (uint32_t i = 0; i < e->seen_count; i++)
        if (e->seen[i].offence.whom != whom)
            e->seen[kept++] = e->seen[i];
    e->seen_count = kept;
    if (e->until_ms == 0 && strikes_count(e) == 0)
        strikes_clear(e);
}

bool strikes_next_locked(const struct strikes *s, struct strikes_view *out, size_t *place,
                         uint64_t now_ms)
{
    for (; *place < STRIKES_MAX; ++*place) {
        const struct strikes_entry *e = &s->entries[*place / STRIKES_WAYS][*place % STRIKES_WAYS];
        if (e->until_ms <= now_ms)
            continue;
        *out = (struct strikes_view){.who = e->who,
                                     .name = e->name != NULL ? e->name : "",
                                     .count = strikes_count(e),
                                     .left_ms = e->until_ms - now_ms};
        ++*place;
        return true;
    }
    return false;
}
