/* Base64 for URLs without padding (RFC 4648 5, RFC 7515 2), as tokens and keys carry it. Pure.
 *
 * Strict: one text for one value, so neither padding nor stray bits at the end. */
#ifndef VESTIBULE_AUTH_BASE64URL_H
#define VESTIBULE_AUTH_BASE64URL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* False: not such text, or of more than `cap` octets. */
bool base64url_decode(uint8_t *out, size_t *out_len, size_t cap, const char *text, size_t len);

#endif
