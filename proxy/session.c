#include "proxy/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "proxy/limits.h"
#include "proxy/log.h"
#include "proxy/socket.h"

/* What one event may move before the other sessions get their turn. */
#define STEP_OCTETS 262144

enum phase {
    PHASE_HANDSHAKE, /* TLS is being set up */
    PHASE_TALK,      /* the core decides */
    PHASE_STARTTLS,  /* the last plaintext reply is on its way out, then PHASE_HANDSHAKE */
    PHASE_FLUSH,     /* the last octets are on their way out */
    PHASE_LINGER, /* ours is closed; reading on so that a reset does not overtake the last reply */
    PHASE_CLOSED,
};

struct session {
    struct worker *worker;
    const struct port *port;
    uint64_t number;
    enum phase phase;
    int fd;
    unsigned handles; /* poll and timer; the last one's close callback frees */
    uv_poll_t poll;
    uv_timer_t timer;
    int armed;
    bool readable;
    bool writable;
    bool
        client_ended; /* end of file or close_notify: no more from it, replies may still reach it */
    bool polite;      /* the client said goodbye first: no need to linger */
    bool asked;       /* a question to the vault is open */
    bool refused_early; /* closed by us before any SMTP */
    bool told_gone;

    struct tls_engine *tls;
    struct smtp *smtp;
    struct upstream *upstream;
    bool upstream_stands;
    bool mta_ended; /* and the core has not been told yet */

    struct buf wire_in; /* ciphertext; unused in plaintext */
    struct buf wire_out;
    struct buf from_client;
    struct buf to_client;
    struct buf from_mta;
    struct buf to_mta;

    struct smtp_waiting waiting;
    uint64_t wait_until;
    uint64_t phase_until; /* of every phase but PHASE_TALK */
    uint64_t write_until; /* 0: nothing waits to be written */

    uint64_t opened;
    uint64_t octets_in;
    uint64_t octets_out;
    struct smtp_peer peer;
    struct address from;
    char address[ADDRESS_TEXT_MAX];
    char id[24];
    char failure[96];
};

static void session_step(struct session *s);

/* --- log
 * -------------------------------------------------------------------------------------------------------
 */

static void log_who(struct log_line *l, const struct session *s)
{
    log_string(l, "session", s->id);
    log_string(l, "listener", s->port->conf->name);
    log_string(l, "client", s->address);
}

static void log_tls(struct log_line *l, const struct session *s)
{
    if (s->tls == NULL)
        return;
    log_string(l, "tls", tls_engine_version(s->tls));
    log_string(l, "cipher", tls_engine_cipher(s->tls));
    log_string(l, "group", tls_engine_group(s->tls));
    log_string(l, "sni", tls_engine_sni(s->tls));
    log_string(l, "resumed", tls_engine_resumed(s->tls) ? "yes" : "no");
}

static void log_event(const struct session *s, enum log_level level, const char *event,
                      const char *message)
{
    struct log_line l;
    log_begin(&l, level, event);
    log_who(&l, s);
    log_string(&l, "message", message);
    log_end(&l);
}

static void log_refused_login(const struct session *s, const char *reason)
{
    struct log_line l;
    log_begin(&l, LOG_LEVEL_WARNING, "login_refused");
    log_who(&l, s);
    const struct sasl_credential *c = smtp_credential(s->smtp);
    if (c != NULL) {
        log_string(&l, "login", c->login);
        log_string(&l, "mechanism", sasl_name(c->mechanism));
    }
    log_string(&l, "reason", reason);
    log_end(&l);
}

static void log_message(const struct session *s, const struct smtp_note *n)
{
    struct log_line l;
    log_begin(&l, LOG_LEVEL_INFO, "message");
    log_who(&l, s);
    log_string(&l, "login", smtp_login(s->smtp));
    log_string(&l, "outcome", n->delivered ? "delivered" : "refused");
    log_string(&l, "sender", n->sender != NULL && n->sender[0] != '\0' ? n->sender : "<>");
    log_number(&l, "recipients", n->recipients);
    log_number(&l, "recipients_refused", n->refused);
    log_number(&l, "size", n->octets);
    log_string(&l, "reply", n->reply);
    if (n->client_gone)
        log_string(&l, "client_gone", "yes");
    log_end(&l);
}

