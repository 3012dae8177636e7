/* Certificates made on the spot for the tests of tls/. */
#ifndef VESTIBULE_TEST_TLS_MAKE_H
#define VESTIBULE_TEST_TLS_MAKE_H

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/ec_key.h>
#include <openssl/evp.h>
#include <openssl/nid.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MAKE_DAY 86400L

struct made {
    EVP_PKEY *key;
    X509 *x;
};

static inline EVP_PKEY *make_ec_key(int curve)
{
    EC_KEY *ec = EC_KEY_new_by_curve_name(curve);
    EVP_PKEY *key = EVP_PKEY_new();
    EC_KEY_generate_key(ec);
    EVP_PKEY_assign_EC_KEY(key, ec);
    return key;
}

static inline EVP_PKEY *make_rsa_key(int bits)
{
    RSA *rsa = RSA_new();
    BIGNUM *e = BN_new();
    EVP_PKEY *key = EVP_PKEY_new();
    BN_set_word(e, RSA_F4);
    RSA_generate_key_ex(rsa, bits, e, NULL);
    BN_free(e);
    EVP_PKEY_assign_RSA(key, rsa);
    return key;
}

/* names: "DNS:a,DNS:b,IP:1.2.3.4", as the library's extension syntax has it; usage: NULL for none.
 */
static inline struct made make_certificate_for(EVP_PKEY *key, const char *names, long from, long to,
                                               const char *usage)
{
    struct made m = {.key = key, .x = X509_new()};
    X509V3_CTX ctx;
    X509_set_version(m.x, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(m.x), 7);
    X509_NAME *name = X509_get_subject_name(m.x);
    X509_NAME_add_entry_by_NID(name, NID_commonName, MBSTRING_UTF8,
                               (const uint8_t *)"subject.example", -1, -1, 0);
    X509_set_issuer_name(m.x, name);
    ASN1_TIME_set(X509_getm_notBefore(m.x), time(NULL) + from);
    ASN1_TIME_set(X509_getm_notAfter(m.x), time(NULL) + to);
    X509_set_pubkey(m.x, key);
    X509V3_set_ctx(&ctx, m.x, m.x, NULL, NULL, 0);
    const int nids[] = {NID_subject_alt_name, NID_key_usage};
    const char *values[] = {names, usage};
    for (size_t i = 0; i < 2; i++) {
        if (values[i] == NULL)
            continue;
        X509_EXTENSION *extension = X509V3_EXT_nconf_nid(NULL, &ctx, nids[i], values[i]);
        X509_add_ext(m.x, extension, -1);
        X509_EXTENSION_free(extension);
    }
    X509_sign(m.x, key, EVP_sha256());
    return m;
}

static inline struct made make_certificate(EVP_PKEY *key, const char *names)
{
    return make_certificate_for(key, names, -MAKE_DAY, 90 * MAKE_DAY, NULL);
}

static inline void made_free(struct made *m)
{
    EVP_PKEY_free(m->key);
    X509_free(m->x);
}

static inline void make_path(char out[256], const char *dir, const char *name)
{
    snprintf(out, 256, "%s/%s", dir, name);
}

static inline void write_pem(const char *path, X509 *const *chain, size_t count, EVP_PKEY *key,
                             const char *password)
{
    FILE *f = fopen(path, "w");
    BIO *bio = BIO_new_fp(f, BIO_CLOSE);
    for (size_t i = 0; i < count; i++)
        PEM_write_bio_X509(bio, chain[i]);
    if (key != NULL)
        PEM_write_bio_PKCS8PrivateKey(bio, key, password != NULL ? EVP_aes_256_cbc() : NULL,
                                      (char *)password,
                                      password != NULL ? (int)strlen(password) : 0, NULL, NULL);
    BIO_free(bio);
}

#endif
