/* Networks and the addresses in them, as 16 octets, IPv4 as v4-mapped (RFC 4291 2.5.5.2). Pure.
 *
 * Bits count from the front of the 16 octets: 192.0.2.0/24 is 120. A network of fewer than 96 bits
 * is one of IPv6 and holds no IPv4 address: `::/0` does not mean the other family as well. */
#ifndef VESTIBULE_PROXY_NETWORK_H
#define VESTIBULE_PROXY_NETWORK_H

#include <stdbool.h>
#include <stdint.h>

bool network_is_v4(const uint8_t address[16]);

/* Bits of the network behind `bits` are ignored; more than 128 hold nobody. */
bool network_contains(const uint8_t network[16], uint8_t bits, const uint8_t address[16]);

struct conf_networks;

/* In one of them? */
bool network_listed(const struct conf_networks *networks, const uint8_t address[16]);

/* The address with all behind `bits` cleared. */
void network_of(uint8_t out[16], const uint8_t address[16], uint8_t bits);

/* What counts as one client: an IPv4 address, a /64 of IPv6. */
void network_of_client(uint8_t out[16], const uint8_t address[16]);

/* ::1 and 127.0.0.0/8. */
bool network_is_loopback(const uint8_t address[16]);

#endif
