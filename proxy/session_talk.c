#include "proxy/session_state.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "proxy/limits.h"
#include "proxy/socket.h"
#include "proxy/transparent.h"

static bool take_mta(struct session *s)
{
    if (!s->upstream_stands || !s->mta_readable || buf_room(&s->from_mta) == 0)
        return false;
    enum socket_status status =
        socket_take(upstream_fd(s->upstream), &s->from_mta, LIMIT_MTA_IN, &s->mta_readable);
    if (status == SOCKET_MOVED || status == SOCKET_BLOCKED)
        return status == SOCKET_MOVED;
    /* what it said last is read by the core before the loss is told: see mta_gone */
    upstream_close(s->upstream);
    s->upstream = NULL;
    s->upstream_stands = false;
    s->mta_ended = true;
    return true;
}

bool session_give_mta(struct session *s)
{
    if (!s->upstream_stands || buf_len(&s->to_mta) == 0)
        return false;
    /* a failed write shows as a failed read: that is where the loss is told */
    return socket_drain(upstream_fd(s->upstream), &s->to_mta) == SOCKET_MOVED;
}

/* Before a word of SMTP; the socket is new and takes it whole, or it is of no use. */
static bool introduce(const struct session *s)
{
    uint8_t header[PROXY_HEADER_WRITE_MAX];
    size_t len = session_introduction(s, header);
    return len == 0 || send(upstream_fd(s->upstream), header, len, MSG_NOSIGNAL) == (ssize_t)len;
}

static void on_upstream(void *owner, enum upstream_event event, bool readable, bool writable)
{
    struct session *s = owner;
    (void)writable;
    s->mta_readable |= readable;
    if (event == UPSTREAM_CONNECTED && introduce(s)) {
        s->upstream_stands = true;
        smtp_mta_connected(s->smtp);
    } else if (event != UPSTREAM_READY) {
        session_drop_mta(s);
        smtp_mta_lost(s->smtp);
    }
    session_step(s);
}

/* What is left of queue_timeout after waiting in line. */
static uint64_t patience_left(const struct session *s)
{
    uint64_t waited = uv_now(&s->worker->loop) - s->lease_asked;
    uint64_t all = s->port->upstream->queue_timeout;
    return waited < all ? all - waited : 0;
}

static bool transparent(const struct session *s)
{
    return s->port->upstream->identity == CONF_IDENTITY_TRANSPARENT;
}

static bool target_for_client(const struct session *s, struct address *to, uint8_t source[16])
{
    address_octets(source, &s->from);
    return transparent_target(to, s->port->target.address, s->port->target.address_count, source);
}

static struct upstream *open_upstream(struct session *s)
{
    uv_loop_t *loop = &s->worker->loop;
    struct address to;
    uint8_t source[16];
    if (!transparent(s))
        return upstream_open(loop, &s->port->target, patience_left(s), on_upstream, s);
    int fd = link_take_fd(s->worker->link);
    if (fd < 0 || !target_for_client(s, &to, source)) /* never shown as ours instead */
        return NULL;
    return upstream_open_with(loop, &s->port->target, fd, &to, on_upstream, s);
}

void session_leased(struct session *s, uint64_t number, enum channel_lease lease)
{
    if (s->lease != LEASE_ASKED || number != s->lease_number)
        return;
    bool granted = lease != CHANNEL_FULL;
    s->lease = granted ? LEASE_HELD : LEASE_NOT;
    s->waiting.unit = UINT32_MAX; /* the wait for the connection itself begins */
    if (granted)
        s->upstream = open_upstream(s);
    if (s->upstream == NULL) {
        session_drop_mta(s);
        if (granted && transparent(s))
            smtp_mta_unidentified(s->smtp);
        else
            smtp_mta_busy(s->smtp);
    }
    session_step(s);
}

static void log_no_target(const struct session *s, const uint8_t source[16])
{
    char message[192];
    snprintf(
        message, sizeof message,
        "the MTA of upstream %.64s has no %s address that the client could be seen to connect to; "
        "give it one in [upstream] address",
        s->port->upstream->name, transparent_family(source));
    session_log_event(s, LOG_LEVEL_WARNING, "no_family", message);
}

