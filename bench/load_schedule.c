#include "bench/load_schedule.h"

#include <math.h>

/* SplitMix64. */
uint64_t load_random_next(struct load_random *r)
{
    uint64_t x = r->state += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

/* Above 0, at most 1. */
static double fraction(struct load_random *r)
{
    return (double)((load_random_next(r) >> 11) + 1) * 0x1p-53;
}

static double gap(struct load_schedule *s)
{
    return -log(fraction(&s->random)) * 1e9 / s->rate;
}

void load_schedule_init(struct load_schedule *s, double rate, bool poisson, uint64_t start,
                        uint64_t seed)
{
    *s = (struct load_schedule){
        .rate = rate, .poisson = poisson, .start = start, .random = {.state = seed}};
    s->due = poisson ? gap(s) : 0;
}

uint64_t load_schedule_due(const struct load_schedule *s)
{
    return s->start + (uint64_t)s->due;
}

void load_schedule_advance(struct load_schedule *s)
{
    s->arrivals++;
    if (s->poisson)
        s->due += gap(s);
    else
        s->due = (double)s->arrivals * 1e9 / s->rate; /* a product: no error adds up */
}

size_t load_choose(struct load_random *r, const unsigned *weights, size_t n)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += weights[i];
    uint64_t at = load_random_next(r) % sum;
    size_t chosen = 0;
    while (at >= weights[chosen])
        at -= weights[chosen++];
    return chosen;
}
