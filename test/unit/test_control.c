#include "proxy/control.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

/* --- requests */

static enum control_word take(struct control_request *r, const char *line)
{
    return control_request_read(r, (const uint8_t *)line, strlen(line));
}

static void requests_are_three_words(void **state)
{
    (void)state;
    struct control_request r;
    assert_int_equal(take(&r, "status\n"), CONTROL_WHOLE);
    assert_true(r.verb == CONTROL_STATUS && r.name[0] == '\0');
    assert_int_equal(take(&r, "show\n"), CONTROL_WHOLE);
    assert_true(r.verb == CONTROL_SHOW && r.name[0] == '\0');
    assert_int_equal(take(&r, "lift 192.0.2.0/24\n"), CONTROL_WHOLE);
    assert_int_equal(r.verb, CONTROL_LIFT);
    assert_string_equal(r.name, "192.0.2.0/24");
    assert_int_equal(take(&r, "lift  a b \n"), CONTROL_WHOLE);
    assert_string_equal(r.name, " a b ");
}

static void anything_else_is_wrong(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "\n",           "stat\n",       "status \n",      "STATUS\n",        "status\r\n",
        "status\nx",    "status\n\n",   "lift\n",         "lift \n",         "lift a\tb\n",
        "lift a\x7f\n", "lift a\xff\n", "lift a\nstatus", "GET / HTTP/1.1\n"};
    struct control_request r;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        if (take(&r, lines[i]) != CONTROL_WRONG)
            fail_msg("%s", lines[i]);
    assert_int_equal(control_request_read(&r, (const uint8_t *)"lift a\0b\n", 9), CONTROL_WRONG);
}

static void a_line_may_come_in_pieces_and_is_bounded(void **state)
{
    (void)state;
    static const char line[] = "lift alice@example.com\n";
    struct control_request r;
    for (size_t i = 0; i < sizeof line - 2; i++)
        assert_int_equal(control_request_read(&r, (const uint8_t *)line, i), CONTROL_MORE);
    assert_int_equal(control_request_read(&r, (const uint8_t *)line, sizeof line - 1),
                     CONTROL_WHOLE);
    char longest[CONTROL_LINE_MAX + 8];
    memset(longest, 'a', sizeof longest);
    memcpy(longest, "lift ", 5);
    longest[5 + SASL_LOGIN_MAX] = '\n';
    assert_int_equal(control_request_read(&r, (uint8_t *)longest, 5 + SASL_LOGIN_MAX + 1),
                     CONTROL_WHOLE);
    assert_int_equal(strlen(r.name), SASL_LOGIN_MAX);
    longest[5 + SASL_LOGIN_MAX] = 'a';
    longest[6 + SASL_LOGIN_MAX] = '\n';
    assert_int_equal(control_request_read(&r, (uint8_t *)longest, 5 + SASL_LOGIN_MAX + 2),
                     CONTROL_WRONG);
    memset(longest, 'a', sizeof longest);
    assert_int_equal(control_request_read(&r, (uint8_t *)longest, CONTROL_LINE_MAX), CONTROL_MORE);
    assert_int_equal(control_request_read(&r, (uint8_t *)longest, CONTROL_LINE_MAX + 1),
                     CONTROL_WRONG);
}

/* --- the socket */

static char folder[] = "/tmp/test_control.XXXXXX";
static char path[64];
static char error[CONTROL_ERROR_MAX];

static int make_folder(void **state)
{
    (void)state;
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(path, sizeof path, "%s/control", folder);
    signal(SIGPIPE, SIG_IGN); /* as the vault has it */
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(folder);
}

static int bound(void)
{
    int fd;
    error[0] = '\0';
    if (control_bind(&fd, path, NULL, error) != CONTROL_OPENED)
        fail_msg("%s", error);
    return fd;
}

static void it_is_its_owners_alone(void **state)
{
    (void)state;
    struct stat st;
    mode_t before = umask(0);
    int fd = bound();
    assert_int_equal(umask(before), 0); /* and the mask is as it was */
    assert_int_equal(lstat(path, &st), 0);
    assert_true(S_ISSOCK(st.st_mode));
    assert_int_equal(st.st_mode & 07777, 0600);
    close(fd);
    unlink(path);
}

static void one_that_a_crash_left_is_replaced(void **state)
{
    (void)state;
    close(bound());
    assert_int_equal(access(path, F_OK), 0);
    close(bound());
    unlink(path);
}

static void one_that_answers_stays(void **state)
{
    (void)state;
    int fd = bound(), second;
    assert_int_equal(control_bind(&second, path, NULL, error), CONTROL_TAKEN);
    assert_int_equal(second, -1);
    assert_non_null(strstr(error, "another Vestibule"));
    assert_int_equal(access(path, F_OK), 0);
    close(fd);
    unlink(path);
}

