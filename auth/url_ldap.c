#include "auth/url_ldap.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Octets that no decoded URL holds. */
enum url_ldap_place { URL_LDAP_LOGIN = 1, URL_LDAP_LOCAL, URL_LDAP_DOMAIN };

static bool ldap_wrong(char error[URL_SPEC_ERROR_MAX], const char *what)
{
    snprintf(error, URL_SPEC_ERROR_MAX, "%s", what);
    return false;
}

static bool ldap_is_hex(char c)
{
    return c != '\0' && strchr("0123456789abcdefABCDEF", c) != NULL;
}

/* `%dc` is an escaped octet, not a domain with a c behind it. */
static char ldap_placeholder(const char *text, size_t left)
{
    if (left < 2 || text[0] != '%')
        return 0;
    if (text[1] == 'u')
        return URL_LDAP_LOGIN;
    if (text[1] == 'n')
        return URL_LDAP_LOCAL;
    if (text[1] == 'd' && (left < 3 || !ldap_is_hex(text[2])))
        return URL_LDAP_DOMAIN;
    return 0;
}

static bool ldap_template(char out[URL_LDAP_TEMPLATE_MAX], const char *text, size_t len)
{
    size_t used = 0;

    for (size_t i = 0; i < len;) {
        char one[2] = {ldap_placeholder(text + i, len - i), '\0'};
        size_t taken = 2;
        if (one[0] == 0) {
            taken = text[i] == '%' ? 3 : 1;
            if (taken > len - i || !url_spec_decode(one, sizeof one, text + i, taken))
                return false;
        }
        if (used + 1 >= URL_LDAP_TEMPLATE_MAX)
            return false;
        out[used++] = one[0];
        i += taken;
    }
    out[used] = '\0';
    return true;
}

static bool ldap_varies(const char *template)
{
    return strpbrk(template, "\1\2\3") != NULL;
}

bool url_ldap_base_varies(const struct url_ldap *u)
{
    return ldap_varies(u->name);
}

/* The next part between question marks. */
static size_t ldap_part(const char **part, const char **cursor)
{
    size_t len;

    *part = *cursor;
    len = strcspn(*cursor, "?");
    *cursor += len + ((*cursor)[len] == '?' ? 1 : 0);
    return len;
}

static bool ldap_take_attribute(struct url_ldap *out, const char *text, size_t len)
{
    if (len >= sizeof out->attribute)
        return false;
    snprintf(out->attribute, sizeof out->attribute, "%.*s", len > 0 ? (int)len : 3,
             len > 0 ? text : "uid");
    return strspn(out->attribute,
                  "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.") ==
           strlen(out->attribute);
}

static bool ldap_take_scope(struct url_ldap *out, const char *text, size_t len)
{
    static const char *const scopes[] = {"base", "one", "sub"};

    out->scope = URL_LDAP_SUB;
    for (size_t i = 0; i < 3 && len > 0; i++) {
        out->scope = (enum url_ldap_scope)i;
        if (strlen(scopes[i]) == len && strncasecmp(scopes[i], text, len) == 0)
            return true;
    }
    return len == 0;
}

/* Filters are parsed by the library; only what would let a login out of its place is looked at. */
static bool ldap_take_filter(struct url_ldap *out, const char *text, size_t len)
{
    char given[URL_LDAP_TEMPLATE_MAX];
    int made;

    if (!ldap_template(given, text, len) || (len > 0 && given[0] != '('))
        return false;
    if (ldap_varies(given))
        made = snprintf(out->filter, sizeof out->filter, "%s", given);
    else if (len > 0)
        made = snprintf(out->filter, sizeof out->filter, "(&%s(%s=%c))", given, out->attribute,
                        URL_LDAP_LOGIN);
    else
        made = snprintf(out->filter, sizeof out->filter, "(%s=%c)", out->attribute, URL_LDAP_LOGIN);
    return made > 0 && (size_t)made < sizeof out->filter;
}

