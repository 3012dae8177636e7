#include "proxy/reply.h"

#include <stdio.h>
#include <string.h>

enum {
    REPLY_CODE_LEN = 3,
    REPLY_ENHANCED_MAX = 9, /* 5.123.123 */
    /* What a relayed line may be longer than it came: separator, enhanced code, space, CR. */
    REPLY_LINE_GROWTH = 1 + REPLY_ENHANCED_MAX + 1 + 1,
};

struct reply_enhanced {
    char text[REPLY_ENHANCED_MAX + 1];
    size_t len;
};

static bool reply_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

/* Can `in` begin with a code? Looks at as many octets of it as there are. */
static bool reply_code_ok(const uint8_t *in, size_t len)
{
    return (len < 1 || (in[0] >= '2' && in[0] <= '5')) &&
           (len < 2 || (in[1] >= '0' && in[1] <= '5')) && (len < 3 || reply_digit(in[2]));
}

/* The octet behind the code: a separator, or the line's end. */
static bool reply_separator_ok(const uint8_t *in, size_t len)
{
    if (len <= REPLY_CODE_LEN)
        return true;
    switch (in[REPLY_CODE_LEN]) {
    case ' ':
    case '-':
    case '\n':
        return true;
    case '\r':
        return len == REPLY_CODE_LEN + 1 || in[REPLY_CODE_LEN + 1] == '\n';
    default:
        return false;
    }
}

static bool reply_code_same(const uint8_t *first, const uint8_t *line, size_t len)
{
    return memcmp(first, line, len < REPLY_CODE_LEN ? len : REPLY_CODE_LEN) == 0;
}

enum reply_status reply_parse(struct reply *out, const uint8_t *in, size_t len)
{
    size_t limit = len < REPLY_TOTAL_MAX ? len : REPLY_TOTAL_MAX;
    size_t start = 0;

    for (unsigned lines = 1; lines <= REPLY_LINES_MAX; lines++) {
        const uint8_t *line = in + start;
        size_t left = limit - start;
        const uint8_t *end;

        if (!reply_code_ok(line, left) || !reply_separator_ok(line, left) ||
            !reply_code_same(in, line, left))
            return REPLY_BAD;
        if (left <= REPLY_CODE_LEN || (end = memchr(line, '\n', left)) == NULL)
            return limit < REPLY_TOTAL_MAX ? REPLY_MORE : REPLY_BAD;
        start += (size_t)(end - line) + 1;
        if (line[REPLY_CODE_LEN] == '-')
            continue;
        *out = (struct reply){
            .code = (in[0] - '0') * 100U + (in[1] - '0') * 10U + (in[2] - '0'),
            .bytes = in,
            .len = start,
            .lines = lines,
        };
        return REPLY_COMPLETE;
    }
    return REPLY_BAD;
}

bool reply_line(const struct reply *r, unsigned index, const char **text, size_t *len)
{
    const uint8_t *line = r->bytes;
    const uint8_t *end;

    if (index >= r->lines)
        return false;
    while ((end = memchr(line, '\n', r->len - (size_t)(line - r->bytes))) != NULL && index-- > 0)
        line = end + 1;
    if (end == NULL)
        return false;
    if (end[-1] == '\r')
        end--;
    line += REPLY_CODE_LEN;
    if (line < end)
        line++;
    *text = (const char *)line;
    *len = (size_t)(end - line);
    return true;
}

static char reply_clean(char c)
{
    return c >= 0x20 && c < 0x7f ? c : '?';
}

/* `.` and one to three digits from *at on. */
static bool reply_enhanced_part(const char *text, size_t len, size_t *at)
{
    size_t i = *at;

    if (i >= len || text[i] != '.')
        return false;
    for (i++; i < len && i < *at + 4 && reply_digit((uint8_t)text[i]); i++)
        ;
    if (i == *at + 1)
        return false;
    *at = i;
    return true;
}

/* Length of the enhanced code that a line begins with, if its class is the reply's (RFC 2034 4);
 * else 0. */
static size_t reply_enhanced_len(unsigned code, const char *text, size_t len)
{
    size_t at = 1;

    if (len == 0 || (unsigned)(text[0] - '0') != code / 100)
        return 0;
    if (!reply_enhanced_part(text, len, &at) || !reply_enhanced_part(text, len, &at))
        return 0;
    return at == len || text[at] == ' ' ? at : 0;
}

/* What a bare code says without doubt; the rest is "other or undefined". */
static const char *reply_enhanced_default(unsigned code)
{
    switch (code) {
    case 452:
        return "4.3.1";
    case 500:
        return "5.5.2";
    case 501:
    case 504:
    case 555:
        return "5.5.4";
    case 502:
    case 503:
        return "5.5.1";
    case 530:
        return "5.7.0";
    default:
        return code < 400 ? "2.0.0" : code < 500 ? "4.0.0" : "5.0.0";
    }
}

/* The code for lines that have none: that of the first line which has one. */
static void reply_enhanced_find(struct reply_enhanced *out, const struct reply *r)
{
    const char *text;
    size_t len;

    for (unsigned i = 0; reply_line(r, i, &text, &len); i++) {
        out->len = reply_enhanced_len(r->code, text, len);
        if (out->len > 0) {
            memcpy(out->text, text, out->len);
            out->text[out->len] = '\0';
            return;
        }
    }
    out->len =
        (size_t)snprintf(out->text, sizeof(out->text), "%s", reply_enhanced_default(r->code));
}

/* Writes one line of at most REPLY_TEXT_MAX octets of text; returns its length. */
static size_t reply_relay_line(uint8_t *to, const struct reply *r,
                               const struct reply_enhanced *enhanced, unsigned index,
                               const char *text, size_t len)
{
    size_t n = REPLY_CODE_LEN + 1;
    size_t stop = n + REPLY_TEXT_MAX;

    memcpy(to, r->bytes, REPLY_CODE_LEN);
    to[REPLY_CODE_LEN] = index + 1 < r->lines ? '-' : ' ';
    if (enhanced->len > 0 && reply_enhanced_len(r->code, text, len) == 0) {
        memcpy(to + n, enhanced->text, enhanced->len);
        n += enhanced->len;
        if (len > 0)
            to[n++] = ' ';
    }
    for (size_t i = 0; i < len && n < stop; i++)
        to[n++] = (uint8_t)reply_clean(text[i]);
    memcpy(to + n, "\r\n", 2);
    return n + 2;
}

bool reply_relay(struct buf *out, const struct reply *r)
{
    struct reply_enhanced enhanced = {.len = 0};
    uint8_t *to = buf_reserve(out, r->len + r->lines * REPLY_LINE_GROWTH);
    const char *text;
    size_t len;
    size_t n = 0;

    if (to == NULL)
        return false;
    if (r->code / 100 != 3)
        reply_enhanced_find(&enhanced, r);
    for (unsigned i = 0; reply_line(r, i, &text, &len); i++)
        n += reply_relay_line(to + n, r, &enhanced, i, text, len);
    buf_commit(out, n);
    return true;
}

void reply_summary(char *out, size_t cap, const struct reply *r)
{
    const char *text = "";
    size_t len = 0;
    size_t n;

    if (cap == 0)
        return;
    reply_line(r, 0, &text, &len);
    n = (size_t)snprintf(out, cap, len > 0 ? "%03u " : "%03u", r->code);
    for (size_t i = 0; i < len && n + 1 < cap; i++)
        out[n++] = reply_clean(text[i]);
    if (n < cap)
        out[n] = '\0';
}
