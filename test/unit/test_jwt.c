#include "auth/jwt.h"

#include <openssl/base64.h>
#include <openssl/bn.h>
#include <openssl/ec_key.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/mem.h>
#include <openssl/nid.h>
#include <openssl/rsa.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "auth/base64url.h"

#define NOW 1800000000
#define TOKEN_MAX 32768
#define JWK_MAX 4096
#define ISSUER "https://id.example/"
#define CLAIMS                                                                   \
    "{\"iss\":\"https://id.example/\",\"aud\":\"vestibule\",\"exp\":1800000300," \
    "\"email\":\"alice@any.example\"}"

static EVP_PKEY *rsa, *other_rsa, *small_rsa, *p256, *p384, *ed25519;
static struct jwk_set *keys;
static char jwks[TOKEN_MAX];

static const struct oauth_rules rules = {
    .issuer = ISSUER, .audience = "vestibule", .login_claim = "email"};

/* --- making keys and tokens
 * ----------------------------------------------------------------------------------
 */

/* Behind what is there. */
static void add(char *out, const char *format, ...)
{
    const size_t len = strlen(out);
    va_list args;
    va_start(args, format);
    vsnprintf(out + len, TOKEN_MAX - len, format, args);
    va_end(args);
}

static void b64(char *out, const void *data, size_t len)
{
    size_t n = EVP_EncodeBlock((uint8_t *)out, data, len);
    while (n > 0 && out[n - 1] == '=')
        out[--n] = '\0';
    for (char *c = out; *c != '\0'; c++)
        *c = *c == '+' ? '-' : *c == '/' ? '_' : *c;
}

static void b64_number(char *out, const BIGNUM *n, size_t width)
{
    uint8_t octets[1024];
    if (width == 0)
        width = BN_num_bytes(n);
    BN_bn2bin_padded(octets, width, n);
    b64(out, octets, width);
}

static EVP_PKEY *new_rsa(int bits)
{
    RSA *key = RSA_new();
    BIGNUM *e = BN_new();
    EVP_PKEY *out = EVP_PKEY_new();
    BN_set_word(e, RSA_F4);
    RSA_generate_key_ex(key, bits, e, NULL);
    BN_free(e);
    EVP_PKEY_assign_RSA(out, key);
    return out;
}

static EVP_PKEY *new_ec(int curve)
{
    EC_KEY *key = EC_KEY_new_by_curve_name(curve);
    EVP_PKEY *out = EVP_PKEY_new();
    EC_KEY_generate_key(key);
    EVP_PKEY_assign_EC_KEY(out, key);
    return out;
}

static EVP_PKEY *new_ed25519(void)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_id(EVP_PKEY_ED25519, NULL);
    EVP_PKEY *out = NULL;
    EVP_PKEY_keygen_init(ctx);
    EVP_PKEY_keygen(ctx, &out);
    EVP_PKEY_CTX_free(ctx);
    return out;
}

static void jwk_rsa(char *out, EVP_PKEY *key, const char *more)
{
    char n[2048], e[16];
    b64_number(n, RSA_get0_n(EVP_PKEY_get0_RSA(key)), 0);
    b64_number(e, RSA_get0_e(EVP_PKEY_get0_RSA(key)), 0);
    snprintf(out, JWK_MAX, "{\"kty\":\"RSA\",\"n\":\"%s\",\"e\":\"%s\"%s}", n, e, more);
}

static void jwk_ec(char *out, EVP_PKEY *key, size_t width, const char *more)
{
    char x[128], y[128];
    const EC_KEY *ec = EVP_PKEY_get0_EC_KEY(key);
    BIGNUM *bx = BN_new(), *by = BN_new();
    EC_POINT_get_affine_coordinates_GFp(EC_KEY_get0_group(ec), EC_KEY_get0_public_key(ec), bx, by,
                                        NULL);
    b64_number(x, bx, width);
    b64_number(y, by, width);
    BN_free(bx);
    BN_free(by);
    snprintf(out, JWK_MAX, "{\"kty\":\"EC\",\"crv\":\"P-%zu\",\"x\":\"%s\",\"y\":\"%s\"%s}",
             width * 8, x, y, more);
}

static void jwk_ed25519(char *out, const char *more)
{
    uint8_t octets[32];
    size_t len = sizeof octets;
    char x[64];
    EVP_PKEY_get_raw_public_key(ed25519, octets, &len);
    b64(x, octets, len);
    snprintf(out, JWK_MAX, "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"%s\"%s}", x, more);
}

