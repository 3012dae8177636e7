/* The line in front of the password check: bounded, and fair between client networks.
 *
 * Pure. Each network (auth/source.h) has its own row; rows take turns, so that a flood from one
 * delays itself. When the line is full, whoever's row is shorter than the longest even with him
 * takes the place of that row's last; else he is turned away himself. So nobody loses his place to
 * one who waits as little as he does. */
#ifndef VESTIBULE_AUTH_LINE_H
#define VESTIBULE_AUTH_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct line;

/* Somebody in line; part of the caller's own struct. */
struct line_place {
    struct line_place *next;
    struct line_place *before;
    struct line_row *row; /* NULL: not in line */
};

/* NULL: out of memory. */
struct line *line_new(size_t max);
void line_free(struct line *l); /* nobody is in it any more */

/* Who has to go: NULL (all have a place), `p` itself (no place), or somebody else (`p` has his
 * place). Never fails: rows are made beforehand. */
struct line_place *line_join(struct line *l, struct line_place *p, const uint8_t address[16]);
void line_leave(struct line *l, struct line_place *p);
struct line_place *line_next(struct line *l); /* takes out whose turn it is; NULL: nobody waits */
size_t line_length(const struct line *l);

#endif