static void log_note(const struct session *s)
{
    const struct smtp_note *n = smtp_note(s->smtp);
    switch (n->kind) {
    case SMTP_NOTE_MESSAGE:
        log_message(s, n);
        break;
    case SMTP_NOTE_CLEAR_AUTH:
        log_event(
            s, LOG_LEVEL_WARNING, "clear_auth",
            "a password went over the wire in clear and was not looked at; set the client to STARTTLS");
        break;
    case SMTP_NOTE_DESYNC:
        log_event(s, LOG_LEVEL_ERROR, "desync",
                  "the MTA spoke when no reply was owed; both sides are closed");
        break;
    case SMTP_NOTE_INJECTION:
        log_event(s, LOG_LEVEL_WARNING, "injection",
                  "octets came where none may come; closed as an attack");
        break;
    }
}

static void log_end_of_session(const struct session *s)
{
    struct log_line l;
    log_begin(&l, LOG_LEVEL_INFO, "session");
    log_who(&l, s);
    log_tls(&l, s);
    if (s->smtp != NULL) {
        log_string(&l, "helo", smtp_helo(s->smtp));
        log_string(&l, "login", smtp_login(s->smtp));
        log_string(&l, "mechanism", smtp_mechanism(s->smtp));
        log_number(&l, "messages", smtp_messages(s->smtp));
    }
    log_number(&l, "octets_in", s->octets_in);
    log_number(&l, "octets_out", s->octets_out);
    log_number(&l, "duration_ms", uv_now(&s->worker->loop) - s->opened);
    log_string(&l, "end",
               s->failure[0] != '\0' ? s->failure
               : s->smtp != NULL     ? smtp_end_name(smtp_end(s->smtp))
                                     : "client gone");
    log_end(&l);
}

/* --- the end
 * ---------------------------------------------------------------------------------------------------
 */

static void on_handle_closed(uv_handle_t *handle)
{
    struct session *s = handle->data;
    if (--s->handles == 0)
        free(s);
}

static void upstream_drop(struct session *s)
{
    if (s->upstream != NULL)
        upstream_close(s->upstream);
    s->upstream = NULL;
    s->upstream_stands = s->mta_ended = false;
    buf_clear(&s->from_mta);
    buf_clear(&s->to_mta);
}

static void session_close(struct session *s)
{
    if (s->phase == PHASE_CLOSED)
        return;
    s->phase = PHASE_CLOSED;
    log_end_of_session(s);
    if (s->asked && s->worker->link != NULL)
        link_send(s->worker->link,
                  &(struct channel_frame){.type = CHANNEL_CANCEL, .number = s->number});
    upstream_drop(s);
    worker_forget(s->worker, s->number);
    tls_engine_free(s->tls);
    smtp_free(s->smtp);
    buf_consume_secret(&s->from_client, buf_len(&s->from_client));
    struct buf *all[] = {&s->wire_in, &s->wire_out, &s->from_client, &s->to_client};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        buf_clear(all[i]);
    uv_close((uv_handle_t *)&s->poll, on_handle_closed);
    uv_close((uv_handle_t *)&s->timer, on_handle_closed);
    close(s->fd);
}

static void enter(struct session *s, enum phase phase, uint64_t milliseconds)
{
    s->phase = phase;
    s->phase_until = uv_now(&s->worker->loop) + milliseconds;
}

static void fail(struct session *s, const char *reason)
{
    if (s->failure[0] == '\0')
        snprintf(s->failure, sizeof s->failure, "%s", reason);
}

/* --- towards the client
 * ---------------------------------------------------------------------------------------- */

/* Ciphertext goes straight to the socket when nothing waits before it. */
static bool wire_send(struct session *s, size_t len)
{
    s->octets_out += len;
    return len == 0 || buf_append(&s->wire_out, s->worker->scratch, len);
}

