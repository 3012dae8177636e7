#include "bench/load_message.h"

#include <stdlib.h>
#include <string.h>

#include "bench/load_schedule.h"

enum {
    SMALL = 65536, /* up to here there are many forms */
    LINE = 78,     /* with its CR LF */
    DOT_EVERY = 100,
};

static const char header[] = "From: Load <load@load.example>\r\n"
                             "To: Load <load@load.example>\r\n"
                             "Date: Tue, 24 Nov 2026 12:00:00 +0000\r\n"
                             "Subject: A message of a measurement\r\n"
                             "MIME-Version: 1.0\r\n"
                             "Content-Type: text/plain; charset=us-ascii\r\n"
                             "\r\n";

static void fill_line(uint8_t *line, size_t len, struct load_random *random, bool dot)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < len - 2;) {
        uint64_t bits = load_random_next(random);
        for (size_t n = 0; n < 10 && i < len - 2; n++, bits >>= 6)
            line[i++] = (uint8_t)letters[bits & 63];
    }
    memcpy(line + len - 2, "\r\n", 2);
    if (dot)
        line[0] = '.';
}

/* The last line takes what is left, so that none is shorter than its end. */
static void fill(uint8_t *text, size_t len, uint64_t seed)
{
    struct load_random random = {seed};
    size_t line = 0;
    memcpy(text, header, sizeof header - 1);
    for (size_t at = sizeof header - 1; at < len; line++) {
        size_t left = len - at, n = left < LINE + 3 ? left : LINE;
        fill_line(text + at, n, &random, line % DOT_EVERY == seed % DOT_EVERY);
        at += n;
    }
}

static size_t stuff(uint8_t *wire, const uint8_t *text, size_t len)
{
    uint8_t *out = wire;
    bool line_start = true;
    for (size_t i = 0; i < len; i++) {
        if (line_start && text[i] == '.')
            *out++ = '.';
        *out++ = text[i];
        line_start = text[i] == '\n';
    }
    memcpy(out, ".\r\n", 3);
    return (size_t)(out - wire) + 3;
}

static bool make_form(struct load_form *f, size_t len, uint64_t seed, bool as_is)
{
    struct sink_digest digest;
    uint8_t *text = malloc(len);
    if (text == NULL)
        return false;
    fill(text, len, seed);
    sink_digest_init(&digest);
    sink_digest_update(&digest, text, len);
    f->digest = sink_digest_result(&digest);
    if (as_is) {
        f->wire = text;
        f->len = len;
        return true;
    }
    f->wire = malloc(len + len / LINE + 8);
    f->len = f->wire != NULL ? stuff(f->wire, text, len) : 0;
    free(text);
    return f->wire != NULL;
}

bool load_messages_make(struct load_messages *m, uint64_t size, bool as_is)
{
    size_t count = size <= SMALL ? LOAD_FORMS_MAX : 2;
    *m = (struct load_messages){.size = size};
    for (; m->count < count; m->count++)
        if (!make_form(&m->forms[m->count], (size_t)size - SINK_LABEL_OCTETS, m->count + 1, as_is))
            return false;
    return true;
}

void load_messages_free(struct load_messages *m)
{
    for (size_t i = 0; i < m->count; i++)
        free(m->forms[i].wire);
    m->count = 0;
}

const struct load_form *load_messages_form(const struct load_messages *m, uint64_t number)
{
    return &m->forms[number % m->count];
}
