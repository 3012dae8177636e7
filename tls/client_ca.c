#include "tls/client_ca.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/nid.h>
#include <openssl/obj.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tls/client_ca_parts.h"

#define CLIENT_CA_DEPTH_MAX 4 /* authorities between the certificate and the anchor */
#define CLIENT_CA_RSA_MIN 2048

struct client_ca {
    X509_STORE *store;
    size_t count;
    CRYPTO_BUFFER *der[CLIENT_CA_MAX];
};

void client_ca_free(struct client_ca *ca)
{
    if (ca == NULL)
        return;
    for (size_t i = 0; i < ca->count; i++)
        CRYPTO_BUFFER_free(ca->der[i]);
    X509_STORE_free(ca->store);
    free(ca);
}

static struct client_ca *ca_new(void)
{
    struct client_ca *ca = calloc(1, sizeof *ca);
    X509_VERIFY_PARAM *param;

    if (ca == NULL)
        return NULL;
    ca->store = X509_STORE_new();
    param = ca->store != NULL ? X509_STORE_get0_param(ca->store) : NULL;
    if (param == NULL || X509_VERIFY_PARAM_set_purpose(param, X509_PURPOSE_SSL_CLIENT) != 1 ||
        X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_PARTIAL_CHAIN) != 1) {
        client_ca_free(ca);
        return NULL;
    }
    /* Whether the anchor is counted has changed between the library's versions. */
    X509_VERIFY_PARAM_set_depth(param, CLIENT_CA_DEPTH_MAX + 1);
    return ca;
}

/* NULL, or what is wrong. */
static const char *ca_add(struct client_ca *ca, const uint8_t *der, size_t len)
{
    if (ca->count == CLIENT_CA_MAX)
        return "holds more than 32 certificates; leave only the authorities that sign clients'";
    CRYPTO_BUFFER *buffer = CRYPTO_BUFFER_new(der, len, NULL);
    if (buffer == NULL)
        return "no memory is left to read it";
    ca->der[ca->count++] = buffer;
    X509 *x = X509_parse_from_buffer(buffer);
    const char *fault = NULL;
    if (x == NULL)
        fault = "holds a certificate that does not parse; write it anew";
    else if (X509_check_ca(x) != 1)
        fault = "holds a certificate that is no authority's (basic constraints, key usage); name "
                "the file with those that sign clients' certificates";
    else if (X509_STORE_add_cert(ca->store, x) != 1)
        fault = "no memory is left to read it";
    X509_free(x);
    return fault;
}

struct client_ca *client_ca_from_der(const uint8_t *const *der, const size_t *len, size_t count)
{
    struct client_ca *ca = count > 0 ? ca_new() : NULL;

    for (size_t i = 0; ca != NULL && i < count; i++) {
        if (ca_add(ca, der[i], len[i]) != NULL) {
            client_ca_free(ca);
            ca = NULL;
        }
    }
    ERR_clear_error();
    return ca;
}

static const char *ca_read(struct client_ca *ca, BIO *text)
{
    for (;;) {
        char *label = NULL, *header = NULL;
        unsigned char *der = NULL;
        long len = 0;
        const char *fault = NULL;
        if (PEM_read_bio(text, &label, &header, &der, &len) != 1) {
            if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
                return "is damaged (PEM that does not decode); write it anew";
            return ca->count > 0 ? NULL
                                 : "holds no certificate in PEM (-----BEGIN CERTIFICATE-----); "
                                   "name the file with those that sign clients' certificates";
        }
        if (strcmp(label, PEM_STRING_X509) == 0 || strcmp(label, PEM_STRING_X509_OLD) == 0)
            fault = ca_add(ca, der, (size_t)len);
        else if (strstr(label, "PRIVATE KEY") != NULL)
            fault = "holds a private key, which has no business there; leave only certificates";
        OPENSSL_cleanse(der, (size_t)len);
        OPENSSL_free(label);
        OPENSSL_free(header);
        OPENSSL_free(der);
        if (fault != NULL)
            return fault;
    }
}

struct client_ca *client_ca_from_pem(const char *pem, size_t len, const char *name,
                                     char error[CERTIFICATE_ERROR_MAX])
{
    struct client_ca *ca = ca_new();
    BIO *text = BIO_new_mem_buf(pem, (int)len);
    const char *fault =
        ca == NULL || text == NULL ? "no memory is left to read it" : ca_read(ca, text);

    BIO_free(text);
    ERR_clear_error();
    if (fault == NULL)
        return ca;
    snprintf(error, CERTIFICATE_ERROR_MAX, "client_ca %s: %s", name, fault);
    client_ca_free(ca);
    return NULL;
}

size_t client_ca_count(const struct client_ca *ca)
{
    return ca->count;
}

const uint8_t *client_ca_der(const struct client_ca *ca, size_t index, size_t *len)
{
    *len = CRYPTO_BUFFER_len(ca->der[index]);
    return CRYPTO_BUFFER_data(ca->der[index]);
}

static bool names_add(STACK_OF(CRYPTO_BUFFER) * names, CRYPTO_BUFFER *certificate)
{
    X509 *x = X509_parse_from_buffer(certificate);
    uint8_t *der = NULL;
    const int len = x != NULL ? i2d_X509_NAME(X509_get_subject_name(x), &der) : 0;
    CRYPTO_BUFFER *name = len > 0 ? CRYPTO_BUFFER_new(der, (size_t)len, NULL) : NULL;
    const bool good = name != NULL && sk_CRYPTO_BUFFER_push(names, name) > 0;

    if (!good)
        CRYPTO_BUFFER_free(name);
    OPENSSL_free(der);
    X509_free(x);
    return good;
}

