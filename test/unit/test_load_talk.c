#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bench/load_ledger.h"
#include "bench/load_proxy.h"
#include "bench/load_talk.h"
#include "bench/load_tally.h"
#include "bench/load_value.h"
#include "bench/load_work.h"

#include <netinet/in.h>

static struct load_work work;
static struct load_messages messages;
static struct load_envelope envelope;
static struct load_script script = {&work, &messages, &envelope, 5};
static struct load_talk talk;
static size_t piece; /* how what the server says is cut */

static void begin(const char *text)
{
    char error[LOAD_ERROR_MAX];
    load_messages_free(&messages);
    load_envelope_free(&envelope);
    assert_true(load_work_parse(&work, error, text));
    assert_true(load_messages_make(&messages, work.size, work.chunked));
    assert_true(load_envelope_make(&envelope, &work));
    load_talk_init(&talk, &script, "alice", "secret", 9);
}

/* What it says, all of it, is: */
static void says(const char *text)
{
    static char said[300000];
    const struct load_span *span;
    size_t len = 0;
    while ((span = load_talk_next(&talk)) != NULL) {
        size_t n = span->len < 1000 ? span->len : 1000;
        memcpy(said + len, span->at, n);
        len += n;
        load_talk_sent(&talk, n);
    }
    said[len] = '\0';
    assert_string_equal(said, text);
}

static enum load_talk_status hears(const char *text)
{
    enum load_talk_status status = talk.status;
    for (size_t at = 0, len = strlen(text); at < len; at += piece)
        status = load_talk_take(&talk, text + at, piece < len - at ? piece : len - at);
    return status;
}

#define GREETING "220 x ESMTP\r\n"
#define HELLO "250-x\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250 CHUNKING\r\n"

static void log_in(const char *hello)
{
    load_talk_secured(&talk);
    assert_int_equal(hears(GREETING), LOAD_TALK_MORE);
    says("EHLO load.example\r\n");
    hears(hello);
    says("AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n");
    hears("235 2.7.0 ok\r\n");
}

static void with_every_cut(void (*test)(void))
{
    for (piece = 1; piece < 40; piece++)
        test();
}

static const char *body_of(uint64_t number)
{
    static char text[10000];
    const struct load_form *form = load_messages_form(&messages, number);
    int len = snprintf(text, sizeof text, SINK_LABEL_FORMAT, 5ull, (unsigned long long)number);
    memcpy(text + len, form->wire, form->len);
    text[(size_t)len + form->len] = '\0';
    return text;
}

static void pipelined(void)
{
    begin("session,recipients=2,messages=2,size=600");
    log_in(HELLO);
    for (uint64_t number = 3; number < 5; number++) {
        assert_true(talk.marks & LOAD_MARK_NUMBER);
        talk.marks = 0;
        load_talk_number(&talk, number);
        says("MAIL FROM:<load@load.example> SIZE=600\r\nRCPT TO:<r0@load.example>\r\n"
             "RCPT TO:<r1@load.example>\r\nDATA\r\n");
        hears("250 ok\r\n250 ok\r\n250 ok\r\n");
        assert_false(talk.marks & LOAD_MARK_OFFERED);
        hears("354 go on\r\n");
        assert_true(talk.marks & LOAD_MARK_OFFERED);
        says(body_of(number));
        hears("250 taken\r\n");
        assert_true(talk.marks & LOAD_MARK_MESSAGE);
    }
    says("QUIT\r\n");
    assert_int_equal(hears("221 bye\r\n"), LOAD_TALK_DONE);
}

static void lock_step(void)
{
    begin("session,recipients=2,pipelining=no,size=600");
    log_in("250 x\r\n");
    says("MAIL FROM:<load@load.example>\r\n");
    hears("250 ok\r\n");
    says("RCPT TO:<r0@load.example>\r\n");
    hears("250 ok\r\n");
    says("RCPT TO:<r1@load.example>\r\n");
    hears("250 ok\r\n");
    says("DATA\r\n");
    hears("354 go on\r\n");
    says(body_of(0));
    hears("250-taken\r\n250 really\r\n");
    says("QUIT\r\n");
}

