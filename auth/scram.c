#include "auth/scram.h"

#include <gsasl.h>
#include <openssl/base64.h>
#include <openssl/digest.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/mem.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(SCRAM_KEY_LEN == SHA256_DIGEST_LENGTH, "RFC 7677");

/* Decimal without a leading zero; 0: none, or too many. */
static uint32_t scram_iterations(const char **at)
{
    uint32_t n = 0;

    if (**at == '0')
        return 0;
    for (; **at >= '0' && **at <= '9'; (*at)++) {
        if (n > SCRAM_ITERATIONS_MAX)
            return 0;
        n = n * 10 + (uint32_t)(**at - '0');
    }
    return n;
}

/* `out` has room for SCRAM_SALT_MAX octets. */
static bool scram_decode(uint8_t *out, size_t *len, const char *text, size_t text_len)
{
    uint8_t decoded[SCRAM_SALT_MAX + 3];
    char again[(sizeof decoded + 2) / 3 * 4 + 1];
    bool ok;

    if (text_len > (SCRAM_SALT_MAX + 2) / 3 * 4 ||
        !EVP_DecodeBase64(decoded, len, sizeof decoded, (const uint8_t *)text, text_len) ||
        *len > SCRAM_SALT_MAX)
        return false;
    /* bits behind the last octet must be zero: one verifier has one text */
    ok = EVP_EncodeBlock((uint8_t *)again, decoded, *len) == text_len &&
         memcmp(again, text, text_len) == 0;
    if (ok)
        memcpy(out, decoded, *len);
    return ok;
}

static bool scram_decode_key(uint8_t out[SCRAM_KEY_LEN], const char *text, size_t text_len)
{
    uint8_t key[SCRAM_SALT_MAX];
    size_t len;

    if (!scram_decode(key, &len, text, text_len) || len != SCRAM_KEY_LEN)
        return false;
    memcpy(out, key, SCRAM_KEY_LEN);
    return true;
}

static const char *scram_take(struct scram_verifier *out, const char *text)
{
    const char *at = text + strlen(SCRAM_SCHEME);
    const char *salt;
    const char *stored;
    const char *server;

    if (strncmp(text, SCRAM_SCHEME, strlen(SCRAM_SCHEME)) != 0)
        return "is not of the kind " SCRAM_SCHEME;
    out->iterations = scram_iterations(&at);
    salt = at + 1;
    if (*at != ',' || (stored = strchr(salt, ',')) == NULL ||
        (server = strchr(stored + 1, ',')) == NULL)
        return out->iterations == 0 && (*at == ',' || (*at >= '0' && *at <= '9'))
                   ? "has iterations out of the range of 4096 to 10000000"
                   : "is not iterations,salt,StoredKey,ServerKey";
    if (out->iterations < SCRAM_ITERATIONS_MIN || out->iterations > SCRAM_ITERATIONS_MAX)
        return "has iterations out of the range of 4096 to 10000000";
    if (!scram_decode(out->salt, &out->salt_len, salt, (size_t)(stored - salt)) ||
        out->salt_len < SCRAM_SALT_MIN)
        return "has a salt that is not base64 of 8 to 64 octets";
    if (!scram_decode_key(out->stored_key, stored + 1, (size_t)(server - stored - 1)) ||
        !scram_decode_key(out->server_key, server + 1, strlen(server + 1)))
        return "has a StoredKey or ServerKey that is not base64 of 32 octets";
    return NULL;
}

const char *scram_fault(const char *text)
{
    struct scram_verifier v;

    return scram_take(&v, text);
}

bool scram_read(struct scram_verifier *out, const char *text)
{
    return scram_take(out, text) == NULL;
}

void scram_write(char out[SCRAM_TEXT_MAX + 1], const struct scram_verifier *v)
{
    char salt[(SCRAM_SALT_MAX + 2) / 3 * 4 + 1];
    char stored[(SCRAM_KEY_LEN + 2) / 3 * 4 + 1];
    char server[(SCRAM_KEY_LEN + 2) / 3 * 4 + 1];

    EVP_EncodeBlock((uint8_t *)salt, v->salt, v->salt_len);
    EVP_EncodeBlock((uint8_t *)stored, v->stored_key, SCRAM_KEY_LEN);
    EVP_EncodeBlock((uint8_t *)server, v->server_key, SCRAM_KEY_LEN);
    snprintf(out, SCRAM_TEXT_MAX + 1, SCRAM_SCHEME "%u,%s,%s,%s", v->iterations, salt, stored,
             server);
}

