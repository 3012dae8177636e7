#include "proxy/log_field.h"

#include <stdio.h>
#include <string.h>

#include "auth/utf8.h"

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

static size_t field_json_one(char out[16], const unsigned char *s, size_t len)
{
    uint32_t point = s[0];
    const size_t used = utf8_next(&point, (const char *)s, len);

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
