#include "proxy/capabilities.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* What needs nothing of the MTA: we count, we pipeline for it, we put the codes in where it has
 * none, and our BDAT is its DATA. */
enum {
    CAPABILITIES_OURS =
        EXTENSION_SIZE | EXTENSION_PIPELINING | EXTENSION_ENHANCEDSTATUSCODES | EXTENSION_CHUNKING
};

/* What the MTA must offer before we can. */
enum { CAPABILITIES_CARRIED = EXTENSION_8BITMIME | EXTENSION_SMTPUTF8 | EXTENSION_DSN };

/* Also the order in which they are offered. */
static const struct {
    const char *keyword;
    unsigned extension;
} capabilities_table[] = {
    {"PIPELINING", EXTENSION_PIPELINING},
    {"SIZE", EXTENSION_SIZE},
    {"8BITMIME", EXTENSION_8BITMIME},
    {"SMTPUTF8", EXTENSION_SMTPUTF8},
    {"DSN", EXTENSION_DSN},
    {"ENHANCEDSTATUSCODES", EXTENSION_ENHANCEDSTATUSCODES},
    {"CHUNKING", EXTENSION_CHUNKING},
};
enum { CAPABILITIES_COUNT = sizeof(capabilities_table) / sizeof(capabilities_table[0]) };

static bool capabilities_blank(char c)
{
    return c == ' ' || c == '\t';
}

static unsigned capabilities_find(const char *keyword, size_t len)
{
    for (size_t i = 0; i < CAPABILITIES_COUNT; i++) {
        if (len == strlen(capabilities_table[i].keyword) &&
            strncasecmp(keyword, capabilities_table[i].keyword, len) == 0)
            return capabilities_table[i].extension;
    }
    return 0;
}

/* The number behind SIZE; 0 when there is none, or none that fits. */
static uint64_t capabilities_number(const char *text, size_t len)
{
    uint64_t number = 0;

    while (len > 0 && capabilities_blank(*text)) {
        text++;
        len--;
    }
    while (len > 0 && capabilities_blank(text[len - 1]))
        len--;
    for (size_t i = 0; i < len; i++) {
        uint64_t digit = (uint64_t)(text[i] - '0');

        if (text[i] < '0' || text[i] > '9' || number > (UINT64_MAX - digit) / 10)
            return 0;
        number = number * 10 + digit;
    }
    return number;
}

static const char *const capabilities_attributes[] = {"NAME", "ADDR",  "PORT",    "PROTO",
                                                      "HELO", "LOGIN", "DESTADDR"};

static unsigned capabilities_attribute(const char *word, size_t len)
{
    for (unsigned i = 0; i < 7; i++) {
        if (len == strlen(capabilities_attributes[i]) &&
            strncasecmp(word, capabilities_attributes[i], len) == 0)
            return 1U << i;
    }
    return 0;
}

/* The words behind XCLIENT. */
static unsigned capabilities_xclient(const char *text, size_t len)
{
    unsigned attributes = 0;
    size_t end;

    for (size_t i = 0; i < len; i = end + 1) {
        for (end = i; end < len && !capabilities_blank(text[end]); end++)
            ;
        attributes |= capabilities_attribute(text + i, end - i);
    }
    return attributes;
}

static void capabilities_learn_line(struct capabilities *out, const char *text, size_t len)
{
    size_t keyword = 0;
    unsigned extension;

    while (keyword < len && !capabilities_blank(text[keyword]))
        keyword++;
    extension = capabilities_find(text, keyword);
    out->extensions |= extension;
    if (extension == EXTENSION_SIZE)
        out->size = capabilities_number(text + keyword, len - keyword);
    if (keyword == 7 && strncasecmp(text, "XCLIENT", 7) == 0)
        out->xclient = capabilities_xclient(text + keyword, len - keyword);
}

void capabilities_learn(struct capabilities *out, const struct reply *r, bool esmtp)
{
    const char *text;
    size_t len;

    *out = (struct capabilities){.known = true};
    if (!esmtp)
        return;
    /* The first line is the MTA's name and whatever it likes to say. */
    for (unsigned i = 1; reply_line(r, i, &text, &len); i++)
        capabilities_learn_line(out, text, len);
}

uint64_t capabilities_size(const struct capabilities *mta, uint64_t max_size)
{
    uint64_t theirs = mta->known ? mta->size : 0;

    if (theirs == 0 && max_size == 0)
        return CAPABILITIES_SIZE_DEFAULT;
    if (theirs == 0 || (max_size != 0 && max_size < theirs))
        return max_size;
    return theirs;
}

unsigned capabilities_offered(const struct capabilities *mta, unsigned hidden)
{
    unsigned theirs = mta->known ? mta->extensions & CAPABILITIES_CARRIED : 0;
    unsigned offered = (CAPABILITIES_OURS | theirs) & ~hidden;

    if ((offered & EXTENSION_8BITMIME) == 0)
        offered &= ~(unsigned)EXTENSION_SMTPUTF8; /* RFC 6531 3.1 (8) */
    return offered;
}

enum { CAPABILITIES_TEXT_MAX = 2048 };

/* The answer under construction. */
struct capabilities_text {
    char text[CAPABILITIES_TEXT_MAX];
    size_t len;
    size_t last; /* where the last line begins */
    bool full;
};

static void capabilities_add(struct capabilities_text *to, const char *keyword,
                             const char *parameters)
{
    size_t room = sizeof(to->text) - to->len;
    const char *blank = parameters[0] != '\0' ? " " : "";
    int len = snprintf(to->text + to->len, room, "250-%s%s%s\r\n", keyword, blank, parameters);

    if (len < 0 || (size_t)len >= room) {
        to->full = true;
        return;
    }
    to->last = to->len;
    to->len += (size_t)len;
}

static void capabilities_add_keywords(struct capabilities_text *to, unsigned extensions,
                                      uint64_t size)
{
    char number[24] = "";

    if (size > 0)
        snprintf(number, sizeof(number), "%" PRIu64, size);
    for (size_t i = 0; i < CAPABILITIES_COUNT; i++) {
        unsigned extension = capabilities_table[i].extension;

        if ((extensions & extension) != 0)
            capabilities_add(to, capabilities_table[i].keyword,
                             extension == EXTENSION_SIZE ? number : "");
    }
}

static bool capabilities_give(struct buf *out, struct capabilities_text *to)
{
    if (to->full)
        return false;
    to->text[to->last + 3] = ' ';
    return buf_append(out, to->text, to->len);
}

bool capabilities_write(struct buf *out, const struct capabilities *mta,
                        const struct capabilities_offer *offer)
{
    struct capabilities_text to = {.len = 0};

    capabilities_add(&to, offer->hostname, "");
    capabilities_add_keywords(&to, capabilities_offered(mta, offer->hidden),
                              capabilities_size(mta, offer->max_size));
    if (offer->starttls)
        capabilities_add(&to, "STARTTLS", "");
    if (offer->mechanisms != NULL)
        capabilities_add(&to, "AUTH", offer->mechanisms);
    return capabilities_give(out, &to);
}

bool capabilities_record(struct buf *out, const struct capabilities *mta, const char *name)
{
    struct capabilities_text to = {.len = 0};

    capabilities_add(&to, name, "");
    capabilities_add_keywords(&to, mta->extensions, mta->size);
    return capabilities_give(out, &to);
}

bool capabilities_same(const struct capabilities *a, const struct capabilities *b)
{
    return a->known == b->known && a->extensions == b->extensions && a->size == b->size;
}