static struct tls_wire wire_of(struct session *s)
{
    size_t room = buf_room(&s->wire_out);
    return (struct tls_wire){
        .in = buf_len(&s->wire_in) > 0 ? buf_data(&s->wire_in) : NULL,
        .in_len = buf_len(&s->wire_in),
        .out = s->worker->scratch,
        .out_cap = room < WORKER_SCRATCH ? room : WORKER_SCRATCH,
    };
}

static bool wire_done(struct session *s, const struct tls_wire *wire)
{
    buf_consume(&s->wire_in, wire->in_used);
    return wire_send(s, wire->out_len);
}

static bool encrypt(struct session *s)
{
    bool moved = false;
    while (buf_len(&s->to_client) > 0 && buf_room(&s->wire_out) > 0) {
        struct tls_wire wire = wire_of(s);
        size_t taken = 0;
        enum tls_status status = tls_engine_write(s->tls, &wire, buf_data(&s->to_client),
                                                  buf_len(&s->to_client), &taken);
        buf_consume(&s->to_client, taken);
        moved |= taken > 0 || wire.out_len > 0;
        if (!wire_done(s, &wire) || status == TLS_FAILED) {
            fail(s, "tls failed");
            enter(s, PHASE_FLUSH, LIMIT_CLOSE_MS);
            buf_clear(&s->to_client);
            return true;
        }
        if (taken == 0 && wire.out_len == 0)
            break;
    }
    return moved;
}

/* False: nothing went. Sets client_ended's harder sibling when the socket is broken. */
static bool drain_queue(struct session *s, struct buf *queue, bool *broken)
{
    if (!s->writable || buf_len(queue) == 0)
        return false;
    size_t before = buf_len(queue);
    enum socket_status status = socket_drain(s->fd, queue);
    if (status == SOCKET_FAILED)
        *broken = true;
    if (status == SOCKET_BLOCKED || buf_len(queue) > 0)
        s->writable = false;
    if (s->tls == NULL)
        s->octets_out += before - buf_len(queue);
    return buf_len(queue) < before;
}

static bool give_to_client(struct session *s, bool *broken)
{
    bool moved = s->tls != NULL && s->phase != PHASE_STARTTLS && encrypt(s);
    return drain_queue(s, s->tls != NULL ? &s->wire_out : &s->to_client, broken) || moved;
}

/* --- from the client
 * ------------------------------------------------------------------------------------------- */

static bool refill(struct session *s, struct buf *queue, bool *broken)
{
    if (!s->readable || s->client_ended || buf_len(queue) > 0)
        return false;
    enum socket_status status = socket_fill(s->fd, queue, LIMIT_CLIENT_IN);
    s->readable = status == SOCKET_MOVED;
    if (status == SOCKET_MOVED)
        s->octets_in += buf_len(queue);
    if (status == SOCKET_ENDED)
        s->client_ended = true;
    if (status == SOCKET_FAILED)
        *broken = true;
    return status == SOCKET_MOVED || status == SOCKET_ENDED;
}

static struct smtp_io io_of(struct session *s)
{
    return (struct smtp_io){.from_client = &s->from_client,
                            .to_client = &s->to_client,
                            .from_mta = &s->from_mta,
                            .to_mta = &s->to_mta,
                            .now = (int64_t)time(NULL)};
}

static bool tls_broke(struct session *s)
{
    char reason[sizeof s->failure];
    snprintf(reason, sizeof reason, "tls: %s", tls_engine_failure(s->tls));
    log_event(s, LOG_LEVEL_INFO, "tls_failed", tls_engine_failure(s->tls));
    fail(s, reason);
    s->client_ended = true;
    buf_clear(&s->to_client);
    buf_clear(&s->wire_in);
    if (s->phase != PHASE_HANDSHAKE && s->smtp != NULL && !s->told_gone) {
        s->told_gone = true;
        smtp_client_gone(s->smtp); /* a message after its final dot is still waited for */
        return true;
    }
    enter(s, PHASE_FLUSH, LIMIT_CLOSE_MS);
    return true;
}

