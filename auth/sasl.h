/* SASL mechanisms as the server's door speaks them, one step at a time (RFC 4422, 4616, 4954, 7628,
 * draft-murchison-sasl-login).
 *
 * Pure: base64 text in; a base64 challenge, or something to ask the vault, out. Where a mechanism
 * brings a credential in one piece (kinds PASSWORD, TOKEN, EXTERNAL) it is decoded here, once, and
 * refused when it holds NUL, CR or LF where there must be none. Where it is a conversation (kind
 * EXCHANGE) its messages are only decoded here and handed on: who keeps the verifier speaks it.
 * Everything is wiped by sasl_wipe. */
#ifndef VESTIBULE_AUTH_SASL_H
#define VESTIBULE_AUTH_SASL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SASL_LOGIN_MAX 255
#define SASL_PASSWORD_MAX 1024
#define SASL_RESPONSE_MAX 12288 /* base64 text; RFC 4954 4: so much must be taken */
#define SASL_SECRET_MAX (SASL_RESPONSE_MAX / 4 * 3) /* a token, or a message of an exchange */
#define SASL_CHALLENGE_MAX 4096                     /* octets of a message to the client */
#define SASL_STEPS_MAX 16 /* challenges in one exchange; no mechanism needs half as many */

#define SASL_LIST_MAX 160 /* the names of them all, and a NUL */

/* Bits; sasl_list goes through them strongest first. Never ANONYMOUS. */
enum sasl_mechanism {
    SASL_PLAIN = 1 << 0,
    SASL_LOGIN = 1 << 1,
    SASL_SCRAM_SHA_256 = 1 << 2,
    SASL_SCRAM_SHA_256_PLUS = 1 << 3,
    SASL_OAUTHBEARER = 1 << 4,
    SASL_XOAUTH2 = 1 << 5,
    SASL_EXTERNAL = 1 << 6,
    /* only through a backend that speaks them itself (Dovecot) */
    SASL_SCRAM_SHA_1 = 1 << 7,
    SASL_SCRAM_SHA_1_PLUS = 1 << 8,
    SASL_CRAM_MD5 = 1 << 9,
    SASL_DIGEST_MD5 = 1 << 10,
    SASL_NTLM = 1 << 11,
    SASL_GSSAPI = 1 << 12,
    SASL_GSS_SPNEGO = 1 << 13,
    SASL_OTP = 1 << 14,
};

#define SASL_ALL ((1u << 15) - 1)
/* Bound to the TLS channel (RFC 5802 6, RFC 9266): only where there is one to bind to. */
#define SASL_BOUND (SASL_SCRAM_SHA_256_PLUS | SASL_SCRAM_SHA_1_PLUS)

enum sasl_kind {
    SASL_KIND_PASSWORD, /* PLAIN, LOGIN: login and password */
    SASL_KIND_TOKEN, /* OAUTHBEARER, XOAUTH2: login (may be empty: the token says it) and token */
    SASL_KIND_EXTERNAL, /* EXTERNAL: login alone, from the client's certificate */
    SASL_KIND_EXCHANGE, /* all others: the message, without a login */
};

struct sasl_credential {
    enum sasl_mechanism mechanism;
    size_t login_len;
    size_t secret_len;
    char login[SASL_LOGIN_MAX + 1];   /* NUL at the end, none inside; "": none (see the kinds) */
    char secret[SASL_SECRET_MAX + 1]; /* password, token or message; NUL at the end; only a message
                                         may hold NULs, or be empty beside EXTERNAL's */
};

enum sasl_status {
    SASL_CHALLENGE,  /* send `challenge` in a 334, bring the answer to sasl_step */
    SASL_CREDENTIAL, /* `credential` is to be asked of the vault; then sasl_challenged, sasl_refused
                        or the end */
    SASL_CANCELLED,  /* 501 5.7.0: `*` */
    SASL_BASE64,     /* 501 5.5.2 */
    SASL_UNASKED,    /* 501 5.5.4: an initial response where the server speaks first (RFC 4954 4) */
    SASL_REFUSED,    /* 535 5.7.8: no credential could be right: empty login or password, over-long,
                        control octets, a foreign authzid, not UTF-8; it counts as a failure and is
                        never asked of a backend */
};

struct sasl {
    enum sasl_mechanism mechanism;
    unsigned step;
    bool asked_before; /* this is a later message of an exchange: the vault knows it already */
    bool refused;      /* the vault refused a token, the client is told why; then 535 */
    char external[SASL_LOGIN_MAX + 1]; /* what EXTERNAL may log in as; "": nobody */
    char challenge[(SASL_CHALLENGE_MAX + 2) / 3 * 4 + 1]; /* base64, "" is the empty challenge */
    struct sasl_credential credential;
};

/* By name, any case; 0: unknown. */
enum sasl_mechanism sasl_by_name(const char *name, size_t len);
const char *sasl_name(enum sasl_mechanism mechanism);
enum sasl_kind sasl_kind(enum sasl_mechanism mechanism);

/* The names of a set of bits, blank between, strongest first, as EHLO lists them: "PLAIN LOGIN". */
void sasl_list(char *out, size_t cap, unsigned mechanisms);

/* `initial` is NULL when the client sent none; "=" is an empty one (RFC 4954 4). `external` is the
 * login of the client's certificate, "" where it has none. Wipes what was there. */
enum sasl_status sasl_start(struct sasl *s, enum sasl_mechanism mechanism, const char *external,
                            const char *initial, size_t len);
enum sasl_status sasl_step(struct sasl *s, const char *response, size_t len);

/* The vault's message for the client, of an exchange: SASL_CHALLENGE, or SASL_REFUSED when it is
 * over-long or one too many. */
enum sasl_status sasl_challenged(struct sasl *s, const uint8_t *message, size_t len);

/* The vault refused. SASL_CHALLENGE: the client is told why first (RFC 7628 3.2.2), whatever it
 * answers is SASL_REFUSED; or SASL_REFUSED at once. */
enum sasl_status sasl_refused(struct sasl *s);

/* Overwrites everything; the struct may be started again. */
void sasl_wipe(struct sasl *s);

/* What may be a login, a password: length, UTF-8, no control octets (a password: no NUL, CR, LF).
 */
bool sasl_login_fits(const void *login, size_t len);
bool sasl_password_fits(const void *password, size_t len);

#endif
