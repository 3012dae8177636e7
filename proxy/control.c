#include "proxy/control.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "proxy/log.h"

#define BACKLOG 16

/* One who asks. */
struct caller {
    LIST_ENTRY(caller) others;
    uv_pipe_t pipe;
    uv_timer_t patience;
    unsigned handles; /* open; the last one's callback frees */
    struct control *control;
    uv_write_t write;
    struct buf answer;
    size_t len;
    char line[CONTROL_LINE_MAX + 2]; /* one more than may be, and its end */
};

struct control {
    uv_pipe_t pipe;
    LIST_HEAD(, caller) callers;
    unsigned holds; /* the listening handle, each caller */
    unsigned count;
    control_answer *answer;
    void *owner;
    char path[CONTROL_PATH_MAX + 1];
};

/* --- the socket
 * -----------------------------------------------------------------------------------------------
 */

static bool path_fits(const char *path, char error[CONTROL_ERROR_MAX])
{
    if (strlen(path) <= CONTROL_PATH_MAX)
        return true;
    snprintf(error, CONTROL_ERROR_MAX,
             "the control socket's path %.128s... has more than %d octets; give a shorter one as "
             "[server] control",
             path, CONTROL_PATH_MAX);
    return false;
}

static struct sockaddr_un name_of(const char *path)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    memcpy(name.sun_path, path, strlen(path));
    return name;
}

static bool somebody_answers(const struct sockaddr_un *name)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool answers = fd >= 0 && (connect(fd, (const struct sockaddr *)name, sizeof *name) == 0 ||
                               errno == EAGAIN); /* its backlog is full */
    if (fd >= 0)
        close(fd);
    return answers;
}

/* What stands at the path goes if it is a socket that nobody answers on. */
static enum control_opened make_room(const struct sockaddr_un *name, char error[CONTROL_ERROR_MAX])
{
    struct stat st;
    if (lstat(name->sun_path, &st) != 0)
        return CONTROL_OPENED;
    if (!S_ISSOCK(st.st_mode)) {
        snprintf(error, CONTROL_ERROR_MAX,
                 "%s is there and is no socket; remove it or give another path as [server] control",
                 name->sun_path);
        return CONTROL_FAILED;
    }
    if (somebody_answers(name)) {
        snprintf(error, CONTROL_ERROR_MAX,
                 "another Vestibule answers at the control socket %s; stop it, or give this one "
                 "another path as [server] control",
                 name->sun_path);
        return CONTROL_TAKEN;
    }
    (void)unlink(name->sun_path); /* else bind says why */
    return CONTROL_OPENED;
}

static void give_to(const char *path, const char *user)
{
    const struct passwd *to = user != NULL && geteuid() == 0 ? getpwnam(user) : NULL;
    if (to != NULL && lchown(path, to->pw_uid, to->pw_gid) != 0)
        log_say(LOG_LEVEL_WARNING, "control", "cannot give %s to %s: %s", path, user,
                strerror(errno));
}

static bool bind_privately(int fd, const struct sockaddr_un *name)
{
    mode_t before = umask(0177);
    bool bound = bind(fd, (const struct sockaddr *)name, sizeof *name) == 0;
    int why = errno;
    umask(before);
    errno = why;
    return bound;
}

enum control_opened control_bind(int *fd, const char *path, const char *user,
                                 char error[CONTROL_ERROR_MAX])
{
    *fd = -1;
    if (!path_fits(path, error))
        return CONTROL_FAILED;
    struct sockaddr_un name = name_of(path);
    enum control_opened room = make_room(&name, error);
    if (room != CONTROL_OPENED)
        return room;
    *fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (*fd >= 0 && bind_privately(*fd, &name) && listen(*fd, BACKLOG) == 0) {
        give_to(path, user);
        return CONTROL_OPENED;
    }
    snprintf(
        error, CONTROL_ERROR_MAX,
        "the control socket %s cannot be made: %s; give a path that can be written as [server] "
        "control",
        path, strerror(errno));
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
    return CONTROL_FAILED;
}

/* --- callers
 * --------------------------------------------------------------------------------------------------
 */

static void control_release(struct control *c)
{
    if (--c->holds == 0)
        free(c);
}

static void on_caller_closed(uv_handle_t *handle)
{
    struct caller *who = handle->data;
    if (--who->handles > 0)
        return;
    control_release(who->control);
    buf_clear(&who->answer);
    free(who);
}