static size_t sign(uint8_t *out, EVP_PKEY *key, const EVP_MD *md, bool pss, const char *text)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *how;
    size_t len = 1024;
    EVP_DigestSignInit(ctx, &how, md, NULL, key);
    if (pss) {
        EVP_PKEY_CTX_set_rsa_padding(how, RSA_PKCS1_PSS_PADDING);
        EVP_PKEY_CTX_set_rsa_pss_saltlen(how, -1);
    }
    assert_int_equal(EVP_DigestSign(ctx, out, &len, (const uint8_t *)text, strlen(text)), 1);
    EVP_MD_CTX_free(ctx);
    return len;
}

static size_t sign_ecdsa(uint8_t *out, EVP_PKEY *key, const EVP_MD *md, size_t width,
                         const char *text)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned len;
    EVP_Digest(text, strlen(text), digest, &len, md, NULL);
    ECDSA_SIG *sig = ECDSA_do_sign(digest, len, EVP_PKEY_get0_EC_KEY(key));
    const BIGNUM *r, *s;
    ECDSA_SIG_get0(sig, &r, &s);
    BN_bn2bin_padded(out, width, r);
    BN_bn2bin_padded(out + width, width, s);
    ECDSA_SIG_free(sig);
    return 2 * width;
}

static size_t signature(uint8_t *out, const char *alg, EVP_PKEY *key, const char *text)
{
    if (strcmp(alg, "ES256") == 0)
        return sign_ecdsa(out, key, EVP_sha256(), 32, text);
    if (strcmp(alg, "ES384") == 0)
        return sign_ecdsa(out, key, EVP_sha384(), 48, text);
    if (strcmp(alg, "EdDSA") == 0)
        return sign(out, key, NULL, false, text);
    const EVP_MD *md = strstr(alg, "256")   ? EVP_sha256()
                       : strstr(alg, "384") ? EVP_sha384()
                                            : EVP_sha512();
    return sign(out, key, md, alg[0] == 'P', text);
}

/* The header as it is given, the signature of that algorithm whatever the header says. */
static void token_of(char out[TOKEN_MAX], const char *header, const char *claims, const char *alg,
                     EVP_PKEY *key)
{
    uint8_t sig[1024];
    char part[TOKEN_MAX];
    b64(out, header, strlen(header));
    b64(part, claims, strlen(claims));
    add(out, ".%s", part);
    const size_t len = signature(sig, alg, key, out);
    b64(part, sig, len);
    add(out, ".%s", part);
}

static void token(char out[TOKEN_MAX], const char *claims)
{
    token_of(out, "{\"alg\":\"ES256\",\"kid\":\"p256\"}", claims, "ES256", p256);
}

static int make_all(void **state)
{
    char error[JWK_ERROR_MAX], one[JWK_MAX];
    (void)state;
    rsa = new_rsa(2048);
    other_rsa = new_rsa(2048);
    small_rsa = new_rsa(1024);
    p256 = new_ec(NID_X9_62_prime256v1);
    p384 = new_ec(NID_secp384r1);
    ed25519 = new_ed25519();
    add(jwks, "{\"keys\":[");
    jwk_rsa(one, rsa, ",\"kid\":\"rsa\",\"use\":\"sig\"");
    add(jwks, "%s,", one);
    jwk_rsa(one, other_rsa, ",\"kid\":\"only-ps\",\"alg\":\"PS256\",\"key_ops\":[\"verify\"]");
    add(jwks, "%s,", one);
    jwk_ec(one, p256, 32, ",\"kid\":\"p256\"");
    add(jwks, "%s,", one);
    jwk_ec(one, p384, 48, ",\"kid\":\"p384\",\"alg\":\"ES384\"");
    add(jwks, "%s,", one);
    jwk_ed25519(one, ",\"kid\":\"ed\"");
    add(jwks, "%s,", one);
    add(jwks, "%s",
        "{\"kty\":\"oct\",\"k\":\"AAAA\",\"kid\":\"secret\"},"
        "{\"kty\":\"new\",\"kid\":\"unheard of\"}]}");
    keys = jwk_set_parse(jwks, strlen(jwks), error);
    return keys != NULL && jwk_set_count(keys) == 5 ? 0 : -1;
}

static int free_all(void **state)
{
    EVP_PKEY *all[] = {rsa, other_rsa, small_rsa, p256, p384, ed25519};
    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        EVP_PKEY_free(all[i]);
    jwk_set_free(keys);
    return 0;
}

