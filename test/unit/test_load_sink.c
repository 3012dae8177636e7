#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bench/load_message.h"
#include "bench/load_schedule.h"
#include "bench/sink_data.h"
#include "bench/sink_digest.h"
#include "bench/sink_fault.h"
#include "bench/sink_label.h"
#include "bench/sink_ledger.h"
#include "bench/sink_preamble.h"

enum { TEXT_MAX = 400000 };

/* The same, one octet after the other, as RFC 5321 4.5.2 says it. */
struct model {
    int state; /* what stands before: 0 line start, 1 text, 2 CR, 3 dot, 4 dot CR */
    bool bare, ended;
    size_t used, len;
    uint8_t text[TEXT_MAX];
};

static void model_octet(struct model *m, uint8_t c)
{
    if (c == '\n' && (m->state == 2 || m->state == 4)) {
        m->ended = m->state == 4;
        if (!m->ended) {
            m->text[m->len++] = '\r';
            m->text[m->len++] = '\n';
        }
        m->state = 0;
        return;
    }
    m->bare = m->bare || c == '\n' || m->state == 2 || m->state == 4;
    if (c == '.' && m->state == 0)
        m->state = 3;
    else if (c == '\r')
        m->state = m->state == 3 ? 4 : 2;
    else {
        m->text[m->len++] = c;
        m->state = 1;
    }
}

static struct model expected, found;

static void decode(struct model *m, const uint8_t *in, size_t len, size_t piece, size_t first)
{
    struct sink_data d;
    const uint8_t *text;
    size_t text_len;
    m->used = m->len = 0;
    sink_data_init(&d);
    while (m->used < len && d.state != SINK_ENDED) {
        size_t n = m->used == 0 && first > 0 ? first : piece;
        n = n < len - m->used ? n : len - m->used;
        while (n > 0 && d.state != SINK_ENDED) {
            size_t taken = sink_data_next(&d, &text, &text_len, in + m->used, n);
            assert_true(taken > 0 && taken <= n);
            memcpy(m->text + m->len, text, text_len);
            m->len += text_len;
            m->used += taken;
            n -= taken;
        }
    }
    m->bare = d.bare;
    m->ended = d.state == SINK_ENDED;
}

static void same_as_the_model(const uint8_t *in, size_t len, size_t piece, size_t first)
{
    memset(&expected, 0, offsetof(struct model, text));
    while (expected.used < len && !expected.ended)
        model_octet(&expected, in[expected.used++]);
    decode(&found, in, len, piece, first);
    assert_int_equal(found.ended, expected.ended);
    assert_int_equal(found.used, expected.used);
    assert_int_equal(found.bare, expected.bare);
    if (!found.bare) {
        assert_int_equal(found.len, expected.len);
        assert_memory_equal(found.text, expected.text, found.len);
    }
}

static void data_is_decoded_however_it_is_cut(void **state)
{
    (void)state;
    static const char *const texts[] = {"hello\r\n.\r\n",    ".\r\n",
                                        "..\r\n.\r\nMAIL",   "a\r\n..b\r\n.c\r\n.\r\n",
                                        "bare\nlf\r\n.\r\n", "a\r\n.\n\r\n.\r\n",
                                        "cr\rin\r\n.\r\n",   "a\r\r\n.\r\n",
                                        "\r\n\r\n\r\n.\r\n", "a\n.\r\nb\r\n.\r\n",
                                        ".\rx\r\n.\r\n",     "x.\r\n.\r\n",
                                        "no end\r\n.",       "",
                                        ".\r.\r\n.\r\n",     "\n.\r\n.\r\n"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        size_t len = strlen(texts[i]);
        for (size_t first = 0; first <= len; first++)
            same_as_the_model((const uint8_t *)texts[i], len, len + 1, first);
        same_as_the_model((const uint8_t *)texts[i], len, 1, 0);
    }
}

/* Of few letters, so that line ends and dots meet; long ones too, for the fast path. */
static void data_of_any_kind_is_decoded_as_slowly_as_surely(void **state)
{
    (void)state;
    struct load_random random = {11};
    static uint8_t text[3000];
    for (int round = 0; round < 20000; round++) {
        size_t len = load_random_next(&random) % (round % 10 == 0 ? sizeof text : 40);
        unsigned rare = round % 3 == 0 ? 4 : 60;
        for (size_t i = 0; i < len; i++) {
            unsigned n = (unsigned)(load_random_next(&random) % rare);
            text[i] = n < 3 ? (uint8_t) "\r\n."[n] : (uint8_t)('a' + n % 20);
            if (text[i] == '\r' && i + 1 < len && load_random_next(&random) % 8 != 0)
                text[++i] = '\n';
        }
        same_as_the_model(text, len, 1 + load_random_next(&random) % 200, 0);
    }
}

static uint64_t digest_of(const void *in, size_t len, size_t piece)
{
    struct sink_digest d;
    sink_digest_init(&d);
    for (size_t at = 0; at < len; at += piece)
        sink_digest_update(&d, (const uint8_t *)in + at, piece < len - at ? piece : len - at);
    return sink_digest_result(&d);
}

