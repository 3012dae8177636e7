/* Was that a yes? How IMAP (RFC 9051, 5530), POP3 (RFC 1939, 2449, 3206) and SMTP (RFC 4954)
 * servers answer a login.
 *
 * Pure. The library that speaks with them calls a conversation good that never came to a login (a
 * server without AUTH, an IMAP server that says PREAUTH), and one refused that only was no good for
 * the moment. So what was said is judged here. */
#ifndef VESTIBULE_AUTH_URL_MAIL_H
#define VESTIBULE_AUTH_URL_MAIL_H

#include <stdbool.h>
#include <stddef.h>

#include "auth/url_spec.h"

enum url_mail_verdict {
    URL_MAIL_ACCEPTED,
    URL_MAIL_REJECTED,
    URL_MAIL_UNAVAILABLE,
    URL_MAIL_NO_WAY, /* the server was never given the login: it offers no mechanism of ours */
};

/* Can this be the first line of such a server? */
bool url_mail_greets(enum url_protocol protocol, const char *octets, size_t len);

/* Is a line of ours one that begins to give the login? */
bool url_mail_gives(enum url_protocol protocol, const char *octets, size_t len);

/* `given`: url_mail_gives said so once. `fine`: the library thinks that it went well. `heard`: all
 * that the server said. */
enum url_mail_verdict url_mail_judge(enum url_protocol protocol, bool given, bool fine,
                                     const char *heard, size_t len);

/* The last line of the server, for a message: without its end, cut to fit, printable ASCII. */
void url_mail_last(char *out, size_t cap, const char *heard, size_t len);

/* Without SASL (IMAP's LOGIN, POP3's USER and PASS) less can be said: does it fit? */
bool url_mail_clear_ok(enum url_protocol protocol, const char *login, const char *password);

#endif
