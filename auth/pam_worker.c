#include "auth/pam_worker.h"

#include <errno.h>
#include <openssl/mem.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "auth/backend.h"
#include "auth/pam_check.h"
#include "auth/pam_helper.h"
#include "auth/pam_wire.h"

#define TREE_DEPTH 8 /* children of children that a module may have started */

/* Not what a library exits with that gives up in the middle. */
enum check_status { CHECK_ACCEPTED = 0x5a, CHECK_REJECTED = 0x66, CHECK_UNAVAILABLE = 0x77 };

struct check {
    pid_t pid; /* 0: free */
    uint32_t id;
    uint64_t deadline;
};

struct worker {
    int vault;
    int ended; /* signalfd: a check ended */
    size_t running;
    struct check check[PAM_HELPER_CHECKS_MAX];
};

static uint64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void say(const struct worker *w, uint32_t id, enum pam_wire_word word)
{
    uint8_t message[PAM_WIRE_MAX];
    size_t len;

    pam_wire_answer(message, &len, &(struct pam_wire_answer){.id = id, .word = word});
    while (send(w->vault, message, len, MSG_NOSIGNAL) < 0 && errno == EINTR)
        ;
}

/* What a module starts stays below it, whoever its parent was, so that it can be killed with it. */
static void check_in_child(const struct worker *w, struct pam_wire_question *q)
{
    static const int statuses[] = {[PAM_WIRE_ACCEPTED] = CHECK_ACCEPTED,
                                   [PAM_WIRE_REJECTED] = CHECK_REJECTED,
                                   [PAM_WIRE_UNAVAILABLE] = CHECK_UNAVAILABLE};
    enum pam_wire_word word;
    sigset_t none;

    setsid();
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    close(w->vault);
    close(w->ended);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    word = pam_check(q);
    OPENSSL_cleanse(q, sizeof *q);
    _exit(statuses[word]);
}

static struct check *free_place(struct worker *w)
{
    for (size_t i = 0; i < PAM_HELPER_CHECKS_MAX; i++)
        if (w->check[i].pid == 0)
            return &w->check[i];
    return NULL;
}

static void begin(struct worker *w, struct pam_wire_question *q)
{
    struct check *c = free_place(w);
    const pid_t pid = c != NULL ? fork() : -1;

    if (pid == 0)
        check_in_child(w, q);
    if (pid < 0) {
        say(w, q->id, PAM_WIRE_UNAVAILABLE);
        return;
    }
    *c = (struct check){.pid = pid, .id = q->id, .deadline = now_ms() + BACKEND_REPLY_MS};
    w->running++;
}

/* False: the vault is gone. */
static bool take_question(struct worker *w)
{
    uint8_t message[PAM_WIRE_MAX];
    struct pam_wire_question q;
    const ssize_t len = recv(w->vault, message, sizeof message, 0);
    const bool good = len > 0 && pam_wire_asked(&q, message, (size_t)len);

    OPENSSL_cleanse(message, sizeof message);
    if (len < 0 && (errno == EINTR || errno == EAGAIN))
        return true;
    if (len <= 0)
        return false;
    if (!good)
        abort();
    begin(w, &q);
    OPENSSL_cleanse(&q, sizeof q);
    return true;
}

static void finish(struct worker *w, struct check *c, int status)
{
    enum pam_wire_word word = PAM_WIRE_UNAVAILABLE;

    kill(-c->pid, SIGKILL);
    if (WIFEXITED(status) && WEXITSTATUS(status) == CHECK_ACCEPTED)
        word = PAM_WIRE_ACCEPTED;
    else if (WIFEXITED(status) && WEXITSTATUS(status) == CHECK_REJECTED)
        word = PAM_WIRE_REJECTED;
    say(w, c->id, word);
    c->pid = 0;
    w->running--;
}

static void reap(struct worker *w)
{
    struct signalfd_siginfo info;
    int status;
    pid_t pid;

    while (read(w->ended, &info, sizeof info) > 0)
        ;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        for (size_t i = 0; i < PAM_HELPER_CHECKS_MAX; i++)
            if (w->check[i].pid == pid)
                finish(w, &w->check[i], status);
}

/* What a module started may have left the check's group (pam_exec sees to that). */
static void kill_tree(pid_t pid, int depth)
{
    char path[64];
    FILE *children;
    int child;

    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)pid, (int)pid);
    children = depth > 0 ? fopen(path, "re") : NULL;
    while (children != NULL && fscanf(children, "%d", &child) == 1)
        kill_tree(child, depth - 1);
    if (children != NULL)
        fclose(children);
    kill(pid, SIGKILL);
}

/* Kills those whose time is over; how long until the next one, -1: none is running. */
static int kill_late(struct worker *w)
{
    const uint64_t now = now_ms();
    uint64_t next = UINT64_MAX;

    for (size_t i = 0; i < PAM_HELPER_CHECKS_MAX; i++) {
        struct check *c = &w->check[i];
        if (c->pid == 0)
            continue;
        if (c->deadline <= now) {
            kill_tree(c->pid, TREE_DEPTH);
            c->deadline = now + 1000;
        }
        if (c->deadline < next)
            next = c->deadline;
    }
    return next == UINT64_MAX ? -1 : (int)(next - now);
}

static int catch_ends(void)
{
    sigset_t child;

    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child, NULL);
    return signalfd(-1, &child, SFD_NONBLOCK | SFD_CLOEXEC);
}

void pam_worker_run(int vault)
{
    struct worker w = {.vault = vault, .ended = catch_ends()};
    bool there = w.ended >= 0;

    if (there)
        say(&w, 0, PAM_WIRE_HELLO);
    while (there) {
        struct pollfd ready[] = {{.fd = w.ended, .events = POLLIN},
                                 {.fd = vault, .events = POLLIN}};
        if (w.running == PAM_HELPER_CHECKS_MAX)
            ready[1].events = 0;
        poll(ready, 2, kill_late(&w));
        if (ready[0].revents != 0)
            reap(&w);
        if (ready[1].revents != 0)
            there = take_question(&w);
    }
    for (size_t i = 0; i < PAM_HELPER_CHECKS_MAX; i++)
        if (w.check[i].pid != 0)
            kill_tree(w.check[i].pid, TREE_DEPTH);
}
