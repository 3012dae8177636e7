#include "proxy/status.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "auth/sasl.h"

static struct status sample;
static char text[1024 * 1024];

static void make_sample(void)
{
    memset(&sample, 0, sizeof sample);
    sample.version = "9.9";
    sample.state = "serving";
    sample.pid = 42;
    sample.now = 1800000000;
    sample.started = sample.now - 2 * 86400 - 3 * 3600;
    sample.in_force = sample.now - 65;
    sample.front_count = 2;
    sample.front[0].pid = 43;
    sample.front[0].state = "serving";
    sample.front[1].pid = 40;
    sample.front[1].state = "draining";
    sample.mechanisms = SASL_PLAIN | SASL_LOGIN;
    sample.logins.accepted = 100;
    sample.logins.cache_hits = 60;
    sample.logins.lockouts[GUARD_ACCOUNT] = 7;
    sample.upstream_count = 1;
    sample.upstream[0].name = "mta";
    sample.upstream[0].max = 15;
    sample.upstream[0].in_use = 3;
    sample.upstream[0].waiting = 1;
}

static void lock(enum guard_what what, const char *name, uint64_t left_ms)
{
    struct guard_lock *l = &sample.lock[sample.locks_listed++];
    sample.lock_count++;
    l->what = what;
    l->left_ms = left_ms;
    l->strikes = 20;
    snprintf(l->name, sizeof l->name, "%s", name);
}

static const char *written(bool (*write)(struct buf *out, const struct status *s))
{
    struct buf out;
    buf_init(&out, sizeof text - 1);
    assert_true(write(&out, &sample));
    memcpy(text, buf_data(&out), buf_len(&out));
    text[buf_len(&out)] = '\0';
    buf_clear(&out);
    return text;
}

static void a_person_reads_who_is_locked_out_and_for_how_long(void **state)
{
    (void)state;
    make_sample();
    assert_non_null(strstr(written(status_text), "locked out now       nobody\n"));
    lock(GUARD_NETWORK, "192.0.2.0/24", 599001);
    lock(GUARD_ACCOUNT, "alice@example.com", 1);
    lock(GUARD_PASSWORD, "", 3600000);
    const char *shown = written(status_text);
    assert_non_null(strstr(shown, "vestibule 9.9, serving, pid 42\n"));
    assert_non_null(strstr(shown, "2027-01-13 05:00:00 UTC (2d 3h)\n"));
    assert_non_null(strstr(shown, "(1m 5s)\n"));
    assert_non_null(strstr(shown, "PLAIN LOGIN\n"));
    assert_non_null(strstr(shown, "pid 40, draining\n"));
    assert_non_null(strstr(shown, "mta: 3 of 15 connections in use, 1 waiting\n"));
    assert_non_null(strstr(shown, "100 accepted (60 from the cache)"));
    assert_non_null(strstr(shown, "0 of networks, 7 of accounts"));
    assert_non_null(strstr(shown, "locked out now       3\n"));
    assert_non_null(strstr(shown, "  network  192.0.2.0/24: 20 strikes, 10m 0s left\n"));
    assert_non_null(strstr(shown, "  account  alice@example.com: 20 strikes, 1s left\n"));
    assert_non_null(strstr(shown, "tried on many accounts: 20 strikes, 1h 0m left\n"));
}

static void a_program_reads_the_same(void **state)
{
    (void)state;
    make_sample();
    lock(GUARD_ACCOUNT, "al\"ice", 1500);
    assert_string_equal(
        written(status_json),
        "{\"ok\":true,\"version\":\"9.9\",\"state\":\"serving\",\"pid\":42,"
        "\"uptime_seconds\":183600,\"configuration_seconds\":65,"
        "\"fronts\":[{\"pid\":43,\"state\":\"serving\"},{\"pid\":40,\"state\":\"draining\"}],"
        "\"mechanisms\":[\"PLAIN\",\"LOGIN\"],"
        "\"logins\":{\"accepted\":100,\"rejected\":0,\"unavailable\":0,\"limited\":0,"
        "\"turned_away\":0,\"cache_hits\":60,\"open\":0,\"waiting\":0,\"running\":0,"
        "\"lockouts\":{\"network\":0,\"account\":7,\"password\":0}},"
        "\"upstreams\":[{\"name\":\"mta\",\"in_use\":3,\"waiting\":1,\"max\":15}],"
        "\"lockout_count\":1,\"lockouts\":[{\"what\":\"account\",\"name\":\"al\\u0022ice\","
        "\"strikes\":20,\"seconds_left\":2}]}\n");
}

static void a_name_cannot_draw_on_the_terminal(void **state)
{
    (void)state;
    make_sample();
    lock(GUARD_ACCOUNT, "a\x1b[31m\nb\x7f\xc2\x9b\xffz\xc3\xa9", 1000);
    assert_non_null(strstr(written(status_text), "  account  a?[31m?b???z\xc3\xa9: 20 strikes"));
}

static void thousands_of_lock_outs_fit_and_more_are_counted(void **state)
{
    (void)state;
    char longest[SASL_LOGIN_MAX + 1];
    make_sample();
    memset(longest, '"', sizeof longest);
    longest[SASL_LOGIN_MAX] = '\0';
    for (size_t i = 0; i < 500; i++)
        lock(GUARD_ACCOUNT, longest, 1000);
    sample.lock_count = 12345;
    assert_non_null(strstr(written(status_text), "  and 11845 more\n"));
    assert_non_null(strstr(written(status_json), "\"lockout_count\":12345,"));
}

static void want_of_room_is_told(void **state)
{
    (void)state;
    make_sample();
    lock(GUARD_ACCOUNT, "alice", 1000);
    size_t whole = strlen(written(status_text)), json = strlen(written(status_json));
    for (size_t room = 0; room < json + 10; room += 7) {
        struct buf out;
        buf_init(&out, room);
        assert_int_equal(status_json(&out, &sample), room >= json);
        buf_clear(&out);
        assert_int_equal(status_text(&out, &sample), room >= whole);
        buf_clear(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_person_reads_who_is_locked_out_and_for_how_long),
        cmocka_unit_test(a_program_reads_the_same),
        cmocka_unit_test(a_name_cannot_draw_on_the_terminal),
        cmocka_unit_test(thousands_of_lock_outs_fit_and_more_are_counted),
        cmocka_unit_test(want_of_room_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