static void in_chunks(void)
{
    char expected[3000];
    begin("session,body=bdat,size=1200,chunk=512");
    log_in(HELLO);
    says("MAIL FROM:<load@load.example> SIZE=1200\r\nRCPT TO:<r0@load.example>\r\n");
    hears("250 ok\r\n250 ok\r\n");
    snprintf(expected, sizeof expected, "BDAT 512\r\n%.512s", body_of(0));
    says(expected);
    hears("250 ok\r\n");
    snprintf(expected, sizeof expected, "BDAT 512\r\n%.512s", body_of(0) + 512);
    says(expected);
    hears("250 ok\r\n");
    assert_false(talk.marks & LOAD_MARK_MESSAGE);
    snprintf(expected, sizeof expected, "BDAT 176 LAST\r\n%.176s", body_of(0) + 1024);
    says(expected);
    hears("250 ok\r\n");
    assert_true(talk.marks & LOAD_MARK_MESSAGE);
}

static void starttls(void)
{
    begin("session,tls=starttls,auth=no,size=600");
    hears(GREETING);
    says("EHLO load.example\r\n");
    hears("250-x\r\n250-PIPELINING\r\n250 STARTTLS\r\n");
    says("STARTTLS\r\n");
    assert_int_equal(hears("220 go\r\n"), LOAD_TALK_TLS);
    load_talk_secured(&talk);
    says("EHLO load.example\r\n");
    hears("250 x\r\n"); /* and no PIPELINING any more */
    says("MAIL FROM:<load@load.example>\r\n");
}

static void a_pipelined_session(void **state)
{
    (void)state;
    with_every_cut(pipelined);
}

static void a_session_in_lock_step(void **state)
{
    (void)state;
    with_every_cut(lock_step);
}

static void a_session_in_chunks(void **state)
{
    (void)state;
    with_every_cut(in_chunks);
}

static void a_session_with_starttls(void **state)
{
    (void)state;
    with_every_cut(starttls);
}

static void handshakes_end_with_the_greeting(void **state)
{
    (void)state;
    piece = 100;
    begin("handshake");
    load_talk_secured(&talk);
    assert_int_equal(talk.status, LOAD_TALK_MORE);
    assert_int_equal(hears(GREETING), LOAD_TALK_DONE);
    begin("handshake,greeting=no");
    load_talk_secured(&talk);
    assert_int_equal(talk.status, LOAD_TALK_DONE);
    begin("handshake,quit=yes");
    load_talk_secured(&talk);
    hears(GREETING);
    says("QUIT\r\n");
    assert_int_equal(hears("221 bye\r\n"), LOAD_TALK_DONE);
}

static void an_idle_session_goes_as_far_as_it_is_told(void **state)
{
    (void)state;
    piece = 100;
    begin("idle,stage=greeting");
    load_talk_secured(&talk);
    assert_int_equal(hears(GREETING), LOAD_TALK_HOLD);
    begin("idle");
    load_talk_secured(&talk);
    hears(GREETING);
    says("EHLO load.example\r\n");
    assert_int_equal(hears(HELLO), LOAD_TALK_HOLD);
    assert_int_equal(hears("421 4.4.2 too long\r\n"), LOAD_TALK_FAILED);
    assert_non_null(strstr(talk.what, "421 4.4.2 too long"));
    begin("idle,stage=auth");
    log_in(HELLO);
    assert_int_equal(talk.status, LOAD_TALK_HOLD);
}

