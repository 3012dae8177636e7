/* TLS as a byte transformer: ciphertext and plaintext in and out of the caller's memory, one status
 * word, no socket.
 *
 * TLS 1.2 and 1.3 (older only when told), forward-secret AEAD suites, no renegotiation, no early
 * data, ALPN smtp, esmtp or submission (or none; anything else is alert 120). The private key is
 * elsewhere: the engine stops with TLS_WANT_SIGNATURE and goes on when the signature comes. One
 * thread at a time per engine; a context may be shared. */
#ifndef VESTIBULE_TLS_ENGINE_H
#define VESTIBULE_TLS_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tls/certificate.h"
#include "tls/client_ca.h"
#include "tls/ticket.h"

#define TLS_BINDING_LEN 32

struct tls_context; /* one per listener */
struct tls_engine;  /* one per connection */

struct tls_settings {
    uint16_t min_version; /* 0x0301 to 0x0304 */
    const char *ciphers;  /* NULL: our list; TLS 1.2 and below, the library's syntax */
    const char *groups;   /* NULL: our list; colon between */
    const char *scope;    /* the listener's name: tickets are good in one scope only */
    struct certificate *const *certificates; /* borrowed with the array; the first is the default;
                                                several names, ECDSA beside RSA */
    size_t certificate_count;
    /* Borrowed; clients are asked for a certificate, and one that these did not sign ends the
     * handshake. NULL: clients are not asked. */
    const struct client_ca *client_ca;
};

/* NULL with a sentence. Tickets are refused and not given until tls_context_tickets. */
struct tls_context *tls_context_new(const struct tls_settings *settings,
                                    char error[CERTIFICATE_ERROR_MAX]);
void tls_context_free(struct tls_context *c); /* after its last engine */

/* Safe while other threads shake hands. */
void tls_context_tickets(struct tls_context *c, const struct ticket_keys *keys);

/* Where ciphertext comes from and goes to during one call. in_used and out_len are set by the call
 * (counted from the pointers given). */
struct tls_wire {
    const uint8_t *in;
    size_t in_len;
    size_t in_used;
    uint8_t *out;
    size_t out_cap;
    size_t out_len;
};

enum tls_status {
    TLS_OK,             /* moved something, or done */
    TLS_WANT_INPUT,     /* needs ciphertext from the peer */
    TLS_WANT_OUTPUT,    /* needs room in wire->out; call again */
    TLS_WANT_SIGNATURE, /* tls_engine_job(), then tls_engine_signed(), then call again */
    TLS_CLOSED,         /* the peer's close_notify: a clean end */
    TLS_FAILED,         /* fatal; wire->out holds the alert, if there is one: still send it */
};

struct tls_job {
    size_t certificate; /* index into settings->certificates */
    uint16_t algorithm;
    const uint8_t *input; /* borrowed until tls_engine_signed */
    size_t len;
};

struct tls_engine *tls_engine_new(struct tls_context *c); /* NULL: out of memory */
void tls_engine_free(struct tls_engine *e);

/* TLS_OK: the handshake is done. */
enum tls_status tls_engine_handshake(struct tls_engine *e, struct tls_wire *wire);
const struct tls_job *tls_engine_job(const struct tls_engine *e);
void tls_engine_signed(struct tls_engine *e, const uint8_t *signature,
                       size_t len); /* len 0: refused */

/* Decrypts into plain, cap > 0, at most one record; *got octets. TLS_OK: *got > 0. Call until
 * TLS_WANT_INPUT: the rest of a record waits inside. */
enum tls_status tls_engine_read(struct tls_engine *e, struct tls_wire *wire, uint8_t *plain,
                                size_t cap, size_t *got);

/* What comes from here on is no secret of anybody's: it is not overwritten in the library's memory
 * behind each record. At first all of it is. */
void tls_engine_no_secrets(struct tls_engine *e);

/* Encrypts; *taken octets of plain are done with (the rest: again, same or more bytes, any
 * address). */
enum tls_status tls_engine_write(struct tls_engine *e, struct tls_wire *wire, const uint8_t *plain,
                                 size_t len, size_t *taken);

/* Our close_notify; before the handshake is done there is none, and TLS_OK. TLS_FAILED: a record
 * stands half written. */
enum tls_status tls_engine_close(struct tls_engine *e, struct tls_wire *wire);

/* Facts after the handshake; static or the engine's own storage. "" where there is none. */
const char *tls_engine_version(const struct tls_engine *e); /* "TLSv1.3" */
const char *tls_engine_cipher(const struct tls_engine *e);  /* RFC name: "TLS_AES_128_GCM_SHA256" */
const char *tls_engine_group(const struct tls_engine *e);   /* "X25519" */
const char *tls_engine_sni(const struct tls_engine *e);
bool tls_engine_resumed(const struct tls_engine *e);

/* Whom the client's certificate stands for: its first rfc822Name, else its one common name. "": it
 * showed none (a resumed session never does), or none that can be a login. UTF-8 without control
 * octets. */
const char *tls_engine_client(const struct tls_engine *e);

/* The channel binding tls-exporter (RFC 9266). False: there is none, since the handshake is not
 * done, or TLS is older than 1.2 or is 1.2 without the extended master secret. */
bool tls_engine_binding(const struct tls_engine *e, uint8_t out[TLS_BINDING_LEN]);

/* After TLS_FAILED: one phrase for the log, e.g. "no application protocol in common", "unsupported
 * protocol". */
const char *tls_engine_failure(const struct tls_engine *e);

#endif