static bool scram_saslprep(char *out, size_t cap, const char *text, Gsasl_saslprep_flags flags)
{
    char *prepared = NULL;
    size_t len = 0;
    bool ok = gsasl_saslprep(text, flags, &prepared, NULL) == GSASL_OK;

    if (ok) {
        len = strlen(prepared);
        ok = len > 0 && len < cap;
    }
    if (ok)
        memcpy(out, prepared, len + 1);
    if (prepared != NULL) {
        OPENSSL_cleanse(prepared, strlen(prepared));
        gsasl_free(prepared);
    }
    return ok;
}

/* GNU SASL 2.2 has the flag the wrong way round: what is strict must pass both ways, what is not
 * may pass either. */
bool scram_prepare(char *out, size_t cap, const char *text, bool stored)
{
    const bool first = scram_saslprep(out, cap, text, GSASL_ALLOW_UNASSIGNED);

    if (first != stored)
        return first;
    return scram_saslprep(out, cap, text, (Gsasl_saslprep_flags)0);
}

static bool scram_hmac(uint8_t out[SCRAM_KEY_LEN], const uint8_t *key, const void *data, size_t len)
{
    return HMAC(EVP_sha256(), key, SCRAM_KEY_LEN, data, len, out, NULL) != NULL;
}

/* RFC 5802 3. */
static bool scram_keys(struct scram_verifier *v, const char *password)
{
    uint8_t salted[SCRAM_KEY_LEN];
    uint8_t client[SCRAM_KEY_LEN];
    bool ok = PKCS5_PBKDF2_HMAC(password, strlen(password), v->salt, v->salt_len, v->iterations,
                                EVP_sha256(), sizeof salted, salted) == 1 &&
              scram_hmac(client, salted, "Client Key", strlen("Client Key")) &&
              scram_hmac(v->server_key, salted, "Server Key", strlen("Server Key"));

    if (ok)
        SHA256(client, sizeof client, v->stored_key);
    OPENSSL_cleanse(salted, sizeof salted);
    OPENSSL_cleanse(client, sizeof client);
    return ok;
}

bool scram_derive(struct scram_verifier *v, const char *password)
{
    char prepared[SCRAM_PASSWORD_MAX + 1];
    const bool possible = scram_prepare(prepared, sizeof prepared, password, false);
    const bool ok = scram_keys(v, possible ? prepared : password);

    OPENSSL_cleanse(prepared, sizeof prepared);
    return ok && possible;
}

bool scram_fits(const struct scram_verifier *v, const char *password)
{
    struct scram_verifier derived = *v;
    const bool ok =
        scram_derive(&derived, password) &&
        CRYPTO_memcmp(derived.stored_key, v->stored_key, sizeof derived.stored_key) == 0;

    OPENSSL_cleanse(&derived, sizeof derived);
    return ok;
}

/* The login's length is part of what is hashed by its end: none holds a NUL. */
static void scram_pseudo(uint8_t out[SCRAM_KEY_LEN], const uint8_t secret[32], const char *login,
                         uint8_t part)
{
    uint8_t said[1 + 4096];
    size_t len = strlen(login);

    if (len > sizeof said - 1)
        len = sizeof said - 1;
    said[0] = part;
    memcpy(said + 1, login, len);
    if (!scram_hmac(out, secret, said, 1 + len))
        memset(out, 0, SCRAM_KEY_LEN);
}

void scram_pretend(struct scram_verifier *v, const uint8_t secret[32], const char *login)
{
    uint8_t salt[2 * SCRAM_KEY_LEN];

    _Static_assert(sizeof salt >= SCRAM_SALT_MAX, "two digests fill any salt");
    scram_pseudo(salt, secret, login, 1);
    scram_pseudo(salt + SCRAM_KEY_LEN, secret, login, 2);
    scram_pseudo(v->stored_key, secret, login, 3);
    scram_pseudo(v->server_key, secret, login, 4);
    memcpy(v->salt, salt, v->salt_len);
}
