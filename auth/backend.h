/* Where credentials are checked: one small table of functions per kind of backend, used by the
 * vault alone.
 *
 * A backend whose work is CPU (the users file) has `verify` and is called in a thread of the pool;
 * one that asks somebody else has `ask` and works on the vault's loop. Those that speak a mechanism
 * themselves (SCRAM, whatever Dovecot offers) have `ask` too, and it may answer with a challenge.
 */
#ifndef VESTIBULE_AUTH_BACKEND_H
#define VESTIBULE_AUTH_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "auth/client.h"
#include "auth/realm.h"
#include "auth/sasl.h"

#define BACKEND_ERROR_MAX 512
#define BACKEND_REPLY_MS 20000 /* an answer from elsewhere takes no longer, else: unavailable */

enum backend_verdict {
    BACKEND_ACCEPTED,
    BACKEND_REJECTED,
    BACKEND_UNAVAILABLE, /* out of reach, slow, or broken: never a refusal, never an acceptance */
    BACKEND_CHALLENGE,   /* of an exchange: a message for the client, whose answer goes to
                            backend_ops.respond */
};

/* What the settings say beside the spec; borrowed, it outlives the backend. Strings may be NULL. */
struct backend_settings {
    struct realm_rule
        realm; /* for who learns the login inside an exchange: looked up by this name */
    const char *state_dir;
    const char *hostname;     /* ours: realm, service name, EHLO towards other servers */
    const char *ca;           /* certificate authorities for URL backends; NULL: the system's */
    const char *ldap_bind_dn; /* who searches; NULL: anonymous */
    const char *ldap_bind_password_file;
    const char *http_header_file; /* headers to send along, e.g. a shared secret */
    struct {
        const char *jwks; /* file or https URL; NULL: no JWT is taken */
        const char *issuer;
        const char *audience;
        const char *login_claim;
        const char *introspection; /* URL, RFC 7662; NULL: none */
        const char *client_id;
        const char *client_secret_file;
    } oauth;
    /* What an operator should read in the log: an event's name and one sentence, in calls on the
     * loop and in open. NULL: nobody listens. */
    void (*say)(const char *event, const char *sentence);
};

struct backend;

/* One login being checked by one backend. The caller's memory, zeroed and filled by it; it lives
 * until `answered` was called with something final, or backend_ops.leave. */
struct backend_question {
    const struct sasl_credential *credential; /* lives as long */
    const struct auth_client *client;         /* lives as long */
    /* Called on the loop, exactly once per ask and respond, never from inside of them. `message` is
     * the challenge (borrowed for the call). With BACKEND_ACCEPTED `login` names who it is, where
     * the backend knows better than the credential (an exchange, a token, a canonical form); NULL:
     * the credential's login. With BACKEND_REJECTED of an exchange it may name who was tried. */
    void (*answered)(struct backend_question *q, enum backend_verdict verdict, const char *login,
                     const uint8_t *message, size_t len);
    void *owner;
    void *state; /* the backend's */
};

struct backend_ops {
    const char *scheme; /* "file" */
    /* NULL with one sentence in `error`. Reads what can be read now; touches no network: a server
     * that is away at our start is no reason not to start. `scheme` is the spec's (several share
     * one table), `argument` is what stands behind its colon ("//host/…" of a URL). */
    struct backend *(*open)(const char *scheme, const char *argument,
                            const struct backend_settings *settings, char error[BACKEND_ERROR_MAX]);
    /* The vault's loop stands: handles may be opened, helpers spawned, connections kept. NULL:
     * there is nothing to start. Not called by `vestibule check` before describe. False with a
     * sentence. */
    bool (*start)(struct backend *b, uv_loop_t *loop, char error[BACKEND_ERROR_MAX]);
    /* Takes note of changes on disk; called on the loop, cheap when nothing changed. A file that
     * does not load leaves the last good one in force and returns false with a sentence. NULL:
     * there is no file. */
    bool (*refresh)(struct backend *b, char error[BACKEND_ERROR_MAX]);
    /* enum sasl_mechanism bits that it can do now; called on the loop, cheap. */
    unsigned (*mechanisms)(struct backend *b);
    /* Changes whenever earlier verdicts may not hold any more (the file changed): what was
     * remembered is forgotten. NULL: never. */
    uint64_t (*generation)(struct backend *b);
    /* Kind PASSWORD alone. Blocks; called in a thread of the pool, many at once. Takes as long for
     * an unknown login as for a known one. NULL: `ask` does it. */
    enum backend_verdict (*verify)(struct backend *b, const struct sasl_credential *c);
    /* Begins; answered later. NULL: `verify` is all. Bounded by BACKEND_REPLY_MS. */
    void (*ask)(struct backend *b, struct backend_question *q);
    /* The client's answer to a challenge. NULL: there are none. */
    void (*respond)(struct backend *b, struct backend_question *q, const uint8_t *message,
                    size_t len);
    /* Nobody waits any more: `answered` is not called, q->state is let go. At any time between ask
     * and a final answer. */
    void (*leave)(struct backend *b, struct backend_question *q);
    /* May this login send as this address, as far as the backend knows (the users file's third
     * field)? The empty address is the null path. Called on the loop, as refresh is. NULL: it knows
     * no addresses. */
    bool (*owns)(struct backend *b, const char *login, const char *address);
    /* May a certificate log in as this? NULL: it does not know its logins. */
    bool (*knows)(struct backend *b, const char *login);
    /* For `vestibule check`: one sentence on what stands there, e.g. "12 users, 1 with an old DES
     * hash"; may block and connect. False: bad. */
    bool (*describe)(struct backend *b, char text[BACKEND_ERROR_MAX]);
    /* No verify is running any more and no question is open. Handles on the loop are closed
     * asynchronously: the last one's callback frees. */
    void (*close)(struct backend *b);
};

struct backend {
    const struct backend_ops *ops; /* first member of each kind's own struct */
};

/* "file:/etc/vestibule/users", "ldaps://…". NULL with a sentence: unknown scheme, or open failed.
 */
struct backend *backend_open(const char *spec, const struct backend_settings *settings,
                             char error[BACKEND_ERROR_MAX]);
void backend_close(struct backend *b);

extern const struct backend_ops backend_file_ops;      /* file:PATH */
extern const struct backend_ops backend_dovecot_ops;   /* dovecot:SOCKET */
extern const struct backend_ops backend_saslauthd_ops; /* saslauthd:SOCKET */
extern const struct backend_ops backend_pam_ops;       /* pam:SERVICE */
extern const struct backend_ops backend_url_ops;   /* imap(s), pop3(s), smtp(s), ldap(s), http(s) */
extern const struct backend_ops backend_oauth_ops; /* "oauth:", opened where [oauth] is set */

#endif
