/* Fields of fixed width in a row, in the machine's order: what the channel's and the bundle's
 * codecs are made of.
 *
 * Pure. A reader that runs out of octets reads zeros from there on and says so once, at the end. */
#ifndef VESTIBULE_PROXY_WIRE_H
#define VESTIBULE_PROXY_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct wire {
    const uint8_t *at;
    size_t left;
    bool short_of; /* more was asked for than there was */
};

uint16_t wire_u16(struct wire *w);
uint32_t wire_u32(struct wire *w);
uint64_t wire_u64(struct wire *w);

/* A view of the next `len` octets; NULL when there are not as many. */
const uint8_t *wire_bytes(struct wire *w, size_t len);
void wire_copy(struct wire *w, void *out, size_t len);

/* All of it was read, and no more. */
bool wire_done(const struct wire *w);

#endif
