/* Socket addresses: from the configuration, to text, to the 16 octets that the vault counts by. */
#ifndef VESTIBULE_PROXY_ADDRESS_H
#define VESTIBULE_PROXY_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#define ADDRESS_TEXT_MAX 64 /* "[2001:db8::1]:65535", without scope */

struct address {
    socklen_t len;
    struct sockaddr_storage storage;
};

/* Resolves host and port; blocks, so the vault alone does it, at start and reload. Returns how many
 * of at most `max` were found; 0: *error is a sentence's worth of reason. */
size_t address_resolve(struct address *out, size_t max, const char *host, uint16_t port,
                       const char **error);

/* "192.0.2.1" or "2001:db8::1"; a v4-mapped address as IPv4. */
void address_host(char out[ADDRESS_TEXT_MAX], const struct address *a);
/* With the port: "192.0.2.1:25", "[2001:db8::1]:25". */
void address_text(char out[ADDRESS_TEXT_MAX], const struct address *a);
void address_octets(uint8_t out[16], const struct address *a);
uint16_t address_port(const struct address *a); /* host order */

/* IPv4 where the octets are v4-mapped. */
void address_from_octets(struct address *out, const uint8_t octets[16], uint16_t port);

#endif
