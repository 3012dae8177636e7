/* How many sessions one client may have at a time, and how many it may begin in a while ([policy]
 * sessions_per_client, connects_per_client). One book for all workers of a front, behind a lock; a
 * new front begins with an empty one. A client is an IPv4 address or an IPv6 /64. */
#ifndef VESTIBULE_PROXY_CROWD_H
#define VESTIBULE_PROXY_CROWD_H

#include <stdint.h>

#include "conf/conf.h"

struct crowd;

enum crowd_answer { CROWD_COME_IN, CROWD_TOO_MANY, CROWD_TOO_FAST };

struct crowd *crowd_new(const struct conf *conf); /* NULL: out of memory */
void crowd_free(struct crowd *c);

/* `owner` and `number` name the session until crowd_leave. */
enum crowd_answer crowd_enter(struct crowd *c, void *owner, uint64_t number,
                              const uint8_t address[16], uint64_t now_ms);
void crowd_leave(struct crowd *c, void *owner, uint64_t number); /* nothing when it never came in */

#endif
