#include "auth/line.h"

#include <stdlib.h>
#include <string.h>

#include "auth/source.h"

/* Who waits of one network, oldest first. Rows with somebody in them stand in a ring: the turns. */
struct line_row {
    uint8_t source[SOURCE_LEN];
    struct line_place *first;
    struct line_place *last;
    size_t length;
    struct line_row *next; /* in the ring, or among the free ones */
    struct line_row *before;
};

struct line {
    size_t max;
    size_t length;
    struct line_row *turn; /* whose is next; NULL: nobody waits */
    struct line_row *free;
    struct line_row *rows; /* one for each place and one more: he who comes to a full line */
};

struct line *line_new(size_t max)
{
    struct line *l = calloc(1, sizeof *l);

    if (l == NULL || (l->rows = calloc(max + 1, sizeof *l->rows)) == NULL) {
        free(l);
        return NULL;
    }
    l->max = max;
    for (size_t i = 0; i <= max; i++) {
        l->rows[i].next = l->free;
        l->free = &l->rows[i];
    }
    return l;
}

void line_free(struct line *l)
{
    if (l != NULL)
        free(l->rows);
    free(l);
}

static struct line_row *line_find(const struct line *l, const uint8_t source[SOURCE_LEN])
{
    struct line_row *r = l->turn;

    if (r == NULL)
        return NULL;
    do {
        if (memcmp(r->source, source, SOURCE_LEN) == 0)
            return r;
        r = r->next;
    } while (r != l->turn);
    return NULL;
}

static struct line_row *line_longest(const struct line *l)
{
    struct line_row *longest = l->turn;

    for (struct line_row *r = l->turn->next; r != l->turn; r = r->next)
        if (r->length > longest->length)
            longest = r;
    return longest;
}

/* Its turn comes last. */
static struct line_row *line_open_row(struct line *l, const uint8_t source[SOURCE_LEN])
{
    struct line_row *r = l->free;

    l->free = r->next;
    *r = (struct line_row){.next = r, .before = r};
    memcpy(r->source, source, SOURCE_LEN);
    if (l->turn == NULL) {
        l->turn = r;
        return r;
    }
    r->next = l->turn;
    r->before = l->turn->before;
    r->before->next = r;
    l->turn->before = r;
    return r;
}

static void line_close_row(struct line *l, struct line_row *r)
{
    if (l->turn == r)
        l->turn = r->next != r ? r->next : NULL;
    r->next->before = r->before;
    r->before->next = r->next;
    r->next = l->free;
    l->free = r;
}

static void line_append(struct line *l, struct line_row *r, struct line_place *p)
{
    *p = (struct line_place){.before = r->last, .row = r};
    if (r->last != NULL)
        r->last->next = p;
    else
        r->first = p;
    r->last = p;
    r->length++;
    l->length++;
}

void line_leave(struct line *l, struct line_place *p)
{
    struct line_row *r = p->row;

    if (r == NULL)
        return;
    *(p->before != NULL ? &p->before->next : &r->first) = p->next;
    *(p->next != NULL ? &p->next->before : &r->last) = p->before;
    p->row = NULL;
    r->length--;
    l->length--;
    if (r->length == 0)
        line_close_row(l, r);
}

struct line_place *line_join(struct line *l, struct line_place *p, const uint8_t address[16])
{
    uint8_t source[SOURCE_LEN];
    struct line_row *row, *longest;
    struct line_place *goes = NULL;

    source_of(source, address);
    row = line_find(l, source);
    if (l->length >= l->max) {
        longest = line_longest(l);
        if ((row != NULL ? row->length : 0) + 1 >= longest->length)
            return p;
        goes = longest->last;
    }
    line_append(l, row != NULL ? row : line_open_row(l, source), p);
    if (goes != NULL)
        line_leave(l, goes);
    return goes;
}

struct line_place *line_next(struct line *l)
{
    struct line_row *r = l->turn;
    struct line_place *p = r != NULL ? r->first : NULL;

    if (p == NULL)
        return NULL;
    l->turn = r->next;
    line_leave(l, p);
    return p;
}

size_t line_length(const struct line *l)
{
    return l->length;
}
