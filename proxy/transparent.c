#include "proxy/transparent.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/network.h"
#include "proxy/socket.h"

/* A port for each pair of addresses, not one of the few for all of them. */
static bool borrow(int fd, const struct address *from)
{
    int on = 1;
    bool v4 = from->storage.ss_family == AF_INET;
    socket_tune(fd);
    (void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    return setsockopt(fd, v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_TRANSPARENT : IPV6_TRANSPARENT,
                      &on, sizeof on) == 0 &&
           bind(fd, (const struct sockaddr *)&from->storage, from->len) == 0;
}

int transparent_socket(const uint8_t source[16])
{
    static const uint8_t nobody[2][16] = {{0}, {[10] = 0xff, [11] = 0xff}};
    struct address from;
    if (memcmp(source, nobody[0], 16) == 0 || memcmp(source, nobody[1], 16) == 0) {
        errno = EADDRNOTAVAIL; /* it would be our own, and the MTA would trust it */
        return -1;
    }
    address_from_octets(&from, source, 0);
    int fd = socket(from.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0 && !borrow(fd, &from)) {
        int saved = errno;
        close(fd);
        errno = saved;
        return -1;
    }
    return fd;
}

bool transparent_target(struct address *out, const struct address *mta, size_t count,
                        const uint8_t source[16])
{
    for (size_t i = 0; i < count; i++) {
        uint8_t octets[16];
        address_octets(octets, &mta[i]);
        if (network_is_v4(octets) != network_is_v4(source))
            continue;
        *out = mta[i]; /* as it is: a link-local one has a scope, too */
        if (network_is_v4(octets))
            address_from_octets(out, octets, address_port(&mta[i]));
        return true;
    }
    return false;
}

const char *transparent_family(const uint8_t source[16])
{
    return network_is_v4(source) ? "IPv4" : "IPv6";
}
