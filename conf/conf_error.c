#include "conf/conf_error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define SENTENCE_MAX 1024
#define REST_MAX 32 /* "and 18446744073709551615 more\n" */

static size_t add(char *out, size_t used, size_t cap, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

static size_t add_list(char *out, size_t used, size_t cap, const char *format, va_list args)
{
    int n = vsnprintf(out + used, cap - used, format, args);
    if (n < 0)
        return used;
    return (size_t)n < cap - used ? used + (size_t)n : cap - 1;
}

static size_t add(char *out, size_t used, size_t cap, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    used = add_list(out, used, cap, format, args);
    va_end(args);
    return used;
}

static size_t add_place(char *out, size_t cap, const struct conf_place *at,
                        const struct conf_subject *about)
{
    if (at->variable != NULL)
        return add(out, 0, cap, "%s: ", at->variable);
    size_t used = add(out, 0, cap, "%s:", at->file);
    if (at->line != 0)
        used = add(out, used, cap, "%u:", at->line);
    used = add(out, used, cap, " ");
    if (about == NULL || about->section == NULL)
        return used;
    used = add(out, used, cap, "[%s%s%s]", about->section, about->name != NULL ? " " : "",
               about->name != NULL ? about->name : "");
    if (about->key != NULL)
        used = add(out, used, cap, " %s", about->key);
    return add(out, used, cap, ": ");
}

static void clean(char *text)
{
    for (; *text != '\0'; text++) {
        if (*text < ' ' || *text > '~')
            *text = '?';
    }
}

/* Cuts a line that said how many more there were, so that it can be said anew. */
static size_t shown_len(const struct conf_errors *errors, size_t *shown)
{
    size_t len = 0;
    *shown = 0;
    for (const char *line = errors->text, *end; (end = strchr(line, '\n')) != NULL;
         line = end + 1) {
        if (strncmp(line, "and ", 4) == 0)
            break;
        len = (size_t)(end - errors->text) + 1;
        ++*shown;
    }
    return len;
}

void conf_error(struct conf_errors *errors, const struct conf_place *at,
                const struct conf_subject *about, const char *format, ...)
{
    char sentence[SENTENCE_MAX];
    size_t len = add_place(sentence, sizeof sentence, at, about);
    va_list args;
    va_start(args, format);
    len = add_list(sentence, len, sizeof sentence, format, args);
    va_end(args);
    clean(sentence);

    size_t shown;
    size_t used = shown_len(errors, &shown);
    bool all_shown = shown == errors->count;
    errors->count++;
    if (all_shown && used + len + 1 + REST_MAX < sizeof errors->text)
        add(errors->text, used, sizeof errors->text, "%s\n", sentence);
    else
        add(errors->text, used, sizeof errors->text, "and %zu more\n", errors->count - shown);
}
