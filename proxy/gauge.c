#include "proxy/gauge.h"

#include <openssl/siphash.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

enum { GAUGE_BUCKETS = 4096 };

/* There for as long as somebody is inside under its key. */
struct gauge_place {
    LIST_ENTRY(gauge_place) bucket;
    unsigned inside;
    size_t len;
    uint8_t key[];
};

struct gauge_holder {
    LIST_ENTRY(gauge_holder) bucket;
    struct gauge_place *place;
    void *owner;
    uint64_t number;
};

LIST_HEAD(gauge_places, gauge_place);
LIST_HEAD(gauge_holders, gauge_holder);

struct gauge {
    unsigned max;
    size_t total;
    size_t inside;
    uint64_t key[2];
    struct gauge_places places[GAUGE_BUCKETS];
    struct gauge_holders holders[GAUGE_BUCKETS];
};

struct gauge *gauge_new(unsigned max, size_t total, const uint8_t key[16])
{
    struct gauge *g = calloc(1, sizeof *g);

    if (g == NULL)
        return NULL;
    memcpy(g->key, key, sizeof g->key);
    gauge_resize(g, max, total);
    return g;
}

static struct gauge_holders *gauge_bucket(struct gauge *g, void *owner, uint64_t number)
{
    const uint64_t holder[2] = {(uint64_t)(uintptr_t)owner, number};

    return &g->holders[SIPHASH_24(g->key, (const uint8_t *)holder, sizeof holder) % GAUGE_BUCKETS];
}

static struct gauge_holder *gauge_find(struct gauge *g, void *owner, uint64_t number)
{
    struct gauge_holder *h;

    LIST_FOREACH(h, gauge_bucket(g, owner, number), bucket)
    {
        if (h->owner == owner && h->number == number)
            break;
    }
    return h;
}

static struct gauge_place *gauge_place(struct gauge *g, const void *key, size_t len)
{
    struct gauge_places *bucket = &g->places[SIPHASH_24(g->key, key, len) % GAUGE_BUCKETS];
    struct gauge_place *p;

    LIST_FOREACH(p, bucket, bucket)
    {
        if (p->len == len && memcmp(p->key, key, len) == 0)
            return p;
    }
    p = calloc(1, sizeof *p + len);
    if (p == NULL)
        return NULL;
    p->len = len;
    memcpy(p->key, key, len);
    LIST_INSERT_HEAD(bucket, p, bucket);
    return p;
}

static void gauge_settle(struct gauge_place *p)
{
    if (p->inside == 0) {
        LIST_REMOVE(p, bucket);
        free(p);
    }
}

bool gauge_enter(struct gauge *g, void *owner, uint64_t number, const void *key, size_t len)
{
    struct gauge_holder *h = NULL;
    struct gauge_place *p;

    if (gauge_find(g, owner, number) != NULL)
        return true;
    if (g->inside >= g->total || (p = gauge_place(g, key, len)) == NULL)
        return false;
    if (p->inside < g->max)
        h = calloc(1, sizeof *h);
    if (h != NULL) {
        *h = (struct gauge_holder){.place = p, .owner = owner, .number = number};
        LIST_INSERT_HEAD(gauge_bucket(g, owner, number), h, bucket);
        p->inside++;
        g->inside++;
    }
    gauge_settle(p);
    return h != NULL;
}

static void gauge_end(struct gauge *g, struct gauge_holder *h)
{
    LIST_REMOVE(h, bucket);
    h->place->inside--;
    g->inside--;
    gauge_settle(h->place);
    free(h);
}

bool gauge_leave(struct gauge *g, void *owner, uint64_t number)
{
    struct gauge_holder *h = gauge_find(g, owner, number);

    if (h != NULL)
        gauge_end(g, h);
    return h != NULL;
}

void gauge_owner_gone(struct gauge *g, void *owner)
{
    for (size_t i = 0; i < GAUGE_BUCKETS; i++) {
        struct gauge_holder *next;

        for (struct gauge_holder *h = LIST_FIRST(&g->holders[i]); h != NULL; h = next) {
            next = LIST_NEXT(h, bucket);
            if (h->owner == owner)
                gauge_end(g, h);
        }
    }
}

void gauge_resize(struct gauge *g, unsigned max, size_t total)
{
    g->max = max;
    g->total = total;
}

void gauge_free(struct gauge *g)
{
    if (g == NULL)
        return;
    for (size_t i = 0; i < GAUGE_BUCKETS; i++) {
        struct gauge_holder *h;

        while ((h = LIST_FIRST(&g->holders[i])) != NULL)
            gauge_end(g, h);
    }
    free(g);
}

size_t gauge_inside(const struct gauge *g)
{
    return g->inside;
}
