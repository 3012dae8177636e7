#include "proxy/check_outside.h"

#include <netinet/in.h>
#include <string.h>

#include "proxy/network.h"

static bool same_host(const struct address *a, const struct address *b)
{
    uint8_t left[16], right[16];
    address_octets(left, a);
    address_octets(right, b);
    return memcmp(left, right, sizeof left) == 0;
}

static bool loopback(const struct address *a)
{
    uint8_t octets[16];
    address_octets(octets, a);
    return network_is_loopback(octets);
}

/* sockaddr_storage may not be read or written through another type's pointer. */
static bool set_port(struct address *a, uint16_t port)
{
    if (a->storage.ss_family == AF_INET) {
        struct sockaddr_in four;
        memcpy(&four, &a->storage, sizeof four);
        four.sin_port = htons(port);
        memcpy(&a->storage, &four, sizeof four);
        return true;
    }
    if (a->storage.ss_family == AF_INET6) {
        struct sockaddr_in6 six;
        memcpy(&six, &a->storage, sizeof six);
        six.sin6_port = htons(port);
        memcpy(&a->storage, &six, sizeof six);
        return true;
    }
    return false;
}

static uint16_t port_of(const struct address *a)
{
    struct sockaddr_in6 six; /* the port stands at the same place in both families */
    memcpy(&six, &a->storage, sizeof six);
    return ntohs(six.sin6_port);
}

static bool wildcard(const struct address *a)
{
    static const uint8_t six[16], four[16] = {[10] = 0xff, [11] = 0xff};
    uint8_t octets[16];
    address_octets(octets, a);
    return memcmp(octets, a->storage.ss_family == AF_INET ? four : six, sizeof octets) == 0;
}

static bool ours(const struct address *a, const struct address *listening, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct address *l = &listening[i];
        if (port_of(l) == port_of(a) && l->storage.ss_family == a->storage.ss_family &&
            (wildcard(l) || same_host(l, a)))
            return true;
    }
    return false;
}

static bool among(const struct address *a, const struct address *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (same_host(&list[i], a))
            return true;
    return false;
}

bool check_outside_local(const struct address *mta, const struct address *own, size_t count)
{
    return loopback(mta) || among(mta, own, count);
}

size_t check_outside_choose(struct address *out, size_t max, uint16_t port,
                            const struct address *own, size_t count,
                            const struct address *listening, size_t listening_count)
{
    size_t chosen = 0;
    for (size_t i = 0; i < count && chosen < max; i++) {
        struct address a = own[i];
        if (set_port(&a, port) && !loopback(&a) && !among(&a, out, chosen) &&
            !ours(&a, listening, listening_count))
            out[chosen++] = a;
    }
    return chosen;
}
