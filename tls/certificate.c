#include "tls/certificate.h"

#include <arpa/inet.h>
#include <openssl/bio.h>
#include <openssl/ec_key.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/nid.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "tls/certificate_parts.h"

#define CERTIFICATE_RSA_MIN 2048
#define CERTIFICATE_RSA_MAX 4096

struct certificate {
    X509 *leaf;
    EVP_PKEY *public_key;
    char *source;
    size_t count;
    CRYPTO_BUFFER *chain[CERTIFICATE_CHAIN_MAX];
    uint8_t digest[CERTIFICATE_DIGEST_LEN];
};

void certificate_free(struct certificate *c)
{
    if (c == NULL)
        return;
    for (size_t i = 0; i < c->count; i++)
        CRYPTO_BUFFER_free(c->chain[i]);
    EVP_PKEY_free(c->public_key);
    X509_free(c->leaf);
    free(c->source);
    free(c);
}

static uint16_t key_group(const EVP_PKEY *key)
{
    const EC_KEY *ec = EVP_PKEY_get0_EC_KEY(key);
    switch (ec == NULL ? NID_undef : EC_GROUP_get_curve_name(EC_KEY_get0_group(ec))) {
    case NID_X9_62_prime256v1:
        return SSL_CURVE_SECP256R1;
    case NID_secp384r1:
        return SSL_CURVE_SECP384R1;
    default:
        return 0;
    }
}

/* NULL: one that we use. */
static const char *key_fault(const EVP_PKEY *key)
{
    static const char advice[] =
        "its key is of a kind that is not used here; have it issued for an ECDSA key (P-256 or "
        "P-384) or an RSA key of 2048 to 4096 bits";

    switch (EVP_PKEY_id(key)) {
    case EVP_PKEY_RSA:
        if (EVP_PKEY_bits(key) < CERTIFICATE_RSA_MIN || EVP_PKEY_bits(key) > CERTIFICATE_RSA_MAX)
            return "its RSA key is not of 2048 to 4096 bits; have it issued for one that is, or "
                   "for an ECDSA key (P-256)";
        return NULL;
    case EVP_PKEY_EC:
        return key_group(key) == 0 ? advice : NULL;
    default:
        return advice;
    }
}

static const char *leaf_fault(struct certificate *c)
{
    c->public_key = X509_get_pubkey(c->leaf);
    if (c->public_key == NULL)
        return "its public key cannot be used here; have it issued for an ECDSA key (P-256 or "
               "P-384) or an RSA key of 2048 to 4096 bits";
    /* TLS as we speak it signs with the key and does nothing else with it. */
    if ((X509_get_key_usage(c->leaf) & KU_DIGITAL_SIGNATURE) == 0)
        return "its key usage does not allow digital signatures; have one issued for a TLS server";
    return key_fault(c->public_key);
}

static bool chain_add(struct certificate *c, CRYPTO_BUFFER *der)
{
    if (der == NULL)
        return false;
    c->chain[c->count++] = der;
    X509 *x = X509_parse_from_buffer(der);
    if (x == NULL)
        return false;
    if (c->count == 1)
        c->leaf = x;
    else
        X509_free(x);
    return true;
}

static void chain_done(struct certificate *c)
{
    SHA256(CRYPTO_BUFFER_data(c->chain[0]), CRYPTO_BUFFER_len(c->chain[0]), c->digest);
}

struct certificate *certificate_from_der(const uint8_t *const *der, const size_t *len, size_t count)
{
    if (count == 0 || count > CERTIFICATE_CHAIN_MAX)
        return NULL;
    struct certificate *c = calloc(1, sizeof *c);
    bool good = c != NULL;
    for (size_t i = 0; good && i < count; i++)
        good = chain_add(c, CRYPTO_BUFFER_new(der[i], len[i], NULL));
    if (!good || leaf_fault(c) != NULL) {
        ERR_clear_error();
        certificate_free(c);
        return NULL;
    }
    chain_done(c);
    return c;
}

