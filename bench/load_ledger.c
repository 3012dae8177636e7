#include "bench/load_ledger.h"

#include <stdlib.h>
#include <string.h>

enum { WORK_BITS = 0x0f, OFFERED = 0x10, ACCEPTED = 0x20, FOUND = 0x40, FIRST_CAPACITY = 65536 };

static bool make_room(struct load_ledger *l)
{
    if (l->next < l->capacity)
        return true;
    size_t wanted = l->capacity == 0 ? FIRST_CAPACITY : l->capacity * 2;
    uint8_t *marks = wanted <= LOAD_LEDGER_MAX ? realloc(l->marks, wanted) : NULL;
    if (marks == NULL)
        return false;
    memset(marks + l->capacity, 0, wanted - l->capacity);
    l->marks = marks;
    l->capacity = wanted;
    return true;
}

uint64_t load_ledger_number(struct load_ledger *l, unsigned work)
{
    if (make_room(l))
        l->marks[l->next] = (uint8_t)(work & WORK_BITS);
    return l->next++;
}

static void mark(struct load_ledger *l, uint64_t number, unsigned bit)
{
    if (number < l->capacity)
        l->marks[number] = (uint8_t)(l->marks[number] | bit);
}

void load_ledger_offered(struct load_ledger *l, uint64_t number)
{
    mark(l, number, OFFERED);
}

void load_ledger_accepted(struct load_ledger *l, uint64_t number)
{
    mark(l, number, ACCEPTED);
}

bool load_ledger_was_offered(const struct load_ledger *l, unsigned *work, bool *accepted,
                             uint64_t number)
{
    if (number >= l->capacity || (l->marks[number] & OFFERED) == 0)
        return false;
    *work = l->marks[number] & WORK_BITS;
    *accepted = (l->marks[number] & ACCEPTED) != 0;
    return true;
}

static void note_example(struct load_ledger_sums *sums, uint64_t number)
{
    if (!sums->has_example)
        sums->example = number;
    sums->has_example = true;
}

void load_ledger_found(struct load_ledger *l, struct load_ledger_sums *sums, uint64_t number,
                       uint64_t times, bool unharmed)
{
    mark(l, number, FOUND);
    sums->delivered++;
    sums->twice += times > 1;
    sums->altered += !unharmed;
    if (times > 1 || !unharmed)
        note_example(sums, number);
}

void load_ledger_close(struct load_ledger *l, struct load_ledger_sums *sums)
{
    for (size_t i = 0; i < l->capacity; i++) {
        bool accepted = (l->marks[i] & ACCEPTED) != 0, found = (l->marks[i] & FOUND) != 0;
        sums->offered += (l->marks[i] & OFFERED) != 0;
        sums->accepted += accepted;
        sums->lost += accepted && !found;
        sums->unconfirmed += found && !accepted;
        if (accepted && !found)
            note_example(sums, i);
    }
}

void load_ledger_free(struct load_ledger *l)
{
    free(l->marks);
    *l = (struct load_ledger){0};
}
