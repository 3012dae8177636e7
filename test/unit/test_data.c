#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/data.h"
#include "test/unit/data_model.h"

/* `chunk` octets of input and `room` octets of output at a time; 0 is all. The memory is exactly as
 * big as said, for the sanitizer's eyes. */
static void scan_into(struct data_outcome *o, struct data_scan *d, const uint8_t *in, size_t len,
                      size_t chunk, size_t room)
{
    size_t n = chunk == 0 ? len : chunk;
    size_t cap = room == 0 ? OUTPUT_MAX : room;
    uint8_t *piece = malloc(n + 1);
    uint8_t *out = malloc(cap);

    memset(o, 0, offsetof(struct data_outcome, text));
    while (o->used < len && !d->finished) {
        size_t left = len - o->used;
        size_t take = left < n ? left : n;
        size_t got;
        size_t used;

        memcpy(piece + n - take, in + o->used, take);
        used = data_scan(d, piece + n - take, take, out, cap, &got);
        assert_true(used > 0 || got > 0);
        assert_true(got <= cap);
        assert_true(o->len + got <= OUTPUT_MAX);
        memcpy(o->text + o->len, out, got);
        o->len += got;
        o->used += used;
    }
    if (d->chunked) {
        size_t got;

        data_end_chunked(d, o->text + o->len, &got);
        assert_true(got <= DATA_GROWTH);
        o->len += got;
    }
    o->fault = d->fault;
    o->finished = d->finished;
    o->octets = d->octets;
    free(piece);
    free(out);
}

static void scan(struct data_outcome *o, enum data_newline newline, uint64_t max, const uint8_t *in,
                 size_t len, size_t chunk, size_t room)
{
    struct data_scan d;

    data_init(&d, newline, max);
    scan_into(o, &d, in, len, chunk, room);
}

static void dump(const char *what, const uint8_t *text, size_t len)
{
    printf("%s:", what);
    for (size_t i = 0; i < len; i++)
        printf(" %02x", text[i]);
    printf("\n");
}

static void assert_same(const struct data_outcome *a, const struct data_outcome *b,
                        const uint8_t *in, size_t len)
{
    if (a->fault == b->fault && a->finished == b->finished && a->octets == b->octets &&
        a->used == b->used && a->len == b->len && memcmp(a->text, b->text, a->len) == 0)
        return;
    dump("input", in, len);
    dump("wanted", a->text, a->len);
    dump("got", b->text, b->len);
    fail_msg("wanted fault %d finished %d octets %d used %d, got %d %d %d %d", a->fault,
             a->finished, (int)a->octets, (int)a->used, b->fault, b->finished, (int)b->octets,
             (int)b->used);
}

/* Every line ends in CR LF, none holds CR, LF or NUL beside it, and none that begins with a dot
 * begins with one. */
static void assert_canonical(const struct data_outcome *o)
{
    for (size_t i = 0; i < o->len; i++) {
        uint8_t before = i > 0 ? o->text[i - 1] : '\n';

        assert_int_not_equal(o->text[i], 0);
        if (o->text[i] == '\r')
            assert_true(i + 1 == o->len || o->text[i + 1] == '\n');
        if (o->text[i] == '\n')
            assert_int_equal(before, '\r');
        if (o->text[i] == '.' && before == '\n') {
            assert_true(i + 1 == o->len || o->text[i + 1] == '.');
            i++;
        }
    }
    if (o->finished && o->fault == DATA_FINE && o->len > 0)
        assert_memory_equal(o->text + o->len - 2, "\r\n", 2);
}

/* How MTAs find the end of data. Each returns how many octets the first message takes, its dot
 * included. */
static bool line_ends(const uint8_t *t, size_t i, bool lf, bool cr_cr)
{
    if (t[i] != '\n')
        return false;
    if (lf)
        return true;
    return i > 0 && t[i - 1] == '\r' && (cr_cr || i < 2 || t[i - 2] != '\r');
}

