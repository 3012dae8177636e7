/* One thread of the front: a loop, its listeners, its sessions, its link to the vault. */
#ifndef VESTIBULE_PROXY_WORKER_H
#define VESTIBULE_PROXY_WORKER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <uv.h>

#include "conf/conf.h"
#include "proxy/bundle.h"
#include "proxy/capabilities.h"
#include "proxy/link.h"
#include "proxy/smtp.h"
#include "proxy/upstream.h"
#include "tls/engine.h"

struct crowd;
struct session;
struct doorway;
struct probe;

/* A listener as the front runs it; immutable, shared by the workers. */
struct port {
    const struct conf_listener *conf;
    uint32_t index; /* into conf->listener: what the vault knows it by */
    struct smtp_rules rules;
    struct smtp_gate gate; /* what rules.gate points to, where there is one */
    struct tls_context *tls;
    struct upstream_target target;
    const struct conf_upstream *upstream;
};

/* What the workers of a front share. */
struct front {
    const struct bundle *bundle;
    const struct conf *conf;
    struct port port[CONF_LISTENERS_MAX];
    atomic_uint sessions;              /* of all workers, against the next */
    unsigned max_sessions;             /* the key's, or less: as many as the descriptors are for */
    atomic_uint_least64_t short_until; /* ms: no more lines about missing descriptors till then */
    struct crowd *crowd;
    pthread_mutex_t lock; /* over the two below */
    unsigned learnt_version;
    struct capabilities learnt[CONF_UPSTREAMS_MAX];
};

#define WORKER_SCRATCH 65536

struct worker {
    struct front *front;
    unsigned index;
    pthread_t thread;
    uv_loop_t loop;
    struct link *link;                            /* NULL once the vault is gone */
    struct doorway *doorways[BUNDLE_SOCKETS_MAX]; /* accepting sockets; none while draining */
    size_t doorway_count;
    uint32_t mechanisms; /* what the vault can have checked */
    bool told;           /* it said so */
    bool settled;
    bool draining;
    uv_timer_t drain_timer;
    /* sessions by slot; a session's number is its slot and a count, so that a late answer finds
     * nobody */
    struct slot {
        struct session *session; /* NULL: free */
        size_t next_free;
    } * slots;
    size_t slot_count;
    size_t first_free; /* slot_count: none */
    size_t live;
    uint32_t serial;
    unsigned learnt_version;
    struct capabilities learnt[CONF_UPSTREAMS_MAX]; /* this thread's copy */
    struct probe *probe;                            /* worker 0 asks the MTAs what they offer */
    uint8_t scratch[WORKER_SCRATCH];                /* for one call at a time */
};

/* `channel` is the worker's end of the socketpair. False: could not start. */
bool worker_start(struct worker *w, struct front *front, unsigned index, int channel);

/* Worker 0, before its thread's loop runs: until the MTAs and the vault have said what they offer,
 * for a second at most, so that the first client's EHLO is answered as all others will be. */
void worker_settle(struct worker *w);

/* From here on it accepts, and the vault knows. False: descriptors or memory are short. */
bool worker_open_doors(struct worker *w);

void worker_run(struct worker *w); /* until drained */

/* For sessions. A slot: false when memory is short. */
bool worker_admit(struct worker *w, struct session *s, uint64_t *number);
void worker_forget(struct worker *w, uint64_t number);
uint64_t worker_number(struct worker *w, uint64_t number); /* another number for the same slot */

/* What was learnt of an MTA goes to all workers; each takes it over with its next session. */
void worker_learnt(struct worker *w, size_t upstream, const struct capabilities *c);
const struct capabilities *worker_capabilities(struct worker *w, size_t upstream);

#endif
