/* A conversation of `vestibule check` with a server: SMTP in clear or inside TLS, one reply after
 * the other, each within a time. A driver: it blocks. */
#ifndef VESTIBULE_PROXY_CHECK_TALK_H
#define VESTIBULE_PROXY_CHECK_TALK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/address.h"
#include "proxy/buf.h"
#include "proxy/reply.h"
#include "tls/client.h"

#define CHECK_WHY_MAX 256

struct check_talk {
    int fd;
    struct tls_client *tls; /* NULL: in clear */
    struct buf in;
    size_t read;          /* octets of the reply that was looked at last; they go with the next */
    uint64_t patience_ms; /* for a reply, a flight, a handshake */
    bool gone;            /* the peer ended or broke the connection: no answer is an answer, too */
    unsigned alert;       /* the fatal TLS alert with which it did; 0: none */
    char why[CHECK_WHY_MAX]; /* after false: a clause for people */
};

/* Must be called first; check_talk_end is then always right. */
void check_talk_init(struct check_talk *t, uint64_t patience_ms);
bool check_talk_dial(struct check_talk *t, const struct address *to, uint64_t timeout_ms);

/* What came in clear is forgotten. */
bool check_talk_tls(struct check_talk *t, const struct tls_client_settings *settings);

/* As one flight: one segment or one record, if it fits. */
bool check_talk_send(struct check_talk *t, const void *octets, size_t len);
bool check_talk_say(struct check_talk *t, const char *verb, const char *argument);

/* The next reply, in the talk's storage until the next call. */
bool check_talk_reply(struct check_talk *t, struct reply *out);
bool check_talk_reply_within(struct check_talk *t, struct reply *out, uint64_t ms);
/* The reply must have this code. */
bool check_talk_expect(struct check_talk *t, struct reply *out, unsigned code);

/* With QUIT, its answer and close_notify, if `polite`. The talk can be dialled anew. */
void check_talk_end(struct check_talk *t, bool polite);

#endif
