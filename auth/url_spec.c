#include "auth/url_spec.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const struct {
    const char *scheme;
    enum url_protocol protocol;
    bool implicit;
    uint16_t port;
} url_schemes[] = {
    {"imap", URL_IMAP, false, 143}, {"imaps", URL_IMAP, true, 993}, {"pop3", URL_POP3, false, 110},
    {"pop3s", URL_POP3, true, 995}, {"smtp", URL_SMTP, false, 587}, {"smtps", URL_SMTP, true, 465},
    {"ldap", URL_LDAP, false, 389}, {"ldaps", URL_LDAP, true, 636}, {"http", URL_HTTP, false, 80},
    {"https", URL_HTTP, true, 443},
};

enum { URL_SCHEMES = sizeof url_schemes / sizeof url_schemes[0] };

const char *url_spec_protocol_name(enum url_protocol protocol)
{
    static const char *const names[] = {"IMAP", "POP3", "SMTP", "LDAP", "HTTP"};

    return names[protocol];
}

const char *url_spec_scheme(const struct url_spec *u)
{
    size_t i = 0;

    while (url_schemes[i].protocol != u->protocol ||
           url_schemes[i].implicit != (u->tls == URL_TLS_IMPLICIT))
        i++;
    return url_schemes[i].scheme;
}

static bool url_wrong(char error[URL_SPEC_ERROR_MAX], const char *scheme, const char *argument,
                      const char *what)
{
    snprintf(error, URL_SPEC_ERROR_MAX, "the backend \"%.16s:%.200s\" %s", scheme, argument, what);
    return false;
}

/* Only what can be on no other host: a name may lead anywhere, but for the one of RFC 6761 6.3. */
static bool url_loopback(const char *host)
{
    struct in_addr four;
    struct in6_addr six;

    if (inet_pton(AF_INET, host, &four) == 1)
        return ntohl(four.s_addr) >> 24 == 127;
    if (inet_pton(AF_INET6, host, &six) == 1)
        return memcmp(&six, &in6addr_loopback, sizeof six) == 0;
    return strcasecmp(host, "localhost") == 0;
}

static bool url_host_ok(const char *host, bool bracketed)
{
    struct in6_addr six;

    if (bracketed)
        return inet_pton(AF_INET6, host, &six) == 1;
    for (const char *c = host; *c != '\0'; c++) {
        const bool letter = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z');
        if (!letter && !(*c >= '0' && *c <= '9') && strchr("-._", *c) == NULL)
            return false;
    }
    return host[0] != '\0' && host[0] != '-' && host[0] != '.';
}

static bool url_take_host(struct url_spec *out, const char **at)
{
    const bool bracketed = **at == '[';
    const char *from = *at + (bracketed ? 1 : 0);
    const size_t len = strcspn(from, bracketed ? "]" : ":/?#");

    if (len > URL_SPEC_HOST_MAX || (bracketed && from[len] != ']'))
        return false;
    memcpy(out->host, from, len);
    out->host[len] = '\0';
    *at = from + len + (bracketed ? 1 : 0);
    return url_host_ok(out->host, bracketed);
}

static bool url_take_port(struct url_spec *out, const char **at)
{
    unsigned port = 0;
    size_t digits = 0;

    if (**at != ':')
        return true;
    for ((*at)++; **at >= '0' && **at <= '9'; (*at)++, digits++) {
        port = port * 10 + (unsigned)(**at - '0');
        if (port > 65535)
            return false;
    }
    out->port = (uint16_t)port;
    return digits > 0 && port > 0;
}

/* Blanks and controls have no place in a URL; other alphabets come percent-encoded. */
static bool url_plain(const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text <= ' ' || *text >= 0x7f)
            return false;
    }
    return true;
}

bool url_spec_parse(struct url_spec *out, const char *scheme, const char *argument,
                    char error[URL_SPEC_ERROR_MAX])
{
    const char *at = argument + 2;
    size_t i = 0;

    while (i < URL_SCHEMES && strcmp(scheme, url_schemes[i].scheme) != 0)
        i++;
    if (i == URL_SCHEMES || strncmp(argument, "//", 2) != 0)
        return url_wrong(error, scheme, argument, "is no URL; write SCHEME://HOST/");
    if (!url_plain(argument))
        return url_wrong(error, scheme, "//...",
                         "holds an octet that no URL may hold; write it as % and two hex digits");
    if (strcspn(argument + 2, "/?#") > strcspn(argument + 2, "@"))
        return url_wrong(error, scheme, "//...",
                         "names a login before the host; leave that out, clients bring theirs");
    *out = (struct url_spec){.protocol = url_schemes[i].protocol, .port = url_schemes[i].port};
    if (!url_take_host(out, &at))
        return url_wrong(error, scheme, argument, "names no host; write SCHEME://HOST/");
    if (!url_take_port(out, &at) || (*at != '\0' && *at != '/'))
        return url_wrong(error, scheme, argument,
                         "has no sound port behind its host; write SCHEME://HOST:PORT/");
    if (strchr(at, '#') != NULL)
        return url_wrong(error, scheme, argument, "has a #fragment, which means nothing here");
    out->rest = at;
    out->tls = url_schemes[i].implicit   ? URL_TLS_IMPLICIT
               : url_loopback(out->host) ? URL_TLS_NONE
                                         : URL_TLS_START;
    if (out->protocol == URL_HTTP && out->tls == URL_TLS_START)
        return url_wrong(error, scheme, argument,
                         "would send passwords in clear over the network; write https://");
    return true;
}

void url_spec_text(char out[URL_SPEC_TEXT_MAX], const struct url_spec *u)
{
    const bool six = strchr(u->host, ':') != NULL;

    snprintf(out, URL_SPEC_TEXT_MAX, "%s://%s%s%s:%u", url_spec_scheme(u), six ? "[" : "", u->host,
             six ? "]" : "", (unsigned)u->port);
}

static int url_hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool url_spec_decode(char *out, size_t cap, const char *text, size_t len)
{
    size_t used = 0;

    for (size_t i = 0; i < len; i++) {
        int c = (unsigned char)text[i];
        if (c == '%') {
            const int high = i + 2 < len ? url_hex(text[i + 1]) : -1;
            const int low = i + 2 < len ? url_hex(text[i + 2]) : -1;
            if (high < 0 || low < 0)
                return false;
            c = high * 16 + low;
            i += 2;
        }
        if (c < 0x20 || c == 0x7f || used + 1 >= cap)
            return false;
        out[used++] = (char)c;
    }
    if (cap == 0)
        return false;
    out[used] = '\0';
    return true;
}
