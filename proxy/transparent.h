/* Connections to an MTA that come from the client's own address: identity transparent. The vault
 * makes the socket, since only it has the capability; the front connects it. */
#ifndef VESTIBULE_PROXY_TRANSPARENT_H
#define VESTIBULE_PROXY_TRANSPARENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/address.h"

/* A non-blocking TCP socket bound to this address (IPv4 where it is v4-mapped), whoever's it is;
 * the port is chosen when it connects. -1 with errno. */
int transparent_socket(const uint8_t source[16]);

/* The first of the MTA's addresses that a client with this one can be shown to: of the same family.
 * False: there is none. */
bool transparent_target(struct address *out, const struct address *mta, size_t count,
                        const uint8_t source[16]);

/* "IPv4" or "IPv6". */
const char *transparent_family(const uint8_t source[16]);

#endif