static void what_is_no_socket_stays(void **state)
{
    (void)state;
    int fd = open(path, O_CREAT | O_WRONLY, 0600), none;
    close(fd);
    assert_int_equal(control_bind(&none, path, NULL, error), CONTROL_FAILED);
    assert_non_null(strstr(error, "no socket"));
    assert_int_equal(access(path, F_OK), 0);
    unlink(path);
    assert_int_equal(symlink("/nowhere", path), 0);
    assert_int_equal(control_bind(&none, path, NULL, error), CONTROL_FAILED);
    unlink(path);
}

static void a_place_where_it_cannot_be_is_told(void **state)
{
    (void)state;
    char lengthy[256];
    int none;
    memset(lengthy, 'a', sizeof lengthy);
    lengthy[0] = '/';
    lengthy[sizeof lengthy - 1] = '\0';
    assert_int_equal(control_bind(&none, lengthy, NULL, error), CONTROL_FAILED);
    assert_non_null(strstr(error, "107"));
    assert_int_equal(control_bind(&none, "/nowhere/at/all", NULL, error), CONTROL_FAILED);
    assert_non_null(strstr(error, "/nowhere/at/all"));
}

/* --- callers */

static uv_loop_t loop;
static unsigned asked;

static void answer(void *owner, struct buf *out, const struct control_request *request)
{
    assert_ptr_equal(owner, &asked);
    asked++;
    buf_printf(out, "answer %d %s\n", (int)request->verb, request->name);
}

static struct control *serve(void)
{
    uv_loop_init(&loop);
    asked = 0;
    return control_start(&loop, bound(), path, answer, &asked);
}

static void end(struct control *c)
{
    control_close(c);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    assert_int_not_equal(access(path, F_OK), 0);
}

static int call(void)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    memcpy(name.sun_path, path, strlen(path));
    assert_int_equal(connect(fd, (struct sockaddr *)&name, sizeof name), 0);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

static void turn(unsigned times)
{
    for (unsigned i = 0; i < times; i++)
        uv_run(&loop, UV_RUN_NOWAIT);
}

static void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static void expect_answer(int fd, const char *text)
{
    char heard[256] = "";
    turn(10);
    ssize_t n = read(fd, heard, sizeof heard - 1);
    assert_int_equal(n, strlen(text));
    assert_string_equal(heard, text);
    assert_int_equal(read(fd, heard, sizeof heard), 0); /* and that was all */
    close(fd);
}

static void each_caller_gets_one_answer(void **state)
{
    (void)state;
    struct control *c = serve();
    int a = call(), b = call();
    assert_string_equal(control_path(c), path);
    say(a, "lift bob\n");
    say(b, "sta");
    turn(5);
    say(b, "tus\n");
    expect_answer(b, "answer 0 \n");
    expect_answer(a, "answer 2 bob\n");
    a = call();
    say(a, "nonsense\n");
    expect_answer(a, "{\"ok\":false,\"error\":\"unknown request\"}\n");
    assert_int_equal(asked, 2);
    end(c);
}

static void callers_who_leave_harm_nobody(void **state)
{
    (void)state;
    struct control *c = serve();
    for (int i = 0; i < 50; i++) {
        int fd = call();
        if (i % 3 > 0)
            say(fd, i % 3 == 1 ? "sta" : "status\n");
        if (i % 2)
            turn(1);
        close(fd);
        turn(2);
    }
    int fd = call();
    say(fd, "status\n");
    expect_answer(fd, "answer 0 \n");
    end(c);
}

static void there_are_not_more_than_so_many_at_a_time(void **state)
{
    (void)state;
    struct control *c = serve();
    int fd[CONTROL_CLIENTS_MAX], more;
    char octet;
    for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++) {
        fd[i] = call();
        turn(2);
    }
    more = call();
    turn(3);
    assert_int_equal(read(more, &octet, 1), 0);
    close(more);
    for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++) {
        say(fd[i], "show\n");
        expect_answer(fd[i], "answer 1 \n");
    }
    end(c);
}

static void its_end_ends_those_who_still_wait(void **state)
{
    (void)state;
    struct control *c = serve();
    int a = call(), b = call();
    char octet;
    turn(3);
    say(a, "stat");
    turn(1);
    end(c);
    assert_int_equal(read(a, &octet, 1), 0);
    assert_int_equal(read(b, &octet, 1), 0);
    close(a);
    close(b);
    control_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_are_three_words),
        cmocka_unit_test(anything_else_is_wrong),
        cmocka_unit_test(a_line_may_come_in_pieces_and_is_bounded),
        cmocka_unit_test(it_is_its_owners_alone),
        cmocka_unit_test(one_that_a_crash_left_is_replaced),
        cmocka_unit_test(one_that_answers_stays),
        cmocka_unit_test(what_is_no_socket_stays),
        cmocka_unit_test(a_place_where_it_cannot_be_is_told),
        cmocka_unit_test(each_caller_gets_one_answer),
        cmocka_unit_test(callers_who_leave_harm_nobody),
        cmocka_unit_test(there_are_not_more_than_so_many_at_a_time),
        cmocka_unit_test(its_end_ends_those_who_still_wait),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