/* strict; LF and CR LF alike (Postfix without its defence, OpenSMTPD, Sendmail lax); the same with
 * any number of CR before the LF, and with a NUL that ends the line as strcmp sees it (OpenSMTPD);
 * CR alone as well (Cisco "Clean"). */
enum receiver { STRICT, LENIENT_LF, LENIENT_CR_NUL, LENIENT_CR_ALONE, RECEIVERS };

static bool alone(enum receiver r, const uint8_t *line, size_t len)
{
    if (len == 0 || line[0] != '.')
        return false;
    for (size_t i = 1; i < len; i++) {
        if (r == LENIENT_CR_NUL && line[i] == '\0')
            return true;
        if (line[i] == '\r' && (r == LENIENT_CR_NUL || i + 1 == len))
            continue;
        return false;
    }
    return true;
}

static size_t first_message(enum receiver r, const uint8_t *t, size_t len)
{
    size_t line = 0;

    for (size_t i = 0; i < len; i++) {
        bool cr = r == LENIENT_CR_ALONE && t[i] == '\r' && (i + 1 == len || t[i + 1] != '\n');
        bool end = cr || line_ends(t, i, r != STRICT, false);

        if (!end)
            continue;
        if (alone(r, t + line, i - line))
            return i + 1;
        line = i + 1;
    }
    return 0;
}

static void assert_one_message(const struct data_outcome *o)
{
    static uint8_t wire[OUTPUT_MAX + DATA_TAIL];
    size_t len = o->len + DATA_TAIL;

    memcpy(wire, o->text, o->len);
    memcpy(wire + o->len, DATA_END, DATA_TAIL);
    for (unsigned r = 0; r < RECEIVERS; r++)
        assert_int_equal(first_message(r, wire, len), len);
}

static void check(const uint8_t *in, size_t len, uint64_t max, size_t chunk, size_t room)
{
    static struct data_outcome wanted, got;

    for (unsigned newline = DATA_NORMALIZE; newline <= DATA_REJECT; newline++) {
        data_model(&wanted, newline, max, in, len);
        scan(&got, newline, max, in, len, chunk, room);
        assert_same(&wanted, &got, in, len);
        assert_canonical(&got);
        if (got.finished && got.fault == DATA_FINE)
            assert_one_message(&got);
    }
}

static void check_chunked(const uint8_t *in, size_t len, uint64_t max, size_t chunk, size_t room)
{
    static struct data_outcome wanted, got;
    struct data_scan d;

    for (unsigned newline = DATA_NORMALIZE; newline <= DATA_REJECT; newline++) {
        data_model_chunked(&wanted, newline, max, in, len);
        data_init_chunked(&d, newline, max);
        scan_into(&got, &d, in, len, chunk, room);
        assert_same(&wanted, &got, in, len);
        assert_canonical(&got);
        if (got.fault == DATA_FINE)
            assert_one_message(&got);
    }
}

static void the_receivers_of_these_tests_can_be_fooled(void **state)
{
    (void)state;
    assert_int_equal(first_message(STRICT, (const uint8_t *)"a\n.\nb\r\n.\r\n", 10), 10);
    assert_int_equal(first_message(LENIENT_LF, (const uint8_t *)"a\n.\nb\r\n.\r\n", 10), 4);
    assert_int_equal(first_message(LENIENT_CR_NUL, (const uint8_t *)"a\r\n.\r\r\nb", 8), 7);
    assert_int_equal(first_message(LENIENT_CR_NUL, (const uint8_t *)"a\r\n.\0\r\nb", 8), 7);
    assert_int_equal(first_message(LENIENT_CR_ALONE, (const uint8_t *)"a\r.\rb", 5), 4);
}

