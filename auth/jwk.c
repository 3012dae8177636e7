#include "auth/jwk.h"

#include <jansson.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/ec_key.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/nid.h>
#include <openssl/rsa.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/base64url.h"

#define JWK_RSA_MIN 2048
#define JWK_RSA_MAX 8192
#define JWK_NUMBER_MAX (JWK_RSA_MAX / 8)
#define JWK_KID_MAX 256

static const struct jwk_kind {
    const char *name;
    int key;              /* EVP_PKEY_… */
    int curve;            /* NID; 0: not an elliptic curve of ECDSA */
    size_t signature_len; /* 0: the key's */
    const EVP_MD *(*digest)(void);
} jwk_kinds[JWK_ALGORITHMS] = {
    [JWK_RS256] = {"RS256", EVP_PKEY_RSA, 0, 0, EVP_sha256},
    [JWK_RS384] = {"RS384", EVP_PKEY_RSA, 0, 0, EVP_sha384},
    [JWK_RS512] = {"RS512", EVP_PKEY_RSA, 0, 0, EVP_sha512},
    [JWK_PS256] = {"PS256", EVP_PKEY_RSA, 0, 0, EVP_sha256},
    [JWK_ES256] = {"ES256", EVP_PKEY_EC, NID_X9_62_prime256v1, 64, EVP_sha256},
    [JWK_ES384] = {"ES384", EVP_PKEY_EC, NID_secp384r1, 96, EVP_sha384},
    [JWK_EDDSA] = {"EdDSA", EVP_PKEY_ED25519, 0, 64, NULL},
};

struct jwk {
    char *kid; /* NULL: none */
    EVP_PKEY *key;
    int curve;
    bool bound; /* to `algorithm` */
    enum jwk_algorithm algorithm;
};

struct jwk_set {
    size_t count;
    struct jwk at[JWK_KEYS_MAX];
};

bool jwk_algorithm_by_name(enum jwk_algorithm *out, const char *name)
{
    for (int i = 0; i < JWK_ALGORITHMS; i++) {
        if (strcmp(jwk_kinds[i].name, name) == 0) {
            *out = (enum jwk_algorithm)i;
            return true;
        }
    }
    return false;
}

void jwk_set_free(struct jwk_set *s)
{
    if (s == NULL)
        return;
    for (size_t i = 0; i < s->count; i++) {
        free(s->at[i].kid);
        EVP_PKEY_free(s->at[i].key);
    }
    free(s);
}

size_t jwk_set_count(const struct jwk_set *s)
{
    return s->count;
}

/* --- reading
 * -------------------------------------------------------------------------------------------------
 */

static const char *jwk_text(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

static bool jwk_octets(uint8_t *out, size_t *len, size_t cap, const json_t *object,
                       const char *name)
{
    const json_t *value = json_object_get(object, name);

    return json_is_string(value) &&
           base64url_decode(out, len, cap, json_string_value(value), json_string_length(value));
}

static BIGNUM *jwk_number(const json_t *object, const char *name)
{
    uint8_t octets[JWK_NUMBER_MAX];
    size_t len;

    return jwk_octets(octets, &len, sizeof octets, object, name) && len > 0
               ? BN_bin2bn(octets, len, NULL)
               : NULL;
}

/* NULL with NULL in *fault: out of memory or not a key at all. */
static EVP_PKEY *jwk_read_rsa(const json_t *object, const char **fault)
{
    BIGNUM *n = jwk_number(object, "n");
    BIGNUM *e = jwk_number(object, "e");
    RSA *rsa = RSA_new();
    EVP_PKEY *key = EVP_PKEY_new();
    bool good = n != NULL && e != NULL && rsa != NULL && key != NULL && BN_is_odd(e) &&
                !BN_is_one(e) && RSA_set0_key(rsa, n, e, NULL) == 1;

    if (!good) {
        BN_free(n);
        BN_free(e);
    } else if (BN_num_bits(n) < JWK_RSA_MIN || BN_num_bits(n) > JWK_RSA_MAX) {
        *fault = "holds an RSA key that is not of 2048 to 8192 bits; have the issuer use another";
        good = false;
    } else {
        good = EVP_PKEY_set1_RSA(key, rsa) == 1;
    }
    RSA_free(rsa);
    if (good)
        return key;
    EVP_PKEY_free(key);
    return NULL;
}

static EVP_PKEY *jwk_read_ec(const json_t *object, int curve)
{
    const int width = curve == NID_secp384r1 ? 48 : 32;
    BIGNUM *x = jwk_number(object, "x");
    BIGNUM *y = jwk_number(object, "y");
    EC_KEY *ec = EC_KEY_new_by_curve_name(curve);
    EVP_PKEY *key = EVP_PKEY_new();
    bool good = x != NULL && y != NULL && ec != NULL && key != NULL &&
                BN_num_bytes(x) <= (unsigned)width && BN_num_bytes(y) <= (unsigned)width &&
                EC_KEY_set_public_key_affine_coordinates(ec, x, y) == 1 &&
                EVP_PKEY_set1_EC_KEY(key, ec) == 1;

    BN_free(x);
    BN_free(y);
    EC_KEY_free(ec);
    if (good)
        return key;
    EVP_PKEY_free(key);
    return NULL;
}

static EVP_PKEY *jwk_read_ed25519(const json_t *object)
{
    uint8_t x[32];
    size_t len;

    if (!jwk_octets(x, &len, sizeof x, object, "x") || len != sizeof x)
        return NULL;
    return EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, x, len);
}

