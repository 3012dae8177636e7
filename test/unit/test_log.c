#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <ctype.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/log.h"
#include "proxy/log_field.h"

/* A field alone, as text. */
static const char *logfmt(const char *value, size_t max)
{
    static struct log_field f;
    log_field_string(&f, LOG_FORMAT_LOGFMT, true, "k", value, max);
    f.text[f.len] = '\0';
    return f.text;
}

static const char *json(const char *value, size_t max)
{
    static struct log_field f;
    log_field_string(&f, LOG_FORMAT_JSON, true, "k", value, max);
    f.text[f.len] = '\0';
    return f.text;
}

static void plain_values_stand_bare(void **state)
{
    (void)state;
    assert_string_equal(logfmt("TLSv1.3", 256), "k=TLSv1.3");
    assert_string_equal(logfmt("a@example.org", 256), "k=a@example.org");
    assert_string_equal(logfmt("<>", 256), "k=<>");
}

static void values_that_could_be_taken_for_fields_are_quoted(void **state)
{
    (void)state;
    assert_string_equal(logfmt("a b", 256), "k=\"a b\"");
    assert_string_equal(logfmt("x=y", 256), "k=\"x=y\"");
    assert_string_equal(logfmt("say \"hi\"", 256), "k=\"say \\\"hi\\\"\"");
    assert_string_equal(logfmt("a\\", 256), "k=\"a\\\\\"");
    assert_string_equal(logfmt("x event=login", 256), "k=\"x event=login\"");
}

static void nothing_but_printable_ascii_gets_out(void **state)
{
    (void)state;
    assert_string_equal(logfmt("\x1b[31m", 256), "k=\"\\x1b[31m\"");
    assert_string_equal(logfmt("a\nb", 256), "k=\"a\\x0ab\"");
    assert_string_equal(logfmt("\x9b\x7f\xc3\xa9", 256), "k=\"\\x9b\\x7f\\xc3\\xa9\"");
    for (int c = 1; c < 256; c++) {
        const char value[] = {(char)c, '\0'};
        for (const char *p = logfmt(value, 256); *p != '\0'; p++)
            assert_in_range(*p, 0x20, 0x7e);
        for (const char *p = json(value, 256); *p != '\0'; p++)
            assert_in_range(*p, 0x20, 0x7e);
    }
}

static void json_escapes_what_json_must(void **state)
{
    (void)state;
    assert_string_equal(json("plain", 256), "{\"k\":\"plain\"");
    assert_string_equal(json("\"\\", 256), "{\"k\":\"\\\"\\\\\"");
    assert_string_equal(json("\x1b\n\x7f", 256), "{\"k\":\"\\u001b\\u000a\\u007f\"");
    assert_string_equal(json("\xc3\xa9", 256), "{\"k\":\"\\u00e9\"");
    assert_string_equal(json("\xf0\x9f\x98\x80", 256), "{\"k\":\"\\ud83d\\ude00\"");
    assert_string_equal(json("\xff\xed\xa0\x80", 256), "{\"k\":\"\\u00ff\\u00ed\\u00a0\\u0080\"");
    assert_string_equal(json("\xe2\x82", 256), "{\"k\":\"\\u00e2\\u0082\"");
}

static void long_values_are_cut_and_say_so(void **state)
{
    (void)state;
    assert_string_equal(logfmt("12345", 5), "k=12345");
    assert_string_equal(logfmt("123456", 5), "k=12345...");
    assert_string_equal(json("123456", 5), "{\"k\":\"12345...\"");
    char hostile[300];
    memset(hostile, 1, sizeof hostile - 1);
    hostile[sizeof hostile - 1] = '\0';
    /* at most twice as long as a tame one, cut between escapes */
    assert_in_range(strlen(json(hostile, 256)), 500, 2 * 256 + 20);
    assert_non_null(strstr(json(hostile, 256), "\\u0001...\""));
    assert_in_range(strlen(logfmt(hostile, LOG_MESSAGE_MAX)), 1000, 2 * LOG_MESSAGE_MAX + 20);
}

/* Lines */

static int pipe_fds[2];
static char got[1 << 20];

static void open_pipe(enum log_format format, enum log_level level)
{
    assert_int_equal(pipe(pipe_fds), 0);
    assert_int_equal(fcntl(pipe_fds[0], F_SETFL, O_NONBLOCK), 0);
    log_open(pipe_fds[1], false, format, level);
}

static const char *drain(void)
{
    size_t len = 0;
    for (ssize_t n; (n = read(pipe_fds[0], got + len, sizeof got - 1 - len)) > 0;)
        len += (size_t)n;
    got[len] = '\0';
    return got;
}

static void close_pipe(void)
{
    log_open(STDERR_FILENO, false, LOG_FORMAT_LOGFMT, LOG_LEVEL_INFO);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
}

