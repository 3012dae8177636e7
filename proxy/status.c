#include "proxy/status.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "auth/sasl.h"
#include "auth/utf8.h"
#include "proxy/json.h"

static const char *const status_whats[GUARD_WHATS] = {"network", "account", "password"};

static uint64_t status_since(const struct status *s, int64_t then)
{
    return s->now > then ? (uint64_t)(s->now - then) : 0;
}

/* --- for programs
 * ---------------------------------------------------------------------------------------------
 */

static void status_json_fronts(struct json *j, const struct status *s)
{
    json_list(j, "fronts");
    for (size_t i = 0; i < s->front_count; i++) {
        json_object(j, NULL);
        json_number(j, "pid", (uint64_t)s->front[i].pid);
        json_string(j, "state", s->front[i].state);
        json_object_end(j);
    }
    json_list_end(j);
}

static void status_json_logins(struct json *j, const struct status *s)
{
    json_object(j, "logins");
    json_number(j, "accepted", s->logins.accepted);
    json_number(j, "rejected", s->logins.rejected);
    json_number(j, "unavailable", s->logins.unavailable);
    json_number(j, "limited", s->logins.limited);
    json_number(j, "turned_away", s->logins.turned_away);
    json_number(j, "cache_hits", s->logins.cache_hits);
    json_number(j, "open", s->logins.open);
    json_number(j, "waiting", s->logins.waiting);
    json_number(j, "running", s->logins.running);
    json_object(j, "lockouts");
    for (size_t i = 0; i < GUARD_WHATS; i++)
        json_number(j, status_whats[i], s->logins.lockouts[i]);
    json_object_end(j);
    json_object_end(j);
}

static void status_json_upstreams(struct json *j, const struct status *s)
{
    json_list(j, "upstreams");
    for (size_t i = 0; i < s->upstream_count; i++) {
        json_object(j, NULL);
        json_string(j, "name", s->upstream[i].name);
        json_number(j, "in_use", s->upstream[i].in_use);
        json_number(j, "waiting", s->upstream[i].waiting);
        json_number(j, "max", s->upstream[i].max);
        json_object_end(j);
    }
    json_list_end(j);
}

static void status_json_locks(struct json *j, const struct status *s)
{
    json_number(j, "lockout_count", s->lock_count);
    json_list(j, "lockouts");
    for (size_t i = 0; i < s->locks_listed; i++) {
        json_object(j, NULL);
        json_string(j, "what", status_whats[s->lock[i].what]);
        json_string(j, "name", s->lock[i].name);
        json_number(j, "strikes", s->lock[i].strikes);
        json_number(j, "seconds_left", (s->lock[i].left_ms + 999) / 1000);
        json_object_end(j);
    }
    json_list_end(j);
}

static void status_json_mechanisms(struct json *j, const struct status *s)
{
    json_list(j, "mechanisms");
    for (unsigned bit = 1; bit < SASL_ALL; bit <<= 1)
        if (s->mechanisms & bit)
            json_string(j, NULL, sasl_name((enum sasl_mechanism)bit));
    json_list_end(j);
}

bool status_json(struct buf *out, const struct status *s)
{
    struct json j;

    json_init(&j, out);
    json_object(&j, NULL);
    json_bool(&j, "ok", true);
    json_string(&j, "version", s->version);
    json_string(&j, "state", s->state);
    json_number(&j, "pid", (uint64_t)s->pid);
    json_number(&j, "uptime_seconds", status_since(s, s->started));
    json_number(&j, "configuration_seconds", status_since(s, s->in_force));
    status_json_fronts(&j, s);
    status_json_mechanisms(&j, s);
    status_json_logins(&j, s);
    status_json_upstreams(&j, s);
    status_json_locks(&j, s);
    json_object_end(&j);
    return !j.failed && buf_text(out, "\n");
}

/* --- for people
 * ---------------------------------------------------------------------------------------------
 */

enum { STATUS_SPAN_MAX = 32, STATUS_TIME_MAX = 32 };

/* "3d 4h", "2m 5s": the two largest units. */
static void status_span(char out[STATUS_SPAN_MAX], uint64_t seconds)
{
    static const struct {
        uint64_t seconds;
        char unit;
    } units[] = {{86400, 'd'}, {3600, 'h'}, {60, 'm'}, {1, 's'}};
    size_t i = 0;

    while (i < 3 && seconds < units[i].seconds)
        i++;
    if (i == 3)
        snprintf(out, STATUS_SPAN_MAX, "%" PRIu64 "s", seconds);
    else
        snprintf(out, STATUS_SPAN_MAX, "%" PRIu64 "%c %" PRIu64 "%c", seconds / units[i].seconds,
                 units[i].unit, seconds % units[i].seconds / units[i + 1].seconds,
                 units[i + 1].unit);
}

