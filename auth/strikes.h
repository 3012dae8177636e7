/* A bounded table of offenders: how many distinct offences each has within a period, and until when
 * it is locked out. Pure. What an offender and an offence are is the caller's: both are hashes.
 *
 * An offence counts until it is a period old. Of an offender the last STRIKES_SEEN are known one by
 * one; those before them count together, until the youngest of them is a period old. */
#ifndef VESTIBULE_AUTH_STRIKES_H
#define VESTIBULE_AUTH_STRIKES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STRIKES_SEEN 32
#define STRIKES_MAX 4096 /* offenders; 3.5 MB when all places are taken */

struct strikes;

struct strikes_rule {
    uint32_t limit; /* that many lock out; 0: never */
    uint64_t period_ms;
};

/* Against whom (0: nobody in particular), and what; 0: distinct from all others. */
struct strikes_offence {
    uint64_t whom;
    uint64_t what;
};

enum strikes_word {
    STRIKES_SAME,   /* it is known already, or there is no place but of those locked out */
    STRIKES_NEW,    /* it counts */
    STRIKES_LOCKED, /* and it locked the offender out */
};

struct strikes *strikes_new(void);
void strikes_free(struct strikes *s);

/* *count: how many there are now. `name` is kept for the list. Of who is locked out already, more
 * are counted, which makes it no longer. */
enum strikes_word strikes_add(struct strikes *s, uint32_t *count, const struct strikes_rule *rule,
                              uint64_t who, const char *name, struct strikes_offence offence,
                              uint64_t now_ms);
bool strikes_locked(const struct strikes *s, uint64_t who, uint64_t now_ms);

/* Takes back all, or those against one alone. A lock-out ends with the former, not with the latter.
 */
void strikes_forgive(struct strikes *s, uint64_t who);
void strikes_forgive_whom(struct strikes *s, uint64_t who, uint64_t whom);

/* Of those locked out: by their place in the table, from *place on, which moves behind it. */
struct strikes_view {
    uint64_t who;
    const char *name;
    uint32_t count;
    uint64_t left_ms;
};
bool strikes_next_locked(const struct strikes *s, struct strikes_view *out, size_t *place,
                         uint64_t now_ms);

#endif
