#include "proxy/check_exposure.h"

#include <errno.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "proxy/address.h"
#include "proxy/bundle.h"
#include "proxy/check_outside.h"
#include "proxy/check_talk.h"

/* An address of this host answers at once, unless a packet filter swallows it. */
#define DIAL_MS 500
#define LOWEST_FREE_PORT 1024 /* from here on any user may listen */

static size_t own_addresses(struct address out[CHECK_OUTSIDE_MAX])
{
    struct ifaddrs *all = NULL;
    size_t count = 0;
    if (getifaddrs(&all) != 0)
        return 0;
    for (const struct ifaddrs *i = all; i != NULL && count < CHECK_OUTSIDE_MAX; i = i->ifa_next) {
        if (i->ifa_addr == NULL)
            continue;
        socklen_t len = i->ifa_addr->sa_family == AF_INET    ? sizeof(struct sockaddr_in)
                        : i->ifa_addr->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                                             : 0;
        if (len == 0)
            continue;
        memset(&out[count], 0, sizeof out[count]);
        memcpy(&out[count].storage, i->ifa_addr, len);
        out[count++].len = len;
    }
    freeifaddrs(all);
    return count;
}

static size_t listening(struct address out[BUNDLE_SOCKETS_MAX], const struct conf *conf)
{
    size_t count = 0;
    const char *why;
    for (size_t i = 0; i < conf->listener_count; i++) {
        const struct conf_addresses *a = &conf->listener[i].address;
        for (size_t k = 0; k < a->count && count < BUNDLE_SOCKETS_MAX; k++)
            count += address_resolve(out + count, BUNDLE_SOCKETS_MAX - count, a->at[k].host,
                                     a->at[k].port, &why);
    }
    return count;
}

static bool answers(const struct address *a)
{
    struct check_talk t;
    check_talk_init(&t, DIAL_MS);
    bool stands = check_talk_dial(&t, a, DIAL_MS);
    check_talk_end(&t, false);
    return stands;
}

static void try_outside(struct check_report *r, const char *about, uint16_t port,
                        const struct address *outside, size_t count)
{
    char first[ADDRESS_TEXT_MAX] = "", more[32] = "";
    size_t reachable = 0;
    for (size_t i = 0; i < count; i++) {
        if (!answers(&outside[i]))
            continue;
        if (reachable++ == 0)
            address_host(first, &outside[i]);
    }
    if (reachable > 1)
        snprintf(more, sizeof more, " and %zu more", reachable - 1);
    if (reachable > 0)
        check_say(
            r, CHECK_WARNING, about,
            "port %u also answers on %s%s, so clients can go round Vestibule; bind the MTA to "
            "127.0.0.1 or firewall it",
            (unsigned)port, first, more);
    else if (count > 0)
        check_say(r, CHECK_OK, about, "port %u answers on no other of this host's %zu address%s",
                  (unsigned)port, count, count == 1 ? "" : "es");
}

static void check_port(struct check_report *r, const char *about, uint16_t port)
{
    if (port >= LOWEST_FREE_PORT)
        check_say(
            r, CHECK_WARNING, about,
            "port %u is above 1023, so any user of this host can listen there while the MTA is "
            "down, and take its mail; have the MTA listen on a lower port, such as 25",
            (unsigned)port);
}

void check_exposure(struct check_report *r, const struct conf *conf, const struct conf_upstream *u)
{
    char about[64];
    struct address own[CHECK_OUTSIDE_MAX], outside[CHECK_OUTSIDE_MAX], at[CONF_ADDRESSES_MAX],
        ours[BUNDLE_SOCKETS_MAX];
    size_t own_count = own_addresses(own), ours_count = listening(ours, conf);
    snprintf(about, sizeof about, "upstream %s", u->name);
    for (size_t i = 0; i < u->address.count; i++) {
        const struct conf_address *a = &u->address.at[i];
        const char *why;
        if (address_resolve(at, CONF_ADDRESSES_MAX, a->host, a->port, &why) == 0 ||
            !check_outside_local(&at[0], own, own_count))
            continue;
        check_port(r, about, a->port);
        size_t count = check_outside_choose(outside, CHECK_OUTSIDE_MAX, a->port, own, own_count,
                                            ours, ours_count);
        try_outside(r, about, a->port, outside, count);
    }
}
