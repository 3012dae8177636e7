#include "proxy/vault_parts.h"

#include <errno.h>
#include <string.h>

#include "proxy/learnt.h"
#include "proxy/log.h"

#define BACKOFF_FIRST_MS 100
#define BACKOFF_MAX_MS 10000
#define HEALTHY_MS 60000 /* a front that lived so long starts the back-off anew */

static void on_ready(void *owner, struct spawn *s);
static void on_question(void *owner, struct spawn *s, struct link *l,
                        const struct channel_frame *frame);
static void on_link_gone(void *owner, struct link *l);
static void on_gone(void *owner, struct spawn *s, int64_t status, int signal);

struct spawn *vault_start_front(struct vault *v, struct edition *e,
                                const struct listen_set *sockets)
{
    static const struct spawn_events events = {
        .ready = on_ready, .question = on_question, .link_gone = on_link_gone, .gone = on_gone};
    char error[SPAWN_ERROR_MAX] = "too many fronts are draining; try again later";
    struct spawn *s = NULL;
    if (v->fronts < FRONTS_MAX)
        s = spawn_start(&v->loop, e, sockets, &v->tickets, v->log_fd, &events, v, error);
    if (s == NULL)
        log_say(LOG_LEVEL_ERROR, "front_failed", "%s", error);
    else
        v->all[v->fronts++] = s;
    if (s != NULL)
        spawn_mechanisms(s, judge_mechanisms(e));
    return s;
}

static void forget_front(struct vault *v, const struct spawn *s)
{
    for (size_t i = 0; i < v->fronts; i++)
        if (v->all[i] == s) {
            v->all[i] = v->all[--v->fronts];
            return;
        }
}

void vault_each_front(struct vault *v, void (*act)(struct spawn *s))
{
    for (size_t i = 0; i < v->fronts; i++)
        act(v->all[i]);
}

static void keep_learnt(struct edition *e, const struct channel_frame *frame)
{
    size_t index = frame->as.learnt.upstream;
    if (index >= e->conf->upstream_count)
        return;
    const struct conf_upstream *upstream = &e->conf->upstream[index];
    e->learnt[index] = (struct capabilities){
        .known = true, .extensions = frame->as.learnt.extensions, .size = frame->as.learnt.size};
    if (!learnt_save(e->conf->state_dir, upstream, &e->learnt[index]))
        log_say(LOG_LEVEL_INFO, "state_dir",
                "what the MTA of upstream %s offers cannot be kept in %s: %s", upstream->name,
                e->conf->state_dir, strerror(errno));
}

static void give_permission(struct vault *v, struct link *l, struct edition *e,
                            const struct channel_frame *frame)
{
    enum channel_permission permission = permits_judge(v->permits, e, frame, uv_now(&v->loop));
    link_send(l,
              &(struct channel_frame){
                  .type = CHANNEL_PERMITTED, .number = frame->number, .as.permission = permission});
}

static void on_question(void *owner, struct spawn *s, struct link *l,
                        const struct channel_frame *frame)
{
    struct vault *v = owner;
    switch (frame->type) {
    case CHANNEL_LEARNT:
        keep_learnt(spawn_edition(s), frame);
        break;
    case CHANNEL_PERMIT:
        give_permission(v, l, spawn_edition(s), frame);
        break;
    case CHANNEL_LEASE:
    case CHANNEL_RETURN:
        lender_take(v->lender, l, spawn_edition(s)->conf, frame);
        break;
    case CHANNEL_SIGN:
        signer_take(&v->signer, l, spawn_edition(s), frame);
        break;
    default:
        judge_take(v->judge, l, spawn_edition(s), frame);
        break;
    }
}

static void on_link_gone(void *owner, struct link *l)
{
    struct vault *v = owner;
    lender_link_gone(v->lender, l);
    judge_link_gone(v->judge, l);
}

static void on_ready(void *owner, struct spawn *s)
{
    struct vault *v = owner;
    if (s == v->coming) {
        vault_take_over(v);
    } else if (s == v->current && v->state == VAULT_STARTING) {
        v->state = VAULT_SERVING;
        log_say(LOG_LEVEL_INFO, "ready", "vestibule %s accepts connections", VESTIBULE_VERSION);
        if (v->reload_again)
            vault_reload(v);
    }
    v->serving_since = uv_now(&v->loop);
}

static void on_restart(uv_timer_t *restart)
{
    struct vault *v = restart->data;
    v->current = vault_start_front(v, v->edition, &v->sockets);
    if (v->current == NULL)
        uv_timer_start(&v->restart, on_restart, BACKOFF_MAX_MS, 0);
}

/* At once the first time, then later and later: a front that dies of its input must not burn the
 * host. */
static void restart_later(struct vault *v)
{
    if (uv_now(&v->loop) - v->serving_since > HEALTHY_MS)
        v->backoff = 0;
    uv_timer_start(&v->restart, on_restart, v->backoff, 0);
    v->backoff = v->backoff == 0 ? BACKOFF_FIRST_MS : v->backoff * 2;
    if (v->backoff > BACKOFF_MAX_MS)
        v->backoff = BACKOFF_MAX_MS;
}

static void current_gone(struct vault *v, const struct spawn *s, int64_t status, int signal)
{
    v->current = NULL;
    log_say(LOG_LEVEL_ERROR, "front_died", "the front (pid %d) ended by %s %d; another is started",
            spawn_pid(s), signal != 0 ? "signal" : "exit status",
            signal != 0 ? signal : (int)status);
    if (v->state == VAULT_STARTING) {
        v->status = 1;
        v->state = VAULT_STOPPING;
    } else {
        restart_later(v);
    }
}

static void on_gone(void *owner, struct spawn *s, int64_t status, int signal)
{
    struct vault *v = owner;
    forget_front(v, s);
    if (v->state != VAULT_STOPPING) {
        if (s == v->coming)
            vault_abandon_reload(v);
        else if (s == v->current)
            current_gone(v, s, status, signal);
    }
    if (v->state == VAULT_STOPPING && v->fronts == 0)
        vault_close_loop(v);
}
