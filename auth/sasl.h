/* SASL mechanisms on the server side, one step at a time (RFC 4422, 4616, 4954,
 * draft-murchison-sasl-login).
 *
 * Pure: base64 text in, base64 challenge or a credential out. A credential is decoded once, refused
 * when it holds NUL, CR or LF where there must be none, and wiped by sasl_wipe. */
#ifndef VESTIBULE_AUTH_SASL_H
#define VESTIBULE_AUTH_SASL_H

#include <stdbool.h>
#include <stddef.h>

#define SASL_LOGIN_MAX 255
#define SASL_PASSWORD_MAX 1024
#define SASL_CHALLENGE_MAX 64

enum sasl_mechanism {
    SASL_PLAIN = 1 << 0,
    SASL_LOGIN = 1 << 1,
};

struct sasl_credential {
    enum sasl_mechanism mechanism;
    size_t login_len;
    size_t password_len;
    char login[SASL_LOGIN_MAX + 1]; /* NUL at the end, none inside */
    char password[SASL_PASSWORD_MAX + 1];
};

enum sasl_status {
    SASL_CHALLENGE,  /* send `challenge` in a 334, bring the answer to sasl_step */
    SASL_CREDENTIAL, /* `credential` is whole */
    SASL_CANCELLED,  /* 501 5.7.0: `*` */
    SASL_BASE64,     /* 501 5.5.2 */
    SASL_REFUSED,    /* 535 5.7.8: no credential could be right: empty login or password, over-long,
                        control octets, a    foreign authzid, not UTF-8; it counts as a failure and is
                        never asked of a backend */
};

struct sasl {
    enum sasl_mechanism mechanism;
    unsigned step;
    char challenge[SASL_CHALLENGE_MAX]; /* base64, "" is the empty challenge */
    struct sasl_credential credential;
};

/* By name, any case; 0: unknown. */
enum sasl_mechanism sasl_by_name(const char *name, size_t len);
const char *sasl_name(enum sasl_mechanism mechanism);

/* The names of a set of bits, blank between, strongest first, as EHLO lists them: "PLAIN LOGIN". */
void sasl_list(char *out, size_t cap, unsigned mechanisms);

/* `initial` is NULL when the client sent none; "=" is an empty one (RFC 4954 4). */
enum sasl_status sasl_start(struct sasl *s, enum sasl_mechanism mechanism, const char *initial,
                            size_t len);
enum sasl_status sasl_step(struct sasl *s, const char *response, size_t len);

/* Overwrites everything; the struct may be started again. */
void sasl_wipe(struct sasl *s);

#endif
