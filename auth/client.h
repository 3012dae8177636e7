/* What a credential check may know of the client beside its credential: passed on to backends that
 * ask for it (Dovecot's parameters, nginx's headers), and what binds an exchange to its channel.
 * Plain data. */
#ifndef VESTIBULE_AUTH_CLIENT_H
#define VESTIBULE_AUTH_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#define AUTH_CLIENT_SESSION_MAX 24
#define AUTH_CLIENT_HELO_MAX 256
#define AUTH_CLIENT_WORD_MAX 48
#define AUTH_BINDING_LEN 32

/* Strings end in NUL and hold printable ASCII only. Addresses are 16 octets, IPv4 as v4-mapped. */
struct auth_client {
    uint8_t address[16];
    uint16_t port; /* 0: unknown */
    uint8_t local[16];
    uint16_t local_port;
    uint32_t attempt;                  /* 1: the session's first */
    uint32_t offered;                  /* enum sasl_mechanism bits that its EHLO listed */
    bool bound;                        /* `binding` stands: SCRAM-…-PLUS can be done */
    uint8_t binding[AUTH_BINDING_LEN]; /* tls-exporter, RFC 9266 */
    char session[AUTH_CLIENT_SESSION_MAX];
    char helo[AUTH_CLIENT_HELO_MAX];
    char tls_version[AUTH_CLIENT_WORD_MAX]; /* "TLSv1.3" */
    char tls_cipher[AUTH_CLIENT_WORD_MAX];
};

#endif
