#include "proxy/listen.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "proxy/socket.h"

static bool same_address(const struct address *a, const struct address *b)
{
    return a->len == b->len && memcmp(&a->storage, &b->storage, a->len) == 0;
}

static const struct listen_socket *find(const struct listen_set *set, const struct address *a)
{
    for (size_t i = 0; i < set->count; i++)
        if (same_address(&set->at[i].address, a))
            return &set->at[i];
    return NULL;
}

static const char *remedy(int error)
{
    switch (error) {
    case EADDRINUSE:
        return "another program listens there; stop it or choose another port";
    case EACCES:
        return "ports below 1024 need root or CAP_NET_BIND_SERVICE";
    case EADDRNOTAVAIL:
        return "this host has no such address";
    default:
        return "see the address of this listener";
    }
}

static int open_one(const struct address *a)
{
    int fd = socket(a->storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    int on = 1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (a->storage.ss_family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    socket_tune(fd); /* what it accepts inherits it */
    if (bind(fd, (const struct sockaddr *)&a->storage, a->len) == 0 && listen(fd, SOMAXCONN) == 0)
        return fd;
    int saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

static bool add(struct listen_set *out, const struct conf_listener *listener, uint32_t index,
                const struct address *a, const struct listen_set *have,
                char error[LISTEN_ERROR_MAX])
{
    char text[ADDRESS_TEXT_MAX];
    address_text(text, a);
    if (out->count == BUNDLE_SOCKETS_MAX) {
        snprintf(error, LISTEN_ERROR_MAX, "[listener %s] address: more than %d addresses in all",
                 listener->name, BUNDLE_SOCKETS_MAX);
        return false;
    }
    const struct listen_socket *old = find(have, a);
    int fd = old != NULL ? old->fd : open_one(a);
    if (fd < 0) {
        int why = errno;
        snprintf(error, LISTEN_ERROR_MAX, "[listener %s] address: cannot listen on %s: %s; %s",
                 listener->name, text, strerror(why), remedy(why));
        errno = why;
        return false;
    }
    out->at[out->count++] = (struct listen_socket){.fd = fd, .listener = index, .address = *a};
    return true;
}

/* A host without IPv6 is no reason to fail when "both families" was asked for. */
static bool add_both_families(struct listen_set *out, const struct conf_listener *listener,
                              uint32_t index, uint16_t port, const struct listen_set *have,
                              char error[LISTEN_ERROR_MAX])
{
    struct address six = {.len = sizeof(struct sockaddr_in6)},
                   four = {.len = sizeof(struct sockaddr_in)};
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&six.storage;
    struct sockaddr_in *in = (struct sockaddr_in *)&four.storage;
    in6->sin6_family = AF_INET6;
    in6->sin6_port = in->sin_port = htons(port);
    in->sin_family = AF_INET;
    if (!add(out, listener, index, &six, have, error) && errno != EAFNOSUPPORT &&
        errno != EADDRNOTAVAIL)
        return false;
    return add(out, listener, index, &four, have, error);
}

static bool add_address(struct listen_set *out, const struct conf_listener *listener,
                        uint32_t index, const struct conf_address *address,
                        const struct listen_set *have, char error[LISTEN_ERROR_MAX])
{
    if (strcmp(address->host, "*") == 0)
        return add_both_families(out, listener, index, address->port, have, error);
    struct address found[CONF_ADDRESSES_MAX];
    const char *why = "";
    size_t count = address_resolve(found, CONF_ADDRESSES_MAX, address->host, address->port, &why);
    if (count == 0)
        snprintf(error, LISTEN_ERROR_MAX,
                 "[listener %s] address: %s cannot be found: %s; give a numeric address",
                 listener->name, address->host, why);
    for (size_t i = 0; i < count; i++)
        if (!add(out, listener, index, &found[i], have, error))
            return false;
    return count > 0;
}

void listen_close_others(struct listen_set *set, const struct listen_set *keep)
{
    for (size_t i = 0; i < set->count; i++)
        if (find(keep, &set->at[i].address) == NULL)
            close(set->at[i].fd);
}

bool listen_open(struct listen_set *out, const struct conf *conf, const struct listen_set *have,
                 char error[LISTEN_ERROR_MAX])
{
    out->count = 0;
    for (uint32_t i = 0; i < conf->listener_count; i++) {
        const struct conf_listener *listener = &conf->listener[i];
        for (size_t k = 0; k < listener->address.count; k++)
            if (!add_address(out, listener, i, &listener->address.at[k], have, error)) {
                listen_close_others(out, have);
                return false;
            }
    }
    return true;
}
