/* A server on a Unix socket, on the test's own loop, that says what the test tells it to; and
 * questions to a backend whose answers are kept. */
#ifndef VESTIBULE_TEST_FAKE_SOCKET_H
#define VESTIBULE_TEST_FAKE_SOCKET_H

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "auth/backend.h"

#define FAKE_CONNECTIONS 64

struct fake_connection {
    uv_pipe_t pipe;
    bool open;
    bool gone; /* the peer left */
    size_t len;
    char heard[40000]; /* with a NUL behind it */
};

static uv_loop_t fake_loop;
static uv_pipe_t fake_listener;
static uv_timer_t fake_tick;
static char fake_folder[] = "/tmp/test_backend.XXXXXX";
static char fake_path[64];
static struct fake_connection fake_connection[FAKE_CONNECTIONS];
static size_t fake_count; /* connections that came */
static bool fake_listening;

/* The last that came. */
static struct fake_connection *fake_last(void)
{
    return &fake_connection[fake_count - 1];
}

static inline void fake_tick_over(uv_timer_t *timer)
{
    (void)timer;
}

static inline void fake_room(uv_handle_t *handle, size_t wanted, uv_buf_t *room)
{
    struct fake_connection *c = handle->data;
    (void)wanted;
    *room = uv_buf_init(c->heard + c->len, (unsigned)(sizeof c->heard - 1 - c->len));
}

static inline void fake_closed(uv_handle_t *handle)
{
    ((struct fake_connection *)handle->data)->open = false;
}

static inline void fake_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *room)
{
    struct fake_connection *c = stream->data;
    (void)room;
    if (len > 0) {
        c->len += (size_t)len;
        c->heard[c->len] = '\0';
    } else if (len < 0) {
        c->gone = true;
        if (!uv_is_closing((uv_handle_t *)stream))
            uv_close((uv_handle_t *)stream, fake_closed);
    }
}

static inline void fake_accept(uv_stream_t *listener, int status)
{
    (void)status;
    assert_true(fake_count < FAKE_CONNECTIONS);
    struct fake_connection *c = &fake_connection[fake_count++];
    memset(c, 0, sizeof *c);
    uv_pipe_init(&fake_loop, &c->pipe, 0);
    c->pipe.data = c;
    c->open = true;
    assert_int_equal(uv_accept(listener, (uv_stream_t *)&c->pipe), 0);
    uv_read_start((uv_stream_t *)&c->pipe, fake_room, fake_read);
}

static inline void fake_listen(int backlog)
{
    unlink(fake_path);
    uv_pipe_init(&fake_loop, &fake_listener, 0);
    assert_int_equal(uv_pipe_bind(&fake_listener, fake_path), 0);
    assert_int_equal(uv_listen((uv_stream_t *)&fake_listener, backlog, fake_accept), 0);
    fake_listening = true;
}

static inline void fake_hang_up(struct fake_connection *c)
{
    if (c->open && !uv_is_closing((uv_handle_t *)&c->pipe))
        uv_close((uv_handle_t *)&c->pipe, fake_closed);
}

/* As when the server is killed. */
static inline void fake_away(void)
{
    if (fake_listening)
        uv_close((uv_handle_t *)&fake_listener, NULL);
    fake_listening = false;
    unlink(fake_path);
    for (size_t i = 0; i < fake_count; i++)
        fake_hang_up(&fake_connection[i]);
}

static inline void fake_say_octets(struct fake_connection *c, const void *octets, size_t len)
{
    uv_buf_t buf = uv_buf_init((char *)(uintptr_t)octets, (unsigned)len);
    assert_true(c->open);
    assert_int_equal(uv_try_write((uv_stream_t *)&c->pipe, &buf, 1), (int)len);
}

static inline void fake_say(const char *text)
{
    fake_say_octets(fake_last(), text, strlen(text));
}