/* NULL when the whole chain was read, or what is wrong with the text. */
static const char *chain_read(struct certificate *c, BIO *text)
{
    for (;;) {
        char *label = NULL, *header = NULL;
        unsigned char *der = NULL;
        long len = 0;
        if (PEM_read_bio(text, &label, &header, &der, &len) != 1) {
            bool end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
            ERR_clear_error();
            if (!end)
                return "is damaged (PEM that does not decode); write it anew";
            return c->count > 0 ? NULL
                                : "holds no certificate in PEM (-----BEGIN CERTIFICATE-----); name "
                                  "the file with the full chain";
        }
        const char *fault = NULL;
        if (strcmp(label, PEM_STRING_X509) == 0 || strcmp(label, PEM_STRING_X509_OLD) == 0) {
            if (c->count == CERTIFICATE_CHAIN_MAX)
                fault = "holds more than 10 certificates; leave only the server's and those that "
                        "lead to its authority";
            else if (!chain_add(c, CRYPTO_BUFFER_new(der, (size_t)len, NULL)))
                fault = "holds a certificate that does not parse; write it anew";
        }
        /* The file may hold the key as well. */
        OPENSSL_cleanse(der, (size_t)len);
        OPENSSL_free(label);
        OPENSSL_free(header);
        OPENSSL_free(der);
        if (fault != NULL)
            return fault;
    }
}

static const char *certificate_read(struct certificate *c, const char *pem, size_t len,
                                    const char *name)
{
    BIO *text = BIO_new_mem_buf(pem, (int)len);
    c->source = strdup(name);
    if (text == NULL || c->source == NULL) {
        BIO_free(text);
        return "no memory is left to read it";
    }
    ERR_clear_error();
    const char *fault = chain_read(c, text);
    BIO_free(text);
    return fault != NULL ? fault : leaf_fault(c);
}

struct certificate *certificate_from_pem(const char *pem, size_t len, const char *name,
                                         char error[CERTIFICATE_ERROR_MAX])
{
    struct certificate *c = calloc(1, sizeof *c);
    const char *fault =
        c == NULL ? "no memory is left to read it" : certificate_read(c, pem, len, name);
    ERR_clear_error();
    if (fault != NULL) {
        snprintf(error, CERTIFICATE_ERROR_MAX, "certificate %s: %s", name, fault);
        certificate_free(c);
        return NULL;
    }
    chain_done(c);
    return c;
}

size_t certificate_chain_len(const struct certificate *c)
{
    return c->count;
}

const uint8_t *certificate_der(const struct certificate *c, size_t index, size_t *len)
{
    if (index >= c->count) {
        *len = 0;
        return NULL;
    }
    *len = CRYPTO_BUFFER_len(c->chain[index]);
    return CRYPTO_BUFFER_data(c->chain[index]);
}

CRYPTO_BUFFER *const *certificate_buffers(const struct certificate *c)
{
    return c->chain;
}

const uint8_t *certificate_digest(const struct certificate *c)
{
    return c->digest;
}

EVP_PKEY *certificate_public_key(const struct certificate *c)
{
    return c->public_key;
}

const char *certificate_source(const struct certificate *c)
{
    return c->source != NULL ? c->source : "given";
}

uint16_t certificate_group(const struct certificate *c)
{
    return key_group(c->public_key);
}

enum certificate_kind certificate_kind(const struct certificate *c)
{
    return EVP_PKEY_id(c->public_key) == EVP_PKEY_EC ? CERTIFICATE_ECDSA : CERTIFICATE_RSA;
}

static bool is_address(const char *name)
{
    uint8_t octets[16];
    return inet_pton(AF_INET, name, octets) == 1 || inet_pton(AF_INET6, name, octets) == 1;
}

bool certificate_matches(const struct certificate *c, const char *name)
{
    size_t len = strlen(name);
    if (is_address(name))
        return X509_check_ip_asc(c->leaf, name, 0) == 1;
    if (len > 1 && name[len - 1] == '.')
        len--;
    /* A leading dot would ask the library for any subdomain. */
    if (len == 0 || name[0] == '.')
        return false;
    /* RFC 6125 6.4.4: the subject is no name of a server. */
    return X509_check_host(c->leaf, name, len, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT, NULL) == 1;
}

