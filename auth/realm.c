#include "auth/realm.h"

#include <string.h>
#include <strings.h>

static bool realm_put(char out[SASL_LOGIN_MAX + 1], const char *login, size_t len,
                      const char *domain)
{
    const size_t domain_len = domain != NULL ? strlen(domain) : 0;

    if (len == 0 || len + (domain != NULL) + domain_len > SASL_LOGIN_MAX)
        return false;
    memmove(out, login, len);
    if (domain != NULL) {
        out[len++] = '@';
        memcpy(out + len, domain, domain_len);
    }
    out[len + domain_len] = '\0';
    return true;
}

static bool realm_strip(const struct realm_rule *rule, char out[SASL_LOGIN_MAX + 1],
                        const char *login, const char *at)
{
    const bool ours =
        at == NULL || rule->default_realm == NULL || strcasecmp(at + 1, rule->default_realm) == 0;

    /* of two, cutting again what was cut once would leave yet another name */
    return ours && strchr(login, '@') == at &&
           realm_put(out, login, at != NULL ? (size_t)(at - login) : strlen(login), NULL);
}

bool realm_apply(const struct realm_rule *rule, char out[SASL_LOGIN_MAX + 1], const char *login)
{
    const char *const at = strrchr(login, '@');
    bool ok;

    if (rule->domain == REALM_STRIP)
        ok = realm_strip(rule, out, login, at);
    else
        ok = realm_put(out, login, strlen(login), at == NULL ? rule->default_realm : NULL);
    for (char *c = out; ok && rule->lower && *c != '\0'; c++)
        *c = *c >= 'A' && *c <= 'Z' ? (char)(*c - 'A' + 'a') : *c;
    return ok;
}
