/* The addresses that a login may send as: one list, as it stands in the users file's third field
 * and in the senders file. Pure.
 *
 * Words with commas or blanks between: `local@domain`, `@domain` (everyone there, not its
 * subdomains), `*` (any address). The domain is compared in any ASCII case, the local part octet
 * for octet (RFC 5321 2.4). Local parts that need quotes cannot be listed; `@domain` and `*` allow
 * them. */
#ifndef VESTIBULE_AUTH_SENDER_LIST_H
#define VESTIBULE_AUTH_SENDER_LIST_H

#include <stdbool.h>

/* NULL, or one clause on the first word that is none of these. An empty list is fine. */
const char *sender_list_fault(const char *list);

/* `address` is one that was parsed and written anew: `local@domain` without brackets. */
bool sender_list_allows(const char *list, const char *address);

#endif
