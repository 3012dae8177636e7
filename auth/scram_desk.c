#include "auth/scram_desk.h"

#include <stdlib.h>
#include <string.h>

/* One question; in the queue while its answer waits for the loop. */
struct scram_case {
    struct scram_case *next;
    struct scram_case **link; /* what points to us; NULL: not in the queue */
    struct backend_question *question;
    struct scram_server *server; /* NULL: out of memory */
    enum scram_status status;
};

struct scram_desk {
    uv_async_t async;
    struct scram_case *first;
    struct scram_case **last;
    struct backend_question *poor; /* no memory for a case; the next one is in their `state` */
    bool (*find)(void *owner, struct scram_verifier *verifier, char login[SASL_LOGIN_MAX + 1],
                 const char *name);
    void *owner;
    void (*closed)(void *owner);
};

static void case_enqueue(struct scram_desk *d, struct scram_case *c)
{
    c->next = NULL;
    c->link = d->last;
    *d->last = c;
    d->last = &c->next;
    uv_async_send(&d->async);
}

static void case_dequeue(struct scram_desk *d, struct scram_case *c)
{
    if (c->link == NULL)
        return;
    *c->link = c->next;
    if (c->next != NULL)
        c->next->link = c->link;
    else
        d->last = c->link;
    c->link = NULL;
}

static void case_free(struct scram_case *c)
{
    c->question->state = NULL;
    scram_server_free(c->server);
    free(c);
}

static enum backend_verdict case_verdict(const struct scram_case *c)
{
    switch (c->status) {
    case SCRAM_CHALLENGE:
        return BACKEND_CHALLENGE;
    case SCRAM_ACCEPTED:
        return BACKEND_ACCEPTED;
    case SCRAM_REJECTED:
        return BACKEND_REJECTED;
    case SCRAM_FAILED:
        break;
    }
    return BACKEND_UNAVAILABLE;
}

/* What is final takes the case away first: the question may be gone when it has been told. */
static void case_answer(struct scram_case *c)
{
    struct backend_question *q = c->question;
    const enum backend_verdict verdict = case_verdict(c);
    char login[SASL_LOGIN_MAX + 1] = "";
    size_t len = 0;

    if (verdict == BACKEND_CHALLENGE) {
        const uint8_t *message = scram_server_message(c->server, &len);
        q->answered(q, verdict, NULL, message, len);
        return;
    }
    if (c->server != NULL)
        memcpy(login, scram_server_login(c->server), sizeof login);
    case_free(c);
    q->answered(q, verdict, login[0] != '\0' ? login : NULL, NULL, 0);
}

static bool poor_dequeue(struct scram_desk *d, struct backend_question *q)
{
    struct backend_question *at = d->poor;

    if (at == q) {
        d->poor = q->state;
        return true;
    }
    for (; at != NULL; at = at->state) {
        if (at->state == q) {
            at->state = q->state;
            return true;
        }
    }
    return false;
}

/* An answer may bring the next question, or the end of another: after each the queue is looked at
 * anew. */
static void on_answers(uv_async_t *async)
{
    struct scram_desk *d = async->data;

    while (d->first != NULL) {
        struct scram_case *c = d->first;
        case_dequeue(d, c);
        case_answer(c);
    }
    while (d->poor != NULL) {
        struct backend_question *q = d->poor;
        d->poor = q->state;
        q->state = NULL;
        q->answered(q, BACKEND_UNAVAILABLE, NULL, NULL, 0);
    }
}

struct scram_desk *scram_desk_open(uv_loop_t *loop,
                                   bool (*find)(void *owner, struct scram_verifier *verifier,
                                                char login[SASL_LOGIN_MAX + 1], const char *name),
                                   void *owner)
{
    struct scram_desk *d = calloc(1, sizeof *d);

    if (d == NULL || uv_async_init(loop, &d->async, on_answers) != 0) {
        free(d);
        return NULL;
    }
    d->async.data = d;
    d->last = &d->first;
    d->find = find;
    d->owner = owner;
    return d;
}

void scram_desk_ask(struct scram_desk *d, struct backend_question *q)
{
    const struct auth_client *client = q->client;
    const struct scram_terms terms = {
        .plus = q->credential->mechanism == SASL_SCRAM_SHA_256_PLUS,
        .offered = (client->offered & SASL_SCRAM_SHA_256_PLUS) != 0,
        .binding = client->bound ? client->binding : NULL,
        .find = d->find,
        .owner = d->owner,
    };
    struct scram_case *c = calloc(1, sizeof *c);

    if (c == NULL) {
        q->state = d->poor;
        d->poor = q;
        uv_async_send(&d->async);
        return;
    }
    q->state = c;
    c->question = q;
    c->server = scram_server_new(&terms);
    c->status = SCRAM_FAILED;
    if (c->server != NULL)
        c->status = scram_server_step(c->server, (const uint8_t *)q->credential->secret,
                                      q->credential->secret_len);
    case_enqueue(d, c);
}

void scram_desk_respond(struct scram_desk *d, struct backend_question *q, const uint8_t *message,
                        size_t len)
{
    struct scram_case *c = q->state;

    c->status = scram_server_step(c->server, message, len);
    case_enqueue(d, c);
}

void scram_desk_leave(struct scram_desk *d, struct backend_question *q)
{
    struct scram_case *c = q->state;

    if (poor_dequeue(d, q) || c == NULL)
        return;
    case_dequeue(d, c);
    case_free(c);
}

static void on_closed(uv_handle_t *handle)
{
    struct scram_desk *d = handle->data;
    void (*const closed)(void *owner) = d->closed;
    void *const owner = d->owner;

    free(d);
    closed(owner);
}

void scram_desk_close(struct scram_desk *d, void (*closed)(void *owner))
{
    d->closed = closed;
    uv_close((uv_handle_t *)&d->async, on_closed);
}
