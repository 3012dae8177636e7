#include "bench/sink_label.h"

#include <string.h>

void sink_label_init(struct sink_label *l)
{
    l->state = SINK_LABEL_SOUGHT;
    l->seen = 0;
    l->line_len = 0;
    sink_digest_init(&l->digest);
}

static bool hexadecimal(uint64_t *value, const char *text, size_t digits)
{
    *value = 0;
    for (size_t i = 0; i < digits; i++) {
        const char *all = "0123456789abcdef", *digit = memchr(all, text[i], 16);
        if (digit == NULL)
            return false;
        *value = *value << 4 | (uint64_t)(digit - all);
    }
    return true;
}

static bool is_label(struct sink_label *l)
{
    const char *id = l->line + strlen(SINK_LABEL_PREFIX);
    return l->line_len == SINK_LABEL_OCTETS &&
           memcmp(l->line, SINK_LABEL_PREFIX, strlen(SINK_LABEL_PREFIX)) == 0 &&
           hexadecimal(&l->run, id, 16) && id[16] == '-' && hexadecimal(&l->number, id + 17, 12);
}

static void end_line(struct sink_label *l)
{
    if (is_label(l))
        l->state = SINK_LABEL_FOUND;
    else if (l->line_len == 2 || l->seen >= SINK_LABEL_HEADER_MAX)
        l->state = SINK_LABEL_ABSENT;
    l->line_len = 0;
}

void sink_label_take(struct sink_label *l, const uint8_t *text, size_t len)
{
    size_t i = 0;
    for (; i < len && l->state == SINK_LABEL_SOUGHT; i++) {
        if (l->line_len < sizeof l->line)
            l->line[l->line_len] = (char)text[i];
        l->line_len++;
        l->seen++;
        if (text[i] == '\n')
            end_line(l);
    }
    if (l->state == SINK_LABEL_FOUND)
        sink_digest_update(&l->digest, text + i, len - i);
}
