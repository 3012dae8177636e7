/* Dovecot's authentication protocol, 1.x, as its client speaks it (Dovecot's developer manual,
 * "Authentication Protocol"): lines of words with TABs between.
 *
 * Pure. What is sent is written into the caller's memory, which is to be wiped. What comes is
 * believed nothing: a line that is over-long or does not hold what it must is nonsense, and
 * whoever hears nonsense closes the connection. */
#ifndef VESTIBULE_AUTH_DOVECOT_H
#define VESTIBULE_AUTH_DOVECOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "auth/client.h"
#include "auth/sasl.h"

#define DOVECOT_LINE_MAX 16384    /* its LF included; Dovecot's own limit since 2.3 (1.2) */
#define DOVECOT_LINE_MAX_OLD 8192 /* and before */

/* --- what comes */

struct dovecot_reader {
    size_t len;
    bool whole; /* `line` was handed on */
    char line[DOVECOT_LINE_MAX];
};

enum dovecot_status { DOVECOT_MORE, DOVECOT_LINE, DOVECOT_BAD };

/* Takes octets from the front of `in` up to a line's end. DOVECOT_LINE: `line` and `len` are one
 * line without its LF, until the next call. */
enum dovecot_status dovecot_read(struct dovecot_reader *r, const uint8_t **in, size_t *len);

enum dovecot_type {
    DOVECOT_VERSION,
    DOVECOT_MECH,
    DOVECOT_DONE, /* the greeting is over: it may be asked */
    DOVECOT_OK,
    DOVECOT_FAIL,
    DOVECOT_CONT,
    DOVECOT_OTHER, /* of no concern to us */
};

struct dovecot_line {
    enum dovecot_type type;
    uint32_t major; /* VERSION */
    uint32_t minor;
    unsigned mechanisms; /* MECH: enum sasl_mechanism bits that can be asked for because of it:
                            PLAIN brings LOGIN; what is private to Dovecot, anonymous, bound to a
                            channel or not known here brings none */
    uint32_t id;         /* OK, FAIL, CONT */
    bool no_login;       /* OK, but not to log in here: the account says so, or the password is for
                            another server to check (proxy) */
    bool temporary;      /* FAIL of Dovecot's own */
    char user[SASL_LOGIN_MAX + 1]; /* OK; "": it does not say */
    size_t message_len;            /* CONT */
    uint8_t message[SASL_CHALLENGE_MAX];
};

/* False: nonsense. */
bool dovecot_parse(struct dovecot_line *out, const char *line, size_t len);

/* --- what is sent: false when it does not fit into `cap` */

/* `peer` tells this connection from all others that Dovecot has: not 0. */
bool dovecot_hello(char *out, size_t *len, size_t cap, uint32_t peer);

/* A password goes as PLAIN, a token as the mechanism's own message. Not for EXTERNAL. */
bool dovecot_ask(char *out, size_t *len, size_t cap, uint32_t id,
                 const struct sasl_credential *credential, const struct auth_client *client);
bool dovecot_continue(char *out, size_t *len, size_t cap, uint32_t id, const uint8_t *message,
                      size_t message_len);
bool dovecot_cancel(char *out, size_t *len, size_t cap, uint32_t id);

#endif
