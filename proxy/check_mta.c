#include "proxy/check_mta.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "proxy/address.h"
#include "proxy/buf.h"
#include "proxy/capabilities.h"
#include "proxy/limits.h"
#include "proxy/reply.h"
#include "proxy/socket.h"

/* Somebody sits before the screen; an MTA that first looks up a name answers within this. */
#define PATIENCE_MS 30000
#define WHY_MAX 256
#define OFFERED_MAX 512

struct talk {
    int fd;
    struct buf in;
    struct buf out;
    size_t read; /* octets of the reply that was looked at last; they go with the next */
    uint64_t patience_ms;
    char why[WHY_MAX];
};

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static bool fail(struct talk *t, const char *why)
{
    snprintf(t->why, sizeof t->why, "%s", why);
    return false;
}

static bool wait_for(struct talk *t, short events, uint64_t deadline)
{
    struct pollfd p = {.fd = t->fd, .events = events};
    for (uint64_t now; (now = now_ms()) < deadline;) {
        uint64_t left = deadline - now;
        int n = poll(&p, 1, left < 60000 ? (int)left : 60000);
        if (n > 0)
            return true;
        if (n < 0 && errno != EINTR)
            return fail(t, strerror(errno));
    }
    return fail(t, "no answer in time");
}

static bool dial(struct talk *t, const struct address *to, uint64_t timeout_ms)
{
    t->fd = socket_connect(to);
    if (t->fd < 0)
        return fail(t, strerror(errno));
    if (!wait_for(t, POLLOUT, now_ms() + timeout_ms))
        return false;
    int error = socket_connected(t->fd);
    return error == 0 || fail(t, strerror(error));
}

static bool more(struct talk *t, uint64_t deadline)
{
    if (!wait_for(t, POLLIN, deadline))
        return false;
    switch (socket_fill(t->fd, &t->in, LIMIT_MTA_IN)) {
    case SOCKET_ENDED:
        return fail(t, "it closed the connection");
    case SOCKET_FAILED:
        return fail(t, "the connection broke");
    case SOCKET_MOVED:
    case SOCKET_BLOCKED:
        break;
    }
    return true;
}

