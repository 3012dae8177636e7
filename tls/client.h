/* The smallest TLS client: enough to ask a service of our own whether it answers, and what it
 * takes. A driver: it reads and writes a connected socket, and blocks where the socket does. The
 * certificate is not verified: it is our own service. A peer that is gone raises SIGPIPE unless the
 * caller ignores it. */
#ifndef VESTIBULE_TLS_CLIENT_H
#define VESTIBULE_TLS_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tls_client;

enum tls_client_status {
    TLS_CLIENT_OK,
    TLS_CLIENT_WANT_READ,  /* the socket would block: poll, then the same call again */
    TLS_CLIENT_WANT_WRITE, /* likewise */
    TLS_CLIENT_CLOSED,     /* the peer said close_notify or ended the connection */
    TLS_CLIENT_FAILED,
};

struct tls_client_settings {
    uint16_t min_version; /* 0x0301 to 0x0304; 0: the library's */
    uint16_t max_version;
    const char *alpn; /* one protocol to offer, of at most 255 octets; NULL: none */
};

/* NULL: out of memory, or settings that the library does not know. The socket stays the caller's.
 */
struct tls_client *tls_client_new(int fd, const struct tls_client_settings *settings);
void tls_client_free(struct tls_client *c); /* says close_notify if that goes at once */

enum tls_client_status tls_client_handshake(struct tls_client *c);
/* OK: *got > 0. */
enum tls_client_status tls_client_read(struct tls_client *c, void *out, size_t cap, size_t *got);
/* All of it, in one record if it fits. */
enum tls_client_status tls_client_write(struct tls_client *c, const void *in, size_t len);

/* Decrypted octets wait inside, so that a poll would wait in vain. */
bool tls_client_pending(const struct tls_client *c);

/* The fatal alert with which the peer ended it (RFC 8446 6); 0: none. */
unsigned tls_client_alert(const struct tls_client *c);

#endif
