#include "auth/guard.h"

#include <openssl/mem.h>
#include <openssl/siphash.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/strikes.h"
#include "auth/throttle.h"

/* A /48 of IPv6 holds 256 networks: it may strike so many times as often as one of them. */
enum { GUARD_AROUND = 4 };

/* Pairs of network and account that logged in, the latest of each set. */
enum { GUARD_GOOD_SETS = 2048, GUARD_GOOD_WAYS = 8 };

struct guard_good {
    uint64_t pair; /* 0: free */
    uint64_t last_ms;
    uint32_t wrong; /* distinct ones since it was right */
};

struct guard {
    struct guard_rule rule;
    uint8_t key[16];
    uint64_t siphash[2];
    struct throttle *throttle;
    struct strikes *strikes[GUARD_WHATS];
    struct guard_good good[GUARD_GOOD_SETS][GUARD_GOOD_WAYS];
};

/* What a try is known by; never 0. */
struct guard_ids {
    uint8_t source[SOURCE_LEN];
    uint64_t who[GUARD_WHATS];
    uint8_t around[SOURCE_LEN];
    uint64_t who_around; /* 0: IPv4 has none */
    uint64_t pair;
};

static uint64_t guard_hash(const struct guard *g, char what, const void *a, size_t a_len,
                           const void *b, size_t b_len)
{
    uint8_t text[1 + SOURCE_LEN + SASL_LOGIN_MAX + SASL_SECRET_MAX];
    uint64_t hash;

    if (a_len + b_len >= sizeof text)
        return 1;
    text[0] = (uint8_t)what;
    if (a_len > 0)
        memcpy(text + 1, a, a_len);
    if (b_len > 0)
        memcpy(text + 1 + a_len, b, b_len);
    hash = SIPHASH_24(g->siphash, text, 1 + a_len + b_len);
    OPENSSL_cleanse(text, 1 + a_len + b_len);
    return hash != 0 ? hash : 1;
}

static struct guard_ids guard_ids_of(const struct guard *g, const struct guard_try *t)
{
    const size_t login_len = strlen(t->login);
    struct guard_ids ids = {.who_around = 0};

    source_of(ids.source, t->address);
    if (source_around(ids.around, ids.source))
        ids.who_around = guard_hash(g, 'n', ids.around, SOURCE_AROUND_LEN, NULL, 0);
    ids.who[GUARD_NETWORK] = guard_hash(g, 'n', ids.source, SOURCE_LEN, NULL, 0);
    ids.who[GUARD_ACCOUNT] = guard_hash(g, 'a', t->login, login_len, NULL, 0);
    ids.who[GUARD_PASSWORD] = guard_hash(g, 'p', t->secret, t->secret_len, NULL, 0);
    ids.pair = guard_hash(g, 'g', ids.source, SOURCE_LEN, t->login, login_len);
    return ids;
}

struct guard *guard_new(const struct guard_rule *rule, const uint8_t key[16])
{
    struct guard *g = calloc(1, sizeof *g);
    bool whole = g != NULL;

    for (size_t i = 0; whole && i < GUARD_WHATS; i++)
        whole = (g->strikes[i] = strikes_new()) != NULL;
    if (whole) {
        memcpy(g->key, key, sizeof g->key);
        memcpy(g->siphash, key, sizeof g->siphash);
        guard_measure(g, rule);
        whole = g->throttle != NULL;
    }
    if (whole)
        return g;
    guard_free(g);
    return NULL;
}

void guard_free(struct guard *g)
{
    if (g == NULL)
        return;
    for (size_t i = 0; i < GUARD_WHATS; i++)
        strikes_free(g->strikes[i]);
    throttle_free(g->throttle);
    OPENSSL_cleanse(g, sizeof *g);
    free(g);
}

void guard_measure(struct guard *g, const struct guard_rule *rule)
{
    struct throttle *fresh;

    if (g->throttle == NULL || rule->failure_delay_ms != g->rule.failure_delay_ms) {
        fresh = throttle_new(rule->failure_delay_ms, g->key);
        if (fresh != NULL) {
            throttle_free(g->throttle);
            g->throttle = fresh;
        }
    }
    g->rule = *rule;
}

