#include "auth/utf8.h"

/* Octets in the sequence that `first` begins; 0: none does. */
static size_t utf8_length(uint8_t first)
{
    if (first < 0x80)
        return 1;
    if (first < 0xc2 || first > 0xf4)
        return 0;
    return first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}

size_t utf8_decode(uint32_t *point, const uint8_t *s, size_t len)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    const size_t want = utf8_length(s[0]);
    uint32_t value;

    if (want == 0 || want > len)
        return 0;
    value = want == 1 ? s[0] : (uint32_t)(s[0] & (0x7f >> want));
    for (size_t i = 1; i < want; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
        value = value << 6 | (s[i] & 0x3f);
    }
    if (value < least[want] || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff))
        return 0;
    *point = value;
    return want;
}

bool utf8_valid(const void *text, size_t len)
{
    const uint8_t *s = text;

    for (size_t i = 0; i < len;) {
        uint32_t point;
        const size_t used = utf8_decode(&point, s + i, len - i);
        if (used == 0)
            return false;
        i += used;
    }
    return true;
}
