#include "proxy/session_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "proxy/crowd.h"
#include "proxy/limits.h"
#include "proxy/log.h"
#include "proxy/socket.h"

/* What one event may move before the other sessions get their turn. */
#define STEP_OCTETS 65536

static void on_handle_closed(uv_handle_t *handle)
{
    struct session *s = handle->data;
    if (--s->handles == 0)
        free(s);
}

void session_drop_mta(struct session *s)
{
    if (s->upstream != NULL)
        upstream_close(s->upstream);
    s->upstream = NULL;
    s->upstream_stands = s->mta_ended = false;
    if (s->lease != LEASE_NOT && s->worker->link != NULL)
        link_send_later(s->worker->link,
                        &(struct channel_frame){.type = CHANNEL_RETURN, .number = s->lease_number});
    s->lease = LEASE_NOT;
    buf_clear(&s->from_mta);
    buf_clear(&s->to_mta);
}

uint64_t session_question(struct session *s)
{
    s->asked = true;
    s->question = worker_number(s->worker, s->number);
    return s->question;
}

void session_withdraw(struct session *s)
{
    if ((s->asked || s->exchange) && s->worker->link != NULL)
        link_send(s->worker->link,
                  &(struct channel_frame){.type = CHANNEL_CANCEL, .number = s->question});
    s->asked = s->exchange = false;
}

void session_close(struct session *s)
{
    if (s->phase == PHASE_CLOSED)
        return;
    s->phase = PHASE_CLOSED;
    if (s->asked && s->smtp != NULL && smtp_credential(s->smtp) != NULL)
        session_log_abandoned_login(s);
    session_log_end(s);
    session_withdraw(s);
    session_drop_mta(s);
    crowd_leave(s->worker->front->crowd, s->worker, s->number);
    worker_forget(s->worker, s->number);
    tls_engine_free(s->tls);
    smtp_free(s->smtp);
    struct buf *all[] = {&s->wire_in, &s->wire_out, &s->from_client, &s->to_client};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        buf_clear(all[i]);
    uv_close((uv_handle_t *)&s->poll, on_handle_closed);
    uv_close((uv_handle_t *)&s->timer, on_handle_closed);
    close(s->fd);
}

void session_enter(struct session *s, enum phase phase, uint64_t milliseconds)
{
    s->phase = phase;
    s->phase_until = uv_now(&s->worker->loop) + milliseconds;
}

void session_fail(struct session *s, const char *reason)
{
    if (s->failure[0] == '\0')
        snprintf(s->failure, sizeof s->failure, "%s", reason);
}

static bool move_starttls(struct session *s, bool *broken)
{
    bool moved = session_drain_queue(s, &s->to_client, broken);
    if (buf_len(&s->to_client) > 0)
        return moved;
    buf_clear(&s->from_client); /* nothing said in plaintext survives */
    return session_start_tls(s);
}

static void say_goodbye(struct session *s)
{
    if (s->polite || shutdown(s->fd, SHUT_WR) != 0)
        session_close(s);
    else
        session_enter(s, PHASE_LINGER, LIMIT_CLOSE_MS);
}

static bool move_flush(struct session *s, bool *broken)
{
    session_farewell(s);
    bool moved = session_give_client(s, broken);
    if (s->told_gone && s->tls == NULL)
        buf_clear(&s->to_client);
    moved |= session_give_mta(s);
    if (buf_len(&s->to_client) > 0 || buf_len(&s->wire_out) > 0 ||
        (s->upstream_stands && buf_len(&s->to_mta) > 0))
        return moved;
    session_drop_mta(s);
    say_goodbye(s);
    return s->phase != PHASE_CLOSED;
}

static bool move_linger(struct session *s, bool *broken)
{
    if (!s->readable)
        return false;
    enum socket_status status = socket_discard(s->fd);
    s->readable = status == SOCKET_MOVED;
    if (status == SOCKET_ENDED || status == SOCKET_FAILED)
        *broken = true;
    return status == SOCKET_MOVED;
}

/* The client's socket is of no use any more. The core is told once; only what it still waits for
 * keeps us. */
static void client_broke(struct session *s)
{
    if (s->phase != PHASE_TALK || s->told_gone) {
        session_close(s);
        return;
    }
    s->client_ended = true;
    s->told_gone = true;
    s->readable = s->writable = false;
    buf_clear(&s->wire_out);
    buf_clear(&s->to_client);
    smtp_client_gone(s->smtp);
}

