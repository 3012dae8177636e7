#include "tls/ticket.h"

#include <openssl/aead.h>
#include <openssl/err.h>
#include <openssl/mem.h>
#include <openssl/rand.h>
#include <string.h>

#define TICKET_NAME_LEN 16
#define TICKET_NONCE_LEN 12
#define TICKET_TAG_LEN 16
#define TICKET_HEAD_LEN (TICKET_NAME_LEN + TICKET_NONCE_LEN)

_Static_assert(TICKET_OVERHEAD == TICKET_HEAD_LEN + TICKET_TAG_LEN, "the header promises it");

void ticket_keys_rotate(struct ticket_keys *keys)
{
    if (keys->count < TICKET_KEYS_MAX)
        keys->count++;
    memmove(keys->key[1], keys->key[0], (keys->count - 1) * TICKET_KEY_LEN);
    RAND_bytes(keys->key[0], TICKET_KEY_LEN);
}

static bool cipher_init(EVP_AEAD_CTX *cipher, const uint8_t key[TICKET_KEY_LEN])
{
    return EVP_AEAD_CTX_init(cipher, EVP_aead_aes_256_gcm(), key + TICKET_NAME_LEN,
                             TICKET_KEY_LEN - TICKET_NAME_LEN, TICKET_TAG_LEN, NULL) == 1;
}

/* The key's name and the scope are authenticated beside the ticket. */
static void make_associated(uint8_t out[TICKET_NAME_LEN + TICKET_SCOPE_LEN],
                            const uint8_t key[TICKET_KEY_LEN],
                            const uint8_t scope[TICKET_SCOPE_LEN])
{
    memcpy(out, key, TICKET_NAME_LEN);
    memcpy(out + TICKET_NAME_LEN, scope, TICKET_SCOPE_LEN);
}

bool ticket_seal(const uint8_t key[TICKET_KEY_LEN], const uint8_t scope[TICKET_SCOPE_LEN],
                 uint8_t *out, size_t *out_len, size_t cap, const uint8_t *in, size_t len)
{
    uint8_t associated[TICKET_NAME_LEN + TICKET_SCOPE_LEN], head[TICKET_HEAD_LEN];
    EVP_AEAD_CTX cipher;
    size_t sealed = 0;

    *out_len = 0;
    if (cap < TICKET_OVERHEAD || cap - TICKET_OVERHEAD < len || !cipher_init(&cipher, key))
        return false;
    make_associated(associated, key, scope);
    memcpy(head, key, TICKET_NAME_LEN);
    RAND_bytes(head + TICKET_NAME_LEN, TICKET_NONCE_LEN);
    /* `in` and `out` may be the same memory: first out of the way, then the head. */
    memmove(out + TICKET_HEAD_LEN, in, len);
    bool good = EVP_AEAD_CTX_seal(&cipher, out + TICKET_HEAD_LEN, &sealed, cap - TICKET_HEAD_LEN,
                                  head + TICKET_NAME_LEN, TICKET_NONCE_LEN, out + TICKET_HEAD_LEN,
                                  len, associated, sizeof associated) == 1;
    memcpy(out, head, sizeof head);
    EVP_AEAD_CTX_cleanup(&cipher);
    ERR_clear_error();
    if (good)
        *out_len = TICKET_HEAD_LEN + sealed;
    return good;
}

static bool open_with(const uint8_t key[TICKET_KEY_LEN], const uint8_t scope[TICKET_SCOPE_LEN],
                      uint8_t *out, size_t *out_len, size_t cap, const uint8_t *in, size_t len)
{
    uint8_t associated[TICKET_NAME_LEN + TICKET_SCOPE_LEN], nonce[TICKET_NONCE_LEN];
    const size_t sealed = len - TICKET_HEAD_LEN;
    EVP_AEAD_CTX cipher;

    if (cap < sealed || !cipher_init(&cipher, key))
        return false;
    make_associated(associated, key, scope);
    memcpy(nonce, in + TICKET_NAME_LEN, sizeof nonce);
    memmove(out, in + TICKET_HEAD_LEN, sealed);
    bool good = EVP_AEAD_CTX_open(&cipher, out, out_len, cap, nonce, sizeof nonce, out, sealed,
                                  associated, sizeof associated) == 1;
    EVP_AEAD_CTX_cleanup(&cipher);
    ERR_clear_error();
    return good;
}

bool ticket_open(const struct ticket_keys *keys, const uint8_t scope[TICKET_SCOPE_LEN],
                 uint8_t *out, size_t *out_len, size_t cap, const uint8_t *in, size_t len)
{
    *out_len = 0;
    if (len < TICKET_OVERHEAD)
        return false;
    for (size_t i = 0; i < keys->count && i < TICKET_KEYS_MAX; i++)
        if (CRYPTO_memcmp(keys->key[i], in, TICKET_NAME_LEN) == 0)
            return open_with(keys->key[i], scope, out, out_len, cap, in, len);
    return false;
}