STACK_OF(CRYPTO_BUFFER) * client_ca_names(const struct client_ca *ca)
{
    STACK_OF(CRYPTO_BUFFER) *names = sk_CRYPTO_BUFFER_new_null();

    for (size_t i = 0; names != NULL && i < ca->count; i++) {
        if (!names_add(names, ca->der[i])) {
            sk_CRYPTO_BUFFER_pop_free(names, CRYPTO_BUFFER_free);
            names = NULL;
        }
    }
    return names;
}

static const struct {
    int error;
    const char *phrase;
} faults[] = {
    {X509_V_ERR_CERT_HAS_EXPIRED, "the client's certificate, or one above it, has expired"},
    {X509_V_ERR_CERT_NOT_YET_VALID, "the client's certificate, or one above it, is not valid yet"},
    {X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT,
     "the client's certificate does not lead to an authority of client_ca"},
    {X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
     "the client's certificate does not lead to an authority of client_ca"},
    {X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE,
     "the client's certificate does not lead to an authority of client_ca"},
    {X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT,
     "the client's certificate is signed by itself, not by an authority of client_ca"},
    {X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN,
     "the client's certificate does not lead to an authority of client_ca"},
    {X509_V_ERR_CERT_SIGNATURE_FAILURE,
     "the client's certificate, or one above it, has a wrong signature"},
    {X509_V_ERR_INVALID_PURPOSE,
     "the client's certificate, or one above it, is not meant for TLS clients"},
    {X509_V_ERR_INVALID_CA, "the client's certificate is signed by one that is no authority"},
    {X509_V_ERR_PATH_LENGTH_EXCEEDED,
     "the client's certificate is signed by an authority that may not have such below it"},
    {X509_V_ERR_CERT_CHAIN_TOO_LONG, "too many certificates lead to the client's"},
};

static const char *fault_phrase(int error)
{
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++)
        if (faults[i].error == error)
            return faults[i].phrase;
    return "the client's certificate does not verify";
}

/* What the library leaves to its caller, of every certificate below the anchor. */
static const char *weakness(X509 *x, bool anchor)
{
    EVP_PKEY *key = X509_get_pubkey(x);
    const bool small =
        key != NULL && EVP_PKEY_id(key) == EVP_PKEY_RSA && EVP_PKEY_bits(key) < CLIENT_CA_RSA_MIN;
    int digest = NID_undef;

    EVP_PKEY_free(key);
    OBJ_find_sigid_algs(X509_get_signature_nid(x), &digest, NULL);
    if (key == NULL || small)
        return "the client's certificate, or one above it, has a key that is not used here (RSA "
               "below 2048 bits?)";
    if (!anchor && (digest == NID_sha1 || digest == NID_md5))
        return "the client's certificate, or one above it, is signed with MD5 or SHA-1";
    return NULL;
}

static const char *chain_weakness(const STACK_OF(X509) * chain)
{
    const size_t count = sk_X509_num(chain);
    const char *fault =
        count > CLIENT_CA_DEPTH_MAX + 2 ? fault_phrase(X509_V_ERR_CERT_CHAIN_TOO_LONG) : NULL;

    for (size_t i = 0; fault == NULL && i < count; i++)
        fault = weakness(sk_X509_value(chain, i), i + 1 == count);
    return fault;
}

static const char *verify(const struct client_ca *ca, uint8_t *alert, X509 *leaf,
                          STACK_OF(X509) * others)
{
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    const char *fault = "no memory was left to check the client's certificate";

    *alert = SSL_AD_INTERNAL_ERROR;
    if (ctx != NULL && X509_STORE_CTX_init(ctx, ca->store, leaf, others) == 1) {
        if (X509_verify_cert(ctx) == 1) {
            *alert = SSL_AD_BAD_CERTIFICATE;
            fault = chain_weakness(X509_STORE_CTX_get0_chain(ctx));
        } else {
            const int error = X509_STORE_CTX_get_error(ctx);
            *alert = (uint8_t)SSL_alert_from_verify_result(error);
            fault = fault_phrase(error);
        }
    }
    X509_STORE_CTX_free(ctx);
    return fault;
}

static STACK_OF(X509) * parse_chain(const STACK_OF(CRYPTO_BUFFER) * chain)
{
    STACK_OF(X509) *parsed = sk_X509_new_null();

    for (size_t i = 0; parsed != NULL && i < sk_CRYPTO_BUFFER_num(chain); i++) {
        X509 *x = X509_parse_from_buffer(sk_CRYPTO_BUFFER_value(chain, i));
        if (x == NULL || sk_X509_push(parsed, x) == 0) {
            X509_free(x);
            sk_X509_pop_free(parsed, X509_free);
            parsed = NULL;
        }
    }
    return parsed;
}

const char *client_ca_check(const struct client_ca *ca, char **login, uint8_t *alert,
                            const STACK_OF(CRYPTO_BUFFER) * chain)
{
    STACK_OF(X509) *parsed = parse_chain(chain);
    X509 *leaf = parsed != NULL ? sk_X509_value(parsed, 0) : NULL;
    const char *fault = "the client's certificate does not parse";
    char name[CLIENT_CA_LOGIN_MAX + 1];

    *login = NULL;
    *alert = SSL_AD_BAD_CERTIFICATE;
    if (leaf != NULL)
        fault = verify(ca, alert, leaf, parsed);
    if (fault == NULL && client_name(name, leaf))
        *login = strdup(name);
    sk_X509_pop_free(parsed, X509_free);
    ERR_clear_error();
    return fault;
}