/* First a place among the MTA's connections, from the vault; then the connection. */
static bool connect_upstream(struct session *s)
{
    if (s->lease != LEASE_NOT)
        return false;
    if (s->worker->link == NULL) {
        smtp_mta_lost(s->smtp);
        return true;
    }
    struct channel_frame ask = {.type = CHANNEL_LEASE,
                                .as.lease.upstream = (uint32_t)s->port->conf->upstream};
    struct address to;
    if (transparent(s) && !target_for_client(s, &to, ask.as.lease.source)) {
        log_no_target(s, ask.as.lease.source);
        smtp_mta_unidentified(s->smtp);
        return true;
    }
    /* who did not log in shares with his like from the same place */
    const char *login = smtp_login(s->smtp) != NULL ? smtp_login(s->smtp) : s->address;
    s->lease = LEASE_ASKED;
    s->lease_asked = uv_now(&s->worker->loop);
    s->lease_number = worker_number(s->worker, s->number);
    ask.number = s->lease_number;
    ask.as.lease.login = login;
    ask.as.lease.login_len = strlen(login);
    link_send(s->worker->link, &ask);
    return false;
}

static bool ask_permission(struct session *s)
{
    if (s->asked)
        return false;
    if (s->worker->link == NULL) {
        smtp_permitted(s->smtp, SMTP_PERMIT_UNAVAILABLE);
        return true;
    }
    const struct smtp_permit *p = smtp_permit(s->smtp);
    const char *login = smtp_login(s->smtp);
    link_send(s->worker->link,
              &(struct channel_frame){
                  .type = CHANNEL_PERMIT,
                  .number = session_question(s),
                  .as.permit = {.what = p->what == SMTP_PERMIT_SENDER ? CHANNEL_PERMIT_SENDER
                                                                      : CHANNEL_PERMIT_RECIPIENT,
                                .login = login,
                                .login_len = strlen(login),
                                .address = p->address,
                                .address_len = strlen(p->address)}});
    return false;
}

/* The QUIT is small and the socket idle: what it does not take at once is not worth waiting for. */
static bool leave_mta(struct session *s)
{
    (void)session_give_mta(s);
    session_drop_mta(s);
    return true;
}

/* Is the core still at work on something that the client asked before it stopped talking? */
static bool still_working(const struct session *s, const struct smtp_io *io)
{
    switch (smtp_waiting(s->smtp, io).what) {
    case SMTP_FOR_VERDICT:
    case SMTP_FOR_CONNECT:
    case SMTP_FOR_BANNER:
    case SMTP_FOR_REPLY:
    case SMTP_FOR_START:
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
    session_drop_mta(s);
    smtp_mta_lost(s->smtp);
    return true;
}

static void begin_close(struct session *s)
{
    s->polite = smtp_end(s->smtp) == SMTP_END_QUIT || s->client_ended;
    session_enter(s, PHASE_FLUSH, LIMIT_CLOSE_MS);
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
    struct smtp_io io = session_io(s);
    size_t unread = buf_len(&s->from_client) + buf_len(&s->from_mta), unsent = queued(s);
    enum smtp_todo todo = smtp_advance(s->smtp, &io);
    bool moved = unread != buf_len(&s->from_client) + buf_len(&s->from_mta) || unsent != queued(s);
    take_lesson(s);
    session_end_exchange(s);
    switch (todo) {
    case SMTP_WAIT:
        return moved || mta_gone(s) || wait_or_gone(s, &io);
    case SMTP_STARTTLS:
        session_enter(s, PHASE_STARTTLS, s->worker->front->conf->handshake_timeout);
        return true;
    case SMTP_VERIFY:
        return session_ask_verdict(s) || moved;
    case SMTP_PERMIT:
        return ask_permission(s) || moved;
    case SMTP_CONNECT:
        return connect_upstream(s) || moved;
    case SMTP_LEAVE:
        return leave_mta(s);
    case SMTP_CUT:
        session_drop_mta(s);
        return true;
    case SMTP_NOTE:
        session_log_note(s);
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

bool session_talk(struct session *s, bool *broken)
{
    bool moved = session_take_client(s, broken);
    if (s->phase == PHASE_TALK && session_spoke_tls(s)) {
        session_log_event(
            s, LOG_LEVEL_INFO, "tls_on_plaintext_port",
            "the client speaks TLS where STARTTLS is spoken; set it to STARTTLS, or to the implicit-TLS port");
        session_fail(s, "tls on a plaintext port");
        session_close(s);
        return false;
    }
    if (s->phase == PHASE_TALK) {
        moved |= take_mta(s);
        moved |= advance(s);
    }
    if (s->phase == PHASE_CLOSED)
        return false;
    if (s->phase == PHASE_FLUSH)
        return true; /* the farewell goes with what is left to say */
    moved |= session_give_client(s, broken);
    /* message data is gathered as long as more of it comes */
    if (moved && s->flowing && buf_room(&s->to_mta) > LIMIT_CLIENT_IN)
        return true;
    return session_give_mta(s) || moved;
}
