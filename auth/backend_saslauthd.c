#include <errno.h>
#include <openssl/mem.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "auth/backend.h"
#include "auth/saslauthd.h"
#include "auth/trouble.h"
#include "auth/unix_stream.h"
#include "auth/waiting.h"

#define RETRY_MS 50 /* its line at the socket is full: few processes answer one question each */

struct saslauthd {
    struct backend base;
    char *path;
    uv_loop_t *loop; /* NULL: not started */
    uv_timer_t retry;
    struct trouble trouble;
    struct waiting waiting;
    int handles;
    LIST_HEAD(, saslauthd_question) open;
};

struct saslauthd_question {
    struct waiter waiter;
    LIST_ENTRY(saslauthd_question) open;
    struct saslauthd *saslauthd;
    struct backend_question *q;
    struct unix_stream *stream; /* NULL: to be tried again */
    struct saslauthd_reader reader;
};

static void on_retry(uv_timer_t *retry);

static struct saslauthd *saslauthd_of(struct backend *b)
{
    return (struct saslauthd *)b;
}

static struct backend_question *forget(struct saslauthd_question *a)
{
    struct backend_question *q = a->q;

    unix_stream_close(a->stream);
    waiting_remove(&a->saslauthd->waiting, &a->waiter);
    LIST_REMOVE(a, open);
    free(a);
    q->state = NULL;
    return q;
}

static void finish(struct saslauthd_question *a, enum backend_verdict verdict)
{
    struct backend_question *q;

    trouble_over(&a->saslauthd->trouble);
    q = forget(a);
    q->answered(q, verdict, NULL, NULL, 0);
}

static void give_up(struct saslauthd_question *a, const char *why)
{
    struct backend_question *q;

    trouble_tell(&a->saslauthd->trouble, "saslauthd:%.128s: %s", a->saslauthd->path, why);
    q = forget(a);
    q->answered(q, BACKEND_UNAVAILABLE, NULL, NULL, 0);
}

static void on_connected(void *owner)
{
    struct saslauthd_question *a = owner;
    uint8_t question[SASLAUTHD_ASK_MAX];
    size_t len;
    const bool sent = saslauthd_ask(question, &len, a->q->credential) &&
                      unix_stream_write(a->stream, question, len);

    OPENSSL_cleanse(question, sizeof question);
    if (!sent)
        give_up(a, "out of memory");
}

static void on_data(void *owner, const uint8_t *data, size_t len)
{
    struct saslauthd_question *a = owner;

    switch (saslauthd_read(&a->reader, data, len)) {
    case SASLAUTHD_MORE:
        break;
    case SASLAUTHD_OK:
        finish(a, BACKEND_ACCEPTED);
        break;
    case SASLAUTHD_NO:
        finish(a, BACKEND_REJECTED);
        break;
    case SASLAUTHD_TROUBLE:
        give_up(a, "it says that the trouble is on its side; its own log says more");
        break;
    case SASLAUTHD_BAD:
        give_up(a, "what it answers is not saslauthd's protocol");
        break;
    }
}

static void on_closed(void *owner, int why)
{
    struct saslauthd_question *a = owner;
    struct saslauthd *s = a->saslauthd;

    a->stream = NULL;
    if (why != UV_EAGAIN)
        give_up(a, why == UV_EOF ? "it closed the connection without an answer" : uv_strerror(why));
    else if (!uv_is_active((uv_handle_t *)&s->retry))
        uv_timer_start(&s->retry, on_retry, RETRY_MS, 0);
}

static bool connect_one(struct saslauthd_question *a)
{
    static const struct unix_stream_events events = {on_connected, on_data, on_closed};

    a->stream = unix_stream_open(a->saslauthd->loop, a->saslauthd->path, &events, a);
    return a->stream != NULL;
}

static void on_retry(uv_timer_t *retry)
{
    struct saslauthd *s = retry->data;
    struct saslauthd_question *a;

    LIST_FOREACH(a, &s->open, open)
    {
        if (a->stream == NULL && !connect_one(a))
            uv_timer_start(retry, on_retry, RETRY_MS, 0);
    }
}

static void saslauthd_expired(struct waiter *w)
{
    give_up((struct saslauthd_question *)((char *)w - offsetof(struct saslauthd_question, waiter)),
            "it gave no answer in time");
}

/* --- the backend's functions
 * ------------------------------------------------------------------------------------- */

