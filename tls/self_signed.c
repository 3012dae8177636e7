#include <arpa/inet.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/ec_key.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/nid.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#include "tls/certificate_parts.h"

#define SELF_SIGNED_YEARS 10
/* A client whose clock is a little behind must not find it "not yet valid". */
#define SELF_SIGNED_EARLY_S 86400
/* X.520 ub-common-name */
#define SELF_SIGNED_COMMON_NAME_MAX 64

static EVP_PKEY *make_key(void)
{
    EC_KEY *ec = EC_KEY_new_by_curve_name(NID_X9_62_prime256v1);
    EVP_PKEY *key = EVP_PKEY_new();
    if (ec == NULL || key == NULL || EC_KEY_generate_key(ec) != 1 ||
        EVP_PKEY_set1_EC_KEY(key, ec) != 1) {
        EVP_PKEY_free(key);
        key = NULL;
    }
    EC_KEY_free(ec);
    return key;
}

static bool set_serial(X509 *x)
{
    uint8_t octets[16];
    if (RAND_bytes(octets, sizeof octets) != 1)
        return false;
    octets[0] = (uint8_t)((octets[0] & 0x7f) | 0x40);
    BIGNUM *number = BN_bin2bn(octets, sizeof octets, NULL);
    ASN1_INTEGER *serial = number == NULL ? NULL : BN_to_ASN1_INTEGER(number, NULL);
    bool good = serial != NULL && X509_set_serialNumber(x, serial) == 1;
    ASN1_INTEGER_free(serial);
    BN_free(number);
    return good;
}

static bool set_name(X509 *x, const char *hostname)
{
    const char *common = strlen(hostname) <= SELF_SIGNED_COMMON_NAME_MAX ? hostname : "Vestibule";
    X509_NAME *name = X509_NAME_new();
    bool good = name != NULL &&
                X509_NAME_add_entry_by_NID(name, NID_commonName, MBSTRING_UTF8,
                                           (const uint8_t *)common, -1, -1, 0) == 1 &&
                X509_set_subject_name(x, name) == 1 && X509_set_issuer_name(x, name) == 1;
    X509_NAME_free(name);
    return good;
}

static GENERAL_NAME *make_alternative_name(const char *hostname)
{
    uint8_t address[16];
    int address_len = inet_pton(AF_INET, hostname, address) == 1    ? 4
                      : inet_pton(AF_INET6, hostname, address) == 1 ? 16
                                                                    : 0;
    GENERAL_NAME *name = GENERAL_NAME_new();
    ASN1_STRING *value =
        ASN1_STRING_type_new(address_len > 0 ? V_ASN1_OCTET_STRING : V_ASN1_IA5STRING);
    bool good = name != NULL && value != NULL &&
                (address_len > 0 ? ASN1_STRING_set(value, address, address_len)
                                 : ASN1_STRING_set(value, hostname, (int)strlen(hostname))) == 1;
    if (!good) {
        ASN1_STRING_free(value);
        GENERAL_NAME_free(name);
        return NULL;
    }
    GENERAL_NAME_set0_value(name, address_len > 0 ? GEN_IPADD : GEN_DNS, value);
    return name;
}

static bool add_alternative_name(X509 *x, const char *hostname)
{
    GENERAL_NAMES *names = GENERAL_NAMES_new();
    GENERAL_NAME *name = make_alternative_name(hostname);
    bool good = false;

    if (names != NULL && name != NULL && sk_GENERAL_NAME_push(names, name) > 0) {
        name = NULL;
        good = X509_add1_ext_i2d(x, NID_subject_alt_name, names, 0, 0) == 1;
    }
    GENERAL_NAME_free(name);
    GENERAL_NAMES_free(names);
    return good;
}

static bool add_usage(X509 *x)
{
    BASIC_CONSTRAINTS *constraints = BASIC_CONSTRAINTS_new();
    ASN1_BIT_STRING *usage = ASN1_BIT_STRING_new();
    EXTENDED_KEY_USAGE *extended = EXTENDED_KEY_USAGE_new();
    ASN1_OBJECT *server = OBJ_nid2obj(NID_server_auth);
    bool good = constraints != NULL && usage != NULL && extended != NULL && server != NULL &&
                sk_ASN1_OBJECT_push(extended, server) > 0 &&
                ASN1_BIT_STRING_set_bit(usage, 0, 1) == 1 && /* digitalSignature */
                X509_add1_ext_i2d(x, NID_basic_constraints, constraints, 1, 0) == 1 &&
                X509_add1_ext_i2d(x, NID_key_usage, usage, 1, 0) == 1 &&
                X509_add1_ext_i2d(x, NID_ext_key_usage, extended, 0, 0) == 1;

    BASIC_CONSTRAINTS_free(constraints);
    ASN1_BIT_STRING_free(usage);
    EXTENDED_KEY_USAGE_free(extended);
    return good;
}

static X509 *make_certificate(EVP_PKEY *key, const char *hostname, int64_t now)
{
    X509 *x = X509_new();
    bool good =
        x != NULL && X509_set_version(x, X509_VERSION_3) == 1 && set_serial(x) &&
        set_name(x, hostname) &&
        ASN1_TIME_adj(X509_getm_notBefore(x), (time_t)(now - SELF_SIGNED_EARLY_S), 0, 0) != NULL &&
        ASN1_TIME_adj(X509_getm_notAfter(x), (time_t)now, 365 * SELF_SIGNED_YEARS, 0) != NULL &&
        X509_set_pubkey(x, key) == 1 && add_alternative_name(x, hostname) && add_usage(x) &&
        X509_sign(x, key, EVP_sha256()) > 0;
    if (!good) {
        X509_free(x);
        return NULL;
    }
    return x;
}

static bool take_text(char **out, size_t *len, BIO *text)
{
    const uint8_t *data;
    if (BIO_mem_contents(text, &data, len) != 1)
        return false;
    *out = malloc(*len);
    if (*out == NULL)
        return false;
    memcpy(*out, data, *len);
    return true;
}

static bool write_text(struct self_signed *out, X509 *x, EVP_PKEY *key)
{
    BIO *chain_text = BIO_new(BIO_s_mem()), *key_text = BIO_new(BIO_s_mem());
    bool good = chain_text != NULL && key_text != NULL && PEM_write_bio_X509(chain_text, x) == 1 &&
                PEM_write_bio_PKCS8PrivateKey(key_text, key, NULL, NULL, 0, NULL, NULL) == 1 &&
                take_text(&out->chain, &out->chain_len, chain_text) &&
                take_text(&out->key, &out->key_len, key_text);
    BIO_free(chain_text);
    BIO_free(key_text);
    return good;
}

bool self_signed_make(struct self_signed *out, const char *hostname, int64_t now)
{
    *out = (struct self_signed){0};
    EVP_PKEY *key = make_key();
    X509 *x = key == NULL ? NULL : make_certificate(key, hostname, now);
    bool good = x != NULL && write_text(out, x, key);

    X509_free(x);
    EVP_PKEY_free(key);
    ERR_clear_error();
    if (!good)
        self_signed_free(out);
    return good;
}

void self_signed_free(struct self_signed *s)
{
    if (s->key != NULL)
        explicit_bzero(s->key, s->key_len);
    free(s->key);
    free(s->chain);
    *s = (struct self_signed){0};
}
