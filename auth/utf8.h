/* Strict UTF-8 (RFC 3629): no overlong forms, no surrogates, nothing above U+10FFFF. Pure. */
#ifndef VESTIBULE_AUTH_UTF8_H
#define VESTIBULE_AUTH_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The code point at the front of `len` > 0 octets, and how many it takes; 0: none starts here. */
size_t utf8_decode(uint32_t *point, const uint8_t *s, size_t len);

bool utf8_valid(const void *text, size_t len);

#endif