/* Ciphertext -> from_client, as much as the core takes. */
static bool decrypt(struct session *s, bool *broken)
{
    size_t room = buf_room(&s->from_client);
    uint8_t *plain = room > 0 ? buf_reserve(&s->from_client, room) : NULL;
    if (plain == NULL) {
        *broken = room > 0;
        return false;
    }
    struct tls_wire wire = wire_of(s);
    size_t got = 0;
    enum tls_status status = tls_engine_read(s->tls, &wire, plain, room, &got);
    buf_commit(&s->from_client, got);
    if (buf_len(&s->from_client) == 0)
        buf_clear(&s->from_client);
    bool moved = got > 0 || wire.in_used > 0 || wire.out_len > 0;
    if (!wire_done(s, &wire))
        *broken = true;
    if (status == TLS_FAILED)
        return tls_broke(s);
    if (status == TLS_CLOSED) {
        s->client_ended = true;
        buf_clear(&s->wire_in);
    }
    return moved;
}

static bool take_from_client(struct session *s, bool *broken)
{
    struct smtp_io io = io_of(s);
    if (!smtp_reads_client(s->smtp, &io) || buf_room(&s->from_client) == 0)
        return false;
    if (s->tls == NULL)
        return refill(s, &s->from_client, broken);
    bool moved = refill(s, &s->wire_in, broken);
    if (*broken)
        return moved;
    return decrypt(s, broken) || moved;
}

/* A TLS client on a port that begins in plaintext: nothing that we could say would be understood.
 */
static bool spoke_tls(const struct session *s)
{
    return s->tls == NULL && smtp_helo(s->smtp) == NULL && buf_len(&s->from_client) > 0 &&
           buf_data(&s->from_client)[0] == 0x16;
}

/* --- TLS
 * -------------------------------------------------------------------------------------------------------
 */

static bool start_tls(struct session *s)
{
    s->tls = tls_engine_new(s->port->tls);
    if (s->tls == NULL) {
        fail(s, "out of memory");
        session_close(s);
        return false;
    }
    enter(s, PHASE_HANDSHAKE, s->worker->front->conf->handshake_timeout);
    return true;
}

static void ask_signature(struct session *s)
{
    if (s->asked)
        return;
    const struct tls_job *job = tls_engine_job(s->tls);
    if (s->worker->link == NULL) {
        tls_engine_signed(s->tls, NULL, 0);
        return;
    }
    s->asked = true;
    link_send(s->worker->link,
              &(struct channel_frame){.type = CHANNEL_SIGN,
                                      .number = s->number,
                                      .as.sign = {.certificate = (uint32_t)job->certificate,
                                                  .algorithm = job->algorithm,
                                                  .input = job->input,
                                                  .len = job->len}});
}

static void handshake_done(struct session *s)
{
    struct smtp_tls_info info;
    snprintf(info.version, sizeof info.version, "%s", tls_engine_version(s->tls));
    snprintf(info.cipher, sizeof info.cipher, "%s", tls_engine_cipher(s->tls));
    s->phase = PHASE_TALK;
    s->waiting.unit = UINT32_MAX; /* a wait of the core's own begins */
    smtp_tls_started(s->smtp, &info);
}

static bool move_handshake(struct session *s, bool *broken)
{
    if (s->asked)
        return drain_queue(s, &s->wire_out, broken);
    bool moved = refill(s, &s->wire_in, broken);
    struct tls_wire wire = wire_of(s);
    enum tls_status status = tls_engine_handshake(s->tls, &wire);
    moved |= wire.in_used > 0 || wire.out_len > 0;
    if (!wire_done(s, &wire))
        *broken = true;
    switch (status) {
    case TLS_OK:
        handshake_done(s);
        moved = true;
        break;
    case TLS_WANT_SIGNATURE:
        ask_signature(s);
        moved |= !s->asked;
        break;
    case TLS_FAILED:
        tls_broke(s);
        moved = true;
        break;
    case TLS_CLOSED:
        s->client_ended = true;
        break;
    case TLS_WANT_INPUT:
    case TLS_WANT_OUTPUT:
        break;
    }
    moved |= drain_queue(s, &s->wire_out, broken);
    if (s->client_ended && s->phase == PHASE_HANDSHAKE) {
        fail(s, "client gone in handshake");
        *broken = true;
    }
    return moved;
}