/* Every string over the octets that matter up to length 7, then the end of data. */
static void every_short_string_agrees_with_the_model(void **state)
{
    static const uint8_t alphabet[] = {'\r', '\n', '.', '\0', 'A'};
    uint8_t in[7 + 5];

    (void)state;
    for (size_t len = 0; len <= 7; len++) {
        size_t count = 1;

        for (size_t i = 0; i < len; i++)
            count *= 5;
        for (size_t number = 0; number < count; number++) {
            size_t rest = number;

            for (size_t i = 0; i < len; i++, rest /= 5)
                in[i] = alphabet[rest % 5];
            memcpy(in + len, "\r\n.\r\n", 5);
            check(in, len + 5, 0, 0, 0);
            check(in, len + 5, 0, 1, 2);
            check(in, len, 0, 2, 3);
            check_chunked(in, len, 0, 1, 2);
            check_chunked(in, len, number % 8, 3, 0);
        }
    }
}

static void every_short_string_agrees_at_every_split(void **state)
{
    static const uint8_t alphabet[] = {'\r', '\n', '.', '\0', 'A'};
    uint8_t in[5 + 5];

    (void)state;
    for (size_t number = 0; number < 5 * 5 * 5 * 5 * 5; number++) {
        size_t rest = number;

        for (size_t i = 0; i < 5; i++, rest /= 5)
            in[i] = alphabet[rest % 5];
        memcpy(in + 5, "\r\n.\r\n", 5);
        for (size_t chunk = 1; chunk < sizeof(in); chunk++)
            check(in, sizeof(in), number % 8, chunk, 0);
    }
}

/* Both the rare octets and the long clean stretches that the fast path is for. */
static size_t random_text(uint8_t *in, size_t max, unsigned *seed)
{
    static const char *const pieces[] = {"\r\n", "\r\n", "\r\n.",  "\n", "\r",
                                         ".",    "",     "\r\n..", "A",  "\r\n.\r"};
    size_t len = 0;
    size_t wanted = (size_t)rand_r(seed) % max;
    bool wild = rand_r(seed) % 3 == 0;

    while (len < wanted) {
        size_t run = (size_t)rand_r(seed) % (rand_r(seed) % 2 == 0 ? 200 : 5);
        const char *piece = pieces[(size_t)rand_r(seed) % (wild ? 10 : 3)];

        for (; run > 0 && len < wanted; run--)
            in[len++] = (uint8_t)('a' + run % 26);
        for (; *piece != '\0' && len < wanted; piece++)
            in[len++] = (uint8_t)*piece;
        if (wild && rand_r(seed) % 50 == 0 && len < wanted)
            in[len++] = 0;
    }
    return len;
}

static void random_texts_agree_with_the_model(void **state)
{
    static uint8_t in[2100];
    unsigned seed = 7;

    (void)state;
    for (unsigned n = 0; n < 20000; n++) {
        size_t len = random_text(in, 2000, &seed);
        size_t max = rand_r(&seed) % 4 == 0 ? (size_t)rand_r(&seed) % 1500 : 0;

        memcpy(in + len, "\r\n.\r\nMAIL FROM:<x>\r\n", 20);
        check(in, len + 20, max, (size_t)rand_r(&seed) % 100, 2 + (size_t)rand_r(&seed) % 90);
        check(in, len + 20, max, 0, 0);
        check_chunked(in, len, max, (size_t)rand_r(&seed) % 100, 2 + (size_t)rand_r(&seed) % 90);
    }
}

static void random_strings_of_the_octets_that_matter_agree(void **state)
{
    static const uint8_t alphabet[] = {'\r', '\n', '.', '\0', 'A'};
    uint8_t in[12 + 5];
    unsigned seed = 3;

    (void)state;
    for (unsigned n = 0; n < 200000; n++) {
        size_t len = 8 + (size_t)rand_r(&seed) % 5;

        for (size_t i = 0; i < len; i++)
            in[i] = alphabet[(size_t)rand_r(&seed) % 5];
        memcpy(in + len, "\r\n.\r\n", 5);
        check(in, len + 5, 0, (size_t)rand_r(&seed) % 4, 0);
    }
}

