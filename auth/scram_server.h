/* The server's side of one SCRAM-SHA-256 or SCRAM-SHA-256-PLUS exchange (RFC 5802, 7677, 9266),
 * spoken by GNU SASL.
 *
 * Pure but for the nonce: messages in, messages out. What GNU SASL leaves to its caller, or lets
 * through, is refused here: a "y" where -PLUS was offered, a binding with the mechanism that has
 * none or other than tls-exporter, mandatory extensions, a foreign authzid, over-long messages and
 * nonces, NULs. */
#ifndef VESTIBULE_AUTH_SCRAM_SERVER_H
#define VESTIBULE_AUTH_SCRAM_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "auth/client.h"
#include "auth/sasl.h"
#include "auth/scram.h"

#define SCRAM_MESSAGE_MAX 2048
#define SCRAM_NONCE_MAX 512

enum scram_status {
    SCRAM_CHALLENGE, /* `message` to the client, bring its answer */
    SCRAM_ACCEPTED,  /* by `login`; the client has had the server's signature */
    SCRAM_REJECTED,  /* `login`: who was tried, "" if that was never said */
    SCRAM_FAILED,    /* out of memory */
};

struct scram_terms {
    bool plus;    /* the mechanism is -PLUS */
    bool offered; /* -PLUS was: a client that could bind, and believes we cannot, was deceived */
    const uint8_t *binding; /* AUTH_BINDING_LEN octets, tls-exporter; NULL: there is none */
    /* Called once, from inside of a step. `name` is the client's word after SASLprep; `login` is
     * whom it means. False: he may not log in, and nothing must tell that from a wrong password: a
     * verifier is given all the same. */
    bool (*find)(void *owner, struct scram_verifier *verifier, char login[SASL_LOGIN_MAX + 1],
                 const char *name);
    void *owner;
};

struct scram_server;

/* NULL: out of memory. `terms` is copied; the binding is borrowed. */
struct scram_server *scram_server_new(const struct scram_terms *terms);
void scram_server_free(struct scram_server *s);

/* The first may be empty (no initial response): then the challenge is. Nothing comes after anything
 * but SCRAM_CHALLENGE. */
enum scram_status scram_server_step(struct scram_server *s, const uint8_t *message, size_t len);

/* What the last step left; valid until the next. */
const uint8_t *scram_server_message(const struct scram_server *s, size_t *len);
const char *scram_server_login(const struct scram_server *s);

#endif