static void a_wrong_password_must_be_refused(void **state)
{
    (void)state;
    piece = 100;
    begin("flood,attempts=2");
    load_talk_secured(&talk);
    hears(GREETING);
    says("EHLO load.example\r\n");
    hears(HELLO);
    says("AUTH PLAIN AGFsaWNlAHdyb25nLTktMA==\r\n"); /* wrong-9-0 */
    hears("535 no\r\n");
    assert_true(talk.marks & LOAD_MARK_REPLY);
    says("AUTH PLAIN AGFsaWNlAHdyb25nLTktMQ==\r\n"); /* wrong-9-1 */
    assert_int_equal(hears("235 welcome\r\n"), LOAD_TALK_FAILED);
    begin("flood");
    load_talk_secured(&talk);
    hears(GREETING HELLO);
    assert_int_equal(talk.status, LOAD_TALK_FAILED); /* HELLO before EHLO was sent */
    begin("flood");
    load_talk_secured(&talk);
    hears(GREETING);
    says("EHLO load.example\r\n");
    hears(HELLO);
    says("AUTH PLAIN AGFsaWNlAHdyb25nLTktMA==\r\n");
    assert_int_equal(hears("421 4.7.0 enough\r\n"), LOAD_TALK_DONE);
    assert_true(talk.ended_by_server);
}

static void what_a_server_must_not_say_is_a_failure(void **state)
{
    (void)state;
    static const char *const texts[] = {"HTTP/1.1 400 Bad\r\n",
                                        "554 go away\r\n",
                                        "22\r\n",
                                        "220x\r\n",
                                        "250 wrong code\r\n",
                                        "\r\n"};
    char endless[2000];
    for (piece = 1; piece < 8; piece += 6)
        for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
            begin("session,size=600");
            load_talk_secured(&talk);
            assert_int_equal(hears(texts[i]), LOAD_TALK_FAILED);
        }
    memset(endless, '2', sizeof endless - 1);
    endless[sizeof endless - 1] = '\0';
    begin("session,size=600");
    assert_int_equal(hears(endless), LOAD_TALK_FAILED);
    begin("session,size=600");
    hears(GREETING);
    assert_int_equal(load_talk_ended(&talk), LOAD_TALK_FAILED);
}

static void bytes_behind_starttls_are_a_failure(void **state)
{
    (void)state;
    piece = 1000;
    begin("session,tls=starttls,size=600");
    hears(GREETING);
    says("EHLO load.example\r\n");
    hears("250 STARTTLS\r\n");
    says("STARTTLS\r\n");
    assert_int_equal(hears("220 go\r\n250 injected\r\n"), LOAD_TALK_FAILED);
}

static void a_250_before_the_message_was_said_is_a_failure(void **state)
{
    (void)state;
    piece = 1000;
    begin("session,pipelining=no,auth=no,size=600");
    load_talk_secured(&talk);
    hears(GREETING);
    says("EHLO load.example\r\n");
    hears("250 x\r\n");
    says("MAIL FROM:<load@load.example>\r\n");
    hears("250 ok\r\n");
    says("RCPT TO:<r0@load.example>\r\n");
    hears("250 ok\r\n");
    says("DATA\r\n");
    hears("354 go\r\n");
    assert_int_equal(hears("250 taken\r\n"), LOAD_TALK_FAILED);
}

static void replies_may_come_while_an_envelope_is_on_its_way(void **state)
{
    (void)state;
    piece = 1000;
    begin("session,auth=no,size=600,recipients=2");
    load_talk_secured(&talk);
    hears(GREETING);
    says("EHLO load.example\r\n");
    hears(HELLO);
    load_talk_sent(&talk, load_talk_next(&talk)->len); /* MAIL */
    load_talk_sent(&talk, 2 * strlen("RCPT TO:<r0@load.example>\r\n"));
    assert_int_equal(hears("250 ok\r\n250 ok\r\n250 ok\r\n"), LOAD_TALK_MORE);
    assert_int_equal(hears("354 not asked yet\r\n"), LOAD_TALK_FAILED);
}

/* However a server answers out of turn, nothing is written where it should not be. */
static void a_server_out_of_its_mind_does_no_harm(void **state)
{
    (void)state;
    static const char *const replies[] = {
        "250 ok\r\n", "354 go\r\n", "220 x\r\n", "235 ok\r\n", "250-x\r\n250 PIPELINING\r\n",
        "535 no\r\n"};
    static const char *const works[] = {"session,size=600,recipients=3", "flood,attempts=9",
                                        "session,size=600,body=bdat,chunk=512", "idle",
                                        "session,size=600,pipelining=no,messages=3"};
    unsigned seed = 1;
    piece = 1000;
    for (int round = 0; round < 20000; round++) {
        begin(works[round % 5]);
        load_talk_secured(&talk);
        hears(GREETING);
        for (int i = 0; i < 12 && talk.status == LOAD_TALK_MORE; i++) {
            seed = seed * 1103515245 + 12345;
            if (seed >> 28 & 1 && load_talk_next(&talk) != NULL)
                load_talk_sent(&talk, load_talk_next(&talk)->len);
            hears(replies[(seed >> 16) % 6]);
        }
    }
}

