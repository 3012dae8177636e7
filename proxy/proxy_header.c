#include "proxy/proxy_header.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "proxy/network.h"

static const uint8_t proxy_v2_signature[12] = {'\r', '\n', '\r', '\n', '\0', '\r',
                                               '\n', 'Q',  'U',  'I',  'T',  '\n'};

enum { PROXY_V1_MAX = 107, PROXY_V2_HEAD = 16, PROXY_V2_LENGTH_MAX = 536 };

/* Family and transport, as far as a connection of TCP can have them. */
enum {
    PROXY_V2_UNSPEC = 0x00,
    PROXY_V2_TCP4 = 0x11,
    PROXY_V2_TCP6 = 0x21,
    PROXY_V2_UNIX_STREAM = 0x31,
    PROXY_V2_UNIX_DATAGRAM = 0x32,
};

enum { PROXY_V2_LOCAL_COMMAND = 0x20, PROXY_V2_PROXY_COMMAND = 0x21 };

/* What is still to be read. Parts answer PROXY_HEADER when they are whole. */
struct proxy_input {
    const uint8_t *at;
    size_t left;
};

static enum proxy_header_status proxy_take(struct proxy_input *in, const void *what, size_t len)
{
    const size_t seen = in->left < len ? in->left : len;

    if (memcmp(in->at, what, seen) != 0)
        return PROXY_BAD;
    in->at += seen;
    in->left -= seen;
    return seen == len ? PROXY_HEADER : PROXY_MORE;
}

static enum proxy_header_status proxy_take_text(struct proxy_input *in, const char *what)
{
    return proxy_take(in, what, strlen(what));
}

/* Decimal, no leading zero. Whole when something else follows. */
static enum proxy_header_status proxy_take_number(unsigned *out, struct proxy_input *in,
                                                  unsigned min, unsigned max)
{
    unsigned value = 0;
    size_t digits = 0;

    for (; in->left > 0 && *in->at >= '0' && *in->at <= '9'; in->at++, in->left--, digits++) {
        if (digits > 0 && value == 0)
            return PROXY_BAD;
        value = 10 * value + (unsigned)(*in->at - '0');
        if (value > max || value < min)
            return PROXY_BAD;
    }
    *out = value;
    if (in->left == 0)
        return PROXY_MORE;
    return digits > 0 ? PROXY_HEADER : PROXY_BAD;
}

static enum proxy_header_status proxy_take_ipv4(uint8_t out[16], struct proxy_input *in)
{
    memset(out, 0, 16);
    out[10] = out[11] = 0xff;
    for (unsigned i = 12; i < 16; i++) {
        unsigned number;
        enum proxy_header_status status = proxy_take_number(&number, in, 0, 255);

        if (status == PROXY_HEADER)
            status = proxy_take_text(in, i < 15 ? "." : " ");
        if (status != PROXY_HEADER)
            return status;
        out[i] = (uint8_t)number;
    }
    return PROXY_HEADER;
}

static bool proxy_ipv6_octet(uint8_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F') || c == ':' ||
           c == '.';
}

static enum proxy_header_status proxy_take_ipv6(uint8_t out[16], struct proxy_input *in)
{
    char text[INET6_ADDRSTRLEN];
    size_t len = 0;

    while (in->left > 0 && proxy_ipv6_octet(*in->at)) {
        if (len == sizeof text - 1)
            return PROXY_BAD;
        text[len++] = (char)*in->at;
        in->at++;
        in->left--;
    }
    text[len] = '\0';
    if (in->left == 0)
        return PROXY_MORE;
    return inet_pton(AF_INET6, text, out) == 1 ? proxy_take_text(in, " ") : PROXY_BAD;
}

static enum proxy_header_status proxy_take_port(uint16_t *out, struct proxy_input *in,
                                                const char *end)
{
    unsigned number;
    enum proxy_header_status status = proxy_take_number(&number, in, 1, 65535);

    if (status == PROXY_HEADER)
        status = proxy_take_text(in, end);
    if (status == PROXY_HEADER)
        *out = (uint16_t)number;
    return status;
}

static enum proxy_header_status proxy_take_addresses(
    struct proxy_header *h, struct proxy_input *in,
    enum proxy_header_status (*take)(uint8_t out[16], struct proxy_input *in))
{
    enum proxy_header_status status = take(h->source, in);

    if (status == PROXY_HEADER)
        status = take(h->destination, in);
    if (status == PROXY_HEADER)
        status = proxy_take_port(&h->source_port, in, " ");
    if (status == PROXY_HEADER)
        status = proxy_take_port(&h->destination_port, in, "\r\n");
    return status;
}

