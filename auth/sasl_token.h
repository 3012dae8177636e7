/* The client's one message of OAUTHBEARER (RFC 7628 3.1) and XOAUTH2 (as Google and Microsoft
 * document it).
 *
 * Pure. Strict: each key once, values of printable octets, a bearer token of the characters that
 * RFC 6750 2.1 has, and nothing behind the end. */
#ifndef VESTIBULE_AUTH_SASL_TOKEN_H
#define VESTIBULE_AUTH_SASL_TOKEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "auth/sasl.h"

struct sasl_token {
    const uint8_t *token; /* into the message */
    size_t token_len;     /* more than 0 */
    size_t login_len;     /* 0: the token alone says who it is; only with OAUTHBEARER */
    char login[SASL_LOGIN_MAX + 1];
};

/* False: not such a message. `host` and `port` are checked for their form only: the certificate has
 * told the client already whom it talks to. */
bool sasl_token_oauthbearer(struct sasl_token *out, const uint8_t *message, size_t len);
bool sasl_token_xoauth2(struct sasl_token *out, const uint8_t *message, size_t len);

#endif