static int64_t seconds_since_1970(const ASN1_TIME *when)
{
    int days = 0, seconds = 0;
    ASN1_TIME *epoch = ASN1_TIME_set(NULL, 0);
    if (epoch == NULL || ASN1_TIME_diff(&days, &seconds, epoch, when) != 1)
        ERR_clear_error();
    ASN1_TIME_free(epoch);
    return (int64_t)days * 86400 + seconds;
}

int64_t certificate_not_before(const struct certificate *c)
{
    return seconds_since_1970(X509_get0_notBefore(c->leaf));
}

int64_t certificate_not_after(const struct certificate *c)
{
    return seconds_since_1970(X509_get0_notAfter(c->leaf));
}

static GENERAL_NAMES *alternative_names(const struct certificate *c)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(c->leaf, NID_subject_alt_name, NULL, NULL);
    ERR_clear_error();
    return names;
}

#define CERTIFICATE_NAME_MAX 256

/* Control octets would break the line that the name is printed on; such a name is none. */
static bool name_text(char out[CERTIFICATE_NAME_MAX], const GENERAL_NAME *name)
{
    if (name->type != GEN_DNS && name->type != GEN_IPADD)
        return false;
    const ASN1_STRING *value = name->type == GEN_DNS ? name->d.dNSName : name->d.iPAddress;
    const uint8_t *data = ASN1_STRING_get0_data(value);
    const size_t len = (size_t)ASN1_STRING_length(value);
    if (name->type == GEN_IPADD)
        return (len == 4 || len == 16) &&
               inet_ntop(len == 4 ? AF_INET : AF_INET6, data, out, CERTIFICATE_NAME_MAX) != NULL;
    if (len == 0 || len >= CERTIFICATE_NAME_MAX)
        return false;
    for (size_t i = 0; i < len; i++) {
        if (data[i] <= ' ' || data[i] >= 0x7f)
            return false;
        out[i] = (char)data[i];
    }
    out[len] = '\0';
    return true;
}

void certificate_names(const struct certificate *c, char *out, size_t cap)
{
    GENERAL_NAMES *names = alternative_names(c);
    char name[CERTIFICATE_NAME_MAX];
    size_t used = 0;

    if (cap > 0)
        out[0] = '\0';
    for (size_t i = 0; names != NULL && i < sk_GENERAL_NAME_num(names); i++) {
        if (!name_text(name, sk_GENERAL_NAME_value(names, i)))
            continue;
        size_t need = strlen(name) + (used > 0 ? 2 : 0);
        if (need >= cap - used)
            break;
        snprintf(out + used, cap - used, "%s%s", used > 0 ? ", " : "", name);
        used += need;
    }
    GENERAL_NAMES_free(names);
}

static bool names_hold(const GENERAL_NAMES *names, const char *wanted)
{
    char name[CERTIFICATE_NAME_MAX];
    for (size_t i = 0; i < sk_GENERAL_NAME_num(names); i++)
        if (name_text(name, sk_GENERAL_NAME_value(names, i)) && strcasecmp(name, wanted) == 0)
            return true;
    return false;
}

bool certificate_shares_name(const struct certificate *a, const struct certificate *b)
{
    GENERAL_NAMES *of_a = alternative_names(a);
    GENERAL_NAMES *of_b = alternative_names(b);
    char name[CERTIFICATE_NAME_MAX];
    bool shared = false;

    for (size_t i = 0; of_a != NULL && of_b != NULL && !shared && i < sk_GENERAL_NAME_num(of_a);
         i++)
        shared = name_text(name, sk_GENERAL_NAME_value(of_a, i)) && names_hold(of_b, name);
    GENERAL_NAMES_free(of_a);
    GENERAL_NAMES_free(of_b);
    return shared;
}
