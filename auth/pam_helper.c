#include "auth/pam_helper.h"

#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "auth/pam_worker.h"

#define RESTART_FIRST_MS 100
#define RESTART_MAX_MS 5000

static bool started_by_the_vault(void)
{
    int type = 0;
    socklen_t len = sizeof type;

    return getsockopt(PAM_HELPER_FD, SOL_SOCKET, SO_TYPE, &type, &len) == 0 &&
           type == SOCK_SEQPACKET;
}

/* The vault alone says when it ends: a ^C at the terminal, or a service manager's signal to all. */
static void ignore_signals(void)
{
    static const int ignored[] = {SIGPIPE, SIGINT, SIGTERM, SIGHUP, SIGQUIT};

    for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++)
        signal(ignored[i], SIG_IGN);
}

static void keep(unsigned capability, bool held)
{
    if (held)
        capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_BOUNDING_SET, capability);
}

/* It stays root in name, because pam_unix checks other users' passwords for root alone. Of root's
 * rights it keeps two: to read what only others may (a file of passwords), and to write to the audit
 * log, as libpam does of each check. Nothing that is executed gets more. */
static bool drop_rights(void)
{
    const bool root = geteuid() == 0;
    bool reads, audits, bounds;

    if (root && setgroups(0, NULL) != 0 && errno != EPERM) /* a container's root may not */
        return false;
    if (capng_get_caps_process() != 0)
        return false;
    reads = root && capng_have_capability(CAPNG_PERMITTED, CAP_DAC_READ_SEARCH);
    audits = root && capng_have_capability(CAPNG_PERMITTED, CAP_AUDIT_WRITE);
    bounds = capng_have_capability(CAPNG_EFFECTIVE, CAP_SETPCAP);
    capng_clear(CAPNG_SELECT_BOTH);
    keep(CAP_DAC_READ_SEARCH, reads);
    keep(CAP_AUDIT_WRITE, audits);
    return capng_apply(bounds ? CAPNG_SELECT_BOTH : CAPNG_SELECT_CAPS) == 0 &&
           prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0;
}

static void protect_memory(void)
{
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
}

static void work(pid_t parent)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_NAME, "vestibule-pam");
    if (getppid() == parent)
        pam_worker_run(PAM_HELPER_FD);
    _exit(0);
}

static void wait_ms(unsigned milliseconds)
{
    const struct timespec t = {.tv_sec = milliseconds / 1000,
                               .tv_nsec = (long)(milliseconds % 1000) * 1000000};

    nanosleep(&t, NULL);
}

/* Until the worker says by an orderly end that the vault is gone. */
static void supervise(void)
{
    unsigned pause = RESTART_FIRST_MS;
    const pid_t self = getpid();

    for (;;) {
        const time_t begun = time(NULL);
        int status = -1;
        const pid_t worker = fork();
        if (worker == 0)
            work(self);
        while (worker > 0 && waitpid(worker, &status, 0) < 0 && errno == EINTR)
            ;
        if (worker > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0)
            return;
        if (time(NULL) - begun > 60)
            pause = RESTART_FIRST_MS;
        wait_ms(pause);
        pause = pause * 2 < RESTART_MAX_MS ? pause * 2 : RESTART_MAX_MS;
    }
}

int pam_helper_run(void)
{
    if (!started_by_the_vault()) {
        fputs("vestibule: the PAM helper is started by vestibule itself, not by hand\n", stderr);
        return 2;
    }
    ignore_signals();
    protect_memory();
    prctl(PR_SET_NAME, "vestibule-pams");
    umask(077);
    fcntl(PAM_HELPER_FD, F_SETFD, FD_CLOEXEC);
    if (!drop_rights()) {
        fprintf(stderr, "vestibule: the PAM helper cannot give up its rights: %s\n",
                strerror(errno));
        return 1;
    }
    supervise();
    return 0;
}
