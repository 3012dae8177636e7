#include "auth/base64url.h"

/* -1: none of the alphabet. */
static int base64url_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '-' ? 62 : c == '_' ? 63 : -1;
}

bool base64url_decode(uint8_t *out, size_t *out_len, size_t cap, const char *text, size_t len)
{
    uint32_t bits = 0;
    unsigned count = 0;

    *out_len = 0;
    if (len % 4 == 1)
        return false;
    for (size_t i = 0; i < len; i++) {
        const int value = base64url_value(text[i]);
        if (value < 0)
            return false;
        bits = bits << 6 | (uint32_t)value;
        count += 6;
        if (count < 8)
            continue;
        if (*out_len == cap)
            return false;
        count -= 8;
        out[(*out_len)++] = (uint8_t)(bits >> count);
        bits &= (1u << count) - 1;
    }
    return bits == 0;
}
