#include "auth/oauth_introspection.h"

#include <openssl/mem.h>
#include <stdlib.h>
#include <string.h>

static bool form_plain(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_' || c == '~';
}

/* Room for three times as many octets and a NUL. */
static void form_put(char *out, const char *text, size_t len)
{
    static const char digits[] = "0123456789ABCDEF";

    for (size_t i = 0; i < len; i++) {
        if (form_plain(text[i])) {
            *out++ = text[i];
            continue;
        }
        *out++ = '%';
        *out++ = digits[(uint8_t)text[i] >> 4];
        *out++ = digits[(uint8_t)text[i] & 15];
    }
    *out = '\0';
}

char *introspection_encode(const char *text, size_t len)
{
    char *out = malloc(3 * len + 1);

    if (out != NULL)
        form_put(out, text, len);
    return out;
}

char *introspection_form(const char *token, size_t len)
{
    static const char begin[] = "token_type_hint=access_token&token=";
    char *out = malloc(sizeof begin + 3 * len);

    if (out == NULL)
        return NULL;
    memcpy(out, begin, sizeof begin - 1);
    form_put(out + sizeof begin - 1, token, len);
    return out;
}

void introspection_wipe(char *text)
{
    if (text != NULL)
        OPENSSL_cleanse(text, strlen(text));
    free(text);
}

static const char *status_fault(long status)
{
    if (status == 401 || status == 403)
        return "does not take client_id and client_secret_file";
    return status == 200 ? NULL : "does not answer with 200";
}

enum introspection_status introspection_read(char login[SASL_LOGIN_MAX + 1], const char **why,
                                             long status, const char *body, size_t len,
                                             const struct oauth_rules *rules, const char *claimed,
                                             int64_t now)
{
    json_t *answer = NULL;
    const json_t *active;
    enum introspection_status result = INTROSPECTION_NONSENSE;

    *why = status_fault(status);
    if (*why != NULL)
        return INTROSPECTION_NONSENSE;
    answer = json_loadb(body, len, JSON_REJECT_DUPLICATES, NULL);
    active = json_object_get(answer, "active");
    if (!json_is_boolean(active)) {
        *why = "does not say whether the token is active";
    } else {
        *why = json_is_true(active) ? oauth_claims_fault(login, answer, rules, claimed, now)
                                    : "is not active";
        result = *why == NULL ? INTROSPECTION_GOOD : INTROSPECTION_REFUSED;
    }
    json_decref(answer);
    return result;
}
