/* The Received header (RFC 5321 4.4, 4954 7, 8314 4.3): the only thing that we add to a message.
 *
 * A name that a client supplied cannot break out of it. With TRACE_NO_IP the client's address is
 * left out, and so is a helo that is one. */
#ifndef VESTIBULE_PROXY_TRACE_H
#define VESTIBULE_PROXY_TRACE_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/buf.h"

enum trace_mode { TRACE_FULL, TRACE_NO_IP, TRACE_NONE };

struct trace {
    enum trace_mode mode;
    const char *helo;     /* what the client said; cleaned here */
    const char *address;  /* the client's address as text: 192.0.2.1 or 2001:db8::1 */
    const char *hostname; /* ours */
    bool esmtp;           /* EHLO, not HELO */
    bool authenticated;
    bool utf8;           /* SMTPUTF8 transaction: UTF8SMTPSA (RFC 6531 4.3) */
    const char *version; /* "TLSv1.3", or NULL: no TLS */
    const char *cipher;
    const char *session; /* session id */
    int64_t now;         /* seconds since 1970, UTC */
};

/* Writes the header, CR LF at each line's end, no line longer than 998; TRACE_NONE writes none. */
bool trace_write(struct buf *out, const struct trace *t);

#endif