/* --- the MTA
 * ---------------------------------------------------------------------------------------------------
 */

static bool take_from_mta(struct session *s)
{
    if (!s->upstream_stands || buf_room(&s->from_mta) == 0)
        return false;
    enum socket_status status = socket_fill(upstream_fd(s->upstream), &s->from_mta, LIMIT_MTA_IN);
    if (status == SOCKET_MOVED)
        return true;
    if (status == SOCKET_BLOCKED)
        return false;
    /* what it said last is read by the core before the loss is told: see mta_gone */
    upstream_close(s->upstream);
    s->upstream = NULL;
    s->upstream_stands = false;
    s->mta_ended = true;
    return true;
}

static bool give_to_mta(struct session *s)
{
    if (!s->upstream_stands || buf_len(&s->to_mta) == 0)
        return false;
    /* a failed write shows as a failed read: that is where the loss is told */
    return socket_drain(upstream_fd(s->upstream), &s->to_mta) == SOCKET_MOVED;
}

static void on_upstream(void *owner, enum upstream_event event, bool readable, bool writable)
{
    struct session *s = owner;
    (void)readable, (void)writable;
    if (event == UPSTREAM_CONNECTED) {
        s->upstream_stands = true;
        smtp_mta_connected(s->smtp);
    } else if (event == UPSTREAM_FAILED) {
        upstream_drop(s);
        smtp_mta_lost(s->smtp);
    }
    session_step(s);
}

static bool connect_upstream(struct session *s)
{
    if (s->upstream != NULL)
        return false;
    s->upstream = upstream_open(&s->worker->loop, &s->port->target, on_upstream, s);
    if (s->upstream == NULL)
        smtp_mta_lost(s->smtp);
    return s->upstream == NULL;
}

/* --- the core
 * --------------------------------------------------------------------------------------------------
 */

static bool ask_verdict(struct session *s)
{
    if (s->asked)
        return false;
    const struct sasl_credential *c = smtp_credential(s->smtp);
    if (s->worker->link == NULL) {
        smtp_verdict(s->smtp, SMTP_UNAVAILABLE, NULL);
        return true;
    }
    s->asked = true;
    struct channel_frame ask = {.type = CHANNEL_VERIFY,
                                .number = s->number,
                                .as.verify = {.listener = s->port->index,
                                              .mechanism = c->mechanism,
                                              .login = c->login,
                                              .login_len = c->login_len,
                                              .password = c->password,
                                              .password_len = c->password_len}};
    address_octets(ask.as.verify.address, &s->from);
    link_send(s->worker->link, &ask);
    return false;
}

/* Is the core still at work on something that the client asked before it stopped talking? */
static bool still_working(const struct session *s, const struct smtp_io *io)
{
    switch (smtp_waiting(s->smtp, io).what) {
    case SMTP_FOR_VERDICT:
    case SMTP_FOR_CONNECT:
    case SMTP_FOR_REPLY:
    case SMTP_FOR_BLOCK:
    case SMTP_FOR_END:
    case SMTP_FOR_WRITE:
        return true;
    case SMTP_FOR_COMMAND:
    case SMTP_FOR_LINE:
    case SMTP_FOR_DATA:
        break;
    }
    return false;
}

static bool wait_or_gone(struct session *s, const struct smtp_io *io)
{
    bool unread = s->tls != NULL && buf_len(&s->wire_in) > 0;
    if (!s->client_ended || s->told_gone || unread || still_working(s, io))
        return false;
    s->told_gone = true;
    smtp_client_gone(s->smtp);
    return true;
}

static bool mta_gone(struct session *s)
{
    if (!s->mta_ended)
        return false;
    upstream_drop(s);
    smtp_mta_lost(s->smtp);
    return true;
}

static void begin_close(struct session *s)
{
    s->polite = smtp_end(s->smtp) == SMTP_END_QUIT || s->client_ended;
    enter(s, PHASE_FLUSH, LIMIT_CLOSE_MS);
}

static size_t queued(const struct session *s)
{
    return buf_len(&s->to_client) + buf_len(&s->to_mta);
}

