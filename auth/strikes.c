#include "auth/strikes.h"

#include <stdlib.h>
#include <string.h>

/* 4,096 offenders in sets by their hash; of each the last offences, to tell a new one. */
enum { STRIKES_SETS = 512, STRIKES_WAYS = 8, STRIKES_SEEN = 32 };

struct strikes_entry {
    uint64_t who;      /* 0: free */
    uint64_t since_ms; /* the period begins with the first offence */
    uint64_t until_ms; /* 0: not locked out */
    uint32_t count;
    uint32_t next; /* in `seen`, a ring */
    char *name;
    struct strikes_offence seen[STRIKES_SEEN];
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

static bool strikes_over(const struct strikes_entry *e, uint64_t period_ms, uint64_t now_ms)
{
    return e->until_ms != 0 ? now_ms >= e->until_ms : now_ms >= e->since_ms + period_ms;
}

/* A free place, or that of an offender who did no worse than the newcomer; NULL: all are worse. */
static struct strikes_entry *strikes_place(struct strikes *s, uint64_t who, uint64_t period_ms,
                                           uint64_t now_ms)
{
    struct strikes_entry *set = s->entries[who % STRIKES_SETS];
    struct strikes_entry *mildest = NULL;

    for (size_t i = 0; i < STRIKES_WAYS; i++) {
        if (set[i].who == 0 || strikes_over(&set[i], period_ms, now_ms))
            return &set[i];
        if (set[i].until_ms == 0 && set[i].count <= 1 &&
            (mildest == NULL || set[i].since_ms < mildest->since_ms))
            mildest = &set[i];
    }
    return mildest;
}

static struct strikes_entry *strikes_open(struct strikes *s, uint64_t who, const char *name,
                                          uint64_t period_ms, uint64_t now_ms)
{
    struct strikes_entry *e = strikes_at(s, who);

    if (e != NULL && !strikes_over(e, period_ms, now_ms))
        return e;
    if (e == NULL)
        e = strikes_place(s, who, period_ms, now_ms);
    if (e == NULL)
        return NULL;
    strikes_clear(e);
    e->who = who;
    e->since_ms = now_ms;
    e->name = strdup(name); /* without one it is counted all the same */
    return e;
}

static bool strikes_seen(const struct strikes_entry *e, struct strikes_offence o)
{
    for (size_t i = 0; o.what != 0 && i < STRIKES_SEEN; i++)
        if (e->seen[i].what == o.what && e->seen[i].whom == o.whom)
            return true;
    return false;
}

uint32_t strikes_add(struct strikes *s, bool *locked, const struct strikes_rule *rule, uint64_t who,
                     const char *name, struct strikes_offence offence, uint64_t now_ms)
{
    struct strikes_entry *e = strikes_open(s, who, name, rule->period_ms, now_ms);

    *locked = false;
    if (e == NULL || e->until_ms != 0 || strikes_seen(e, offence))
        return e != NULL ? e->count : 0;
    e->seen[e->next++ % STRIKES_SEEN] = offence;
    e->count++;
    *locked = rule->limit > 0 && e->count >= rule->limit;
    if (*locked)
        e->until_ms = now_ms + rule->period_ms;
    return e->count;
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

    for (size_t i = 0; e != NULL && i < STRIKES_SEEN; i++)
        if (e->seen[i].whom == whom && e->count > 0) {
            e->seen[i] = (struct strikes_offence){0};
            e->count--;
        }
}

bool strikes_next_locked(const struct strikes *s, struct strikes_view *out, size_t *place,
                         uint64_t now_ms)
{
    for (; *place < STRIKES_SETS * STRIKES_WAYS; ++*place) {
        const struct strikes_entry *e = &s->entries[*place / STRIKES_WAYS][*place % STRIKES_WAYS];
        if (e->until_ms <= now_ms)
            continue;
        *out = (struct strikes_view){.who = e->who,
                                     .name = e->name != NULL ? e->name : "",
                                     .count = e->count,
                                     .left_ms = e->until_ms - now_ms};
        ++*place;
        return true;
    }
    return false;
}
