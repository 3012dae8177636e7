#include "proxy/answer.h"

#include <openssl/mem.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

#include "auth/throttle.h"
#include "proxy/log.h"

#define SIGNING_MAX 256    /* RSA signatures in the pool at once: a second's work for a core */
#define FULL_LOG_EVERY 100 /* one log line for so many logins that found the line full */

struct check {
    uv_work_t work;
    uv_timer_t delay;
    struct answers *answers;
    struct check *next;   /* in line, or among the delayed */
    struct check **place; /* what points to this one, while it is delayed */
    struct link *link;
    struct edition *edition;
    uint64_t number;
    uint8_t address[16];
    struct sasl_credential credential;
    enum backend_verdict verdict;
};

struct answers {
    uv_loop_t *loop;
    unsigned parallel;
    unsigned running;
    unsigned waiting;
    unsigned signing;
    struct check *first;
    struct check **last;
    struct check *delayed; /* refusals that wait for their time */
    bool stopping;
    struct throttle *throttle;
    uint64_t full;
};

struct signing {
    uv_work_t work;
    struct answers *answers;
    struct link *link;
    struct edition *edition;
    uint64_t number;
    const struct tls_key *key;
    uint16_t algorithm;
    size_t len;
    uint8_t input[TLS_SIGN_INPUT_MAX];
    size_t signature_len;
    uint8_t signature[TLS_SIGNATURE_MAX];
};

struct answers *answers_new(uv_loop_t *loop, unsigned parallel)
{
    struct answers *a = calloc(1, sizeof *a);
    if (a == NULL)
        return NULL;
    a->loop = loop;
    a->parallel = parallel;
    a->last = &a->first;
    return a;
}

void answers_free(struct answers *a)
{
    if (a != NULL)
        throttle_free(a->throttle);
    free(a);
}

void answers_failure_delay(struct answers *a, uint64_t milliseconds)
{
    uint8_t key[16];
    RAND_bytes(key, sizeof key);
    struct throttle *fresh = throttle_new(milliseconds, key);
    if (fresh == NULL)
        return;
    throttle_free(a->throttle);
    a->throttle = fresh;
}

/* --- signatures
 * ------------------------------------------------------------------------------------------------
 */

static void send_signature(struct link *l, uint64_t number, const uint8_t *signature, size_t len)
{
    link_send(l, &(struct channel_frame){.type = CHANNEL_SIGNED,
                                         .number = number,
                                         .as.signature = {.signature = signature, .len = len}});
}

static void sign_in_pool(uv_work_t *work)
{
    struct signing *s = work->data;
    if (!tls_key_sign(s->key, s->algorithm, s->input, s->len, s->signature, &s->signature_len))
        s->signature_len = 0;
}

static void after_signing(uv_work_t *work, int status)
{
    struct signing *s = work->data;
    (void)status;
    send_signature(s->link, s->number, s->signature, s->signature_len);
    s->answers->signing--;
    link_release(s->link);
    edition_release(s->edition);
    free(s);
}

static bool sign_later(struct answers *a, struct link *l, struct edition *e,
                       const struct channel_frame *q)
{
    struct signing *s = a->signing < SIGNING_MAX ? calloc(1, sizeof *s) : NULL;
    if (s == NULL)
        return false;
    s->answers = a;
    s->link = link_hold(l);
    s->edition = edition_hold(e);
    s->number = q->number;
    s->key = e->key[q->as.sign.certificate];
    s->algorithm = q->as.sign.algorithm;
    s->len = q->as.sign.len;
    memcpy(s->input, q->as.sign.input, q->as.sign.len);
    s->work.data = s;
    a->signing++;
    uv_queue_work(a->loop, &s->work, sign_in_pool, after_signing);
    return true;
}

static void sign(struct answers *a, struct link *l, struct edition *e,
                 const struct channel_frame *q)
{
    uint8_t signature[TLS_SIGNATURE_MAX];
    size_t len = 0;
    if (q->as.sign.certificate < e->certificate_count) {
        const struct tls_key *key = e->key[q->as.sign.certificate];
        if (tls_key_slow(key) && sign_later(a, l, e, q))
            return;
        if (!tls_key_slow(key) && !tls_key_sign(key, q->as.sign.algorithm, q->as.sign.input,
                                                q->as.sign.len, signature, &len))
            len = 0;
    }
    send_signature(l, q->number, signature, len);
}

/* --- verdicts
 * --------------------------------------------------------------------------------------------------
 */

static void send_verdict(struct link *l, uint64_t number, enum channel_verdict word,
                         const char *login)
{
    link_send(l, &(struct channel_frame){
                     .type = CHANNEL_VERDICT,
                     .number = number,
                     .as.verdict = {.word = word, .login = login, .login_len = strlen(login)}});
}

static void check_free(struct check *c)
{
    OPENSSL_cleanse(&c->credential, sizeof c->credential);
    link_release(c->link);
    edition_release(c->edition);
    free(c);
}

static void on_delay_closed(uv_handle_t *handle)
{
    check_free(handle->data);
}

static void end_delay(struct check *c)
{
    *c->place = c->next;
    if (c->next != NULL)
        c->next->place = c->place;
    uv_close((uv_handle_t *)&c->delay, on_delay_closed);
}

static void on_delay_over(uv_timer_t *delay)
{
    struct check *c = delay->data;
    send_verdict(c->link, c->number, CHANNEL_REJECTED, "");
    end_delay(c);
}