static struct guard_good *guard_good_at(struct guard *g, uint64_t pair)
{
    struct guard_good *set = g->good[pair % GUARD_GOOD_SETS];

    for (size_t i = 0; i < GUARD_GOOD_WAYS; i++)
        if (set[i].pair == pair)
            return &set[i];
    return NULL;
}

static void guard_keep_good(struct guard *g, uint64_t pair, uint64_t now_ms)
{
    struct guard_good *set = g->good[pair % GUARD_GOOD_SETS], *place = guard_good_at(g, pair);

    if (place == NULL) {
        place = &set[0];
        for (size_t i = 1; i < GUARD_GOOD_WAYS; i++)
            if (set[i].last_ms < place->last_ms)
                place = &set[i];
    }
    *place = (struct guard_good){.pair = pair, .last_ms = now_ms};
}

bool guard_admits(struct guard *g, enum guard_what *what, const struct guard_try *t,
                  uint64_t now_ms)
{
    const struct guard_ids ids = guard_ids_of(g, t);
    const bool named = t->login[0] != '\0';
    const bool good = named && guard_good_at(g, ids.pair) != NULL;

    *what = GUARD_NETWORK;
    if (strikes_locked(g->strikes[GUARD_NETWORK], ids.who[GUARD_NETWORK], now_ms) ||
        strikes_locked(g->strikes[GUARD_NETWORK], ids.who_around, now_ms))
        return false;
    if (good)
        return true;
    *what = GUARD_ACCOUNT;
    if (named && strikes_locked(g->strikes[GUARD_ACCOUNT], ids.who[GUARD_ACCOUNT], now_ms))
        return false;
    *what = GUARD_PASSWORD;
    return t->secret_len == 0 ||
           !strikes_locked(g->strikes[GUARD_PASSWORD], ids.who[GUARD_PASSWORD], now_ms);
}

/* True: it is a new one. */
static bool guard_strike(struct guard *g, struct guard_failure *f, enum guard_what what,
                         const struct guard_ids *ids, const char *name,
                         struct strikes_offence offence, uint64_t now_ms)
{
    const struct strikes_rule rule = {g->rule.lockout, g->rule.period_ms};
    const enum strikes_word word = strikes_add(g->strikes[what], &f->strikes[what], &rule,
                                               ids->who[what], name, offence, now_ms);

    f->locked[what] = word == STRIKES_LOCKED;
    return word != STRIKES_SAME;
}

static void guard_strike_network(struct guard *g, struct guard_failure *f,
                                 const struct guard_ids *ids, struct strikes_offence guess,
                                 uint64_t now_ms)
{
    const uint64_t limit = (uint64_t)g->rule.lockout * GUARD_AROUND;
    const struct strikes_rule rule = {limit < UINT32_MAX ? (uint32_t)limit : UINT32_MAX,
                                      g->rule.period_ms};
    char around[SOURCE_TEXT_MAX];
    uint32_t count;

    source_text(f->network, ids->source);
    guard_strike(g, f, GUARD_NETWORK, ids, f->network, guess, now_ms);
    if (ids->who_around == 0)
        return;
    source_around_text(around, ids->around);
    if (strikes_add(g->strikes[GUARD_NETWORK], &count, &rule, ids->who_around, around, guess,
                    now_ms) != STRIKES_LOCKED)
        return;
    f->locked[GUARD_NETWORK] = true;
    f->strikes[GUARD_NETWORK] = count;
    memcpy(f->network, around, sizeof around);
}

/* Whoever guesses from where the owner is known has as many guesses as others, no more: from a
 * loopback network, which is never locked out, he would have them without end. */
static void guard_doubt(struct guard *g, uint64_t pair)
{
    struct guard_good *good = guard_good_at(g, pair);

    if (good != NULL && g->rule.lockout > 0 && ++good->wrong >= g->rule.lockout)
        *good = (struct guard_good){.pair = 0};
}

