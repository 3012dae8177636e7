/* The senders file: which addresses a login may use in MAIL FROM, beside those of the users file's
 * third field. It serves the backends that know no addresses.
 *
 *     # login: address, address      or      login address address
 *     alice: alice@example.org, sales@example.org
 *     mary jane: @example.org
 *     relay *
 *
 * A colon ends the login when it stands before the first blank or before a blank or the line's end;
 * else the first blank does. A login may have several lines.
 *
 * An immutable snapshot, shared by threads and counted by holds; the caller makes a new one when
 * the file changes. */
#ifndef VESTIBULE_AUTH_SENDERS_H
#define VESTIBULE_AUTH_SENDERS_H

#include <stdbool.h>
#include <stddef.h>

#define SENDERS_ERROR_MAX 512

struct senders;
struct users;

/* Pure. NULL with one sentence in `error` that names the line. `name` stands for the file there. */
struct senders *senders_parse(const char *text, size_t len, const char *name,
                              char error[SENDERS_ERROR_MAX]);

/* The driver over it. */
struct senders *senders_load(const char *path, char error[SENDERS_ERROR_MAX]);

struct senders *senders_hold(struct senders *s);
void senders_release(struct senders *s); /* the last one frees */

/* May this login send as this address, by either file? `s` or `u` may be NULL: there is none.
 * `address` is `local@domain` as it was parsed and written anew; the empty one, the null path, is
 * always allowed (RFC 5321 4.5.5). The login is compared octet for octet. What neither file lists
 * is not allowed, a login that looks like the address included: what a backend makes of such a
 * login is its own affair. */
bool senders_allows(const struct senders *s, const struct users *u, const char *login,
                    const char *address);

#endif
