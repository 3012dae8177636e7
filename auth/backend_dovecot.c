#include <openssl/mem.h>
#include <openssl/rand.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "auth/backend.h"
#include "auth/dovecot.h"
#include "auth/trouble.h"
#include "auth/unix_stream.h"
#include "auth/waiting.h"

#define GREETING_MS 5000 /* Dovecot greets in milliseconds */
#define BACKOFF_FIRST_MS 100
#define BACKOFF_MAX_MS 2000
#define PEER_FIRST 0x800000u /* larger than any process id, which Dovecot's other clients give */
#define MINOR_CANCEL 2       /* who says less may not know CANCEL, nor lines that long */

enum dovecot_state {
    DOVECOT_AWAY,     /* until `clock` goes off */
    DOVECOT_GREETING, /* connected, or about to be; questions wait for its DONE */
    DOVECOT_READY,
    DOVECOT_CLOSED,
};

struct dovecot {
    struct backend base;
    char *path;
    uv_loop_t *loop; /* NULL: not started */
    enum dovecot_state state;
    struct unix_stream *stream; /* NULL: none, or it broke and `clock` says so soon */
    struct dovecot_reader reader;
    uint32_t minor;
    uint32_t next_id;
    bool versioned;      /* VERSION was said */
    bool known;          /* `mechanisms` is what Dovecot listed last */
    unsigned mechanisms; /* kept while it is away */
    unsigned listed;     /* so far, in this greeting */
    uint64_t backoff;
    const char *why; /* the last connection ended */
    struct trouble trouble;
    uv_timer_t clock; /* the next try, or the end of our patience with a greeting */
    struct waiting waiting;
    int handles;
    LIST_HEAD(, dovecot_question) open;
};

struct dovecot_question {
    struct waiter waiter; /* from ask or respond to the answer */
    LIST_ENTRY(dovecot_question) open;
    struct dovecot *dovecot;
    struct backend_question *q;
    uint32_t id;     /* 0: not sent yet */
    bool lost;       /* between challenge and response the connection went away */
    bool ended_once; /* a token's failure was acknowledged */
};

static struct dovecot *dovecot_of(struct backend *b)
{
    return (struct dovecot *)b;
}

static void dovecot_connect(struct dovecot *d);
static void dovecot_clock(uv_timer_t *clock);

/* --- questions
 * ----------------------------------------------------------------------------------------------------
 */

static struct backend_question *forget(struct dovecot *d, struct dovecot_question *a)
{
    struct backend_question *q = a->q;

    waiting_remove(&d->waiting, &a->waiter);
    LIST_REMOVE(a, open);
    free(a);
    q->state = NULL;
    return q;
}

static void finish(struct dovecot *d, struct dovecot_question *a, enum backend_verdict verdict,
                   const char *login)
{
    struct backend_question *q = forget(d, a);

    q->answered(q, verdict, login, NULL, 0);
}

static struct dovecot_question *first_waiting(struct dovecot *d)
{
    struct dovecot_question *a;

    LIST_FOREACH(a, &d->open, open)
    {
        if (a->waiter.place != NULL)
            break;
    }
    return a;
}

/* Whoever waits is told; who is between a challenge and his response will be when that comes. */
static void dovecot_lose(struct dovecot *d, const char *why)
{
    struct dovecot_question *a;

    unix_stream_close(d->stream);
    d->stream = NULL;
    if (d->state == DOVECOT_CLOSED)
        return;
    d->state = DOVECOT_AWAY;
    d->why = why;
    trouble_tell(&d->trouble, "dovecot:%.128s: %s; logins are answered 454 until it is back",
                 d->path, why);
    uv_timer_start(&d->clock, dovecot_clock, d->backoff, 0);
    d->backoff = d->backoff * 2 < BACKOFF_MAX_MS ? d->backoff * 2 : BACKOFF_MAX_MS;
    LIST_FOREACH(a, &d->open, open)
    a->lost = true;
    while ((a = first_waiting(d)) != NULL)
        finish(d, a, BACKEND_UNAVAILABLE, NULL);
}

/* From inside of ask nobody may be told: the clock does it. */
static bool dovecot_send(struct dovecot *d, char *line, size_t len)
{
    const bool sent = d->stream != NULL && unix_stream_write(d->stream, line, len);

    OPENSSL_cleanse(line, len);
    if (!sent && d->stream != NULL) {
        unix_stream_close(d->stream);
        d->stream = NULL;
        uv_timer_start(&d->clock, dovecot_clock, 0, 0);
    }
    return sent;
}