bool url_ldap_parse(struct url_ldap *out, const char *rest, char error[URL_SPEC_ERROR_MAX])
{
    const char *cursor = rest[0] == '/' ? rest + 1 : rest;
    const char *part;
    size_t len;

    memset(out, 0, sizeof *out);
    out->search = strchr(cursor, '?') != NULL;
    len = ldap_part(&part, &cursor);
    if (!ldap_template(out->name, part, len))
        return ldap_wrong(error, "has a name that is too long, or a % that is neither %u, %n, %d "
                                 "nor an octet as % and two hex digits");
    if (!out->search)
        return strpbrk(out->name, "\1\2") != NULL ||
               ldap_wrong(error, "has no %u in it, so everybody would be the same; write "
                                 "/uid=%u,ou=people,dc=example,dc=org or a search, /BASE?uid?sub");
    len = ldap_part(&part, &cursor);
    if (!ldap_take_attribute(out, part, len))
        return ldap_wrong(error,
                          "does not name one attribute behind its first `?`; write /BASE?uid");
    len = ldap_part(&part, &cursor);
    if (!ldap_take_scope(out, part, len))
        return ldap_wrong(error, "has a scope that is none; write base, one or sub");
    len = ldap_part(&part, &cursor);
    if (!ldap_take_filter(out, part, len))
        return ldap_wrong(error, "has no sound filter; write (uid=%u), blanks as %20");
    if (cursor[0] != '\0')
        return ldap_wrong(error, "has an extension behind its filter, which is not supported; "
                                 "leave it out");
    return true;
}

static bool ldap_blanks_ok(const char *text)
{
    const size_t len = strlen(text);

    return len > 0 && text[0] != ' ' && text[len - 1] != ' ' && strstr(text, "  ") == NULL;
}

/* No "@": all of it is the local part, and there is no domain. */
static void ldap_split(const char **domain, size_t *local_len, const char *login)
{
    const char *at = strrchr(login, '@');

    *local_len = at != NULL ? (size_t)(at - login) : strlen(login);
    *domain = at != NULL ? at + 1 : "";
}

static bool ldap_uses(const struct url_ldap *u, char place)
{
    return strchr(u->name, place) != NULL || strchr(u->filter, place) != NULL;
}

bool url_ldap_login_ok(const struct url_ldap *u, const char *login, bool told)
{
    char local[SASL_LOGIN_MAX + 1];
    const char *domain;
    size_t len;

    ldap_split(&domain, &len, login);
    if (len >= sizeof local || !ldap_blanks_ok(login))
        return false;
    memcpy(local, login, len);
    local[len] = '\0';
    for (const char *c = login; *c != '\0'; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f || ((unsigned char)*c >= 0x80 && !told))
            return false;
    }
    return (!ldap_uses(u, URL_LDAP_LOCAL) || ldap_blanks_ok(local)) &&
           (!ldap_uses(u, URL_LDAP_DOMAIN) || ldap_blanks_ok(domain));
}

/* RFC 4514 2.4: what means something is escaped; so are all octets that are not ASCII's printable
 * ones, which is allowed, and blanks and # wherever they stand. */
static bool ldap_escape_in_name(unsigned char c)
{
    return c <= ' ' || c >= 0x7f || strchr("\"#+,;<=>\\", c) != NULL;
}

/* RFC 4515 3 */
static bool ldap_escape_in_filter(unsigned char c)
{
    return c < ' ' || c >= 0x7f || strchr("*()\\", c) != NULL;
}

static size_t ldap_put(char *out, const char *value, size_t len, bool (*escape)(unsigned char c))
{
    static const char digits[] = "0123456789abcdef";
    size_t used = 0;

    for (size_t i = 0; i < len; i++) {
        const unsigned char c = (unsigned char)value[i];
        if (!escape(c)) {
            out[used++] = (char)c;
            continue;
        }
        out[used++] = '\\';
        out[used++] = digits[c >> 4];
        out[used++] = digits[c & 15];
    }
    return used;
}

static size_t ldap_room(const char *template, const char *login)
{
    size_t room = 1;

    for (; *template != '\0'; template ++)
        room += (unsigned char)*template <= URL_LDAP_DOMAIN ? 3 * strlen(login) : 1;
    return room;
}

static char *ldap_fill(const char *template, const char *login, bool (*escape)(unsigned char c))
{
    char *out = malloc(ldap_room(template, login));
    const char *domain;
    size_t local_len, used = 0;

    if (out == NULL)
        return NULL;
    ldap_split(&domain, &local_len, login);
    for (; *template != '\0'; template ++) {
        if (*template == URL_LDAP_LOGIN)
            used += ldap_put(out + used, login, strlen(login), escape);
        else if (*template == URL_LDAP_LOCAL)
            used += ldap_put(out + used, login, local_len, escape);
        else if (*template == URL_LDAP_DOMAIN)
            used += ldap_put(out + used, domain, strlen(domain), escape);
        else
            out[used++] = *template;
    }
    out[used] = '\0';
    return out;
}

char *url_ldap_name(const struct url_ldap *u, const char *login)
{
    return ldap_fill(u->name, login, ldap_escape_in_name);
}

char *url_ldap_filter(const struct url_ldap *u, const char *login)
{
    return ldap_fill(u->filter, login, ldap_escape_in_filter);
}
