#include "proxy/data.h"

#include <string.h>
#ifdef __SSE2__
#include <immintrin.h>
#endif

/* Where in the input we stand. Octets that may turn out to be the end of data, or half a line end,
 * have been read but not written. Only CR LF makes a line start at which a dot may be stuffed or
 * end the message: a client that sent a bare LF did not know that a line begins behind it, so a dot
 * there is content and is stuffed on its way out. */
enum data_state {
    DATA_START,      /* behind CR LF, or at the very beginning */
    DATA_SOFT_START, /* behind a bare LF that was written as CR LF; and any line start in chunks */
    DATA_MIDDLE,
    DATA_CR,
    DATA_DOT,    /* CR LF . */
    DATA_DOT_CR, /* CR LF . CR */
};

/* Returning to the fast path costs a look at 64 octets; where faults or dots are dense that would
 * be for nothing. */
enum { DATA_SLOW_STRETCH = 16 };

struct data_out {
    uint8_t *at;
    size_t len;
    size_t cap;
};

void data_init(struct data_scan *d, enum data_newline newline, uint64_t max_octets)
{
    *d = (struct data_scan){.newline = newline, .state = DATA_START, .max_octets = max_octets};
}

void data_init_chunked(struct data_scan *d, enum data_newline newline, uint64_t max_octets)
{
    *d = (struct data_scan){
        .newline = newline, .state = DATA_SOFT_START, .chunked = true, .max_octets = max_octets};
}

static void data_line_begins(struct data_scan *d)
{
    d->state = d->chunked ? DATA_SOFT_START : DATA_START;
}

static void data_fail(struct data_scan *d, enum data_fault fault)
{
    if (d->fault == DATA_FINE)
        d->fault = fault;
}

static uint64_t data_allowance(const struct data_scan *d)
{
    return d->max_octets == 0 ? UINT64_MAX : d->max_octets - d->octets;
}

/* `size` is what the message grows by: a stuffed dot is written twice and counts once. */
static void data_put(struct data_scan *d, struct data_out *out, const void *octets, size_t len,
                     size_t size)
{
    if (d->fault != DATA_FINE)
        return;
    if (size > data_allowance(d)) {
        data_fail(d, DATA_TOO_BIG);
        return;
    }
    memcpy(out->at + out->len, octets, len);
    out->len += len;
    d->octets += size;
}

/* An octet to which a dot before it, if any, makes no difference. */
static void data_step_plain(struct data_scan *d, struct data_out *out, uint8_t c)
{
    d->state = DATA_MIDDLE;
    switch (c) {
    case '\r':
        d->state = DATA_CR;
        break;
    case '\n':
        if (d->newline == DATA_REJECT)
            data_fail(d, DATA_BARE_LF);
        data_put(d, out, "\r\n", 2, 2);
        d->state = DATA_SOFT_START;
        break;
    case '\0':
        data_fail(d, DATA_NUL);
        break;
    default:
        data_put(d, out, &c, 1, 1);
    }
}

/* A line whose content begins with a dot, whether or not the client stuffed it. */
static void data_step_first(struct data_scan *d, struct data_out *out, uint8_t c)
{
    if (c != '.') {
        data_step_plain(d, out, c);
        return;
    }
    data_put(d, out, "..", 2, 1);
    d->state = DATA_MIDDLE;
}

static void data_step(struct data_scan *d, struct data_out *out, uint8_t c)
{
    switch ((enum data_state)d->state) {
    case DATA_START:
        if (c == '.')
            d->state = DATA_DOT;
        else
            data_step_plain(d, out, c);
        break;
    case DATA_DOT:
        if (c == '\r')
            d->state = DATA_DOT_CR;
        else
            data_step_first(d, out, c);
        break;
    case DATA_SOFT_START:
        data_step_first(d, out, c);
        break;
    case DATA_MIDDLE:
        data_step_plain(d, out, c);
        break;
    case DATA_CR:
        if (c == '\n') {
            data_put(d, out, "\r\n", 2, 2);
            data_line_begins(d);
        } else {
            data_fail(d, DATA_BARE_CR);
            data_step_plain(d, out, c);
        }
        break;
    case DATA_DOT_CR:
        if (c == '\n') {
            d->finished = true;
        } else {
            data_fail(d, DATA_BARE_CR);
            data_step_plain(d, out, c);
        }
        break;
    }
}