struct guard_failure guard_failed(struct guard *g, const struct guard_try *t, uint64_t now_ms)
{
    const struct guard_ids ids = guard_ids_of(g, t);
    const bool known = t->secret_len > 0;
    const struct strikes_offence guess = {ids.who[GUARD_ACCOUNT],
                                          known ? ids.who[GUARD_PASSWORD] : 0};
    struct guard_failure f = {.delay_ms = throttle_failure(g->throttle, t->address, now_ms)};

    if (!source_loopback(ids.source))
        guard_strike_network(g, &f, &ids, guess, now_ms);
    if (t->login[0] != '\0' && guard_strike(g, &f, GUARD_ACCOUNT, &ids, t->login, guess, now_ms))
        guard_doubt(g, ids.pair);
    if (known && t->login[0] != '\0')
        guard_strike(g, &f, GUARD_PASSWORD, &ids, "",
                     (struct strikes_offence){0, ids.who[GUARD_ACCOUNT]}, now_ms);
    return f;
}

void guard_succeeded(struct guard *g, const struct guard_try *t, uint64_t now_ms)
{
    const struct guard_ids ids = guard_ids_of(g, t);

    throttle_success(g->throttle, t->address);
    strikes_forgive_whom(g->strikes[GUARD_NETWORK], ids.who[GUARD_NETWORK], ids.who[GUARD_ACCOUNT]);
    if (ids.who_around != 0)
        strikes_forgive_whom(g->strikes[GUARD_NETWORK], ids.who_around, ids.who[GUARD_ACCOUNT]);
    /* its owner, let through a lock-out, does not open it to those whom it is for */
    if (!strikes_locked(g->strikes[GUARD_ACCOUNT], ids.who[GUARD_ACCOUNT], now_ms))
        strikes_forgive(g->strikes[GUARD_ACCOUNT], ids.who[GUARD_ACCOUNT]);
    guard_keep_good(g, ids.pair, now_ms);
}

bool guard_list(const struct guard *g, struct guard_lock *out, size_t *place, uint64_t now_ms)
{
    for (; *place < STRIKES_MAX * GUARD_WHATS; *place += STRIKES_MAX - *place % STRIKES_MAX) {
        const size_t what = *place / STRIKES_MAX;
        size_t within = *place % STRIKES_MAX;
        struct strikes_view view;

        if (!strikes_next_locked(g->strikes[what], &view, &within, now_ms))
            continue;
        *place = what * STRIKES_MAX + within;
        *out = (struct guard_lock){
            .what = (enum guard_what)what, .left_ms = view.left_ms, .strikes = view.count};
        snprintf(out->name, sizeof out->name, "%s", view.name);
        return true;
    }
    return false;
}

static bool guard_lift_passwords(struct guard *g, uint64_t now_ms)
{
    struct strikes_view view;
    bool lifted = false;

    for (size_t place = 0;
         strikes_next_locked(g->strikes[GUARD_PASSWORD], &view, &place, now_ms);) {
        strikes_forgive(g->strikes[GUARD_PASSWORD], view.who);
        lifted = true;
    }
    return lifted;
}

static bool guard_lift_one(struct guard *g, enum guard_what what, uint64_t who, uint64_t now_ms)
{
    const bool locked = strikes_locked(g->strikes[what], who, now_ms);

    if (locked)
        strikes_forgive(g->strikes[what], who);
    return locked;
}

bool guard_lift(struct guard *g, const char *name, uint64_t now_ms)
{
    uint8_t source[SOURCE_LEN];
    bool lifted = false;

    if (strlen(name) > SASL_LOGIN_MAX)
        return false;
    if (source_parse(source, name))
        lifted = guard_lift_one(g, GUARD_NETWORK, guard_hash(g, 'n', source, SOURCE_LEN, NULL, 0),
                                now_ms);
    if (source_around_parse(source, name))
        lifted |= guard_lift_one(g, GUARD_NETWORK,
                                 guard_hash(g, 'n', source, SOURCE_AROUND_LEN, NULL, 0), now_ms);
    lifted |=
        guard_lift_one(g, GUARD_ACCOUNT, guard_hash(g, 'a', name, strlen(name), NULL, 0), now_ms);
    if (strcmp(name, "passwords") == 0)
        lifted |= guard_lift_passwords(g, now_ms);
    return lifted;
}
