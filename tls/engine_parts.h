/* What the engine's files share: its context, its state, and the callbacks that BoringSSL is given.
 */
#ifndef VESTIBULE_TLS_ENGINE_PARTS_H
#define VESTIBULE_TLS_ENGINE_PARTS_H

#include <openssl/bio.h>
#include <openssl/ssl.h>
#include <pthread.h>

#include "tls/engine.h"

struct tls_context {
    SSL_CTX *ssl;
    BIO_METHOD *wire;
    size_t certificate_count;
    struct certificate *const *certificates; /* borrowed */
    bool *in_default_group;                  /* per certificate: stands for a name of the first */
    const struct client_ca *client_ca;       /* borrowed; NULL: clients are not asked */
    uint8_t scope[TICKET_SCOPE_LEN];
    pthread_mutex_t lock;       /* of the next */
    struct ticket_keys tickets; /* count 0: none were given yet */
};

/* A signature asked for elsewhere; lives from sign() to complete(). */
struct engine_signing {
    struct tls_job job;
    bool answered;
    size_t signature_len; /* 0: refused */
    uint8_t signature[TLS_SIGNATURE_MAX];
    uint8_t input[TLS_SIGN_INPUT_MAX];
};

/* Where BoringSSL has put the record that it reads, or has read last: it decrypts in place, and
 * frees without overwriting. */
struct wire_record {
    uint8_t head[SSL3_RT_HEADER_LENGTH];
    size_t head_len;
    size_t left;   /* octets of the body to come */
    uint8_t *body; /* in BoringSSL's buffer; NULL: not known */
    size_t body_len;
};

enum engine_state {
    ENGINE_SHAKING,
    ENGINE_OPEN,
    ENGINE_FAILING, /* the alert is not out yet */
    ENGINE_FAILED,
};

struct tls_engine {
    struct tls_context *context;
    SSL *ssl;
    enum engine_state state;
    bool shook;      /* the handshake was done once */
    bool no_secrets; /* see tls_engine_no_secrets */
    bool refused;    /* the signature was */
    bool close_sent;
    bool certified; /* the client showed a certificate */
    size_t chosen;  /* certificate of this connection */
    size_t held;    /* plaintext of a record that BoringSSL still has to put out */
    const char *failure;
    char *client; /* login of its certificate; NULL: none */
    struct engine_signing *signing;
    struct tls_wire *wire; /* during a call only */
    uint8_t *stuck; /* ciphertext that found no room, kept for the case that it is the alert */
    size_t stuck_len;
    struct wire_record record;
};

/* wire_bio.c: reads and writes e->wire of the engine that is its data. */
BIO_METHOD *wire_bio_method(void);

/* Overwrites the record that was read last, which BoringSSL still holds. */
void wire_record_wipe(struct wire_record *r);

/* signing.c */
extern const SSL_PRIVATE_KEY_METHOD signing_method;

/* choose.c: which certificate, by name and by what the client can verify. Called from BoringSSL's
 * early callback. */
size_t choose_certificate(const struct tls_context *c, const SSL_CLIENT_HELLO *hello,
                          const char *sni);

/* failure.c: one phrase for what stands in this thread's error queue, which is empty then. Static.
 */
const char *failure_phrase(void);

/* A name that may stand in a certificate: letters, digits, hyphens, underscores, dots between. */
bool sni_sound(const char *name);

#endif
