#include "proxy/link.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "proxy/buf.h"
#include "proxy/socket.h"

/* Both ends empty their side each turn, so this much waits only when the other one hangs. */
#define LINK_QUEUE_MAX (4u * 1024 * 1024)
#define LINK_READ 65536

struct link {
    uv_poll_t poll;
    uv_prepare_t flush;
    int fd;
    unsigned holds; /* the owner, each open handle, each link_hold */
    bool open;
    bool writing; /* the socket was full: waiting for it */
    struct buf in;
    struct buf out;
    const struct link_events *events;
    void *owner;
};

static void link_broken(struct link *l)
{
    if (!l->open)
        return;
    l->open = false;
    uv_poll_stop(&l->poll);
    uv_prepare_stop(&l->flush);
    l->events->closed(l->owner, l);
}

static void link_take_frames(struct link *l)
{
    while (l->open) {
        struct channel_frame frame;
        size_t used;
        enum channel_status status =
            channel_decode(&frame, &used, buf_data(&l->in), buf_len(&l->in));
        if (status == CHANNEL_MORE)
            return;
        if (status == CHANNEL_BAD) {
            link_broken(l);
            return;
        }
        l->events->frame(l->owner, l, &frame);
        /* frames carry passwords and signatures */
        buf_consume_secret(&l->in, used);
    }
}

static void on_poll(uv_poll_t *poll, int status, int events);

static void link_arm(struct link *l)
{
    if (l->open)
        uv_poll_start(&l->poll, UV_READABLE | (l->writing ? UV_WRITABLE : 0), on_poll);
}

static void link_flush(struct link *l)
{
    size_t before = buf_len(&l->out);
    if (before == 0)
        return;
    ssize_t n = write(l->fd, buf_data(&l->out), before);
    if (n > 0)
        buf_consume_secret(&l->out, (size_t)n);
    bool full = buf_len(&l->out) > 0;
    if (full != l->writing) {
        l->writing = full;
        link_arm(l);
    }
}

static void link_read(struct link *l)
{
    for (;;) {
        enum socket_status status = socket_fill(l->fd, &l->in, LINK_READ);
        if (status == SOCKET_BLOCKED)
            return;
        if (status != SOCKET_MOVED) {
            link_broken(l);
            return;
        }
        link_take_frames(l);
        if (!l->open)
            return;
    }
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct link *l = poll->data;
    link_hold(l);
    if (status < 0) {
        link_broken(l);
    } else {
        if (events & UV_WRITABLE)
            link_flush(l);
        if (events & UV_READABLE)
            link_read(l);
    }
    link_release(l);
}

static void on_turn_end(uv_prepare_t *flush)
{
    struct link *l = flush->data;
    if (l->open && !l->writing)
        link_flush(l);
}

struct link *link_open(uv_loop_t *loop, int fd, const struct link_events *events, void *owner)
{
    struct link *l = calloc(1, sizeof *l);
    if (l == NULL || fcntl(fd, F_SETFL, O_NONBLOCK) != 0) {
        free(l);
        close(fd);
        return NULL;
    }
    l->fd = fd;
    l->events = events;
    l->owner = owner;
    l->open = true;
    buf_init(&l->in, LINK_QUEUE_MAX);
    buf_init(&l->out, LINK_QUEUE_MAX);
    uv_poll_init(loop, &l->poll, fd);
    uv_prepare_init(loop, &l->flush);
    l->poll.data = l->flush.data = l;
    l->holds = 3;
    uv_prepare_start(&l->flush, on_turn_end);
    link_arm(l);
    return l;
}

void link_send(struct link *l, const struct channel_frame *frame)
{
    if (l->open && !channel_encode(&l->out, frame))
        link_broken(l);
}

struct link *link_hold(struct link *l)
{
    l->holds++;
    return l;
}

void link_release(struct link *l)
{
    if (--l->holds > 0)
        return;
    buf_consume_secret(&l->in, buf_len(&l->in));
    buf_consume_secret(&l->out, buf_len(&l->out));
    buf_clear(&l->in);
    buf_clear(&l->out);
    close(l->fd);
    free(l);
}

static void on_closed(uv_handle_t *handle)
{
    link_release(handle->data);
}

void link_close(struct link *l)
{
    if (l->open)
        link_flush(l);
    l->open = false;
    uv_close((uv_handle_t *)&l->poll, on_closed);
    uv_close((uv_handle_t *)&l->flush, on_closed);
    link_release(l);
}
