#include "proxy/check_door.h"

#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "proxy/network.h"
#include "proxy/proxy_header.h"

#define DIAL_MS 3000
/* For replies that nobody may owe: over loopback they come at once or not at all. */
#define QUIET_MS 300
#define CLAIMED_PORT 40000
#define EHLO_NAME "vestibule-check.example.org"

enum check_stage check_door_stage(const struct conf_listener *l)
{
    return l->tls == CONF_TLS_NONE ? CHECK_CLEAR : CHECK_INSIDE;
}

/* Copied: sockaddr_storage may not be written through another type's pointer. */
void check_door_address(struct address *out, const struct address *listening)
{
    *out = *listening;
    if (listening->storage.ss_family == AF_INET) {
        struct sockaddr_in four;
        memcpy(&four, &listening->storage, sizeof four);
        if (four.sin_addr.s_addr == htonl(INADDR_ANY))
            four.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        memcpy(&out->storage, &four, sizeof four);
    } else if (listening->storage.ss_family == AF_INET6) {
        struct sockaddr_in6 six;
        memcpy(&six, &listening->storage, sizeof six);
        if (IN6_IS_ADDR_UNSPECIFIED(&six.sin6_addr))
            six.sin6_addr = in6addr_loopback;
        memcpy(&out->storage, &six, sizeof six);
    }
}

static void own_address(uint8_t out[16], const struct check_talk *t)
{
    struct address own = {.len = sizeof own.storage};
    memset(out, 0, 16);
    if (getsockname(t->fd, (struct sockaddr *)&own.storage, &own.len) == 0)
        address_octets(out, &own);
}

/* 192.0.2.1 and 2001:db8::1 are nobody (RFC 5737, RFC 3849). */
static void stranger(uint8_t out[16], const uint8_t like[16])
{
    static const uint8_t four[16] = {[10] = 0xff, [11] = 0xff, [12] = 192, [14] = 2, [15] = 1};
    static const uint8_t six[16] = {0x20, 0x01, 0x0d, 0xb8, [15] = 1};
    memcpy(out, network_is_v4(like) ? four : six, 16);
}

bool check_door_knock(struct check_talk *t, const struct check_door *d)
{
    uint8_t header[PROXY_HEADER_WRITE_MAX], own[16], claimed[16], to[16];
    if (!check_talk_dial(t, &d->at, DIAL_MS))
        return false;
    own_address(own, t);
    if (!network_listed(&d->listener->proxy_protocol, own))
        return true;
    stranger(claimed, own);
    address_octets(to, &d->at);
    size_t len = proxy_header_write(header, PROXY_V1, claimed, CLAIMED_PORT, to, CLAIMED_PORT);
    return check_talk_send(t, header, len);
}

bool check_door_trusts(const struct check_talk *t, const struct check_door *d)
{
    uint8_t source[16], own[16];
    own_address(own, t);
    memcpy(source, own, sizeof source);
    if (network_listed(&d->listener->proxy_protocol, own))
        stranger(source, own);
    return network_listed(&d->listener->trusted, source);
}

static bool start_tls(struct check_talk *t, const struct tls_client_settings *settings)
{
    struct reply reply;
    return check_talk_say(t, "EHLO", EHLO_NAME) && check_talk_expect(t, &reply, 250) &&
           check_talk_say(t, "STARTTLS", "") && check_talk_expect(t, &reply, 220) &&
           check_talk_tls(t, settings);
}

/* A server that took it for a command has answered that, too. */
static bool forget_answers(struct check_talk *t)
{
    struct reply reply;
    while (check_talk_reply_within(t, &reply, QUIET_MS))
        ;
    return !t->gone;
}

bool check_door_enter(struct check_talk *t, const struct check_door *d, enum check_stage stage,
                      const char *first, const struct tls_client_settings *settings)
{
    static const struct tls_client_settings usual = {0};
    const bool implicit = d->listener->tls == CONF_IMPLICIT;
    struct reply reply;
    if (settings == NULL)
        settings = &usual;
    if (!check_door_knock(t, d) || (first != NULL && !check_talk_send(t, first, strlen(first))) ||
        (implicit && !check_talk_tls(t, settings)) || !check_talk_expect(t, &reply, 220) ||
        (first != NULL && !forget_answers(t)))
        return false;
    return implicit || stage == CHECK_CLEAR || start_tls(t, settings);
}
