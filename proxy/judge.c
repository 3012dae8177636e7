#include "proxy/judge.h"

#include <openssl/mem.h>
#include <openssl/rand.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "auth/cache.h"
#include "auth/line.h"
#include "auth/realm.h"
#include "proxy/hashing.h"
#include "proxy/log.h"

#define FULL_LOG_EVERY 100 /* one log line for so many logins that found the line full */

/* Where a login is; written by attempt_enter alone. */
enum attempt_state {
    ATTEMPT_NEW,
    ATTEMPT_HASH_LINE, /* waits for the pool */
    ATTEMPT_ASK_LINE,  /* waits to ask another server */
    ATTEMPT_HASHING,   /* in the pool */
    ATTEMPT_ASKING,    /* a backend works on it */
    ATTEMPT_CLIENT,    /* a challenge is out; the timer runs */
    ATTEMPT_DELAYED,   /* refused, the answer waits for the timer */
    ATTEMPT_CLOSING,   /* the timer's close callback frees it */
};

struct attempt {
    struct judge *judge;
    struct attempt *next; /* among the open ones */
    struct attempt **from;
    enum attempt_state state;
    struct link *link;
    struct edition *edition;
    uint64_t number;
    struct hashing_job work;
    uv_timer_t timer;
    struct line_place place;
    size_t backend;   /* whose turn it is */
    bool asked;       /* one of them at least */
    bool unavailable; /* one of them was */
    bool abandoned;   /* nobody waits for the answer; the pool's work cannot be called back */
    unsigned steps;
    uint64_t generation; /* of the backends, when it began */
    enum backend_verdict verdict;
    struct backend_question question;
    struct auth_client client;
    struct sasl_credential credential; /* its login is the realm rule's */
};

struct judge {
    uv_loop_t *loop;
    bool stopping;
    const struct conf *conf; /* in force; to be compared alone */
    uint64_t lockout_ms;
    unsigned parallel;
    struct hashing *threads; /* so many */
    unsigned hashing;
    unsigned asking;
    uint64_t full;
    struct attempt *open;
    struct guard *guard;
    struct auth_cache *cache;
    struct line *hashes;
    struct line *asks;
    struct judge_counts counts;
};

static void pump(struct judge *j);
static void next_backend(struct attempt *a);

/* --- life
 * -----------------------------------------------------------------------------------------------
 */

static struct guard_rule guard_rule_of(const struct conf *conf)
{
    return (struct guard_rule){.failure_delay_ms = conf->failure_delay,
                               .lockout = conf->lockout.count,
                               .period_ms = conf->lockout.period_ms};
}

static struct auth_cache *new_cache(const struct conf *conf)
{
    uint8_t key[32];
    RAND_bytes(key, sizeof key);
    struct auth_cache *c = auth_cache_new(conf->cache, key);
    OPENSSL_cleanse(key, sizeof key);
    return c;
}

struct judge *judge_new(uv_loop_t *loop, unsigned parallel, const struct conf *conf)
{
    struct judge *j = calloc(1, sizeof *j);
    struct guard_rule rule = guard_rule_of(conf);
    uint8_t key[16];
    if (j == NULL)
        return NULL;
    RAND_bytes(key, sizeof key);
    j->loop = loop;
    j->conf = conf;
    j->lockout_ms = rule.period_ms;
    j->parallel = parallel;
    j->guard = guard_new(&rule, key);
    j->cache = new_cache(conf);
    j->hashes = line_new(JUDGE_HASHES_WAITING);
    j->asks = line_new(JUDGE_ASKS_WAITING);
    if (j->guard != NULL && j->cache != NULL && j->hashes != NULL && j->asks != NULL &&
        (j->threads = hashing_new(loop, parallel)) != NULL)
        return j;
    judge_free(j);
    return NULL;
}

void judge_free(struct judge *j)
{
    if (j == NULL)
        return;
    hashing_free(j->threads);
    guard_free(j->guard);
    auth_cache_free(j->cache);
    line_free(j->hashes);
    line_free(j->asks);
    free(j);
}