static void both_fast_paths_stop_at_the_same_octet(void **state)
{
    static uint8_t in[600];
    unsigned seed = 5;

    (void)state;
    data_cleaner *cleaner[DATA_CLEANERS_MAX];
    const size_t count = data_cleaners(cleaner);

    assert_in_range(count, 1, DATA_CLEANERS_MAX);
    for (unsigned n = 0; n < 100000; n++) {
        size_t len = random_text(in, sizeof(in), &seed);
        size_t from = len == 0 ? 0 : (size_t)rand_r(&seed) % len;

        for (int start = 0; start <= 1; start++)
            for (size_t i = 0; i + 1 < count; i++)
                assert_int_equal(cleaner[i](in + from, len - from, start),
                                 cleaner[count - 1](in + from, len - from, start));
    }
}

static void the_fast_path_takes_whole_clean_texts(void **state)
{
    static uint8_t in[78 * 100];
    data_cleaner *cleaner[DATA_CLEANERS_MAX];
    const size_t count = data_cleaners(cleaner);

    (void)state;
    for (size_t i = 0; i < sizeof(in); i += 78) {
        memset(in + i, 'x', 76);
        memcpy(in + i + 76, "\r\n", 2);
    }
    for (size_t len = 0; len < 700; len++) {
        size_t wanted = len % 78 == 77 ? len - 1 : len; /* never between CR and LF */

        for (size_t i = 0; i < count; i++)
            assert_int_equal(cleaner[i](in, len, true), wanted);
    }
    in[78 * 3] = '.';
    assert_int_equal(data_clean(in, sizeof(in), true), 78 * 3);
    in[78 * 3] = 'x';
    in[78 * 2 + 77] = 'x';
    assert_int_equal(data_clean(in, sizeof(in), true), 78 * 2 + 76);
    assert_int_equal(data_clean((const uint8_t *)".x", 2, true), 0);
    assert_int_equal(data_clean((const uint8_t *)".x", 2, false), 2);
}

struct example {
    const char *name;
    const char *in;
    size_t len;
    enum data_newline newline;
    enum data_fault fault;
    bool finished;
    const char *out;
};

#define EXAMPLE(name, in, newline, fault, finished, out)                      \
    {                                                                         \
        name, in, sizeof(in) - 1, DATA_##newline, DATA_##fault, finished, out \
    }

