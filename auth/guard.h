/* Who guesses passwords: wrong ones counted by client network, by account and by password, a delay
 * that doubles, and a lock-out.
 *
 * Pure: the time comes in with each call. Tables are bounded and keyed-hashed; when one is full the
 * least offender goes, so that a flood of sources does not wash the worst out. A lock-out lasts one
 * period.
 *
 * Only distinct wrong passwords count: the same wrong one again for the same account (a phone with
 * an old password) is one strike. A success takes back the account's strikes, and those that the
 * network has for this account alone: an account of his own does not help a guesser.
 *
 * Networks are those of auth/source.h; the /48 around one of IPv6 is locked out when it has four
 * times as many strikes. A loopback network never is, since a webmail logs all its users in from
 * there: their accounts count.
 *
 * So that nobody can lock an owner out, a network from where an account was logged in to is let
 * through the account's lock-out (which goes on for others), until it brings as many distinct wrong
 * passwords itself.
 *
 * One password that was wrong for as many accounts is locked out itself, wherever it comes from, in
 * the same way: no guess of a spray over a thousand hosts is looked at any more. */
#ifndef VESTIBULE_AUTH_GUARD_H
#define VESTIBULE_AUTH_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "auth/sasl.h"
#include "auth/source.h"

#define GUARD_NAME_MAX (SASL_LOGIN_MAX + 1)

struct guard;

struct guard_rule {
    uint64_t failure_delay_ms; /* 0: none */
    uint32_t lockout;          /* distinct wrong passwords; 0: no lock-out */
    uint64_t period_ms;        /* within so long, and then for so long */
};

enum guard_what { GUARD_NETWORK, GUARD_ACCOUNT, GUARD_PASSWORD, GUARD_WHATS };

/* One login that is tried. */
struct guard_try {
    const uint8_t *address; /* 16 octets */
    const char *login;      /* "": not known yet (an exchange): only the network counts */
    const void *secret;     /* only keyed digests of it are kept */
    size_t secret_len;      /* 0: none is known, each failure is one of its own */
};

struct guard_failure {
    uint64_t delay_ms;        /* how long the answer waits */
    bool locked[GUARD_WHATS]; /* this failure locked it out: to be logged and counted */
    uint32_t strikes[GUARD_WHATS];
    char network[SOURCE_TEXT_MAX]; /* as it is listed; "": it is never locked out */
};

/* `key` seeds every hash and digest. NULL: out of memory. */
struct guard *guard_new(const struct guard_rule *rule, const uint8_t key[16]);
void guard_free(struct guard *g);
void guard_measure(struct guard *g,
                   const struct guard_rule *rule); /* after a reload; counts stay */

/* Before anything is checked. False: it is refused, and *what says which lock-out does it. */
bool guard_admits(struct guard *g, enum guard_what *what, const struct guard_try *t,
                  uint64_t now_ms);

struct guard_failure guard_failed(struct guard *g, const struct guard_try *t, uint64_t now_ms);
void guard_succeeded(struct guard *g, const struct guard_try *t, uint64_t now_ms);

/* A lock-out in force. */
struct guard_lock {
    enum guard_what what;
    char name[GUARD_NAME_MAX]; /* a login, "192.0.2.0/24", or "" of a password */
    uint64_t left_ms;
    uint32_t strikes;
};

/* The next one from *place on, 0 at first, which moves behind it; false: no more. */
bool guard_list(const struct guard *g, struct guard_lock *out, size_t *place, uint64_t now_ms);

/* By a name as it is listed, or any address of the network; "passwords": those of all passwords.
 * False: there is no such lock-out. */
bool guard_lift(struct guard *g, const char *name, uint64_t now_ms);

#endif