void judge_measure(struct judge *j, const struct conf *conf)
{
    struct guard_rule rule = guard_rule_of(conf);
    struct auth_cache *fresh = new_cache(conf);
    j->conf = conf;
    j->lockout_ms = rule.period_ms;
    guard_measure(j->guard, &rule);
    if (fresh == NULL) {
        auth_cache_empty(j->cache);
        return;
    }
    auth_cache_free(j->cache);
    j->cache = fresh;
}

struct guard *judge_guard(struct judge *j)
{
    return j->guard;
}

struct judge_counts judge_counts(const struct judge *j)
{
    struct judge_counts counts = j->counts;
    counts.waiting = (unsigned)(line_length(j->hashes) + line_length(j->asks));
    counts.running = j->hashing + j->asking;
    return counts;
}

/* --- one login
 * ------------------------------------------------------------------------------------------
 */

static void attempt_enter(struct attempt *a, enum attempt_state state)
{
    a->state = state;
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct attempt *a = handle->data;
    link_release(a->link);
    edition_release(a->edition);
    OPENSSL_cleanse(a, sizeof *a);
    free(a);
}

static void attempt_close(struct attempt *a)
{
    struct judge *j = a->judge;
    *a->from = a->next;
    if (a->next != NULL)
        a->next->from = a->from;
    j->counts.open--;
    OPENSSL_cleanse(&a->credential, sizeof a->credential);
    attempt_enter(a, ATTEMPT_CLOSING);
    uv_close((uv_handle_t *)&a->timer, on_timer_closed);
}

static void send_verdict(struct link *l, uint64_t number, enum channel_verdict word,
                         const char *login)
{
    link_send(l, &(struct channel_frame){
                     .type = CHANNEL_VERDICT,
                     .number = number,
                     .as.verdict = {.word = word, .login = login, .login_len = strlen(login)}});
}

static void attempt_answer(struct attempt *a, enum channel_verdict word, const char *login)
{
    if (!a->abandoned)
        send_verdict(a->link, a->number, word, login);
    attempt_close(a);
}

static struct guard_try try_of(const struct attempt *a, const char *login)
{
    bool exchange = sasl_kind(a->credential.mechanism) == SASL_KIND_EXCHANGE;
    return (struct guard_try){.address = a->client.address,
                              .login = login,
                              .secret = a->credential.secret,
                              .secret_len = exchange ? 0 : a->credential.secret_len};
}

static uint64_t generation_of(const struct edition *e)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < e->backend_count; i++)
        if (e->backend[i]->ops->generation != NULL)
            sum += e->backend[i]->ops->generation(e->backend[i]);
    return sum;
}

/* What an old front's backends said is nothing that the new ones would. */
static bool cacheable(const struct attempt *a)
{
    return sasl_kind(a->credential.mechanism) == SASL_KIND_PASSWORD &&
           a->edition->conf == a->judge->conf;
}

static uint64_t now_of(const struct judge *j)
{
    return uv_now(j->loop);
}

/* --- verdicts
 * ------------------------------------------------------------------------------------------------
 */

static void on_delay_over(uv_timer_t *timer)
{
    attempt_answer(timer->data, CHANNEL_REJECTED, "");
}

static void log_lockout(struct judge *j, const struct guard_failure *f, enum guard_what what,
                        const char *login)
{
    static const char *const whats[GUARD_WHATS] = {"network", "account", "password"};
    struct log_line l;
    j->counts.lockouts[what]++;
    log_begin(&l, LOG_LEVEL_WARNING, "lockout");
    log_string(&l, "what", whats[what]);
    log_string(&l, "network", f->network);
    log_string(&l, "login", login);
    log_number(&l, "strikes", f->strikes[what]);
    log_number(&l, "seconds", j->lockout_ms / 1000);
    log_end(&l);
}

