#include "proxy/path.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <strings.h>

#include "auth/utf8.h"

enum { PATH_LABEL_MAX = 63 };

static const char path_postmaster[] = "postmaster";

/* What is still to be read. */
struct path_input {
    const char *at;
    size_t left;
};

/* A local part without quotes and backslashes. `len` goes on counting when `text` is full. */
struct path_local {
    char text[PATH_LOCAL_MAX];
    size_t len;
};

static bool path_peek(const struct path_input *in, char c)
{
    return in->left > 0 && in->at[0] == c;
}

static void path_skip(struct path_input *in, size_t n)
{
    in->at += n;
    in->left -= n;
}

static bool path_take(struct path_input *in, char c)
{
    if (!path_peek(in, c))
        return false;
    path_skip(in, 1);
    return true;
}

static bool path_alphanumeric(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

static bool path_atext(char c)
{
    return path_alphanumeric(c) || (c != '\0' && strchr("!#$%&'*+-/=?^_`{|}~", c) != NULL);
}

/* Length of a character above U+007F that may stand in an address; 0: there is none. */
static size_t path_beyond_ascii(const struct path_input *in)
{
    uint32_t point;
    size_t used = utf8_next(&point, in->at, in->left);

    if (used < 2 || point < 0xa0)
        return 0;
    switch (point) {
    case 0x2028: /* line separator */
    case 0x2029: /* paragraph separator */
    case 0x3002: /* ideographic full stop */
    case 0xff0e: /* full-width full stop */
    case 0xff20: /* full-width commercial at */
    case 0xff61: /* half-width ideographic full stop */
        return 0;
    default:
        return used;
    }
}

static void path_keep(struct path_local *local, struct path_input *in, size_t n)
{
    for (size_t i = 0; i < n; i++, local->len++) {
        if (local->len < PATH_LOCAL_MAX)
            local->text[local->len] = in->at[i];
    }
    path_skip(in, n);
}

/* Dot-string = atom *("." atom) */
static bool path_dot_string(struct path_local *local, struct path_input *in)
{
    for (;;) {
        size_t atom = 0;
        size_t n;

        while ((n = in->left > 0 && path_atext(in->at[0]) ? 1 : path_beyond_ascii(in)) > 0) {
            path_keep(local, in, n);
            atom += n;
        }
        if (atom == 0)
            return false;
        if (!path_peek(in, '.'))
            return true;
        path_keep(local, in, 1);
    }
}

/* Quoted-string = DQUOTE *(qtextSMTP / quoted-pairSMTP) DQUOTE; an empty one is no mailbox that
 * anyone has. */
static bool path_quoted_string(struct path_local *local, struct path_input *in)
{
    if (!path_take(in, '"'))
        return false;
    while (!path_take(in, '"')) {
        bool pair = path_take(in, '\\');
        bool printable = in->left > 0 && in->at[0] >= 0x20 && in->at[0] < 0x7f;
        size_t n = printable ? 1 : pair ? 0 : path_beyond_ascii(in);

        if (n == 0)
            return false;
        path_keep(local, in, n);
    }
    return local->len > 0;
}

static bool path_label(struct path_input *in)
{
    const char *first = in->at;
    size_t len;
    size_t n;

    while (in->left > 0) {
        char c = in->at[0];

        n = path_alphanumeric(c) || c == '-' || c == '_' ? 1 : path_beyond_ascii(in);
        if (n == 0)
            break;
        path_skip(in, n);
    }
    len = (size_t)(in->at - first);
    return len > 0 && len <= PATH_LABEL_MAX && first[0] != '-' && first[len - 1] != '-';
}

static bool path_name(struct path_input *in)
{
    do {
        if (!path_label(in))
            return false;
    } while (path_take(in, '.'));
    return true;
}

static bool path_ip(int family, const char *text, size_t len)
{
    char copy[INET6_ADDRSTRLEN];
    struct in6_addr binary;

    if (len >= sizeof(copy) || memchr(text, '\0', len) != NULL)
        return false;
    memcpy(copy, text, len);
    copy[len] = '\0';
    return inet_pton(family, copy, &binary) == 1;
}

/* General-address-literal = Standardized-tag ":" 1*dcontent, of which only what addresses are made
 * of: the grammar would let an `@` pass, and no tag but IPv6 was ever registered. */
static bool path_general_literal(const char *text, size_t len)
{
    size_t tag = 0;

    while (tag < len && (path_alphanumeric(text[tag]) || text[tag] == '-'))
        tag++;
    if (tag == 0 || text[tag - 1] == '-' || len - tag < 2 || text[tag] != ':')
        return false;
    for (size_t i = tag + 1; i < len; i++) {
        if (!path_alphanumeric(text[i]) && (text[i] == '\0' || strchr(".:-_", text[i]) == NULL))
            return false;
    }
    return true;
}

static bool path_literal(struct path_input *in)
{
    static const char ipv6[] = "IPv6:";
    size_t tag = strlen(ipv6);
    const char *close;
    const char *text;
    size_t len;

    if (!path_take(in, '[') || (close = memchr(in->at, ']', in->left)) == NULL)
        return false;
    text = in->at;
    len = (size_t)(close - text);
    path_skip(in, len + 1);
    if (len >= tag && strncasecmp(text, ipv6, tag) == 0)
        return path_ip(AF_INET6, text + tag, len - tag);
    return path_ip(AF_INET, text, len) || path_general_literal(text, len);
}

static bool path_domain(struct path_input *in)
{
    return path_peek(in, '[') ? path_literal(in) : path_name(in);
}

/* A-d-l ":" with A-d-l = At-domain *("," At-domain) */
static bool path_source_route(struct path_input *in)
{
    do {
        if (!path_take(in, '@') || !path_name(in))
            return false;
    } while (path_take(in, ','));
    return path_take(in, ':');
}

static bool path_needs_quotes(const struct path_local *local)
{
    struct path_local again = {.len = 0};
    struct path_input in = {local->text, local->len};

    return !path_dot_string(&again, &in) || in.left > 0;
}

/* The local part in its canonical form; returns its length. */
static size_t path_write_local(char *to, const struct path_local *local, bool quoted)
{
    size_t n = 0;

    if (quoted)
        to[n++] = '"';
    for (size_t i = 0; i < local->len; i++) {
        if (quoted && (local->text[i] == '"' || local->text[i] == '\\'))
            to[n++] = '\\';
        to[n++] = local->text[i];
    }
    if (quoted)
        to[n++] = '"';
    return n;
}

static void path_write(struct path *out, const struct path_local *local, const char *domain,
                       size_t len)
{
    out->quoted = path_needs_quotes(local);
    out->local_len = path_write_local(out->text, local, out->quoted);
    out->text[out->local_len] = '@';
    memcpy(out->text + out->local_len + 1, domain, len);
    out->text[out->local_len + 1 + len] = '\0';
    out->literal = domain[0] == '[';
    for (const char *c = out->text; *c != '\0'; c++)
        out->utf8 = out->utf8 || (unsigned char)*c > 0x7f;
}

static bool path_is_postmaster(const struct path_local *local)
{
    size_t len = strlen(path_postmaster);

    return local->len == len && strncasecmp(local->text, path_postmaster, len) == 0;
}

/* Mailbox, or `Postmaster`, with the closing bracket. */
static enum path_status path_mailbox(struct path *out, struct path_input *in, bool postmaster_alone)
{
    struct path_local local = {.len = 0};
    bool quoted = path_peek(in, '"');
    const char *domain;
    size_t len;

    if (quoted ? !path_quoted_string(&local, in) : !path_dot_string(&local, in))
        return PATH_SYNTAX;
    if (postmaster_alone && !quoted && path_is_postmaster(&local) && path_take(in, '>')) {
        memcpy(out->text, path_postmaster, sizeof(path_postmaster));
        out->local_len = local.len;
        return PATH_OK;
    }
    if (!path_take(in, '@'))
        return PATH_SYNTAX;
    domain = in->at;
    if (!path_domain(in))
        return PATH_SYNTAX;
    len = (size_t)(in->at - domain);
    if (!path_take(in, '>'))
        return PATH_SYNTAX;
    if (local.len > PATH_LOCAL_MAX || len > PATH_DOMAIN_MAX)
        return PATH_TOO_LONG;
    path_write(out, &local, domain, len);
    return PATH_OK;
}

enum path_status path_parse(struct path *out, size_t *used, const char *text, size_t len,
                            enum path_kind kind)
{
    struct path_input in = {text, len};
    enum path_status status;
    bool route;

    *out = (struct path){.local_len = 0};
    *used = 0;
    if (!path_take(&in, '<'))
        return PATH_SYNTAX;
    if (kind == PATH_REVERSE && path_take(&in, '>')) {
        *used = len - in.left;
        return PATH_OK;
    }
    route = path_peek(&in, '@');
    if (route && !path_source_route(&in))
        return PATH_SYNTAX;
    status = path_mailbox(out, &in, kind == PATH_FORWARD && !route);
    if (status == PATH_OK)
        *used = len - in.left;
    return status;
}

bool path_domain_ok(const char *text, size_t len)
{
    struct path_input in = {text, len};

    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)text[i] > 0x7f)
            return false;
    }
    return len <= PATH_DOMAIN_MAX && path_domain(&in) && in.left == 0;
}