/* Copies what needs no thought. */
static size_t data_copy(struct data_scan *d, struct data_out *out, const uint8_t *in, size_t len)
{
    bool line_start = d->state == DATA_START || d->state == DATA_SOFT_START;

    if (!line_start && d->state != DATA_MIDDLE)
        return 0;
    if (len > out->cap - out->len)
        len = out->cap - out->len;
    if (len > data_allowance(d))
        len = (size_t)data_allowance(d);
    len = data_clean(in, len, line_start);
    if (len == 0)
        return 0;
    memcpy(out->at + out->len, in, len);
    out->len += len;
    d->octets += len;
    d->state = DATA_MIDDLE;
    if (in[len - 1] == '\n')
        data_line_begins(d);
    return len;
}

/* After a fault only a CR can begin what we still look for; in chunks nothing can. */
static size_t data_skip(struct data_scan *d, const uint8_t *in, size_t len)
{
    const uint8_t *cr;

    if (d->chunked)
        return len;
    if (d->state != DATA_MIDDLE)
        return 0;
    cr = memchr(in, '\r', len);
    return cr != NULL ? (size_t)(cr - in) : len;
}

/* One octet at a time, for a short stretch. */
static size_t data_crawl(struct data_scan *d, struct data_out *out, const uint8_t *in, size_t len)
{
    size_t i = 0;

    if (len > DATA_SLOW_STRETCH)
        len = DATA_SLOW_STRETCH;
    while (i < len && !d->finished && (d->fault != DATA_FINE || out->cap - out->len >= DATA_GROWTH))
        data_step(d, out, in[i++]);
    return i;
}

size_t data_scan(struct data_scan *d, const uint8_t *in, size_t len, uint8_t *out, size_t cap,
                 size_t *out_len)
{
    struct data_out to = {.at = out, .cap = cap};
    size_t i = 0;
    size_t moved = 1;

    while (i < len && !d->finished && moved > 0) {
        moved = d->fault == DATA_FINE ? data_copy(d, &to, in + i, len - i)
                                      : data_skip(d, in + i, len - i);
        moved += data_crawl(d, &to, in + i + moved, len - i - moved);
        i += moved;
    }
    *out_len = to.len;
    return i;
}

void data_end_chunked(struct data_scan *d, uint8_t *out, size_t *out_len)
{
    struct data_out to = {.at = out, .cap = DATA_GROWTH};

    if (d->state == DATA_CR)
        data_fail(d, DATA_BARE_CR);
    else if (d->state == DATA_MIDDLE)
        data_put(d, &to, "\r\n", 2, 2);
    data_line_begins(d);
    d->finished = true;
    *out_len = to.len;
}

static bool data_word_has(uint64_t word, uint8_t c)
{
    uint64_t ones = UINT64_MAX / 255;
    uint64_t x = word ^ (ones * c);

    return ((x - ones) & ~x & (ones << 7)) != 0;
}

static size_t data_clean_words(const uint8_t *in, size_t len)
{
    size_t i = 0;

    while (len - i >= sizeof(uint64_t)) {
        uint64_t word;

        memcpy(&word, in + i, sizeof(word));
        if (data_word_has(word, '\r') || data_word_has(word, '\n') || data_word_has(word, '\0'))
            break;
        i += sizeof(word);
    }
    return i;
}

static size_t data_clean_portable(const uint8_t *in, size_t len, bool line_start)
{
    size_t i = 0;

    while (i < len && !(line_start && in[i] == '.')) {
        line_start = false;
        i += data_clean_words(in + i, len - i);
        while (i < len && in[i] != '\r' && in[i] != '\n' && in[i] != '\0')
            i++;
        if (len - i < 2 || in[i] != '\r' || in[i + 1] != '\n')
            break;
        i += 2;
        line_start = true;
    }
    return i;
}

#ifdef __SSE2__
/* Bit i is set where octet i of 64 is this one. */
struct data_look {
    uint64_t cr, lf, nul, dot;
};

static inline __m128i data_load(const uint8_t *in)
{
    return _mm_loadu_si128((const __m128i *)(const void *)in);
}

static inline uint64_t data_mask_part(__m128i block, __m128i wanted)
{
    return (uint64_t)(unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(block, wanted));
}

static inline uint64_t data_mask(const __m128i block[4], char c)
{
    __m128i wanted = _mm_set1_epi8(c);

    return data_mask_part(block[0], wanted) | data_mask_part(block[1], wanted) << 16 |
           data_mask_part(block[2], wanted) << 32 | data_mask_part(block[3], wanted) << 48;
}

