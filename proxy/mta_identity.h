/* Who the client is, told to an MTA by XCLIENT (Postfix's extension), so that it does not take it
 * for us. Only what the MTA listed is said; values are xtext (RFC 3461 4): nothing can break out of
 * one. Pure. */
#ifndef VESTIBULE_PROXY_MTA_IDENTITY_H
#define VESTIBULE_PROXY_MTA_IDENTITY_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/buf.h"

/* All borrowed; what is NULL or 0 is said to be unavailable. */
struct mta_identity {
    const char *address; /* 192.0.2.1 or 2001:db8::1 */
    uint16_t port;
    const char *local; /* the address that the client connected to */
    const char *helo;
    const char *login;
    bool esmtp;
};

/* The command, CR LF included, for these enum xclient_attribute bits. False: no room in `to`, or it
 * would be longer than a command may be. */
bool mta_identity_write(struct buf *to, const struct mta_identity *identity, unsigned attributes);

#endif