static bool jwk_is(const json_t *object, const char *name, const char *value)
{
    const char *text = jwk_text(object, name);

    return text != NULL && strcmp(text, value) == 0;
}

/* True: it was a key of a kind that is used here; out->key NULL: damaged. */
static bool jwk_read_key(struct jwk *out, const json_t *object, const char **fault)
{
    if (jwk_is(object, "kty", "RSA")) {
        out->key = jwk_read_rsa(object, fault);
    } else if (jwk_is(object, "kty", "EC") && jwk_is(object, "crv", "P-256")) {
        out->curve = NID_X9_62_prime256v1;
        out->key = jwk_read_ec(object, out->curve);
    } else if (jwk_is(object, "kty", "EC") && jwk_is(object, "crv", "P-384")) {
        out->curve = NID_secp384r1;
        out->key = jwk_read_ec(object, out->curve);
    } else if (jwk_is(object, "kty", "OKP") && jwk_is(object, "crv", "Ed25519")) {
        out->key = jwk_read_ed25519(object);
    } else {
        return false;
    }
    return true;
}

/* RFC 7517 4.2, 4.3. */
static bool jwk_verifies(const json_t *object)
{
    const json_t *use = json_object_get(object, "use");
    const json_t *operations = json_object_get(object, "key_ops");
    bool may = operations == NULL;

    for (size_t i = 0; i < json_array_size(operations); i++) {
        const char *one = json_string_value(json_array_get(operations, i));
        may = may || (one != NULL && strcmp(one, "verify") == 0);
    }
    return may && (use == NULL || jwk_is(object, "use", "sig"));
}

/* An algorithm that is not known here belongs to a key that is of no use here. */
static bool jwk_read_algorithm(struct jwk *out, const json_t *object)
{
    const char *name = jwk_text(object, "alg");

    out->bound = json_object_get(object, "alg") != NULL;
    return !out->bound || (name != NULL && jwk_algorithm_by_name(&out->algorithm, name));
}

static bool jwk_fits(const struct jwk *key, enum jwk_algorithm algorithm)
{
    const struct jwk_kind *kind = &jwk_kinds[algorithm];

    return EVP_PKEY_id(key->key) == kind->key && key->curve == kind->curve &&
           (!key->bound || key->algorithm == algorithm);
}

/* NULL: taken, or passed over. */
static const char *jwk_take(struct jwk_set *s, const json_t *object)
{
    const json_t *kid = json_object_get(object, "kid");
    struct jwk key = {.bound = false};
    const char *fault = "holds a damaged key; fetch the file anew";

    if (!json_is_object(object))
        return "holds something that is no key; it should be an issuer's JWKS";
    if (!jwk_verifies(object) || !jwk_read_algorithm(&key, object) ||
        !jwk_read_key(&key, object, &fault))
        return NULL;
    if (json_object_get(object, "d") != NULL)
        fault = "holds a private key; leave only public ones, and make the issuer a new one";
    else if (kid != NULL && (!json_is_string(kid) || json_string_length(kid) > JWK_KID_MAX))
        fault = "holds a key whose name (kid) is no text of at most 256 octets";
    else if (key.key != NULL && (!key.bound || jwk_fits(&key, key.algorithm)))
        fault = NULL;
    if (fault == NULL && kid != NULL && (key.kid = strdup(json_string_value(kid))) == NULL)
        fault = "could not be read: out of memory";
    if (fault == NULL)
        s->at[s->count++] = key;
    else
        EVP_PKEY_free(key.key);
    return fault;
}

