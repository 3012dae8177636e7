#include "proxy/link.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/buf.h"
#include "proxy/socket.h"

/* Both ends empty their side each turn, so this much waits only when the other one hangs. */
#define LINK_QUEUE_MAX (4u * 1024 * 1024)
#define LINK_READ 65536
#define LINK_PARCELS_MAX 256 /* descriptors on their way */
/* A read ends behind the octets that a descriptor came with, so there is that one, and perhaps one
 * of a frame whose end this read brought. */
#define LINK_ARRIVED_MAX 2

/* A descriptor that goes with the octet at this place of all that was ever sent. */
struct parcel {
    uint64_t at;
    int fd;
};

struct link {
    uv_poll_t poll;
    uv_prepare_t flush;
    uv_timer_t later; /* until what is queued goes in any case */
    bool urgent;      /* it goes at the end of this turn */
    int fd;
    unsigned holds; /* the owner, each open handle, each link_hold */
    bool open;
    bool writing; /* the socket was full: waiting for it */
    struct buf in;
    struct buf out;
    uint64_t sent; /* octets */
    size_t parcel_first;
    size_t parcel_count;
    struct parcel parcel[LINK_PARCELS_MAX]; /* a ring */
    size_t arrived_count;
    int arrived[LINK_ARRIVED_MAX]; /* -1: could not be taken in */
    int offered;                   /* with the frame at hand; -1: none */
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
    uv_timer_stop(&l->later);
    l->events->closed(l->owner, l);
}

static int link_next_arrived(struct link *l)
{
    if (l->arrived_count == 0)
        return -1;
    int fd = l->arrived[0];
    memmove(l->arrived, l->arrived + 1, --l->arrived_count * sizeof l->arrived[0]);
    return fd;
}

