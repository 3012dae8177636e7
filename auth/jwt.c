#include "auth/jwt.h"

#include <openssl/mem.h>
#include <string.h>
#include <strings.h>

#include "auth/base64url.h"

#define JWT_PART_MAX (SASL_SECRET_MAX / 4 * 3)

struct jwt_part {
    const char *at;
    size_t len;
};

struct jwt_parts {
    struct jwt_part header;
    struct jwt_part payload;
    struct jwt_part signature;
};

static bool jwt_cut(struct jwt_part *out, const char **at, const char *end)
{
    const char *dot = memchr(*at, '.', (size_t)(end - *at));

    if (dot == NULL)
        return false;
    *out = (struct jwt_part){.at = *at, .len = (size_t)(dot - *at)};
    *at = dot + 1;
    return out->len > 0;
}

static bool jwt_split(struct jwt_parts *out, const char *token, size_t len)
{
    const char *at = token;
    const char *const end = token + len;

    if (len > SASL_SECRET_MAX || !jwt_cut(&out->header, &at, end) ||
        !jwt_cut(&out->payload, &at, end))
        return false;
    out->signature = (struct jwt_part){.at = at, .len = (size_t)(end - at)};
    return out->signature.len > 0 && memchr(at, '.', out->signature.len) == NULL;
}

bool jwt_shaped(const char *token, size_t len)
{
    struct jwt_parts parts;

    return jwt_split(&parts, token, len);
}

/* NULL: no JSON object, or one in which a name stands twice. */
static json_t *jwt_object(const struct jwt_part *part)
{
    uint8_t text[JWT_PART_MAX];
    size_t len;
    json_t *value = NULL;

    if (base64url_decode(text, &len, sizeof text, part->at, part->len))
        value = json_loadb((const char *)text, len, JSON_REJECT_DUPLICATES, NULL);
    OPENSSL_cleanse(text, sizeof text);
    if (json_is_object(value))
        return value;
    json_decref(value);
    return NULL;
}

/* RFC 8725 3.11: a token made for something else, such as a logout, must not log in. */
static bool jwt_type_good(const json_t *type)
{
    static const char *const good[] = {"JWT", "at+jwt", "application/at+jwt", "application/jwt"};

    for (size_t i = 0; json_is_string(type) && i < sizeof good / sizeof good[0]; i++)
        if (strcasecmp(json_string_value(type), good[i]) == 0)
            return true;
    return type == NULL;
}

/* NULL: as it should be. */
static const char *jwt_header_fault(enum jwk_algorithm *algorithm, const char **kid,
                                    const json_t *header)
{
    const json_t *named = json_object_get(header, "kid");
    const char *name = json_string_value(json_object_get(header, "alg"));

    *kid = json_string_value(named);
    if (name == NULL || !jwk_algorithm_by_name(algorithm, name))
        return "is signed in a way that is not taken (alg)";
    if (json_object_get(header, "crit") != NULL)
        return "asks for what is not known here (crit)";
    if (!jwt_type_good(json_object_get(header, "typ")))
        return "is of another type (typ)";
    if (named != NULL && *kid == NULL)
        return "names its key by something that is no text (kid)";
    return NULL;
}

static enum jwk_status jwt_verify(const struct jwt_parts *parts, enum jwk_algorithm algorithm,
                                  const char *kid, const struct jwk_set *keys)
{
    const size_t len = (size_t)(parts->payload.at + parts->payload.len - parts->header.at);
    uint8_t signature[JWK_SIGNATURE_MAX];
    size_t signature_len;

    if (!base64url_decode(signature, &signature_len, sizeof signature, parts->signature.at,
                          parts->signature.len))
        return JWK_BAD;
    enum jwk_status status =
        jwk_set_verify(keys, algorithm, kid, signature, signature_len, parts->header.at, len);
    OPENSSL_cleanse(signature, sizeof signature);
    return status;
}

static enum jwt_status jwt_check_signature(const char **why, const struct jwt_parts *parts,
                                           const struct jwk_set *keys)
{
    json_t *header = jwt_object(&parts->header);
    enum jwk_algorithm algorithm;
    const char *kid;
    enum jwk_status status = JWK_BAD;

    *why = header != NULL ? jwt_header_fault(&algorithm, &kid, header) : "is damaged";
    if (*why == NULL) {
        status = jwt_verify(parts, algorithm, kid, keys);
        if (status == JWK_UNKNOWN)
            *why = "is signed with a key that is not known (kid)";
        else if (status == JWK_BAD)
            *why = "has a wrong signature";
    }
    json_decref(header);
    if (*why == NULL)
        return JWT_GOOD;
    return status == JWK_UNKNOWN ? JWT_UNKNOWN_KEY : JWT_REFUSED;
}

enum jwt_status jwt_check(char login[SASL_LOGIN_MAX + 1], const char **why, const char *token,
                          size_t len, const struct jwk_set *keys, const struct oauth_rules *rules,
                          const char *claimed, int64_t now)
{
    struct jwt_parts parts;
    enum jwt_status status;
    json_t *claims;

    *why = "is no signed token (JWT)";
    if (!jwt_split(&parts, token, len))
        return JWT_REFUSED;
    status = jwt_check_signature(why, &parts, keys);
    if (status != JWT_GOOD)
        return status;
    claims = jwt_object(&parts.payload);
    *why = claims != NULL ? oauth_claims_fault(login, claims, rules, claimed, now) : "is damaged";
    json_decref(claims);
    return *why == NULL ? JWT_GOOD : JWT_REFUSED;
}
