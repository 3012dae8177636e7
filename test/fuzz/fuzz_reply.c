#include <stdlib.h>
#include <string.h>

#include "proxy/capabilities.h"
#include "proxy/reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t len);

static void expect(bool truth)
{
    if (!truth)
        abort();
}

static bool digits(const char *text, size_t len, size_t *at)
{
    size_t from = *at;

    while (*at < len && text[*at] >= '0' && text[*at] <= '9')
        ++*at;
    return *at > from && *at - from <= 3;
}

/* "5.1.1" or "5.1.1 text", of the code's class */
static bool enhanced(unsigned code, const char *text, size_t len)
{
    size_t at = 2;

    if (len < 5 || (unsigned)(text[0] - '0') != code / 100 || text[1] != '.')
        return false;
    if (!digits(text, len, &at) || at >= len || text[at++] != '.' || !digits(text, len, &at))
        return false;
    return at == len || text[at] == ' ';
}

/* What a client gets is a reply by the book. */
static void expect_sound(const struct buf *b, const struct reply *r)
{
    struct reply again;
    const char *text;
    size_t len;
    unsigned lines = 0;

    for (size_t i = 0; i < buf_len(b); i++) {
        uint8_t c = buf_data(b)[i];

        expect((c >= 0x20 && c < 0x7f) || c == '\r' || c == '\n');
        expect((c == '\n') == (i > 0 && buf_data(b)[i - 1] == '\r'));
    }
    expect(reply_parse(&again, buf_data(b), buf_len(b)) != REPLY_MORE);
    if (reply_parse(&again, buf_data(b), buf_len(b)) == REPLY_BAD) {
        expect(buf_len(b) > REPLY_TOTAL_MAX); /* grown over it by the codes */
        return;
    }
    expect(again.code == r->code && again.lines == r->lines && again.len == buf_len(b));
    for (; reply_line(&again, lines, &text, &len); lines++) {
        expect(len <= REPLY_TEXT_MAX);
        expect(r->code / 100 == 3 || enhanced(r->code, text, len));
    }
    expect(lines == r->lines);
}

static void pass_on(const struct reply *r)
{
    struct capabilities c;
    char summary[64];
    struct buf b;

    buf_init(&b, 3 * REPLY_TOTAL_MAX);
    expect(reply_relay(&b, r));
    expect_sound(&b, r);
    buf_clear(&b);
    reply_summary(summary, sizeof(summary), r);
    expect(strlen(summary) >= 3 && strlen(summary) < sizeof(summary));
    capabilities_learn(&c, r, true);
    expect((capabilities_offered(&c, 0) & EXTENSION_CHUNKING) != 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t len)
{
    struct reply whole, part;
    enum reply_status status = reply_parse(&whole, in, len);
    enum reply_status before = REPLY_MORE;

    /* Every beginning wants more until one is decided, and then it stays so. */
    for (size_t n = 0; n <= len; n++) {
        enum reply_status now = reply_parse(&part, in, n);

        expect(before == REPLY_MORE || now == before);
        if (now == REPLY_COMPLETE)
            expect(part.len <= n && part.code >= 200 && part.code <= 559);
        before = now;
        if (n > 2000)
            n += 100;
    }
    if (len <= 2000)
        expect(before == status);
    if (status == REPLY_COMPLETE)
        pass_on(&whole);
    return 0;
}