static void reject(struct attempt *a, const char *login)
{
    struct judge *j = a->judge;
    struct guard_try t = try_of(a, login);
    struct guard_failure f = guard_failed(j->guard, &t, now_of(j));
    j->counts.rejected++;
    for (size_t i = 0; i < GUARD_WHATS; i++)
        if (f.locked[i])
            log_lockout(j, &f, (enum guard_what)i, login);
    OPENSSL_cleanse(a->credential.secret, sizeof a->credential.secret);
    if (a->abandoned) {
        attempt_close(a);
        return;
    }
    attempt_enter(a, ATTEMPT_DELAYED);
    uv_timer_start(&a->timer, on_delay_over, j->stopping ? 0 : f.delay_ms, 0);
}

static void unavailable(struct attempt *a)
{
    a->judge->counts.unavailable++;
    attempt_answer(a, CHANNEL_UNAVAILABLE, "");
}

static void limited(struct attempt *a)
{
    a->judge->counts.limited++;
    attempt_answer(a, CHANNEL_LIMITED, "");
}

/* Right: under the name that the realm rule makes of it. */
static void accept_login(struct attempt *a, const char *said)
{
    struct judge *j = a->judge;
    const struct realm_rule realm = edition_realm(a->edition->conf);
    char login[SASL_LOGIN_MAX + 1];
    enum guard_what what;
    if (!sasl_login_fits(said, strlen(said)) || !realm_apply(&realm, login, said)) {
        reject(a, a->credential.login);
        return;
    }
    struct guard_try t = try_of(a, login);
    if (!guard_admits(j->guard, &what, &t, now_of(j))) { /* only now we know who it is */
        limited(a);
        return;
    }
    guard_succeeded(j->guard, &t, now_of(j));
    j->counts.accepted++;
    if (cacheable(a) && a->generation == generation_of(a->edition))
        auth_cache_keep(j->cache, &a->credential, login, a->generation, now_of(j));
    attempt_answer(a, CHANNEL_ACCEPTED, login);
}

static void no_backend_left(struct attempt *a)
{
    if (a->unavailable || !a->asked)
        unavailable(a);
    else
        reject(a, a->credential.login);
}

/* --- backends, in order
 * ------------------------------------------------------------------------------------------
 */

static struct backend *backend_at(const struct attempt *a)
{
    return a->edition->backend[a->backend];
}

/* A backend said something final. */
static void backend_spoke(struct attempt *a, enum backend_verdict verdict, const char *login)
{
    bool password = sasl_kind(a->credential.mechanism) == SASL_KIND_PASSWORD;
    switch (verdict) {
    case BACKEND_ACCEPTED:
        accept_login(a, login != NULL ? login : a->credential.login);
        return;
    case BACKEND_REJECTED:
        if (password)
            break;
        reject(a, login != NULL ? login : a->credential.login);
        return;
    case BACKEND_UNAVAILABLE:
    case BACKEND_CHALLENGE:
        a->unavailable = true;
        break;
    }
    a->backend = password ? a->backend + 1 : a->edition->backend_count;
    next_backend(a);
}

static struct attempt *attempt_at_work(struct hashing_job *job)
{
    return (struct attempt *)((char *)job - offsetof(struct attempt, work));
}

static void check_in_thread(struct hashing_job *job)
{
    struct attempt *a = attempt_at_work(job);
    a->verdict = backend_at(a)->ops->verify(backend_at(a), &a->credential);
}

static void after_check(struct hashing_job *job)
{
    struct attempt *a = attempt_at_work(job);
    struct judge *j = a->judge;
    j->hashing--;
    attempt_enter(a, ATTEMPT_NEW);
    backend_spoke(a, a->verdict, NULL);
    pump(j);
}

static void on_client_silent(uv_timer_t *timer)
{
    struct attempt *a = timer->data;
    backend_at(a)->ops->leave(backend_at(a), &a->question);
    unavailable(a);
}

