#include "auth/oauth_claims.h"

#include <string.h>
#include <strings.h>

/* RFC 7519 2: NumericDate, which may have a fraction. */
static bool claims_time(int64_t *out, const json_t *value)
{
    const double most = 9007199254740992.0; /* beyond, seconds are not told apart */
    double seconds;

    if (json_is_integer(value)) {
        *out = json_integer_value(value);
        return *out >= 0 && (double)*out < most;
    }
    seconds = json_is_real(value) ? json_real_value(value) : -1;
    if (!(seconds >= 0 && seconds < most))
        return false;
    *out = (int64_t)seconds;
    return true;
}

static bool claims_text_is(const json_t *value, const char *text)
{
    return json_is_string(value) && strcmp(json_string_value(value), text) == 0;
}

static bool claims_audience(const json_t *value, const char *audience)
{
    bool found = false;

    if (!json_is_array(value))
        return claims_text_is(value, audience);
    for (size_t i = 0; i < json_array_size(value); i++) {
        const json_t *one = json_array_get(value, i);
        if (!json_is_string(one))
            return false;
        found = found || claims_text_is(one, audience);
    }
    return found;
}

static const char *claims_parties_fault(const json_t *claims, const struct oauth_rules *rules)
{
    const json_t *issuer = json_object_get(claims, "iss");
    const json_t *audience = json_object_get(claims, "aud");

    if (rules->issuer != NULL && !(issuer == NULL && rules->introspected) &&
        !claims_text_is(issuer, rules->issuer))
        return "is of another issuer (iss)";
    if (rules->audience != NULL && !(audience == NULL && rules->introspected) &&
        !claims_audience(audience, rules->audience))
        return "is for another audience (aud)";
    return NULL;
}

static const char *claims_time_fault(const json_t *claims, const struct oauth_rules *rules,
                                     int64_t now)
{
    const json_t *expires = json_object_get(claims, "exp");
    const json_t *begins = json_object_get(claims, "nbf");
    const json_t *issued = json_object_get(claims, "iat");
    int64_t at;

    if (expires == NULL && !rules->introspected)
        return "does not say until when it is good (exp)";
    if ((expires != NULL && !claims_time(&at, expires)) ||
        (begins != NULL && !claims_time(&at, begins)) ||
        (issued != NULL && !claims_time(&at, issued)))
        return "has a time that is none (exp, nbf, iat)";
    if (expires != NULL && claims_time(&at, expires) && at <= now - OAUTH_LEEWAY_S)
        return "has expired (exp)";
    if (begins != NULL && claims_time(&at, begins) && at > now + OAUTH_LEEWAY_S)
        return "is not good yet (nbf)";
    if (issued != NULL && claims_time(&at, issued) && at > now + OAUTH_LEEWAY_S)
        return "was issued in the future (iat)";
    return NULL;
}

static bool claims_same_login(const char *a, const char *b)
{
    const char *const at = strrchr(a, '@');
    const size_t local = at != NULL ? (size_t)(at - a) : strlen(a);

    return strlen(a) == strlen(b) && strncmp(a, b, local) == 0 &&
           strcasecmp(a + local, b + local) == 0;
}

static const char *claims_login_fault(char login[SASL_LOGIN_MAX + 1], const json_t *claims,
                                      const struct oauth_rules *rules, const char *claimed)
{
    const json_t *name = json_object_get(claims, rules->login_claim);
    const json_t *verified = json_object_get(claims, "email_verified");

    if (!json_is_string(name))
        return "does not say whose it is (login_claim)";
    /* Anybody can tell some issuers that another's address is his. */
    if (strcmp(rules->login_claim, "email") == 0 && verified != NULL && !json_is_true(verified) &&
        !claims_text_is(verified, "true"))
        return "has an address that its issuer did not verify (email_verified)";
    if (!sasl_login_fits(json_string_value(name), json_string_length(name)) ||
        !realm_apply(&rules->realm, login, json_string_value(name)))
        return "is of somebody who can have no login here";
    if (claimed[0] != '\0' && !claims_same_login(login, claimed))
        return "is somebody else's";
    return NULL;
}

const char *oauth_claims_fault(char login[SASL_LOGIN_MAX + 1], const json_t *claims,
                               const struct oauth_rules *rules, const char *claimed, int64_t now)
{
    const char *fault = claims_parties_fault(claims, rules);

    if (fault == NULL)
        fault = claims_time_fault(claims, rules, now);
    if (fault == NULL)
        fault = claims_login_fault(login, claims, rules, claimed);
    return fault;
}
