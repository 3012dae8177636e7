#include "proxy/hops.h"

static const char field[] = "received:";

enum { FIELD_LEN = sizeof(field) - 1 };

static void new_line(struct hops *h)
{
    h->over = !h->any;
    h->matched = 0;
    h->elsewhere = false;
    h->any = false;
}

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c + ('a' - 'A')) : c;
}

static void match(struct hops *h, uint8_t c)
{
    if (h->elsewhere)
        return;
    if (lower(c) != (uint8_t)field[h->matched]) {
        h->elsewhere = true;
        return;
    }
    if (++h->matched == FIELD_LEN) {
        h->count++;
        h->elsewhere = true;
    }
}

void hops_scan(struct hops *h, const uint8_t *in, size_t len)
{
    for (size_t i = 0; i < len && !h->over; i++) {
        if (in[i] == '\n') {
            new_line(h);
        } else if (in[i] != '\r') {
            h->any = true;
            match(h, in[i]);
        }
    }
}
