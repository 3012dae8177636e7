#include "auth/sender_list.h"

#include <stddef.h>
#include <string.h>
#include <strings.h>

#include "auth/utf8.h"

enum { SENDER_LOCAL_MAX = 64, SENDER_DOMAIN_MAX = 255 }; /* RFC 5321 4.5.3.1 */

struct sender_word {
    const char *at;
    size_t len;
};

static bool sender_list_word(struct sender_word *word, const char **list)
{
    static const char separators[] = " \t,";

    word->at = *list + strspn(*list, separators);
    word->len = strcspn(word->at, separators);
    *list = word->at + word->len;
    return word->len > 0;
}

static bool sender_alphanumeric(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
           (unsigned char)c > 0x7f;
}

/* One or more of these characters, with single dots between. */
static bool sender_dotted(const char *text, size_t len, const char *beside)
{
    bool dot = true;

    for (size_t i = 0; i < len; i++) {
        if (dot && text[i] == '.')
            return false;
        dot = text[i] == '.';
        if (!dot && !sender_alphanumeric(text[i]) &&
            (text[i] == '\0' || strchr(beside, text[i]) == NULL))
            return false;
    }
    return !dot;
}

static bool sender_domain(const char *text, size_t len)
{
    if (len == 0 || len > SENDER_DOMAIN_MAX)
        return false;
    if (text[0] == '[')
        return len > 2 && memchr(text, ']', len) == text + len - 1;
    return sender_dotted(text, len, "-_");
}

static const char *sender_word_fault(const struct sender_word *word)
{
    const char *at = memchr(word->at, '@', word->len);
    size_t local;

    if (word->len == 1 && word->at[0] == '*')
        return NULL;
    if (memchr(word->at, '"', word->len) != NULL || memchr(word->at, '\\', word->len) != NULL)
        return "an address needs quotes; allow its domain as @domain instead";
    if (at == NULL)
        return "an address holds no @; write local@domain, @domain or *";
    local = (size_t)(at - word->at);
    if (memchr(word->at, '*', local) != NULL)
        return "an address has a * before its @; write @domain for everyone of a domain";
    if (!utf8_ok(word->at, word->len))
        return "an address is not UTF-8";
    if (!sender_domain(at + 1, word->len - local - 1))
        return "an address has no sound domain behind its @";
    if (local > SENDER_LOCAL_MAX ||
        (local > 0 && !sender_dotted(word->at, local, "!#$%&'+-/=?^_`{|}~")))
        return "an address has no sound local part before its @";
    return NULL;
}

const char *sender_list_fault(const char *list)
{
    const char *fault = NULL;
    struct sender_word word;

    while (fault == NULL && sender_list_word(&word, &list))
        fault = sender_word_fault(&word);
    return fault;
}

static bool sender_word_allows(const struct sender_word *word, const char *address,
                               const char *domain)
{
    const char *at = memchr(word->at, '@', word->len);
    size_t local;
    size_t rest;

    if (word->len == 1 && word->at[0] == '*')
        return true;
    if (at == NULL || domain == NULL)
        return false;
    local = (size_t)(at - word->at);
    rest = word->len - local;
    if (strlen(domain) != rest || strncasecmp(domain, at, rest) != 0)
        return false;
    return local == 0 ||
           (local == (size_t)(domain - address) && memcmp(word->at, address, local) == 0);
}

bool sender_list_allows(const char *list, const char *address)
{
    /* a quoted local part may hold one more, a domain none */
    const char *domain = strrchr(address, '@');
    struct sender_word word;

    while (sender_list_word(&word, &list)) {
        if (sender_word_allows(&word, address, domain))
            return true;
    }
    return false;
}
