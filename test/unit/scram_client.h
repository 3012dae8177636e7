/* A SCRAM client, written from RFC 5802 alone: what tests hold against the server's side. */
#ifndef VESTIBULE_TEST_SCRAM_CLIENT_H
#define VESTIBULE_TEST_SCRAM_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/base64.h>
#include <openssl/digest.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>

static inline void must(bool holds)
{
    if (!holds)
        abort();
}

struct client {
    const char *login;
    const char *password;
    const char *flag;       /* "n" */
    const char *authzid;    /* "" */
    const uint8_t *binding; /* 32 octets; NULL: none */
    char first_bare[1024];
    char header[512];
    char nonce[1024];
    uint8_t server_key[32];
    char auth_message[4096];
};

static inline void hmac(uint8_t out[32], const uint8_t key[32], const char *text)
{
    must(HMAC(EVP_sha256(), key, 32, (const uint8_t *)text, strlen(text), out, NULL) != NULL);
}

static inline void base64(char *out, const void *octets, size_t len)
{
    EVP_EncodeBlock((uint8_t *)out, octets, len);
}

static inline void proof(char out[64], uint8_t server_key[32], const char *password,
                         const uint8_t *salt, size_t salt_len, unsigned iterations,
                         const char *auth_message)
{
    uint8_t salted[32], client_key[32], stored_key[32], signature[32];
    must(PKCS5_PBKDF2_HMAC(password, strlen(password), salt, salt_len, iterations, EVP_sha256(), 32,
                           salted));
    hmac(client_key, salted, "Client Key");
    hmac(server_key, salted, "Server Key");
    SHA256(client_key, 32, stored_key);
    hmac(signature, stored_key, auth_message);
    for (size_t i = 0; i < 32; i++)
        signature[i] ^= client_key[i];
    base64(out, signature, 32);
}

static inline void client_first(struct client *c, char out[2048])
{
    snprintf(c->header, sizeof c->header, "%s,%s,", c->flag != NULL ? c->flag : "n",
             c->authzid != NULL ? c->authzid : "");
    snprintf(c->first_bare, sizeof c->first_bare, "n=%s,r=fyko+d2lbbFgONRv9qkxdawL", c->login);
    snprintf(out, 2048, "%s%s", c->header, c->first_bare);
}

static inline void client_final(struct client *c, char out[4096], const char *server_first)
{
    char salt_text[256], proof_text[64], bound[1024];
    uint8_t salt[128], data[1024];
    size_t salt_len, data_len = strlen(c->header);
    unsigned iterations;
    must(sscanf(server_first, "r=%1023[^,],s=%255[^,],i=%u", c->nonce, salt_text, &iterations) ==
         3);
    must(EVP_DecodeBase64(salt, &salt_len, sizeof salt, (uint8_t *)salt_text, strlen(salt_text)));
    memcpy(data, c->header, data_len);
    if (c->binding != NULL) {
        memcpy(data + data_len, c->binding, 32);
        data_len += 32;
    }
    base64(bound, data, data_len);
    snprintf(out, 4096, "c=%s,r=%s", bound, c->nonce);
    snprintf(c->auth_message, sizeof c->auth_message, "%s,%s,%s", c->first_bare, server_first, out);
    proof(proof_text, c->server_key, c->password, salt, salt_len, iterations, c->auth_message);
    snprintf(out + strlen(out), 4096 - strlen(out), ",p=%s", proof_text);
}

static inline bool client_trusts(const struct client *c, const char *server_final)
{
    uint8_t signature[32];
    char expected[64] = "v=";
    hmac(signature, c->server_key, c->auth_message);
    base64(expected + 2, signature, 32);
    return strcmp(expected, server_final) == 0;
}

#endif
