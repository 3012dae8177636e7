#include "proxy/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/front.h"
#include "proxy/log.h"

struct spawn {
    uv_process_t process;
    struct edition *edition;
    const struct spawn_events *events;
    void *owner;
    unsigned ready;
    bool draining;
    unsigned workers;
    struct link *link[]; /* NULL: closed */
};

static void close_links(struct spawn *s)
{
    for (unsigned i = 0; i < s->workers; i++) {
        if (s->link[i] != NULL) {
            s->events->link_gone(s->owner, s->link[i]);
            link_close(s->link[i]);
        }
        s->link[i] = NULL;
    }
}

static void spawn_free(struct spawn *s)
{
    edition_release(s->edition);
    free(s);
}

static void on_process_closed(uv_handle_t *handle)
{
    spawn_free(handle->data);
}

static void on_gone(uv_process_t *process, int64_t status, int signal)
{
    struct spawn *s = process->data;
    close_links(s);
    s->events->gone(s->owner, s, status, signal);
    uv_close((uv_handle_t *)process, on_process_closed);
}

static void on_frame(void *owner, struct link *l, const struct channel_frame *frame)
{
    struct spawn *s = owner;
    if (frame->type != CHANNEL_READY)
        s->events->question(s->owner, s, l, frame);
    else if (++s->ready == s->workers)
        s->events->ready(s->owner, s);
}

/* A worker that drained closes its end. One that should serve and does not, or that spoke nonsense,
 * cannot be trusted: its whole process ends, and the vault starts another. */
static void on_link_closed(void *owner, struct link *l)
{
    struct spawn *s = owner;
    for (unsigned i = 0; i < s->workers; i++)
        if (s->link[i] == l)
            s->link[i] = NULL;
    s->events->link_gone(s->owner, l);
    link_close(l);
    if (!s->draining)
        spawn_kill(s);
}

/* --- what the child is given
 * ----------------------------------------------------------------------------------- */

struct parcel {
    int bundle;
    unsigned workers;
    int ours[64];
    int theirs[64];
};

static void close_all(int *fds, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (fds[i] >= 0)
            close(fds[i]);
}

static bool make_channels(struct parcel *p)
{
    for (unsigned i = 0; i < p->workers; i++) {
        int pair[2];
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
            return false;
        p->ours[i] = pair[0];
        p->theirs[i] = pair[1];
    }
    return true;
}

/* Descriptors in the child: 0 to 2, the bundle, the channels, the listening sockets, the log. */
static void fill_bundle(struct bundle *b, const struct edition *e, const struct listen_set *sockets,
                        const struct ticket_keys *tickets)
{
    b->conf = e->conf;
    b->certificate_count = e->certificate_count;
    memcpy(b->certificate, e->certificate, sizeof b->certificate);
    for (size_t i = 0; i < e->conf->upstream_count; i++) {
        b->upstream[i].count = e->upstream[i].count;
        memcpy(b->upstream[i].at, e->upstream[i].at, sizeof b->upstream[i].at);
    }
    memcpy(b->learnt, e->learnt, sizeof b->learnt);
    b->first_channel = FRONT_BUNDLE_FD + 1;
    int next = b->first_channel + (int)e->conf->workers;
    for (b->socket_count = 0; b->socket_count < sockets->count; b->socket_count++)
        b->socket[b->socket_count] =
            (struct bundle_socket){.listener = sockets->at[b->socket_count].listener, .fd = next++};
    b->log = next;
    b->tickets = *tickets;
    b->client_ca = e->client_ca;
}

static int write_memory_file(const struct buf *bytes)
{
    int fd = memfd_create("vestibule-bundle", MFD_CLOEXEC);
    size_t done = 0;
    while (fd >= 0 && done < buf_len(bytes)) {
        ssize_t n = write(fd, buf_data(bytes) + done, buf_len(bytes) - done);
        if (n <= 0) {
            close(fd);
            return -1;
        }
        done += (size_t)n;
    }
    return fd;
}

static int make_bundle(const struct edition *e, const struct listen_set *sockets,
                       const struct ticket_keys *tickets)
{
    struct bundle *b = calloc(1, sizeof *b);
    if (b == NULL)
        return -1;
    fill_bundle(b, e, sockets, tickets);
    struct buf bytes;
    buf_init(&bytes, BUNDLE_MAX);
    int fd = bundle_encode(&bytes, b) ? write_memory_file(&bytes) : -1;
    buf_clear(&bytes);
    explicit_bzero(b, sizeof *b);
    free(b);
    return fd;
}

static uv_stdio_container_t inherit(int fd)
{
    return (uv_stdio_container_t){.flags = UV_INHERIT_FD, .data.fd = fd};
}

