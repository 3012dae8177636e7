/* How many of a key (a client's network) are inside at the same time: at most `max` per key.
 *
 * Exact. Pure. A holder is an owner (a front) with a number of the owner's own; so nobody can leave
 * for another, and an owner who dies leaves with all of his. */
#ifndef VESTIBULE_PROXY_GAUGE_H
#define VESTIBULE_PROXY_GAUGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct gauge;

/* `key` seeds the hashes. At most `total` holders are counted at one time, which bounds the memory
 * (about 200 octets each). NULL: out of memory. */
struct gauge *gauge_new(unsigned max, size_t total, const uint8_t key[16]);
void gauge_free(struct gauge *g);

/* False: the key has `max` inside, the gauge is full, or memory is short; nothing is remembered.
 * Entering again while inside is fine and counts once, with the first key. */
bool gauge_enter(struct gauge *g, void *owner, uint64_t number, const void *key, size_t len);

/* False: he is not inside. */
bool gauge_leave(struct gauge *g, void *owner, uint64_t number);

void gauge_owner_gone(struct gauge *g, void *owner);

/* After a reload. Who is inside stays. */
void gauge_resize(struct gauge *g, unsigned max, size_t total);

size_t gauge_inside(const struct gauge *g);

#endif
