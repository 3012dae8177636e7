#include <errno.h>
#include <fcntl.h>
#include <openssl/mem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <time.h>
#include <unistd.h>

#include "auth/backend.h"
#include "auth/fetch_once.h"
#include "auth/file_state.h"
#include "auth/jwt.h"
#include "auth/oauth_introspection.h"
#include "auth/oauth_keys.h"
#include "auth/text_file.h"
#include "auth/url_spec.h"
#include "auth/waiting.h"

#define OAUTH_MECHANISMS (SASL_OAUTHBEARER | SASL_XOAUTH2)
#define OAUTH_SECRET_MAX 4096
#define OAUTH_SAY_MS 1000 /* one reason for refusals stands in the log no more often */
#define OAUTH_ASK_MS 15000

enum oauth_state {
    OAUTH_KEYS,   /* waits for the issuer's keys */
    OAUTH_SERVER, /* the server is asked */
    OAUTH_KNOWN,  /* the answer is there, and given in the loop's next turn */
};

/* Where a question is; written by question_enter alone. */
struct oauth_question {
    TAILQ_ENTRY(oauth_question) place; /* in the backend's line of that state */
    enum oauth_state state;
    struct oauth *oauth;
    struct backend_question *q;
    struct fetch_job job;
    enum backend_verdict verdict;
    char login[SASL_LOGIN_MAX + 1];
};

TAILQ_HEAD(oauth_questions, oauth_question);

struct oauth {
    struct backend base;
    struct backend_settings settings;
    struct oauth_keys *keys; /* NULL: no JWT is taken */
    char *client_id;         /* as it goes over the wire; NULL: none */
    char *secret;            /* likewise, wiped */
    struct file_state secret_seen;
    uv_loop_t *loop; /* NULL: not started */
    struct fetch *fetch;
    struct waiting waiting; /* for questions that found no memory */
    uv_timer_t known_timer;
    struct oauth_questions line[OAUTH_KNOWN + 1];
    uint64_t said;        /* when a refusal was explained last */
    const char *said_why; /* static */
    int handles;
};

static struct oauth *oauth_of(struct backend *b)
{
    return (struct oauth *)b;
}

static struct oauth_rules oauth_rules(const struct oauth *o, bool introspected)
{
    return (struct oauth_rules){.issuer = o->settings.oauth.issuer,
                                .audience = o->settings.oauth.audience,
                                .login_claim = o->settings.oauth.login_claim,
                                .realm = o->settings.realm,
                                .introspected = introspected};
}

/* --- questions
 * -----------------------------------------------------------------------------------------------
 */

static void on_known(uv_timer_t *timer);

static void question_enter(struct oauth_question *a, enum oauth_state state)
{
    TAILQ_REMOVE(&a->oauth->line[a->state], a, place);
    a->state = state;
    TAILQ_INSERT_TAIL(&a->oauth->line[state], a, place);
}

static void question_free(struct oauth_question *a)
{
    a->q->state = NULL;
    TAILQ_REMOVE(&a->oauth->line[a->state], a, place);
    free(a);
}

static void question_know(struct oauth_question *a, enum backend_verdict verdict)
{
    a->verdict = verdict;
    question_enter(a, OAUTH_KNOWN);
    if (!uv_is_active((uv_handle_t *)&a->oauth->known_timer))
        uv_timer_start(&a->oauth->known_timer, on_known, 0, 0);
}

/* An answer may bring the next question, or the end of another: after each the line is looked at
 * anew. */
static void on_known(uv_timer_t *timer)
{
    struct oauth *o = timer->data;
    struct oauth_question *a;

    while ((a = TAILQ_FIRST(&o->line[OAUTH_KNOWN])) != NULL) {
        struct backend_question *q = a->q;
        const enum backend_verdict verdict = a->verdict;
        char login[SASL_LOGIN_MAX + 1];
        memcpy(login, a->login, sizeof login);
        question_free(a);
        q->answered(q, verdict, verdict == BACKEND_ACCEPTED ? login : NULL, NULL, 0);
    }
}