static int run_child(uv_loop_t *loop, struct spawn *s, const struct parcel *p,
                     const struct listen_set *sockets, int log)
{
    uv_stdio_container_t fds[FRONT_BUNDLE_FD + 2 + 64 + BUNDLE_SOCKETS_MAX] = {
        {.flags = UV_IGNORE}, {.flags = UV_IGNORE}};
    int count = 2;
    fds[count++] = inherit(STDERR_FILENO);
    fds[count++] = inherit(p->bundle);
    for (unsigned i = 0; i < p->workers; i++)
        fds[count++] = inherit(p->theirs[i]);
    for (size_t i = 0; i < sockets->count; i++)
        fds[count++] = inherit(sockets->at[i].fd);
    fds[count++] = inherit(log);
    char *arguments[] = {"vestibule", "front", NULL};
    char *environment[] = {NULL};
    uv_process_options_t options = {.exit_cb = on_gone,
                                    .file = "/proc/self/exe",
                                    .args = arguments,
                                    .env = environment,
                                    .stdio_count = count,
                                    .stdio = fds};
    return uv_spawn(loop, &s->process, &options);
}

static bool open_links(uv_loop_t *loop, struct spawn *s, struct parcel *p)
{
    static const struct link_events events = {.frame = on_frame, .closed = on_link_closed};
    for (unsigned i = 0; i < s->workers; i++) {
        s->link[i] = link_open(loop, p->ours[i], &events, s);
        p->ours[i] = -1;
        if (s->link[i] == NULL)
            return false;
    }
    return true;
}

static struct spawn *spawn_new(struct edition *e, const struct spawn_events *events, void *owner)
{
    struct spawn *s = calloc(1, sizeof *s + e->conf->workers * sizeof s->link[0]);
    if (s == NULL)
        return NULL;
    s->edition = edition_hold(e);
    s->events = events;
    s->owner = owner;
    s->workers = e->conf->workers;
    s->process.data = s;
    return s;
}

struct spawn *spawn_start(uv_loop_t *loop, struct edition *e, const struct listen_set *sockets,
                          const struct ticket_keys *tickets, int log_fd,
                          const struct spawn_events *events, void *owner,
                          char error[SPAWN_ERROR_MAX])
{
    struct parcel p = {.workers = e->conf->workers};
    memset(p.ours, -1, sizeof p.ours);
    memset(p.theirs, -1, sizeof p.theirs);
    p.bundle = make_bundle(e, sockets, e->tickets.count > 0 ? &e->tickets : tickets);
    struct spawn *s = p.bundle >= 0 && make_channels(&p) ? spawn_new(e, events, owner) : NULL;
    int failure = s != NULL ? run_child(loop, s, &p, sockets, log_fd) : -errno;
    close_all(p.theirs, p.workers);
    if (p.bundle >= 0)
        close(p.bundle);
    if (failure != 0) {
        snprintf(error, SPAWN_ERROR_MAX, "the front cannot be started: %s", uv_strerror(failure));
        close_all(p.ours, p.workers);
        if (s != NULL)
            uv_close((uv_handle_t *)&s->process, on_process_closed);
        return NULL;
    }
    if (!open_links(loop, s, &p)) {
        close_all(p.ours, p.workers);
        spawn_kill(s); /* its end is told by `gone` */
    }
    return s;
}

struct edition *spawn_edition(const struct spawn *s)
{
    return s->edition;
}

int spawn_pid(const struct spawn *s)
{
    return s->process.pid;
}

void spawn_tickets(struct spawn *s, const struct ticket_keys *tickets)
{
    /* the workers of a front share their TLS contexts: telling one is enough, but that one may have
     * drained */
    for (unsigned i = 0; i < s->workers && s->edition->tickets.count == 0; i++)
        if (s->link[i] != NULL)
            link_send(s->link[i],
                      &(struct channel_frame){.type = CHANNEL_TICKETS, .as.tickets = *tickets});
}

void spawn_mechanisms(struct spawn *s, uint32_t mechanisms)
{
    for (unsigned i = 0; i < s->workers; i++)
        if (s->link[i] != NULL)
            link_send(s->link[i], &(struct channel_frame){.type = CHANNEL_MECHANISMS,
                                                          .as.mechanisms = mechanisms});
}

void spawn_drain(struct spawn *s)
{
    s->draining = true;
    for (unsigned i = 0; i < s->workers; i++)
        if (s->link[i] != NULL)
            link_send(s->link[i], &(struct channel_frame){.type = CHANNEL_DRAIN});
}

void spawn_kill(struct spawn *s)
{
    (void)uv_process_kill(&s->process, SIGKILL);
}