static void works_as_they_are_written(void **state)
{
    (void)state;
    struct load_work w;
    char error[LOAD_ERROR_MAX];
    assert_true(load_work_parse(&w, error, "bulk,tls=starttls,rate=2.5,label=up,server=[::1]:587"));
    assert_int_equal(w.size, 25 << 20);
    assert_int_equal(w.security, LOAD_STARTTLS);
    assert_true(w.rate == 2.5);
    assert_string_equal(w.label, "up");
    assert_int_equal(w.server.ss_family, AF_INET6);
    assert_true(load_work_parse(&w, error, "slow,part=data,interval=100ms,octets=7"));
    assert_int_equal(w.interval, 100000000);
    assert_int_equal(w.part, LOAD_SLOW_DATA);
    static const char *const wrong[] = {"",
                                        "bogus",
                                        "session,",
                                        "session,bogus=1",
                                        "session,size=0",
                                        "session,size=511",
                                        "session,size=2G",
                                        "session,size=4kk",
                                        "handshake,messages=2",
                                        "handshake,tls=none",
                                        "session,rate=1,concurrency=1",
                                        "session,rate=0",
                                        "session,rate=nan",
                                        "session,server=x:1",
                                        "session,server=127.0.0.1",
                                        "session,server=127.0.0.1:65536",
                                        "session,pipelining=maybe",
                                        "idle,rate=3",
                                        "session,messages=0",
                                        "session,messages=-1",
                                        "session,recipients=1001",
                                        "session,label=",
                                        "session,size"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        error[0] = '\0';
        assert_false(load_work_parse(&w, error, wrong[i]));
        assert_int_equal(error[strlen(error) - 1], '.');
    }
}

static void values_as_they_are_written(void **state)
{
    (void)state;
    uint64_t n = 0;
    uint32_t first, last;
    assert_true(load_value_time(&n, "1.5") && n == 1500000000);
    assert_true(load_value_time(&n, "20us") && n == 20000);
    assert_true(load_value_time(&n, "2m") && n == 120 * LOAD_SECOND);
    assert_false(load_value_time(&n, "1d") || load_value_time(&n, "-1") ||
                 load_value_time(&n, "0x10") || load_value_time(&n, "") ||
                 load_value_time(&n, "25h"));
    assert_true(load_value_size(&n, "4k") && n == 4096);
    assert_true(load_value_size(&n, "1.5M") && n == 3 << 19);
    assert_true(load_value_range(&first, &last, "127.0.1.1-127.0.1.9"));
    assert_int_equal(first, 0x7f000101);
    assert_int_equal(last, 0x7f000109);
    assert_true(load_value_range(&first, &last, "127.0.0.2") && first == last);
    assert_false(load_value_range(&first, &last, "127.0.1.9-127.0.1.1"));
    assert_false(load_value_range(&first, &last, "::1"));
}

