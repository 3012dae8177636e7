/* What saslauthd is asked and how it answers: counted strings, one question a connection
 * (saslauthd(8) of Cyrus SASL, its socket "mux").
 *
 * Pure. What is sent is written into the caller's memory, which is to be wiped. */
#ifndef VESTIBULE_AUTH_SASLAUTHD_H
#define VESTIBULE_AUTH_SASLAUTHD_H

#include <stddef.h>
#include <stdint.h>

#include "auth/sasl.h"

#define SASLAUTHD_STRING_MAX 256 /* saslauthd takes no longer login or password */
#define SASLAUTHD_ASK_MAX (4 * (2 + SASLAUTHD_STRING_MAX))
#define SASLAUTHD_REPLY_MAX 1024

/* Login, password, the service "smtp", no realm: a login's domain stays where it is. False: longer
 * than what it takes. */
bool saslauthd_ask(uint8_t out[SASLAUTHD_ASK_MAX], size_t *len, const struct sasl_credential *c);

enum saslauthd_status {
    SASLAUTHD_MORE,
    SASLAUTHD_OK,
    SASLAUTHD_NO,
    SASLAUTHD_TROUBLE, /* it says NO, for a reason of its own */
    SASLAUTHD_BAD,     /* no answer of saslauthd's */
};

struct saslauthd_reader {
    size_t len;
    uint8_t in[2 + SASLAUTHD_REPLY_MAX];
};

/* Starts from zeros. What comes behind the answer makes it a bad one. */
enum saslauthd_status saslauthd_read(struct saslauthd_reader *r, const uint8_t *in, size_t len);

#endif
