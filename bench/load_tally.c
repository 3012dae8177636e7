#include "bench/load_tally.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *load_phase_name(enum load_phase phase)
{
    static const char *const names[LOAD_PHASES] = {"connect", "tls",  "greeting",
                                                   "ehlo",    "auth", "message"};
    return names[phase];
}

static struct load_error *error_of(struct load_tally *t, const char *where, const char *what)
{
    for (size_t i = 0; i < t->errors_count; i++)
        if (strncmp(t->errors[i].where, where, LOAD_WHERE_MAX - 1) == 0 &&
            strncmp(t->errors[i].what, what, LOAD_TEXT_MAX - 1) == 0)
            return &t->errors[i];
    if (t->errors_count == LOAD_ERRORS_MAX)
        return &t->errors[LOAD_ERRORS_MAX - 1];
    struct load_error *e = &t->errors[t->errors_count++];
    if (t->errors_count == LOAD_ERRORS_MAX)
        where = "anywhere", what = "other errors";
    snprintf(e->where, sizeof e->where, "%s", where);
    snprintf(e->what, sizeof e->what, "%s", what);
    return e;
}

void load_tally_error(struct load_tally *t, const char *where, const char *what)
{
    t->failed++;
    error_of(t, where, what)->count++;
}

static int by_count(const void *a, const void *b)
{
    uint64_t x = ((const struct load_error *)a)->count, y = ((const struct load_error *)b)->count;
    return (x < y) - (x > y);
}

void load_tally_sort_errors(struct load_tally *t)
{
    qsort(t->errors, t->errors_count, sizeof *t->errors, by_count);
}

void load_tally_reply(struct load_tally *t, unsigned code)
{
    size_t i = 0;
    while (i < t->replies_count && t->replies[i].code != code)
        i++;
    if (i == LOAD_REPLIES_MAX)
        return;
    if (i == t->replies_count)
        t->replies[t->replies_count++] = (struct load_reply){code, 0};
    t->replies[i].count++;
}
