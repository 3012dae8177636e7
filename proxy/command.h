/* The command grammar of a submission server: one line without its CR LF -> arguments, checked by
 * name and value; and the few commands that we write to the MTA, anew, from those arguments (RFC
 * 5321 4.1, 6409, 4954, 1870, 3461, 6152, 6531). Nothing of the client's line survives but what
 * these structs hold. */
#ifndef VESTIBULE_PROXY_COMMAND_H
#define VESTIBULE_PROXY_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/buf.h"
#include "proxy/path.h"

#define COMMAND_LINE_MAX 2000  /* without CR LF; RFC 5321 asks for 512, Sendmail closes at 2,040 */
#define COMMAND_AUTH_MAX 12288 /* RFC 4954 4: a base64 line of AUTH, CR LF included */
#define COMMAND_DOMAIN_MAX 255 /* EHLO's argument */
#define COMMAND_ENVID_MAX 100  /* RFC 3461 4.4 */
#define COMMAND_ORCPT_MAX 500  /* RFC 3461 4.2 */

/* Service extensions that a parameter or a capability belongs to. */
enum extension {
    EXTENSION_SIZE = 1 << 0,
    EXTENSION_8BITMIME = 1 << 1,
    EXTENSION_SMTPUTF8 = 1 << 2,
    EXTENSION_DSN = 1 << 3,
    EXTENSION_PIPELINING = 1 << 4,
    EXTENSION_ENHANCEDSTATUSCODES = 1 << 5,
    EXTENSION_CHUNKING = 1 << 6,
};

enum command_body { COMMAND_BODY_NONE, COMMAND_BODY_7BIT, COMMAND_BODY_8BITMIME };

enum command_notify {
    COMMAND_NOTIFY_NEVER = 1 << 0,
    COMMAND_NOTIFY_SUCCESS = 1 << 1,
    COMMAND_NOTIFY_FAILURE = 1 << 2,
    COMMAND_NOTIFY_DELAY = 1 << 3,
};

struct command_mail {
    struct path path;
    unsigned extensions; /* enum extension bits that its parameters and path need */
    bool size_given;
    uint64_t size; /* UINT64_MAX: that, or more than 64 bits hold */
    enum command_body body;
    bool smtputf8;
    char ret[5];                       /* "", "FULL" or "HDRS" */
    char envid[COMMAND_ENVID_MAX + 1]; /* xtext as given, its decoding checked; "" when absent */
};

struct command_rcpt {
    struct path path;
    unsigned extensions;
    unsigned notify; /* enum command_notify bits; 0 when absent */
    char orcpt[COMMAND_ORCPT_MAX + 1];
};

struct command_auth {
    const char *mechanism; /* into the line, any case */
    size_t mechanism_len;
    bool initial_given; /* there was a second word; "=" is an empty one */
    const char *initial;
    size_t initial_len;
};

enum command_status {
    COMMAND_OK,
    COMMAND_SYNTAX, /* 501 5.5.4: malformed argument or parameter, or a parameter twice */
    COMMAND_UNKNOWN_PARAMETER, /* 555 5.5.4 */
    COMMAND_BAD_PATH,          /* 501 5.1.7 or 5.1.3: not an address */
    COMMAND_NOT_UTF8,          /* 501 5.5.2: octets above 127 that are not UTF-8 */
    COMMAND_NEEDS_SMTPUTF8,    /* 550 5.6.7 / 553 5.6.7: a non-ASCII path without SMTPUTF8 */
};

/* May the line be looked at at all? False: a control octet (NUL, CR, LF, TAB, DEL and the rest).
 * Octets above 127 pass here and fail in every argument but a path. */
bool command_line_clean(const char *line, size_t len);

/* The verb: leading letters up to a space or the end. *args is what follows the space, trailing
 * spaces dropped. */
size_t command_verb(const char *line, size_t len, const char **args, size_t *args_len);

/* Does the line look like another protocol's: an HTTP method, or a `Name:` header? */
bool command_foreign(const char *line, size_t len);

enum command_status command_parse_mail(struct command_mail *out, const char *args, size_t len);
enum command_status command_parse_rcpt(struct command_rcpt *out, const char *args, size_t len);
enum command_status command_parse_auth(struct command_auth *out, const char *args, size_t len);

/* Canonical lines towards the MTA, CR LF included, always shorter than COMMAND_LINE_MAX. Parameters
 * whose extension is not in `offered` are left out, which is harmless for SIZE alone: the caller
 * has refused the others. False: no room in `out`, or a path or message that needs an SMTPUTF8
 * which is not in `offered`. */
bool command_write_mail(struct buf *out, const struct command_mail *mail, unsigned offered);
bool command_write_rcpt(struct buf *out, const struct command_rcpt *rcpt, unsigned offered);

#endif