/* Whatever stands behind UNKNOWN is nobody's business, up to the end of the line. */
static enum proxy_header_status proxy_take_unknown(struct proxy_header *h, struct proxy_input *in)
{
    h->local = true;
    if (in->left > 0 && *in->at == ' ') {
        while (in->left > 0 && *in->at >= 0x20 && *in->at < 0x7f) {
            in->at++;
            in->left--;
        }
    }
    return proxy_take_text(in, "\r\n");
}

static enum proxy_header_status proxy_take_v1(struct proxy_header *h, struct proxy_input *in)
{
    enum proxy_header_status status = proxy_take_text(in, "PROXY ");

    if (status != PROXY_HEADER)
        return status;
    if (in->left > 0 && *in->at == 'U') {
        status = proxy_take_text(in, "UNKNOWN");
        return status == PROXY_HEADER ? proxy_take_unknown(h, in) : status;
    }
    status = proxy_take_text(in, "TCP");
    if (status != PROXY_HEADER)
        return status;
    if (in->left > 0 && *in->at == '4') {
        status = proxy_take_text(in, "4 ");
        return status == PROXY_HEADER ? proxy_take_addresses(h, in, proxy_take_ipv4) : status;
    }
    status = proxy_take_text(in, "6 ");
    return status == PROXY_HEADER ? proxy_take_addresses(h, in, proxy_take_ipv6) : status;
}

static enum proxy_header_status proxy_parse_v1(struct proxy_header *h, size_t *used,
                                               const uint8_t *in, size_t len)
{
    struct proxy_input input = {in, len < PROXY_V1_MAX ? len : PROXY_V1_MAX};
    const enum proxy_header_status status = proxy_take_v1(h, &input);

    *used = (size_t)(input.at - in);
    return status == PROXY_MORE && len >= PROXY_V1_MAX ? PROXY_BAD : status;
}

/* How many octets of addresses a family has. False: there is no such family over TCP. */
static bool proxy_v2_addresses(size_t *out, uint8_t family)
{
    switch (family) {
    case PROXY_V2_UNSPEC:
        *out = 0;
        return true;
    case PROXY_V2_TCP4:
        *out = 12;
        return true;
    case PROXY_V2_TCP6:
        *out = 36;
        return true;
    case PROXY_V2_UNIX_STREAM:
    case PROXY_V2_UNIX_DATAGRAM:
        *out = 216;
        return true;
    default:
        return false;
    }
}

static uint16_t proxy_get_16(const uint8_t *in)
{
    return (uint16_t)(in[0] << 8 | in[1]);
}

static bool proxy_v2_read(struct proxy_header *h, const uint8_t *in, bool v4)
{
    const size_t size = v4 ? 4 : 16;
    const uint8_t *ports = in + 2 * size;

    if (v4) {
        h->source[10] = h->source[11] = 0xff;
        h->destination[10] = h->destination[11] = 0xff;
    }
    memcpy(h->source + 16 - size, in, size);
    memcpy(h->destination + 16 - size, in + size, size);
    h->source_port = proxy_get_16(ports);
    h->destination_port = proxy_get_16(ports + 2);
    return h->source_port > 0 && h->destination_port > 0;
}

/* Type, length, value, to the last octet of the header. */
static enum proxy_header_status proxy_v2_extras(const uint8_t *in, size_t len, size_t at,
                                                size_t end)
{
    while (at < end) {
        if (end - at < 3)
            return PROXY_BAD;
        if (len < at + 3)
            return PROXY_MORE;
        at += 3U + proxy_get_16(in + at + 1);
    }
    if (at > end)
        return PROXY_BAD;
    return len < end ? PROXY_MORE : PROXY_HEADER;
}

/* All behind the head. */
static enum proxy_header_status proxy_v2_body(struct proxy_header *h, const uint8_t *in, size_t len,
                                              size_t end)
{
    const uint8_t family = in[13];
    size_t addresses = 0;

    h->local = in[12] == PROXY_V2_LOCAL_COMMAND || family == PROXY_V2_UNSPEC;
    /* what LOCAL brings along is to be skipped unread, whatever it is */
    if (h->local)
        return len < end ? PROXY_MORE : PROXY_HEADER;
    proxy_v2_addresses(&addresses, family);
    if (end - PROXY_V2_HEAD < addresses)
        return PROXY_BAD;
    if (len < PROXY_V2_HEAD + addresses)
        return PROXY_MORE;
    if (family == PROXY_V2_TCP4 || family == PROXY_V2_TCP6) {
        if (!proxy_v2_read(h, in + PROXY_V2_HEAD, family == PROXY_V2_TCP4))
            return PROXY_BAD;
    } else {
        h->local = true;
    }
    return proxy_v2_extras(in, len, PROXY_V2_HEAD + addresses, end);
}