static void take_lesson(struct session *s)
{
    struct capabilities c;
    if (smtp_learnt(s->smtp, &c))
        worker_learnt(s->worker, s->port->conf->upstream, &c);
}

static bool advance(struct session *s)
{
    struct smtp_io io = io_of(s);
    size_t unread = buf_len(&s->from_client) + buf_len(&s->from_mta), unsent = queued(s);
    enum smtp_todo todo = smtp_advance(s->smtp, &io);
    bool moved = unread != buf_len(&s->from_client) + buf_len(&s->from_mta) || unsent != queued(s);
    take_lesson(s);
    switch (todo) {
    case SMTP_WAIT:
        return moved || mta_gone(s) || wait_or_gone(s, &io);
    case SMTP_STARTTLS:
        enter(s, PHASE_STARTTLS, s->worker->front->conf->handshake_timeout);
        return true;
    case SMTP_VERIFY:
        return ask_verdict(s) || moved;
    case SMTP_CONNECT:
        return connect_upstream(s) || moved;
    case SMTP_CUT:
        upstream_drop(s);
        return true;
    case SMTP_NOTE:
        log_note(s);
        return true;
    case SMTP_CLOSE:
        begin_close(s);
        return true;
    case SMTP_ABORT:
        session_close(s);
        return false;
    }
    return false;
}

static bool move_talk(struct session *s, bool *broken)
{
    bool moved = take_from_client(s, broken);
    if (s->phase == PHASE_TALK && spoke_tls(s)) {
        log_event(
            s, LOG_LEVEL_INFO, "tls_on_plaintext_port",
            "the client speaks TLS where STARTTLS is spoken; set it to STARTTLS, or to the implicit-TLS port");
        fail(s, "tls on a plaintext port");
        session_close(s);
        return false;
    }
    if (s->phase == PHASE_TALK) {
        moved |= take_from_mta(s);
        moved |= advance(s);
    }
    if (s->phase == PHASE_CLOSED)
        return false;
    moved |= give_to_client(s, broken);
    return give_to_mta(s) || moved;
}

/* --- closing
 * ---------------------------------------------------------------------------------------------------
 */

static bool move_starttls(struct session *s, bool *broken)
{
    bool moved = drain_queue(s, &s->to_client, broken);
    if (buf_len(&s->to_client) > 0)
        return moved;
    buf_clear(&s->from_client); /* nothing said in plaintext survives */
    return start_tls(s);
}

static void say_goodbye(struct session *s)
{
    if (s->tls != NULL && !s->client_ended) {
        struct tls_wire wire = wire_of(s);
        (void)tls_engine_close(s->tls, &wire);
        (void)wire_done(s, &wire);
        bool broken = false;
        s->writable = true;
        (void)drain_queue(s, &s->wire_out, &broken);
    }
    if (s->polite || shutdown(s->fd, SHUT_WR) != 0)
        session_close(s);
    else
        enter(s, PHASE_LINGER, LIMIT_CLOSE_MS);
}

