#include "proxy/log_field.h"

#include <stdio.h>
#include <string.h>

static void field_put(struct log_field *f, const char *text)
{
    const size_t len = strlen(text);

    if (len > sizeof f->text - f->len)
        return;
    memcpy(f->text + f->len, text, len);
    f->len += len;
}

static void field_key(struct log_field *f, enum log_format format, bool first, const char *key)
{
    f->len = 0;
    if (format == LOG_FORMAT_JSON) {
        field_put(f, first ? "{\"" : ",\"");
        field_put(f, key);
        field_put(f, "\":");
    } else {
        field_put(f, first ? "" : " ");
        field_put(f, key);
        field_put(f, "=");
    }
}

static bool field_plain(const char *value, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        const unsigned char c = (unsigned char)value[i];
        if (c <= ' ' || c >= 0x7f || c == '"' || c == '=' || c == '\\')
            return false;
    }
    return true;
}

static size_t field_logfmt_one(char out[16], const unsigned char *s)
{
    if (*s == '"' || *s == '\\')
        snprintf(out, 16, "\\%c", *s);
    else if (*s < ' ' || *s >= 0x7f)
        snprintf(out, 16, "\\x%02x", *s);
    else
        snprintf(out, 16, "%c", *s);
    return 1;
}

/* One code point of strict UTF-8 (RFC 3629) into *point; 0: none starts here. */
static size_t field_utf8(uint32_t *point, const unsigned char *s, size_t len)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    const size_t want = s[0] < 0x80 ? 1 : s[0] < 0xc0 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;

    if (want == 0 || want > len || s[0] > 0xf4)
        return 0;
    *point = want == 1 ? s[0] : (uint32_t)(s[0] & (0x7f >> want));
    for (size_t i = 1; i < want; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
        *point = *point << 6 | (s[i] & 0x3f);
    }
    if (*point < least[want] || *point > 0x10ffff || (*point >= 0xd800 && *point < 0xe000))
        return 0;
    return want;
}

static size_t field_json_one(char out[16], const unsigned char *s, size_t len)
{
    uint32_t point = s[0];
    const size_t used = field_utf8(&point, s, len);

    if (used == 0)
        point = s[0];
    if (point == '"' || point == '\\')
        snprintf(out, 16, "\\%c", (char)point);
    else if (point >= ' ' && point < 0x7f)
        snprintf(out, 16, "%c", (char)point);
    else if (point < 0x10000)
        snprintf(out, 16, "\\u%04x", (unsigned)point);
    else
        snprintf(out, 16, "\\u%04x\\u%04x", (unsigned)(0xd800 + ((point - 0x10000) >> 10)),
                 (unsigned)(0xdc00 + ((point - 0x10000) & 0x3ff)));
    return used > 0 ? used : 1;
}

void log_field_string(struct log_field *f, enum log_format format, bool first, const char *key,
                      const char *value, size_t max)
{
    const unsigned char *s = (const unsigned char *)value;
    const size_t found = strnlen(value, max + 1);
    const size_t len = found > max ? max : found;
    const bool quoted = format == LOG_FORMAT_JSON || !field_plain(value, len);
    size_t i = 0;
    size_t escaped_len = 0;

    field_key(f, format, first, key);
    field_put(f, quoted ? "\"" : "");
    while (i < len) {
        char escaped[16];
        const size_t used = format == LOG_FORMAT_JSON ? field_json_one(escaped, s + i, len - i)
                                                      : field_logfmt_one(escaped, s + i);
        if (escaped_len + strlen(escaped) > 2 * max)
            break;
        field_put(f, escaped);
        escaped_len += strlen(escaped);
        i += used;
    }
    field_put(f, i < found ? "..." : "");
    field_put(f, quoted ? "\"" : "");
}

void log_field_number(struct log_field *f, enum log_format format, bool first, const char *key,
                      uint64_t value)
{
    char digits[24];

    field_key(f, format, first, key);
    snprintf(digits, sizeof digits, "%llu", (unsigned long long)value);
    field_put(f, digits);
}
