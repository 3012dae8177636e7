/* Why a server's certificate was not trusted, in words that help: TLS libraries say no more than
 * that it was not.
 *
 * The verdict is the library's. This reads the certificate, which is anybody's, afterwards. Pure
 * but for `now`, which comes in. */
#ifndef VESTIBULE_AUTH_PEER_CERTIFICATE_H
#define VESTIBULE_AUTH_PEER_CERTIFICATE_H

#include <stddef.h>
#include <stdint.h>
#include <time.h>

#define PEER_CERTIFICATE_FAULT_MAX 448
#define PEER_CERTIFICATE_DATE_MAX 16

/* Half a sentence: "its certificate expired on 2026-01-31". Printable ASCII. `host` is a name or an
 * address. */
void peer_certificate_fault(char out[PEER_CERTIFICATE_FAULT_MAX], const uint8_t *der, size_t len,
                            const char *host, time_t now);

/* Its last day, "2026-01-31"; "" when it cannot be read. */
void peer_certificate_until(char out[PEER_CERTIFICATE_DATE_MAX], const uint8_t *der, size_t len);

#endif