static const char *jwk_take_all(struct jwk_set *s, const json_t *keys)
{
    const char *fault = NULL;

    if (!json_is_array(keys))
        return "is no JWKS: there is no list \"keys\" in it";
    if (json_array_size(keys) > JWK_KEYS_MAX)
        return "holds more than 64 keys";
    for (size_t i = 0; fault == NULL && i < json_array_size(keys); i++)
        fault = jwk_take(s, json_array_get(keys, i));
    if (fault == NULL && s->count == 0)
        fault = "holds no key that can check a signature (RSA, P-256, P-384 or Ed25519)";
    return fault;
}

struct jwk_set *jwk_set_parse(const char *text, size_t len, char error[JWK_ERROR_MAX])
{
    struct jwk_set *s = calloc(1, sizeof *s);
    json_error_t where;
    json_t *root = s != NULL && len <= JWK_SET_MAX
                       ? json_loadb(text, len, JSON_REJECT_DUPLICATES, &where)
                       : NULL;
    const char *fault = "is no JSON";

    if (s == NULL)
        fault = "could not be read: out of memory";
    else if (len > JWK_SET_MAX)
        fault = "is longer than 256 KiB";
    else if (root != NULL)
        fault = jwk_take_all(s, json_object_get(root, "keys"));
    json_decref(root);
    ERR_clear_error();
    if (fault == NULL)
        return s;
    snprintf(error, JWK_ERROR_MAX, "%s", fault);
    jwk_set_free(s);
    return NULL;
}

/* --- signatures
 * ----------------------------------------------------------------------------------------------
 */

/* JWS has r and s side by side (RFC 7518 3.4), not in ASN.1. */
static bool jwk_verify_ecdsa(const struct jwk_kind *kind, const EVP_PKEY *key,
                             const uint8_t *signature, const void *text, size_t len)
{
    const size_t half = kind->signature_len / 2;
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned digest_len;
    ECDSA_SIG *sig = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(signature, half, NULL);
    BIGNUM *s = BN_bin2bn(signature + half, half, NULL);
    bool good = sig != NULL && r != NULL && s != NULL && ECDSA_SIG_set0(sig, r, s) == 1;

    if (!good) {
        BN_free(r);
        BN_free(s);
    }
    good = good && EVP_Digest(text, len, digest, &digest_len, kind->digest(), NULL) == 1 &&
           ECDSA_do_verify(digest, digest_len, sig, EVP_PKEY_get0_EC_KEY(key)) == 1;
    ECDSA_SIG_free(sig);
    return good;
}

static bool jwk_verify_other(const struct jwk_kind *kind, bool pss, EVP_PKEY *key,
                             const uint8_t *signature, size_t signature_len, const void *text,
                             size_t len)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *how;
    bool good =
        ctx != NULL && EVP_DigestVerifyInit(ctx, &how, kind->digest != NULL ? kind->digest() : NULL,
                                            NULL, key) == 1;

    /* RFC 7518 3.5: the salt is as long as the digest. */
    if (good && pss)
        good = EVP_PKEY_CTX_set_rsa_padding(how, RSA_PKCS1_PSS_PADDING) == 1 &&
               EVP_PKEY_CTX_set_rsa_pss_saltlen(how, -1) == 1;
    good = good && EVP_DigestVerify(ctx, signature, signature_len, text, len) == 1;
    EVP_MD_CTX_free(ctx);
    return good;
}

static bool jwk_verify(const struct jwk *key, enum jwk_algorithm algorithm,
                       const uint8_t *signature, size_t signature_len, const void *text, size_t len)
{
    const struct jwk_kind *kind = &jwk_kinds[algorithm];
    const size_t expected =
        kind->signature_len != 0 ? kind->signature_len : (size_t)EVP_PKEY_size(key->key);
    bool good;

    if (signature_len != expected)
        return false;
    good = kind->curve != 0 ? jwk_verify_ecdsa(kind, key->key, signature, text, len)
                            : jwk_verify_other(kind, algorithm == JWK_PS256, key->key, signature,
                                               signature_len, text, len);
    ERR_clear_error();
    return good;
}

enum jwk_status jwk_set_verify(const struct jwk_set *s, enum jwk_algorithm algorithm,
                               const char *kid, const uint8_t *signature, size_t signature_len,
                               const void *signed_text, size_t len)
{
    const struct jwk *found = NULL;

    for (size_t i = 0; i < s->count; i++) {
        const struct jwk *key = &s->at[i];
        if (!jwk_fits(key, algorithm) ||
            (kid != NULL && (key->kid == NULL || strcmp(key->kid, kid) != 0)))
            continue;
        if (found != NULL)
            return JWK_UNKNOWN;
        found = key;
    }
    if (found == NULL)
        return JWK_UNKNOWN;
    return jwk_verify(found, algorithm, signature, signature_len, signed_text, len) ? JWK_GOOD
                                                                                    : JWK_BAD;
}
