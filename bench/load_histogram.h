/* Counts of durations in buckets whose width grows with the value, so that any percentile is known
 * to within 0.1 %, from nanoseconds to an hour, in constant space. Pure. */
#ifndef VESTIBULE_BENCH_LOAD_HISTOGRAM_H
#define VESTIBULE_BENCH_LOAD_HISTOGRAM_H

#include <stdint.h>

/* 1,024 buckets for each doubling of the value; all below 2,048 are exact. */
enum {
    LOAD_HISTOGRAM_HALF = 1024,
    LOAD_HISTOGRAM_DOUBLINGS = 32, /* 2,048 ns << 31 is more than an hour */
    LOAD_HISTOGRAM_BUCKETS = (LOAD_HISTOGRAM_DOUBLINGS + 1) * LOAD_HISTOGRAM_HALF,
};

/* Zero state: all zero. */
struct load_histogram {
    uint64_t count;
    uint64_t sum;
    uint64_t min; /* exact; meaningless while count is 0 */
    uint64_t max;
    uint32_t buckets[LOAD_HISTOGRAM_BUCKETS];
};

/* What is longer than the last bucket is counted there; max still tells. */
void load_histogram_add(struct load_histogram *h, uint64_t value);

/* The smallest value that at least that share (0 to 1) of all are at most: the upper edge of its
 * bucket, never beyond max. 0 while count is 0. */
uint64_t load_histogram_quantile(const struct load_histogram *h, double share);

double load_histogram_mean(const struct load_histogram *h);

#endif