static size_t line_max(const struct dovecot *d)
{
    return d->minor < MINOR_CANCEL ? DOVECOT_LINE_MAX_OLD : DOVECOT_LINE_MAX;
}

/* False: longer than any line that Dovecot takes, so no credential of Dovecot's. */
static bool send_question(struct dovecot *d, struct dovecot_question *a)
{
    char line[DOVECOT_LINE_MAX];
    size_t len;

    if (!dovecot_ask(line, &len, line_max(d), d->next_id, a->q->credential, a->q->client))
        return false;
    a->id = d->next_id++;
    dovecot_send(d, line, len);
    return true;
}

static void send_cancel(struct dovecot *d, const struct dovecot_question *a)
{
    char line[32];
    size_t len;

    if (a->id != 0 && !a->lost && d->state == DOVECOT_READY && d->minor >= MINOR_CANCEL &&
        dovecot_cancel(line, &len, sizeof line, a->id))
        dovecot_send(d, line, len);
}

static void dovecot_expired(struct waiter *w)
{
    struct dovecot_question *a =
        (struct dovecot_question *)((char *)w - offsetof(struct dovecot_question, waiter));
    struct dovecot *d = a->dovecot;

    trouble_tell(&d->trouble, "dovecot:%.128s: it gave no answer in time", d->path);
    send_cancel(d, a);
    finish(d, a, BACKEND_UNAVAILABLE, NULL);
}

/* --- what Dovecot says
 * ------------------------------------------------------------------------------------------- */

static struct dovecot_question *by_id(struct dovecot *d, uint32_t id)
{
    struct dovecot_question *a;

    LIST_FOREACH(a, &d->open, open)
    {
        if (a->id == id && !a->lost)
            break;
    }
    return a;
}

/* Who it is must be said where the client did not say it to us. */
static void take_ok(struct dovecot *d, struct dovecot_question *a, const struct dovecot_line *line)
{
    const bool named = line->user[0] != '\0';

    if (line->no_login)
        finish(d, a, BACKEND_REJECTED, NULL);
    else if (!named && a->q->credential->login_len == 0)
        finish(d, a, BACKEND_UNAVAILABLE, NULL);
    else
        finish(d, a, BACKEND_ACCEPTED, named ? line->user : NULL);
}

/* A bearer token that is refused: the client answers the reason with ^A (RFC 7628 3.2.3), and then
 * comes FAIL. */
static bool end_token(struct dovecot *d, struct dovecot_question *a)
{
    char line[64];
    size_t len;

    if (a->ended_once)
        return false;
    a->ended_once = true;
    if (dovecot_continue(line, &len, sizeof line, a->id, (const uint8_t *)"\001", 1))
        dovecot_send(d, line, len);
    return true;
}

static bool take_cont(struct dovecot *d, struct dovecot_question *a,
                      const struct dovecot_line *line)
{
    const enum sasl_kind kind = sasl_kind(a->q->credential->mechanism);

    if (kind == SASL_KIND_TOKEN)
        return end_token(d, a);
    if (kind != SASL_KIND_EXCHANGE || a->waiter.place == NULL)
        return false;
    waiting_remove(&d->waiting, &a->waiter);
    a->q->answered(a->q, BACKEND_CHALLENGE, NULL, line->message, line->message_len);
    return true;
}

/* An id that was given out and is not open belongs to one who left. */
static bool take_answer(struct dovecot *d, const struct dovecot_line *line)
{
    struct dovecot_question *a;

    if (d->state != DOVECOT_READY || line->id == 0 || line->id >= d->next_id)
        return false;
    a = by_id(d, line->id);
    if (a == NULL)
        return true;
    if (line->type == DOVECOT_CONT)
        return take_cont(d, a, line);
    if (a->waiter.place == NULL)
        return false;
    if (line->temporary)
        trouble_tell(&d->trouble, "dovecot:%.128s: it has a failure of its own; its log says more",
                     d->path);
    if (line->type == DOVECOT_OK)
        take_ok(d, a, line);
    else
        finish(d, a, line->temporary ? BACKEND_UNAVAILABLE : BACKEND_REJECTED, NULL);
    return true;
}

static struct dovecot_question *first_unsent(struct dovecot *d)
{
    struct dovecot_question *a;

    LIST_FOREACH(a, &d->open, open)
    {
        if (a->id == 0)
            break;
    }
    return a;
}

static bool take_done(struct dovecot *d)
{
    struct dovecot_question *a;

    if (!d->versioned || d->state != DOVECOT_GREETING)
        return false;
    uv_timer_stop(&d->clock);
    d->backoff = BACKOFF_FIRST_MS;
    d->mechanisms = d->listed;
    d->known = true;
    d->state = DOVECOT_READY;
    trouble_over(&d->trouble);
    while (d->state == DOVECOT_READY && (a = first_unsent(d)) != NULL)
        if (!send_question(d, a))
            finish(d, a, BACKEND_REJECTED, NULL);
    return true;
}

