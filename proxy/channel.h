/* What the vault and a worker of the front say to each other over their socketpair: short, typed,
 * framed.
 *
 * Pure codec. Numbers are in the machine's order (both ends are one binary). Views point into the
 * buffer that was decoded. Either side treats a frame that does not decode as the other's
 * corruption and closes the channel. */
#ifndef VESTIBULE_PROXY_CHANNEL_H
#define VESTIBULE_PROXY_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "auth/client.h"
#include "auth/sasl.h"
#include "proxy/buf.h"
#include "tls/certificate.h"
#include "tls/ticket.h"

#define CHANNEL_FRAME_MAX 16384
#define CHANNEL_ADDRESS_MAX 512

enum channel_type {
    /* front -> vault */
    CHANNEL_READY = 1, /* this worker accepts */
    CHANNEL_SIGN,      /* number, certificate, algorithm, input */
    CHANNEL_VERIFY,    /* number, listener, client, credential */
    CHANNEL_CANCEL,    /* number: the session is gone, or wants no answer any more */
    CHANNEL_LEASE,     /* number, upstream, source, login: may this session have a connection to the
                          MTA? */
    CHANNEL_RETURN,    /* number: it has it no more, or wants it no more */
    CHANNEL_PERMIT,    /* number, what, login, address: may this login send from, or to, it? */
    CHANNEL_LEARNT,    /* upstream, extensions, size: what an MTA offers */
    /* vault -> front */
    CHANNEL_SIGNED,    /* number, signature; empty: refused */
    CHANNEL_VERDICT,   /* number, verdict, login; the end of that number */
    CHANNEL_LEASED,    /* number, lease; GRANTED may come long after the question */
    CHANNEL_PERMITTED, /* number, permission */
    CHANNEL_TICKETS,   /* keys */
    CHANNEL_DRAIN,     /* accept no more, finish what is under way */

    CHANNEL_RESPOND,    /* front -> vault: number, message: the answer to a CHANNEL_CHALLENGE */
    CHANNEL_CHALLENGE,  /* vault -> front: number, message for the client of an exchange */
    CHANNEL_MECHANISMS, /* vault -> front: what can be offered; at once, and when it changes */
};

enum channel_verdict { CHANNEL_ACCEPTED, CHANNEL_REJECTED, CHANNEL_UNAVAILABLE, CHANNEL_LIMITED };

enum channel_lease {
    CHANNEL_GRANTED,
    CHANNEL_FULL,
    CHANNEL_GRANTED_SOCKET, /* a descriptor comes with the frame: connect that one */
};
enum channel_permit { CHANNEL_PERMIT_SENDER, CHANNEL_PERMIT_RECIPIENT };
enum channel_permission { CHANNEL_ALLOWED, CHANNEL_NOT_OWNED, CHANNEL_OVER_QUOTA };

struct channel_frame {
    enum channel_type type;
    uint64_t number; /* the worker's own: answers carry their question's */
    union {
        struct {
            uint32_t certificate;
            uint16_t algorithm;
            const uint8_t *input;
            size_t len; /* at most TLS_SIGN_INPUT_MAX */
        } sign;
        struct {
            uint32_t listener;
            struct auth_client client; /* as client.h says; octets behind a NUL do not travel */
            enum sasl_mechanism mechanism;
            const char *login; /* not NUL-ended; which kinds have one: sasl.h */
            size_t login_len;
            const char *secret; /* only an exchange's may hold NULs or be empty */
            size_t secret_len;
        } verify;
        struct {
            const uint8_t *octets;
            size_t len; /* SASL_SECRET_MAX from the client, SASL_CHALLENGE_MAX to it; may be 0 */
        } message;      /* CHANNEL_RESPOND, CHANNEL_CHALLENGE */
        struct {
            const uint8_t *signature;
            size_t len; /* at most TLS_SIGNATURE_MAX */
        } signature;
        struct {
            enum channel_verdict word;
            const char *login; /* whom it names; empty unless CHANNEL_ACCEPTED */
            size_t login_len;
        } verdict;
        uint32_t mechanisms; /* enum sasl_mechanism bits */
        struct {
            uint32_t upstream;
            uint8_t source[16]; /* the address that the MTA is to see; zero: ours */
            const char *login;  /* "" where nobody logged in */
            size_t login_len;
        } lease;
        enum channel_lease leased;
        struct {
            enum channel_permit what;
            const char *login;
            size_t login_len;
            const char *address; /* canonical; "" is the null path */
            size_t address_len;  /* at most CHANNEL_ADDRESS_MAX */
        } permit;
        enum channel_permission permission;
        struct {
            uint32_t upstream;
            uint32_t extensions; /* enum extension bits */
            uint64_t size;
        } learnt;
        struct ticket_keys tickets;
    } as;
};

enum channel_status { CHANNEL_MORE, CHANNEL_FRAME, CHANNEL_BAD };

/* Does a descriptor travel with this frame? */
bool channel_brings_descriptor(const struct channel_frame *frame);

/* False: no room in `out`, or the frame breaks a limit. */
bool channel_encode(struct buf *out, const struct channel_frame *frame);

/* One frame from the front of `in`; *used is its length on the wire. */
enum channel_status channel_decode(struct channel_frame *out, size_t *used, const uint8_t *in,
                                   size_t len);

#endif
