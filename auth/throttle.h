/* How long a refusal waits: a delay per client network that doubles with each failure and fades
 * when it is quiet.
 *
 * Pure: the time comes in with each call. A fixed number of networks is remembered (keyed hash, the
 * worst offenders are kept); IPv4 counts by /24, IPv6 by /56, a v4-mapped address as IPv4. */
#ifndef VESTIBULE_AUTH_THROTTLE_H
#define VESTIBULE_AUTH_THROTTLE_H

#include <stdbool.h>
#include <stdint.h>

#define THROTTLE_DELAY_MAX_MS 16000

struct throttle;

/* `key` seeds the hash. `base_ms` is failure_delay; 0 is no delay. NULL: out of memory. */
struct throttle *throttle_new(uint64_t base_ms, const uint8_t key[16]);
void throttle_free(struct throttle *t);

/* Counts a failure from an address (16 octets, IPv4 as v4-mapped) and says how long its answer
 * waits. */
uint64_t throttle_failure(struct throttle *t, const uint8_t address[16], uint64_t now_ms);

/* A success forgets the network's failures. */
void throttle_success(struct throttle *t, const uint8_t address[16]);

#endif