static void link_give_frame(struct link *l, const struct channel_frame *frame)
{
    if (channel_brings_descriptor(frame))
        l->offered = link_next_arrived(l);
    l->events->frame(l->owner, l, frame);
    int unwanted = link_take_fd(l);
    if (unwanted >= 0)
        close(unwanted);
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
        link_give_frame(l, &frame);
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

union control {
    struct cmsghdr header;
    char octets[CMSG_SPACE(sizeof(int))];
};

static ssize_t send_with(int to, const uint8_t *octets, size_t len, int fd)
{
    union control control = {.octets = {0}};
    struct iovec part = {.iov_base = (void *)(uintptr_t)octets, .iov_len = len};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (fd >= 0) {
        message.msg_control = control.octets;
        message.msg_controllen = sizeof control.octets;
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN(sizeof fd);
        memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
    }
    return sendmsg(to, &message, MSG_NOSIGNAL);
}

static void link_parcel_done(struct link *l)
{
    close(l->parcel[l->parcel_first].fd);
    l->parcel_first = (l->parcel_first + 1) % LINK_PARCELS_MAX;
    l->parcel_count--;
}

static size_t link_until_parcel(const struct link *l, size_t skipped)
{
    size_t len = buf_len(&l->out);
    if (l->parcel_count <= skipped)
        return len;
    uint64_t before = l->parcel[(l->parcel_first + skipped) % LINK_PARCELS_MAX].at - l->sent;
    return before < len ? (size_t)before : len;
}

/* Octets up to the next descriptor, or a descriptor and the octets up to the one after it. */
static bool link_write(struct link *l)
{
    const struct parcel *first = &l->parcel[l->parcel_first];
    bool due = l->parcel_count > 0 && first->at == l->sent;
    size_t len = link_until_parcel(l, due ? 1 : 0);
    ssize_t n = len > 0 ? send_with(l->fd, buf_data(&l->out), len, due ? first->fd : -1) : -1;
    if (n <= 0)
        return false;
    buf_consume_secret(&l->out, (size_t)n);
    l->sent += (size_t)n;
    if (due)
        link_parcel_done(l);
    return true;
}

static void link_flush(struct link *l)
{
    if (buf_len(&l->out) == 0)
        return;
    while (link_write(l))
        ;
    l->urgent = false;
    uv_timer_stop(&l->later);
    bool full = buf_len(&l->out) > 0;
    if (full != l->writing) {
        l->writing = full;
        link_arm(l);
    }
}

/* False: one came that may not come. */
static bool link_note_descriptor(struct link *l, struct msghdr *message)
{
    struct cmsghdr *c = CMSG_FIRSTHDR(message);
    bool came = c != NULL && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS;
    int fd = -1;
    if (came)
        memcpy(&fd, CMSG_DATA(c), sizeof fd);
    else if (!(message->msg_flags & MSG_CTRUNC))
        return true;
    if (l->events->takes_descriptors && l->arrived_count < LINK_ARRIVED_MAX) {
        l->arrived[l->arrived_count++] = fd;
        return true;
    }
    if (fd >= 0)
        close(fd);
    return false;
}

/* *more: there may be; a read that did not fill its room has taken what there was, unless a
 * descriptor ended it. */
static enum socket_status link_fill(struct link *l, bool *more)
{
    union control control;
    size_t room = buf_room(&l->in) < LINK_READ ? buf_room(&l->in) : LINK_READ;
    struct iovec part = {.iov_base = buf_reserve(&l->in, room), .iov_len = room};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (part.iov_base == NULL)
        return SOCKET_FAILED;
    if (l->events->takes_descriptors) {
        message.msg_control = control.octets;
        message.msg_controllen = CMSG_LEN(sizeof(int)); /* CMSG_SPACE would let a second one in */
    }
    ssize_t n = recvmsg(l->fd, &message, MSG_CMSG_CLOEXEC);
    *more = n == (ssize_t)room || (n > 0 && CMSG_FIRSTHDR(&message) != NULL);
    if (n > 0) {
        buf_commit(&l->in, (size_t)n);
        return link_note_descriptor(l, &message) ? SOCKET_MOVED : SOCKET_FAILED;
    }
    bool blocked = n < 0 && (errno == EAGAIN || errno == EINTR);
    if (buf_len(&l->in) == 0)
        buf_clear(&l->in);
    return blocked ? SOCKET_BLOCKED : n == 0 ? SOCKET_ENDED : SOCKET_FAILED;
}

static void link_read(struct link *l)
{
    bool more = true;
    while (more) {
        enum socket_status status = link_fill(l, &more);
        if (status == SOCKET_BLOCKED)
            return;
        if (status != SOCKET_MOVED) {
            link_broken(l);
            return;
        }
        link_take_frames(l);
        if (l->arrived_count > 0 && buf_len(&l->in) == 0)
            link_broken(l); /* no frame brought it */
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
    if (l->open && !l->writing && l->urgent)
        link_flush(l);
}

static void on_later(uv_timer_t *later)
{
    struct link *l = later->data;
    l->urgent = true;
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
    l->offered = -1;
    l->events = events;
    l->owner = owner;
    l->open = true;
    buf_init(&l->in, LINK_QUEUE_MAX);
    buf_init(&l->out, LINK_QUEUE_MAX);
    uv_poll_init(loop, &l->poll, fd);
    uv_prepare_init(loop, &l->flush);
    uv_timer_init(loop, &l->later);
    l->poll.data = l->flush.data = l->later.data = l;
    l->holds = 4;
    uv_prepare_start(&l->flush, on_turn_end);
    link_arm(l);
    return l;
}

void link_send(struct link *l, const struct channel_frame *frame)
{
    l->urgent = true;
    if (l->open && !channel_encode(&l->out, frame))
        link_broken(l);
}

void link_send_later(struct link *l, const struct channel_frame *frame)
{
    bool urgent = l->urgent;
    link_send(l, frame);
    l->urgent = urgent;
    if (l->open && !uv_is_active((uv_handle_t *)&l->later))
        uv_timer_start(&l->later, on_later, LINK_LATER_MS, 0);
}

bool link_send_fd(struct link *l, const struct channel_frame *frame, int fd)
{
    uint64_t at = l->sent + buf_len(&l->out);
    if (!l->open || l->parcel_count == LINK_PARCELS_MAX) {
        close(fd);
        return !l->open;
    }
    l->parcel[(l->parcel_first + l->parcel_count++) % LINK_PARCELS_MAX] =
        (struct parcel){.at = at, .fd = fd};
    link_send(l, frame);
    return true;
}

int link_take_fd(struct link *l)
{
    int fd = l->offered;
    l->offered = -1;
    return fd;
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
    buf_clear(&l->in);
    buf_clear(&l->out);
    close(l->fd);
    free(l);
}

static void on_closed(uv_handle_t *handle)
{
    link_release(handle->data);
}

static void link_drop_descriptors(struct link *l)
{
    while (l->parcel_count > 0)
        link_parcel_done(l);
    while (l->arrived_count > 0) {
        int fd = link_next_arrived(l);
        if (fd >= 0)
            close(fd);
    }
}

void link_close(struct link *l)
{
    if (l->open)
        link_flush(l);
    l->open = false;
    link_drop_descriptors(l);
    uv_close((uv_handle_t *)&l->poll, on_closed);
    uv_close((uv_handle_t *)&l->flush, on_closed);
    uv_close((uv_handle_t *)&l->later, on_closed);
    link_release(l);
}
