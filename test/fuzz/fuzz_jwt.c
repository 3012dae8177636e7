#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "auth/base64url.h"
#include "auth/jwt.h"
#include "auth/oauth_introspection.h"

/* The first octet says what the rest is: a token, what it says, a provider's answer about it, a set
 * of keys, or base64. */

/* Nobody has the private keys of these: no token is good. */
static const char jwks[] = "{\"keys\":["
                           "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"ed\","
                           "\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"},"
                           "{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"ec\","
                           "\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
                           "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}]}";

static const struct oauth_rules rules = {
    .issuer = "i", .audience = "a", .login_claim = "email", .realm = {.lower = true}};

static void require(int holds)
{
    if (!holds)
        abort();
}

static void fuzz_token(const char *text, size_t len)
{
    char error[JWK_ERROR_MAX], login[SASL_LOGIN_MAX + 1];
    const char *why = NULL;
    struct jwk_set *s = jwk_set_parse(jwks, strlen(jwks), error);

    require(s != NULL && jwk_set_count(s) == 2);
    require(jwt_check(login, &why, text, len, s, &rules, "", 1000) != JWT_GOOD);
    require(why != NULL && why[0] != '\0');
    jwk_set_free(s);
}

static void fuzz_claims(const char *text, size_t len)
{
    char login[SASL_LOGIN_MAX + 1];
    json_t *claims = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
    struct oauth_rules asked = rules;

    asked.introspected = true;
    if (oauth_claims_fault(login, claims, &rules, "", 1000) == NULL) {
        require(strcmp(json_string_value(json_object_get(claims, "iss")), "i") == 0);
        require(json_number_value(json_object_get(claims, "exp")) > 939);
        require(sasl_login_fits(login, strlen(login)));
        require(oauth_claims_fault(login, claims, &asked, login, 1000) == NULL);
        require(oauth_claims_fault(login, claims, &rules, "x", 1000) == NULL ||
                strcmp(login, "x") != 0);
        require(oauth_claims_fault(login, claims, &rules, "", 9007199254740992) != NULL);
    }
    json_decref(claims);
}

static void fuzz_answer(const char *text, size_t len)
{
    char login[SASL_LOGIN_MAX + 1];
    const char *why = NULL;
    struct oauth_rules asked = rules;

    asked.introspected = true;
    if (introspection_read(login, &why, 200, text, len, &asked, "", 1000) == INTROSPECTION_GOOD)
        require(why == NULL && sasl_login_fits(login, strlen(login)) &&
                memmem(text, len, "true", 4) != NULL);
    else
        require(why != NULL);
    require(introspection_read(login, &why, 500, text, len, &asked, "", 1000) ==
            INTROSPECTION_NONSENSE);
}

static void fuzz_set(const char *text, size_t len)
{
    char error[JWK_ERROR_MAX] = "";
    struct jwk_set *s = jwk_set_parse(text, len, error);
    uint8_t signature[256] = {1};

    require((s == NULL) == (error[0] != '\0'));
    if (s == NULL)
        return;
    require(jwk_set_count(s) > 0 && jwk_set_count(s) <= JWK_KEYS_MAX);
    for (int i = 0; i < JWK_ALGORITHMS; i++)
        require(jwk_set_verify(s, (enum jwk_algorithm)i, NULL, signature, i < JWK_ES256 ? 256 : 64,
                               "text", 4) != JWK_GOOD);
    jwk_set_free(s);
}

/* One text for one value: another octet anywhere is another value, or none. */
static void fuzz_base64(char *text, size_t len)
{
    uint8_t out[256], other[256];
    size_t out_len, other_len;

    if (len == 0 || !base64url_decode(out, &out_len, sizeof out, text, len))
        return;
    require(out_len == len * 3 / 4);
    text[len - 1] ^= 1;
    require(!base64url_decode(other, &other_len, sizeof other, text, len) ||
            memcmp(out, other, out_len) != 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text;

    if (size == 0)
        return 0;
    text = malloc(size);
    memcpy(text, data, size);
    switch (data[0]) {
    case 't':
        fuzz_token(text + 1, size - 1);
        break;
    case 'c':
        fuzz_claims(text + 1, size - 1);
        break;
    case 'a':
        fuzz_answer(text + 1, size - 1);
        break;
    case 's':
        fuzz_set(text + 1, size - 1);
        break;
    default:
        fuzz_base64(text + 1, size - 1);
        break;
    }
    free(text);
    return 0;
}
