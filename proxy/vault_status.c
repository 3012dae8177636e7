#include "proxy/vault_parts.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "proxy/ask.h"
#include "proxy/json.h"
#include "proxy/log.h"
#include "proxy/status.h"

static const char *front_state(const struct vault *v, const struct spawn *s)
{
    if (s == v->coming || (s == v->current && v->state == VAULT_STARTING))
        return "starting";
    return s == v->current && v->state == VAULT_SERVING ? "serving" : "draining";
}

static void gather_fronts(struct status *out, const struct vault *v)
{
    _Static_assert((int)STATUS_FRONTS_MAX >= (int)FRONTS_MAX, "every front is told of");
    for (out->front_count = 0; out->front_count < v->fronts; out->front_count++) {
        const struct spawn *s = v->all[out->front_count];
        out->front[out->front_count].pid = spawn_pid(s);
        out->front[out->front_count].state = front_state(v, s);
    }
}

static void gather_logins(struct status *out, const struct vault *v)
{
    struct judge_counts counts = judge_counts(v->judge);
    out->mechanisms = judge_mechanisms(v->edition);
    out->logins.accepted = counts.accepted;
    out->logins.rejected = counts.rejected;
    out->logins.unavailable = counts.unavailable;
    out->logins.limited = counts.limited;
    out->logins.turned_away = counts.turned_away;
    out->logins.cache_hits = counts.cache_hits;
    for (size_t i = 0; i < GUARD_WHATS; i++)
        out->logins.lockouts[i] = counts.lockouts[i];
    out->logins.open = counts.open;
    out->logins.waiting = counts.waiting;
    out->logins.running = counts.running;
}

static void gather_upstreams(struct status *out, const struct vault *v)
{
    const struct conf *conf = v->edition->conf;
    for (size_t i = 0; i < conf->upstream_count; i++) {
        out->upstream[i].name = conf->upstream[i].name;
        out->upstream[i].max = conf->upstream[i].max_connections;
        lender_count(v->lender, &out->upstream[i].in_use, &out->upstream[i].waiting,
                     conf->upstream[i].name);
    }
    out->upstream_count = conf->upstream_count;
}

static void gather_locks(struct status *out, struct vault *v)
{
    const struct guard *guard = judge_guard(v->judge);
    struct guard_lock lock;
    for (size_t place = 0; guard_list(guard, &lock, &place, uv_now(&v->loop));) {
        if (out->locks_listed < STATUS_LOCKS_MAX)
            out->lock[out->locks_listed++] = lock;
        out->lock_count++;
    }
}

static struct status *gather(struct vault *v)
{
    static const char *const states[] = {"starting", "serving", "stopping"};
    struct status *s = calloc(1, sizeof *s);
    if (s == NULL)
        return NULL;
    s->version = VESTIBULE_VERSION;
    s->state = states[v->state];
    s->pid = (int)getpid();
    s->now = (int64_t)time(NULL);
    s->started = v->started;
    s->in_force = v->in_force;
    gather_fronts(s, v);
    gather_logins(s, v);
    gather_upstreams(s, v);
    gather_locks(s, v);
    return s;
}

static void lift(struct vault *v, struct buf *out, const char *name)
{
    struct json j;
    struct log_line l;
    bool lifted = guard_lift(judge_guard(v->judge), name, uv_now(&v->loop));
    json_init(&j, out);
    json_object(&j, NULL);
    json_bool(&j, "ok", lifted);
    if (!lifted)
        json_string(&j, "error", "there is no such lock-out");
    json_object_end(&j);
    buf_text(out, "\n");
    if (!lifted)
        return;
    log_begin(&l, LOG_LEVEL_INFO, "lockout_lifted");
    log_string(&l, "name", name);
    log_end(&l);
}

static void tell(struct vault *v, struct buf *out, bool json)
{
    struct status *s = v->edition != NULL ? gather(v) : NULL;
    bool told = s != NULL && (json ? status_json(out, s) : status_text(out, s));
    free(s);
    if (told)
        return;
    buf_clear(out);
    buf_text(out, "{\"ok\":false,\"error\":\"out of memory\"}\n");
}

static void answer(void *owner, struct buf *out, const struct control_request *request)
{
    struct vault *v = owner;
    if (request->verb == CONTROL_LIFT)
        lift(v, out, request->name);
    else
        tell(v, out, request->verb == CONTROL_STATUS);
}

void vault_open_control(struct vault *v)
{
    char path[CONTROL_PATH_MAX + 1];
    if (v->control_fd >= 0 && ask_path(path, sizeof path, v->edition->conf))
        v->control = control_start(&v->loop, v->control_fd, path, answer, v);
    v->control_fd = -1;
}

void vault_move_control(struct vault *v)
{
    char path[CONTROL_PATH_MAX + 1] = "", error[CONTROL_ERROR_MAX] = "its path is too long";
    bool fits = ask_path(path, sizeof path, v->edition->conf);
    if (fits && v->control != NULL && strcmp(control_path(v->control), path) == 0)
        return;
    if (!fits || control_bind(&v->control_fd, path, NULL, error) != CONTROL_OPENED) {
        log_say(LOG_LEVEL_ERROR, "control", "%s; the control socket stays where it was", error);
        return;
    }
    control_close(v->control);
    vault_open_control(v);
}
