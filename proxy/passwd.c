#include "proxy/passwd.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "auth/users.h"

enum { PASSWD_FAILED = 1, PASSWD_USAGE = 2 };

/* One more than fits, so that a password that is too long is seen to be. */
struct passwd_line {
    size_t len;
    char text[USERS_PASSWORD_MAX + 3];
};

enum passwd_status { PASSWD_OK, PASSWD_END, PASSWD_NUL, PASSWD_INTERRUPTED, PASSWD_UNREADABLE };

static const int passwd_signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP};

enum { PASSWD_SIGNALS = sizeof passwd_signals / sizeof passwd_signals[0] };

static volatile sig_atomic_t passwd_caught;

static void on_signal(int number)
{
    passwd_caught = number;
}

/* Without stdio, which would keep a copy. */
static enum passwd_status passwd_read_line(struct passwd_line *line)
{
    char c;

    line->len = 0;
    for (;;) {
        const ssize_t n = read(STDIN_FILENO, &c, 1);
        if (n < 0 && errno == EINTR && passwd_caught == 0)
            continue;
        if (n < 0)
            return errno == EINTR ? PASSWD_INTERRUPTED : PASSWD_UNREADABLE;
        if (n == 0 && line->len == 0)
            return PASSWD_END;
        if (n == 0 || c == '\n')
            break;
        if (c == '\0')
            return PASSWD_NUL;
        if (line->len < sizeof line->text - 1)
            line->text[line->len++] = c;
    }
    if (line->len > 0 && line->text[line->len - 1] == '\r')
        line->len--;
    line->text[line->len] = '\0';
    return PASSWD_OK;
}

static enum passwd_status passwd_prompt(struct passwd_line *line, const char *prompt,
                                        const char *login)
{
    enum passwd_status status;

    fprintf(stderr, "%s%s: ", prompt, login);
    status = passwd_read_line(line);
    fputc('\n', stderr);
    return status;
}

static void passwd_catch(struct sigaction old[PASSWD_SIGNALS])
{
    /* no SA_RESTART: read must come back */
    struct sigaction catch = {.sa_handler = on_signal};

    sigemptyset(&catch.sa_mask);
    passwd_caught = 0;
    for (size_t i = 0; i < PASSWD_SIGNALS; i++)
        sigaction(passwd_signals[i], &catch, &old[i]);
}

static void passwd_uncatch(const struct sigaction old[PASSWD_SIGNALS])
{
    for (size_t i = 0; i < PASSWD_SIGNALS; i++)
        sigaction(passwd_signals[i], &old[i], NULL);
}

static enum passwd_status passwd_ask_twice(struct passwd_line *first, struct passwd_line *second,
                                           const char *login)
{
    struct sigaction old[PASSWD_SIGNALS];
    struct termios shown;
    struct termios hidden;
    enum passwd_status status;

    passwd_catch(old);
    tcgetattr(STDIN_FILENO, &shown);
    hidden = shown;
    hidden.c_lflag &= ~(tcflag_t)ECHO;
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &hidden);
    status = passwd_prompt(first, "New password for ", login);
    if (status == PASSWD_OK)
        status = passwd_prompt(second, "Once more, for ", login);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &shown);
    passwd_uncatch(old);
    return status;
}

static const char *passwd_problem(enum passwd_status status)
{
    switch (status) {
    case PASSWD_END:
        return "no password was given; nothing was changed";
    case PASSWD_NUL:
        return "the password holds a NUL; nothing was changed";
    case PASSWD_INTERRUPTED:
        return "interrupted; nothing was changed";
    case PASSWD_UNREADABLE:
        return "standard input cannot be read; nothing was changed";
    case PASSWD_OK:
        break;
    }
    return NULL;
}

static int passwd_complain(const char *sentence)
{
    fprintf(stderr, "vestibule: %s\n", sentence);
    return PASSWD_FAILED;
}

static int passwd_get(struct passwd_line *password, const char *login)
{
    struct passwd_line again = {.len = 0};
    enum passwd_status status;
    const char *problem;
    bool same = true;

    if (isatty(STDIN_FILENO)) {
        status = passwd_ask_twice(password, &again, login);
        same = status != PASSWD_OK || strcmp(password->text, again.text) == 0;
        explicit_bzero(&again, sizeof again);
    } else {
        status = passwd_read_line(password);
    }
    /* what was typed so far is wiped before a signal may end the process */
    if (status == PASSWD_INTERRUPTED) {
        explicit_bzero(password, sizeof *password);
        raise(passwd_caught);
    }
    problem = passwd_problem(status);
    if (problem != NULL)
        return passwd_complain(problem);
    if (!same)
        return passwd_complain("the two passwords differ; nothing was changed");
    problem = users_password_fault(password->text);
    if (problem != NULL) {
        fprintf(stderr, "vestibule: %s; choose another one\n", problem);
        return PASSWD_FAILED;
    }
    return 0;
}

int passwd_run(const char *users_path, const char *login)
{
    struct passwd_line password = {.len = 0};
    char error[USERS_ERROR_MAX];
    const char *fault = users_login_fault(login);
    bool added = false;
    int rc;

    if (fault != NULL) {
        fprintf(stderr, "vestibule: %s; choose another one\n", fault);
        return PASSWD_USAGE;
    }
    rc = passwd_get(&password, login);
    if (rc == 0 && !users_set_password(users_path, login, password.text, &added, error))
        rc = passwd_complain(error);
    explicit_bzero(&password, sizeof password);
    if (rc == 0 && added)
        printf("added %s\n", login);
    else if (rc == 0)
        printf("changed %s's password\n", login);
    return rc;
}
