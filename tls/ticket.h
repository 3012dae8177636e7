/* Session-ticket keys: one that seals, the one before it that still opens (RFC 9325 3.4 asks for
 * rotation). */
#ifndef VESTIBULE_TLS_TICKET_H
#define VESTIBULE_TLS_TICKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TICKET_KEY_LEN 48     /* 16 octets of name, 32 of AES-256-GCM key */
#define TICKET_KEYS_MAX 3     /* next or current first, then those that only open */
#define TICKET_ROTATE_S 43200 /* a new key every 12 h; a ticket lives for at most two */

struct ticket_keys {
    size_t count;
    uint8_t key[TICKET_KEYS_MAX][TICKET_KEY_LEN];
};

/* A fresh random key in front, the oldest dropped. */
void ticket_keys_rotate(struct ticket_keys *keys);

/* What sealing adds: the key's name, a nonce, a tag. */
#define TICKET_OVERHEAD 44
#define TICKET_SCOPE_LEN 32

/* AES-256-GCM, bound to the scope. false: no room, or not ours (unknown key, another scope, changed
 * on the way). `in` and `out` may be equal; ticket_open wants room for what it is given. */
bool ticket_seal(const uint8_t key[TICKET_KEY_LEN], const uint8_t scope[TICKET_SCOPE_LEN],
                 uint8_t *out, size_t *out_len, size_t cap, const uint8_t *in, size_t len);
bool ticket_open(const struct ticket_keys *keys, const uint8_t scope[TICKET_SCOPE_LEN],
                 uint8_t *out, size_t *out_len, size_t cap, const uint8_t *in, size_t len);

#endif