/* Why, without anything of the token itself. */
static void say_refused(struct oauth *o, const struct oauth_question *a, const char *why)
{
    const uint64_t now = uv_now(o->loop);
    const char *login = a->q->credential->login;
    char sentence[BACKEND_ERROR_MAX];

    if (o->settings.say == NULL || (why == o->said_why && now - o->said < OAUTH_SAY_MS))
        return;
    o->said = now;
    o->said_why = why;
    snprintf(sentence, sizeof sentence, "%s%s: the token %s",
             login[0] != '\0' ? "a client that calls itself " : "a client that names no login",
             login, why);
    o->settings.say("oauth_refused", sentence);
}

static void question_refuse(struct oauth_question *a, const char *why)
{
    say_refused(a->oauth, a, why);
    question_know(a, BACKEND_REJECTED);
}

/* --- tokens that are looked at here
 * --------------------------------------------------------------------------
 */

/* `hope`: what there is to be had beside the keys that are here. */
static void question_check(struct oauth_question *a, enum oauth_keys_hope hope)
{
    struct oauth *o = a->oauth;
    const struct sasl_credential *c = a->q->credential;
    const struct oauth_rules rules = oauth_rules(o, false);
    const struct jwk_set *keys = oauth_keys_now(o->keys);
    const char *why = NULL;
    enum jwt_status status = JWT_UNKNOWN_KEY;

    if (keys != NULL)
        status = jwt_check(a->login, &why, c->secret, c->secret_len, keys, &rules, c->login,
                           (int64_t)time(NULL));
    if (status == JWT_GOOD)
        question_know(a, BACKEND_ACCEPTED);
    else if (status == JWT_REFUSED)
        question_refuse(a, why);
    else if (hope == OAUTH_KEYS_COMING)
        question_enter(a, OAUTH_KEYS);
    else if (hope == OAUTH_KEYS_AWAY || keys == NULL)
        question_know(a, BACKEND_UNAVAILABLE);
    else
        question_refuse(a, why);
}

/* With the keys that are here; only when one is missed, others are asked for. */
static void question_begin_check(struct oauth_question *a)
{
    question_check(a, OAUTH_KEYS_COMING);
    if (a->state == OAUTH_KEYS) {
        const enum oauth_keys_hope hope = oauth_keys_renew(a->oauth->keys);
        if (hope != OAUTH_KEYS_COMING)
            question_check(a, hope);
    }
}

/* All that waited are judged by what is here now. */
static void on_keys_renewed(void *owner)
{
    struct oauth *o = owner;
    struct oauth_question *a;
    const enum oauth_keys_hope hope =
        oauth_keys_away(o->keys) ? OAUTH_KEYS_AWAY : OAUTH_KEYS_CURRENT;

    while ((a = TAILQ_FIRST(&o->line[OAUTH_KEYS])) != NULL)
        question_check(a, hope);
}

/* --- tokens that a server is asked about
 * ---------------------------------------------------------------------
 */

static void on_told(struct fetch_job *job, const struct fetch_result *r)
{
    struct oauth_question *a = job->owner;
    struct oauth *o = a->oauth;
    const struct oauth_rules rules = oauth_rules(o, true);
    const char *why = r->error;
    char sentence[BACKEND_ERROR_MAX];
    enum introspection_status status = INTROSPECTION_NONSENSE;

    if (r->outcome == FETCH_DONE)
        status = introspection_read(a->login, &why, r->status, r->body, r->body_len, &rules,
                                    a->q->credential->login, (int64_t)time(NULL));
    else if (r->outcome == FETCH_DENIED)
        why = "does not take client_id and client_secret_file";
    switch (status) {
    case INTROSPECTION_GOOD:
        question_know(a, BACKEND_ACCEPTED);
        break;
    case INTROSPECTION_REFUSED:
        question_refuse(a, why);
        break;
    case INTROSPECTION_NONSENSE:
        snprintf(sentence, sizeof sentence, "introspection %.200s: %.280s",
                 o->settings.oauth.introspection, why);
        if (o->settings.say != NULL)
            o->settings.say("oauth_server", sentence);
        question_know(a, BACKEND_UNAVAILABLE);
        break;
    }
}

