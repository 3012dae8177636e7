/* The smallest TLS client: enough to ask a service of our own whether it answers. A driver: it
 * blocks on the socket. */
#ifndef VESTIBULE_TLS_CLIENT_H
#define VESTIBULE_TLS_CLIENT_H

#include <stdbool.h>
#include <stddef.h>

/* Shakes hands on a connected, blocking socket (its SO_RCVTIMEO and SO_SNDTIMEO are the limits) and
 * reads the first line; NUL at the end, without CR LF. The certificate is not verified: it is our
 * own service. False: no handshake or no line. */
bool tls_client_first_line(int fd, char *line, size_t cap);

#endif
