/* How the service does, as `vestibule status` tells it: in JSON, or as text for a person. Pure. */
#ifndef VESTIBULE_PROXY_STATUS_H
#define VESTIBULE_PROXY_STATUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "auth/guard.h"
#include "conf/conf.h"
#include "proxy/buf.h"

#define STATUS_FRONTS_MAX 64
#define STATUS_LOCKS_MAX \
    500 /* lock-outs listed, as many as CONTROL_ANSWER_MAX can hold; more are only counted */

struct status {
    const char *version;
    const char *state; /* "starting", "serving", "stopping" */
    int pid;
    int64_t now; /* seconds since 1970, as the two below */
    int64_t started;
    int64_t in_force; /* the configuration, since then */
    size_t front_count;
    struct {
        int pid;
        const char *state; /* "starting", "serving", "draining" */
    } front[STATUS_FRONTS_MAX];
    unsigned mechanisms; /* offered now: enum sasl_mechanism bits */
    struct {
        uint64_t accepted;
        uint64_t rejected;
        uint64_t unavailable;
        uint64_t limited;
        uint64_t turned_away;
        uint64_t cache_hits;
        uint64_t lockouts[GUARD_WHATS];
        unsigned open;
        unsigned waiting;
        unsigned running;
    } logins;
    size_t upstream_count;
    struct {
        const char *name;
        unsigned max;
        size_t in_use;
        size_t waiting;
    } upstream[CONF_UPSTREAMS_MAX];
    size_t lock_count; /* all of them */
    size_t locks_listed;
    struct guard_lock lock[STATUS_LOCKS_MAX];
};

/* False: no room. */
bool status_json(struct buf *out, const struct status *s);
bool status_text(struct buf *out, const struct status *s);

#endif
