/* Strict UTF-8 (RFC 3629): no overlong forms, no surrogates, nothing above U+10FFFF. Pure. */
#ifndef VESTIBULE_AUTH_UNICODE_H
#define VESTIBULE_AUTH_UNICODE_H

#include <stdbool.h>
#include <stddef.h>

bool unicode_valid(const void *utf8, size_t len);

#endif
