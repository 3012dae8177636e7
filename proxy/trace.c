#include "proxy/trace.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum { TRACE_HELO_MAX = 255, TRACE_WORD_MAX = 128 };

/* Letters, digits and what addresses and names are made of; whatever could end a token, open a
 * comment or begin a new line becomes a question mark. */
static void trace_clean(char *out, size_t cap, const char *text)
{
    size_t n = 0;

    for (; text != NULL && text[n] != '\0' && n + 1 < cap; n++) {
        char c = text[n];
        bool plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
                     strchr(".:_-[]", c) != NULL;

        out[n] = plain ? c : '?';
    }
    out[n] = '\0';
}

/* RFC 3848 and 6531 4.3; HELO knows no such words, whatever came before it. */
static void trace_protocol(char out[16], const struct trace *t)
{
    if (!t->esmtp) {
        snprintf(out, 16, "SMTP");
        return;
    }
    snprintf(out, 16, "%s%s%s", t->utf8 ? "UTF8SMTP" : "ESMTP", t->version != NULL ? "S" : "",
             t->authenticated ? "A" : "");
}

/* A name that gives the address away, in brackets (RFC 5321 4.1.3) or, as some clients have it,
 * without. */
static bool trace_is_address(const char *helo)
{
    return strpbrk(helo, "[:]") != NULL || helo[strspn(helo, "0123456789.")] == '\0';
}

static void trace_from(char *out, size_t cap, const struct trace *t)
{
    char helo[TRACE_HELO_MAX + 1];
    char address[TRACE_WORD_MAX];
    bool hide = t->mode == TRACE_NO_IP;

    trace_clean(helo, sizeof(helo), t->helo);
    trace_clean(address, sizeof(address), t->address);
    if (helo[0] == '\0' || (hide && trace_is_address(helo)))
        memcpy(helo, "unknown", sizeof("unknown"));
    if (hide)
        snprintf(out, cap, "%s", helo);
    else
        snprintf(out, cap, "%s ([%s%s])", helo, strchr(address, ':') != NULL ? "IPv6:" : "",
                 address);
}

static void trace_tls(char *out, size_t cap, const struct trace *t)
{
    char version[TRACE_WORD_MAX];
    char cipher[TRACE_WORD_MAX];

    out[0] = '\0';
    if (t->version == NULL)
        return;
    trace_clean(version, sizeof(version), t->version);
    trace_clean(cipher, sizeof(cipher), t->cipher);
    snprintf(out, cap, cipher[0] != '\0' ? " (%s %s)" : " (%s)", version, cipher);
}

/* RFC 5322 3.3; not strftime, which asks the locale. */
static void trace_date(char *out, size_t cap, int64_t now)
{
    static const char days[] = "SunMonTueWedThuFriSat";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    time_t seconds = (time_t)now;
    struct tm tm;

    gmtime_r(&seconds, &tm);
    snprintf(out, cap, "%.3s, %d %.3s %d %02d:%02d:%02d +0000", days + 3 * tm.tm_wday, tm.tm_mday,
             months + 3 * tm.tm_mon, tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
}

bool trace_write(struct buf *out, const struct trace *t)
{
    char from[TRACE_HELO_MAX + TRACE_WORD_MAX + 16];
    char hostname[TRACE_HELO_MAX + 1];
    char protocol[16];
    char tls[2 * TRACE_WORD_MAX + 8];
    char session[TRACE_WORD_MAX];
    char date[80];

    if (t->mode == TRACE_NONE)
        return true;
    trace_from(from, sizeof(from), t);
    trace_clean(hostname, sizeof(hostname), t->hostname);
    trace_protocol(protocol, t);
    trace_tls(tls, sizeof(tls), t);
    trace_clean(session, sizeof(session), t->session);
    trace_date(date, sizeof(date), t->now);
    return buf_printf(out, "Received: from %s\r\n\tby %s with %s%s\r\n\tid %s; %s\r\n", from,
                      hostname, protocol, tls, session, date);
}