/* As much of JSON as a line has: one flat object of strings and numbers. */
static bool json_string(const char **p)
{
    if (*(*p)++ != '"')
        return false;
    for (; **p != '"'; (*p)++) {
        if ((unsigned char)**p < 0x20 || (unsigned char)**p >= 0x7f)
            return false;
        if (**p != '\\')
            continue;
        (*p)++;
        if (**p == 'u') {
            for (int i = 1; i <= 4; i++) {
                if (!isxdigit((unsigned char)(*p)[i]))
                    return false;
            }
            *p += 4;
        } else if (strchr("\"\\/bfnrt", **p) == NULL || **p == '\0') {
            return false;
        }
    }
    (*p)++;
    return true;
}

static bool json_line(const char **p)
{
    char before = '{';
    do {
        if (*(*p)++ != before || !json_string(p) || *(*p)++ != ':')
            return false;
        if (**p == '"') {
            if (!json_string(p))
                return false;
        } else if (!isdigit((unsigned char)**p)) {
            return false;
        }
        while (isdigit((unsigned char)**p))
            (*p)++;
        before = ',';
    } while (**p == ',');
    return *(*p)++ == '}' && *(*p)++ == '\n';
}

static void a_line_has_time_level_and_event_first(void **state)
{
    (void)state;
    open_pipe(LOG_FORMAT_LOGFMT, LOG_LEVEL_INFO);
    struct log_line l;
    log_begin(&l, LOG_LEVEL_WARNING, "login_refused");
    log_string(&l, "client", "192.0.2.1");
    log_string(&l, "sni", "");
    log_string(&l, "login", NULL);
    log_number(&l, "bytes", UINT64_MAX);
    log_end(&l);
    unsigned y, m, d, h, min, s, ms;
    int end = 0;
    assert_int_equal(sscanf(drain(), "time=%4u-%2u-%2uT%2u:%2u:%2u.%3uZ %n", &y, &m, &d, &h, &min,
                            &s, &ms, &end),
                     7);
    assert_string_equal(
        got + end,
        "level=warning event=login_refused client=192.0.2.1 bytes=18446744073709551615\n");
    close_pipe();
}

static void json_lines_are_json(void **state)
{
    (void)state;
    open_pipe(LOG_FORMAT_JSON, LOG_LEVEL_DEBUG);
    struct log_line l;
    log_begin(&l, LOG_LEVEL_DEBUG, "session");
    log_string(&l, "helo", "\x1b[0m\"},{\"event\":\"login\xff\xc3\xa9");
    log_number(&l, "size", 12);
    log_end(&l);
    log_say(LOG_LEVEL_ERROR, "start", "cannot bind %s: \"%d\"\n", "[::]:465", 98);
    const char *p = drain();
    assert_memory_equal(p, "{\"time\":\"", 9);
    assert_non_null(strstr(p, "Z\",\"level\":\"debug\",\"event\":\"session\",\"helo\":\""));
    assert_non_null(strstr(p, ",\"size\":12}\n"));
    assert_true(json_line(&p));
    assert_true(json_line(&p));
    assert_int_equal(*p, '\0');
    close_pipe();
}

static void lines_below_the_level_are_not_written(void **state)
{
    (void)state;
    open_pipe(LOG_FORMAT_LOGFMT, LOG_LEVEL_WARNING);
    struct log_line l;
    log_begin(&l, LOG_LEVEL_INFO, "session");
    log_string(&l, "k", "v");
    log_number(&l, "n", 1);
    log_end(&l);
    log_say(LOG_LEVEL_DEBUG, "x", "y");
    assert_string_equal(drain(), "");
    log_say(LOG_LEVEL_WARNING, "x", "y");
    assert_non_null(strstr(drain(), "event=x message=y\n"));
    close_pipe();
}

static void a_line_that_is_full_leaves_fields_out_and_counts_them(void **state)
{
    (void)state;
    static const enum log_format formats[] = {LOG_FORMAT_LOGFMT, LOG_FORMAT_JSON};
    for (int i = 0; i < 2; i++) {
        char value[300];
        struct log_line l;
        memset(value, '"', sizeof value);
        value[299] = '\0';
        open_pipe(formats[i], LOG_LEVEL_INFO);
        log_begin(&l, LOG_LEVEL_INFO, "full");
        for (int j = 0; j < 20; j++)
            log_string(&l, "k", value);
        log_end(&l);
        const char *p = drain();
        assert_in_range(strlen(p), 3000, LOG_LINE_MAX);
        assert_non_null(strstr(p, i == 0 ? " left_out=13\n" : ",\"left_out\":13}\n"));
        if (i == 1)
            assert_true(json_line(&p));
        close_pipe();
    }
}