static void begin_delay(struct answers *a, struct check *c)
{
    c->next = a->delayed;
    c->place = &a->delayed;
    if (c->next != NULL)
        c->next->place = &c->next;
    a->delayed = c;
}

void answers_stop(struct answers *a)
{
    a->stopping = true;
    while (a->delayed != NULL)
        end_delay(a->delayed);
}

static void refuse_slowly(struct answers *a, struct check *c)
{
    uint64_t wait =
        a->throttle != NULL ? throttle_failure(a->throttle, c->address, uv_now(a->loop)) : 0;
    uv_timer_init(a->loop, &c->delay);
    c->delay.data = c;
    begin_delay(a, c);
    uv_timer_start(&c->delay, on_delay_over, a->stopping ? 0 : wait, 0);
}

static void verdict_found(struct answers *a, struct check *c)
{
    OPENSSL_cleanse(c->credential.secret, sizeof c->credential.secret);
    if (c->verdict == BACKEND_REJECTED) {
        refuse_slowly(a, c);
        return;
    }
    if (c->verdict == BACKEND_ACCEPTED && a->throttle != NULL)
        throttle_success(a->throttle, c->address);
    bool accepted = c->verdict == BACKEND_ACCEPTED;
    send_verdict(c->link, c->number, accepted ? CHANNEL_ACCEPTED : CHANNEL_UNAVAILABLE,
                 accepted ? c->credential.login : "");
    check_free(c);
}

/* In order; one that is out of reach could have said yes, so without it there is no refusal. */
static void check_in_pool(uv_work_t *work)
{
    struct check *c = work->data;
    c->verdict = BACKEND_REJECTED;
    for (size_t i = 0; i < c->edition->backend_count; i++) {
        struct backend *b = c->edition->backend[i];
        enum backend_verdict v = b->ops->verify(b, &c->credential);
        if (v == BACKEND_ACCEPTED) {
            c->verdict = v;
            return;
        }
        if (v == BACKEND_UNAVAILABLE)
            c->verdict = v;
    }
}

static void next_check(struct answers *a);

static void after_check(uv_work_t *work, int status)
{
    struct check *c = work->data;
    struct answers *a = c->answers;
    if (status != 0)
        c->verdict = BACKEND_UNAVAILABLE;
    a->running--;
    verdict_found(a, c);
    next_check(a);
}

static struct check *leave_line(struct answers *a, struct check **place)
{
    struct check *c = *place;
    *place = c->next;
    if (a->last == &c->next)
        a->last = place;
    a->waiting--;
    return c;
}

static void next_check(struct answers *a)
{
    while (a->first != NULL && a->running < a->parallel) {
        struct check *c = leave_line(a, &a->first);
        a->running++;
        c->work.data = c;
        uv_queue_work(a->loop, &c->work, check_in_pool, after_check);
    }
}

static struct check *new_check(struct answers *a, struct link *l, struct edition *e,
                               const struct channel_frame *q)
{
    struct check *c = calloc(1, sizeof *c);
    if (c == NULL)
        return NULL;
    c->answers = a;
    c->link = link_hold(l);
    c->edition = edition_hold(e);
    c->number = q->number;
    memcpy(c->address, q->as.verify.client.address, sizeof c->address);
    c->credential.mechanism = q->as.verify.mechanism;
    c->credential.login_len = q->as.verify.login_len;
    c->credential.secret_len = q->as.verify.secret_len;
    memcpy(c->credential.login, q->as.verify.login, q->as.verify.login_len);
    memcpy(c->credential.secret, q->as.verify.secret, q->as.verify.secret_len);
    return c;
}

static void verify(struct answers *a, struct link *l, struct edition *e,
                   const struct channel_frame *q)
{
    bool full = a->waiting >= ANSWER_WAITING_MAX;
    if (full && a->full++ % FULL_LOG_EVERY == 0)
        log_say(LOG_LEVEL_WARNING, "logins_waiting",
                "%d logins wait for their password to be checked; more get 454",
                ANSWER_WAITING_MAX);
    bool password = sasl_kind(q->as.verify.mechanism) == SASL_KIND_PASSWORD;
    struct check *c = full || !password ? NULL : new_check(a, l, e, q);
    if (c == NULL) {
        send_verdict(l, q->number, CHANNEL_UNAVAILABLE, "");
        return;
    }
    edition_refresh(e);
    *a->last = c;
    a->last = &c->next;
    a->waiting++;
    next_check(a);
}

/* A session that is gone does not keep others waiting: what is in line leaves it. What runs already
 * runs on; what was refused has been counted, and nobody waits for the answer. */
static void cancel(struct answers *a, const struct link *l, uint64_t number)
{
    for (struct check **place = &a->first; *place != NULL; place = &(*place)->next)
        if ((*place)->link == l && (*place)->number == number) {
            check_free(leave_line(a, place));
            return;
        }
    for (struct check *c = a->delayed; c != NULL; c = c->next)
        if (c->link == l && c->number == number) {
            end_delay(c);
            return;
        }
}

void answers_take(struct answers *a, struct link *l, struct edition *e,
                  const struct channel_frame *question)
{
    switch (question->type) {
    case CHANNEL_SIGN:
        sign(a, l, e, question);
        break;
    case CHANNEL_VERIFY:
        verify(a, l, e, question);
        break;
    case CHANNEL_CANCEL:
        cancel(a, l, question->number);
        break;
    default: /* others' business, or not a question */
        break;
    }
}
