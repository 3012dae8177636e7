#include "auth/url_http.h"

#include <arpa/inet.h>
#include <openssl/mem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { HTTP_OURS = 12 }; /* lines of nginx's protocol at most */

void url_http_free(char **lines)
{
    if (lines == NULL)
        return;
    for (char **l = lines; *l != NULL; l++) {
        OPENSSL_cleanse(*l, strlen(*l));
        free(*l);
    }
    free(lines);
}

static bool http_is_token(const char *text, size_t len)
{
    size_t n = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                            "!#$%&'*+-.^_`|~");

    return len > 0 && n >= len;
}

/* What is ours to say: a second one would leave it to the server which it believes. */
static bool http_is_ours(const char *name, size_t len)
{
    static const char *const ours[] = {"Authorization", "Host", "Connection", "Content-Length",
                                       "Transfer-Encoding"};

    if (strncasecmp(name, "Auth-", len < 5 ? len : 5) == 0 && len >= 5)
        return true;
    if (strncasecmp(name, "Client-", len < 7 ? len : 7) == 0 && len >= 7)
        return true;
    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++) {
        if (strlen(ours[i]) == len && strncasecmp(name, ours[i], len) == 0)
            return true;
    }
    return false;
}

static bool http_value_ok(const char *text, size_t len)
{
    bool something = false;

    for (size_t i = 0; i < len; i++) {
        const unsigned char c = (unsigned char)text[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return false;
        something = something || (c != ' ' && c != '\t');
    }
    return something;
}

static bool http_line_ok(const char *line, size_t len, const char **why)
{
    const char *colon = memchr(line, ':', len);

    if (len > URL_HTTP_LINE_MAX) {
        *why = "holds a line that is too long";
    } else if (colon == NULL || !http_is_token(line, (size_t)(colon - line)) ||
               !http_value_ok(colon + 1, len - (size_t)(colon + 1 - line))) {
        *why = "holds a line that is no header; write NAME: VALUE";
    } else if (http_is_ours(line, (size_t)(colon - line))) {
        *why = "gives a header that Vestibule sends itself; name it otherwise, as X-Auth-Key";
    } else {
        return true;
    }
    return false;
}

char **url_http_lines(const char *text, size_t len, const char **why)
{
    char **lines = calloc(URL_HTTP_LINES_MAX + 1, sizeof *lines);
    size_t count = 0;

    *why = "cannot be kept: out of memory";
    for (size_t at = 0, n; lines != NULL && at < len; at += n + 1) {
        const char *end = memchr(text + at, '\n', len - at);
        size_t used = n = end != NULL ? (size_t)(end - text) - at : len - at;
        if (used > 0 && text[at + used - 1] == '\r')
            used--;
        if (used == 0 || text[at] == '#')
            continue;
        if (count == URL_HTTP_LINES_MAX)
            *why = "holds more than 16 headers";
        if (count == URL_HTTP_LINES_MAX || !http_line_ok(text + at, used, why) ||
            (lines[count++] = strndup(text + at, used)) == NULL) {
            url_http_free(lines);
            return NULL;
        }
    }
    return lines;
}

/* As nginx does: blanks, % and controls as % and two hex digits, all else as it is. */
static char *http_encoded(const char *name, const char *value)
{
    static const char digits[] = "0123456789ABCDEF";
    const size_t head = strlen(name);
    char *out = malloc(head + 3 * strlen(value) + 1);
    char *at = out + head;

    if (out == NULL)
        return NULL;
    memcpy(out, name, head);
    for (; *value != '\0'; value++) {
        const unsigned char c = (unsigned char)*value;
        if (c > ' ' && c != '%' && c != 0x7f) {
            *at++ = (char)c;
            continue;
        }
        *at++ = '%';
        *at++ = digits[c >> 4];
        *at++ = digits[c & 15];
    }
    *at = '\0';
    return out;
}

static char *http_line(const char *name, const char *value)
{
    char line[512];

    snprintf(line, sizeof line, "%s%s", name, value);
    return strdup(line);
}

static void http_address(char out[INET6_ADDRSTRLEN], const uint8_t address[16])
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

    if (memcmp(address, mapped, sizeof mapped) == 0)
        inet_ntop(AF_INET, address + 12, out, INET6_ADDRSTRLEN);
    else
        inet_ntop(AF_INET6, address, out, INET6_ADDRSTRLEN);
}

static size_t http_about_client(char **line, const struct auth_client *client)
{
    char text[INET6_ADDRSTRLEN];
    size_t n = 0;

    snprintf(text, sizeof text, "%u", client->attempt > 0 ? (unsigned)client->attempt : 1);
    line[n++] = http_line("Auth-Login-Attempt: ", text);
    http_address(text, client->address);
    line[n++] = http_line("Client-IP: ", text);
    /* names of clients are not looked up */
    line[n++] = http_line("Client-Host: ", "[UNAVAILABLE]");
    if (client->helo[0] != '\0')
        line[n++] = http_encoded("Auth-SMTP-Helo: ", client->helo);
    if (client->tls_version[0] != '\0') {
        line[n++] = http_line("Auth-SSL: ", "on");
        line[n++] = http_encoded("Auth-SSL-Protocol: ", client->tls_version);
        line[n++] = http_encoded("Auth-SSL-Cipher: ", client->tls_cipher);
    }
    return n;
}

