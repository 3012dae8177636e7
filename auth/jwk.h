/* A set of public keys as a token issuer publishes it (JWKS, RFC 7517, 7518, 8037), and signatures
 * checked with them. Pure.
 *
 * Keys that cannot check a signature here (symmetric ones, those for encryption, curves and kinds
 * not known) are passed over, as RFC 7517 5 asks; damaged, private and weak ones make the set
 * unusable. A key checks the algorithms of its kind only, and only its own where it names one. */
#ifndef VESTIBULE_AUTH_JWK_H
#define VESTIBULE_AUTH_JWK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define JWK_SET_MAX (256 * 1024) /* octets of the text */
#define JWK_KEYS_MAX 64
#define JWK_ERROR_MAX 256
#define JWK_SIGNATURE_MAX 1024 /* RSA of 8192 bits */

/* Never `none`, never a shared secret (HS…). */
enum jwk_algorithm {
    JWK_RS256,
    JWK_RS384,
    JWK_RS512,
    JWK_PS256,
    JWK_ES256,
    JWK_ES384,
    JWK_EDDSA, /* Ed25519 */
    JWK_ALGORITHMS
};

bool jwk_algorithm_by_name(enum jwk_algorithm *out, const char *name);

struct jwk_set;

/* NULL with a phrase that goes after the set's name: "holds no key that …". */
struct jwk_set *jwk_set_parse(const char *text, size_t len, char error[JWK_ERROR_MAX]);
void jwk_set_free(struct jwk_set *s);
size_t jwk_set_count(const struct jwk_set *s);

enum jwk_status {
    JWK_GOOD,
    JWK_BAD,     /* the key is there, the signature is not its */
    JWK_UNKNOWN, /* no key of that name for that algorithm; without a name: not exactly one */
};

/* `kid` names the key; NULL: the token names none. */
enum jwk_status jwk_set_verify(const struct jwk_set *s, enum jwk_algorithm algorithm,
                               const char *kid, const uint8_t *signature, size_t signature_len,
                               const void *signed_text, size_t len);

#endif
