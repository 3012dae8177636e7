/* A connection to a server of its own, with TLS by BoringSSL, for those who may wait where they
 * stand. A driver. */
#ifndef VESTIBULE_AUTH_DIAL_H
#define VESTIBULE_AUTH_DIAL_H

#include <stdbool.h>
#include <stdint.h>

#define DIAL_ERROR_MAX 512
#define DIAL_UNTIL_MAX 16

struct ssl_st;
struct ssl_ctx_st;

/* Zero: not connected. */
struct dial {
    struct ssl_ctx_st *context;
    struct ssl_st *ssl;
};

/* The first address of the name that answers; every later wait for a byte ends after `patience_ms`.
 * -1 with half a sentence. */
int dial_connect(const char *host, uint16_t port, uint32_t connect_ms, uint32_t patience_ms,
                 char error[DIAL_ERROR_MAX]);

/* TLS on a connection whose other side must be `host`, by the authorities in `ca`. False with half
 * a sentence, in which a wrong certificate is named; nothing but TLS was said then. The socket
 * stays the caller's. `until` is the certificate's last day. */
bool dial_secure(struct dial *d, int fd, const char *host, const char *ca,
                 char until[DIAL_UNTIL_MAX], char error[DIAL_ERROR_MAX]);

/* As read and write: -1 with errno, 0 at the end. */
long dial_read(struct dial *d, void *octets, unsigned long len);
long dial_write(struct dial *d, const void *octets, unsigned long len);
bool dial_pending(const struct dial *d); /* decrypted, not read yet */

void dial_free(struct dial *d);

#endif