/* Runs the loop until it holds; five seconds at most. */
#define UNTIL(condition)                                    \
    do {                                                    \
        const uint64_t begun = uv_hrtime();                 \
        while (!(condition)) {                              \
            uv_run(&fake_loop, UV_RUN_ONCE);                \
            if (uv_hrtime() - begun > 5000000000u)          \
                fail_msg("not within 5 s: %s", #condition); \
        }                                                   \
    } while (0)

/* For what must not happen. */
static inline void fake_turns(int milliseconds)
{
    const uint64_t end = uv_hrtime() + (uint64_t)milliseconds * 1000000u;
    while (uv_hrtime() < end)
        uv_run(&fake_loop, UV_RUN_ONCE);
}

static int fake_begin(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    fake_count = 0;
    strcpy(fake_folder + sizeof fake_folder - 7, "XXXXXX");
    if (mkdtemp(fake_folder) == NULL)
        return -1;
    snprintf(fake_path, sizeof fake_path, "%s/socket", fake_folder);
    uv_loop_init(&fake_loop);
    uv_timer_init(&fake_loop, &fake_tick);
    uv_timer_start(&fake_tick, fake_tick_over, 1, 1);
    uv_unref((uv_handle_t *)&fake_tick);
    return 0;
}

/* Every handle that the backend opened is closed by now, or the loop does not end. */
static int fake_end(void **state)
{
    (void)state;
    fake_away();
    uv_close((uv_handle_t *)&fake_tick, NULL);
    const uint64_t begun = uv_hrtime();
    while (uv_run(&fake_loop, UV_RUN_NOWAIT) != 0 && uv_hrtime() - begun < 5000000000u)
        usleep(1000);
    rmdir(fake_folder);
    return uv_loop_close(&fake_loop);
}

/* --- questions */

struct fake_question {
    struct backend_question q;
    struct sasl_credential credential;
    int answers;
    enum backend_verdict verdict;
    char login[SASL_LOGIN_MAX + 1]; /* "": NULL */
    char message[SASL_CHALLENGE_MAX + 1];
    size_t message_len;
    struct backend *close; /* with this answer */
};

static const struct auth_client fake_client = {.address = {[10] = 0xff, [11] = 0xff, 192, 0, 2, 7},
                                               .tls_version = "TLSv1.3"};
static bool fake_inside; /* of ask or respond */

static inline void fake_answered(struct backend_question *q, enum backend_verdict verdict,
                                 const char *login, const uint8_t *message, size_t len)
{
    struct fake_question *f = q->owner;
    assert_false(fake_inside);
    f->answers++;
    f->verdict = verdict;
    snprintf(f->login, sizeof f->login, "%s", login != NULL ? login : "");
    if (len > 0)
        memcpy(f->message, message, len);
    f->message[len] = '\0';
    f->message_len = len;
    if (f->close != NULL)
        backend_close(f->close);
}

static inline void fake_ask(struct backend *b, struct fake_question *f,
                            enum sasl_mechanism mechanism, const char *login, const char *secret)
{
    memset(f, 0, sizeof *f);
    f->q = (struct backend_question){.credential = &f->credential,
                                     .client = &fake_client,
                                     .answered = fake_answered,
                                     .owner = f};
    f->credential.mechanism = mechanism;
    f->credential.login_len = strlen(login);
    f->credential.secret_len = strlen(secret);
    memcpy(f->credential.login, login, strlen(login));
    memcpy(f->credential.secret, secret, strlen(secret));
    fake_inside = true;
    b->ops->ask(b, &f->q);
    fake_inside = false;
}

static inline void fake_respond(struct backend *b, struct fake_question *f, const char *message)
{
    fake_inside = true;
    b->ops->respond(b, &f->q, (const uint8_t *)message, strlen(message));
    fake_inside = false;
}

static inline struct backend *fake_open(const char *scheme)
{
    static const struct backend_settings none;
    char spec[96];
    char error[BACKEND_ERROR_MAX] = "";
    snprintf(spec, sizeof spec, "%s:%s", scheme, fake_path);
    struct backend *b = backend_open(spec, &none, error);
    if (b == NULL)
        fail_msg("%s", error);
    assert_true(b->ops->start(b, &fake_loop, error));
    return b;
}

#endif
