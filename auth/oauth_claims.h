/* What is said about a token, by itself or by its issuer, held against what is asked of it (RFC
 * 7519 4.1, RFC 7662 2.2). Pure: the time comes in. */
#ifndef VESTIBULE_AUTH_OAUTH_CLAIMS_H
#define VESTIBULE_AUTH_OAUTH_CLAIMS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "auth/realm.h"
#include "auth/sasl.h"

#define OAUTH_LEEWAY_S 60 /* clocks differ by so much */

/* Strings are borrowed. */
struct oauth_rules {
    const char *issuer;      /* must be said, exactly; NULL: anything will do */
    const char *audience;    /* must be among those said, exactly; NULL: anything will do */
    const char *login_claim; /* who says who it is */
    struct realm_rule realm;
    /* The issuer was asked about this very token, so it need not say for whom it is and until when;
     * what it does say must be right all the same. */
    bool introspected;
};

/* NULL: all is well, `login` is whose token it is, as the realm rule has it. Else a phrase that
 * goes after "the token". `claimed` is who the client says it is, as the realm rule has it; "": it
 * does not say. The part behind the last "@" is compared without case. */
const char *oauth_claims_fault(char login[SASL_LOGIN_MAX + 1], const json_t *claims,
                               const struct oauth_rules *rules, const char *claimed, int64_t now);

#endif