static void the_rules_of_the_design_hold(void **state)
{
    static const struct example examples[] = {
        EXAMPLE("a message", "a\r\nb\r\n.\r\n", REJECT, FINE, true, "a\r\nb\r\n"),
        EXAMPLE("an empty message", ".\r\n", REJECT, FINE, true, ""),
        EXAMPLE("stuffed dots stay stuffed", "..\r\n...\r\n..a\r\n.\r\n", REJECT, FINE, true,
                "..\r\n...\r\n..a\r\n"),
        EXAMPLE("an unstuffed dot is dropped", ".a\r\n.\r\n", REJECT, FINE, true, "a\r\n"),
        EXAMPLE("LF . LF is content", "a\n.\nb\r\n.\r\n", NORMALIZE, FINE, true,
                "a\r\n..\r\nb\r\n"),
        EXAMPLE("LF . CRLF is content", "a\n.\r\nb\r\n.\r\n", NORMALIZE, FINE, true,
                "a\r\n..\r\nb\r\n"),
        EXAMPLE("CRLF . LF is a dropped dot and an empty line", "a\r\n.\nb\r\n.\r\n", NORMALIZE,
                FINE, true, "a\r\n\r\nb\r\n"),
        EXAMPLE(". LF first is no end", ".\nb\r\n.\r\n", NORMALIZE, FINE, true, "\r\nb\r\n"),
        EXAMPLE("LF . CRLF ends nothing", "a\n.\r\n", NORMALIZE, FINE, false, "a\r\n..\r\n"),
        EXAMPLE("LF .. is two dots of content", "a\n..\r\n.\r\n", NORMALIZE, FINE, true,
                "a\r\n...\r\n"),
        EXAMPLE("a bare LF is a fault", "a\nb\r\n.\r\n", REJECT, BARE_LF, true, "a"),
        EXAMPLE("LF . CRLF ends nothing after a fault", "a\n.\r\nb", REJECT, BARE_LF, false, "a"),
        EXAMPLE("a bare CR is a fault", "a\rb\r\n.\r\n", NORMALIZE, BARE_CR, true, "a"),
        EXAMPLE("CR . CR ends nothing", "a\r.\rb", NORMALIZE, BARE_CR, false, "a"),
        EXAMPLE("CRLF . CR CRLF", "a\r\n.\r\r\nb\r\n.\r\n", NORMALIZE, BARE_CR, true, "a\r\n"),
        EXAMPLE("CR CRLF . CRLF holds a true end", "a\r\r\n.\r\n", NORMALIZE, BARE_CR, true, "a"),
        EXAMPLE("a NUL is a fault", "a\0b\r\n.\r\n", NORMALIZE, NUL, true, "a"),
        EXAMPLE("CRLF NUL . CRLF ends nothing", "a\r\n\0.\r\nb", NORMALIZE, NUL, false, "a\r\n"),
        EXAMPLE("CRLF . NUL CRLF ends nothing", "a\r\n.\0\r\nb", NORMALIZE, NUL, false, "a\r\n"),
        EXAMPLE("CR NUL LF . CRLF ends nothing", "a\r\0\n.\r\nb", NORMALIZE, BARE_CR, false, "a"),
        EXAMPLE("8-bit line ends are text", "a\x8d\x8a.\x8d\x8a\xc2\x85.\r\n.\r\n", REJECT, FINE,
                true, "a\x8d\x8a.\x8d\x8a\xc2\x85.\r\n"),
        EXAMPLE("CRLF . CR and no more", "a\r\n.\r", REJECT, FINE, false, "a\r\n"),
        EXAMPLE("LF CR is no line end", "a\n\r.\n\rb", NORMALIZE, BARE_CR, false, "a\r\n"),
    };

    static struct data_outcome o;

    (void)state;
    for (size_t i = 0; i < sizeof(examples) / sizeof(examples[0]); i++) {
        const struct example *e = &examples[i];

        for (size_t chunk = 0; chunk <= e->len; chunk++) {
            scan(&o, e->newline, 0, (const uint8_t *)e->in, e->len, chunk, 0);
            if (o.fault != e->fault || o.finished != e->finished || o.len != strlen(e->out) ||
                memcmp(o.text, e->out, o.len) != 0)
                fail_msg("%s: fault %d, finished %d, %d octets out", e->name, o.fault, o.finished,
                         (int)o.len);
        }
    }
}

static void dots_in_chunks_are_content(void **state)
{
    static const char *const examples[][2] = {
        {".", "..\r\n"},
        {".\r\n", "..\r\n"},
        {"a\r\n.\r\nb\r\n", "a\r\n..\r\nb\r\n"},
        {"..a\r\n", "...a\r\n"},
        {"a", "a\r\n"},
        {"a\n.", "a\r\n..\r\n"},
        {"", ""},
    };
    static struct data_outcome o;

    (void)state;
    for (size_t i = 0; i < sizeof(examples) / sizeof(examples[0]); i++) {
        size_t len = strlen(examples[i][0]);

        for (size_t chunk = 0; chunk <= len; chunk++) {
            struct data_scan d;

            data_init_chunked(&d, DATA_NORMALIZE, 0);
            scan_into(&o, &d, (const uint8_t *)examples[i][0], len, chunk, 0);
            assert_int_equal(o.fault, DATA_FINE);
            assert_true(o.finished);
            assert_int_equal(o.len, strlen(examples[i][1]));
            assert_memory_equal(o.text, examples[i][1], o.len);
        }
    }
}

