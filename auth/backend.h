/* Where passwords are checked: one small table of functions per kind of backend, used by the vault
 * alone. */
#ifndef VESTIBULE_AUTH_BACKEND_H
#define VESTIBULE_AUTH_BACKEND_H

#include <stdbool.h>
#include <stddef.h>

#include "auth/sasl.h"

#define BACKEND_ERROR_MAX 512

enum backend_verdict {
    BACKEND_ACCEPTED,
    BACKEND_REJECTED,
    BACKEND_UNAVAILABLE, /* out of reach or broken: never a refusal, never an acceptance */
};

struct backend;

struct backend_ops {
    const char *scheme; /* "file" */
    /* NULL with one sentence in `error`. Opens what can be opened now. */
    struct backend *(*open)(const char *argument, char error[BACKEND_ERROR_MAX]);
    /* Takes note of changes on disk; called on the loop, cheap when nothing changed. A file that
     * does not load leaves the last good one in force and returns false with a sentence. */
    bool (*refresh)(struct backend *b, char error[BACKEND_ERROR_MAX]);
    /* Blocks; called in a thread of the pool, many at once. Takes as long for an unknown login as
     * for a known one. */
    enum backend_verdict (*verify)(struct backend *b, const struct sasl_credential *c);
    /* May this login send as this address, as far as the backend knows (the users file's third
     * field)? The empty address is the null path. Called on the loop, as refresh is. */
    bool (*owns)(struct backend *b, const char *login, const char *address);
    /* For `vestibule check`: one sentence on what stands there, e.g. "12 users, 1 with an old DES
     * hash". False: bad. */
    bool (*describe)(struct backend *b, char text[BACKEND_ERROR_MAX]);
    void (*close)(struct backend *b); /* no verify is running any more */
};

struct backend {
    const struct backend_ops *ops; /* first member of each kind's own struct */
};

/* "file:/etc/vestibule/users". NULL with a sentence: unknown scheme, not supported yet, or open
 * failed. */
struct backend *backend_open(const char *spec, char error[BACKEND_ERROR_MAX]);
void backend_close(struct backend *b);

extern const struct backend_ops backend_file_ops;

#endif
