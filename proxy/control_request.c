#include "proxy/control_request.h"

#include <string.h>

static bool control_is(const char *line, size_t len, const char *word)
{
    return strlen(word) == len && memcmp(line, word, len) == 0;
}

static bool control_lift(struct control_request *out, const char *line, size_t len)
{
    static const char verb[] = "lift ";
    const size_t skipped = sizeof verb - 1;

    if (len <= skipped || memcmp(line, verb, skipped) != 0 ||
        !sasl_login_fits(line + skipped, len - skipped))
        return false;
    out->verb = CONTROL_LIFT;
    memcpy(out->name, line + skipped, len - skipped);
    return true;
}

enum control_word control_request_read(struct control_request *out, const uint8_t *in, size_t len)
{
    const char *const line = (const char *)in;
    const char *const end = len > 0 ? memchr(line, '\n', len) : NULL;
    const size_t line_len = end != NULL ? (size_t)(end - line) : len;

    memset(out, 0, sizeof *out);
    if (line_len > CONTROL_LINE_MAX || (end != NULL && line_len + 1 != len))
        return CONTROL_WRONG;
    if (end == NULL)
        return CONTROL_MORE;
    if (control_is(line, line_len, "status"))
        out->verb = CONTROL_STATUS;
    else if (control_is(line, line_len, "show"))
        out->verb = CONTROL_SHOW;
    else if (!control_lift(out, line, line_len))
        return CONTROL_WRONG;
    return CONTROL_WHOLE;
}