static struct fetch_request introspection_request(const struct oauth *o, const char *form)
{
    return (struct fetch_request){.url = o->settings.oauth.introspection,
                                  .schemes = "http,https",
                                  .ca = o->settings.ca,
                                  .user = o->client_id,
                                  .password = o->client_id == NULL ? NULL
                                              : o->secret == NULL  ? ""
                                                                   : o->secret,
                                  .body = form,
                                  .body_len = strlen(form),
                                  .max = INTROSPECTION_ANSWER_MAX,
                                  .timeout_ms = OAUTH_ASK_MS};
}

static void question_ask_server(struct oauth_question *a)
{
    const struct sasl_credential *c = a->q->credential;
    char *form = introspection_form(c->secret, c->secret_len);

    if (form == NULL) {
        question_know(a, BACKEND_UNAVAILABLE);
        return;
    }
    const struct fetch_request request = introspection_request(a->oauth, form);
    a->job = (struct fetch_job){.done = on_told, .owner = a};
    question_enter(a, OAUTH_SERVER);
    fetch_begin(a->oauth->fetch, &a->job, &request);
    introspection_wipe(form);
}

/* --- the backend's functions
 * ---------------------------------------------------------------------------------
 */

static bool secret_fits(const char *secret, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)secret[i] < ' ' || secret[i] == 0x7f)
            return false;
    return len > 0;
}

static bool secret_read(struct oauth *o, char error[BACKEND_ERROR_MAX])
{
    const char *path = o->settings.oauth.client_secret_file;
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    struct stat st;
    size_t len = 0;
    char *text = fd >= 0 ? text_file_read(&len, &st, fd, OAUTH_SECRET_MAX) : NULL;
    const int why = errno;
    char *fresh = NULL;

    if (fd >= 0)
        close(fd);
    if (text != NULL) {
        const size_t line = strcspn(text, "\r\n");
        if (secret_fits(text, line) && text[line + strspn(text + line, "\r\n")] == '\0' &&
            line + strspn(text + line, "\r\n") == len)
            fresh = introspection_encode(text, line);
        OPENSSL_cleanse(text, len);
        free(text);
        if (fresh == NULL)
            snprintf(error, BACKEND_ERROR_MAX,
                     "client_secret_file %.200s does not hold one line with a secret", path);
    } else {
        snprintf(error, BACKEND_ERROR_MAX,
                 "client_secret_file %.200s cannot be read: %s; check the path and who may read it",
                 path, strerror(why));
    }
    if (fresh == NULL)
        return false;
    introspection_wipe(o->secret);
    o->secret = fresh;
    return true;
}

static bool open_secret(struct oauth *o, char error[BACKEND_ERROR_MAX])
{
    const char *path = o->settings.oauth.client_secret_file;

    if (path == NULL)
        return true;
    o->secret_seen = file_state_of(path);
    return secret_read(o, error);
}

static bool open_server(struct oauth *o, char error[BACKEND_ERROR_MAX])
{
    const char *url = o->settings.oauth.introspection;
    const char *id = o->settings.oauth.client_id;
    const size_t scheme = url != NULL ? strcspn(url, ":") : 0;
    char why[BACKEND_ERROR_MAX], name[8] = "";
    struct url_spec spec;

    if (url == NULL)
        return true;
    if (strncmp(url, "https:", 6) == 0 || strncmp(url, "http:", 5) == 0)
        memcpy(name, url, scheme);
    if (name[0] == '\0' || !url_spec_parse(&spec, name, url + scheme + 1, why)) {
        snprintf(error, BACKEND_ERROR_MAX,
                 "introspection %.200s: write https://HOST/PATH, or http:// to a server on this "
                 "host's loopback",
                 url);
        return false;
    }
    if (id != NULL && (o->client_id = introspection_encode(id, strlen(id))) == NULL) {
        snprintf(error, BACKEND_ERROR_MAX, "out of memory");
        return false;
    }
    return open_secret(o, error);
}

static bool open_keys(struct oauth *o, char error[BACKEND_ERROR_MAX])
{
    const char *source = o->settings.oauth.jwks;

    if (source == NULL)
        return true;
    if (o->settings.oauth.issuer == NULL || o->settings.oauth.audience == NULL) {
        snprintf(error, BACKEND_ERROR_MAX,
                 "jwks %.200s: issuer and audience must be given with it, or tokens for others "
                 "would let in here",
                 source);
        return false;
    }
    o->keys = oauth_keys_open(source, o->settings.ca, error);
    return o->keys != NULL;
}

