/* The users file: `login:crypt-hash[:address,address...]`, `#` starts a comment line.
 *
 * A login may have a second line with what SCRAM needs,
 * `login:{SCRAM-SHA-256}iterations,salt,StoredKey,ServerKey[:address,address...]` (auth/scram.h),
 * or that one alone; its addresses are those of both. A password in clear is checked by the crypt
 * hash where there is one, else by the verifier. Empty, or `!` or `*` in front, of either: no
 * password fits the login, whatever the other line says.
 *
 * An immutable snapshot, shared by threads and counted by holds; the caller makes a new one when
 * the file changes. */
#ifndef VESTIBULE_AUTH_USERS_H
#define VESTIBULE_AUTH_USERS_H

#include <stdbool.h>
#include <stddef.h>

#include "auth/scram.h"

#define USERS_ERROR_MAX 512
#define USERS_PASSWORD_MAX 511 /* what crypt(3) takes */
#define USERS_ITERATIONS                                                    \
    15000 /* of the verifiers that are written: a client has to do them too \
           */
#define USERS_SALT_LEN 16

struct users;

/* Pure. NULL with one sentence in `error` that names the line: no colon, empty or over-long login,
 * control octets, a login twice with the same kind, a hash that crypt(3) does not know, a verifier
 * that is none, an address that is none. `name` stands for the file in the sentence. */
struct users *users_parse(const char *text, size_t len, const char *name,
                          char error[USERS_ERROR_MAX]);

/* The driver over it. */
struct users *users_load(const char *path, char error[USERS_ERROR_MAX]);

struct users *users_hold(struct users *u);
void users_release(struct users *u); /* the last one frees */

size_t users_count(const struct users *u); /* logins */

/* Does the login stand there, locked or not? */
bool users_knows(const struct users *u, const char *login);

/* The hash of a login, byte for byte, or NULL; a verifier likewise, its scheme included. */
const char *users_hash(const struct users *u, const char *login);
const char *users_verifier(const struct users *u, const char *login);

/* No password fits: it is not there, or a line of it is locked or empty. */
bool users_locked(const struct users *u, const char *login);

/* What stands in a login's third field, a list for auth/sender_list.h: "" when it has none, NULL
 * when there is no such login. */
const char *users_addresses(const struct users *u, const char *login);

/* A hash or verifier of the kind and cost by which most of the file's passwords are checked, which
 * no password fits: checked for unknown logins, so that they take as long as known ones. Never
 * NULL. */
const char *users_decoy(const struct users *u);

/* The iterations and length of salt that most verifiers have, for one that is made up; those that
 * `vestibule passwd` writes where there is none. The rest of it is zero. */
struct scram_verifier users_shape(const struct users *u);

/* Weak kinds in use (DES, MD5), for `vestibule check`. */
size_t users_weak(const struct users *u);

/* Logins that are not locked and have a verifier; that have none, and the first of them in the file
 * (NULL: all have one). */
size_t users_verifiers(const struct users *u);
size_t users_without_verifier(const struct users *u);
const char *users_first_without_verifier(const struct users *u);

/* NULL, or one clause on what is wrong: what may stand in the file, and what SASL (of a password:
 * SASLprep as well) lets through. */
const char *users_login_fault(const char *login);
const char *users_password_fault(const char *password);

/* Adds the user or changes the password in the file, both lines of it (the one that is missing goes
 * beside the other), keeping every other line, the order, mode and owner: written beside, synced,
 * renamed; a lock keeps two of them apart. Makes the file (mode 0640) when there is none. */
bool users_set_password(const char *path, const char *login, const char *password, bool *added,
                        char error[USERS_ERROR_MAX]);

#endif
