#include "proxy/fifo.h"

#include <stddef.h>

void fifo_push(struct fifo *f, const char *text)
{
    if (fifo_room(f))
        f->text[(f->first + f->count++) % LIMIT_REPLIES_PENDING] = text;
}

void fifo_wait(struct fifo *f)
{
    f->waiting = true;
}

void fifo_given(struct fifo *f)
{
    f->waiting = false;
}

void fifo_answer(struct fifo *f, const char *text)
{
    f->waiting = false;
    if (!fifo_room(f))
        return;
    f->first = (unsigned char)((f->first + LIMIT_REPLIES_PENDING - 1) % LIMIT_REPLIES_PENDING);
    f->text[f->first] = text;
    f->count++;
}

const char *fifo_front(const struct fifo *f)
{
    return f->waiting || f->count == 0 ? NULL : f->text[f->first];
}

void fifo_pop(struct fifo *f)
{
    if (f->count == 0)
        return;
    f->first = (unsigned char)((f->first + 1) % LIMIT_REPLIES_PENDING);
    f->count--;
}