static bool session_move(struct session *s)
{
    bool broken = false, moved = false;
    switch (s->phase) {
    case PHASE_PROXY:
        moved = session_take_header(s, &broken);
        break;
    case PHASE_HANDSHAKE:
        moved = session_handshake(s, &broken);
        break;
    case PHASE_TALK:
        moved = session_talk(s, &broken);
        break;
    case PHASE_STARTTLS:
        moved = move_starttls(s, &broken);
        break;
    case PHASE_FLUSH:
        moved = move_flush(s, &broken);
        break;
    case PHASE_LINGER:
        moved = move_linger(s, &broken);
        break;
    case PHASE_CLOSED:
        return false;
    }
    if (broken && s->phase != PHASE_CLOSED) {
        client_broke(s);
        moved = true;
    }
    return moved && s->phase != PHASE_CLOSED;
}

static uint64_t patience(const struct session *s, enum smtp_waiting_for what)
{
    const struct conf_upstream *upstream = s->port->upstream;
    switch (what) {
    case SMTP_FOR_COMMAND:
        return s->port->conf->idle_timeout;
    case SMTP_FOR_LINE:
        return LIMIT_COMMAND_MS;
    case SMTP_FOR_DATA:
        return LIMIT_DATA_MS;
    case SMTP_FOR_VERDICT:
        return LIMIT_VERDICT_MS;
    case SMTP_FOR_CONNECT: /* a connection under way gives up by itself; that is the net below it */
        return upstream->queue_timeout +
               (s->lease == LEASE_ASKED ? 0 : upstream->connect_timeout + 1000);
    case SMTP_FOR_BANNER:
        return upstream->banner_timeout;
    case SMTP_FOR_REPLY:
        return upstream->reply_timeout;
    case SMTP_FOR_START:
        return upstream->data_init_timeout;
    case SMTP_FOR_BLOCK:
        return upstream->block_timeout;
    case SMTP_FOR_END:
        return upstream->data_timeout;
    case SMTP_FOR_WRITE:
        return LIMIT_WRITE_MS;
    }
    return s->port->conf->idle_timeout;
}

/* 0 is never. */
static uint64_t soonest(uint64_t a, uint64_t b)
{
    if (a == 0 || b == 0)
        return a + b;
    return a < b ? a : b;
}

/* A stranger has a minute from connect to AUTH, however busy it looks; the vault's time does not
 * count. */
static uint64_t login_deadline(const struct session *s)
{
    bool stranger = s->port->rules.auth == SMTP_AUTH_REQUIRED && smtp_login(s->smtp) == NULL &&
                    s->waiting.what != SMTP_FOR_VERDICT;
    return stranger ? s->opened + LIMIT_LOGIN_MS : 0;
}

/* While draining: a client that is about to say something is heard, one that is idle is sent away.
 */
static uint64_t leave_due(const struct session *s)
{
    bool idle = s->draining && s->waiting.what == SMTP_FOR_COMMAND;
    return idle ? s->wait_until - s->port->conf->idle_timeout + LIMIT_DRAIN_IDLE_MS : 0;
}

/* An MTA's connection is not kept for a client that thinks: others may wait for it. */
static uint64_t rest_due(const struct session *s)
{
    bool idle = s->waiting.what == SMTP_FOR_COMMAND && smtp_mta_idles(s->smtp);
    return idle ? s->wait_until - s->port->conf->idle_timeout + LIMIT_MTA_IDLE_MS : 0;
}

static uint64_t next_deadline(struct session *s)
{
    uint64_t now = uv_now(&s->worker->loop);
    if (s->phase != PHASE_TALK)
        return s->phase_until;
    struct smtp_io io = session_io(s);
    struct smtp_waiting waiting = smtp_waiting(s->smtp, &io);
    if (waiting.what != s->waiting.what || waiting.unit != s->waiting.unit) {
        s->waiting = waiting;
        s->wait_until = now + patience(s, waiting.what);
    }
    if (buf_len(&s->wire_out) + buf_len(&s->to_client) == 0)
        s->write_until = 0;
    else if (s->write_until == 0)
        s->write_until = now + LIMIT_WRITE_MS;
    return soonest(soonest(s->wait_until, s->write_until),
                   soonest(soonest(login_deadline(s), leave_due(s)), rest_due(s)));
}

static void on_timer(uv_timer_t *timer);
static void on_poll(uv_poll_t *poll, int status, int events);