static void challenge(struct attempt *a, const uint8_t *message, size_t len)
{
    if (++a->steps > JUDGE_STEPS_MAX || len > SASL_CHALLENGE_MAX) {
        backend_at(a)->ops->leave(backend_at(a), &a->question);
        unavailable(a);
        return;
    }
    attempt_enter(a, ATTEMPT_CLIENT);
    uv_timer_start(&a->timer, on_client_silent, JUDGE_CLIENT_MS, 0);
    link_send(a->link, &(struct channel_frame){.type = CHANNEL_CHALLENGE,
                                               .number = a->number,
                                               .as.message = {.octets = message, .len = len}});
}

static void on_answered(struct backend_question *q, enum backend_verdict verdict, const char *login,
                        const uint8_t *message, size_t len)
{
    struct attempt *a = q->owner;
    struct judge *j = a->judge;
    j->asking--;
    attempt_enter(a, ATTEMPT_NEW);
    if (verdict == BACKEND_CHALLENGE)
        challenge(a, message, len);
    else
        backend_spoke(a, verdict, login);
    pump(j);
}

static void ask(struct attempt *a)
{
    a->judge->asking++;
    attempt_enter(a, ATTEMPT_ASKING);
    a->question = (struct backend_question){
        .credential = &a->credential, .client = &a->client, .answered = on_answered, .owner = a};
    backend_at(a)->ops->ask(backend_at(a), &a->question);
}

static void hash(struct attempt *a)
{
    a->judge->hashing++;
    attempt_enter(a, ATTEMPT_HASHING);
    a->work = (struct hashing_job){.work = check_in_thread, .done = after_check};
    hashing_run(a->judge->threads, &a->work);
}

static struct attempt *attempt_of(struct line_place *p)
{
    return p != NULL ? (struct attempt *)((char *)p - offsetof(struct attempt, place)) : NULL;
}

/* Its turn has come. Those who waited before it may have locked it out meanwhile, so that many
 * guesses at once are no more than one by one. */
static void take_turn(struct attempt *a, void (*work)(struct attempt *a))
{
    struct guard_try t = try_of(a, a->credential.login);
    enum guard_what what;
    if (guard_admits(a->judge->guard, &what, &t, now_of(a->judge)))
        work(a);
    else
        limited(a);
}

static void pump(struct judge *j)
{
    struct attempt *a;
    while (j->hashing < j->parallel && (a = attempt_of(line_next(j->hashes))) != NULL)
        take_turn(a, hash);
    while (j->asking < JUDGE_ASKS && (a = attempt_of(line_next(j->asks))) != NULL)
        take_turn(a, ask);
}

static void turn_away(struct attempt *a)
{
    struct judge *j = a->judge;
    j->counts.turned_away++;
    if (j->full++ % FULL_LOG_EVERY == 0)
        log_say(LOG_LEVEL_WARNING, "logins_waiting",
                "%d logins wait for their password to be checked; more get 454",
                a->state == ATTEMPT_ASK_LINE ? JUDGE_ASKS_WAITING : JUDGE_HASHES_WAITING);
    unavailable(a);
}

static void join(struct attempt *a, struct line *l, enum attempt_state state)
{
    a->asked = true;
    attempt_enter(a, state);
    struct attempt *goes = attempt_of(line_join(l, &a->place, a->client.address));
    if (goes != NULL)
        turn_away(goes);
}

static bool can(struct backend *b, enum sasl_mechanism mechanism)
{
    bool speaks = (b->ops->mechanisms(b) & (unsigned)mechanism) != 0;
    return speaks && (b->ops->ask != NULL || sasl_kind(mechanism) == SASL_KIND_PASSWORD);
}

static void next_backend(struct attempt *a)
{
    struct edition *e = a->edition;
    if (a->abandoned)
        a->backend = e->backend_count;
    while (a->backend < e->backend_count && !can(backend_at(a), a->credential.mechanism))
        a->backend++;
    if (a->backend == e->backend_count)
        no_backend_left(a);
    else if (sasl_kind(a->credential.mechanism) == SASL_KIND_PASSWORD &&
             backend_at(a)->ops->verify != NULL)
        join(a, a->judge->hashes, ATTEMPT_HASH_LINE);
    else
        join(a, a->judge->asks, ATTEMPT_ASK_LINE);
}

