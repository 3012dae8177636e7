#include "auth/oauth_keys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "auth/fetch_once.h"
#include "auth/file_state.h"
#include "auth/text_file.h"

struct oauth_keys {
    const char *source;
    const char *ca;
    struct jwk_set *set;    /* NULL: none yet */
    struct file_state seen; /* of a file */
    uv_loop_t *loop;        /* NULL: not started */
    uv_timer_t timer;
    struct fetch *fetch;
    struct fetch_job job;
    bool asking;
    bool away; /* the last question had no good answer */
    uint64_t last;
    void (*renewed)(void *owner);
    void (*closed)(void *owner);
    void *owner;
    void (*say)(const char *event, const char *sentence);
};

bool oauth_keys_remote(const struct oauth_keys *k)
{
    return k->source[0] != '/';
}

const struct jwk_set *oauth_keys_now(const struct oauth_keys *k)
{
    return k->set;
}

bool oauth_keys_away(const struct oauth_keys *k)
{
    return k->away;
}

static bool keys_take(struct oauth_keys *k, const char *text, size_t len,
                      char error[BACKEND_ERROR_MAX])
{
    char why[JWK_ERROR_MAX];
    struct jwk_set *fresh = jwk_set_parse(text, len, why);

    if (fresh == NULL) {
        snprintf(error, BACKEND_ERROR_MAX, "jwks %.200s %s", k->source, why);
        return false;
    }
    jwk_set_free(k->set);
    k->set = fresh;
    return true;
}

