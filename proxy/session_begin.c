#include "proxy/session_state.h"

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "proxy/crowd.h"
#include "proxy/limits.h"
#include "proxy/network.h"
#include "proxy/proxy_header.h"
#include "proxy/socket.h"

/* A client that speaks before the banner did not wait for us: an attack that bets on our buffers
 * (or TLS, or HTTP). */
static bool spoke_first(const struct session *s)
{
    char first;
    if (buf_len(&s->wire_in) > 0)
        return buf_data(&s->wire_in)[0] != 0x16;
    return recv(s->fd, &first, 1, MSG_PEEK | MSG_DONTWAIT) == 1 && first != 0x16;
}

/* One line, if the client is in plaintext yet, and the end. */
static void turn_away(struct session *s, const char *reason, const char *reply)
{
    session_fail(s, reason);
    buf_clear(&s->to_client);
    buf_clear(&s->wire_in);
    if (s->port->conf->tls != CONF_IMPLICIT)
        (void)buf_text(&s->to_client, reply);
    session_enter(s, PHASE_FLUSH, LIMIT_CLOSE_MS);
}

static void begin_plain(struct session *s)
{
    s->phase = PHASE_TALK;
    s->waiting.unit = UINT32_MAX;
    if (spoke_first(s)) {
        session_log_event(s, LOG_LEVEL_WARNING, "injection",
                          "octets came before the banner; closed");
        turn_away(s, "octets before the banner", "554 5.5.0 Octets before the banner\r\n");
        return;
    }
    (void)buf_append(&s->from_client, buf_data(&s->wire_in), buf_len(&s->wire_in));
    buf_clear(&s->wire_in);
}

/* Whoever is on this host could do worse than connect; health checks and load scripts come from
 * there. */
static bool let_in(struct session *s, const uint8_t address[16])
{
    struct worker *w = s->worker;
    if (network_is_loopback(address))
        return true;
    enum crowd_answer answer =
        crowd_enter(w->front->crowd, w, s->number, address, uv_now(&w->loop));
    if (answer == CROWD_COME_IN)
        return true;
    bool many = answer == CROWD_TOO_MANY;
    session_log_event(s, LOG_LEVEL_WARNING, "client_limit",
                      many ? "the client has sessions_per_client sessions already"
                           : "the client connects more often than connects_per_client");
    turn_away(s, many ? "sessions_per_client" : "connects_per_client",
              "421 4.7.0 Too many connections from your address, try again later\r\n");
    return false;
}

void session_begin(struct session *s)
{
    uint8_t address[16];
    address_octets(address, &s->from);
    address_host(s->address, &s->from);
    s->peer.trusted = network_listed(&s->port->conf->trusted, address);
    s->peer.port = address_port(&s->from);
    address_host(s->local, &s->to);
    if (!let_in(s, address))
        return;
    if (s->port->conf->tls == CONF_IMPLICIT)
        (void)session_start_tls(s);
    else
        begin_plain(s);
}

void session_arrive(struct session *s)
{
    uint8_t address[16];
    if (s->port->conf->proxy_protocol.count == 0) {
        session_begin(s);
        return;
    }
    address_octets(address, &s->from);
    if (network_listed(&s->port->conf->proxy_protocol, address)) {
        session_enter(s, PHASE_PROXY, LIMIT_PROXY_MS);
        return;
    }
    session_log_event(
        s, LOG_LEVEL_WARNING, "proxy_header",
        "this listener is for the proxies of proxy_protocol; the connection came from elsewhere");
    session_fail(s, "not a proxy");
    session_close(s);
}

static void introduce(struct session *s, const struct proxy_header *header)
{
    if (!header->local) {
        address_from_octets(&s->from, header->source, header->source_port);
        address_from_octets(&s->to, header->destination, header->destination_port);
    }
    session_begin(s);
}

static void read_header(struct session *s)
{
    struct proxy_header header;
    size_t used = 0;
    switch (proxy_header_parse(&header, &used, buf_data(&s->wire_in), buf_len(&s->wire_in))) {
    case PROXY_MORE:
        return;
    case PROXY_HEADER:
        buf_consume(&s->wire_in, used);
        introduce(s, &header);
        return;
    case PROXY_BAD:
        break;
    }
    session_log_event(
        s, LOG_LEVEL_WARNING, "proxy_header",
        "the connection did not begin with a PROXY header; is the proxy set to send one?");
    session_fail(s, "no PROXY header");
    session_close(s);
}

bool session_take_header(struct session *s, bool *broken)
{
    if (!s->readable)
        return false;
    enum socket_status status =
        socket_take(s->fd, &s->wire_in, PROXY_HEADER_MAX - buf_len(&s->wire_in), &s->readable);
    if (status == SOCKET_ENDED || status == SOCKET_FAILED) {
        session_fail(s, "client gone before the PROXY header");
        *broken = true;
        return false;
    }
    if (status == SOCKET_MOVED)
        read_header(s);
    return status == SOCKET_MOVED && s->phase != PHASE_CLOSED;
}

static void own_address(struct session *s)
{
    s->to.len = sizeof s->to.storage;
    if (getsockname(s->fd, (struct sockaddr *)&s->to.storage, &s->to.len) != 0)
        s->to = s->from;
}

void session_name(struct session *s)
{
    snprintf(s->id, sizeof s->id, "%08llx%02x%04x", (unsigned long long)time(NULL) & 0xffffffffULL,
             s->worker->index & 0xffU, s->worker->serial & 0xffffU);
    address_host(s->address, &s->from);
    own_address(s);
    s->peer = (struct smtp_peer){.address = s->address,
                                 .session = s->id,
                                 .local = s->local,
                                 .mechanisms = &s->worker->mechanisms};
}

size_t session_introduction(const struct session *s, uint8_t out[PROXY_HEADER_WRITE_MAX])
{
    enum conf_identity identity = s->port->upstream->identity;
    uint8_t source[16], destination[16];
    if (identity != CONF_IDENTITY_PROXY_V1 && identity != CONF_IDENTITY_PROXY_V2)
        return 0;
    address_octets(source, &s->from);
    address_octets(destination, &s->to);
    return proxy_header_write(out, identity == CONF_IDENTITY_PROXY_V1 ? PROXY_V1 : PROXY_V2, source,
                              address_port(&s->from), destination, address_port(&s->to));
}
