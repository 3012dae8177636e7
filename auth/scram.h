/* What stands for a password in SCRAM-SHA-256 (RFC 5802, 7677): the verifier, as text and derived
 * from a password. Pure.
 *
 * The text is the one that Dovecot, GNU SASL and others write,
 * `{SCRAM-SHA-256}iterations,salt,StoredKey,ServerKey`, the last three in base64. */
#ifndef VESTIBULE_AUTH_SCRAM_H
#define VESTIBULE_AUTH_SCRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SCRAM_SCHEME "{SCRAM-SHA-256}"
#define SCRAM_KEY_LEN 32
#define SCRAM_SALT_MIN 8
#define SCRAM_SALT_MAX 64
#define SCRAM_ITERATIONS_MIN 4096     /* RFC 7677 4 */
#define SCRAM_ITERATIONS_MAX 10000000 /* some seconds of the pool for each PLAIN */
#define SCRAM_TEXT_MAX 223            /* of a verifier; NUL not counted */
#define SCRAM_PASSWORD_MAX 4096       /* SASLprep may make a password longer (one code point: 18) */

struct scram_verifier {
    uint32_t iterations;
    size_t salt_len;
    uint8_t salt[SCRAM_SALT_MAX];
    uint8_t stored_key[SCRAM_KEY_LEN];
    uint8_t server_key[SCRAM_KEY_LEN];
};

/* NULL, or what is wrong: a phrase that goes after "the verifier". Strict: no blank, no leading
 * zero, base64 with its padding. */
const char *scram_fault(const char *text);

/* False: scram_fault says why. */
bool scram_read(struct scram_verifier *out, const char *text);
void scram_write(char out[SCRAM_TEXT_MAX + 1], const struct scram_verifier *v);

/* SASLprep (RFC 4013). `stored`: for what is kept, where a code point that Unicode 3.2 does not
 * know is an error (it may be mapped one day). False: not possible, or nothing is left. The caller
 * wipes `out`. */
bool scram_prepare(char *out, size_t cap, const char *text, bool stored);

/* The keys from the password (prepared here, for a question) and the iterations and salt that stand
 * in `v`. A password that cannot be prepared takes as long, and fits nothing: false. */
bool scram_derive(struct scram_verifier *v, const char *password);

/* In constant time where the lengths are the same. */
bool scram_fits(const struct scram_verifier *v, const char *password);

/* For a login that has no verifier: one that looks as if, the same at each time as long as `secret`
 * is, with the iterations and the length of salt that stand in `v`. */
void scram_pretend(struct scram_verifier *v, const uint8_t secret[32], const char *login);

#endif