static enum jwt_status check_as(const char *text, const char *claimed,
                                const struct oauth_rules *with, const char **why)
{
    char login[SASL_LOGIN_MAX + 1] = "";
    /* exactly as long as it is, for the sanitizer to see one octet more being read */
    const size_t len = strlen(text);
    char *copy = malloc(len > 0 ? len : 1);
    memcpy(copy, text, len);
    enum jwt_status status = jwt_check(login, why, copy, len, keys, with, claimed, NOW);
    free(copy);
    if (status == JWT_GOOD)
        assert_string_equal(login, "alice@any.example");
    else
        assert_non_null(*why);
    return status;
}

static void good(const char *text)
{
    const char *why = NULL;
    if (check_as(text, "", &rules, &why) != JWT_GOOD)
        fail_msg("%s", why);
}

static void bad(const char *text, const char *word)
{
    const char *why = NULL;
    assert_int_equal(check_as(text, "", &rules, &why), JWT_REFUSED);
    if (strstr(why, word) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", why, word);
}

static void bad_claims(const char *claims, const char *word)
{
    char text[TOKEN_MAX];
    token(text, claims);
    bad(text, word);
}

static void good_claims(const char *claims)
{
    char text[TOKEN_MAX];
    token(text, claims);
    good(text);
}

/* --- base64
 * --------------------------------------------------------------------------------------------------
 */

static void base64_is_of_one_form(void **state)
{
    static const struct {
        const char *text;
        int len; /* -1: refused */
    } rows[] = {{"", 0},        {"AA", 1},    {"AAA", 2},    {"AAAA", 3},  {"-_-_", 3},
                {"_w", 1},      {"A", -1},    {"AAAAA", -1}, {"AA==", -1}, {"AA=", -1},
                {"AB", -1},     {"AAB", -1},  {"A+AA", -1},  {"A/AA", -1}, {"A AA", -1},
                {"AAAA\n", -1}, {"AAAAAA", 4}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint8_t out[4];
        size_t len;
        assert_int_equal(
            base64url_decode(out, &len, sizeof out, rows[i].text, strlen(rows[i].text)),
            rows[i].len >= 0);
        if (rows[i].len >= 0)
            assert_int_equal(len, rows[i].len);
    }
    uint8_t out[3];
    size_t len;
    assert_true(base64url_decode(out, &len, 3, "-_8A", 4));
    assert_memory_equal(out, "\xfb\xff\x00", 3);
    assert_false(base64url_decode(out, &len, 2, "-_8A", 4));
}

/* --- signatures
 * ----------------------------------------------------------------------------------------------
 */

static void each_algorithm_is_taken(void **state)
{
    struct {
        const char *alg, *kid;
        EVP_PKEY *key;
    } rows[] = {{"RS256", "rsa", rsa},           {"RS384", "rsa", rsa},   {"RS512", "rsa", rsa},
                {"PS256", "rsa", rsa},           {"ES256", "p256", p256}, {"ES384", "p384", p384},
                {"PS256", "only-ps", other_rsa}, {"EdDSA", "ed", ed25519}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[TOKEN_MAX], header[200];
        snprintf(header, sizeof header, "{\"alg\":\"%s\",\"typ\":\"JWT\",\"kid\":\"%s\"}",
                 rows[i].alg, rows[i].kid);
        token_of(text, header, CLAIMS, rows[i].alg, rows[i].key);
        good(text);
        /* one bit of the signature, the header, the payload */
        const size_t places[] = {strlen(text) - 20, 10, strlen(header) * 4 / 3 + 20};
        for (size_t j = 0; j < 3; j++) {
            char *c = &text[places[j]], was = *c;
            *c = was == 'A' ? 'B' : 'A';
            const char *why;
            assert_int_not_equal(check_as(text, "", &rules, &why), JWT_GOOD);
            *c = was;
        }
        good(text);
    }
}

static void kind_of_key_and_algorithm_must_fit(void **state)
{
    struct {
        const char *said, *kid, *done;
        EVP_PKEY *key;
    } rows[] = {
        {"RS256", "p256", "RS256", rsa},
        {"ES256", "rsa", "ES256", p256},
        {"ES256", "p384", "ES256", p256},
        {"EdDSA", "p256", "EdDSA", ed25519},
        {"RS256", "only-ps", "RS256", other_rsa},
        {"ES384", "p256", "ES384", p384},
        {"RS256", "secret", "RS256", rsa},
        {"RS256", "nobody", "RS256", rsa},
        {"RS256", "RSA", "RS256", rsa},
        {"RS256", "rs", "RS256", rsa},
        {"RS256", "", "RS256", rsa},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[TOKEN_MAX], header[200];
        const char *why;
        snprintf(header, sizeof header, "{\"alg\":\"%s\",\"kid\":\"%s\"}", rows[i].said,
                 rows[i].kid);
        token_of(text, header, CLAIMS, rows[i].done, rows[i].key);
        assert_int_equal(check_as(text, "", &rules, &why), JWT_UNKNOWN_KEY);
    }
    char text[TOKEN_MAX];
    /* the same key, another padding or digest than said */
    token_of(text, "{\"alg\":\"PS256\",\"kid\":\"rsa\"}", CLAIMS, "RS256", rsa);
    bad(text, "signature");
    token_of(text, "{\"alg\":\"RS384\",\"kid\":\"rsa\"}", CLAIMS, "RS256", rsa);
    bad(text, "signature");
    token_of(text, "{\"alg\":\"RS256\",\"kid\":\"rsa\"}", CLAIMS, "RS256", other_rsa);
    bad(text, "signature");
}

static void without_a_kid_one_key_must_fit(void **state)
{
    char text[TOKEN_MAX];
    const char *why;
    (void)state;
    token_of(text, "{\"alg\":\"ES256\"}", CLAIMS, "ES256", p256);
    good(text);
    token_of(text, "{\"alg\":\"RS256\"}", CLAIMS, "RS256", rsa); /* only-ps is not for it */
    good(text);
    token_of(text, "{\"alg\":\"PS256\"}", CLAIMS, "PS256", rsa); /* two are */
    assert_int_equal(check_as(text, "", &rules, &why), JWT_UNKNOWN_KEY);
}

static void none_and_shared_secrets_are_never_taken(void **state)
{
    static const char *const algs[] = {"none",   "None",   "NONE", "nOnE", "HS256",
                                       "HS384",  "HS512",  "",     "RS1",  "rs256",
                                       "RS256 ", "ES256K", "PS512"};
    char text[TOKEN_MAX], header[300], payload[2048];
    (void)state;
    for (size_t i = 0; i < sizeof algs / sizeof *algs; i++) {
        snprintf(header, sizeof header, "{\"alg\":\"%s\",\"kid\":\"rsa\"}", algs[i]);
        token_of(text, header, CLAIMS, "RS256", rsa);
        bad(text, "alg");
    }
    b64(text, "{\"alg\":\"none\"}", 14);
    b64(payload, CLAIMS, strlen(CLAIMS));
    add(text, ".%s.", payload);
    bad(text, "no signed token");
    add(text, "AA");
    bad(text, "alg");

    /* HMAC with what everybody knows: the public key as it stands in the set */
    uint8_t mac[32], *der = NULL;
    unsigned len = 0;
    int der_len = i2d_PUBKEY(rsa, &der);
    b64(text, "{\"alg\":\"HS256\",\"kid\":\"rsa\"}", 27);
    add(text, ".%s", payload);
    HMAC(EVP_sha256(), der, (size_t)der_len, (const uint8_t *)text, strlen(text), mac, &len);
    OPENSSL_free(der);
    add(text, ".");
    b64(text + strlen(text), mac, len);
    bad(text, "alg");
}

static void a_signature_of_zeros_is_none(void **state)
{
    static const uint8_t zeros[256];
    static const struct {
        const char *header;
        size_t len;
    } rows[] = {{"{\"alg\":\"ES256\",\"kid\":\"p256\"}", 64},
                {"{\"alg\":\"ES384\",\"kid\":\"p384\"}", 96},
                {"{\"alg\":\"RS256\",\"kid\":\"rsa\"}", 256},
                {"{\"alg\":\"EdDSA\",\"kid\":\"ed\"}", 64}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        for (size_t len = rows[i].len - 1; len <= rows[i].len + (len < 256); len++) {
            char text[TOKEN_MAX], part[2048];
            b64(text, rows[i].header, strlen(rows[i].header));
            b64(part, CLAIMS, strlen(CLAIMS));
            add(text, ".%s.", part);
            b64(part, zeros, len);
            add(text, "%s", part);
            bad(text, "signature");
        }
    }
}

/* An ECDSA signature in ASN.1 is another text for the same one: not taken. */
static void asn1_is_no_form_of_a_signature(void **state)
{
    char text[TOKEN_MAX], part[2048];
    uint8_t sig[256];
    (void)state;
    b64(text, "{\"alg\":\"ES256\",\"kid\":\"p256\"}", 28);
    b64(part, CLAIMS, strlen(CLAIMS));
    add(text, ".%s", part);
    size_t len = sign(sig, p256, EVP_sha256(), false, text);
    b64(part, sig, len);
    add(text, ".%s", part);
    bad(text, "signature");
}

static void keys_that_a_token_brings_mean_nothing(void **state)
{
    char text[TOKEN_MAX], header[2 * JWK_MAX], key[JWK_MAX];
    (void)state;
    EVP_PKEY *mine = new_ec(NID_X9_62_prime256v1);
    jwk_ec(key, mine, 32, ",\"kid\":\"p256\"");
    snprintf(header, sizeof header,
             "{\"alg\":\"ES256\",\"kid\":\"p256\",\"jwk\":%s,\"jku\":\"https://bad.example/\"}",
             key);
    token_of(text, header, CLAIMS, "ES256", mine);
    bad(text, "signature");
    EVP_PKEY_free(mine);
}

/* --- form
 * ----------------------------------------------------------------------------------------------------
 */

static void what_is_no_token_is_refused(void **state)
{
    static const char *const texts[] = {"",
                                        ".",
                                        "..",
                                        "a.b",
                                        "a..c",
                                        ".b.c",
                                        "a.b.",
                                        "a.b.c",
                                        "a.b.c.d",
                                        "a.b.c.d.e",
                                        "opaque",
                                        "aaaa.bbbb.cccc",
                                        "e30.e30.e30",
                                        "bnVsbA.e30.AAAA"};
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        bad(texts[i], "");
    assert_false(jwt_shaped("opaque", 6));
    assert_false(jwt_shaped("a.b", 3));
    assert_false(jwt_shaped("a.b.c.d.e", 9));
    assert_true(jwt_shaped("a.b.c", 5));
}

static void a_token_cut_anywhere_is_refused(void **state)
{
    char text[TOKEN_MAX];
    (void)state;
    token(text, CLAIMS);
    good(text);
    for (size_t len = strlen(text); len-- > 0;) {
        const char *why;
        text[len] = '\0';
        assert_int_equal(check_as(text, "", &rules, &why), JWT_REFUSED);
    }
}

static void a_token_of_20_kib_is_refused(void **state)
{
    static char text[TOKEN_MAX];
    (void)state;
    token(text, CLAIMS);
    memset(text + strlen(text), 'A', 20480 - strlen(text));
    bad(text, "no signed token");
}

static void headers_that_ask_for_more_are_refused(void **state)
{
    static const struct {
        const char *header, *word;
    } rows[] = {
        {"{\"alg\":\"ES256\",\"kid\":\"p256\",\"crit\":[\"exp\"],\"exp\":1}", "crit"},
        {"{\"alg\":\"ES256\",\"kid\":\"p256\",\"crit\":null}", "crit"},
        {"{\"alg\":\"ES256\",\"kid\":\"p256\",\"b64\":false,\"crit\":[\"b64\"]}", "crit"},
        {"{\"alg\":\"ES256\",\"kid\":\"p256\",\"typ\":\"logout+jwt\"}", "typ"},
        {"{\"alg\":\"ES256\",\"kid\":\"p256\",\"typ\":7}", "typ"},
        {"{\"alg\":\"ES256\",\"kid\":7}", "kid"},
        {"{\"alg\":[\"ES256\"],\"kid\":\"p256\"}", "alg"},
        {"{\"kid\":\"p256\"}", "alg"},
        {"{\"alg\":\"none\",\"alg\":\"ES256\",\"kid\":\"p256\"}", "damaged"},
        {"{\"alg\":\"ES256\",\"kid\":\"p256\"} ", "!"},
        {"{\"alg\":\"ES256\",\"kid\":\"p256\"}x", "damaged"},
        {"[\"ES256\"]", "damaged"},
        {"\"ES256\"", "damaged"},
        {"{\"alg\":\"ES256\",\"kid\":\"p256\\u0000\"}", "damaged"},
        {"{\"alg\":\"ES256\",\"kid\":\"p256\",\"x\":\"\xff\"}", "damaged"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[TOKEN_MAX];
        token_of(text, rows[i].header, CLAIMS, "ES256", p256);
        if (rows[i].word[0] == '!')
            good(text);
        else
            bad(text, rows[i].word);
    }
}

/* --- claims
 * --------------------------------------------------------------------------------------------------
 */

#define FOR "\"iss\":\"https://id.example/\",\"aud\":\"vestibule\","
#define UNTIL "\"exp\":1800000300,"
#define WHO "\"email\":\"alice@any.example\""

static void claims_that_are_right_are_taken(void **state)
{
    (void)state;
    good_claims(CLAIMS);
    good_claims("{\"iss\":\"https://id.example/\",\"aud\":[\"x\",\"vestibule\"]," UNTIL WHO "}");
    good_claims("{" FOR "\"exp\":1800000000.5," WHO "}");
    good_claims("{" FOR "\"exp\":1799999941," WHO "}"); /* within the leeway */
    good_claims("{" FOR UNTIL "\"nbf\":1800000060,\"iat\":1800000060," WHO "}");
    good_claims("{" FOR UNTIL "\"email_verified\":true," WHO "}");
    good_claims("{" FOR UNTIL "\"email_verified\":\"true\"," WHO "}");
}

static void issuer_and_audience_must_be_ours(void **state)
{
    static const char *const issuers[] = {"\"https://id.example\"",
                                          "\"https://ID.example/\"",
                                          "\"https://id.example/x\"",
                                          "[\"https://id.example/\"]",
                                          "null",
                                          "\"\""};
    static const char *const audiences[] = {
        "\"vestibul\"", "\"vestibule \"",    "\"Vestibule\"",
        "[]",           "[\"x\"]",           "[[\"vestibule\"]]",
        "null",         "[\"vestibule\",7]", "{\"vestibule\":1}"};
    char claims[1024];
    (void)state;
    for (size_t i = 0; i < sizeof issuers / sizeof *issuers; i++) {
        snprintf(claims, sizeof claims, "{\"iss\":%s,\"aud\":\"vestibule\"," UNTIL WHO "}",
                 issuers[i]);
        bad_claims(claims, "iss");
    }
    for (size_t i = 0; i < sizeof audiences / sizeof *audiences; i++) {
        snprintf(claims, sizeof claims,
                 "{\"iss\":\"https://id.example/\",\"aud\":%s," UNTIL WHO "}", audiences[i]);
        bad_claims(claims, "aud");
    }
    bad_claims("{\"aud\":\"vestibule\"," UNTIL WHO "}", "iss");
    bad_claims("{\"iss\":\"https://id.example/\"," UNTIL WHO "}", "aud");
}

static void times_hold(void **state)
{
    (void)state;
    bad_claims("{" FOR WHO "}", "exp");
    bad_claims("{" FOR "\"exp\":1799999940," WHO "}", "expired");
    bad_claims("{" FOR "\"exp\":0," WHO "}", "expired");
    bad_claims("{" FOR "\"exp\":\"1800000300\"," WHO "}", "time");
    bad_claims("{" FOR "\"exp\":null," WHO "}", "time");
    bad_claims("{" FOR "\"exp\":-1," WHO "}", "time");
    bad_claims("{" FOR "\"exp\":1e300," WHO "}", "time");
    bad_claims("{" FOR "\"exp\":9223372036854775807," WHO "}", "time");
    bad_claims("{" FOR "\"exp\":9223372036854775808," WHO "}", "damaged");
    bad_claims("{" FOR UNTIL "\"nbf\":1800000061," WHO "}", "not good yet");
    bad_claims("{" FOR UNTIL "\"iat\":1800000061," WHO "}", "future");
    bad_claims("{" FOR UNTIL "\"nbf\":\"x\"," WHO "}", "time");
}

static void a_name_that_stands_twice_is_refused(void **state)
{
    (void)state;
    bad_claims("{" FOR UNTIL WHO ",\"email\":\"bob@any.example\"}", "damaged");
    bad_claims("{" FOR "\"exp\":1," UNTIL WHO "}", "damaged");
    bad_claims("{\"aud\":\"x\"," FOR UNTIL WHO "}", "damaged");
}

static void the_login_must_be_one(void **state)
{
    static const char *const names[] = {
        "null",         "7", "\"\"", "[\"alice@any.example\"]", "\"a\\nb\"", "\"a\\u0001\"",
        "\"a\\u0000b\""};
    char claims[2048], long_name[400];
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(claims, sizeof claims, "{" FOR UNTIL "\"email\":%s}", names[i]);
        bad_claims(claims, "");
    }
    memset(long_name, 'a', 256);
    long_name[256] = '\0';
    snprintf(claims, sizeof claims, "{" FOR UNTIL "\"email\":\"%s\"}", long_name);
    bad_claims(claims, "no login");
    bad_claims("{" FOR UNTIL "\"sub\":\"alice\"}", "login_claim");
    bad_claims("{" FOR UNTIL "\"email_verified\":false," WHO "}", "email_verified");
    bad_claims("{" FOR UNTIL "\"email_verified\":null," WHO "}", "email_verified");
}

static void who_the_client_says_it_is_must_be_true(void **state)
{
    static const char *const same[] = {"alice@any.example", "alice@ANY.Example", ""};
    static const char *const others[] = {
        "Alice@any.example",  "bob@any.example",  "alice",
        "alice@any.example.", "alice@any.exampl", "alice@any.examplee",
        "alice@x@any.example"};
    char text[TOKEN_MAX];
    const char *why;
    (void)state;
    token(text, CLAIMS);
    for (size_t i = 0; i < sizeof same / sizeof *same; i++)
        assert_int_equal(check_as(text, same[i], &rules, &why), JWT_GOOD);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_int_equal(check_as(text, others[i], &rules, &why), JWT_REFUSED);
}

static void the_realm_rule_holds_for_what_the_token_says(void **state)
{
    struct oauth_rules strip = rules;
    char text[TOKEN_MAX], login[SASL_LOGIN_MAX + 1];
    const char *why;
    (void)state;
    strip.realm =
        (struct realm_rule){.default_realm = "any.example", .domain = REALM_STRIP, .lower = true};
    token(text, "{" FOR UNTIL "\"email\":\"Alice@any.example\"}");
    assert_int_equal(jwt_check(login, &why, text, strlen(text), keys, &strip, "alice", NOW),
                     JWT_GOOD);
    assert_string_equal(login, "alice");
    token(text, "{" FOR UNTIL "\"email\":\"alice@other.example\"}");
    assert_int_equal(jwt_check(login, &why, text, strlen(text), keys, &strip, "alice", NOW),
                     JWT_REFUSED);
}

/* --- sets of keys
 * --------------------------------------------------------------------------------------------
 */

static void set_refused(const char *text, const char *word)
{
    char error[JWK_ERROR_MAX] = "";
    struct jwk_set *s = jwk_set_parse(text, strlen(text), error);
    assert_null(s);
    if (strstr(error, word) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", error, word);
}

static void sets_that_cannot_be_used_are_refused(void **state)
{
    char one[JWK_MAX], text[2 * JWK_MAX + 64];
    (void)state;
    set_refused("", "JSON");
    set_refused("{", "JSON");
    set_refused("[]", "JWKS");
    set_refused("{\"keys\":{}}", "JWKS");
    set_refused("{\"keys\":[]}", "no key");
    set_refused("{\"keys\":[],\"keys\":[]}", "JSON");
    set_refused("{\"keys\":[7]}", "no key");
    set_refused("{\"keys\":[{\"kty\":\"oct\",\"k\":\"AAAA\"}]}", "no key");
    set_refused("{\"keys\":[{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"}]}", "2048");
    set_refused("{\"keys\":[{\"kty\":\"RSA\",\"n\":\"!\",\"e\":\"AQAB\"}]}", "damaged");
    set_refused("{\"keys\":[{\"kty\":\"RSA\"}]}", "damaged");
    set_refused("{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AQ\",\"y\":\"AQ\"}]}",
                "damaged");
    set_refused("{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AQ\"}]}", "damaged");

    jwk_rsa(one, small_rsa, "");
    snprintf(text, sizeof text, "{\"keys\":[%s]}", one);
    set_refused(text, "2048");
    jwk_rsa(one, rsa, ",\"d\":\"AQAB\"");
    snprintf(text, sizeof text, "{\"keys\":[%s]}", one);
    set_refused(text, "private");
    jwk_rsa(one, rsa, ",\"use\":\"enc\"");
    snprintf(text, sizeof text, "{\"keys\":[%s]}", one);
    set_refused(text, "no key");
    jwk_rsa(one, rsa, ",\"key_ops\":[\"encrypt\"]");
    snprintf(text, sizeof text, "{\"keys\":[%s]}", one);
    set_refused(text, "no key");
    jwk_rsa(one, rsa, ",\"alg\":\"ES256\"");
    snprintf(text, sizeof text, "{\"keys\":[%s]}", one);
    set_refused(text, "damaged");
    jwk_rsa(one, rsa, ",\"alg\":\"RSA-OAEP\"");
    snprintf(text, sizeof text, "{\"keys\":[%s]}", one);
    set_refused(text, "no key");
    jwk_ec(one, p256, 32, ",\"kid\":7");
    snprintf(text, sizeof text, "{\"keys\":[%s]}", one);
    set_refused(text, "kid");

    char *many = calloc(1, TOKEN_MAX);
    add(many, "{\"keys\":[");
    for (int i = 0; i < 65; i++)
        add(many, "%s{\"kty\":\"oct\"}", i == 0 ? "" : ",");
    add(many, "]}");
    set_refused(many, "64");
    free(many);
}

