/* What is said to a server that knows which tokens are good, and what it answers (RFC 7662). Pure.
 */
#ifndef VESTIBULE_AUTH_OAUTH_INTROSPECTION_H
#define VESTIBULE_AUTH_OAUTH_INTROSPECTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "auth/oauth_claims.h"
#include "auth/sasl.h"

#define INTROSPECTION_ANSWER_MAX 65536

/* As a form has it: all but letters, digits and -._~ as %XX (RFC 6749 appendix B). The caller frees
 * with introspection_wipe. NULL: out of memory. */
char *introspection_encode(const char *text, size_t len);

/* The form to send. The caller frees with introspection_wipe. NULL: out of memory. */
char *introspection_form(const char *token, size_t len);
void introspection_wipe(char *text); /* NULL is fine */

enum introspection_status {
    INTROSPECTION_GOOD,
    INTROSPECTION_REFUSED,
    INTROSPECTION_NONSENSE, /* no answer: neither good nor bad */
};

/* GOOD: `login` is whose token it is. Else *why is a phrase: after "the token", or, of nonsense,
 * after the server's name. For `claimed` see oauth_claims.h. */
enum introspection_status introspection_read(char login[SASL_LOGIN_MAX + 1], const char **why,
                                             long status, const char *body, size_t len,
                                             const struct oauth_rules *rules, const char *claimed,
                                             int64_t now);

#endif