static bool take_line(struct dovecot *d, const struct dovecot_line *line)
{
    switch (line->type) {
    case DOVECOT_VERSION:
        d->versioned = line->major == 1;
        d->minor = line->minor;
        return d->versioned;
    case DOVECOT_MECH:
        d->listed |= line->mechanisms;
        return true;
    case DOVECOT_DONE:
        return take_done(d);
    case DOVECOT_OK:
    case DOVECOT_FAIL:
    case DOVECOT_CONT:
        return take_answer(d, line);
    case DOVECOT_OTHER:
        break;
    }
    return true;
}

/* Any answer may be the last one's, and close us. */
static void on_data(void *owner, const uint8_t *data, size_t len)
{
    struct dovecot *d = owner;
    struct dovecot_line line;

    while (d->stream != NULL) {
        enum dovecot_status status = dovecot_read(&d->reader, &data, &len);
        if (status == DOVECOT_MORE)
            break;
        if (status == DOVECOT_BAD || !dovecot_parse(&line, d->reader.line, d->reader.len) ||
            !take_line(d, &line))
            dovecot_lose(d, "what it says is not the protocol of Dovecot's auth-client sockets");
    }
    OPENSSL_cleanse(&line, sizeof line);
}

static void on_connected(void *owner)
{
    struct dovecot *d = owner;
    uint32_t peer = 0;
    char line[64];
    size_t len;

    RAND_bytes((uint8_t *)&peer, sizeof peer);
    if (dovecot_hello(line, &len, sizeof line, PEER_FIRST | (peer & 0x7fffffff)))
        dovecot_send(d, line, len);
}

static void on_closed(void *owner, int why)
{
    struct dovecot *d = owner;

    d->stream = NULL;
    dovecot_lose(d, why == UV_EOF ? "it closed the connection" : uv_strerror(why));
}

static void dovecot_connect(struct dovecot *d)
{
    static const struct unix_stream_events events = {on_connected, on_data, on_closed};

    memset(&d->reader, 0, sizeof d->reader);
    d->versioned = false;
    d->minor = 0;
    d->listed = 0;
    d->next_id = 1;
    d->state = DOVECOT_GREETING;
    d->stream = unix_stream_open(d->loop, d->path, &events, d);
    uv_timer_start(&d->clock, dovecot_clock, d->stream != NULL ? GREETING_MS : 0, 0);
}

static void dovecot_clock(uv_timer_t *clock)
{
    struct dovecot *d = clock->data;

    if (d->state == DOVECOT_AWAY)
        dovecot_connect(d);
    else if (d->stream == NULL)
        dovecot_lose(d, "it takes no more, or memory is short");
    else
        dovecot_lose(d, "it accepts the connection, but does not greet");
}

/* --- the backend's functions
 * ------------------------------------------------------------------------------------- */

static struct dovecot *dovecot_new(const char *path)
{
    struct dovecot *d = calloc(1, sizeof *d);

    if (d == NULL || (d->path = strdup(path)) == NULL) {
        free(d);
        return NULL;
    }
    d->base.ops = &backend_dovecot_ops;
    d->backoff = BACKOFF_FIRST_MS;
    d->why = "";
    LIST_INIT(&d->open);
    return d;
}

static struct backend *dovecot_open(const char *scheme, const char *argument,
                                    const struct backend_settings *settings,
                                    char error[BACKEND_ERROR_MAX])
{
    (void)scheme;
    struct dovecot *d;

    if (strlen(argument) > UNIX_STREAM_PATH_MAX) {
        snprintf(error, BACKEND_ERROR_MAX,
                 "dovecot:%.128s: no socket has so long a path; %d characters are the most",
                 argument, UNIX_STREAM_PATH_MAX);
        return NULL;
    }
    d = dovecot_new(argument);
    if (d == NULL) {
        snprintf(error, BACKEND_ERROR_MAX, "out of memory");
        return NULL;
    }
    d->trouble.say = settings->say;
    return &d->base;
}

static bool dovecot_start(struct backend *b, uv_loop_t *loop, char error[BACKEND_ERROR_MAX])
{
    struct dovecot *d = dovecot_of(b);

    (void)error;
    d->loop = loop;
    uv_timer_init(loop, &d->clock);
    d->clock.data = d;
    waiting_start(&d->waiting, loop, dovecot_expired);
    d->waiting.timer.data = d;
    d->handles = 2;
    dovecot_connect(d);
    return true;
}

