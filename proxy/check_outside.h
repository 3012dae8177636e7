/* Which addresses of this host must not lead to the MTA. Pure. */
#ifndef VESTIBULE_PROXY_CHECK_OUTSIDE_H
#define VESTIBULE_PROXY_CHECK_OUTSIDE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/address.h"

#define CHECK_OUTSIDE_MAX 64

/* The MTA is on this host: at a loopback address or at one of its own. */
bool check_outside_local(const struct address *mta, const struct address *own, size_t count);

/* Of the host's `own` addresses (any port) those of IPv4 and IPv6 that are not loopback, each once,
 * with the MTA's port; not those on which a listener of ours has that port (a wildcard has it on
 * all of its family). Returns how many of at most `max`. */
size_t check_outside_choose(struct address *out, size_t max, uint16_t port,
                            const struct address *own, size_t count,
                            const struct address *listening, size_t listening_count);

#endif
