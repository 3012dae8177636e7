/* Where a URL of the configuration leads: scheme, host, port and what stands behind (RFC 3986).
 *
 * Pure. Nothing is guessed: what does not belong is an error with a sentence. */
#ifndef VESTIBULE_AUTH_URL_SPEC_H
#define VESTIBULE_AUTH_URL_SPEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define URL_SPEC_HOST_MAX 253
#define URL_SPEC_ERROR_MAX 512 /* as BACKEND_ERROR_MAX */
#define URL_SPEC_TEXT_MAX 1024 /* a whole URL of ours, with its NUL */

enum url_protocol { URL_IMAP, URL_POP3, URL_SMTP, URL_LDAP, URL_HTTP };

enum url_tls {
    URL_TLS_NONE,     /* the server is on this host's loopback */
    URL_TLS_START,    /* begins in clear, must change to TLS */
    URL_TLS_IMPLICIT, /* TLS from the first octet */
};

struct url_spec {
    enum url_protocol protocol;
    enum url_tls tls;
    char host[URL_SPEC_HOST_MAX + 1]; /* IPv6 without brackets */
    uint16_t port;                    /* the protocol's own where none is given */
    const char *rest; /* from the `/` on, in the URL that was parsed; "" where there is none */
};

/* `scheme` as "imaps", `argument` what stands behind its colon. HTTP has no STARTTLS, so http:// to
 * another host is an error. */
bool url_spec_parse(struct url_spec *out, const char *scheme, const char *argument,
                    char error[URL_SPEC_ERROR_MAX]);

/* "imaps://host:993" with the brackets that an IPv6 address needs, and without anything behind. */
void url_spec_text(char out[URL_SPEC_TEXT_MAX], const struct url_spec *u);

/* "IMAP" */
const char *url_spec_protocol_name(enum url_protocol protocol);

/* "imap", in clear or before STARTTLS, or "imaps". */
const char *url_spec_scheme(const struct url_spec *u);

/* `%41` is `A`. The NUL that ends it is counted in `cap`. False: too long, a broken escape, or one
 * of a control octet. */
bool url_spec_decode(char *out, size_t cap, const char *text, size_t len);

#endif
