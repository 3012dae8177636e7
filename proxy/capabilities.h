/* What an MTA's EHLO offered, as far as we can carry it, and what we offer to a client in turn. */
#ifndef VESTIBULE_PROXY_CAPABILITIES_H
#define VESTIBULE_PROXY_CAPABILITIES_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/buf.h"
#include "proxy/command.h"
#include "proxy/reply.h"

/* What an XCLIENT may tell (of Postfix's list that which we know). */
enum xclient_attribute {
    XCLIENT_NAME = 1 << 0,
    XCLIENT_ADDR = 1 << 1,
    XCLIENT_PORT = 1 << 2,
    XCLIENT_PROTO = 1 << 3,
    XCLIENT_HELO = 1 << 4,
    XCLIENT_LOGIN = 1 << 5,
    XCLIENT_DESTADDR = 1 << 6,
};

struct capabilities {
    bool known;          /* false: no MTA has answered yet; only what needs no MTA is offered */
    unsigned extensions; /* all the enum extension bits that the MTA offered */
    uint64_t size;       /* RFC 1870: 0 when the MTA gave no number */
    unsigned xclient;    /* enum xclient_attribute bits that it takes; 0: none. Of one connection
                            alone: never offered, recorded or compared */
};

/* From a 250 to EHLO; a reply to HELO is learnt with `esmtp` false and offers nothing. */
void capabilities_learn(struct capabilities *out, const struct reply *r, bool esmtp);

struct capabilities_offer {
    const char *hostname;
    bool starttls;          /* offered here and now */
    const char *mechanisms; /* "PLAIN LOGIN", or NULL: AUTH is not offered here and now */
    uint64_t max_size;      /* our own limit; 0: the MTA's alone */
    unsigned hidden;        /* enum extension bits never to offer */
};

/* Where neither we nor the MTA give a number. */
#define CAPABILITIES_SIZE_DEFAULT (50ULL * 1024 * 1024)

/* The effective SIZE limit: the smaller of ours and the MTA's. */
uint64_t capabilities_size(const struct capabilities *mta, uint64_t max_size);

/* The bits a client may use in this session: SIZE, PIPELINING, ENHANCEDSTATUSCODES and CHUNKING,
 * which are ours, and the MTA's that we carry, without the hidden ones. What may go to the MTA is
 * another thing: mta->extensions. */
unsigned capabilities_offered(const struct capabilities *mta, unsigned hidden);

/* Writes the whole `250-...` answer to EHLO. */
bool capabilities_write(struct buf *out, const struct capabilities *mta,
                        const struct capabilities_offer *offer);

bool capabilities_same(const struct capabilities *a, const struct capabilities *b);

/* What is known of an MTA in the form in which it was said, with `name` for a greeting, for a file
 * that capabilities_learn reads back. */
bool capabilities_record(struct buf *out, const struct capabilities *mta, const char *name);

#endif
