#include "auth/sasl_token.h"

#include <string.h>
#include <strings.h>

/* RFC 7628 knows seven keys; a message that has more than this many is none of ours. */
enum { SASL_TOKEN_PAIRS_MAX = 16, SASL_TOKEN_SEPARATOR = 0x01 };

/* What is left to read. */
struct sasl_token_text {
    const uint8_t *at;
    size_t len;
};

struct sasl_token_pair {
    struct sasl_token_text key;
    struct sasl_token_text value;
};

static void sasl_token_skip(struct sasl_token_text *t, size_t len)
{
    t->at += len;
    t->len -= len;
}

static bool sasl_token_prefix(struct sasl_token_text *t, const char *prefix)
{
    const size_t len = strlen(prefix);

    if (t->len < len || memcmp(t->at, prefix, len) != 0)
        return false;
    sasl_token_skip(t, len);
    return true;
}

/* What stands before the next `end`, which goes too. */
static bool sasl_token_until(struct sasl_token_text *out, struct sasl_token_text *t, uint8_t end)
{
    const uint8_t *const stop = t->len > 0 ? memchr(t->at, end, t->len) : NULL;

    if (stop == NULL)
        return false;
    *out = (struct sasl_token_text){.at = t->at, .len = (size_t)(stop - t->at)};
    sasl_token_skip(t, out->len + 1);
    return true;
}

static bool sasl_token_equal(const struct sasl_token_text *t, const char *word)
{
    return t->len == strlen(word) && strncasecmp((const char *)t->at, word, t->len) == 0;
}

static bool sasl_token_alpha(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool sasl_token_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static bool sasl_token_all(const struct sasl_token_text *t, bool (*holds)(uint8_t c))
{
    for (size_t i = 0; i < t->len; i++) {
        if (!holds(t->at[i]))
            return false;
    }
    return t->len > 0;
}

static bool sasl_token_visible(uint8_t c)
{
    return c > 0x20 && c < 0x7f;
}

static bool sasl_token_printable(uint8_t c)
{
    return c == '\t' || (c >= 0x20 && c < 0x7f);
}

static bool sasl_token_port(const struct sasl_token_text *t)
{
    unsigned port = 0;

    if (t->len > 5 || !sasl_token_all(t, sasl_token_digit))
        return false;
    for (size_t i = 0; i < t->len; i++)
        port = port * 10 + (unsigned)(t->at[i] - '0');
    return port > 0 && port <= UINT16_MAX;
}

static bool sasl_token_b64(uint8_t c)
{
    return sasl_token_alpha(c) || sasl_token_digit(c) || (c != '\0' && strchr("-._~+/", c) != NULL);
}

/* RFC 6750 2.1: "Bearer" SP b64token. */
static bool sasl_token_bearer(struct sasl_token *out, struct sasl_token_text value)
{
    struct sasl_token_text scheme;

    if (!sasl_token_until(&scheme, &value, ' ') || !sasl_token_equal(&scheme, "Bearer"))
        return false;
    out->token = value.at;
    out->token_len = value.len;
    while (value.len > 0 && value.at[value.len - 1] == '=')
        value.len--;
    return sasl_token_all(&value, sasl_token_b64);
}

static bool sasl_token_login(struct sasl_token *out, const struct sasl_token_text *name)
{
    if (!sasl_login_fits(name->at, name->len))
        return false;
    memcpy(out->login, name->at, name->len);
    out->login_len = name->len;
    out->login[name->len] = '\0';
    return true;
}

/* RFC 5801 4: in a saslname "=2C" is a comma and "=3D" an equals sign. */
static bool sasl_token_saslname(struct sasl_token *out, struct sasl_token_text name)
{
    uint8_t plain[SASL_LOGIN_MAX];
    struct sasl_token_text decoded = {.at = plain};

    while (name.len > 0) {
        uint8_t c = *name.at;
        if (sasl_token_prefix(&name, "=2C"))
            c = ',';
        else if (sasl_token_prefix(&name, "=3D"))
            c = '=';
        else if (c != '=')
            sasl_token_skip(&name, 1);
        else
            return false;
        if (decoded.len == sizeof plain)
            return false;
        plain[decoded.len++] = c;
    }
    return sasl_token_login(out, &decoded);
}

/* RFC 5801 4, without a channel binding: there is no OAUTHBEARER-PLUS. */
static bool sasl_token_header(struct sasl_token *out, struct sasl_token_text *t)
{
    struct sasl_token_text flag;
    struct sasl_token_text authzid;

    if (!sasl_token_until(&flag, t, ',') || !sasl_token_until(&authzid, t, ','))
        return false;
    if (flag.len != 1 || (flag.at[0] != 'n' && flag.at[0] != 'y'))
        return false;
    if (authzid.len == 0)
        return true;
    return sasl_token_prefix(&authzid, "a=") && sasl_token_saslname(out, authzid);
}

static bool sasl_token_take_pair(struct sasl_token_pair *out, struct sasl_token_text *t)
{
    return sasl_token_until(&out->value, t, SASL_TOKEN_SEPARATOR) &&
           sasl_token_until(&out->key, &out->value, '=') &&
           sasl_token_all(&out->key, sasl_token_alpha) &&
           (out->value.len == 0 || sasl_token_all(&out->value, sasl_token_printable));
}

static bool sasl_token_seen(const struct sasl_token_pair *pair, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (pair[i].key.len == pair[count].key.len &&
            strncasecmp((const char *)pair[i].key.at, (const char *)pair[count].key.at,
                        pair[count].key.len) == 0)
            return true;
    }
    return false;
}

