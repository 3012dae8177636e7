/* Signed tokens (JWT as JWS in compact form, RFC 7519, 7515, 8725). Pure: the time comes in.
 *
 * The key is chosen from the issuer's set alone: what a token says of its own keys (jwk, jku, x5c,
 * x5u) means nothing. The algorithm must be one of jwk.h and the key's. A header that asks for
 * something special (crit) and a name that stands twice in one object are refused. */
#ifndef VESTIBULE_AUTH_JWT_H
#define VESTIBULE_AUTH_JWT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "auth/jwk.h"
#include "auth/oauth_claims.h"
#include "auth/sasl.h"

enum jwt_status {
    JWT_GOOD,
    JWT_REFUSED,
    JWT_UNKNOWN_KEY, /* signed with a key that the set lacks: a newer set may have it */
};

/* Three parts with dots between: not an opaque token. */
bool jwt_shaped(const char *token, size_t len);

/* GOOD: `login` is whose it is. Else *why is a phrase that goes after "the token". For `claimed`
 * see oauth_claims.h. */
enum jwt_status jwt_check(char login[SASL_LOGIN_MAX + 1], const char **why, const char *token,
                          size_t len, const struct jwk_set *keys, const struct oauth_rules *rules,
                          const char *claimed, int64_t now);

#endif