/* Else what is there goes. */
static bool http_all_there(char **line, size_t n)
{
    size_t kept = 0;

    for (size_t i = 0; i < n; i++) {
        char *one = line[i];
        line[i] = NULL;
        if (one != NULL)
            line[kept++] = one;
    }
    if (kept == n)
        return true;
    url_http_free(line);
    return false;
}

char **url_http_headers(const struct sasl_credential *credential, const struct auth_client *client,
                        char *const *more)
{
    char **line = calloc(HTTP_OURS + URL_HTTP_LINES_MAX + 1, sizeof *line);
    size_t n = 0;

    if (line == NULL)
        return NULL;
    line[n++] = http_line("Auth-Method: ", "plain");
    line[n++] = http_encoded("Auth-User: ", credential->login);
    line[n++] = http_encoded("Auth-Pass: ", credential->secret);
    line[n++] = http_line("Auth-Protocol: ", "smtp");
    n += http_about_client(line + n, client);
    for (; more != NULL && *more != NULL; more++)
        line[n++] = strdup(*more);
    return http_all_there(line, n) ? line : NULL;
}

bool url_http_login_ok(const char *login)
{
    return strchr(login, ':') == NULL;
}

struct http_field {
    const char *value;
    size_t len;
};

/* The next field of that name, from `*at` on. */
static bool http_next(struct http_field *out, const char *headers, size_t len, size_t *at,
                      const char *name)
{
    const size_t name_len = strlen(name);

    while (*at < len) {
        const char *line = headers + *at;
        const char *end = memchr(line, '\n', len - *at);
        const size_t n = end != NULL ? (size_t)(end - line) : len - *at;
        *at += n + 1;
        if (n <= name_len || strncasecmp(line, name, name_len) != 0 || line[name_len] != ':')
            continue;
        out->value = line + name_len + 1;
        out->len = n - name_len - 1;
        while (out->len > 0 && (*out->value == ' ' || *out->value == '\t')) {
            out->value++;
            out->len--;
        }
        while (out->len > 0 && strchr(" \t\r", out->value[out->len - 1]) != NULL)
            out->len--;
        return true;
    }
    return false;
}

static bool http_is(const struct http_field *f, const char *text)
{
    return f->len == strlen(text) && memcmp(f->value, text, f->len) == 0;
}

static bool http_success(long status)
{
    return status >= 200 && status < 300;
}

/* nginx takes all but OK and WAIT for the text of an error, whose code is another header. */
static enum url_http_verdict http_refusal(const struct http_field *status, long http,
                                          const char *headers, size_t len)
{
    struct http_field code;
    size_t at = 0;

    if (http >= 500 || http_is(status, "WAIT"))
        return URL_HTTP_UNAVAILABLE;
    while (http_next(&code, headers, len, &at, "Auth-Error-Code")) {
        if (code.len > 0 && code.value[0] == '4')
            return URL_HTTP_UNAVAILABLE;
    }
    return status->len >= 9 && strncasecmp(status->value, "temporary", 9) == 0
               ? URL_HTTP_UNAVAILABLE
               : URL_HTTP_REJECTED;
}

static enum url_http_verdict http_acceptance(char login[SASL_LOGIN_MAX + 1], long http,
                                             const char *headers, size_t len)
{
    struct http_field user;
    size_t at = 0;

    if (!http_success(http))
        return URL_HTTP_UNAVAILABLE;
    if (!http_next(&user, headers, len, &at, "Auth-User"))
        return URL_HTTP_ACCEPTED;
    if (!sasl_login_fits(user.value, user.len))
        return URL_HTTP_UNAVAILABLE;
    memcpy(login, user.value, user.len);
    login[user.len] = '\0';
    return URL_HTTP_ACCEPTED;
}

enum url_http_verdict url_http_judge(char login[SASL_LOGIN_MAX + 1], long status,
                                     const char *headers, size_t len)
{
    struct http_field field;
    bool told = false;
    size_t at = 0;

    login[0] = '\0';
    while (http_next(&field, headers, len, &at, "Auth-Status")) {
        told = true;
        if (!http_is(&field, "OK"))
            return http_refusal(&field, status, headers, len);
    }
    if (told)
        return http_acceptance(login, status, headers, len);
    if (http_success(status))
        return URL_HTTP_ACCEPTED;
    return status == 401 || status == 403 ? URL_HTTP_REJECTED : URL_HTTP_UNAVAILABLE;
}
