/* The users file: `login:crypt-hash[:address,address...]`, one line a user, `#` starts a comment
 * line.
 *
 * An immutable snapshot, shared by threads and counted by holds; the caller makes a new one when
 * the file changes. */
#ifndef VESTIBULE_AUTH_USERS_H
#define VESTIBULE_AUTH_USERS_H

#include <stdbool.h>
#include <stddef.h>

#define USERS_ERROR_MAX 512
#define USERS_PASSWORD_MAX 511 /* what crypt(3) takes */

struct users;

/* Pure. NULL with one sentence in `error` that names the line: no colon, empty or over-long login,
 * control octets, a login twice, a hash that crypt(3) does not know, an address that is none.
 * `name` stands for the file in the sentence. An empty or locked hash (`!`, `*`) is fine and never
 * matches. Lines whose hash starts with `{` carry verifiers of other mechanisms: refused as not
 * supported yet. */
struct users *users_parse(const char *text, size_t len, const char *name,
                          char error[USERS_ERROR_MAX]);

/* The driver over it. */
struct users *users_load(const char *path, char error[USERS_ERROR_MAX]);

struct users *users_hold(struct users *u);
void users_release(struct users *u); /* the last one frees */

size_t users_count(const struct users *u);

/* The hash of a login, byte for byte, or NULL. */
const char *users_hash(const struct users *u, const char *login);

/* What stands in a login's third field, a list for auth/sender_list.h: "" when it has none, NULL
 * when there is no such login. */
const char *users_addresses(const struct users *u, const char *login);

/* A hash of the kind and cost that most of the file has, which no password fits: checked for
 * unknown logins, so that they take as long as known ones. Never NULL. */
const char *users_decoy(const struct users *u);

/* Weak kinds in use (DES, MD5), for `vestibule check`. */
size_t users_weak(const struct users *u);

/* NULL, or one clause on what is wrong: what may stand in the file, and what SASL lets through. */
const char *users_login_fault(const char *login);
const char *users_password_fault(const char *password);

/* Adds the user or changes the password in the file, keeping every other line, the order, mode and
 * owner: written beside, synced, renamed; a lock keeps two of them apart. Makes the file (mode
 * 0640) when there is none. */
bool users_set_password(const char *path, const char *login, const char *password, bool *added,
                        char error[USERS_ERROR_MAX]);

#endif
