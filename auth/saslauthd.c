#include "auth/saslauthd.h"

#include <string.h>

static size_t put_counted(uint8_t *out, const char *text, size_t len)
{
    out[0] = (uint8_t)(len >> 8);
    out[1] = (uint8_t)len;
    memcpy(out + 2, text, len);
    return 2 + len;
}

bool saslauthd_ask(uint8_t out[SASLAUTHD_ASK_MAX], size_t *len, const struct sasl_credential *c)
{
    static const char service[] = "smtp";

    *len = 0;
    if (c->login_len > SASLAUTHD_STRING_MAX || c->secret_len > SASLAUTHD_STRING_MAX)
        return false;
    *len += put_counted(out + *len, c->login, c->login_len);
    *len += put_counted(out + *len, c->secret, c->secret_len);
    *len += put_counted(out + *len, service, sizeof service - 1);
    *len += put_counted(out + *len, "", 0);
    return true;
}

/* It has one word for a wrong password and for what went wrong on its side; the text behind it
 * tells them apart. */
static bool trouble(const char *text)
{
    static const char *const marks[] = {
        "internal",      "unavailable", "Couldn't contact",
        "synchronizing", "PAM start",   "Unexpected response",
        "No address",    "permission",  "unknown error",
    };

    for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++)
        if (strstr(text, marks[i]) != NULL)
            return true;
    return false;
}

static enum saslauthd_status meaning(const uint8_t *in, size_t len)
{
    char text[SASLAUTHD_REPLY_MAX + 1];

    memcpy(text, in, len);
    text[len] = '\0';
    if (len < 2 || (len > 2 && text[2] != ' ' && text[2] != '\0'))
        return SASLAUTHD_BAD;
    if (memcmp(text, "OK", 2) == 0)
        return SASLAUTHD_OK;
    if (memcmp(text, "NO", 2) == 0)
        return trouble(text) ? SASLAUTHD_TROUBLE : SASLAUTHD_NO;
    return SASLAUTHD_BAD;
}

enum saslauthd_status saslauthd_read(struct saslauthd_reader *r, const uint8_t *in, size_t len)
{
    size_t count;

    if (len > sizeof r->in - r->len)
        return SASLAUTHD_BAD;
    if (len > 0)
        memcpy(r->in + r->len, in, len);
    r->len += len;
    if (r->len < 2)
        return SASLAUTHD_MORE;
    count = (size_t)r->in[0] << 8 | r->in[1];
    if (count > SASLAUTHD_REPLY_MAX || r->len > 2 + count)
        return SASLAUTHD_BAD;
    return r->len < 2 + count ? SASLAUTHD_MORE : meaning(r->in + 2, count);
}
