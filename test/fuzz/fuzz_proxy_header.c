#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/proxy_header.h"

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t len);

static void expect(bool truth)
{
    if (!truth)
        abort();
}

static void expect_same(const struct proxy_header *a, const struct proxy_header *b)
{
    expect(a->local == b->local);
    expect(memcmp(a->source, b->source, 16) == 0);
    expect(memcmp(a->destination, b->destination, 16) == 0);
    expect(a->source_port == b->source_port && a->destination_port == b->destination_port);
}

/* In memory of its own, so that reading behind it is seen. */
static enum proxy_header_status parse(struct proxy_header *h, size_t *used, const uint8_t *in,
                                      size_t len)
{
    uint8_t *fit = malloc(len > 0 ? len : 1);
    enum proxy_header_status status;

    expect(fit != NULL);
    memcpy(fit, in, len);
    status = proxy_header_parse(h, used, fit, len);
    free(fit);
    return status;
}

static void expect_written_anew_is_the_same(const struct proxy_header *h)
{
    for (int version = PROXY_V1; version <= PROXY_V2; version++) {
        uint8_t out[PROXY_HEADER_WRITE_MAX];
        struct proxy_header again;
        size_t used;
        size_t n = h->local
                       ? proxy_header_write_local(out, (enum proxy_header_version)version)
                       : proxy_header_write(out, (enum proxy_header_version)version, h->source,
                                            h->source_port, h->destination, h->destination_port);

        expect(n <= sizeof out);
        expect(parse(&again, &used, out, n) == PROXY_HEADER && used == n);
        expect_same(h, &again);
    }
}

/* Growing octet by octet: MORE until it is whole or wrong, and then it stays so. */
int LLVMFuzzerTestOneInput(const uint8_t *in, size_t len)
{
    enum proxy_header_status before = PROXY_MORE;
    struct proxy_header first = {.local = false};
    size_t whole = 0;

    if (len > PROXY_HEADER_MAX + 64)
        len = PROXY_HEADER_MAX + 64;
    for (size_t n = 0; n <= len; n++) {
        struct proxy_header h;
        size_t used = 0;
        enum proxy_header_status status = parse(&h, &used, in, n);

        expect(before == PROXY_MORE || status == before);
        expect(status != PROXY_MORE || n < PROXY_HEADER_MAX);
        if (status == PROXY_HEADER && before == PROXY_MORE) {
            first = h;
            whole = used;
            expect(used == n && used >= 15 && used <= PROXY_HEADER_MAX);
            expect(h.local || (h.source_port > 0 && h.destination_port > 0));
            expect_written_anew_is_the_same(&h);
        } else if (status == PROXY_HEADER) {
            expect(used == whole);
            expect_same(&h, &first);
        }
        before = status;
    }
    return 0;
}
