/* A certificate chain, what it is good for, and its private key.
 *
 * The vault loads both from PEM files; the front gets chains alone, as DER, and never sees a key.
 */
#ifndef VESTIBULE_TLS_CERTIFICATE_H
#define VESTIBULE_TLS_CERTIFICATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CERTIFICATE_ERROR_MAX 512
#define CERTIFICATE_CHAIN_MAX 10

enum certificate_kind { CERTIFICATE_ECDSA, CERTIFICATE_RSA };

struct certificate;
struct tls_key;

/* NULL with one sentence that names the file and what to do. */
struct certificate *certificate_load(const char *chain_path, char error[CERTIFICATE_ERROR_MAX]);

/* From DER, leaf first; copies. NULL: not certificates. */
struct certificate *certificate_from_der(const uint8_t *const *der, const size_t *len,
                                         size_t count);
void certificate_free(struct certificate *c);

size_t certificate_chain_len(const struct certificate *c);
const uint8_t *certificate_der(const struct certificate *c, size_t index, size_t *len);
enum certificate_kind certificate_kind(const struct certificate *c);

/* RFC 6125 by the SANs (wildcards by the library's rules). */
bool certificate_matches(const struct certificate *c, const char *name);
int64_t certificate_not_before(const struct certificate *c);
int64_t certificate_not_after(const struct certificate *c);

/* DNS names and addresses of the SANs, comma and blank between, for people. */
void certificate_names(const struct certificate *c, char *out, size_t cap);

/* The private key. NULL with one sentence: unreadable, encrypted, a kind that we do not use, or not
 * the certificate's. */
struct tls_key *tls_key_load(const char *key_path, const struct certificate *c,
                             char error[CERTIFICATE_ERROR_MAX]);
void tls_key_free(struct tls_key *k);

#define TLS_SIGNATURE_MAX 512 /* RSA-4096; larger keys are refused at load */
#define TLS_SIGN_INPUT_MAX 1024

/* May others than owner and group read the file (the doctor warns)? */
bool tls_key_exposed(const char *key_path);

/* Signs as TLS asks (algorithm: the TLS SignatureScheme number). Safe from several threads at once.
 */
bool tls_key_sign(const struct tls_key *k, uint16_t algorithm, const uint8_t *in, size_t len,
                  uint8_t out[TLS_SIGNATURE_MAX], size_t *out_len);

/* Is a signature slow enough for the thread pool (RSA)? */
bool tls_key_slow(const struct tls_key *k);

/* Writes a self-signed ECDSA P-256 certificate for `hostname`, good for ten years, unless both
 * files are there and still good. *made tells. Key mode 0600. */
bool certificate_self_signed(const char *chain_path, const char *key_path, const char *hostname,
                             bool *made, char error[CERTIFICATE_ERROR_MAX]);

#endif
