#include "bench/sink_data.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum { SINK_BLOCK = 64 };

/* A bit for each octet of a block. */
struct marks {
    uint64_t cr;
    uint64_t lf;
    uint64_t dot;
};

#ifdef __SSE2__
static uint64_t quarter(const uint8_t *in, __m128i octet)
{
    __m128i some = _mm_loadu_si128((const __m128i *)(const void *)in);
    return (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(some, octet));
}

static uint64_t bits(const uint8_t *in, char octet)
{
    __m128i wanted = _mm_set1_epi8(octet);
    return quarter(in, wanted) | quarter(in + 16, wanted) << 16 | quarter(in + 32, wanted) << 32 |
           quarter(in + 48, wanted) << 48;
}

static struct marks mark(const uint8_t *in)
{
    return (struct marks){bits(in, '\r'), bits(in, '\n'), bits(in, '.')};
}
#else
static struct marks mark(const uint8_t *in)
{
    struct marks m = {0, 0, 0};
    for (unsigned i = 0; i < SINK_BLOCK; i++) {
        m.cr |= (uint64_t)(in[i] == '\r') << i;
        m.lf |= (uint64_t)(in[i] == '\n') << i;
        m.dot |= (uint64_t)(in[i] == '.') << i;
    }
    return m;
}
#endif

/* How many octets, in whole blocks, are lines as they should be, none of which starts with a dot.
 * A CR at their very end is left out: what follows decides about it. */
static size_t clean_blocks(bool *line_start, const uint8_t *in, size_t len)
{
    uint64_t after_cr = 0, after_lf = *line_start;
    size_t clean = 0;
    for (; len - clean >= SINK_BLOCK; clean += SINK_BLOCK) {
        struct marks m = mark(in + clean);
        if (m.lf != (m.cr << 1 | after_cr) || (m.dot & (m.lf << 1 | after_lf)) != 0)
            break;
        after_cr = m.cr >> 63;
        after_lf = m.lf >> 63;
    }
    if (after_cr != 0)
        clean--;
    *line_start = after_lf != 0 && after_cr == 0;
    return clean;
}

/* As many octets as stand for themselves. A lone CR or LF is told and passed. */
static size_t plain_run(struct sink_data *d, const uint8_t *in, size_t len)
{
    bool line_start = d->state == SINK_LINE_START;
    size_t i = 0, look_again = 0;
    while (i < len) {
        if (i >= look_again) {
            i += clean_blocks(&line_start, in + i, len - i);
            look_again = i + SINK_BLOCK;
            continue;
        }
        bool cr = in[i] == '\r', pair = cr && i + 1 < len && in[i + 1] == '\n';
        if ((cr && i + 1 == len) || (in[i] == '.' && line_start))
            break;
        d->bare = d->bare || in[i] == '\n' || (cr && !pair);
        line_start = pair;
        i += pair ? 2 : 1;
    }
    d->state = line_start ? SINK_LINE_START : SINK_TEXT;
    return i;
}

void sink_data_init(struct sink_data *d)
{
    *d = (struct sink_data){SINK_LINE_START, false};
}

static size_t become(struct sink_data *d, enum sink_data_state state)
{
    d->state = state;
    return 1;
}

/* Behind a dot that began a line, or behind a CR. What is not taken here is text. */
static size_t held_back(struct sink_data *d, const uint8_t **text, size_t *text_len, uint8_t octet)
{
    if (d->state == SINK_DOT && octet == '\r')
        return become(d, SINK_DOT_CR);
    if (d->state == SINK_DOT_CR && octet == '\n')
        return become(d, SINK_ENDED);
    if (d->state == SINK_CR && octet == '\n') {
        *text = (const uint8_t *)"\r\n";
        *text_len = 2;
        return become(d, SINK_LINE_START);
    }
    d->bare = d->bare || d->state != SINK_DOT;
    d->state = SINK_TEXT;
    return 0;
}

size_t sink_data_next(struct sink_data *d, const uint8_t **text, size_t *text_len,
                      const uint8_t *in, size_t len)
{
    *text = in;
    *text_len = 0;
    if (len == 0 || d->state == SINK_ENDED)
        return 0;
    if (d->state != SINK_LINE_START && d->state != SINK_TEXT) {
        size_t taken = held_back(d, text, text_len, in[0]);
        if (taken > 0)
            return taken;
    }
    if (d->state == SINK_LINE_START && in[0] == '.')
        return become(d, SINK_DOT);
    *text_len = plain_run(d, in, len);
    if (*text_len < len && in[*text_len] == '\r') {
        d->state = SINK_CR;
        return *text_len + 1;
    }
    return *text_len;
}
