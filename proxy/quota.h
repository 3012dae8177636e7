/* How much a key (a login, a client's network) may take within any period.
 *
 * The period is cut into QUOTA_SLICES of whole milliseconds; what was taken counts until its slice
 * is a whole period old, so for up to one slice longer than the period: never more than `count` in
 * any period, at times a little less. Pure: the time comes in with each call, and going backwards
 * it counts as standing still.
 *
 * The table is bounded. No key that still counts is ever dropped for another, so nobody can wash
 * his own out; keys that find their part of the table full share one count there until places fall
 * free. Strict again: strangers in a flood may be refused for each other, never let through. */
#ifndef VESTIBULE_PROXY_QUOTA_H
#define VESTIBULE_PROXY_QUOTA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define QUOTA_SLICES 16
#define QUOTA_KEYS 65536 /* with an own count at one time; 7 MB when all are in use */

struct quota;

/* `key` seeds the hash. `period_ms` is at least 1. NULL: out of memory. */
struct quota *quota_new(uint32_t count, uint64_t period_ms, const uint8_t key[16]);
void quota_free(struct quota *q);

/* All of `amount` or nothing; false: it would be too much now. An amount of 0 is always fine and
 * leaves no trace. */
bool quota_take(struct quota *q, const void *key, size_t len, uint32_t amount, uint64_t now_ms);

/* After a reload with the same period; what was taken still counts. */
void quota_resize(struct quota *q, uint32_t count);

#endif
