#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <crypt.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "auth/users.h"
#include "proxy/passwd.h"

static char folder[] = "/tmp/test_passwd.XXXXXX";
static char path[64];

static int make_folder(void **state)
{
    (void)state;
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(path, sizeof path, "%s/users", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(folder);
}

static int forget_users(void **state)
{
    (void)state;
    unlink(path);
    return 0;
}

static bool fits(const char *login, const char *password)
{
    char error[USERS_ERROR_MAX];
    struct users *u = users_load(path, error);
    if (u == NULL)
        return false;
    const char *hash = users_hash(u, login);
    struct crypt_data *data = calloc(1, sizeof *data);
    bool ok = hash != NULL && strcmp(crypt_r(password, hash, data), hash) == 0;
    free(data);
    users_release(u);
    return ok;
}

static char said[4096];

/* A child with `input` on standard input, what it says in `said`; its wait status. */
static int run_piped(const char *login, const char *input, size_t len)
{
    int in[2], out[2], status;
    size_t got = 0;
    assert_int_equal(pipe(in), 0);
    assert_int_equal(pipe(out), 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(in[0], 0), dup2(out[1], 1), dup2(out[1], 2);
        close(in[1]), close(out[0]);
        int rc = passwd_run(path, login);
        fflush(stdout);
        _exit(rc);
    }
    close(in[0]), close(out[1]);
    assert_int_equal(write(in[1], input, len), len);
    close(in[1]);
    for (ssize_t n; (n = read(out[0], said + got, sizeof said - 1 - got)) > 0;)
        got += (size_t)n;
    said[got] = '\0';
    close(out[0]);
    waitpid(pid, &status, 0);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

#define RUN(login, literal) run_piped((login), (literal), sizeof(literal) - 1)

static void one_line_of_standard_input_is_the_password(void **state)
{
    (void)state;
    assert_int_equal(RUN("alice", "secret\nignored\n"), 0);
    assert_string_equal(said, "added alice\n");
    assert_true(fits("alice", "secret"));
    assert_int_equal(RUN("alice", "changed"), 0); /* without a newline */
    assert_string_equal(said, "changed alice's password\n");
    assert_true(fits("alice", "changed"));
    assert_false(fits("alice", "secret"));
    assert_int_equal(RUN("alice", "windows\r\n"), 0);
    assert_true(fits("alice", "windows"));
    assert_int_equal(RUN("alice", " with blanks \n"), 0);
    assert_true(fits("alice", " with blanks "));
}

static void bad_passwords_change_nothing(void **state)
{
    (void)state;
    char longer[2048];
    assert_int_equal(RUN("alice", ""), 1);
    assert_non_null(strstr(said, "no password was given"));
    assert_int_equal(RUN("alice", "\n"), 1);
    assert_non_null(strstr(said, "empty"));
    assert_int_equal(RUN("alice", "a\tb\n"), 1);
    assert_non_null(strstr(said, "control"));
    assert_int_equal(RUN("alice", "a\0b\n"), 1);
    assert_non_null(strstr(said, "NUL"));
    assert_int_equal(RUN("alice", "\xff\n"), 1);
    assert_non_null(strstr(said, "UTF-8"));
    memset(longer, 'x', sizeof longer);
    assert_int_equal(run_piped("alice", longer, 512), 1);
    assert_non_null(strstr(said, "longer than 511"));
    assert_int_equal(run_piped("alice", longer, sizeof longer), 1);
    assert_int_not_equal(access(path, F_OK), 0);
    assert_int_equal(run_piped("alice", longer, 511), 0);
}

static void a_bad_login_is_wrong_usage(void **state)
{
    (void)state;
    assert_int_equal(RUN("", "secret\n"), 2);
    assert_int_equal(RUN("a:b", "secret\n"), 2);
    assert_non_null(strstr(said, "colon"));
    assert_int_equal(RUN("a\nb", "secret\n"), 2);
    assert_int_equal(RUN("\xff", "secret\n"), 2);
    assert_int_not_equal(access(path, F_OK), 0);
}

static void a_file_that_cannot_be_written_is_a_failure(void **state)
{
    (void)state;
    char kept[64];
    strcpy(kept, path);
    strcpy(path, "/nonexistent/users");
    assert_int_equal(RUN("alice", "secret\n"), 1);
    strcpy(path, kept);
    assert_non_null(strstr(said, "/nonexistent/users"));
}

/* A terminal with a child on it, like a person's. */
struct terminal {
    int fd;
    pid_t child;
    int keeper; /* our own hold on the other end, to look at its settings */
    size_t len;
};

static struct terminal open_terminal(const char *login)
{
    struct terminal t = {.fd = posix_openpt(O_RDWR | O_NOCTTY)};
    assert_true(t.fd >= 0 && grantpt(t.fd) == 0 && unlockpt(t.fd) == 0);
    const char *name = ptsname(t.fd);
    t.keeper = open(name, O_RDWR | O_NOCTTY);
    said[0] = '\0';
    t.child = fork();
    if (t.child == 0) {
        setsid();
        int fd = open(name, O_RDWR);
        ioctl(fd, TIOCSCTTY, 0);
        dup2(fd, 0), dup2(fd, 1), dup2(fd, 2);
        close(t.fd);
        int rc = passwd_run(path, login);
        fflush(stdout);
        _exit(rc);
    }
    return t;
}

/* Until it has said so, at most ten seconds. */
static void expect(struct terminal *t, const char *text)
{
    struct pollfd p = {.fd = t->fd, .events = POLLIN};
    while (strstr(said, text) == NULL) {
        if (poll(&p, 1, 10000) <= 0)
            fail_msg("no \"%s\" in: %s", text, said);
        ssize_t n = read(t->fd, said + t->len, sizeof said - 1 - t->len);
        if (n <= 0)
            fail_msg("no \"%s\" in: %s", text, said);
        t->len += (size_t)n;
        said[t->len] = '\0';
    }
}

static bool echoes(const struct terminal *t)
{
    struct termios settings;
    assert_int_equal(tcgetattr(t->keeper, &settings), 0);
    return settings.c_lflag & ECHO;
}

static void type(const struct terminal *t, const char *text)
{
    assert_int_equal(write(t->fd, text, strlen(text)), strlen(text));
}

static int close_terminal(struct terminal *t)
{
    int status;
    waitpid(t->child, &status, 0);
    assert_true(echoes(t));
    close(t->keeper);
    close(t->fd);
    return status;
}

static void a_terminal_is_asked_twice_without_echo(void **state)
{
    (void)state;
    struct terminal t = open_terminal("alice");
    expect(&t, "New password for alice: ");
    assert_false(echoes(&t));
    type(&t, "secret\n");
    expect(&t, "Once more, for alice: ");
    type(&t, "secret\n");
    expect(&t, "added alice");
    assert_null(strstr(said, "secret"));
    int status = close_terminal(&t);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_true(fits("alice", "secret"));
}

static void two_different_passwords_change_nothing(void **state)
{
    (void)state;
    struct terminal t = open_terminal("alice");
    expect(&t, "New password for alice: ");
    type(&t, "secret\n");
    expect(&t, "Once more, for alice: ");
    type(&t, "Secret\n");
    expect(&t, "the two passwords differ");
    int status = close_terminal(&t);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
    assert_int_not_equal(access(path, F_OK), 0);
}

static void an_interrupt_ends_it_and_leaves_the_terminal_as_it_was(void **state)
{
    (void)state;
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
    for (size_t i = 0; i < 4; i++) {
        struct terminal t = open_terminal("alice");
        expect(&t, "New password for alice: ");
        type(&t, "sec");
        struct timespec moment = {.tv_nsec = 50000000};
        nanosleep(&moment, NULL); /* it waits in read by then */
        kill(t.child, signals[i]);
        int status = close_terminal(&t);
        assert_true(WIFSIGNALED(status));
        assert_int_equal(WTERMSIG(status), signals[i]);
        assert_int_not_equal(access(path, F_OK), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(one_line_of_standard_input_is_the_password, forget_users),
        cmocka_unit_test_teardown(bad_passwords_change_nothing, forget_users),
        cmocka_unit_test_teardown(a_bad_login_is_wrong_usage, forget_users),
        cmocka_unit_test_teardown(a_file_that_cannot_be_written_is_a_failure, forget_users),
        cmocka_unit_test_teardown(a_terminal_is_asked_twice_without_echo, forget_users),
        cmocka_unit_test_teardown(two_different_passwords_change_nothing, forget_users),
        cmocka_unit_test_teardown(an_interrupt_ends_it_and_leaves_the_terminal_as_it_was,
                                  forget_users),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
