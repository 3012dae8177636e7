#include "auth/pam_client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/mem.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "auth/pam_helper.h"
#include "auth/pam_wire.h"
#include "auth/trouble.h"
#include "auth/waiting.h"

#define RESTART_FIRST_MS 100
#define RESTART_MAX_MS 5000

/* A connection to one helper: its descriptor outlives the handle on it by a loop's turn. */
struct pam_line {
    uv_poll_t poll;
    struct pam_client *client;
    int fd;
};

struct pam_call {
    struct waiter waiter;
    TAILQ_ENTRY(pam_call) entry;
    struct pam_client *client;
    struct backend_question *q;
    const char *service;
    uint32_t id; /* 0: in line */
};

struct pam_client {
    unsigned holds;
    uv_loop_t *loop; /* NULL: not started */
    int fd;          /* -1: no helper */
    struct pam_line *line;
    bool greeted; /* the helper said its first word */
    bool root;    /* the first one had root's rights */
    size_t asked; /* questions that the helper has, those of callers who left included */
    uint32_t next_id;
    uint64_t backoff;
    uv_timer_t restart;
    struct trouble trouble;
    struct waiting waiting;
    int handles;
    TAILQ_HEAD(, pam_call) calls; /* oldest first */
};

static struct pam_client *the_client;

static void client_restart(uv_timer_t *restart);

/* --- the helper's process
 * ----------------------------------------------------------------------------------------- */

static void *await_end(void *pid)
{
    while (waitpid((pid_t)(intptr_t)pid, NULL, 0) < 0 && errno == EINTR)
        ;
    return NULL;
}

/* It ends when its socket does, whenever that is: somebody has to be there then. */
static void reap_later(pid_t pid)
{
    pthread_attr_t detached;
    pthread_t thread;

    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    pthread_create(&thread, &detached, await_end, (void *)(intptr_t)pid);
    pthread_attr_destroy(&detached);
}

/* With nothing of ours: no descriptor but its end of the socketpair and where errors are shown, no
 * environment, no terminal. */
static int run_helper(int theirs)
{
    static char *const arguments[] = {"vestibule", PAM_HELPER_ARGUMENT, NULL};
    static char *const nothing[] = {NULL};
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    sigset_t signals;
    pid_t pid;
    int status;

    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_adddup2(&files, theirs, PAM_HELPER_FD);
    posix_spawn_file_actions_addclosefrom_np(&files, PAM_HELPER_FD + 1);
    posix_spawnattr_init(&attributes);
    sigemptyset(&signals);
    posix_spawnattr_setsigmask(&attributes, &signals);
    sigfillset(&signals);
    posix_spawnattr_setsigdefault(&attributes, &signals);
    posix_spawnattr_setflags(&attributes,
                             POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID);
    status = posix_spawn(&pid, "/proc/self/exe", &files, &attributes, arguments, nothing);
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attributes);
    if (status == 0)
        reap_later(pid);
    return status;
}

static bool start_helper(struct pam_client *c)
{
    int pair[2];
    int status;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0)
        return false;
    status = run_helper(pair[1]);
    close(pair[1]);
    if (status != 0) {
        close(pair[0]);
        errno = status;
        return false;
    }
    c->fd = pair[0];
    c->greeted = false;
    c->asked = 0;
    return true;
}

/* --- calls
 * --------------------------------------------------------------------------------------------------------
 */

static struct backend_question *forget(struct pam_call *call)
{
    struct backend_question *q = call->q;

    waiting_remove(&call->client->waiting, &call->waiter);
    TAILQ_REMOVE(&call->client->calls, call, entry);
    free(call);
    q->state = NULL;
    return q;
}

static void finish(struct pam_call *call, enum backend_verdict verdict)
{
    struct backend_question *q = forget(call);

    q->answered(q, verdict, NULL, NULL, 0);
}

static void call_expired(struct waiter *w)
{
    finish((struct pam_call *)((char *)w - offsetof(struct pam_call, waiter)), BACKEND_UNAVAILABLE);
}

static void write_host(char out[PAM_WIRE_HOST_MAX + 1], const uint8_t address[16])
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

    if (memcmp(address, mapped, sizeof mapped) == 0)
        inet_ntop(AF_INET, address + sizeof mapped, out, PAM_WIRE_HOST_MAX + 1);
    else
        inet_ntop(AF_INET6, address, out, PAM_WIRE_HOST_MAX + 1);
}

