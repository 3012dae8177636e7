#include "bench/load_histogram.h"

#include <math.h>

/* Values of the same doubling share a shift; what the shift leaves has eleven bits, of which the
 * highest is always set but in the first. */
static unsigned shift_of(uint64_t value)
{
    unsigned width = value == 0 ? 0 : 64 - (unsigned)__builtin_clzll(value);
    return width <= 11 ? 0 : width - 11;
}

static unsigned bucket_of(uint64_t value)
{
    unsigned shift = shift_of(value);
    uint64_t bucket = (uint64_t)shift * LOAD_HISTOGRAM_HALF + (value >> shift);
    return bucket < LOAD_HISTOGRAM_BUCKETS ? (unsigned)bucket : LOAD_HISTOGRAM_BUCKETS - 1;
}

static uint64_t upper_edge(unsigned bucket)
{
    unsigned shift = bucket < 2 * LOAD_HISTOGRAM_HALF ? 0 : bucket / LOAD_HISTOGRAM_HALF - 1;
    uint64_t kept = bucket - (uint64_t)shift * LOAD_HISTOGRAM_HALF;
    return (kept << shift) + ((UINT64_C(1) << shift) - 1);
}

void load_histogram_add(struct load_histogram *h, uint64_t value)
{
    h->min = h->count == 0 || value < h->min ? value : h->min;
    h->max = value > h->max ? value : h->max;
    h->count++;
    h->sum += value;
    h->buckets[bucket_of(value)]++;
}

uint64_t load_histogram_quantile(const struct load_histogram *h, double share)
{
    uint64_t wanted = (uint64_t)ceil(share * (double)h->count), seen = 0;
    if (wanted == 0)
        return h->count == 0 ? 0 : h->min;
    for (unsigned i = 0; i < LOAD_HISTOGRAM_BUCKETS - 1; i++) {
        seen += h->buckets[i];
        if (seen >= wanted)
            return upper_edge(i) < h->max ? upper_edge(i) : h->max;
    }
    return h->max;
}

double load_histogram_mean(const struct load_histogram *h)
{
    return h->count == 0 ? 0 : (double)h->sum / (double)h->count;
}
