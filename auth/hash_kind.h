/* What can be told of a crypt(5) hash by looking at it: its kind, whether it is whole, what
 * checking it costs. Pure. */
#ifndef VESTIBULE_AUTH_HASH_KIND_H
#define VESTIBULE_AUTH_HASH_KIND_H

#include <stdbool.h>
#include <stddef.h>

#define HASH_MAX 383 /* CRYPT_OUTPUT_SIZE without its NUL */

/* Empty, or `!` or `*` in front, as shadow(5) has it: no password fits. */
bool hash_locked(const char *hash);

/* NULL, or why crypt(3) would not take it: a phrase that goes after "the hash". */
const char *hash_fault(const char *hash);

/* How many octets at its front name the kind and the cost: two whole hashes that agree there take
 * as long as each other. */
size_t hash_cost_len(const char *hash);

/* DES, MD5, NT: broken in hours by whoever gets the file. */
bool hash_weak(const char *hash);

#endif
