#include "proxy/check_talk.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "proxy/limits.h"
#include "proxy/socket.h"

#define POLL_MS 60000

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static bool fail(struct check_talk *t, const char *why)
{
    snprintf(t->why, sizeof t->why, "%s", why);
    return false;
}

static bool lost(struct check_talk *t, const char *why)
{
    t->gone = true;
    return fail(t, why);
}

void check_talk_init(struct check_talk *t, uint64_t patience_ms)
{
    memset(t, 0, sizeof *t);
    t->fd = -1;
    t->patience_ms = patience_ms;
    buf_init(&t->in, LIMIT_MTA_IN);
}

static bool wait_for(struct check_talk *t, short events, uint64_t deadline)
{
    struct pollfd p = {.fd = t->fd, .events = events};
    for (uint64_t now; (now = now_ms()) < deadline;) {
        uint64_t left = deadline - now;
        int n = poll(&p, 1, left < POLL_MS ? (int)left : POLL_MS);
        if (n > 0)
            return true;
        if (n < 0 && errno != EINTR)
            return fail(t, strerror(errno));
    }
    return fail(t, "no answer in time");
}

bool check_talk_dial(struct check_talk *t, const struct address *to, uint64_t timeout_ms)
{
    t->gone = false;
    t->alert = 0;
    t->fd = socket_connect(to);
    if (t->fd < 0)
        return fail(t, strerror(errno));
    if (!wait_for(t, POLLOUT, now_ms() + timeout_ms))
        return false;
    int error = socket_connected(t->fd);
    return error == 0 || fail(t, strerror(error));
}

/* True: the same call again. */
static bool tls_waits(struct check_talk *t, enum tls_client_status status, uint64_t deadline)
{
    switch (status) {
    case TLS_CLIENT_WANT_READ:
        return wait_for(t, POLLIN, deadline);
    case TLS_CLIENT_WANT_WRITE:
        return wait_for(t, POLLOUT, deadline);
    case TLS_CLIENT_CLOSED:
        return lost(t, "it closed the connection");
    default:
        t->alert = tls_client_alert(t->tls);
        return lost(t, t->alert != 0 ? "it ended TLS with an alert" : "TLS failed");
    }
}

bool check_talk_tls(struct check_talk *t, const struct tls_client_settings *settings)
{
    uint64_t deadline = now_ms() + t->patience_ms;
    enum tls_client_status status;
    buf_clear(&t->in);
    t->read = 0;
    t->tls = tls_client_new(t->fd, settings);
    if (t->tls == NULL)
        return fail(t, "the TLS library cannot do that");
    while ((status = tls_client_handshake(t->tls)) != TLS_CLIENT_OK)
        if (!tls_waits(t, status, deadline))
            return false;
    return true;
}

static bool send_inside(struct check_talk *t, const void *octets, size_t len, uint64_t deadline)
{
    enum tls_client_status status;
    while ((status = tls_client_write(t->tls, octets, len)) != TLS_CLIENT_OK)
        if (!tls_waits(t, status, deadline))
            return false;
    return true;
}

static bool send_clear(struct check_talk *t, const char *octets, size_t len, uint64_t deadline)
{
    while (len > 0) {
        ssize_t n = send(t->fd, octets, len, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return lost(t, "the connection broke");
        if (n < 0 && !wait_for(t, POLLOUT, deadline))
            return false;
        if (n > 0) {
            octets += n;
            len -= (size_t)n;
        }
    }
    return true;
}

bool check_talk_send(struct check_talk *t, const void *octets, size_t len)
{
    uint64_t deadline = now_ms() + t->patience_ms;
    return t->tls != NULL ? send_inside(t, octets, len, deadline)
                          : send_clear(t, octets, len, deadline);
}

bool check_talk_say(struct check_talk *t, const char *verb, const char *argument)
{
    char line[1024];
    int len =
        snprintf(line, sizeof line, "%s%s%s\r\n", verb, *argument != '\0' ? " " : "", argument);
    if (len < 0 || (size_t)len >= sizeof line)
        return fail(t, "the command is too long");
    return check_talk_send(t, line, (size_t)len);
}

static bool more_inside(struct check_talk *t, uint64_t deadline)
{
    size_t got, room = buf_room(&t->in) < 4096 ? buf_room(&t->in) : 4096;
    uint8_t *space = room > 0 ? buf_reserve(&t->in, room) : NULL;
    enum tls_client_status status;
    if (space == NULL)
        return fail(t, "its reply is too long");
    while ((status = tls_client_read(t->tls, space, room, &got)) != TLS_CLIENT_OK)
        if (!tls_waits(t, status, deadline)) {
            buf_commit(&t->in, 0);
            return false;
        }
    buf_commit(&t->in, got);
    return true;
}

static bool more(struct check_talk *t, uint64_t deadline)
{
    if (t->tls != NULL)
        return more_inside(t, deadline);
    if (!wait_for(t, POLLIN, deadline))
        return false;
    switch (socket_fill(t->fd, &t->in, LIMIT_MTA_IN)) {
    case SOCKET_ENDED:
        return lost(t, "it closed the connection");
    case SOCKET_FAILED:
        return lost(t, "the connection broke");
    case SOCKET_MOVED:
    case SOCKET_BLOCKED:
        break;
    }
    return true;
}

bool check_talk_reply_within(struct check_talk *t, struct reply *out, uint64_t ms)
{
    uint64_t deadline = now_ms() + ms;
    buf_consume(&t->in, t->read);
    t->read = 0;
    for (;;) {
        switch (reply_parse(out, buf_data(&t->in), buf_len(&t->in))) {
        case REPLY_COMPLETE:
            t->read = out->len;
            return true;
        case REPLY_BAD:
            return fail(t, "what answers there does not speak SMTP");
        case REPLY_MORE:
            break;
        }
        if (!more(t, deadline))
            return false;
    }
}

bool check_talk_reply(struct check_talk *t, struct reply *out)
{
    return check_talk_reply_within(t, out, t->patience_ms);
}

bool check_talk_expect(struct check_talk *t, struct reply *out, unsigned code)
{
    char summary[CHECK_WHY_MAX - 16];
    if (!check_talk_reply(t, out))
        return false;
    if (out->code == code)
        return true;
    reply_summary(summary, sizeof summary, out);
    snprintf(t->why, sizeof t->why, "it answers %s", summary);
    return false;
}

void check_talk_end(struct check_talk *t, bool polite)
{
    struct reply reply;
    if (t->fd >= 0 && polite && check_talk_say(t, "QUIT", ""))
        (void)check_talk_reply(t, &reply);
    tls_client_free(t->tls);
    if (t->fd >= 0)
        close(t->fd);
    buf_clear(&t->in);
    t->tls = NULL;
    t->fd = -1;
    t->read = 0;
}
