/* Session-ticket keys: one that seals, the one before it that still opens (RFC 9325 4.? rotation). */
#ifndef VESTIBULE_TLS_TICKET_H
#define VESTIBULE_TLS_TICKET_H

#include <stddef.h>
#include <stdint.h>

#define TICKET_KEY_LEN 48  /* 16 octets of name, 32 of AES-256-GCM key */
#define TICKET_KEYS_MAX 3  /* next or current first, then those that only open */
#define TICKET_ROTATE_S 43200 /* a new key every 12 h; a ticket lives for at most two */

struct ticket_keys {
    size_t count;
    uint8_t key[TICKET_KEYS_MAX][TICKET_KEY_LEN];
};

/* A fresh random key in front, the oldest dropped. */
void ticket_keys_rotate(struct ticket_keys *keys);

#endif