static void a_lost_message_is_told_by_its_number(void **state)
{
    (void)state;
    struct load_ledger l = {0};
    struct load_ledger_sums sums = {0};
    unsigned which;
    bool accepted;
    for (unsigned i = 0; i < 100000; i++) {
        assert_int_equal(load_ledger_number(&l, i % 16), i);
        load_ledger_offered(&l, i);
        if (i % 10 != 0)
            load_ledger_accepted(&l, i);
    }
    load_ledger_number(&l, 0); /* got no further */
    assert_true(load_ledger_was_offered(&l, &which, &accepted, 77777));
    assert_int_equal(which, 77777 % 16);
    assert_true(accepted);
    assert_false(load_ledger_was_offered(&l, &which, &accepted, 100000));
    assert_false(load_ledger_was_offered(&l, &which, &accepted, UINT64_MAX));
    for (unsigned i = 0; i < 100000; i++)
        if (i != 4321 && i % 20 != 0) /* 4321 was accepted; of the others half arrived */
            load_ledger_found(&l, &sums, i, i == 55 ? 2 : 1, i != 66);
    load_ledger_close(&l, &sums);
    assert_int_equal(sums.offered, 100000);
    assert_int_equal(sums.accepted, 90000);
    assert_int_equal(sums.delivered, 94999);
    assert_int_equal(sums.lost, 1);
    assert_int_equal(sums.twice, 1);
    assert_int_equal(sums.altered, 1);
    assert_int_equal(sums.unconfirmed, 5000);
    assert_int_equal(sums.example, 55);
    load_ledger_free(&l);
}

static void the_most_frequent_error_comes_first(void **state)
{
    (void)state;
    static struct load_tally t;
    char what[20];
    for (int i = 0; i < 40; i++) {
        snprintf(what, sizeof what, "error %d", i);
        for (int k = 0; k <= i && i < 5; k++)
            load_tally_error(&t, "MAIL", what);
        if (i >= 5)
            load_tally_error(&t, "RCPT", what);
    }
    load_tally_sort_errors(&t);
    assert_int_equal(t.failed, 50);
    assert_int_equal(t.errors_count, LOAD_ERRORS_MAX);
    assert_string_equal(t.errors[0].what, "other errors");
    assert_int_equal(t.errors[0].count, 25);
    assert_string_equal(t.errors[1].what, "error 4");
    assert_int_equal(t.errors[1].count, 5);
}

static void a_proxy_header_names_another_client_each_time(void **state)
{
    (void)state;
    struct sockaddr_storage server;
    uint8_t out[LOAD_PROXY_HEADER_MAX];
    assert_true(load_value_server(&server, "127.0.0.1:465"));
    size_t len = load_proxy_header(out, LOAD_PROXY_V1, &server, 0);
    assert_int_equal(len, strlen("PROXY TCP4 198.18.0.1 127.0.0.1 40000 465\r\n"));
    assert_memory_equal(out, "PROXY TCP4 198.18.0.1 127.0.0.1 40000 465\r\n", len);
    len = load_proxy_header(out, LOAD_PROXY_V2, &server, 255);
    assert_int_equal(len, 28);
    assert_memory_equal(out + 12, "\x21\x11\0\x0c\xc6\x12\x01\0\x7f\0\0\x01\x9c\x40\x01\xd1", 16);
    assert_int_equal(load_proxy_header(out, LOAD_PROXY_NONE, &server, 0), 0);
}

static int release(void **state)
{
    (void)state;
    load_messages_free(&messages);
    load_envelope_free(&envelope);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pipelined_session),
        cmocka_unit_test(a_session_in_lock_step),
        cmocka_unit_test(a_session_in_chunks),
        cmocka_unit_test(a_session_with_starttls),
        cmocka_unit_test(handshakes_end_with_the_greeting),
        cmocka_unit_test(an_idle_session_goes_as_far_as_it_is_told),
        cmocka_unit_test(a_wrong_password_must_be_refused),
        cmocka_unit_test(what_a_server_must_not_say_is_a_failure),
        cmocka_unit_test(bytes_behind_starttls_are_a_failure),
        cmocka_unit_test(a_250_before_the_message_was_said_is_a_failure),
        cmocka_unit_test(replies_may_come_while_an_envelope_is_on_its_way),
        cmocka_unit_test(a_server_out_of_its_mind_does_no_harm),
        cmocka_unit_test(works_as_they_are_written),
        cmocka_unit_test(values_as_they_are_written),
        cmocka_unit_test(a_lost_message_is_told_by_its_number),
        cmocka_unit_test(the_most_frequent_error_comes_first),
        cmocka_unit_test(a_proxy_header_names_another_client_each_time),
    };
    return cmocka_run_group_tests(tests, NULL, release);
}
