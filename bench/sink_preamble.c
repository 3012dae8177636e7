#include "bench/sink_preamble.h"

#include <stdbool.h>
#include <string.h>

enum { V1_MAX = 107, V2_FIXED = 16 };

static const uint8_t v2_signature[] = "\r\n\r\n\0\r\nQUIT\n";

static bool starts_like(const struct sink_preamble *p, const void *text, size_t len)
{
    return memcmp(p->text, text, p->len < len ? p->len : len) == 0;
}

static enum sink_preamble_status judge_v1(const struct sink_preamble *p)
{
    if (p->text[p->len - 1] == '\n')
        return p->len > 8 && p->text[p->len - 2] == '\r' ? SINK_PREAMBLE_DONE : SINK_PREAMBLE_BAD;
    return p->len < V1_MAX ? SINK_PREAMBLE_MORE : SINK_PREAMBLE_BAD;
}

static enum sink_preamble_status judge_v2(const struct sink_preamble *p)
{
    if (p->len < V2_FIXED)
        return SINK_PREAMBLE_MORE;
    size_t whole = V2_FIXED + ((size_t)p->text[14] << 8 | p->text[15]);
    if (p->text[12] >> 4 != 2 || whole > sizeof p->text)
        return SINK_PREAMBLE_BAD;
    return p->len == whole ? SINK_PREAMBLE_DONE : SINK_PREAMBLE_MORE;
}

static enum sink_preamble_status judge(const struct sink_preamble *p)
{
    if (starts_like(p, "PROXY ", 6))
        return judge_v1(p);
    return starts_like(p, v2_signature, 12) ? judge_v2(p) : SINK_PREAMBLE_BAD;
}

enum sink_preamble_status sink_preamble_take(struct sink_preamble *p, size_t *taken,
                                             const uint8_t *in, size_t len)
{
    enum sink_preamble_status status = SINK_PREAMBLE_MORE;
    for (*taken = 0; *taken < len && status == SINK_PREAMBLE_MORE; status = judge(p))
        p->text[p->len++] = in[(*taken)++];
    return status;
}
