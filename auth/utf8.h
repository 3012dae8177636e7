/* UTF-8 (RFC 3629), strictly: no overlong form, no surrogate, nothing above U+10FFFF. Pure. */
#ifndef VESTIBULE_AUTH_UTF8_H
#define VESTIBULE_AUTH_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The code point at the front of `in`; returns how many octets it takes, 0 when they are not UTF-8.
 */
size_t utf8_next(uint32_t *point, const char *in, size_t len);

bool utf8_ok(const void *text, size_t len);

#endif
