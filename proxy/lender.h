/* The vault's book of connections to the MTAs: who asks over a link is granted one, or waits in
 * line. Lines outlive a reload, since the fronts before it still hold connections; an upstream is
 * known by its name. Where an upstream's identity is transparent, a socket with the client's
 * address comes with the grant. */
#ifndef VESTIBULE_PROXY_LENDER_H
#define VESTIBULE_PROXY_LENDER_H

#include <stddef.h>

#include "conf/conf.h"
#include "proxy/channel.h"
#include "proxy/link.h"

struct lender;

struct lender *lender_new(void); /* NULL: out of memory */
void lender_free(struct lender *l);

/* At start and after a reload: max_connections of each upstream. */
void lender_measure(struct lender *l, const struct conf *conf);

/* Takes a CHANNEL_LEASE or CHANNEL_RETURN that came over `from`, whose front runs with `conf`;
 * answers over the links whose turn it is. */
void lender_take(struct lender *l, struct link *from, const struct conf *conf,
                 const struct channel_frame *frame);

/* How many connections to an upstream are in use, and how many sessions wait for one. */
void lender_count(struct lender *l, size_t *in_use, size_t *waiting, const char *upstream);

/* All that was lent over this link is free again. */
void lender_link_gone(struct lender *l, struct link *gone);

#endif
