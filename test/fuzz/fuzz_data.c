#include <stdlib.h>

#include "proxy/data.h"
#include "test/unit/data_model.h"

/* Three octets say how: newline rule and limit, octets of input at a time, octets of output at a
 * time. */
enum { FUZZ_DATA_HEAD = 3 };

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t len);

static void expect(bool truth)
{
    if (!truth)
        abort();
}

static void expect_canonical(const struct data_outcome *o)
{
    for (size_t i = 0; i < o->len; i++) {
        expect(o->text[i] != '\0');
        if (o->text[i] == '\r')
            expect(i + 1 < o->len && o->text[i + 1] == '\n');
        if (o->text[i] == '\n')
            expect(i > 0 && o->text[i - 1] == '\r');
        if (o->text[i] == '.' && (i == 0 || o->text[i - 1] == '\n')) {
            expect(i + 1 < o->len && o->text[i + 1] == '.');
            i++;
        }
    }
    if (o->finished && o->fault == DATA_FINE && o->len > 0)
        expect(o->text[o->len - 1] == '\n');
}

static void scan(struct data_outcome *o, struct data_scan *d, const uint8_t *in, size_t len,
                 size_t chunk, size_t room)
{
    uint8_t *out = malloc(room);

    memset(o, 0, offsetof(struct data_outcome, text));
    while (o->used < len && !d->finished) {
        size_t take = len - o->used < chunk ? len - o->used : chunk;
        size_t got;
        size_t used = data_scan(d, in + o->used, take, out, room, &got);

        expect(used <= take && got <= room && got <= DATA_GROWTH * used && used > 0);
        memcpy(o->text + o->len, out, got);
        o->len += got;
        o->used += used;
    }
    if (d->chunked) {
        size_t got;

        data_end_chunked(d, o->text + o->len, &got);
        expect(got <= DATA_GROWTH);
        o->len += got;
    }
    o->fault = d->fault;
    o->finished = d->finished;
    o->octets = d->octets;
    free(out);
}

static void expect_agreement(const struct data_outcome *wanted, const struct data_outcome *got)
{
    expect(wanted->fault == got->fault && wanted->finished == got->finished);
    expect(wanted->octets == got->octets && wanted->used == got->used);
    expect(wanted->len == got->len && memcmp(wanted->text, got->text, got->len) == 0);
    expect_canonical(got);
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t len)
{
    static struct data_outcome wanted, got;
    struct data_scan d;
    enum data_newline newline;
    uint64_t max;
    size_t chunk, room;

    if (len < FUZZ_DATA_HEAD || len > INPUT_MAX)
        return 0;
    newline = in[0] % 2 == 0 ? DATA_NORMALIZE : DATA_REJECT;
    max = in[0] / 2;
    chunk = in[1] == 0 ? SIZE_MAX : in[1];
    room = in[2] == 0 ? OUTPUT_MAX : DATA_GROWTH + (size_t)in[2];
    in += FUZZ_DATA_HEAD;
    len -= FUZZ_DATA_HEAD;
    data_model(&wanted, newline, max, in, len);
    data_init(&d, newline, max);
    scan(&got, &d, in, len, chunk, room);
    expect_agreement(&wanted, &got);
    data_model_chunked(&wanted, newline, max, in, len);
    data_init_chunked(&d, newline, max);
    scan(&got, &d, in, len, chunk, room);
    expect_agreement(&wanted, &got);
    data_cleaner *cleaner[DATA_CLEANERS_MAX];
    const size_t count = data_cleaners(cleaner);
    for (int start = 0; start <= 1; start++)
        for (size_t i = 1; i < count; i++)
            expect(cleaner[i](in, len, start) == data_clean(in, len, start));
    return 0;
}
