/* A fast 64-bit digest of a message, so that client and sink can compare what was sent with what
 * came. It finds accidents, not forgeries. The same octets give the same digest however they are
 * cut. Pure. */
#ifndef VESTIBULE_BENCH_SINK_DIGEST_H
#define VESTIBULE_BENCH_SINK_DIGEST_H

#include <stddef.h>
#include <stdint.h>

enum { SINK_DIGEST_BLOCK = 32 };

struct sink_digest {
    uint64_t lanes[4];
    uint64_t octets;
    uint8_t rest[SINK_DIGEST_BLOCK]; /* octets % SINK_DIGEST_BLOCK of them */
};

void sink_digest_init(struct sink_digest *d);
void sink_digest_update(struct sink_digest *d, const void *in, size_t len);
uint64_t sink_digest_result(const struct sink_digest *d);

#endif
