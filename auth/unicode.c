#include "auth/unicode.h"

#include <stdint.h>

/* RFC 3629 4: what the second octet may be depends on the first; those behind it are all alike. */
static const struct {
    uint8_t first_low, first_high;
    uint8_t second_low, second_high;
    size_t len;
} unicode_forms[] = {
    {0x00, 0x7f, 0x00, 0x00, 1}, {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
    {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
    {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
};

/* Octets of the character at the front; 0: none starts here. */
static size_t unicode_step(const uint8_t *s, size_t len)
{
    for (size_t i = 0; i < sizeof unicode_forms / sizeof unicode_forms[0]; i++) {
        const size_t want = unicode_forms[i].len;
        if (s[0] < unicode_forms[i].first_low || s[0] > unicode_forms[i].first_high)
            continue;
        if (want > len)
            return 0;
        if (want > 1 && (s[1] < unicode_forms[i].second_low || s[1] > unicode_forms[i].second_high))
            return 0;
        for (size_t j = 2; j < want; j++) {
            if (s[j] < 0x80 || s[j] > 0xbf)
                return 0;
        }
        return want;
    }
    return 0;
}

bool unicode_valid(const void *utf8, size_t len)
{
    const uint8_t *s = utf8;

    for (size_t i = 0; i < len;) {
        const size_t used = unicode_step(s + i, len - i);
        if (used == 0)
            return false;
        i += used;
    }
    return true;
}