static void a_digest_does_not_depend_on_the_cuts(void **state)
{
    (void)state;
    uint8_t text[300];
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (uint8_t)(i * 37);
    for (size_t len = 0; len < sizeof text; len += 7)
        for (size_t piece = 1; piece < 100; piece++)
            assert_true(digest_of(text, len, piece) == digest_of(text, len, sizeof text));
}

static void a_digest_sees_each_octet_and_the_length(void **state)
{
    (void)state;
    uint8_t text[200] = {0};
    uint64_t whole = digest_of(text, sizeof text, sizeof text);
    assert_true(digest_of(text, sizeof text - 1, sizeof text) != whole);
    for (size_t i = 0; i < sizeof text; i++)
        for (unsigned bit = 0; bit < 8; bit++) {
            text[i] ^= (uint8_t)(1u << bit);
            assert_true(digest_of(text, sizeof text, sizeof text) != whole);
            text[i] = 0;
        }
}

static void take_all(struct sink_label *l, const char *text, size_t piece)
{
    sink_label_init(l);
    for (size_t at = 0, len = strlen(text); at < len; at += piece)
        sink_label_take(l, (const uint8_t *)text + at, piece < len - at ? piece : len - at);
}

static void a_label_is_found_behind_what_proxies_add(void **state)
{
    (void)state;
    const char *text = "Received: from x\r\n\tby y\r\nX-Load-Id: 0123456789abcdef-00000000002a\r\n"
                       "Subject: x\r\n\r\nbody\r\n";
    const char *rest = strstr(text, "Subject");
    for (size_t piece = 1; piece <= strlen(text); piece++) {
        struct sink_label l;
        take_all(&l, text, piece);
        assert_int_equal(l.state, SINK_LABEL_FOUND);
        assert_true(l.run == UINT64_C(0x0123456789abcdef));
        assert_int_equal(l.number, 42);
        assert_true(sink_digest_result(&l.digest) == digest_of(rest, strlen(rest), 1000));
    }
}

static void a_label_is_only_one_in_the_header_and_well_formed(void **state)
{
    (void)state;
    static const char *const texts[] = {"\r\nX-Load-Id: 0123456789abcdef-00000000002a\r\n",
                                        "X-Load-Id: 0123456789abcdeg-00000000002a\r\n\r\n",
                                        "X-Load-Id: 0123456789abcdef-00000000002a0\r\n\r\n",
                                        "x X-Load-Id: 0123456789abcdef-00000000002a\r\n\r\n",
                                        "X-Load-Id: 0123456789abcdef 00000000002a\r\n\r\n"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct sink_label l;
        take_all(&l, texts[i], 1000);
        assert_int_equal(l.state, SINK_LABEL_ABSENT);
    }
}

/* What the client makes is what the sink decodes, in size, number and digest. */
static void messages_arrive_as_they_were_made(void **state)
{
    (void)state;
    static const uint64_t sizes[] = {512, 513, 589, 4096, 65536, 200000};
    static uint8_t sent[TEXT_MAX];
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        struct load_messages m;
        assert_true(load_messages_make(&m, sizes[s], false));
        for (uint64_t number = 0; number < 20; number++) {
            const struct load_form *form = load_messages_form(&m, number);
            struct sink_label l;
            int label =
                snprintf((char *)sent, 100, SINK_LABEL_FORMAT, 5ull, (unsigned long long)number);
            memcpy(sent + label, form->wire, form->len);
            decode(&found, sent, (size_t)label + form->len, 1460, 0);
            assert_true(found.ended && !found.bare);
            assert_int_equal(found.len, sizes[s]);
            sink_label_init(&l);
            sink_label_take(&l, found.text, found.len);
            assert_int_equal(l.number, number);
            assert_true(sink_digest_result(&l.digest) == form->digest);
        }
        assert_true(load_messages_form(&m, 0)->digest != load_messages_form(&m, 1)->digest);
        load_messages_free(&m);
    }
}

static void a_ledger_knows_what_came_how_often(void **state)
{
    (void)state;
    struct sink_ledger l = {0};
    for (uint64_t i = 0; i < 5000; i += 2)
        assert_true(sink_ledger_enter(&l, 1, i, 100, i));
    assert_true(sink_ledger_enter(&l, 2, 7, 50, 9));
    assert_true(sink_ledger_enter(&l, 1, 4, 100, 4));
    const struct sink_run *r = sink_ledger_find(&l, 1);
    assert_int_equal(r->messages, 2501);
    assert_int_equal(r->length, 4999);
    assert_int_equal(r->entries[4].times, 2);
    assert_int_equal(r->entries[5].times, 0);
    assert_int_equal(r->entries[4998].digest, 4998);
    assert_int_equal(sink_ledger_find(&l, 2)->entries[7].octets, 50);
    assert_null(sink_ledger_find(&l, 3));
    sink_ledger_clear(&l);
    assert_null(sink_ledger_find(&l, 1));
}

