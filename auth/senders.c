#include "auth/senders.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/sender_list.h"
#include "auth/users.h"

struct senders_entry {
    const char *login;
    const char *list;
    uint32_t line;
};

struct senders {
    atomic_uint holds;
    size_t count;
    struct senders_entry *entries; /* by login */
    char *text;                    /* the file's text; the strings point into it */
};

/* Where a parser stands, and where its complaint goes. */
struct senders_reader {
    struct senders *senders;
    size_t capacity;
    const char *name;
    uint32_t line;
    char *error;
};

static bool senders_complain(const struct senders_reader *r, const char *login, const char *what)
{
    if (login != NULL)
        snprintf(r->error, SENDERS_ERROR_MAX, "%.128s:%u: the line of \"%.255s\": %s", r->name,
                 r->line, login, what);
    else
        snprintf(r->error, SENDERS_ERROR_MAX, "%.128s:%u: %s", r->name, r->line, what);
    return false;
}

static bool senders_append(struct senders_reader *r, const char *login, const char *list)
{
    struct senders *s = r->senders;

    if (s->count == r->capacity) {
        const size_t capacity = r->capacity > 0 ? r->capacity * 2 : 64;
        struct senders_entry *grown = reallocarray(s->entries, capacity, sizeof *grown);
        if (grown == NULL)
            return senders_complain(r, NULL, "out of memory");
        s->entries = grown;
        r->capacity = capacity;
    }
    s->entries[s->count++] = (struct senders_entry){.login = login, .list = list, .line = r->line};
    return true;
}

/* Where the login ends: a colon before the first blank, or one with a blank or nothing behind it;
 * else the first blank, or the line's end. */
static char *senders_login_end(char *line)
{
    char *const blank = line + strcspn(line, " \t");
    char *colon = strchr(line, ':');

    if (colon != NULL && colon < blank)
        return colon;
    for (; colon != NULL; colon = strchr(colon + 1, ':')) {
        if (colon[1] == '\0' || colon[1] == ' ' || colon[1] == '\t')
            return colon;
    }
    return blank;
}

static bool senders_take_login(struct senders_reader *r, char *line)
{
    char *end = senders_login_end(line);
    const char *list = *end != '\0' ? end + 1 : end;
    const char *fault;

    *end = '\0';
    while (end > line && (end[-1] == ' ' || end[-1] == '\t'))
        *--end = '\0';
    fault = users_login_fault(line);
    if (fault != NULL)
        return senders_complain(r, NULL, fault);
    if (list[strspn(list, " \t,")] == '\0')
        return senders_complain(r, line, "no address; a line is login: address, address");
    fault = sender_list_fault(list);
    if (fault != NULL)
        return senders_complain(r, line, fault);
    return senders_append(r, line, list);
}

/* `line` is NUL-ended in place of its newline. */
static bool senders_take_line(struct senders_reader *r, char *line, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (((unsigned char)line[i] < 0x20 && line[i] != '\t') || line[i] == 0x7f)
            return senders_complain(r, NULL,
                                    line[i] == '\r'
                                        ? "a carriage return; save the file with Unix line ends"
                                        : "a control character");
    }
    line += strspn(line, " \t");
    return line[0] == '\0' || line[0] == '#' || senders_take_login(r, line);
}

static bool senders_take_lines(struct senders_reader *r, size_t len)
{
    char *at = r->senders->text;
    char *const end = at + len;

    while (at < end) {
        char *newline = memchr(at, '\n', (size_t)(end - at));
        char *stop = newline != NULL ? newline : end;
        r->line++;
        *stop = '\0';
        if (!senders_take_line(r, at, (size_t)(stop - at)))
            return false;
        at = stop + 1;
    }
    return true;
}

static int senders_compare(const void *a, const void *b)
{
    const struct senders_entry *x = a;
    const struct senders_entry *y = b;

    return strcmp(x->login, y->login);
}

struct senders *senders_parse(const char *text, size_t len, const char *name,
                              char error[SENDERS_ERROR_MAX])
{
    struct senders_reader r = {.name = name, .error = error};
    struct senders *s = calloc(1, sizeof *s);

    if (s != NULL)
        s->text = malloc(len + 1);
    if (s == NULL || s->text == NULL) {
        free(s);
        senders_complain(&r, NULL, "out of memory");
        return NULL;
    }
    atomic_init(&s->holds, 1);
    if (len > 0)
        memcpy(s->text, text, len);
    s->text[len] = '\0';
    r.senders = s;
    if (!senders_take_lines(&r, len)) {
        senders_release(s);
        return NULL;
    }
    if (s->count > 0)
        qsort(s->entries, s->count, sizeof *s->entries, senders_compare);
    return s;
}

struct senders *senders_hold(struct senders *s)
{
    atomic_fetch_add_explicit(&s->holds, 1, memory_order_relaxed);
    return s;
}

void senders_release(struct senders *s)
{
    if (s == NULL || atomic_fetch_sub_explicit(&s->holds, 1, memory_order_acq_rel) != 1)
        return;
    free(s->text);
    free(s->entries);
    free(s);
}

/* The first entry of a login, or where it would stand. */
static size_t senders_first(const struct senders *s, const char *login)
{
    size_t low = 0;
    size_t high = s->count;

    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (strcmp(s->entries[middle].login, login) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool senders_file_allows(const struct senders *s, const char *login, const char *address)
{
    for (size_t i = senders_first(s, login);
         i < s->count && strcmp(s->entries[i].login, login) == 0; i++) {
        if (sender_list_allows(s->entries[i].list, address))
            return true;
    }
    return false;
}

bool senders_allows(const struct senders *s, const struct users *u, const char *login,
                    const char *address)
{
    const char *list = u != NULL ? users_addresses(u, login) : NULL;

    if (address[0] == '\0')
        return true;
    if (list != NULL && sender_list_allows(list, address))
        return true;
    return s != NULL && senders_file_allows(s, login, address);
}