static void a_set_cut_anywhere_is_refused(void **state)
{
    char error[JWK_ERROR_MAX];
    (void)state;
    for (size_t len = 0; len < strlen(jwks); len++) {
        char *copy = malloc(len > 0 ? len : 1);
        memcpy(copy, jwks, len);
        assert_null(jwk_set_parse(copy, len, error));
        free(copy);
    }
}

/* A point off the curve is the door to an invalid-curve attack. */
static void a_point_off_the_curve_is_refused(void **state)
{
    char one[JWK_MAX], text[2 * JWK_MAX + 64];
    (void)state;
    jwk_ec(one, p256, 32, "");
    char *x = strstr(one, "\"x\":\"") + 8;
    *x = *x == 'A' ? 'B' : 'A';
    snprintf(text, sizeof text, "{\"keys\":[%s]}", one);
    set_refused(text, "damaged");
}

static void two_keys_of_one_name_are_none(void **state)
{
    char one[JWK_MAX], two[JWK_MAX], text[2 * JWK_MAX + 64], tok[TOKEN_MAX], error[JWK_ERROR_MAX];
    char login[SASL_LOGIN_MAX + 1];
    const char *why;
    (void)state;
    EVP_PKEY *mine = new_ec(NID_X9_62_prime256v1);
    jwk_ec(one, p256, 32, ",\"kid\":\"p256\"");
    jwk_ec(two, mine, 32, ",\"kid\":\"p256\"");
    snprintf(text, sizeof text, "{\"keys\":[%s,%s]}", one, two);
    struct jwk_set *s = jwk_set_parse(text, strlen(text), error);
    assert_non_null(s);
    token(tok, CLAIMS);
    assert_int_equal(jwt_check(login, &why, tok, strlen(tok), s, &rules, "", NOW), JWT_UNKNOWN_KEY);
    jwk_set_free(s);
    EVP_PKEY_free(mine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(base64_is_of_one_form),
        cmocka_unit_test(each_algorithm_is_taken),
        cmocka_unit_test(kind_of_key_and_algorithm_must_fit),
        cmocka_unit_test(without_a_kid_one_key_must_fit),
        cmocka_unit_test(none_and_shared_secrets_are_never_taken),
        cmocka_unit_test(a_signature_of_zeros_is_none),
        cmocka_unit_test(asn1_is_no_form_of_a_signature),
        cmocka_unit_test(keys_that_a_token_brings_mean_nothing),
        cmocka_unit_test(what_is_no_token_is_refused),
        cmocka_unit_test(a_token_cut_anywhere_is_refused),
        cmocka_unit_test(a_token_of_20_kib_is_refused),
        cmocka_unit_test(headers_that_ask_for_more_are_refused),
        cmocka_unit_test(claims_that_are_right_are_taken),
        cmocka_unit_test(issuer_and_audience_must_be_ours),
        cmocka_unit_test(times_hold),
        cmocka_unit_test(a_name_that_stands_twice_is_refused),
        cmocka_unit_test(the_login_must_be_one),
        cmocka_unit_test(who_the_client_says_it_is_must_be_true),
        cmocka_unit_test(the_realm_rule_holds_for_what_the_token_says),
        cmocka_unit_test(sets_that_cannot_be_used_are_refused),
        cmocka_unit_test(a_set_cut_anywhere_is_refused),
        cmocka_unit_test(a_point_off_the_curve_is_refused),
        cmocka_unit_test(two_keys_of_one_name_are_none),
    };
    return cmocka_run_group_tests(tests, make_all, free_all);
}