static bool keys_read(struct oauth_keys *k, char error[BACKEND_ERROR_MAX])
{
    const int fd = open(k->source, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    struct stat st;
    size_t len;
    char *text = fd >= 0 ? text_file_read(&len, &st, fd, JWK_SET_MAX) : NULL;
    const int why = errno;
    bool good = text != NULL;

    if (fd >= 0)
        close(fd);
    if (!good)
        snprintf(error, BACKEND_ERROR_MAX,
                 "jwks %.200s cannot be read: %s; check the path and who may read it", k->source,
                 why == EINVAL ? "no plain file, or longer than 256 KiB" : strerror(why));
    good = good && keys_take(k, text, len, error);
    free(text);
    return good;
}

struct oauth_keys *oauth_keys_open(const char *source, const char *ca,
                                   char error[BACKEND_ERROR_MAX])
{
    struct oauth_keys *k = calloc(1, sizeof *k);

    if (k == NULL) {
        snprintf(error, BACKEND_ERROR_MAX, "out of memory");
        return NULL;
    }
    k->source = source;
    k->ca = ca;
    if (oauth_keys_remote(k)) {
        if (strncmp(source, "https://", 8) == 0)
            return k;
        snprintf(error, BACKEND_ERROR_MAX,
                 "jwks %.200s is neither a path nor an https URL; write /PATH or https://HOST",
                 source);
    } else {
        k->seen = file_state_of(source);
        if (keys_read(k, error))
            return k;
    }
    free(k);
    return NULL;
}

bool oauth_keys_refresh(struct oauth_keys *k, char error[BACKEND_ERROR_MAX])
{
    const struct file_state now = oauth_keys_remote(k) ? k->seen : file_state_of(k->source);

    if (file_state_same(&now, &k->seen))
        return true;
    k->seen = now;
    return keys_read(k, error);
}

/* --- from a URL
 * ----------------------------------------------------------------------------------------------
 */

/* As keys_take. */
static bool keys_take_answer(struct oauth_keys *k, const struct fetch_result *r,
                             char error[BACKEND_ERROR_MAX])
{
    if (r->outcome != FETCH_DONE)
        snprintf(error, BACKEND_ERROR_MAX, "jwks %.200s: %.280s", k->source, r->error);
    else if (r->status != 200)
        snprintf(error, BACKEND_ERROR_MAX, "jwks %.200s: the server answers with status %ld",
                 k->source, r->status);
    else
        return keys_take(k, r->body, r->body_len, error);
    return false;
}

static void keys_ask(struct oauth_keys *k);

static void on_timer(uv_timer_t *timer)
{
    struct oauth_keys *k = timer->data;

    if (!k->asking)
        keys_ask(k);
}

static void on_answer(struct fetch_job *job, const struct fetch_result *r)
{
    struct oauth_keys *k = job->owner;
    const bool was_away = k->away;
    char error[BACKEND_ERROR_MAX];

    k->asking = false;
    k->last = uv_now(k->loop);
    k->away = !keys_take_answer(k, r, error);
    /* Once: until it works again, all that would be said is the same. */
    if (k->away && !was_away && k->say != NULL)
        k->say("oauth_keys", error);
    uv_timer_start(&k->timer, on_timer, k->away ? OAUTH_KEYS_RETRY_MS : OAUTH_KEYS_HOUR_MS, 0);
    uv_unref((uv_handle_t *)&k->timer);
    k->renewed(k->owner);
}

static struct fetch_request keys_request(const struct oauth_keys *k)
{
    return (struct fetch_request){.url = k->source,
                                  .schemes = "https",
                                  .ca = k->ca,
                                  .max = JWK_SET_MAX,
                                  .timeout_ms = OAUTH_KEYS_FETCH_MS};
}

static void keys_ask(struct oauth_keys *k)
{
    const struct fetch_request request = keys_request(k);

    k->asking = true;
    k->job = (struct fetch_job){.done = on_answer, .owner = k};
    fetch_begin(k->fetch, &k->job, &request);
}

void oauth_keys_start(struct oauth_keys *k, uv_loop_t *loop, struct fetch *fetch,
                      void (*renewed)(void *owner), void *owner,
                      void (*say)(const char *event, const char *sentence))
{
    k->loop = loop;
    k->fetch = fetch;
    k->renewed = renewed;
    k->owner = owner;
    k->say = say;
    uv_timer_init(loop, &k->timer);
    k->timer.data = k;
    if (oauth_keys_remote(k))
        keys_ask(k);
}

enum oauth_keys_hope oauth_keys_renew(struct oauth_keys *k)
{
    const uint64_t pause = k->set != NULL ? OAUTH_KEYS_AGAIN_MS : 0;

    if (!oauth_keys_remote(k))
        return OAUTH_KEYS_CURRENT;
    if (k->asking)
        return OAUTH_KEYS_COMING;
    if (uv_now(k->loop) - k->last < pause)
        return k->away ? OAUTH_KEYS_AWAY : OAUTH_KEYS_CURRENT;
    keys_ask(k);
    return OAUTH_KEYS_COMING;
}

/* --- for `vestibule check`
 * -----------------------------------------------------------------------------------
 */

struct keys_look {
    struct oauth_keys *keys;
    char *text;
    bool good;
};

static void on_looked(struct fetch_job *job, const struct fetch_result *r)
{
    struct keys_look *look = job->owner;

    look->good = keys_take_answer(look->keys, r, look->text);
}

static bool keys_look(struct oauth_keys *k, char text[BACKEND_ERROR_MAX])
{
    const struct fetch_request request = keys_request(k);
    struct keys_look look = {.keys = k, .text = text};
    struct fetch_job job = {.done = on_looked, .owner = &look};

    return fetch_once(&job, &request, text) && look.good;
}

bool oauth_keys_describe(struct oauth_keys *k, char text[BACKEND_ERROR_MAX])
{
    if (oauth_keys_remote(k) && !keys_look(k, text))
        return false;
    snprintf(text, BACKEND_ERROR_MAX, "%zu key%s from %.256s", jwk_set_count(k->set),
             jwk_set_count(k->set) == 1 ? "" : "s", k->source);
    return true;
}

static void keys_free(struct oauth_keys *k)
{
    void (*const closed)(void *owner) = k->closed;
    void *const owner = k->owner;

    jwk_set_free(k->set);
    free(k);
    closed(owner);
}

static void on_closed(uv_handle_t *timer)
{
    keys_free(timer->data);
}

void oauth_keys_close(struct oauth_keys *k, void (*closed)(void *owner), void *owner)
{
    k->closed = closed;
    k->owner = owner;
    if (k->loop == NULL) {
        keys_free(k);
        return;
    }
    if (k->asking)
        fetch_drop(k->fetch, &k->job);
    uv_close((uv_handle_t *)&k->timer, on_closed);
}
