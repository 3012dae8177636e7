/* Who guesses passwords: wrong ones counted by client network and by account, a delay that doubles,
 * and a lock-out.
 *
 * Pure: the time comes in with each call. Tables are bounded and keyed-hashed; when one is full the
 * least offender goes, so that a flood of sources does not wash the worst out. IPv4 counts by /24,
 * IPv6 by /56, a v4-mapped address as IPv4. Only distinct wrong passwords count: the same wrong one
 * again for the same account (a phone with an old password) is one strike. A success forgets the
 * account's and the network's strikes, and the pair of network and account is remembered as good:
 * it is let through an account's lock-out, so that nobody can lock its owner out. A lock-out lasts
 * one period. */
#ifndef VESTIBULE_AUTH_GUARD_H
#define VESTIBULE_AUTH_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "auth/sasl.h"

#define GUARD_DELAY_MAX_MS 16000
#define GUARD_NAME_MAX (SASL_LOGIN_MAX + 1)

struct guard;

struct guard_rule {
    uint64_t failure_delay_ms; /* 0: none */
    uint32_t lockout;          /* distinct wrong passwords; 0: no lock-out */
    uint64_t period_ms;        /* within so long, and then for so long */
};

enum guard_word { GUARD_OPEN, GUARD_NETWORK_LOCKED, GUARD_ACCOUNT_LOCKED };

struct guard_failure {
    uint64_t delay_ms;   /* how long the answer waits */
    bool network_locked; /* this one did it: to be logged and counted */
    bool account_locked;
};

/* `key` seeds every hash and digest. NULL: out of memory. */
struct guard *guard_new(const struct guard_rule *rule, const uint8_t key[16]);
void guard_free(struct guard *g);
void guard_measure(struct guard *g,
                   const struct guard_rule *rule); /* after a reload; counts stay */

/* Before anything is checked. `login` "": not known yet (an exchange), only the network counts. */
enum guard_word guard_ask(struct guard *g, const uint8_t address[16], const char *login,
                          uint64_t now_ms);

/* `secret` is the wrong password (only a keyed digest of it is kept); len 0: none is known, each
 * failure is one of its own. */
struct guard_failure guard_failed(struct guard *g, const uint8_t address[16], const char *login,
                                  const void *secret, size_t len, uint64_t now_ms);
void guard_succeeded(struct guard *g, const uint8_t address[16], const char *login,
                     uint64_t now_ms);

/* Lock-outs in force: `index` from 0; false: no more. */
struct guard_lock {
    bool account;
    char name[GUARD_NAME_MAX]; /* a login, or "192.0.2.0/24", "2001:db8::/56" */
    uint64_t left_ms;
    uint32_t strikes;
};
bool guard_list(const struct guard *g, struct guard_lock *out, size_t index, uint64_t now_ms);

/* By a name as it is listed, or any address of the network. False: there is no such lock-out. */
bool guard_lift(struct guard *g, const char *name, uint64_t now_ms);

#endif