static bool oauth_needs_fetch(const struct oauth *o)
{
    return o->settings.oauth.introspection != NULL ||
           (o->keys != NULL && oauth_keys_remote(o->keys));
}

static bool open_parts(struct oauth *o, char error[BACKEND_ERROR_MAX])
{
    if (o->settings.oauth.jwks == NULL && o->settings.oauth.introspection == NULL) {
        snprintf(error, BACKEND_ERROR_MAX,
                 "[oauth] says neither jwks nor introspection, so no token can be checked; give "
                 "one of them");
        return false;
    }
    return open_keys(o, error) && open_server(o, error) &&
           (!oauth_needs_fetch(o) || fetch_load(error));
}

static void oauth_free(struct oauth *o)
{
    introspection_wipe(o->client_id);
    introspection_wipe(o->secret);
    free(o);
}

static void on_part_closed(void *owner)
{
    struct oauth *o = owner;

    if (--o->handles == 0)
        oauth_free(o);
}

static void on_handle_closed(uv_handle_t *handle)
{
    on_part_closed(handle->data);
}

static void oauth_close(struct backend *b)
{
    struct oauth *o = oauth_of(b);
    const bool started = o->loop != NULL;

    /* one of them is this function */
    o->handles = 1 + (o->keys != NULL) + (started ? 2 : 0);
    if (o->keys != NULL)
        oauth_keys_close(o->keys, on_part_closed, o);
    if (o->fetch != NULL)
        fetch_close(o->fetch);
    if (started) {
        uv_close((uv_handle_t *)&o->known_timer, on_handle_closed);
        waiting_stop(&o->waiting, on_handle_closed);
    }
    on_part_closed(o);
}

static struct backend *oauth_open(const char *scheme, const char *argument,
                                  const struct backend_settings *settings,
                                  char error[BACKEND_ERROR_MAX])
{
    (void)scheme, (void)argument;
    struct oauth *o = calloc(1, sizeof *o);

    if (o == NULL) {
        snprintf(error, BACKEND_ERROR_MAX, "out of memory");
        return NULL;
    }
    o->base.ops = &backend_oauth_ops;
    o->settings = *settings;
    if (o->settings.oauth.login_claim == NULL)
        o->settings.oauth.login_claim = "email";
    for (size_t i = 0; i <= OAUTH_KNOWN; i++)
        TAILQ_INIT(&o->line[i]);
    if (open_parts(o, error))
        return &o->base;
    oauth_close(&o->base);
    return NULL;
}

static bool oauth_start(struct backend *b, uv_loop_t *loop, char error[BACKEND_ERROR_MAX])
{
    struct oauth *o = oauth_of(b);

    if (oauth_needs_fetch(o) && (o->fetch = fetch_new(loop, error)) == NULL)
        return false;
    o->loop = loop;
    uv_timer_init(loop, &o->known_timer);
    o->known_timer.data = o;
    waiting_start(&o->waiting, loop, NULL);
    o->waiting.timer.data = o;
    if (o->keys != NULL)
        oauth_keys_start(o->keys, loop, o->fetch, on_keys_renewed, o, o->settings.say);
    return true;
}

static bool oauth_refresh(struct backend *b, char error[BACKEND_ERROR_MAX])
{
    struct oauth *o = oauth_of(b);
    const char *path = o->settings.oauth.client_secret_file;

    if (o->secret != NULL) {
        const struct file_state now = file_state_of(path);
        if (!file_state_same(&now, &o->secret_seen)) {
            o->secret_seen = now;
            if (!secret_read(o, error))
                return false;
        }
    }
    return o->keys == NULL || oauth_keys_refresh(o->keys, error);
}

static unsigned oauth_mechanisms(struct backend *b)
{
    (void)b;
    return OAUTH_MECHANISMS;
}

