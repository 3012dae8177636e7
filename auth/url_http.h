/* A login as an HTTP request, and what the answer means: Basic (RFC 7617) for those who answer by
 * status, nginx's auth_http protocol of its mail proxy for those who answer by header.
 *
 * Pure. */
#ifndef VESTIBULE_AUTH_URL_HTTP_H
#define VESTIBULE_AUTH_URL_HTTP_H

#include <stdbool.h>
#include <stddef.h>

#include "auth/client.h"
#include "auth/sasl.h"

#define URL_HTTP_LINES_MAX 16 /* of a header file */
#define URL_HTTP_LINE_MAX 1024

enum url_http_verdict { URL_HTTP_ACCEPTED, URL_HTTP_REJECTED, URL_HTTP_UNAVAILABLE };

/* The lines of a header file, "Name: value" each; empty ones and those that begin with # do not
 * count. Freshly allocated, NULL behind the last. NULL with half a sentence. */
char **url_http_lines(const char *text, size_t len, const char **why);

/* nginx's headers for a login, and `more` (NULL: none) behind them. Freshly allocated, NULL behind
 * the last. NULL: out of memory. */
char **url_http_headers(const struct sasl_credential *credential, const struct auth_client *client,
                        char *const *more);

/* Wipes. NULL is fine. */
void url_http_free(char **lines);

/* RFC 7617 2: a user-id with a colon cannot be told from one without. */
bool url_http_login_ok(const char *login);

/* `headers` as they came, CR LF behind each. An Auth-Status decides, else the status does. `login`
 * is set to the name that an accepting Auth-User gives, else to "". */
enum url_http_verdict url_http_judge(char login[SASL_LOGIN_MAX + 1], long status,
                                     const char *headers, size_t len);

#endif
