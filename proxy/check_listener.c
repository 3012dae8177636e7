#include "proxy/check_listener.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/address.h"
#include "proxy/check_door.h"
#include "proxy/check_relay.h"
#include "proxy/check_tls.h"

/* A service of this host greets within this. */
#define PATIENCE_MS 5000

/* Bound, but not opened, so that no client is drawn in. */
static int try_bind(const struct address *a)
{
    int on = 1, error = 0;
    int fd = socket(a->storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (a->storage.ss_family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    if (bind(fd, (const struct sockaddr *)&a->storage, a->len) != 0)
        error = errno;
    close(fd);
    return error;
}

static void check_bind(struct check_report *r, const char *about, const struct address *a,
                       bool everywhere, const char *silent)
{
    char where[ADDRESS_TEXT_MAX];
    int error = try_bind(a);
    address_text(where, a);
    switch (error) {
    case 0:
        check_say(r, CHECK_OK, about, "%s is free", where);
        return;
    case EADDRINUSE:
        check_say(r, CHECK_PROBLEM, about,
                  "%s is in use, but does not greet as this listener does: %s; restart the service "
                  "if that is it, else stop what listens there or choose another port",
                  where, silent);
        return;
    case EACCES:
        check_say(r, CHECK_PROBLEM, about,
                  "%s may not be bound by this account; ports below 1024 need root or "
                  "CAP_NET_BIND_SERVICE",
                  where);
        return;
    case EADDRNOTAVAIL:
        if (!everywhere)
            check_say(r, CHECK_PROBLEM, about,
                      "%s is no address of this host; correct address in the listener", where);
        return; /* a host without IPv6 serves the other family */
    default:
        check_say(r, CHECK_PROBLEM, about,
                  "%s cannot be bound: %s; correct address in the listener", where,
                  strerror(error));
    }
}

/* Is there a listener of this kind? *trusted: it lets us submit without a password. */
static bool greets(char why[CHECK_WHY_MAX], bool *trusted, const struct check_door *d)
{
    struct check_talk t;
    check_talk_init(&t, PATIENCE_MS);
    bool good = check_door_enter(&t, d, CHECK_CLEAR, NULL, NULL);
    *trusted = good && check_door_trusts(&t, d);
    snprintf(why, CHECK_WHY_MAX, "%s", t.why);
    check_talk_end(&t, good);
    return good;
}

static void look_in(struct check_report *r, const struct check_door *d, bool trusted)
{
    check_tls(r, d);
    if (!trusted)
        check_relay(r, d);
    else
        check_say(r, CHECK_WARNING, d->about,
                  "this host is trusted to submit without a password, so that relaying cannot be "
                  "tried from here; see that trusted names no more than it must");
}

/* True: it answers. */
static bool check_one(struct check_report *r, struct check_door *d, const struct address *listening,
                      bool everywhere, bool first)
{
    char where[ADDRESS_TEXT_MAX], why[CHECK_WHY_MAX];
    bool trusted;
    check_door_address(&d->at, listening);
    if (!greets(why, &trusted, d)) {
        check_bind(r, d->about, listening, everywhere, why);
        return false;
    }
    address_text(where, listening);
    check_say(r, CHECK_OK, d->about, "%s answers", where);
    if (first)
        look_in(r, d, trusted);
    return true;
}

bool check_listener(struct check_report *r, const struct conf *conf, const struct conf_listener *l)
{
    char about[64];
    struct check_door door = {.conf = conf, .listener = l, .about = about};
    bool answers = false;
    snprintf(about, sizeof about, "listener %s", l->name);
    for (size_t i = 0; i < l->address.count; i++) {
        struct address found[CONF_ADDRESSES_MAX];
        const struct conf_address *a = &l->address.at[i];
        const char *why = "";
        size_t count = address_resolve(found, CONF_ADDRESSES_MAX, a->host, a->port, &why);
        if (count == 0)
            check_say(r, CHECK_PROBLEM, about, "%s cannot be found: %s; give a numeric address",
                      a->host, why);
        for (size_t k = 0; k < count; k++)
            if (check_one(r, &door, &found[k], strcmp(a->host, "*") == 0, !answers))
                answers = true;
    }
    return answers;
}
