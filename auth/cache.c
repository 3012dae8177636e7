#include "auth/cache.h"

#include <openssl/hmac.h>
#include <openssl/mem.h>
#include <stdlib.h>
#include <string.h>

/* 8,192 logins, in sets by their digest; in a set the oldest goes first. */
enum { AUTH_CACHE_SETS = 1024, AUTH_CACHE_WAYS = 8, AUTH_CACHE_DIGEST = 32 };

struct auth_cache_entry {
    uint64_t until_ms; /* 0: free */
    char *login;
    uint8_t digest[AUTH_CACHE_DIGEST];
};

struct auth_cache {
    uint64_t life_ms;
    uint64_t generation;
    uint8_t key[32];
    struct auth_cache_entry entries[AUTH_CACHE_SETS][AUTH_CACHE_WAYS];
};

struct auth_cache *auth_cache_new(uint64_t life_ms, const uint8_t key[32])
{
    struct auth_cache *c = calloc(1, sizeof *c);

    if (c == NULL)
        return NULL;
    c->life_ms = life_ms;
    memcpy(c->key, key, sizeof c->key);
    return c;
}

static void auth_cache_drop(struct auth_cache_entry *e)
{
    free(e->login);
    OPENSSL_cleanse(e, sizeof *e);
}

void auth_cache_empty(struct auth_cache *c)
{
    for (size_t i = 0; i < AUTH_CACHE_SETS; i++)
        for (size_t k = 0; k < AUTH_CACHE_WAYS; k++)
            if (c->entries[i][k].until_ms != 0)
                auth_cache_drop(&c->entries[i][k]);
}

void auth_cache_free(struct auth_cache *c)
{
    if (c == NULL)
        return;
    auth_cache_empty(c);
    OPENSSL_cleanse(c->key, sizeof c->key);
    free(c);
}

/* With the lengths, so that no login and secret are another login and secret. */
static bool auth_cache_digest(const struct auth_cache *c, uint8_t out[AUTH_CACHE_DIGEST],
                              const struct sasl_credential *credential)
{
    const uint32_t head[3] = {(uint32_t)credential->mechanism, (uint32_t)credential->login_len,
                              (uint32_t)credential->secret_len};
    HMAC_CTX h;
    unsigned len = 0;
    bool ok;

    HMAC_CTX_init(&h);
    ok = HMAC_Init_ex(&h, c->key, sizeof c->key, EVP_sha256(), NULL) == 1 &&
         HMAC_Update(&h, (const uint8_t *)head, sizeof head) == 1 &&
         HMAC_Update(&h, (const uint8_t *)credential->login, credential->login_len) == 1 &&
         HMAC_Update(&h, (const uint8_t *)credential->secret, credential->secret_len) == 1 &&
         HMAC_Final(&h, out, &len) == 1;
    HMAC_CTX_cleanup(&h);
    return ok && len == AUTH_CACHE_DIGEST;
}

static struct auth_cache_entry *auth_cache_set(struct auth_cache *c, const uint8_t *digest)
{
    uint32_t hash;

    memcpy(&hash, digest, sizeof hash);
    return c->entries[hash % AUTH_CACHE_SETS];
}

static struct auth_cache_entry *auth_cache_at(struct auth_cache_entry *set, const uint8_t *digest)
{
    for (size_t i = 0; i < AUTH_CACHE_WAYS; i++)
        if (set[i].until_ms != 0 && CRYPTO_memcmp(set[i].digest, digest, AUTH_CACHE_DIGEST) == 0)
            return &set[i];
    return NULL;
}

/* Or a free one. */
static struct auth_cache_entry *auth_cache_oldest(struct auth_cache_entry *set)
{
    struct auth_cache_entry *oldest = &set[0];

    for (size_t i = 1; i < AUTH_CACHE_WAYS; i++)
        if (set[i].until_ms < oldest->until_ms)
            oldest = &set[i];
    return oldest;
}

static void auth_cache_follow(struct auth_cache *c, uint64_t generation)
{
    if (c->generation != generation)
        auth_cache_empty(c);
    c->generation = generation;
}

bool auth_cache_find(struct auth_cache *c, char login[SASL_LOGIN_MAX + 1],
                     const struct sasl_credential *credential, uint64_t generation, uint64_t now_ms)
{
    uint8_t digest[AUTH_CACHE_DIGEST];
    struct auth_cache_entry *e;

    auth_cache_follow(c, generation);
    if (c->life_ms == 0 || !auth_cache_digest(c, digest, credential))
        return false;
    e = auth_cache_at(auth_cache_set(c, digest), digest);
    if (e == NULL)
        return false;
    if (e->until_ms <= now_ms) {
        auth_cache_drop(e);
        return false;
    }
    memcpy(login, e->login, strlen(e->login) + 1);
    return true;
}

void auth_cache_keep(struct auth_cache *c, const struct sasl_credential *credential,
                     const char *login, uint64_t generation, uint64_t now_ms)
{
    uint8_t digest[AUTH_CACHE_DIGEST];
    struct auth_cache_entry *set, *e;

    auth_cache_follow(c, generation);
    if (c->life_ms == 0 || strlen(login) > SASL_LOGIN_MAX ||
        !auth_cache_digest(c, digest, credential))
        return;
    set = auth_cache_set(c, digest);
    e = auth_cache_at(set, digest);
    if (e == NULL)
        e = auth_cache_oldest(set);
    auth_cache_drop(e);
    e->login = strdup(login);
    if (e->login == NULL)
        return;
    memcpy(e->digest, digest, sizeof digest);
    e->until_ms = now_ms + c->life_ms;
}