/* Deadlines mostly move later: the timer is left alone then, and looks again when it fires. */
static void arm_timer(struct session *s)
{
    uint64_t now = uv_now(&s->worker->loop), due = next_deadline(s);
    uint64_t left = due > now && !s->again ? due - now : 0; /* the others had their turn */
    if (!uv_is_active((uv_handle_t *)&s->timer) || uv_timer_get_due_in(&s->timer) > left)
        uv_timer_start(&s->timer, on_timer, left, 0);
}

static bool wants_to_read(struct session *s)
{
    if (s->readable || (s->client_ended && s->phase != PHASE_LINGER))
        return false;
    switch (s->phase) {
    case PHASE_HANDSHAKE:
        return !s->asked && buf_len(&s->wire_in) == 0;
    case PHASE_TALK: {
        struct smtp_io io = session_io(s);
        return smtp_reads_client(s->smtp, &io) && (s->tls == NULL || buf_len(&s->wire_in) == 0);
    }
    case PHASE_PROXY:
    case PHASE_LINGER:
        return true;
    case PHASE_STARTTLS:
    case PHASE_FLUSH:
    case PHASE_CLOSED:
        break;
    }
    return false;
}

static void arm_polls(struct session *s)
{
    bool write = buf_len(&s->wire_out) > 0 || (s->tls == NULL && buf_len(&s->to_client) > 0);
    /* Each change costs calls into the kernel: who has said nothing is listened to on. */
    bool quiet = (s->armed & UV_READABLE) != 0 && !s->readable && !s->client_ended;
    int events =
        (quiet || wants_to_read(s) ? UV_READABLE : 0) | (write && !s->writable ? UV_WRITABLE : 0);
    if (events != s->armed) {
        s->armed = events;
        if (events == 0)
            uv_poll_stop(&s->poll);
        else
            uv_poll_start(&s->poll, events, on_poll);
    }
    if (s->upstream_stands)
        upstream_arm(s->upstream, buf_room(&s->from_mta) > 0, buf_len(&s->to_mta) > 0);
}

void session_step(struct session *s)
{
    uint64_t start = s->octets_in;
    do
        s->again = session_move(s);
    while (s->again && s->octets_in - start < STEP_OCTETS);
    if (s->phase == PHASE_CLOSED)
        return;
    if (s->again)
        (void)session_give_mta(s); /* what was gathered when the others got their turn */
    arm_polls(s);
    arm_timer(s);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct session *s = poll->data;
    bool error = status < 0;
    if (error)
        s->armed = 0; /* libuv has stopped it; what came before the error is read first */
    s->readable |= error || (events & UV_READABLE) != 0;
    s->writable |= error || (events & UV_WRITABLE) != 0;
    session_step(s);
}

/* All connections were taken for as long as the client was to wait: another sentence than for an
 * MTA that is away. */
static void wait_is_over(struct session *s)
{
    bool in_line = s->waiting.what == SMTP_FOR_CONNECT && s->lease == LEASE_ASKED;
    if (!in_line) {
        session_withdraw(s);
        smtp_timed_out(s->smtp);
        return;
    }
    session_drop_mta(s);
    smtp_mta_busy(s->smtp);
}

static void on_talk_timeout(struct session *s)
{
    uint64_t now = uv_now(&s->worker->loop);
    if (s->write_until != 0 && now >= s->write_until) {
        session_fail(s, "client takes no replies");
        client_broke(s); /* a final dot that is out is still waited for */
        session_step(s);
        return;
    }
    if (leave_due(s) != 0 && now >= leave_due(s)) {
        session_hurry(s);
        return;
    }
    if (rest_due(s) != 0 && now >= rest_due(s)) {
        smtp_mta_idle_out(s->smtp);
        session_step(s);
        return;
    }
    s->waiting.unit = UINT32_MAX;
    wait_is_over(s);
    session_step(s);
}

static void on_timer(uv_timer_t *timer)
{
    struct session *s = timer->data;
    if (s->again) {
        session_step(s);
        return;
    }
    if (uv_now(&s->worker->loop) < next_deadline(s)) {
        arm_timer(s);
        return;
    }
    if (s->phase == PHASE_TALK) {
        on_talk_timeout(s);
        return;
    }
    if (s->phase == PHASE_HANDSHAKE || s->phase == PHASE_STARTTLS) {
        session_log_event(s, LOG_LEVEL_INFO, "tls_failed",
                          "the handshake took longer than handshake_timeout");
        session_fail(s, "handshake timeout");
    }
    if (s->phase == PHASE_PROXY)
        session_fail(s, "no PROXY header in time");
    session_close(s);
}