static bool send_call(struct pam_client *c, struct pam_call *call)
{
    const struct sasl_credential *credential = call->q->credential;
    struct pam_wire_question question = {.id = c->next_id};
    uint8_t message[PAM_WIRE_MAX];
    size_t len;
    bool sent;

    snprintf(question.service, sizeof question.service, "%s", call->service);
    write_host(question.host, call->q->client->address);
    memcpy(question.login, credential->login, credential->login_len);
    memcpy(question.password, credential->secret, credential->secret_len);
    pam_wire_ask(message, &len, &question);
    OPENSSL_cleanse(&question, sizeof question);
    sent = send(c->fd, message, len, MSG_NOSIGNAL) == (ssize_t)len;
    OPENSSL_cleanse(message, sizeof message);
    if (sent) {
        call->id = c->next_id++;
        c->next_id += c->next_id == 0;
        c->asked++;
    }
    return sent;
}

/* As many as it takes; what the socket does not take now waits for the next answer. */
static void send_calls(struct pam_client *c)
{
    struct pam_call *call;

    TAILQ_FOREACH(call, &c->calls, entry)
    {
        if (c->fd < 0 || c->asked >= PAM_HELPER_CHECKS_MAX)
            break;
        if (call->id == 0 && !send_call(c, call))
            break;
    }
}

/* Those that the helper has and will not answer; or all. */
static void fail_calls(struct pam_client *c, bool all)
{
    struct pam_call *call;
    const uint32_t end = c->next_id;

    for (;;) {
        TAILQ_FOREACH(call, &c->calls, entry)
        {
            if (all || (call->id != 0 && call->id < end))
                break;
        }
        if (call == NULL)
            return;
        finish(call, BACKEND_UNAVAILABLE);
    }
}

/* --- what the helper says
 * -------------------------------------------------------------------------------------------- */

static void line_closed(uv_handle_t *handle)
{
    struct pam_line *line = handle->data;

    close(line->fd);
    free(line);
}

static void drop_line(struct pam_client *c)
{
    if (c->line != NULL)
        uv_close((uv_handle_t *)&c->line->poll, line_closed);
    else if (c->fd >= 0)
        close(c->fd);
    c->line = NULL;
    c->fd = -1;
}

static void helper_lost(struct pam_client *c)
{
    drop_line(c);
    uv_timer_start(&c->restart, client_restart, c->backoff, 0);
    c->backoff = c->backoff * 2 < RESTART_MAX_MS ? c->backoff * 2 : RESTART_MAX_MS;
    fail_calls(c, true);
}

static struct pam_call *by_id(struct pam_client *c, uint32_t id)
{
    struct pam_call *call;

    TAILQ_FOREACH(call, &c->calls, entry)
    {
        if (call->id == id)
            break;
    }
    return call;
}

static void note_word(struct pam_client *c, const char *service, enum pam_wire_word word)
{
    if (word == PAM_WIRE_UNAVAILABLE)
        trouble_tell(&c->trouble,
                     "pam:%s: a module is missing, cannot answer, or took too long; the system's "
                     "auth log says which",
                     service);
    else
        trouble_over(&c->trouble);
}

static void take_hello(struct pam_client *c)
{
    const bool again = c->greeted;

    c->greeted = true;
    c->backoff = RESTART_FIRST_MS;
    if (!again)
        return;
    c->asked = 0;
    fail_calls(c, false);
}

static void take_answer(struct pam_client *c, const struct pam_wire_answer *a)
{
    static const enum backend_verdict verdicts[] = {
        [PAM_WIRE_ACCEPTED] = BACKEND_ACCEPTED,
        [PAM_WIRE_REJECTED] = BACKEND_REJECTED,
        [PAM_WIRE_UNAVAILABLE] = BACKEND_UNAVAILABLE,
    };
    struct pam_call *call;

    if (a->word == PAM_WIRE_HELLO) {
        take_hello(c);
        return;
    }
    c->asked -= c->asked > 0;
    call = by_id(c, a->id);
    if (call != NULL)
        note_word(c, call->service, a->word);
    if (call != NULL)
        finish(call, verdicts[a->word]);
}