static inline struct data_look data_look(const uint8_t *in)
{
    __m128i block[4] = {data_load(in), data_load(in + 16), data_load(in + 32), data_load(in + 48)};

    return (struct data_look){.cr = data_mask(block, '\r'),
                              .lf = data_mask(block, '\n'),
                              .nul = data_mask(block, '\0'),
                              .dot = data_mask(block, '.')};
}

#define DATA_AVX2 __attribute__((target("avx2")))

DATA_AVX2 static inline uint64_t data_mask_wide(const __m256i block[2], char c)
{
    __m256i wanted = _mm256_set1_epi8(c);

    return (uint64_t)(unsigned)_mm256_movemask_epi8(_mm256_cmpeq_epi8(block[0], wanted)) |
           (uint64_t)(unsigned)_mm256_movemask_epi8(_mm256_cmpeq_epi8(block[1], wanted)) << 32;
}

DATA_AVX2 static inline struct data_look data_look_wide(const uint8_t *in)
{
    __m256i block[2] = {_mm256_loadu_si256((const __m256i *)(const void *)in),
                        _mm256_loadu_si256((const __m256i *)(const void *)(in + 32))};

    return (struct data_look){.cr = data_mask_wide(block, '\r'),
                              .lf = data_mask_wide(block, '\n'),
                              .nul = data_mask_wide(block, '\0'),
                              .dot = data_mask_wide(block, '.')};
}

#define DATA_AVX512 __attribute__((target("avx512bw")))

DATA_AVX512 static inline struct data_look data_look_widest(const uint8_t *in)
{
    __m512i block = _mm512_loadu_si512((const void *)in);

    return (struct data_look){.cr = _mm512_cmpeq_epi8_mask(block, _mm512_set1_epi8('\r')),
                              .lf = _mm512_cmpeq_epi8_mask(block, _mm512_set1_epi8('\n')),
                              .nul = _mm512_cmpeq_epi8_mask(block, _mm512_setzero_si512()),
                              .dot = _mm512_cmpeq_epi8_mask(block, _mm512_set1_epi8('.'))};
}

/* 64 octets at once, line ends included: an LF must stand exactly where a CR stands before it, a
 * NUL nowhere, a dot not behind an LF. */
static inline __attribute__((always_inline)) size_t data_clean_by(
    struct data_look (*look)(const uint8_t *in), const uint8_t *in, size_t len, bool line_start)
{
    uint64_t cr_before = 0;
    uint64_t lf_before = line_start ? 1 : 0;
    size_t i = 0;

    while (len - i >= 64) {
        struct data_look at = look(in + i);
        uint64_t behind_cr = at.cr << 1 | cr_before;
        uint64_t behind_lf = at.lf << 1 | lf_before;
        uint64_t dirty = (at.lf ^ behind_cr) | at.nul | (at.dot & behind_lf);

        if (dirty != 0) {
            unsigned place = (unsigned)__builtin_ctzll(dirty);

            /* Behind a CR it is the CR that is amiss. */
            return i + place - (size_t)(behind_cr >> place & 1);
        }
        cr_before = at.cr >> 63;
        lf_before = at.lf >> 63;
        i += 64;
    }
    i -= (size_t)cr_before;
    return i + data_clean_portable(in + i, len - i, lf_before != 0);
}

static size_t data_clean_16(const uint8_t *in, size_t len, bool line_start)
{
    return data_clean_by(data_look, in, len, line_start);
}

DATA_AVX2 static size_t data_clean_32(const uint8_t *in, size_t len, bool line_start)
{
    return data_clean_by(data_look_wide, in, len, line_start);
}

DATA_AVX512 static size_t data_clean_64(const uint8_t *in, size_t len, bool line_start)
{
    return data_clean_by(data_look_widest, in, len, line_start);
}

size_t data_cleaners(data_cleaner *out[DATA_CLEANERS_MAX])
{
    size_t count = 0;

    if (__builtin_cpu_supports("avx512bw"))
        out[count++] = data_clean_64;
    if (__builtin_cpu_supports("avx2"))
        out[count++] = data_clean_32;
    out[count++] = data_clean_16;
    out[count++] = data_clean_portable;
    return count;
}
#else
size_t data_cleaners(data_cleaner *out[DATA_CLEANERS_MAX])
{
    out[0] = data_clean_portable;
    return 1;
}
#endif

size_t data_clean(const uint8_t *in, size_t len, bool line_start)
{
    data_cleaner *best[DATA_CLEANERS_MAX];

    data_cleaners(best);
    return best[0](in, len, line_start);
}
