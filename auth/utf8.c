#include "auth/utf8.h"

/* How many octets a lead octet announces, the bits that it brings, and the least code point that
 * needs so many. */
static size_t utf8_lead(uint32_t *bits, uint32_t *least, uint8_t c)
{
    if (c < 0x80) {
        *bits = c;
        *least = 0;
        return 1;
    }
    if ((c & 0xe0) == 0xc0) {
        *bits = c & 0x1f;
        *least = 0x80;
        return 2;
    }
    if ((c & 0xf0) == 0xe0) {
        *bits = c & 0x0f;
        *least = 0x800;
        return 3;
    }
    if ((c & 0xf8) == 0xf0) {
        *bits = c & 0x07;
        *least = 0x10000;
        return 4;
    }
    return 0;
}

size_t utf8_next(uint32_t *point, const char *in, size_t len)
{
    uint32_t least;
    size_t need;

    if (len == 0)
        return 0;
    need = utf8_lead(point, &least, (uint8_t)in[0]);
    if (need == 0 || need > len)
        return 0;
    for (size_t i = 1; i < need; i++) {
        if (((uint8_t)in[i] & 0xc0) != 0x80)
            return 0;
        *point = *point << 6 | ((uint8_t)in[i] & 0x3f);
    }
    if (*point < least || *point > 0x10ffff || (*point >= 0xd800 && *point <= 0xdfff))
        return 0;
    return need;
}

bool utf8_ok(const void *text, size_t len)
{
    const char *in = text;
    uint32_t point;
    size_t used;

    for (; len > 0; in += used, len -= used) {
        used = utf8_next(&point, in, len);
        if (used == 0)
            return false;
    }
    return true;
}