/* The certificate is the proof; whose logins are known is a second one. */
static void judge_certificate(struct attempt *a)
{
    const struct edition *e = a->edition;
    bool asked = false;
    for (size_t i = 0; i < e->backend_count; i++) {
        struct backend *b = e->backend[i];
        if (b->ops->knows == NULL)
            continue;
        asked = true;
        if (b->ops->knows(b, a->credential.login)) {
            accept_login(a, a->credential.login);
            return;
        }
    }
    if (asked || e->conf->client_ca == NULL)
        reject(a, a->credential.login);
    else
        accept_login(a, a->credential.login);
}

/* --- questions
 * --------------------------------------------------------------------------------------------
 */

static struct attempt *attempt_new(struct judge *j, struct link *l, struct edition *e,
                                   const struct channel_frame *q)
{
    struct attempt *a = j->counts.open < JUDGE_OPEN_MAX ? calloc(1, sizeof *a) : NULL;
    if (a == NULL)
        return NULL;
    a->judge = j;
    a->link = link_hold(l);
    a->edition = edition_hold(e);
    a->number = q->number;
    a->client = q->as.verify.client;
    a->credential.mechanism = q->as.verify.mechanism;
    a->credential.login_len = q->as.verify.login_len;
    a->credential.secret_len = q->as.verify.secret_len;
    memcpy(a->credential.login, q->as.verify.login, q->as.verify.login_len);
    memcpy(a->credential.secret, q->as.verify.secret, q->as.verify.secret_len);
    uv_timer_init(j->loop, &a->timer);
    a->timer.data = a;
    a->next = j->open;
    a->from = &j->open;
    if (a->next != NULL)
        a->next->from = &a->next;
    j->open = a;
    j->counts.open++;
    return a;
}

static bool name_login(struct attempt *a)
{
    struct sasl_credential *c = &a->credential;
    const struct realm_rule realm = edition_realm(a->edition->conf);
    if (c->login_len == 0)
        return true;
    if (!realm_apply(&realm, c->login, c->login))
        return false;
    c->login_len = strlen(c->login);
    return true;
}

static void begin(struct attempt *a)
{
    struct judge *j = a->judge;
    struct sasl_credential *c = &a->credential;
    char login[SASL_LOGIN_MAX + 1];
    enum guard_what what;
    bool ours = name_login(a);
    struct guard_try t = try_of(a, c->login);
    a->generation = generation_of(a->edition);
    if (!guard_admits(j->guard, &what, &t, now_of(j))) {
        limited(a);
    } else if (!ours) {
        reject(a, c->login);
    } else if (sasl_kind(c->mechanism) == SASL_KIND_EXTERNAL) {
        judge_certificate(a);
    } else if (cacheable(a) && auth_cache_find(j->cache, login, c, a->generation, now_of(j))) {
        j->counts.cache_hits++;
        accept_login(a, login);
    } else {
        next_backend(a);
    }
}

static struct attempt *find(const struct judge *j, const struct link *l, uint64_t number)
{
    for (struct attempt *a = j->open; a != NULL; a = a->next)
        if (a->link == l && a->number == number)
            return a;
    return NULL;
}

static void verify(struct judge *j, struct link *l, struct edition *e,
                   const struct channel_frame *q)
{
    struct attempt *a = j->stopping ? NULL : attempt_new(j, l, e, q);
    if (a == NULL) {
        send_verdict(l, q->number, CHANNEL_UNAVAILABLE, "");
        return;
    }
    edition_refresh(e);
    begin(a);
    pump(j);
}

static void respond(struct judge *j, struct link *l, const struct channel_frame *q)
{
    struct attempt *a = find(j, l, q->number);
    if (a == NULL || a->state != ATTEMPT_CLIENT)
        return;
    uv_timer_stop(&a->timer);
    j->asking++;
    attempt_enter(a, ATTEMPT_ASKING);
    backend_at(a)->ops->respond(backend_at(a), &a->question, q->as.message.octets,
                                q->as.message.len);
}