static enum proxy_header_status proxy_parse_v2(struct proxy_header *h, size_t *used,
                                               const uint8_t *in, size_t len)
{
    struct proxy_input input = {in, len};
    const enum proxy_header_status status =
        proxy_take(&input, proxy_v2_signature, sizeof proxy_v2_signature);
    size_t addresses;

    if (status != PROXY_HEADER || len < 13)
        return status == PROXY_BAD ? PROXY_BAD : PROXY_MORE;
    if (in[12] != PROXY_V2_LOCAL_COMMAND && in[12] != PROXY_V2_PROXY_COMMAND)
        return PROXY_BAD;
    if (len >= 14 && in[12] == PROXY_V2_PROXY_COMMAND && !proxy_v2_addresses(&addresses, in[13]))
        return PROXY_BAD;
    if (len >= 15 && in[14] > PROXY_V2_LENGTH_MAX >> 8)
        return PROXY_BAD;
    if (len < PROXY_V2_HEAD)
        return PROXY_MORE;
    *used = PROXY_V2_HEAD + (size_t)proxy_get_16(in + 14);
    if (*used > PROXY_V2_HEAD + PROXY_V2_LENGTH_MAX)
        return PROXY_BAD;
    return proxy_v2_body(h, in, len, *used);
}

enum proxy_header_status proxy_header_parse(struct proxy_header *out, size_t *used,
                                            const uint8_t *in, size_t len)
{
    struct proxy_header h = {.local = false};
    size_t n = 0;
    enum proxy_header_status status;

    if (len == 0)
        return PROXY_MORE;
    status = in[0] == 'P' ? proxy_parse_v1(&h, &n, in, len) : proxy_parse_v2(&h, &n, in, len);
    if (status != PROXY_HEADER)
        return status;
    *out = h;
    *used = n;
    return PROXY_HEADER;
}

static size_t proxy_write_v1(uint8_t out[PROXY_HEADER_WRITE_MAX], const uint8_t source[16],
                             uint16_t source_port, const uint8_t destination[16],
                             uint16_t destination_port, bool v4)
{
    const int family = v4 ? AF_INET : AF_INET6;
    const size_t skipped = v4 ? 12 : 0;
    char from[INET6_ADDRSTRLEN];
    char to[INET6_ADDRSTRLEN];
    int len;

    inet_ntop(family, source + skipped, from, sizeof from);
    inet_ntop(family, destination + skipped, to, sizeof to);
    len = snprintf((char *)out, PROXY_HEADER_WRITE_MAX, "PROXY TCP%c %s %s %u %u\r\n",
                   v4 ? '4' : '6', from, to, (unsigned)source_port, (unsigned)destination_port);
    return (size_t)len;
}

static size_t proxy_write_v2_head(uint8_t *out, uint8_t command, uint8_t family, size_t len)
{
    memcpy(out, proxy_v2_signature, sizeof proxy_v2_signature);
    out[12] = command;
    out[13] = family;
    out[14] = (uint8_t)(len >> 8);
    out[15] = (uint8_t)len;
    return PROXY_V2_HEAD;
}

static uint8_t *proxy_put(uint8_t *out, const uint8_t *from, size_t len)
{
    memcpy(out, from, len);
    return out + len;
}

size_t proxy_header_write(uint8_t out[PROXY_HEADER_WRITE_MAX], enum proxy_header_version version,
                          const uint8_t source[16], uint16_t source_port,
                          const uint8_t destination[16], uint16_t destination_port)
{
    const bool v4 = network_is_v4(source) && network_is_v4(destination);
    const size_t size = v4 ? 4 : 16;
    const uint8_t ports[4] = {(uint8_t)(source_port >> 8), (uint8_t)source_port,
                              (uint8_t)(destination_port >> 8), (uint8_t)destination_port};
    uint8_t *at = out;

    if (version == PROXY_V1)
        return proxy_write_v1(out, source, source_port, destination, destination_port, v4);
    at += proxy_write_v2_head(out, PROXY_V2_PROXY_COMMAND, v4 ? PROXY_V2_TCP4 : PROXY_V2_TCP6,
                              2 * size + sizeof ports);
    at = proxy_put(at, source + 16 - size, size);
    at = proxy_put(at, destination + 16 - size, size);
    at = proxy_put(at, ports, sizeof ports);
    return (size_t)(at - out);
}

size_t proxy_header_write_local(uint8_t out[PROXY_HEADER_WRITE_MAX],
                                enum proxy_header_version version)
{
    static const char unknown[] = "PROXY UNKNOWN\r\n";

    if (version == PROXY_V2)
        return proxy_write_v2_head(out, PROXY_V2_LOCAL_COMMAND, PROXY_V2_UNSPEC, 0);
    memcpy(out, unknown, strlen(unknown));
    return strlen(unknown);
}
