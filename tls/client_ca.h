/* The authorities whose certificates clients may show, and whom such a certificate stands for.
 *
 * The vault loads them from a PEM file; the front gets them as DER. Immutable and safe to use from
 * several threads once made. */
#ifndef VESTIBULE_TLS_CLIENT_CA_H
#define VESTIBULE_TLS_CLIENT_CA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tls/certificate.h"

#define CLIENT_CA_MAX 32        /* authorities in one file */
#define CLIENT_CA_LOGIN_MAX 255 /* octets; longer is no login */

struct client_ca;

/* Each certificate of the file is an anchor, root or not; all of them must be authorities. NULL
 * with one sentence that names the file and what to do. */
struct client_ca *client_ca_load(const char *path, char error[CERTIFICATE_ERROR_MAX]);

/* Copies. NULL: not certificates of authorities, or none, or too many. */
struct client_ca *client_ca_from_der(const uint8_t *const *der, const size_t *len, size_t count);
void client_ca_free(struct client_ca *ca);

size_t client_ca_count(const struct client_ca *ca);
const uint8_t *client_ca_der(const struct client_ca *ca, size_t index, size_t *len);

#endif
