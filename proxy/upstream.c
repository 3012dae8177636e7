#include "proxy/upstream.h"

#include <stdlib.h>
#include <unistd.h>

#include "proxy/socket.h"

/* Between rounds over all addresses: an MTA that restarts is back within a second or two. */
#define RETRY_MS 250

struct upstream {
    const struct upstream_target *target;
    upstream_cb *cb;
    void *owner;
    uv_loop_t *loop;
    uv_timer_t timer; /* its close callback frees the struct */
    uv_poll_t *poll;  /* one for each attempt: the next begins before libuv lets go of the last */
    int fd;
    bool connected;
    int armed;
    size_t next; /* address to try */
    bool once;   /* the socket was given to us: there is no second */
    uint64_t give_up;
};

static void try_next(struct upstream *u);

static void free_poll(uv_handle_t *handle)
{
    free(handle);
}

static void drop_socket(struct upstream *u)
{
    if (u->poll != NULL) {
        uv_close((uv_handle_t *)u->poll, free_poll);
        u->poll = NULL;
    }
    if (u->fd >= 0)
        close(u->fd);
    u->fd = -1;
    u->armed = 0;
}

static void on_timer(uv_timer_t *timer)
{
    struct upstream *u = timer->data;
    drop_socket(u);
    try_next(u);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct upstream *u = poll->data;
    if (u->connected) {
        bool error = status < 0;
        if (error)
            u->armed = 0; /* libuv has stopped it */
        u->cb(u->owner, UPSTREAM_READY, error || (events & UV_READABLE),
              error || (events & UV_WRITABLE));
        return;
    }
    if (socket_connected(u->fd) != 0) {
        drop_socket(u);
        try_next(u);
        return;
    }
    u->connected = true;
    uv_timer_stop(&u->timer);
    u->cb(u->owner, UPSTREAM_CONNECTED, false, true);
}

/* Waits for the connection that was begun. */
static bool watch(struct upstream *u)
{
    u->poll = calloc(1, sizeof *u->poll);
    if (u->poll == NULL || uv_poll_init(u->loop, u->poll, u->fd) != 0) {
        free(u->poll);
        u->poll = NULL;
        drop_socket(u);
        return false;
    }
    u->poll->data = u;
    u->armed = UV_WRITABLE;
    uv_poll_start(u->poll, u->armed, on_poll);
    uv_timer_start(&u->timer, on_timer, u->target->connect_timeout, 0);
    return true;
}

/* One attempt: false when this address failed at once. */
static bool attempt(struct upstream *u, const struct address *to)
{
    u->fd = socket_connect(to);
    return u->fd >= 0 && watch(u);
}

static void try_next(struct upstream *u)
{
    while (!u->once && u->next < u->target->address_count)
        if (attempt(u, &u->target->address[u->next++]))
            return;
    u->next = 0;
    if (uv_now(u->loop) + RETRY_MS < u->give_up)
        uv_timer_start(&u->timer, on_timer, RETRY_MS, 0);
    else
        u->cb(u->owner, UPSTREAM_FAILED, false, false);
}

static struct upstream *upstream_new(uv_loop_t *loop, const struct upstream_target *target,
                                     upstream_cb *cb, void *owner)
{
    struct upstream *u = calloc(1, sizeof *u);
    if (u == NULL)
        return NULL;
    u->target = target;
    u->cb = cb;
    u->owner = owner;
    u->loop = loop;
    u->fd = -1;
    u->give_up = uv_now(loop);
    uv_timer_init(loop, &u->timer);
    u->timer.data = u;
    return u;
}

struct upstream *upstream_open(uv_loop_t *loop, const struct upstream_target *target,
                               uint64_t patience, upstream_cb *cb, void *owner)
{
    struct upstream *u = upstream_new(loop, target, cb, owner);
    if (u == NULL)
        return NULL;
    u->give_up += patience;
    if (target->address_count == 0 || !attempt(u, &target->address[u->next++]))
        uv_timer_start(&u->timer, on_timer, 0, 0); /* the callback is never called from within */
    return u;
}

struct upstream *upstream_open_with(uv_loop_t *loop, const struct upstream_target *target, int fd,
                                    const struct address *to, upstream_cb *cb, void *owner)
{
    struct upstream *u = upstream_new(loop, target, cb, owner);
    if (u == NULL) {
        close(fd);
        return NULL;
    }
    u->once = true;
    u->fd = fd;
    if (!socket_begin(fd, to) || !watch(u)) {
        drop_socket(u);
        uv_timer_start(&u->timer, on_timer, 0, 0); /* the callback is never called from within */
    }
    return u;
}

void upstream_arm(struct upstream *u, bool readable, bool writable)
{
    int events = (readable ? UV_READABLE : 0) | (writable ? UV_WRITABLE : 0);
    if (events == u->armed)
        return;
    u->armed = events;
    if (events == 0)
        uv_poll_stop(u->poll);
    else
        uv_poll_start(u->poll, events, on_poll);
}

int upstream_fd(const struct upstream *u)
{
    return u->connected ? u->fd : -1;
}

static void free_upstream(uv_handle_t *handle)
{
    free(handle->data);
}

void upstream_close(struct upstream *u)
{
    drop_socket(u);
    uv_close((uv_handle_t *)&u->timer, free_upstream);
}
