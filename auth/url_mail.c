#include "auth/url_mail.h"

#include <string.h>
#include <strings.h>

enum { MAIL_POP3_LINE_MAX = 255 - 7 }; /* RFC 2449 4, without "PASS " and CR LF */

struct mail_line {
    const char *text;
    size_t len;
};

static bool mail_begins(const char *text, size_t len, const char *word)
{
    return len >= strlen(word) && strncasecmp(text, word, strlen(word)) == 0;
}

bool url_mail_greets(enum url_protocol protocol, const char *octets, size_t len)
{
    switch (protocol) {
    case URL_IMAP:
        return mail_begins(octets, len, "* ");
    case URL_POP3:
        return mail_begins(octets, len, "+OK") || mail_begins(octets, len, "-ERR");
    case URL_SMTP:
        return len >= 3 && memchr("2345", octets[0], 4) != NULL && octets[1] >= '0' &&
               octets[1] <= '9' && octets[2] >= '0' && octets[2] <= '9';
    case URL_LDAP:
    case URL_HTTP:
        break;
    }
    return false;
}

bool url_mail_gives(enum url_protocol protocol, const char *octets, size_t len)
{
    const char *tag_end;

    switch (protocol) {
    case URL_IMAP:
        tag_end = memchr(octets, ' ', len);
        if (tag_end == NULL)
            return false;
        len -= (size_t)(tag_end + 1 - octets);
        return mail_begins(tag_end + 1, len, "AUTHENTICATE ") ||
               mail_begins(tag_end + 1, len, "LOGIN ");
    case URL_POP3:
        return mail_begins(octets, len, "AUTH ") || mail_begins(octets, len, "USER ") ||
               mail_begins(octets, len, "APOP ");
    case URL_SMTP:
        return mail_begins(octets, len, "AUTH ");
    case URL_LDAP:
    case URL_HTTP:
        break;
    }
    return false;
}

/* Only whole ones. False: there is none before `*end`, which goes back to its beginning. */
static bool mail_line_before(struct mail_line *out, const char *heard, size_t *end)
{
    size_t from;

    while (*end > 0 && heard[*end - 1] != '\n')
        --*end;
    if (*end == 0)
        return false;
    from = *end - 1;
    while (from > 0 && heard[from - 1] != '\n')
        from--;
    out->text = heard + from;
    out->len = *end - 1 - from;
    if (out->len > 0 && out->text[out->len - 1] == '\r')
        out->len--;
    *end = from;
    return true;
}

/* The word in brackets that stands at the front. */
static bool mail_code(const struct mail_line *l, const char *const *codes)
{
    for (; *codes != NULL; codes++) {
        const size_t len = strlen(*codes);
        if (l->len > len + 1 && l->text[0] == '[' && strncasecmp(l->text + 1, *codes, len) == 0 &&
            (l->text[len + 1] == ']' || l->text[len + 1] == ' '))
            return true;
    }
    return false;
}

static void mail_skip(struct mail_line *l, size_t n)
{
    l->text += n;
    l->len -= n;
}

/* A word and the blank behind it, if there is one. */
static bool mail_take(struct mail_line *l, const char *word)
{
    const size_t len = strlen(word);

    if (!mail_begins(l->text, l->len, word) || (l->len > len && l->text[len] != ' '))
        return false;
    mail_skip(l, l->len > len ? len + 1 : len);
    return true;
}

static enum url_mail_verdict mail_imap(const char *heard, size_t len, bool fine)
{
    static const char *const later[] = {"UNAVAILABLE",     "INUSE",        "LIMIT", "SERVERBUG",
                                        "PRIVACYREQUIRED", "CONTACTADMIN", NULL};
    struct mail_line l;

    do {
        if (!mail_line_before(&l, heard, &len))
            return URL_MAIL_UNAVAILABLE;
        if (mail_take(&l, "*") && mail_take(&l, "BYE"))
            return URL_MAIL_UNAVAILABLE;
    } while (l.len == 0 || heard[len] == '*' || heard[len] == '+');
    mail_skip(&l, strcspn(l.text, " \r\n"));
    if (l.len == 0 || l.text[0] != ' ')
        return URL_MAIL_UNAVAILABLE;
    mail_skip(&l, 1);
    if (mail_take(&l, "OK"))
        return fine ? URL_MAIL_ACCEPTED : URL_MAIL_UNAVAILABLE;
    if (!mail_take(&l, "NO") || mail_code(&l, later))
        return URL_MAIL_UNAVAILABLE;
    return fine ? URL_MAIL_UNAVAILABLE : URL_MAIL_REJECTED;
}

static enum url_mail_verdict mail_pop3(const char *heard, size_t len, bool fine)
{
    static const char *const later[] = {"SYS/TEMP", "SYS/PERM", "LOGIN-DELAY", NULL};
    /* RFC 2449 8.1.1: the login was right, another program has the mailbox open */
    static const char *const right[] = {"IN-USE", NULL};
    struct mail_line l;

    if (!mail_line_before(&l, heard, &len))
        return URL_MAIL_UNAVAILABLE;
    if (mail_take(&l, "+OK"))
        return fine ? URL_MAIL_ACCEPTED : URL_MAIL_UNAVAILABLE;
    if (!mail_take(&l, "-ERR") || fine || mail_code(&l, later))
        return URL_MAIL_UNAVAILABLE;
    return mail_code(&l, right) ? URL_MAIL_ACCEPTED : URL_MAIL_REJECTED;
}

static enum url_mail_verdict mail_smtp(const char *heard, size_t len, bool fine)
{
    struct mail_line l;

    if (!mail_line_before(&l, heard, &len))
        return URL_MAIL_UNAVAILABLE;
    if (mail_take(&l, "235"))
        return fine ? URL_MAIL_ACCEPTED : URL_MAIL_UNAVAILABLE;
    return mail_take(&l, "535") && !fine ? URL_MAIL_REJECTED : URL_MAIL_UNAVAILABLE;
}

enum url_mail_verdict url_mail_judge(enum url_protocol protocol, bool given, bool fine,
                                     const char *heard, size_t len)
{
    if (!given)
        return URL_MAIL_NO_WAY;
    switch (protocol) {
    case URL_IMAP:
        return mail_imap(heard, len, fine);
    case URL_POP3:
        return mail_pop3(heard, len, fine);
    case URL_SMTP:
        return mail_smtp(heard, len, fine);
    case URL_LDAP:
    case URL_HTTP:
        break;
    }
    return URL_MAIL_UNAVAILABLE;
}

void url_mail_last(char *out, size_t cap, const char *heard, size_t len)
{
    struct mail_line l = {.len = 0};

    if (!mail_line_before(&l, heard, &len))
        l.len = 0;
    if (l.len > cap - 1)
        l.len = cap - 1;
    for (size_t i = 0; i < l.len; i++)
        out[i] = (char)(l.text[i] >= 0x20 && l.text[i] < 0x7f ? l.text[i] : '?');
    out[l.len] = '\0';
}

static bool mail_ascii(const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text < 0x20 || *text >= 0x7f)
            return false;
    }
    return true;
}

bool url_mail_clear_ok(enum url_protocol protocol, const char *login, const char *password)
{
    if (!mail_ascii(login) || !mail_ascii(password))
        return false;
    return protocol != URL_POP3 ||
           (strchr(login, ' ') == NULL && strlen(login) <= MAIL_POP3_LINE_MAX &&
            strlen(password) <= MAIL_POP3_LINE_MAX);
}