static void a_ledger_has_an_end(void **state)
{
    (void)state;
    struct sink_ledger l = {0};
    assert_false(sink_ledger_enter(&l, 1, SINK_LEDGER_ENTRIES_MAX, 1, 1));
    assert_false(sink_ledger_enter(&l, 1, UINT64_MAX, 1, 1));
    for (uint64_t run = 0; run < SINK_LEDGER_RUNS_MAX; run++)
        sink_ledger_enter(&l, run, 0, 1, 1);
    assert_false(sink_ledger_enter(&l, SINK_LEDGER_RUNS_MAX, 0, 1, 1));
    sink_ledger_clear(&l);
}

static void faults_come_as_often_as_they_are_asked_for(void **state)
{
    (void)state;
    static struct sink_faults f;
    assert_true(sink_faults_fail_option(&f, "RCPT/3=450 4.2.0 Later"));
    assert_null(sink_faults_reply(&f, SINK_RCPT));
    assert_null(sink_faults_reply(&f, SINK_RCPT));
    assert_string_equal(sink_faults_reply(&f, SINK_RCPT), "450 4.2.0 Later");
    assert_null(sink_faults_reply(&f, SINK_RCPT));
    assert_null(sink_faults_reply(&f, SINK_MAIL));
    assert_true(sink_faults_fail_option(&f, "body=close"));
    assert_string_equal(sink_faults_reply(&f, SINK_BODY), "close");
    assert_true(sink_faults_fail(&f, "BODY", "0", ""));
    assert_null(sink_faults_reply(&f, SINK_BODY));
    assert_true(sink_faults_delay_option(&f, "MAIL=1.5s"));
    assert_int_equal(f.of[SINK_MAIL].delay_ms, 1500);
    assert_true(sink_faults_delay(&f, "MAIL", "0"));
    assert_int_equal(f.of[SINK_MAIL].delay_ms, 0);
}

static void faults_that_make_no_sense_are_refused(void **state)
{
    (void)state;
    static struct sink_faults f;
    static const char *const fails[] = {"RCPT",        "RCPT=",       "RCPT=hello",   "RCPT=950 no",
                                        "BOGUS=450 x", "RCPT/=450 x", "RCPT/x=450 x", "=450 x"};
    static const char *const delays[] = {"MAIL", "MAIL=", "MAIL=x", "MAIL=-1", "MAIL=2h", "X=1"};
    for (size_t i = 0; i < sizeof fails / sizeof *fails; i++)
        assert_false(sink_faults_fail_option(&f, fails[i]));
    for (size_t i = 0; i < sizeof delays / sizeof *delays; i++)
        assert_false(sink_faults_delay_option(&f, delays[i]));
}

static enum sink_preamble_status preamble(size_t *used, const void *in, size_t len, size_t piece)
{
    struct sink_preamble p = {0};
    enum sink_preamble_status status = SINK_PREAMBLE_MORE;
    for (*used = 0; *used < len && status == SINK_PREAMBLE_MORE;) {
        size_t taken, n = piece < len - *used ? piece : len - *used;
        status = sink_preamble_take(&p, &taken, (const uint8_t *)in + *used, n);
        *used += taken;
    }
    return status;
}

static void a_preamble_ends_where_smtp_begins(void **state)
{
    (void)state;
    const char v1[] = "PROXY TCP4 1.2.3.4 5.6.7.8 9 10\r\nEHLO x";
    const char v2[] = "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"
                      "abcdefghijkl"
                      "EHLO x";
    size_t used;
    for (size_t piece = 1; piece < 50; piece++) {
        assert_int_equal(preamble(&used, v1, sizeof v1 - 1, piece), SINK_PREAMBLE_DONE);
        assert_int_equal(used, sizeof v1 - 1 - 6);
        assert_int_equal(preamble(&used, v2, sizeof v2 - 1, piece), SINK_PREAMBLE_DONE);
        assert_int_equal(used, 28);
    }
    assert_int_equal(preamble(&used, "EHLO x\r\n", 8, 8), SINK_PREAMBLE_BAD);
    assert_int_equal(preamble(&used, "PROXY TCP4\n", 11, 11), SINK_PREAMBLE_BAD);
    assert_int_equal(preamble(&used, "PROX", 4, 4), SINK_PREAMBLE_MORE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(data_is_decoded_however_it_is_cut),
        cmocka_unit_test(data_of_any_kind_is_decoded_as_slowly_as_surely),
        cmocka_unit_test(a_digest_does_not_depend_on_the_cuts),
        cmocka_unit_test(a_digest_sees_each_octet_and_the_length),
        cmocka_unit_test(a_label_is_found_behind_what_proxies_add),
        cmocka_unit_test(a_label_is_only_one_in_the_header_and_well_formed),
        cmocka_unit_test(messages_arrive_as_they_were_made),
        cmocka_unit_test(a_ledger_knows_what_came_how_often),
        cmocka_unit_test(a_ledger_has_an_end),
        cmocka_unit_test(faults_come_as_often_as_they_are_asked_for),
        cmocka_unit_test(faults_that_make_no_sense_are_refused),
        cmocka_unit_test(a_preamble_ends_where_smtp_begins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
