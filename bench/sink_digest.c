#include "bench/sink_digest.h"

#include <endian.h>
#include <string.h>

#define DIGEST_ODD UINT64_C(0x9e3779b97f4a7c15) /* any odd number makes the product reversible */

static uint64_t word_at(const uint8_t *in)
{
    uint64_t word;
    memcpy(&word, in, sizeof word);
    return le64toh(word);
}

static uint64_t mixed(uint64_t lane, uint64_t word)
{
    uint64_t x = (lane ^ word) * DIGEST_ODD;
    return x << 29 | x >> 35;
}

/* Four lanes, because the processor multiplies four at a time as fast as one. */
static void take_blocks(struct sink_digest *d, const uint8_t *in, size_t blocks)
{
    uint64_t a = d->lanes[0], b = d->lanes[1], c = d->lanes[2], e = d->lanes[3];
    for (; blocks > 0; blocks--, in += SINK_DIGEST_BLOCK) {
        a = mixed(a, word_at(in));
        b = mixed(b, word_at(in + 8));
        c = mixed(c, word_at(in + 16));
        e = mixed(e, word_at(in + 24));
    }
    d->lanes[0] = a, d->lanes[1] = b, d->lanes[2] = c, d->lanes[3] = e;
}

void sink_digest_init(struct sink_digest *d)
{
    *d = (struct sink_digest){.lanes = {1, 2, 3, 4}};
}

void sink_digest_update(struct sink_digest *d, const void *in, size_t len)
{
    const uint8_t *at = in;
    size_t held = d->octets % SINK_DIGEST_BLOCK;
    d->octets += len;
    if (held > 0) {
        size_t n = SINK_DIGEST_BLOCK - held < len ? SINK_DIGEST_BLOCK - held : len;
        memcpy(d->rest + held, at, n);
        at += n;
        len -= n;
        if (held + n < SINK_DIGEST_BLOCK)
            return;
        take_blocks(d, d->rest, 1);
    }
    take_blocks(d, at, len / SINK_DIGEST_BLOCK);
    if (len % SINK_DIGEST_BLOCK > 0)
        memcpy(d->rest, at + len / SINK_DIGEST_BLOCK * SINK_DIGEST_BLOCK, len % SINK_DIGEST_BLOCK);
}

uint64_t sink_digest_result(const struct sink_digest *d)
{
    struct sink_digest last = *d;
    size_t held = d->octets % SINK_DIGEST_BLOCK;
    memset(last.rest + held, 0, SINK_DIGEST_BLOCK - held);
    take_blocks(&last, last.rest, 1);
    uint64_t sum = d->octets; /* so that zeros at the end count */
    for (size_t i = 0; i < 4; i++) {
        sum = mixed(sum, last.lanes[i]);
        sum ^= sum >> 31;
    }
    return sum;
}