static void a_full_pipe_loses_lines_counts_them_and_never_blocks(void **state)
{
    (void)state;
    char expected[32];
    unsigned written = 0, lost;
    open_pipe(LOG_FORMAT_LOGFMT, LOG_LEVEL_INFO);
    alarm(20);
    for (int i = 0; i < 3000; i++)
        log_say(LOG_LEVEL_INFO, "flood",
                "line %d of many, long enough to fill a pipe before they are all in", i);
    for (const char *p = drain(); (p = strchr(p, '\n')) != NULL; p++)
        written++;
    assert_null(strstr(got, "lost="));
    lost = 3000 - written;
    assert_in_range(lost, 1, 2999);
    log_say(LOG_LEVEL_INFO, "after", "x");
    snprintf(expected, sizeof expected, " lost=%u\n", lost);
    assert_non_null(strstr(drain(), expected));
    log_say(LOG_LEVEL_INFO, "after", "x");
    assert_null(strstr(drain(), "lost="));
    alarm(0);
    close_pipe();
}

static void a_full_socket_loses_lines_too(void **state)
{
    (void)state;
    int fds[2];
    static char bytes[1 << 20];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    log_open(fds[0], false, LOG_FORMAT_LOGFMT, LOG_LEVEL_INFO);
    alarm(20);
    for (int i = 0; i < 20000; i++)
        log_say(LOG_LEVEL_INFO, "flood", "line %d of many, long enough to fill a socket", i);
    while (recv(fds[1], bytes, sizeof bytes, MSG_DONTWAIT) > 0)
        ;
    log_say(LOG_LEVEL_INFO, "after", "x");
    ssize_t n = recv(fds[1], bytes, sizeof bytes - 1, MSG_DONTWAIT);
    assert_true(n > 0);
    bytes[n] = '\0';
    assert_non_null(strstr(bytes, "event=after message=x lost="));
    /* a reader that is gone is no end of us */
    close(fds[1]);
    log_say(LOG_LEVEL_INFO, "after", "x");
    alarm(0);
    log_open(STDERR_FILENO, false, LOG_FORMAT_LOGFMT, LOG_LEVEL_INFO);
    close(fds[0]);
}

static void syslog_gets_priority_and_tag_a_datagram_a_line(void **state)
{
    (void)state;
    int fds[2];
    char text[LOG_LINE_MAX + 64], month[4], rest[512];
    unsigned priority, day, h, m, s;
    long pid;
    assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, fds), 0);
    log_open(fds[0], true, LOG_FORMAT_LOGFMT, LOG_LEVEL_DEBUG);
    static const enum log_level levels[] = {LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARNING,
                                            LOG_LEVEL_ERROR};
    static const unsigned priorities[] = {16 + 7, 16 + 6, 16 + 4, 16 + 3};
    for (int i = 0; i < 4; i++) {
        log_say(levels[i], "x", "hello");
        ssize_t n = recv(fds[1], text, sizeof text - 1, MSG_DONTWAIT);
        assert_true(n > 0);
        text[n] = '\0';
        assert_int_equal(sscanf(text, "<%u>%3s %u %u:%u:%u vestibule[%ld]: %511[^\n]", &priority,
                                month, &day, &h, &m, &s, &pid, rest),
                         8);
        assert_int_equal(priority, priorities[i]);
        assert_int_equal(pid, getpid());
        assert_memory_equal(rest, "time=", 5);
        assert_null(strchr(text, '\n'));
    }
    log_open(STDERR_FILENO, false, LOG_FORMAT_LOGFMT, LOG_LEVEL_INFO);
    close(fds[0]);
    close(fds[1]);
}

static void *write_lines(void *name)
{
    for (int i = 0; i < 100; i++)
        log_say(LOG_LEVEL_INFO, name, "line %d", i);
    return NULL;
}

static void threads_do_not_mix_their_lines(void **state)
{
    (void)state;
    pthread_t threads[4];
    static char names[4][2] = {"a", "b", "c", "d"};
    unsigned lines = 0;
    open_pipe(LOG_FORMAT_JSON, LOG_LEVEL_INFO);
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, write_lines, names[i]);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    for (const char *p = drain(); *p != '\0'; lines++)
        assert_true(json_line(&p));
    assert_int_equal(lines, 400);
    close_pipe();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_values_stand_bare),
        cmocka_unit_test(values_that_could_be_taken_for_fields_are_quoted),
        cmocka_unit_test(nothing_but_printable_ascii_gets_out),
        cmocka_unit_test(json_escapes_what_json_must),
        cmocka_unit_test(long_values_are_cut_and_say_so),
        cmocka_unit_test(a_line_has_time_level_and_event_first),
        cmocka_unit_test(json_lines_are_json),
        cmocka_unit_test(lines_below_the_level_are_not_written),
        cmocka_unit_test(a_line_that_is_full_leaves_fields_out_and_counts_them),
        cmocka_unit_test(a_full_pipe_loses_lines_counts_them_and_never_blocks),
        cmocka_unit_test(a_full_socket_loses_lines_too),
        cmocka_unit_test(syslog_gets_priority_and_tag_a_datagram_a_line),
        cmocka_unit_test(threads_do_not_mix_their_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