static void a_cr_as_the_last_octet_of_all_chunks_is_bare(void **state)
{
    static struct data_outcome o;
    struct data_scan d;

    (void)state;
    data_init_chunked(&d, DATA_NORMALIZE, 0);
    scan_into(&o, &d, (const uint8_t *)"a\r", 2, 0, 0);
    assert_int_equal(o.fault, DATA_BARE_CR);
}

static void nothing_behind_the_end_is_read(void **state)
{
    static const char in[] = "a\r\n.\r\nRSET\r\n";
    static struct data_outcome o;

    (void)state;
    scan(&o, DATA_NORMALIZE, 0, (const uint8_t *)in, sizeof(in) - 1, 0, 0);
    assert_int_equal(o.used, 6);
    assert_true(o.finished);
}

static void the_limit_is_exact_and_counts_decoded_octets(void **state)
{
    static const char in[] = "..a\nb\r\n.\r\n"; /* ".a" CRLF "b" CRLF: 7 octets */
    static struct data_outcome o;

    (void)state;
    scan(&o, DATA_NORMALIZE, 7, (const uint8_t *)in, sizeof(in) - 1, 0, 0);
    assert_int_equal(o.fault, DATA_FINE);
    assert_int_equal(o.octets, 7);
    scan(&o, DATA_NORMALIZE, 6, (const uint8_t *)in, sizeof(in) - 1, 0, 0);
    assert_int_equal(o.fault, DATA_TOO_BIG);
    assert_true(o.finished);
}

static void a_very_long_line_needs_no_memory(void **state)
{
    static uint8_t block[4096];
    static uint8_t out[sizeof(block)];
    struct data_scan d;
    size_t got;

    (void)state;
    memset(block, 'A', sizeof(block));
    data_init(&d, DATA_REJECT, 0);
    for (unsigned i = 0; i < 10000; i++) {
        assert_int_equal(data_scan(&d, block, sizeof(block), out, sizeof(out), &got),
                         sizeof(block));
        assert_int_equal(got, sizeof(block));
    }
    assert_int_equal(d.octets, 10000 * sizeof(block));
}

static void a_full_output_stops_without_loss_unless_nothing_comes_out(void **state)
{
    struct data_scan d;
    uint8_t out[4];
    size_t got;

    (void)state;
    data_init(&d, DATA_NORMALIZE, 0);
    assert_int_equal(data_scan(&d, (const uint8_t *)"abc", 3, out, 0, &got), 0);
    assert_int_equal(got, 0);
    assert_int_equal(data_scan(&d, (const uint8_t *)"a\r\rb\r\n.\r\nX", 10, out, 4, &got), 9);
    assert_int_equal(got, 1);
    assert_int_equal(d.fault, DATA_BARE_CR);
    assert_true(d.finished);
    data_init(&d, DATA_NORMALIZE, 0);
    d.fault = DATA_NUL;
    assert_int_equal(data_scan(&d, (const uint8_t *)"abc\r\n.\r\nX", 9, NULL, 0, &got), 8);
    assert_true(d.finished);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_receivers_of_these_tests_can_be_fooled),
        cmocka_unit_test(the_rules_of_the_design_hold),
        cmocka_unit_test(every_short_string_agrees_with_the_model),
        cmocka_unit_test(every_short_string_agrees_at_every_split),
        cmocka_unit_test(random_texts_agree_with_the_model),
        cmocka_unit_test(random_strings_of_the_octets_that_matter_agree),
        cmocka_unit_test(both_fast_paths_stop_at_the_same_octet),
        cmocka_unit_test(the_fast_path_takes_whole_clean_texts),
        cmocka_unit_test(dots_in_chunks_are_content),
        cmocka_unit_test(a_cr_as_the_last_octet_of_all_chunks_is_bare),
        cmocka_unit_test(nothing_behind_the_end_is_read),
        cmocka_unit_test(the_limit_is_exact_and_counts_decoded_octets),
        cmocka_unit_test(a_very_long_line_needs_no_memory),
        cmocka_unit_test(a_full_output_stops_without_loss_unless_nothing_comes_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
