#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>

#include "tls/certificate_parts.h"

struct tls_key {
    EVP_PKEY *private_key;
};

void tls_key_free(struct tls_key *k)
{
    if (k == NULL)
        return;
    EVP_PKEY_free(k->private_key);
    free(k);
}

static int password_asked_for(char *buf, int size, int rwflag, void *asked)
{
    (void)buf, (void)size, (void)rwflag;
    *(bool *)asked = true;
    return -1;
}

static EVP_PKEY *key_parse(const char *pem, size_t len, bool *encrypted)
{
    *encrypted = false;
    BIO *text = BIO_new_mem_buf(pem, (int)len);
    EVP_PKEY *key =
        text == NULL ? NULL : PEM_read_bio_PrivateKey(text, NULL, password_asked_for, encrypted);
    BIO_free(text);
    ERR_clear_error();
    return key;
}

struct tls_key *tls_key_from_pem(const char *pem, size_t len, const char *name,
                                 const struct certificate *c, char error[CERTIFICATE_ERROR_MAX])
{
    bool encrypted;
    EVP_PKEY *private_key = key_parse(pem, len, &encrypted);
    struct tls_key *k = NULL;

    if (encrypted)
        snprintf(
            error, CERTIFICATE_ERROR_MAX,
            "key %s: is encrypted; write it without a password (openssl pkey -in KEY -out NEW) "
            "and keep it readable by root only",
            name);
    else if (private_key == NULL)
        snprintf(error, CERTIFICATE_ERROR_MAX,
                 "key %s: holds no private key in PEM (-----BEGIN PRIVATE KEY-----) that can be "
                 "used here; name the file with the certificate's key",
                 name);
    else if (EVP_PKEY_cmp(certificate_public_key(c), private_key) != 1)
        snprintf(error, CERTIFICATE_ERROR_MAX,
                 "key %s: is not the key of the first certificate in %s; name the two files that "
                 "belong together, the server's own certificate first in its file",
                 name, certificate_source(c));
    else if ((k = malloc(sizeof *k)) == NULL)
        snprintf(error, CERTIFICATE_ERROR_MAX, "key %s: no memory is left to read it", name);
    ERR_clear_error();
    if (k == NULL)
        EVP_PKEY_free(private_key);
    else
        k->private_key = private_key;
    return k;
}

bool tls_key_slow(const struct tls_key *k)
{
    return EVP_PKEY_id(k->private_key) == EVP_PKEY_RSA;
}

static bool sign_setup(EVP_MD_CTX *context, EVP_PKEY *key, uint16_t algorithm)
{
    EVP_PKEY_CTX *pkey_context;
    if (EVP_DigestSignInit(context, &pkey_context, SSL_get_signature_algorithm_digest(algorithm),
                           NULL, key) != 1)
        return false;
    /* RFC 8446 4.2.3: the salt is as long as the digest (-1 says so). */
    return SSL_is_signature_algorithm_rsa_pss(algorithm) != 1 ||
           (EVP_PKEY_CTX_set_rsa_padding(pkey_context, RSA_PKCS1_PSS_PADDING) == 1 &&
            EVP_PKEY_CTX_set_rsa_pss_saltlen(pkey_context, -1) == 1);
}

bool tls_key_sign(const struct tls_key *k, uint16_t algorithm, const uint8_t *in, size_t len,
                  uint8_t out[TLS_SIGNATURE_MAX], size_t *out_len)
{
    *out_len = 0;
    /* In TLS 1.2 the algorithm names no curve: a P-384 key may sign with SHA-256. */
    if (len > TLS_SIGN_INPUT_MAX ||
        SSL_get_signature_algorithm_key_type(algorithm) != EVP_PKEY_id(k->private_key))
        return false;
    size_t made = TLS_SIGNATURE_MAX;
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool good = context != NULL && sign_setup(context, k->private_key, algorithm) &&
                EVP_DigestSign(context, out, &made, in, len) == 1;
    EVP_MD_CTX_free(context);
    ERR_clear_error();
    if (good)
        *out_len = made;
    return good;
}
