/* Who may hold a connection to one upstream: at most `max` in all, a third of them per login, the
 * others wait in line.
 *
 * Logins take turns: each has a line of its own, first come first served, and a freed connection
 * goes to the login whose turn it is; one at its share is passed over until it gives one back. So
 * whoever has thousands waiting makes nobody else wait longer. All steps take constant time but
 * lease_resize and lease_owner_gone.
 *
 * Pure. A holder is an owner (a front) with a number of the owner's own. The order of grants is
 * decided here, telling the holder is the caller's: after each call that may free something, he
 * calls lease_next until it says none. */
#ifndef VESTIBULE_PROXY_LEASE_H
#define VESTIBULE_PROXY_LEASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LEASE_WAITING_MAX 4096 /* in all; the vault's memory is bounded by it, about 1 MB */
#define LEASE_WAITING_LOGIN_MAX                                      \
    256 /* of one login: no login alone can fill the line for others \
         */

struct lease_line;

enum lease_answer {
    LEASE_GRANTED,
    LEASE_WAITING, /* lease_next will name the holder, or he gives back before */
    LEASE_FULL,    /* the line, or the login's part of it; nothing is remembered */
};

/* `key` seeds the hashes. NULL: out of memory. */
struct lease_line *lease_new(unsigned max, const uint8_t key[16]);
void lease_free(struct lease_line *l);

/* `login` is what shares are counted by (byte for byte, copied; for those who did not log in, what
 * else they have in common). Asking again while holding or waiting gets the same answer again. */
enum lease_answer lease_ask(struct lease_line *l, void *owner, uint64_t number, const char *login);

/* Of one who holds or still waits. False: he does neither. */
bool lease_give_back(struct lease_line *l, void *owner, uint64_t number);

/* The next who waits and now holds; false: nobody can be granted one now. */
bool lease_next(struct lease_line *l, void **owner, uint64_t *number);

/* Everything of an owner who is no more. */
void lease_owner_gone(struct lease_line *l, void *owner);

/* After a reload. Who holds more than the new measure keeps it until he gives it back. */
void lease_resize(struct lease_line *l, unsigned max);

size_t lease_granted(const struct lease_line *l);
size_t lease_waiting(const struct lease_line *l);

#endif
