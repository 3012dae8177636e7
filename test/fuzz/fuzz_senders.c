#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "auth/senders.h"
#include "auth/users.h"

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

static bool holds(const char *text, size_t len, const char *needle)
{
    const size_t n = strlen(needle);

    for (size_t i = 0; n <= len && i <= len - n; i++) {
        if (strncasecmp(text + i, needle, n) == 0)
            return true;
    }
    return false;
}

/* Whoever may send as an address stands in the file, and so does what allows it. */
static void check_allowed(const struct senders *s, const char *login, char *address,
                          const char *text, size_t len)
{
    char *domain = strrchr(address, '@');

    expect(users_login_fault(login) == NULL && holds(text, len, login));
    expect(memchr(text, '*', len) != NULL || (domain != NULL && holds(text, len, domain)));
    if (domain == NULL)
        return;
    for (char *c = domain; *c != '\0'; c++) {
        if (*c >= 'a' && *c <= 'z')
            *c = (char)(*c - 'a' + 'A');
    }
    expect(senders_allows(s, NULL, login, address));
    if (memchr(text, '*', len) == NULL && domain > address && !holds(text, len, address))
        expect(senders_allows(s, NULL, login, domain)); /* then everyone there may */
}

/* A login, an address, and the file, each on its line. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char error[SENDERS_ERROR_MAX] = "";
    const char *at = (const char *)data;
    const char *const end = at + size;
    char *login = take_line(&at, end);
    char *address = take_line(&at, end);
    struct senders *s = senders_parse(at, (size_t)(end - at), "senders", error);

    expect((s == NULL) == (error[0] != '\0'));
    expect(strpbrk(error, "\r\n\x1b") == NULL);
    if (s != NULL) {
        expect(senders_allows(s, NULL, login, ""));
        if (address[0] != '\0' && senders_allows(s, NULL, login, address))
            check_allowed(s, login, address, at, (size_t)(end - at));
    }
    senders_release(s);
    free(login);
    free(address);
    return 0;
}
