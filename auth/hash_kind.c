#include "auth/hash_kind.h"

#include <crypt.h>
#include <string.h>

/* crypt(5). Where the cost stands: right behind the prefix up to the next `$`; in so many octets
 * behind it; in an optional `rounds=N$`. */
enum hash_cost { HASH_COST_NONE, HASH_COST_FIELD, HASH_COST_OCTETS, HASH_COST_ROUNDS };

struct hash_kind {
    const char *prefix;
    size_t dollars; /* at least so many in a whole hash */
    size_t tail;    /* octets behind the last one; 0: not known */
    size_t whole;   /* or octets of all of it */
    enum hash_cost cost;
    size_t cost_octets;
    bool weak;
};

static const struct hash_kind hash_kinds[] = {
    {.prefix = "$y$", .dollars = 4, .tail = 43, .cost = HASH_COST_FIELD},
    {.prefix = "$gy$", .dollars = 4, .tail = 43, .cost = HASH_COST_FIELD},
    {.prefix = "$7$", .dollars = 3, .tail = 43, .cost = HASH_COST_OCTETS, .cost_octets = 11},
    {.prefix = "$2b$", .dollars = 3, .whole = 60, .cost = HASH_COST_FIELD},
    {.prefix = "$2y$", .dollars = 3, .whole = 60, .cost = HASH_COST_FIELD},
    {.prefix = "$2a$", .dollars = 3, .whole = 60, .cost = HASH_COST_FIELD},
    {.prefix = "$6$", .dollars = 3, .tail = 86, .cost = HASH_COST_ROUNDS},
    {.prefix = "$5$", .dollars = 3, .tail = 43, .cost = HASH_COST_ROUNDS},
    {.prefix = "$sha1$", .dollars = 4, .tail = 28, .cost = HASH_COST_FIELD},
    {.prefix = "$1$", .dollars = 3, .tail = 22, .weak = true},
    {.prefix = "$md5", .dollars = 3, .tail = 22, .cost = HASH_COST_FIELD, .weak = true},
    {.prefix = "$3$", .dollars = 3, .tail = 32, .weak = true},
    {.prefix = "_", .whole = 20, .cost = HASH_COST_OCTETS, .cost_octets = 4, .weak = true},
    {.prefix = "$", .dollars = 3}, /* one that only a newer libcrypt knows */
    {.prefix = "", .whole = 13, .weak = true},
};

static const struct hash_kind *hash_kind_of(const char *hash)
{
    const struct hash_kind *k = hash_kinds;

    while (strncmp(hash, k->prefix, strlen(k->prefix)) != 0)
        k++;
    return k;
}

bool hash_locked(const char *hash)
{
    return hash[0] == '\0' || hash[0] == '!' || hash[0] == '*';
}

static bool hash_characters(const char *hash)
{
    for (const char *c = hash; *c != '\0'; c++) {
        if (*c <= ' ' || *c >= 0x7f || strchr("!*:;\\", *c) != NULL)
            return false;
    }
    return true;
}

static bool hash_whole(const struct hash_kind *k, const char *hash)
{
    const char *last = hash;
    size_t dollars = 0;

    for (const char *c = hash; *c != '\0'; c++) {
        if (*c == '$') {
            last = c;
            dollars++;
        }
    }
    if (dollars < k->dollars || last[1] == '\0')
        return false;
    if (k->whole > 0)
        return strlen(hash) == k->whole;
    return k->tail == 0 || strlen(last + 1) == k->tail;
}

const char *hash_fault(const char *hash)
{
    const struct hash_kind *kind = hash_kind_of(hash);
    int known;

    if (strlen(hash) > HASH_MAX)
        return "is too long";
    if (!hash_characters(hash))
        return "holds characters that no hash has";
    known = crypt_checksalt(hash);
    /* any two letters pass for the salt of DES: a password in clear is not called a hash cut short
     */
    if (known == CRYPT_SALT_INVALID || known == CRYPT_SALT_METHOD_DISABLED ||
        (kind->prefix[0] == '\0' && !hash_whole(kind, hash)))
        return "is of a kind that crypt(3) does not know";
    if (!hash_whole(kind, hash))
        return "is cut short or has something behind it";
    return NULL;
}

static size_t hash_to_dollar(const char *from)
{
    return strcspn(from, "$") + (strchr(from, '$') != NULL ? 1 : 0);
}

size_t hash_cost_len(const char *hash)
{
    const struct hash_kind *k = hash_kind_of(hash);
    const size_t prefix = strlen(k->prefix);
    const size_t left = strlen(hash) - prefix;

    switch (k->cost) {
    case HASH_COST_FIELD:
        return prefix + hash_to_dollar(hash + prefix);
    case HASH_COST_OCTETS:
        return prefix + (k->cost_octets < left ? k->cost_octets : left);
    case HASH_COST_ROUNDS:
        return prefix +
               (strncmp(hash + prefix, "rounds=", 7) == 0 ? hash_to_dollar(hash + prefix) : 0);
    case HASH_COST_NONE:
        break;
    }
    return prefix;
}

bool hash_weak(const char *hash)
{
    return hash_kind_of(hash)->weak;
}
