/* When operations are to start, and which kind of work each is. Pure: the caller has the clock, in
 * nanoseconds. */
#ifndef VESTIBULE_BENCH_LOAD_SCHEDULE_H
#define VESTIBULE_BENCH_LOAD_SCHEDULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The same seed gives the same numbers. Zero state is a seed. */
struct load_random {
    uint64_t state;
};

uint64_t load_random_next(struct load_random *r);

struct load_schedule {
    double rate; /* a second */
    bool poisson;
    uint64_t start;
    uint64_t arrivals; /* that were taken */
    double due;        /* nanoseconds behind start of the next one */
    struct load_random random;
};

/* rate > 0. */
void load_schedule_init(struct load_schedule *s, double rate, bool poisson, uint64_t start,
                        uint64_t seed);

uint64_t load_schedule_due(const struct load_schedule *s);

/* The due one has been taken; the next one's time does not depend on when that was. */
void load_schedule_advance(struct load_schedule *s);

/* An index below n, each as often as its weight says. n > 0, weights > 0. */
size_t load_choose(struct load_random *r, const unsigned *weights, size_t n);

#endif