static bool read_reply(struct talk *t, struct reply *reply)
{
    uint64_t deadline = now_ms() + t->patience_ms;
    buf_consume(&t->in, t->read);
    t->read = 0;
    for (;;) {
        switch (reply_parse(reply, buf_data(&t->in), buf_len(&t->in))) {
        case REPLY_COMPLETE:
            t->read = reply->len;
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

static bool say(struct talk *t, const char *verb, const char *argument)
{
    uint64_t deadline = now_ms() + t->patience_ms;
    if (!buf_printf(&t->out, "%s%s%s\r\n", verb, *argument != '\0' ? " " : "", argument))
        return fail(t, "out of memory");
    while (buf_len(&t->out) > 0) {
        if (!wait_for(t, POLLOUT, deadline))
            return false;
        if (socket_drain(t->fd, &t->out) == SOCKET_FAILED)
            return fail(t, "the connection broke");
    }
    return true;
}

static bool expect(struct talk *t, struct reply *reply, unsigned code)
{
    char summary[WHY_MAX - 16];
    if (!read_reply(t, reply))
        return false;
    if (reply->code == code)
        return true;
    reply_summary(summary, sizeof summary, reply);
    snprintf(t->why, sizeof t->why, "it answers %s", summary);
    return false;
}

/* Keywords and their arguments as the MTA gave them, a comma and a blank between. */
static void list_offered(char out[OFFERED_MAX], const struct reply *reply)
{
    const char *text;
    size_t len, used = 0;
    out[0] = '\0';
    for (unsigned i = 1; reply_line(reply, i, &text, &len); i++) {
        if (used + len + 3 > OFFERED_MAX)
            break;
        if (used > 0) {
            out[used++] = ',';
            out[used++] = ' ';
        }
        for (size_t k = 0; k < len; k++)
            out[used++] = text[k] >= ' ' && text[k] <= '~' ? text[k] : '?';
        out[used] = '\0';
    }
}

/* An MTA that knows only HELO is fine. */
static bool greet(struct talk *t, struct capabilities *learnt, char offered[OFFERED_MAX],
                  const char *hostname)
{
    struct reply reply;
    offered[0] = '\0';
    if (!expect(t, &reply, 220) || !say(t, "EHLO", hostname) || !read_reply(t, &reply))
        return false;
    if (reply.code == 250) {
        capabilities_learn(learnt, &reply, true);
        list_offered(offered, &reply);
        return true;
    }
    if (!say(t, "HELO", hostname) || !expect(t, &reply, 250))
        return false;
    capabilities_learn(learnt, &reply, false);
    return true;
}

static void leave(struct talk *t, bool polite)
{
    struct reply reply;
    if (polite && say(t, "QUIT", ""))
        (void)read_reply(t, &reply);
    if (t->fd >= 0)
        close(t->fd);
    buf_clear(&t->in);
    buf_clear(&t->out);
}

static void tell(struct check_report *r, const struct conf *conf, const char *about,
                 const char *where, const struct capabilities *learnt, const char *offered)
{
    if (offered[0] != '\0')
        check_say(r, CHECK_OK, about, "%s answers and offers %s", where, offered);
    else
        check_say(r, CHECK_OK, about, "%s answers and offers no extensions", where);
    if (learnt->size > 0 && conf->max_size > learnt->size)
        check_say(r, CHECK_WARNING, about,
                  "%s takes messages of %llu octets only; lower max_size in [message] or raise the "
                  "mail server's limit",
                  where, (unsigned long long)learnt->size);
}

static bool visit(struct check_report *r, char why[WHY_MAX], const struct conf *conf,
                  const struct conf_upstream *u, const char *about, const struct address *at)
{
    struct talk t = {.fd = -1, .patience_ms = u->reply_timeout};
    struct capabilities learnt = {0};
    char offered[OFFERED_MAX], where[ADDRESS_TEXT_MAX];
    if (t.patience_ms > PATIENCE_MS)
        t.patience_ms = PATIENCE_MS;
    buf_init(&t.in, LIMIT_MTA_IN);
    buf_init(&t.out, LIMIT_MTA_IN);
    bool fine = dial(&t, at, u->connect_timeout) && greet(&t, &learnt, offered, conf->hostname);
    address_text(where, at);
    if (fine)
        tell(r, conf, about, where, &learnt, offered);
    else
        snprintf(why, WHY_MAX, "%s", t.why);
    leave(&t, fine);
    return fine;
}

/* A name may have several addresses, of which the service takes the first that answers. */
static void check_one(struct check_report *r, const struct conf *conf,
                      const struct conf_upstream *u, const char *about,
                      const struct conf_address *address)
{
    struct address found[CONF_ADDRESSES_MAX];
    char where[ADDRESS_TEXT_MAX], why[WHY_MAX];
    const char *reason = "";
    size_t count =
        address_resolve(found, CONF_ADDRESSES_MAX, address->host, address->port, &reason);
    if (count == 0)
        check_say(r, CHECK_PROBLEM, about,
                  "%s cannot be found: %s; correct the name or give a numeric address",
                  address->host, reason);
    for (size_t i = 0; i < count; i++) {
        if (visit(r, why, conf, u, about, &found[i]))
            return;
        address_text(where, &found[i]);
        check_say(r, i + 1 < count ? CHECK_WARNING : CHECK_PROBLEM, about,
                  "%s does not serve: %s; start the mail server or correct address in "
                  "[upstream %s]",
                  where, why, u->name);
    }
}

void check_mta(struct check_report *r, const struct conf *conf, const struct conf_upstream *u)
{
    char about[64];
    snprintf(about, sizeof about, "upstream %s", u->name);
    for (size_t i = 0; i < u->address.count; i++)
        check_one(r, conf, u, about, &u->address.at[i]);
}
