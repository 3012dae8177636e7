/* The vault's word on logins: the realm rule, the guard against guessing, the cache, the line, then
 * the backends in order. A refusal waits as long as the guard says.
 *
 * Of a login that brings its credential in one piece the backends that can do its mechanism are
 * asked in order; the first yes wins, and where one is out of reach there is no refusal. An
 * exchange is spoken by the first backend that knows its mechanism, to the end. A certificate's
 * login is right unless there are backends that know their logins and none knows this one. */
#ifndef VESTIBULE_PROXY_JUDGE_H
#define VESTIBULE_PROXY_JUDGE_H

#include <uv.h>

#include "auth/guard.h"
#include "proxy/channel.h"
#include "proxy/edition.h"
#include "proxy/link.h"

#define JUDGE_HASHES_WAITING \
    64 /* in line for the pool; one more gets 454, never a wait without end */
#define JUDGE_ASKS_WAITING 256 /* in line for another server */
#define JUDGE_ASKS 64          /* questions to other servers at once */
#define JUDGE_OPEN_MAX 4096    /* logins under way in all, those whose answer is delayed included */
#define JUDGE_STEPS_MAX 10     /* of an exchange; the longest that there is has four */
#define JUDGE_CLIENT_MS 120000 /* for a client's step: the front gives up sooner */

struct judge;

struct judge_counts {
    uint64_t accepted;
    uint64_t rejected;
    uint64_t unavailable;
    uint64_t limited;     /* refused without a check: locked out */
    uint64_t turned_away; /* the line was full */
    uint64_t cache_hits;
    uint64_t lockouts[GUARD_WHATS];
    unsigned open;    /* now: all that have no answer yet */
    unsigned waiting; /* in line */
    unsigned running; /* in the pool, or with another server */
};

/* `parallel` password checks at once, in threads of their own. NULL: out of memory. */
struct judge *judge_new(uv_loop_t *loop, unsigned parallel, const struct conf *conf);
/* What is under way gets no answer, so that the loop can end. */
void judge_stop(struct judge *j);
void judge_free(struct judge *j); /* nothing is under way any more */

/* After a reload: keys of [auth]; what was remembered is forgotten, what was counted is not. */
void judge_measure(struct judge *j, const struct conf *conf);

/* Takes a CHANNEL_VERIFY, CHANNEL_RESPOND or CHANNEL_CANCEL. Answers go over the link, if that
 * still stands. */
void judge_take(struct judge *j, struct link *l, struct edition *e,
                const struct channel_frame *question);
void judge_link_gone(struct judge *j, const struct link *l);

/* What clients can be offered: enum sasl_mechanism bits. */
unsigned judge_mechanisms(const struct edition *e);

struct guard *judge_guard(struct judge *j); /* for the list of lock-outs */
struct judge_counts judge_counts(const struct judge *j);

#endif
