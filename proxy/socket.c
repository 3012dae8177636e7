#include "proxy/socket.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

static enum socket_status failure(void)
{
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? SOCKET_BLOCKED
                                                                     : SOCKET_FAILED;
}

enum socket_status socket_fill(int fd, struct buf *b, size_t most)
{
    bool more;
    return socket_take(fd, b, most, &more);
}

enum socket_status socket_take(int fd, struct buf *b, size_t most, bool *readable)
{
    size_t room = buf_room(b) < most ? buf_room(b) : most;
    *readable = false;
    if (room == 0)
        return SOCKET_BLOCKED;
    uint8_t *space = buf_reserve(b, room);
    if (space == NULL)
        return SOCKET_FAILED;
    ssize_t n = recv(fd, space, room, 0);
    if (n > 0) {
        *readable = (size_t)n == room;
        buf_commit(b, (size_t)n);
        return SOCKET_MOVED;
    }
    enum socket_status status = n == 0 ? SOCKET_ENDED : failure();
    if (buf_len(b) == 0)
        buf_clear(b);
    return status;
}

enum socket_status socket_drain(int fd, struct buf *b)
{
    if (buf_len(b) == 0)
        return SOCKET_BLOCKED;
    ssize_t n = send(fd, buf_data(b), buf_len(b), MSG_NOSIGNAL);
    if (n < 0)
        return failure();
    buf_consume(b, (size_t)n);
    return SOCKET_MOVED;
}

enum socket_status socket_discard(int fd)
{
    char nothing[4096];
    ssize_t n = recv(fd, nothing, sizeof nothing, 0);
    if (n > 0)
        return SOCKET_MOVED;
    return n == 0 ? SOCKET_ENDED : failure();
}

void socket_tune(int fd)
{
    int on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
}

int socket_accept(int listening, struct address *peer)
{
    peer->len = sizeof peer->storage;
    return accept4(listening, (struct sockaddr *)&peer->storage, &peer->len,
                   SOCK_NONBLOCK | SOCK_CLOEXEC);
}

bool socket_begin(int fd, const struct address *to)
{
    return connect(fd, (const struct sockaddr *)&to->storage, to->len) == 0 || errno == EINPROGRESS;
}

int socket_connect(const struct address *to)
{
    int fd = socket(to->storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    socket_tune(fd);
    if (socket_begin(fd, to))
        return fd;
    int saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

int socket_connected(int fd)
{
    int error = 0;
    socklen_t len = sizeof error;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
        return errno;
    return error;
}