static void oauth_ask(struct backend *b, struct backend_question *q)
{
    struct oauth *o = oauth_of(b);
    struct oauth_question *a = calloc(1, sizeof *a);

    if (a == NULL) {
        waiting_answer(&o->waiting, q, BACKEND_UNAVAILABLE);
        return;
    }
    a->oauth = o;
    a->q = q;
    a->state = OAUTH_KNOWN;
    TAILQ_INSERT_TAIL(&o->line[a->state], a, place);
    q->state = a;
    if (o->keys != NULL && jwt_shaped(q->credential->secret, q->credential->secret_len))
        question_begin_check(a);
    else if (o->settings.oauth.introspection != NULL)
        question_ask_server(a);
    else
        question_refuse(a, "is no signed token (JWT), and there is no introspection");
}

static void oauth_leave(struct backend *b, struct backend_question *q)
{
    struct oauth *o = oauth_of(b);
    struct oauth_question *a;

    if (waiting_forget(&o->waiting, q))
        return;
    a = q->state;
    if (a == NULL)
        return;
    if (a->state == OAUTH_SERVER)
        fetch_drop(o->fetch, &a->job);
    question_free(a);
}

/* --- for `vestibule check`
 * -----------------------------------------------------------------------------------
 */

struct oauth_look {
    struct oauth *oauth;
    char *text;
    bool good;
};

/* A token that nobody has must not be active. */
static void on_looked(struct fetch_job *job, const struct fetch_result *r)
{
    struct oauth_look *look = job->owner;
    const struct oauth_rules rules = oauth_rules(look->oauth, true);
    const char *url = look->oauth->settings.oauth.introspection;
    const char *why = r->error;
    char login[SASL_LOGIN_MAX + 1];
    enum introspection_status status = INTROSPECTION_NONSENSE;

    if (r->outcome == FETCH_DONE)
        status = introspection_read(login, &why, r->status, r->body, r->body_len, &rules, "",
                                    (int64_t)time(NULL));
    if (status == INTROSPECTION_NONSENSE)
        snprintf(look->text, BACKEND_ERROR_MAX, "introspection %.200s: %.280s", url, why);
    else if (status == INTROSPECTION_GOOD)
        snprintf(look->text, BACKEND_ERROR_MAX,
                 "introspection %.200s takes a token that nobody has, so it would let everybody "
                 "in; name a URL that checks tokens",
                 url);
    else
        snprintf(look->text, BACKEND_ERROR_MAX, "tokens are asked about at %.256s", url);
    look->good = status == INTROSPECTION_REFUSED;
}

static bool look_at_server(struct oauth *o, char text[BACKEND_ERROR_MAX])
{
    const struct fetch_request request =
        introspection_request(o, "token_type_hint=access_token&token=vestibule-check");
    struct oauth_look look = {.oauth = o, .text = text};
    struct fetch_job job = {.done = on_looked, .owner = &look};

    return fetch_once(&job, &request, text) && look.good;
}

static bool oauth_describe(struct backend *b, char text[BACKEND_ERROR_MAX])
{
    struct oauth *o = oauth_of(b);
    char keys[BACKEND_ERROR_MAX] = "", server[BACKEND_ERROR_MAX] = "";
    const bool both = o->keys != NULL && o->settings.oauth.introspection != NULL;
    const bool keys_good = o->keys == NULL || oauth_keys_describe(o->keys, keys);
    const bool server_good = o->settings.oauth.introspection == NULL || look_at_server(o, server);

    /* A fault is told first, and whole. */
    if (!keys_good)
        snprintf(text, BACKEND_ERROR_MAX, "%s", keys);
    else if (!server_good)
        snprintf(text, BACKEND_ERROR_MAX, "%s", server);
    else
        snprintf(text, BACKEND_ERROR_MAX, "tokens: %.200s%s%.280s", keys, both ? "; " : "", server);
    return keys_good && server_good;
}

const struct backend_ops backend_oauth_ops = {
    .scheme = "oauth",
    .open = oauth_open,
    .start = oauth_start,
    .refresh = oauth_refresh,
    .mechanisms = oauth_mechanisms,
    .ask = oauth_ask,
    .leave = oauth_leave,
    .describe = oauth_describe,
    .close = oauth_close,
};
