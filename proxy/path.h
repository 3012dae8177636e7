/* Mailbox paths of MAIL FROM and RCPT TO: parsed by RFC 5321 4.1.2, written anew in one canonical
 * form.
 *
 * What comes out holds exactly one unquoted `@` (or is the null path, or `postmaster`), a local
 * part of 1 to 64 octets (quotes and backslashes not counted), a domain of at most 255, no source
 * route, no control octet, and nothing that was not asked for. Of UTF-8 it holds no C1 control, no
 * line or paragraph separator, and no full-width `@` or dot, which some software folds to the real
 * ones. */
#ifndef VESTIBULE_PROXY_PATH_H
#define VESTIBULE_PROXY_PATH_H

#include <stdbool.h>
#include <stddef.h>

#define PATH_LOCAL_MAX 64   /* RFC 5321 4.5.3.1.1 */
#define PATH_DOMAIN_MAX 255 /* RFC 5321 4.5.3.1.2 */
#define PATH_TEXT_MAX (2 * PATH_LOCAL_MAX + 2 + 1 + PATH_DOMAIN_MAX)

struct path {
    char text[PATH_TEXT_MAX +
              1];     /* `local@domain` without brackets, NUL at the end; empty: null path */
    size_t local_len; /* octets of text before the `@`, quotes included */
    bool utf8;        /* holds octets above 127: needs SMTPUTF8 (RFC 6531) */
    bool quoted;      /* the local part needs quotes */
    bool literal;     /* the domain is an address literal */
};

enum path_kind {
    PATH_REVERSE, /* MAIL FROM: the null path `<>` is fine */
    PATH_FORWARD, /* RCPT TO: `<Postmaster>` without a domain is fine */
};

enum path_status { PATH_OK, PATH_SYNTAX, PATH_TOO_LONG };

/* Reads one bracketed path from the front of `in`; *used is what it took. The domain's case and the
 * local part's octets are kept; a quoted local part that does not need its quotes loses them.
 * Source routes are dropped (RFC 5321 4.1.1.3). `domain` may be a name (letters, digits, hyphens,
 * dots; UTF-8 labels), or a literal. */
enum path_status path_parse(struct path *out, size_t *used, const char *in, size_t len,
                            enum path_kind kind);

/* A domain or an address literal alone, as in EHLO (RFC 5321 4.1.1.1): ASCII only. Underscores
 * pass, here and above. */
bool path_domain_ok(const char *in, size_t len);

#endif