static struct backend *saslauthd_open(const char *scheme, const char *argument,
                                      const struct backend_settings *settings,
                                      char error[BACKEND_ERROR_MAX])
{
    (void)scheme;
    struct saslauthd *s;

    if (strlen(argument) > UNIX_STREAM_PATH_MAX) {
        snprintf(error, BACKEND_ERROR_MAX,
                 "saslauthd:%.128s: no socket has so long a path; %d characters are the most",
                 argument, UNIX_STREAM_PATH_MAX);
        return NULL;
    }
    s = calloc(1, sizeof *s);
    if (s == NULL || (s->path = strdup(argument)) == NULL) {
        free(s);
        snprintf(error, BACKEND_ERROR_MAX, "out of memory");
        return NULL;
    }
    s->base.ops = &backend_saslauthd_ops;
    s->trouble.say = settings->say;
    LIST_INIT(&s->open);
    return &s->base;
}

static bool saslauthd_start(struct backend *b, uv_loop_t *loop, char error[BACKEND_ERROR_MAX])
{
    struct saslauthd *s = saslauthd_of(b);

    (void)error;
    s->loop = loop;
    uv_timer_init(loop, &s->retry);
    s->retry.data = s;
    waiting_start(&s->waiting, loop, saslauthd_expired);
    s->waiting.timer.data = s;
    s->handles = 2;
    return true;
}

static unsigned saslauthd_mechanisms(struct backend *b)
{
    (void)b;
    return SASL_PLAIN | SASL_LOGIN;
}

static bool may_be_right(const struct sasl_credential *c)
{
    return c->login_len <= SASLAUTHD_STRING_MAX && c->secret_len <= SASLAUTHD_STRING_MAX;
}

static void saslauthd_ask_one(struct backend *b, struct backend_question *q)
{
    struct saslauthd *s = saslauthd_of(b);
    struct saslauthd_question *a = may_be_right(q->credential) ? calloc(1, sizeof *a) : NULL;

    if (a != NULL) {
        a->saslauthd = s;
        a->q = q;
    }
    if (a == NULL || !connect_one(a)) {
        free(a);
        waiting_answer(&s->waiting, q,
                       may_be_right(q->credential) ? BACKEND_UNAVAILABLE : BACKEND_REJECTED);
        return;
    }
    q->state = a;
    LIST_INSERT_HEAD(&s->open, a, open);
    waiting_add(&s->waiting, &a->waiter);
}

static void saslauthd_leave(struct backend *b, struct backend_question *q)
{
    if (!waiting_forget(&saslauthd_of(b)->waiting, q) && q->state != NULL)
        forget(q->state);
}

/* Connects, and asks nothing: a wrong password would be a failure in somebody's log. */
static bool saslauthd_describe(struct backend *b, char text[BACKEND_ERROR_MAX])
{
    const char *path = saslauthd_of(b)->path;
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool good;

    memcpy(to.sun_path, path, strlen(path));
    good = fd >= 0 && (connect(fd, (struct sockaddr *)&to, sizeof to) == 0 || errno == EAGAIN);
    if (good)
        snprintf(text, BACKEND_ERROR_MAX, "saslauthd listens at %s", path);
    else
        snprintf(text, BACKEND_ERROR_MAX,
                 "saslauthd does not answer at %s: %s; is it running, and is Vestibule's user in "
                 "the group that owns its folder (Debian: sasl)?",
                 path, strerror(errno));
    if (fd >= 0)
        close(fd);
    return good;
}

static void saslauthd_free(struct saslauthd *s)
{
    free(s->path);
    free(s);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct saslauthd *s = handle->data;

    if (--s->handles == 0)
        saslauthd_free(s);
}

static void saslauthd_close(struct backend *b)
{
    struct saslauthd *s = saslauthd_of(b);

    if (s->loop == NULL) {
        saslauthd_free(s);
        return;
    }
    uv_close((uv_handle_t *)&s->retry, on_handle_closed);
    waiting_stop(&s->waiting, on_handle_closed);
}

const struct backend_ops backend_saslauthd_ops = {
    .scheme = "saslauthd",
    .open = saslauthd_open,
    .start = saslauthd_start,
    .mechanisms = saslauthd_mechanisms,
    .ask = saslauthd_ask_one,
    .leave = saslauthd_leave,
    .describe = saslauthd_describe,
    .close = saslauthd_close,
};