static enum smtp_permission permission_of(enum channel_permission p)
{
    if (p == CHANNEL_ALLOWED)
        return SMTP_PERMIT_ALLOWED;
    return p == CHANNEL_NOT_OWNED ? SMTP_PERMIT_NOT_OWNED : SMTP_PERMIT_OVER_QUOTA;
}

void session_answer(struct session *s, const struct channel_frame *frame)
{
    if (frame->type == CHANNEL_LEASED) {
        session_leased(s, frame->number, frame->as.leased);
        return;
    }
    if (!s->asked || frame->number != s->question)
        return;
    bool handshake = s->phase == PHASE_HANDSHAKE;
    if (handshake && frame->type == CHANNEL_SIGNED)
        tls_engine_signed(s->tls, frame->as.signature.signature, frame->as.signature.len);
    else if (!handshake && frame->type == CHANNEL_CHALLENGE)
        session_take_challenge(s, frame);
    else if (!handshake && frame->type == CHANNEL_VERDICT)
        session_take_verdict(s, frame);
    else if (!handshake && frame->type == CHANNEL_PERMITTED)
        smtp_permitted(s->smtp, permission_of(frame->as.permission));
    else
        return;
    s->asked = false;
    session_step(s);
}

void session_orphan(struct session *s)
{
    if (s->lease == LEASE_ASKED)
        session_leased(s, s->lease_number, CHANNEL_FULL);
    if (s->phase == PHASE_CLOSED)
        return;
    s->exchange = false;
    if (!s->asked)
        return;
    s->asked = false;
    if (s->phase == PHASE_HANDSHAKE)
        tls_engine_signed(s->tls, NULL, 0);
    else if (smtp_credential(s->smtp) != NULL)
        smtp_verdict(s->smtp, SMTP_UNAVAILABLE, NULL);
    else
        smtp_permitted(s->smtp, SMTP_PERMIT_UNAVAILABLE);
    session_step(s);
}

void session_drain(struct session *s)
{
    if (s->phase == PHASE_LINGER) {
        session_close(s);
        return;
    }
    s->draining = true;
    if (s->phase == PHASE_TALK)
        arm_timer(s);
}

void session_hurry(struct session *s)
{
    s->draining = false;
    smtp_drain(s->smtp);
    if (s->phase == PHASE_TALK)
        session_step(s);
}

void session_kill(struct session *s)
{
    session_fail(s, "drain_timeout is over");
    session_close(s);
}

static void init_queues(struct session *s)
{
    buf_init(&s->wire_in, LIMIT_CIPHER_IN);
    buf_init(&s->wire_out, LIMIT_CIPHER_OUT);
    buf_init(&s->from_client, LIMIT_CLIENT_IN);
    buf_init(&s->to_client, LIMIT_CLIENT_OUT);
    buf_init(&s->from_mta, LIMIT_MTA_IN);
    buf_init(&s->to_mta, LIMIT_MTA_OUT);
}

static struct session *session_new(struct worker *w, const struct port *port, int fd,
                                   const struct address *from)
{
    struct session *s = calloc(1, sizeof *s);
    if (s == NULL)
        return NULL;
    *s = (struct session){
        .worker = w, .port = port, .fd = fd, .from = *from, .opened = uv_now(&w->loop)};
    s->writable = true;
    init_queues(s);
    if (!worker_admit(w, s, &s->number)) {
        free(s);
        return NULL;
    }
    session_name(s);
    s->smtp = smtp_new(&port->rules, &s->peer, worker_capabilities(w, port->conf->upstream));
    if (s->smtp == NULL || uv_poll_init(&w->loop, &s->poll, fd) != 0) {
        worker_forget(w, s->number);
        smtp_free(s->smtp);
        free(s);
        return NULL;
    }
    uv_timer_init(&w->loop, &s->timer);
    s->poll.data = s->timer.data = s;
    s->handles = 2;
    return s;
}

void session_open(struct worker *w, const struct port *port, int fd, const struct address *from)
{
    struct session *s = session_new(w, port, fd, from);
    if (s == NULL) {
        log_say(LOG_LEVEL_ERROR, "out_of_memory",
                "a connection was closed because memory is short");
        close(fd);
        return;
    }
    session_arrive(s);
    if (s->phase != PHASE_CLOSED)
        session_step(s);
}
