/* What the files of this room know of certificates and keys beyond the contract in
 * tls/certificate.h: the library's types, and PEM text in memory. */
#ifndef VESTIBULE_TLS_CERTIFICATE_PARTS_H
#define VESTIBULE_TLS_CERTIFICATE_PARTS_H

#include <openssl/base.h>
#include <openssl/pool.h>

#include "tls/certificate.h"

#define CERTIFICATE_DIGEST_LEN 32

/* Leaf first; certificate_chain_len() of them. */
CRYPTO_BUFFER *const *certificate_buffers(const struct certificate *c);

/* SHA-256 of the leaf. */
const uint8_t *certificate_digest(const struct certificate *c);
EVP_PKEY *certificate_public_key(const struct certificate *c);

/* The TLS group of an ECDSA key; 0 for RSA. */
uint16_t certificate_group(const struct certificate *c);

/* Do the two stand for a common name or address? */
bool certificate_shares_name(const struct certificate *a, const struct certificate *b);

/* As certificate_load and tls_key_load, from text; `name` stands in the sentences. */
struct certificate *certificate_from_pem(const char *pem, size_t len, const char *name,
                                         char error[CERTIFICATE_ERROR_MAX]);
struct tls_key *tls_key_from_pem(const char *pem, size_t len, const char *name,
                                 const struct certificate *c, char error[CERTIFICATE_ERROR_MAX]);

/* The file that certificate_load read, or a word for it. */
const char *certificate_source(const struct certificate *c);

/* A self-signed certificate and its key as PEM, both valid text or neither. The caller frees with
 * self_signed_free. */
struct self_signed {
    char *chain;
    size_t chain_len;
    char *key;
    size_t key_len;
};
bool self_signed_make(struct self_signed *out, const char *hostname, int64_t now);
void self_signed_free(struct self_signed *s);

#endif