/* Keys that mean nothing to us are left alone. */
static bool sasl_token_means(struct sasl_token *out, const struct sasl_token_pair *pair)
{
    if (sasl_token_equal(&pair->key, "auth"))
        return sasl_token_bearer(out, pair->value);
    if (sasl_token_equal(&pair->key, "host"))
        return sasl_token_all(&pair->value, sasl_token_visible);
    if (sasl_token_equal(&pair->key, "port"))
        return sasl_token_port(&pair->value);
    return true;
}

/* `*count` pairs, and the separator that ends them; nothing may stand behind it. */
static bool sasl_token_pairs(struct sasl_token_pair pair[SASL_TOKEN_PAIRS_MAX], size_t *count,
                             struct sasl_token_text *t)
{
    while (t->len > 0 && t->at[0] != SASL_TOKEN_SEPARATOR) {
        if (*count == SASL_TOKEN_PAIRS_MAX || !sasl_token_take_pair(&pair[*count], t) ||
            sasl_token_seen(pair, *count))
            return false;
        ++*count;
    }
    return t->len == 1;
}

bool sasl_token_oauthbearer(struct sasl_token *out, const uint8_t *message, size_t len)
{
    struct sasl_token_text t = {.at = message, .len = len};
    struct sasl_token_pair pair[SASL_TOKEN_PAIRS_MAX];
    size_t count = 0;

    memset(out, 0, sizeof *out);
    if (!sasl_token_header(out, &t) || !sasl_token_prefix(&t, "\x01") ||
        !sasl_token_pairs(pair, &count, &t))
        return false;
    for (size_t i = 0; i < count; i++) {
        if (!sasl_token_means(out, &pair[i]))
            return false;
    }
    return out->token != NULL;
}

bool sasl_token_xoauth2(struct sasl_token *out, const uint8_t *message, size_t len)
{
    struct sasl_token_text t = {.at = message, .len = len};
    struct sasl_token_text user;
    struct sasl_token_text auth;

    memset(out, 0, sizeof *out);
    return sasl_token_prefix(&t, "user=") && sasl_token_until(&user, &t, SASL_TOKEN_SEPARATOR) &&
           sasl_token_login(out, &user) && sasl_token_prefix(&t, "auth=") &&
           sasl_token_until(&auth, &t, SASL_TOKEN_SEPARATOR) && sasl_token_bearer(out, auth) &&
           t.len == 1 && t.at[0] == SASL_TOKEN_SEPARATOR;
}
