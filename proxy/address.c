#include "proxy/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool address_from(struct address *out, const struct sockaddr *from, socklen_t len)
{
    if (from == NULL || len > sizeof out->storage)
        return false;
    memset(out, 0, sizeof *out);
    memcpy(&out->storage, from, len);
    out->len = len;
    return true;
}

static bool address_kernel_has_ipv6(void)
{
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return false;
    close(fd);
    return true;
}

/* Not getaddrinfo(NULL, AI_PASSIVE): that names :: even where the kernel was started without IPv6.
 */
static size_t address_everywhere(struct address *out, size_t max, uint16_t port)
{
    const struct sockaddr_in v4 = {
        .sin_family = AF_INET,
        .sin_port = htons(port),
        .sin_addr.s_addr = htonl(INADDR_ANY),
    };
    const struct sockaddr_in6 v6 = {
        .sin6_family = AF_INET6,
        .sin6_port = htons(port),
        .sin6_addr = IN6ADDR_ANY_INIT,
    };
    size_t count = 0;

    if (count < max && address_from(&out[count], (const struct sockaddr *)&v4, sizeof v4))
        count++;
    if (count < max && address_kernel_has_ipv6() &&
        address_from(&out[count], (const struct sockaddr *)&v6, sizeof v6))
        count++;
    return count;
}

size_t address_resolve(struct address *out, size_t max, const char *host, uint16_t port,
                       const char **error)
{
    const struct addrinfo hints = {
        .ai_family = AF_UNSPEC,
        .ai_socktype = SOCK_STREAM,
        .ai_flags = AI_NUMERICSERV,
    };
    struct addrinfo *found = NULL;
    char service[8];
    size_t count = 0;
    int rc;

    if (strcmp(host, "*") == 0)
        return address_everywhere(out, max, port);
    snprintf(service, sizeof service, "%u", (unsigned)port);
    rc = getaddrinfo(host, service, &hints, &found);
    if (rc != 0) {
        *error = rc == EAI_SYSTEM ? strerror(errno) : gai_strerror(rc);
        return 0;
    }
    for (const struct addrinfo *a = found; a != NULL && count < max; a = a->ai_next) {
        if (address_from(&out[count], a->ai_addr, a->ai_addrlen))
            count++;
    }
    freeaddrinfo(found);
    if (count == 0)
        *error = "the name has no address";
    return count;
}

/* Copied out: sockaddr_storage may not be read through another type's pointer. */
static struct sockaddr_in address_v4(const struct address *a)
{
    struct sockaddr_in v4;

    memcpy(&v4, &a->storage, sizeof v4);
    return v4;
}

static struct sockaddr_in6 address_v6(const struct address *a)
{
    struct sockaddr_in6 v6;

    memcpy(&v6, &a->storage, sizeof v6);
    return v6;
}

static bool address_is_v4_mapped(const uint8_t octets[16])
{
    static const uint8_t prefix[12] = {[10] = 0xff, [11] = 0xff};

    return memcmp(octets, prefix, sizeof prefix) == 0;
}

uint16_t address_port(const struct address *a)
{
    if (a->storage.ss_family == AF_INET6)
        return ntohs(address_v6(a).sin6_port);
    if (a->storage.ss_family == AF_INET)
        return ntohs(address_v4(a).sin_port);
    return 0;
}

void address_octets(uint8_t out[16], const struct address *a)
{
    memset(out, 0, 16);
    if (a->storage.ss_family == AF_INET6) {
        const struct sockaddr_in6 v6 = address_v6(a);
        memcpy(out, &v6.sin6_addr, 16);
    } else if (a->storage.ss_family == AF_INET) {
        const struct sockaddr_in v4 = address_v4(a);
        out[10] = out[11] = 0xff;
        memcpy(out + 12, &v4.sin_addr, 4);
    }
}

static bool address_shown_as_v4(const struct address *a, const uint8_t octets[16])
{
    return a->storage.ss_family == AF_INET ||
           (a->storage.ss_family == AF_INET6 && address_is_v4_mapped(octets));
}

void address_host(char out[ADDRESS_TEXT_MAX], const struct address *a)
{
    uint8_t octets[16];

    address_octets(octets, a);
    if (address_shown_as_v4(a, octets))
        inet_ntop(AF_INET, octets + 12, out, ADDRESS_TEXT_MAX);
    else if (a->storage.ss_family == AF_INET6)
        inet_ntop(AF_INET6, octets, out, ADDRESS_TEXT_MAX);
    else
        snprintf(out, ADDRESS_TEXT_MAX, "unknown");
}

void address_text(char out[ADDRESS_TEXT_MAX], const struct address *a)
{
    char host[ADDRESS_TEXT_MAX];
    uint8_t octets[16];

    address_octets(octets, a);
    address_host(host, a);
    if (a->storage.ss_family == AF_INET6 && !address_shown_as_v4(a, octets))
        snprintf(out, ADDRESS_TEXT_MAX, "[%.45s]:%u", host, (unsigned)address_port(a));
    else
        snprintf(out, ADDRESS_TEXT_MAX, "%.45s:%u", host, (unsigned)address_port(a));
}

static void address_from_four(struct address *out, const uint8_t octets[4], uint16_t port)
{
    struct sockaddr_in *in = (struct sockaddr_in *)&out->storage;

    in->sin_family = AF_INET;
    in->sin_port = htons(port);
    memcpy(&in->sin_addr, octets, 4);
    out->len = sizeof *in;
}

static void address_from_six(struct address *out, const uint8_t octets[16], uint16_t port)
{
    struct sockaddr_in6 *in = (struct sockaddr_in6 *)&out->storage;

    in->sin6_family = AF_INET6;
    in->sin6_port = htons(port);
    memcpy(&in->sin6_addr, octets, 16);
    out->len = sizeof *in;
}

void address_from_octets(struct address *out, const uint8_t octets[16], uint16_t port)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

    *out = (struct address){.len = 0};
    if (memcmp(octets, mapped, sizeof mapped) == 0)
        address_from_four(out, octets + 12, port);
    else
        address_from_six(out, octets, port);
}
