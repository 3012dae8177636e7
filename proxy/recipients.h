/* Which recipients a client may name who did not log in: those of listed domains, in a form that no
 * MTA can read as a route to somewhere else. Pure.
 *
 * MTAs trust whoever comes from localhost, and then take `user%remote@local`,
 * `"user@remote"@local` and `remote!user@local` as orders to relay. So the local part is a plain
 * dot-atom: ASCII, no quotes, none of `% ! @ : | / \ "`, none of `$ & { } and the backquote, which
 * shells and expansions act on, and no hyphen at its start. */
#ifndef VESTIBULE_PROXY_RECIPIENTS_H
#define VESTIBULE_PROXY_RECIPIENTS_H

#include <stddef.h>

#include "proxy/path.h"

enum recipients_verdict {
    RECIPIENTS_OK,
    RECIPIENTS_SYNTAX, /* 550 5.1.3: the domain is ours, the local part is not plain */
    RECIPIENTS_RELAY,  /* 550 5.7.1: the domain is not one of the list, or a literal */
};

/* `path` as path_parse made it. Domains are compared whole, in any ASCII case, without a final dot.
 * `postmaster` without a domain is fine (RFC 5321 4.5.1). */
enum recipients_verdict recipients_judge(const struct path *path, const char *const *domains,
                                         size_t count);

#endif
