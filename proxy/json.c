#include "proxy/json.h"

#include <inttypes.h>
#include <string.h>

#include "auth/utf8.h"

void json_init(struct json *j, struct buf *out)
{
    *j = (struct json){.out = out};
}

static void json_put(struct json *j, const char *text)
{
    j->failed |= !buf_text(j->out, text);
}

static void json_unit(struct json *j, uint32_t unit)
{
    j->failed |= !buf_printf(j->out, "\\u%04" PRIx32, unit);
}

static void json_point(struct json *j, uint32_t point)
{
    const bool plain = point >= ' ' && point < 0x7f && point != '"' && point != '\\';

    if (plain) {
        j->failed |= !buf_append(j->out, &(char){(char)point}, 1);
    } else if (point >= 0x10000) { /* a surrogate pair */
        json_unit(j, 0xd800 + ((point - 0x10000) >> 10));
        json_unit(j, 0xdc00 + ((point - 0x10000) & 0x3ff));
    } else {
        json_unit(j, point);
    }
}

static void json_text(struct json *j, const char *text)
{
    const size_t len = strlen(text);

    json_put(j, "\"");
    for (size_t i = 0; i < len;) {
        uint32_t point;
        size_t used = utf8_next(&point, text + i, len - i);
        json_point(j, used > 0 ? point : 0xfffd);
        i += used > 0 ? used : 1;
    }
    json_put(j, "\"");
}

/* What comes before every value. */
static void json_key(struct json *j, const char *key)
{
    if (j->begun)
        json_put(j, ",");
    j->begun = true;
    if (key == NULL)
        return;
    json_text(j, key);
    json_put(j, ":");
}

static void json_begin(struct json *j, const char *key, const char *bracket)
{
    json_key(j, key);
    json_put(j, bracket);
    j->begun = false;
}

static void json_end(struct json *j, const char *bracket)
{
    json_put(j, bracket);
    j->begun = true;
}

void json_object(struct json *j, const char *key)
{
    json_begin(j, key, "{");
}

void json_object_end(struct json *j)
{
    json_end(j, "}");
}

void json_list(struct json *j, const char *key)
{
    json_begin(j, key, "[");
}

void json_list_end(struct json *j)
{
    json_end(j, "]");
}

void json_string(struct json *j, const char *key, const char *value)
{
    json_key(j, key);
    json_text(j, value);
}

void json_number(struct json *j, const char *key, uint64_t value)
{
    json_key(j, key);
    j->failed |= !buf_printf(j->out, "%" PRIu64, value);
}

void json_bool(struct json *j, const char *key, bool value)
{
    json_key(j, key);
    json_put(j, value ? "true" : "false");
}
