/* The header in front of a connection that says who the client is: PROXY protocol, versions 1 and 2
 * (haproxy's proxy-protocol.txt). Pure. Addresses are 16 octets, IPv4 as v4-mapped.
 *
 * Read strictly: v1 in at most 107 octets, decimal numbers without leading zeros, ports from 1 to
 * 65535; v2 with at most 536 octets behind its length, TCP only. */
#ifndef VESTIBULE_PROXY_PROXY_HEADER_H
#define VESTIBULE_PROXY_PROXY_HEADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROXY_HEADER_MAX 552       /* the longest that is read: 16 octets and 536 */
#define PROXY_HEADER_WRITE_MAX 108 /* the longest that is written */

struct proxy_header {
    bool
        local; /* LOCAL, UNKNOWN, or no address of a network: the real peer counts, the rest is 0 */
    uint8_t source[16];
    uint8_t destination[16];
    uint16_t source_port; /* host order */
    uint16_t destination_port;
};

enum proxy_header_status {
    PROXY_MORE,   /* right so far */
    PROXY_HEADER, /* whole; *used octets belong to it, what follows is the client's */
    PROXY_BAD,    /* an octet that cannot be right: close */
};

enum proxy_header_version { PROXY_V1 = 1, PROXY_V2 = 2 };

/* Looks at all that has come so far, from its first octet; keeps nothing. *out and *used are set
 * with PROXY_HEADER only. PROXY_MORE never comes with PROXY_HEADER_MAX octets or more. */
enum proxy_header_status proxy_header_parse(struct proxy_header *out, size_t *used,
                                            const uint8_t *in, size_t len);

/* Returns the header's length. Two IPv4 addresses make a header of IPv4, everything else one of
 * IPv6. */
size_t proxy_header_write(uint8_t out[PROXY_HEADER_WRITE_MAX], enum proxy_header_version version,
                          const uint8_t source[16], uint16_t source_port,
                          const uint8_t destination[16], uint16_t destination_port);

/* For connections that nobody asked for, such as a probe: LOCAL, in version 1 UNKNOWN. */
size_t proxy_header_write_local(uint8_t out[PROXY_HEADER_WRITE_MAX],
                                enum proxy_header_version version);

#endif
