/* Logins that were right a moment ago, so that a client that comes again costs no hash and no
 * question to another server.
 *
 * Pure: the time comes in. Only keyed digests (HMAC-SHA-256 under a key made at start) of
 * mechanism, login and secret are kept, and the name that was accepted. Successes only. Bounded;
 * the oldest goes first. */
#ifndef VESTIBULE_AUTH_CACHE_H
#define VESTIBULE_AUTH_CACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "auth/sasl.h"

struct auth_cache;

/* `life_ms` 0: off. NULL: out of memory. */
struct auth_cache *auth_cache_new(uint64_t life_ms, const uint8_t key[32]);
void auth_cache_free(struct auth_cache *c); /* wipes */

/* `generation` is the sum of what the backends say: another one empties the cache. On a hit `login`
 * is the name that was accepted. */
bool auth_cache_find(struct auth_cache *c, char login[SASL_LOGIN_MAX + 1],
                     const struct sasl_credential *credential, uint64_t generation,
                     uint64_t now_ms);
void auth_cache_keep(struct auth_cache *c, const struct sasl_credential *credential,
                     const char *login, uint64_t generation, uint64_t now_ms);
void auth_cache_empty(struct auth_cache *c);

#endif