static void status_time(char out[STATUS_TIME_MAX], int64_t when)
{
    const time_t seconds = (time_t)when;
    struct tm tm;

    out[0] = '\0';
    if (gmtime_r(&seconds, &tm) != NULL)
        strftime(out, STATUS_TIME_MAX, "%Y-%m-%d %H:%M:%S UTC", &tm);
}

/* A name must not be able to draw on a terminal. */
static bool status_name(struct buf *out, const char *name)
{
    const size_t len = strlen(name);
    bool ok = true;

    for (size_t i = 0; i < len && ok;) {
        uint32_t point = 0;
        const size_t used = utf8_next(&point, name + i, len - i);
        const bool shown = used > 0 && point >= ' ' && (point < 0x7f || point > 0x9f);
        ok = shown ? buf_append(out, name + i, used) : buf_text(out, "?");
        i += used > 0 ? used : 1;
    }
    return ok;
}

static bool status_text_head(struct buf *out, const struct status *s)
{
    char started[STATUS_TIME_MAX], in_force[STATUS_TIME_MAX], up[STATUS_SPAN_MAX],
        for_so_long[STATUS_SPAN_MAX], mechanisms[256];

    status_time(started, s->started);
    status_time(in_force, s->in_force);
    status_span(up, status_since(s, s->started));
    status_span(for_so_long, status_since(s, s->in_force));
    sasl_list(mechanisms, sizeof mechanisms, s->mechanisms);
    return buf_printf(out,
                      "vestibule %s, %s, pid %d\n"
                      "running since        %s (%s)\n"
                      "configuration since  %s (%s)\n"
                      "mechanisms           %s\n",
                      s->version, s->state, s->pid, started, up, in_force, for_so_long,
                      mechanisms[0] != '\0' ? mechanisms : "none: no credential backend answers");
}

static bool status_text_fronts(struct buf *out, const struct status *s)
{
    bool ok = true;

    for (size_t i = 0; i < s->front_count; i++)
        ok &= buf_printf(out, "front                pid %d, %s\n", s->front[i].pid,
                         s->front[i].state);
    for (size_t i = 0; i < s->upstream_count; i++)
        ok &= buf_printf(
            out, "upstream             %s: %zu of %u connections in use, %zu waiting\n",
            s->upstream[i].name, s->upstream[i].in_use, s->upstream[i].max, s->upstream[i].waiting);
    return ok;
}

static bool status_text_logins(struct buf *out, const struct status *s)
{
    return buf_printf(out,
                      "logins               %" PRIu64 " accepted (%" PRIu64
                      " from the cache), %" PRIu64 " refused, %" PRIu64 " not to be checked,\n"
                      "                     %" PRIu64 " kept out by lock-outs, %" PRIu64
                      " turned away; %u under way, %u of them in line\n"
                      "lock-outs so far     %" PRIu64 " of networks, %" PRIu64
                      " of accounts, %" PRIu64 " of passwords\n",
                      s->logins.accepted, s->logins.cache_hits, s->logins.rejected,
                      s->logins.unavailable, s->logins.limited, s->logins.turned_away,
                      s->logins.open, s->logins.waiting, s->logins.lockouts[GUARD_NETWORK],
                      s->logins.lockouts[GUARD_ACCOUNT], s->logins.lockouts[GUARD_PASSWORD]);
}

static bool status_text_lock(struct buf *out, const struct guard_lock *lock)
{
    char left[STATUS_SPAN_MAX];
    bool ok;

    status_span(left, (lock->left_ms + 999) / 1000);
    ok = buf_printf(out, "  %-8s ", status_whats[lock->what]) &&
         (lock->what == GUARD_PASSWORD ? buf_text(out, "one that was tried on many accounts")
                                       : status_name(out, lock->name));
    return ok && buf_printf(out, ": %" PRIu32 " strikes, %s left\n", lock->strikes, left);
}

static bool status_text_locks(struct buf *out, const struct status *s)
{
    bool ok = s->lock_count > 0 ? buf_printf(out, "locked out now       %zu\n", s->lock_count)
                                : buf_text(out, "locked out now       nobody\n");

    for (size_t i = 0; i < s->locks_listed && ok; i++)
        ok = status_text_lock(out, &s->lock[i]);
    if (ok && s->lock_count > s->locks_listed)
        ok = buf_printf(out, "  and %zu more\n", s->lock_count - s->locks_listed);
    return ok;
}

bool status_text(struct buf *out, const struct status *s)
{
    return status_text_head(out, s) && status_text_fronts(out, s) && status_text_logins(out, s) &&
           status_text_locks(out, s);
}