/* A session that is gone does not keep others waiting: what is in line leaves it, who was asked is
 * told. What runs in the pool runs on, and counts; what was refused has been counted. */
static void attempt_leave(struct attempt *a)
{
    struct judge *j = a->judge;
    switch (a->state) {
    case ATTEMPT_HASH_LINE:
        line_leave(j->hashes, &a->place);
        break;
    case ATTEMPT_ASK_LINE:
        line_leave(j->asks, &a->place);
        break;
    case ATTEMPT_ASKING:
        j->asking--;
        backend_at(a)->ops->leave(backend_at(a), &a->question);
        break;
    case ATTEMPT_CLIENT:
        backend_at(a)->ops->leave(backend_at(a), &a->question);
        break;
    case ATTEMPT_HASHING:
        a->abandoned = true;
        return;
    case ATTEMPT_NEW:
    case ATTEMPT_DELAYED:
    case ATTEMPT_CLOSING:
        break;
    }
    attempt_close(a);
}

static void leave_all(struct judge *j, const struct link *of)
{
    for (struct attempt *a = j->open, *next; a != NULL; a = next) {
        next = a->next;
        if (of == NULL || a->link == of)
            attempt_leave(a);
    }
    pump(j);
}

void judge_link_gone(struct judge *j, const struct link *l)
{
    leave_all(j, l);
}

void judge_stop(struct judge *j)
{
    j->stopping = true;
    leave_all(j, NULL);
    hashing_stop(j->threads);
}

void judge_take(struct judge *j, struct link *l, struct edition *e,
                const struct channel_frame *question)
{
    struct attempt *a;
    switch (question->type) {
    case CHANNEL_VERIFY:
        verify(j, l, e, question);
        break;
    case CHANNEL_RESPOND:
        respond(j, l, question);
        break;
    case CHANNEL_CANCEL:
        a = find(j, l, question->number);
        if (a != NULL)
            attempt_leave(a);
        pump(j);
        break;
    default: /* others' business, or not a question */
        break;
    }
}

unsigned judge_mechanisms(const struct edition *e)
{
    unsigned all = e->conf->client_ca != NULL ? (unsigned)SASL_EXTERNAL : 0;
    for (size_t i = 0; i < e->backend_count; i++) {
        struct backend *b = e->backend[i];
        for (unsigned bit = 1; bit < SASL_ALL; bit <<= 1)
            if (can(b, (enum sasl_mechanism)bit) && bit != SASL_EXTERNAL)
                all |= bit;
    }
    return all & e->conf->mechanisms;
}

/* The configuration's bits are SASL's. */
_Static_assert((int)CONF_PLAIN == (int)SASL_PLAIN && (int)CONF_LOGIN == (int)SASL_LOGIN &&
                   (int)CONF_SCRAM_SHA_256 == (int)SASL_SCRAM_SHA_256 &&
                   (int)CONF_SCRAM_SHA_256_PLUS == (int)SASL_SCRAM_SHA_256_PLUS &&
                   (int)CONF_OAUTHBEARER == (int)SASL_OAUTHBEARER &&
                   (int)CONF_XOAUTH2 == (int)SASL_XOAUTH2 &&
                   (int)CONF_EXTERNAL == (int)SASL_EXTERNAL &&
                   (int)CONF_SCRAM_SHA_1 == (int)SASL_SCRAM_SHA_1 &&
                   (int)CONF_SCRAM_SHA_1_PLUS == (int)SASL_SCRAM_SHA_1_PLUS &&
                   (int)CONF_CRAM_MD5 == (int)SASL_CRAM_MD5 &&
                   (int)CONF_DIGEST_MD5 == (int)SASL_DIGEST_MD5 &&
                   (int)CONF_NTLM == (int)SASL_NTLM && (int)CONF_GSSAPI == (int)SASL_GSSAPI &&
                   (int)CONF_GSS_SPNEGO == (int)SASL_GSS_SPNEGO && (int)CONF_OTP == (int)SASL_OTP,
               "conf/conf.h and auth/sasl.h name mechanisms in one order");
