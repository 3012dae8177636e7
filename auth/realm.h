/* Under which name a login is known: with its domain or without, in which case. Pure.
 *
 * The same rule stands before every backend, every counter and every quota, so that one user has
 * one name. */
#ifndef VESTIBULE_AUTH_REALM_H
#define VESTIBULE_AUTH_REALM_H

#include <stdbool.h>

#include "auth/sasl.h"

enum realm_domain {
    REALM_KEEP,
    REALM_STRIP, /* what stands behind the last "@" goes, if it is default_realm (where that is set:
                    a foreign domain is refused); without default_realm any domain goes */
};

struct realm_rule {
    const char *default_realm; /* added to a login without "@"; with REALM_STRIP: the one domain
                                  that is ours; NULL: none */
    enum realm_domain domain;
    bool lower; /* ASCII letters to lower case */
};

/* False: no login of ours (a foreign domain, empty, too long; two "@" with REALM_STRIP). What came
 * out comes out again as it is. `out` and `login` may be the same. */
bool realm_apply(const struct realm_rule *rule, char out[SASL_LOGIN_MAX + 1], const char *login);

#endif