/* One message a call: any answer may be the last one's, and release us. */
static void line_ready(uv_poll_t *poll, int status, int events)
{
    struct pam_line *line = poll->data;
    struct pam_client *c = line->client;
    struct pam_wire_answer answer;
    uint8_t message[PAM_WIRE_MAX];
    const ssize_t len = recv(line->fd, message, sizeof message, 0);

    (void)status, (void)events;
    if (len < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (len > 0 && pam_wire_answered(&answer, message, (size_t)len))
        take_answer(c, &answer);
    else
        helper_lost(c);
    if (c->holds > 0)
        send_calls(c);
}

static bool open_line(struct pam_client *c)
{
    struct pam_line *line = calloc(1, sizeof *line);

    if (line == NULL || uv_poll_init(c->loop, &line->poll, c->fd) != 0) {
        free(line);
        return false;
    }
    line->fd = c->fd;
    line->client = c;
    line->poll.data = line;
    c->line = line;
    return uv_poll_start(&line->poll, UV_READABLE, line_ready) == 0;
}

/* Without those rights pam_unix would call right passwords wrong: better none than such a one. */
static bool beyond_reach(struct pam_client *c)
{
    if (c->fd >= 0 || !c->root || geteuid() == 0)
        return false;
    trouble_tell(&c->trouble,
                 "the PAM helper was killed, and only root can start one like it: restart "
                 "Vestibule");
    return true;
}

static void client_restart(uv_timer_t *restart)
{
    struct pam_client *c = restart->data;

    if (beyond_reach(c))
        return;
    if ((c->fd < 0 && !start_helper(c)) || !open_line(c))
        helper_lost(c);
    else
        send_calls(c);
}

/* --- the backends' side
 * ---------------------------------------------------------------------------------------------- */

struct pam_client *pam_client_hold(void (*say)(const char *event, const char *sentence),
                                   char error[BACKEND_ERROR_MAX])
{
    struct pam_client *c = the_client;

    if (c == NULL) {
        c = calloc(1, sizeof *c);
        if (c == NULL || !start_helper(c)) {
            free(c);
            snprintf(error, BACKEND_ERROR_MAX, "the PAM helper cannot be started: %s",
                     strerror(errno));
            return NULL;
        }
        c->root = geteuid() == 0;
        c->trouble.say = say;
        c->next_id = 1;
        c->backoff = RESTART_FIRST_MS;
        TAILQ_INIT(&c->calls);
        the_client = c;
    }
    c->holds++;
    return c;
}

static void client_handle_closed(uv_handle_t *handle)
{
    struct pam_client *c = handle->data;

    if (--c->handles == 0)
        free(c);
}

void pam_client_release(struct pam_client *c)
{
    if (--c->holds > 0)
        return;
    the_client = NULL;
    drop_line(c);
    if (c->loop == NULL) {
        free(c);
        return;
    }
    uv_close((uv_handle_t *)&c->restart, client_handle_closed);
    waiting_stop(&c->waiting, client_handle_closed);
}

void pam_client_start(struct pam_client *c, uv_loop_t *loop)
{
    if (c->loop != NULL)
        return;
    c->loop = loop;
    uv_timer_init(loop, &c->restart);
    c->restart.data = c;
    waiting_start(&c->waiting, loop, call_expired);
    c->waiting.timer.data = c;
    c->handles = 2;
    client_restart(&c->restart);
}

void pam_client_ask(struct pam_client *c, const char *service, struct backend_question *q)
{
    struct pam_call *call = c->fd >= 0 ? calloc(1, sizeof *call) : NULL;

    if (call == NULL) {
        waiting_answer(&c->waiting, q, BACKEND_UNAVAILABLE);
        return;
    }
    call->client = c;
    call->q = q;
    call->service = service;
    q->state = call;
    TAILQ_INSERT_TAIL(&c->calls, call, entry);
    waiting_add(&c->waiting, &call->waiter);
    send_calls(c);
}

void pam_client_leave(struct pam_client *c, struct backend_question *q)
{
    if (!waiting_forget(&c->waiting, q) && q->state != NULL)
        forget(q->state);
}