/* Before it has ever been there: what every Dovecot can do, so that clients hear "later" and not
 * "no such thing". */
static unsigned dovecot_mechanisms(struct backend *b)
{
    struct dovecot *d = dovecot_of(b);

    return d->known ? d->mechanisms : (unsigned)(SASL_PLAIN | SASL_LOGIN);
}

static void dovecot_ask_one(struct backend *b, struct backend_question *q)
{
    struct dovecot *d = dovecot_of(b);
    struct dovecot_question *a =
        d->state == DOVECOT_READY || d->state == DOVECOT_GREETING ? calloc(1, sizeof *a) : NULL;

    if (a == NULL) {
        waiting_answer(&d->waiting, q, BACKEND_UNAVAILABLE);
        return;
    }
    a->dovecot = d;
    a->q = q;
    q->state = a;
    if (d->state == DOVECOT_READY && !send_question(d, a)) {
        free(a);
        waiting_answer(&d->waiting, q, BACKEND_REJECTED);
        return;
    }
    LIST_INSERT_HEAD(&d->open, a, open);
    waiting_add(&d->waiting, &a->waiter);
}

static void dovecot_respond(struct backend *b, struct backend_question *q, const uint8_t *message,
                            size_t len)
{
    struct dovecot *d = dovecot_of(b);
    struct dovecot_question *a = q->state;
    char line[DOVECOT_LINE_MAX];
    size_t used;
    const bool fits = a->lost || dovecot_continue(line, &used, line_max(d), a->id, message, len);

    if (a->lost || !fits) {
        send_cancel(d, a);
        forget(d, a);
        waiting_answer(&d->waiting, q, fits ? BACKEND_UNAVAILABLE : BACKEND_REJECTED);
        return;
    }
    waiting_add(&d->waiting, &a->waiter);
    dovecot_send(d, line, used);
}

static void dovecot_leave(struct backend *b, struct backend_question *q)
{
    struct dovecot *d = dovecot_of(b);

    if (waiting_forget(&d->waiting, q) || q->state == NULL)
        return;
    send_cancel(d, q->state);
    forget(d, q->state);
}

static void dovecot_free(struct dovecot *d)
{
    OPENSSL_cleanse(&d->reader, sizeof d->reader);
    free(d->path);
    free(d);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct dovecot *d = handle->data;

    if (--d->handles == 0)
        dovecot_free(d);
}

static void dovecot_close(struct backend *b)
{
    struct dovecot *d = dovecot_of(b);

    d->state = DOVECOT_CLOSED;
    unix_stream_close(d->stream);
    d->stream = NULL;
    if (d->loop == NULL) {
        dovecot_free(d);
        return;
    }
    uv_close((uv_handle_t *)&d->clock, on_handle_closed);
    waiting_stop(&d->waiting, on_handle_closed);
}

/* Connects on a loop of its own and waits for the greeting. */
static bool dovecot_describe(struct backend *b, char text[BACKEND_ERROR_MAX])
{
    struct dovecot *d = dovecot_new(dovecot_of(b)->path);
    char names[256];
    uv_loop_t loop;
    bool good;

    if (d == NULL || uv_loop_init(&loop) != 0) {
        free(d);
        snprintf(text, BACKEND_ERROR_MAX, "out of memory");
        return false;
    }
    dovecot_start(&d->base, &loop, text);
    while (d->state == DOVECOT_GREETING)
        uv_run(&loop, UV_RUN_ONCE);
    good = d->state == DOVECOT_READY && d->mechanisms != 0;
    sasl_list(names, sizeof names, d->mechanisms);
    if (good)
        snprintf(text, BACKEND_ERROR_MAX, "Dovecot at %s checks %s", d->path, names);
    else if (d->state == DOVECOT_READY)
        snprintf(text, BACKEND_ERROR_MAX,
                 "Dovecot at %s has no mechanism that can be used here; set its auth_mechanisms",
                 d->path);
    else
        snprintf(text, BACKEND_ERROR_MAX,
                 "Dovecot does not answer at %s: %s; is it running, with a unix_listener there "
                 "that Vestibule's user may use?",
                 d->path, d->why);
    dovecot_close(&d->base);
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
    return good;
}

const struct backend_ops backend_dovecot_ops = {
    .scheme = "dovecot",
    .open = dovecot_open,
    .start = dovecot_start,
    .mechanisms = dovecot_mechanisms,
    .ask = dovecot_ask_one,
    .respond = dovecot_respond,
    .leave = dovecot_leave,
    .describe = dovecot_describe,
    .close = dovecot_close,
};