static void caller_close(struct caller *who)
{
    if (uv_is_closing((uv_handle_t *)&who->pipe))
        return;
    LIST_REMOVE(who, others);
    who->control->count--;
    uv_close((uv_handle_t *)&who->pipe, on_caller_closed);
    uv_close((uv_handle_t *)&who->patience, on_caller_closed);
}

static void on_patience_over(uv_timer_t *patience)
{
    caller_close(patience->data);
}

static void on_written(uv_write_t *write, int status)
{
    (void)status;
    caller_close(write->data);
}

static void caller_send(struct caller *who)
{
    uv_buf_t out = {.base = (char *)(uintptr_t)buf_data(&who->answer),
                    .len = buf_len(&who->answer)};
    uv_read_stop((uv_stream_t *)&who->pipe);
    who->write.data = who;
    if (uv_write(&who->write, (uv_stream_t *)&who->pipe, &out, 1, on_written) != 0)
        caller_close(who);
}

static void on_room(uv_handle_t *handle, size_t suggested, uv_buf_t *room)
{
    struct caller *who = handle->data;
    (void)suggested;
    *room = (uv_buf_t){.base = who->line + who->len, .len = sizeof who->line - who->len};
}

static void on_octets(uv_stream_t *stream, ssize_t n, const uv_buf_t *room)
{
    struct caller *who = stream->data;
    struct control_request request;
    (void)room;
    if (n < 0) {
        caller_close(who);
        return;
    }
    who->len += (size_t)n;
    switch (control_request_read(&request, (const uint8_t *)who->line, who->len)) {
    case CONTROL_MORE:
        return;
    case CONTROL_WRONG:
        buf_text(&who->answer, "{\"ok\":false,\"error\":\"unknown request\"}\n");
        break;
    case CONTROL_WHOLE:
        who->control->answer(who->control->owner, &who->answer, &request);
        break;
    }
    caller_send(who);
}

static bool welcome(const struct caller *who)
{
    struct ucred peer;
    socklen_t len = sizeof peer;
    uv_os_fd_t fd;
    return uv_fileno((const uv_handle_t *)&who->pipe, &fd) == 0 &&
           getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
           (peer.uid == 0 || peer.uid == geteuid());
}

static void on_caller(uv_stream_t *listening, int status)
{
    struct control *c = listening->data;
    struct caller *who = status == 0 ? calloc(1, sizeof *who) : NULL;
    if (who == NULL)
        return;
    who->control = c;
    buf_init(&who->answer, CONTROL_ANSWER_MAX);
    uv_pipe_init(listening->loop, &who->pipe, 0);
    uv_timer_init(listening->loop, &who->patience);
    who->pipe.data = who->patience.data = who;
    who->handles = 2;
    c->holds++;
    c->count++;
    LIST_INSERT_HEAD(&c->callers, who, others);
    if (uv_accept(listening, (uv_stream_t *)&who->pipe) != 0 || c->count > CONTROL_CLIENTS_MAX ||
        !welcome(who) || uv_read_start((uv_stream_t *)&who->pipe, on_room, on_octets) != 0)
        caller_close(who);
    else
        uv_timer_start(&who->patience, on_patience_over, CONTROL_WAIT_MS, 0);
}

/* --- life
 * ----------------------------------------------------------------------------------------------------
 */

static void on_control_closed(uv_handle_t *handle)
{
    control_release(handle->data);
}

struct control *control_start(uv_loop_t *loop, int fd, const char *path, control_answer *answer,
                              void *owner)
{
    struct control *c = calloc(1, sizeof *c);
    if (c == NULL) {
        close(fd);
        return NULL;
    }
    snprintf(c->path, sizeof c->path, "%s", path);
    c->answer = answer;
    c->owner = owner;
    c->holds = 1;
    LIST_INIT(&c->callers);
    uv_pipe_init(loop, &c->pipe, 0);
    c->pipe.data = c;
    if (uv_pipe_open(&c->pipe, fd) != 0)
        close(fd);
    uv_listen((uv_stream_t *)&c->pipe, BACKLOG, on_caller);
    return c;
}

const char *control_path(const struct control *c)
{
    return c->path;
}

void control_close(struct control *c)
{
    if (c == NULL)
        return;
    (void)unlink(
        c->path); /* where the folder is not ours, the next one finds that nobody answers */
    while (!LIST_EMPTY(&c->callers))
        caller_close(LIST_FIRST(&c->callers));
    uv_close((uv_handle_t *)&c->pipe, on_control_closed);
}