static bool move_flush(struct session *s, bool *broken)
{
    bool moved = give_to_client(s, broken);
    if (s->told_gone && s->tls == NULL)
        buf_clear(&s->to_client);
    moved |= give_to_mta(s);
    if (buf_len(&s->to_client) > 0 || buf_len(&s->wire_out) > 0 ||
        (s->upstream_stands && buf_len(&s->to_mta) > 0))
        return moved;
    upstream_drop(s);
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

/* --- after every event
 * ----------------------------------------------------------------------------------------- */

static bool session_move(struct session *s)
{
    bool broken = false, moved = false;
    switch (s->phase) {
    case PHASE_HANDSHAKE:
        moved = move_handshake(s, &broken);
        break;
    case PHASE_TALK:
        moved = move_talk(s, &broken);
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
        return LIMIT_IDLE_MS;
    case SMTP_FOR_LINE:
        return LIMIT_COMMAND_MS;
    case SMTP_FOR_DATA:
        return LIMIT_DATA_MS;
    case SMTP_FOR_VERDICT:
        return LIMIT_VERDICT_MS;
    case SMTP_FOR_CONNECT: /* the connection gives up by itself; this is the net below it */
        return upstream->queue_timeout + upstream->connect_timeout + 1000;
    case SMTP_FOR_REPLY:
    case SMTP_FOR_BLOCK:
        return upstream->reply_timeout;
    case SMTP_FOR_END:
        return upstream->data_timeout;
    case SMTP_FOR_WRITE:
        return LIMIT_WRITE_MS;
    }
    return LIMIT_IDLE_MS;
}

static uint64_t soonest(uint64_t a, uint64_t b)
{
    return b != 0 && b < a ? b : a;
}

/* A stranger has a minute from connect to AUTH, however busy it looks; the vault's time does not
 * count. */
static uint64_t login_deadline(const struct session *s)
{
    bool stranger = smtp_login(s->smtp) == NULL && s->waiting.what != SMTP_FOR_VERDICT;
    return stranger ? s->opened + LIMIT_LOGIN_MS : 0;
}

static uint64_t next_deadline(struct session *s)
{
    uint64_t now = uv_now(&s->worker->loop);
    if (s->phase != PHASE_TALK)
        return s->phase_until;
    struct smtp_io io = io_of(s);
    struct smtp_waiting waiting = smtp_waiting(s->smtp, &io);
    if (waiting.what != s->waiting.what || waiting.unit != s->waiting.unit) {
        s->waiting = waiting;
        s->wait_until = now + patience(s, waiting.what);
    }
    if (buf_len(&s->wire_out) + buf_len(&s->to_client) == 0)
        s->write_until = 0;
    else if (s->write_until == 0)
        s->write_until = now + LIMIT_WRITE_MS;
    return soonest(soonest(s->wait_until, s->write_until), login_deadline(s));
}

static void on_timer(uv_timer_t *timer);
static void on_poll(uv_poll_t *poll, int status, int events);

/* Deadlines mostly move later: the timer is left alone then, and looks again when it fires. */
static void arm_timer(struct session *s)
{
    uint64_t now = uv_now(&s->worker->loop), due = next_deadline(s);
    uint64_t left = due > now ? due - now : 0;
    if (!uv_is_active((uv_handle_t *)&s->timer) || uv_timer_get_due_in(&s->timer) > left)
        uv_timer_start(&s->timer, on_timer, left, 0);
}

static bool wants_to_read(struct session *s)
{
    if (s->client_ended || s->readable)
        return false;
    switch (s->phase) {
    case PHASE_HANDSHAKE:
        return !s->asked && buf_len(&s->wire_in) == 0;
    case PHASE_TALK: {
        struct smtp_io io = io_of(s);
        return smtp_reads_client(s->smtp, &io) &&
               buf_len(s->tls != NULL ? &s->wire_in : &s->from_client) <
                   (s->tls != NULL ? 1 : (size_t)LIMIT_CLIENT_IN);
    }
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
    int events = (wants_to_read(s) ? UV_READABLE : 0) | (write && !s->writable ? UV_WRITABLE : 0);
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

static void session_step(struct session *s)
{
    uint64_t start = s->octets_in;
    bool moved;
    do
        moved = session_move(s);
    while (moved && s->octets_in - start < STEP_OCTETS);
    if (s->phase == PHASE_CLOSED)
        return;
    if (moved)
        s->readable =
            false; /* the level-triggered poll calls again after the others had their turn */
    arm_polls(s);
    arm_timer(s);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct session *s = poll->data;
    bool error = status < 0;
    s->readable |= error || (events & UV_READABLE) != 0;
    s->writable |= error || (events & UV_WRITABLE) != 0;
    session_step(s);
}

static void on_talk_timeout(struct session *s)
{
    uint64_t now = uv_now(&s->worker->loop);
    if (s->write_until != 0 && now >= s->write_until) {
        fail(s, "client takes no replies");
        session_close(s);
        return;
    }
    s->waiting.unit = UINT32_MAX;
    smtp_timed_out(s->smtp);
    session_step(s);
}

static void on_timer(uv_timer_t *timer)
{
    struct session *s = timer->data;
    if (uv_now(&s->worker->loop) < next_deadline(s)) {
        arm_timer(s);
        return;
    }
    if (s->phase == PHASE_TALK) {
        on_talk_timeout(s);
        return;
    }
    if (s->phase == PHASE_HANDSHAKE || s->phase == PHASE_STARTTLS) {
        log_event(s, LOG_LEVEL_INFO, "tls_failed",
                  "the handshake took longer than handshake_timeout");
        fail(s, "handshake timeout");
    }
    session_close(s);
}

/* --- events from outside
 * --------------------------------------------------------------------------------------- */

static enum smtp_verdict verdict_of(enum channel_verdict v)
{
    switch (v) {
    case CHANNEL_ACCEPTED:
        return SMTP_ACCEPTED;
    case CHANNEL_REJECTED:
        return SMTP_REJECTED;
    case CHANNEL_LIMITED:
        return SMTP_LIMITED;
    case CHANNEL_UNAVAILABLE:
        break;
    }
    return SMTP_UNAVAILABLE;
}

static void take_verdict(struct session *s, enum channel_verdict v)
{
    if (v == CHANNEL_REJECTED)
        log_refused_login(s, "wrong login or password");
    else if (v != CHANNEL_ACCEPTED)
        log_refused_login(s, v == CHANNEL_LIMITED ? "over the limit" : "the backend cannot answer");
    const struct sasl_credential *c = smtp_credential(s->smtp);
    char login[SASL_LOGIN_MAX + 1] = "";
    if (c != NULL)
        snprintf(login, sizeof login, "%s", c->login);
    smtp_verdict(s->smtp, verdict_of(v), login);
}

void session_answer(struct session *s, const struct channel_frame *frame)
{
    if (!s->asked)
        return;
    bool handshake = s->phase == PHASE_HANDSHAKE;
    if (handshake && frame->type == CHANNEL_SIGNED)
        tls_engine_signed(s->tls, frame->as.signature.signature, frame->as.signature.len);
    else if (!handshake && frame->type == CHANNEL_VERDICT)
        take_verdict(s, frame->as.verdict);
    else
        return;
    s->asked = false;
    session_step(s);
}

void session_orphan(struct session *s)
{
    if (!s->asked)
        return;
    s->asked = false;
    if (s->phase == PHASE_HANDSHAKE)
        tls_engine_signed(s->tls, NULL, 0);
    else
        smtp_verdict(s->smtp, SMTP_UNAVAILABLE, NULL);
    session_step(s);
}

void session_drain(struct session *s)
{
    if (s->phase == PHASE_CLOSED || s->smtp == NULL)
        return;
    smtp_drain(s->smtp);
    session_step(s);
}

void session_kill(struct session *s)
{
    fail(s, "drain_timeout is over");
    session_close(s);
}

/* --- the beginning
 * --------------------------------------------------------------------------------------------- */

static void name_session(struct session *s)
{
    snprintf(s->id, sizeof s->id, "%08llx%02x%04x", (unsigned long long)time(NULL) & 0xffffffffULL,
             s->worker->index & 0xffU, s->worker->serial & 0xffffU);
    address_host(s->address, &s->from);
    s->peer = (struct smtp_peer){.address = s->address, .session = s->id};
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

/* A client that speaks before the banner did not wait for us: an attack that bets on our buffers
 * (or TLS, or HTTP). */
static bool spoke_first(const struct session *s)
{
    char first;
    return recv(s->fd, &first, 1, MSG_PEEK | MSG_DONTWAIT) == 1 && first != 0x16;
}

static void refuse_early_talker(struct session *s)
{
    log_event(s, LOG_LEVEL_WARNING, "injection", "octets came before the banner; closed");
    fail(s, "octets before the banner");
    buf_clear(&s->to_client);
    (void)buf_text(&s->to_client, "554 5.5.0 Octets before the banner\r\n");
    enter(s, PHASE_FLUSH, LIMIT_CLOSE_MS);
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
    name_session(s);
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
    if (port->conf->tls == CONF_IMPLICIT) {
        if (!start_tls(s))
            return;
    } else {
        s->phase = PHASE_TALK;
        s->waiting.unit = UINT32_MAX;
        if (spoke_first(s))
            refuse_early_talker(s);
    }
    session_step(s);
}
