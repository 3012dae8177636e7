/* What the engine knows of client certificates beyond the contract in tls/client_ca.h. */
#ifndef VESTIBULE_TLS_CLIENT_CA_PARTS_H
#define VESTIBULE_TLS_CLIENT_CA_PARTS_H

#include <openssl/base.h>
#include <openssl/pool.h>
#include <openssl/stack.h>

#include "tls/client_ca.h"

/* As client_ca_load, from text; `name` stands in the sentences. */
struct client_ca *client_ca_from_pem(const char *pem, size_t len, const char *name,
                                     char error[CERTIFICATE_ERROR_MAX]);

/* The subjects, as DER, for the server's CertificateRequest; the caller's. NULL: out of memory. */
STACK_OF(CRYPTO_BUFFER) * client_ca_names(const struct client_ca *ca);

/* Does the chain (leaf first) lead to one of the authorities, now, for a TLS client? NULL: it does,
 * and *login is whom the leaf stands for (the caller frees; NULL: nobody). Else a phrase for the
 * log, static, and the alert to send. */
const char *client_ca_check(const struct client_ca *ca, char **login, uint8_t *alert,
                            const STACK_OF(CRYPTO_BUFFER) * chain);

/* client_name.c. Whom a certificate stands for; false: nobody. Pure. */
bool client_name(char out[CLIENT_CA_LOGIN_MAX + 1], const X509 *leaf);

#endif
