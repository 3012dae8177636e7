#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "auth/url_http.h"
#include "auth/url_ldap.h"
#include "auth/url_spec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(bool truth)
{
    if (!truth)
        abort();
}

/* The next line of the input, NUL-ended; NULs inside end it early. */
static char *take_line(const char **at, const char *end)
{
    const char *newline = memchr(*at, '\n', (size_t)(end - *at));
    const char *stop = newline != NULL ? newline : end;
    char *line = malloc((size_t)(stop - *at) + 1);

    expect(line != NULL);
    memcpy(line, *at, (size_t)(stop - *at));
    line[stop - *at] = '\0';
    *at = newline != NULL ? newline + 1 : end;
    return line;
}

/* Undoes RFC 4514 or 4515: what was escaped comes back, and nothing that has a meaning stands bare.
 */
static void unescaped_is(const char *escaped, size_t len, const char *value, const char *special)
{
    size_t at = 0;

    for (const char *v = value; *v != '\0'; v++) {
        expect(at < len);
        if (escaped[at] == '\\') {
            const char digits[3] = {escaped[at + 1], escaped[at + 2], '\0'};
            expect(at + 2 < len);
            expect((char)strtoul(digits, NULL, 16) == *v);
            at += 3;
        } else {
            expect(strchr(special, escaped[at]) == NULL && escaped[at] == *v);
            at++;
        }
    }
    expect(at == len);
}

/* A template of the login alone between two known ends. */
static void escapes(const char *login)
{
    char error[URL_SPEC_ERROR_MAX];
    struct url_ldap u;
    char *name, *filter;

    if (!sasl_login_fits(login, strlen(login)))
        return;
    expect(url_ldap_parse(&u, "/uid=%u,dc=x?uid?sub?(uid=%u)", error));
    name = url_ldap_name(&u, login);
    filter = url_ldap_filter(&u, login);
    expect(name != NULL && filter != NULL);
    expect(strncmp(name, "uid=", 4) == 0 && strcmp(name + strlen(name) - 5, ",dc=x") == 0);
    unescaped_is(name + 4, strlen(name) - 9, login, "\"#+,;<=>\\ ");
    expect(strncmp(filter, "(uid=", 5) == 0 && filter[strlen(filter) - 1] == ')');
    unescaped_is(filter + 5, strlen(filter) - 6, login, "*()\\");
    free(name);
    free(filter);
}

static void templates(const char *rest, const char *login)
{
    char error[URL_SPEC_ERROR_MAX];
    struct url_ldap u;
    char *name, *filter;

    if (!url_ldap_parse(&u, rest, error) || !sasl_login_fits(login, strlen(login)))
        return;
    name = url_ldap_name(&u, login);
    filter = url_ldap_filter(&u, login);
    expect(name != NULL && filter != NULL);
    expect(strpbrk(name, "\1\2\3") == NULL && strpbrk(filter, "\1\2\3") == NULL);
    expect(!u.search || u.filter[0] == '(');
    expect(u.search || strpbrk(u.name, "\1\2") != NULL);
    free(name);
    free(filter);
}

static void url(const char *text, const char *login)
{
    char error[URL_SPEC_ERROR_MAX] = "", whole[URL_SPEC_TEXT_MAX], scheme[8] = "";
    const size_t len = strcspn(text, ":");
    struct url_spec u, again;

    if (len >= sizeof scheme || text[len] == '\0')
        return;
    memcpy(scheme, text, len);
    if (!url_spec_parse(&u, scheme, text + len + 1, error)) {
        expect(error[0] != '\0');
        return;
    }
    expect(u.host[0] != '\0' && u.port > 0);
    expect(u.protocol != URL_HTTP || u.tls != URL_TLS_START);
    expect(strcmp(url_spec_scheme(&u), scheme) == 0);
    url_spec_text(whole, &u);
    expect(strncmp(whole, scheme, len) == 0 && whole[len] == ':');
    expect(url_spec_parse(&again, scheme, whole + len + 1, error));
    expect(strcmp(again.host, u.host) == 0 && again.port == u.port && again.tls == u.tls);
    if (u.protocol == URL_LDAP)
        templates(u.rest, login);
}

static void header_file(const char *text, size_t len)
{
    const char *why = NULL;
    char **lines = url_http_lines(text, len, &why);

    expect(lines != NULL || why != NULL);
    for (char **l = lines; l != NULL && *l != NULL; l++)
        expect(strpbrk(*l, "\r\n") == NULL && strchr(*l, ':') != NULL);
    url_http_free(lines);
}

/* First line a URL, second a login, all of it a header file. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *at = (const char *)data;
    char *text = take_line(&at, (const char *)data + size);
    char *login = take_line(&at, (const char *)data + size);

    url(text, login);
    templates(text, login);
    escapes(login);
    header_file((const char *)data, size);
    free(text);
    free(login);
    return 0;
}
