#include "proxy/session_state.h"

#include <stdio.h>
#include <time.h>

#include "proxy/limits.h"
#include "proxy/socket.h"

struct tls_wire session_wire(struct session *s)
{
    size_t room = buf_room(&s->wire_out);
    return (struct tls_wire){
        .in = buf_len(&s->wire_in) > 0 ? buf_data(&s->wire_in) : NULL,
        .in_len = buf_len(&s->wire_in),
        .out = s->worker->scratch,
        .out_cap = room < WORKER_SCRATCH ? room : WORKER_SCRATCH,
    };
}

bool session_wire_done(struct session *s, const struct tls_wire *wire)
{
    buf_consume(&s->wire_in, wire->in_used);
    s->octets_out += wire->out_len;
    return buf_append(&s->wire_out, s->worker->scratch, wire->out_len);
}

static bool encrypt(struct session *s)
{
    bool moved = false;
    while (buf_len(&s->to_client) > 0 && buf_room(&s->wire_out) > 0) {
        struct tls_wire wire = session_wire(s);
        size_t taken = 0;
        enum tls_status status = tls_engine_write(s->tls, &wire, buf_data(&s->to_client),
                                                  buf_len(&s->to_client), &taken);
        buf_consume(&s->to_client, taken);
        moved |= taken > 0 || wire.out_len > 0;
        if (!session_wire_done(s, &wire) || status == TLS_FAILED) {
            session_fail(s, "tls failed");
            session_enter(s, PHASE_FLUSH, LIMIT_CLOSE_MS);
            buf_clear(&s->to_client);
            return true;
        }
        if (taken == 0 && wire.out_len == 0)
            break;
    }
    return moved;
}

bool session_drain_queue(struct session *s, struct buf *queue, bool *broken)
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

void session_farewell(struct session *s)
{
    if (s->tls == NULL || s->client_ended || s->farewell)
        return;
    (void)encrypt(s);
    if (buf_len(&s->to_client) > 0)
        return;
    struct tls_wire wire = session_wire(s);
    (void)tls_engine_close(s->tls, &wire);
    (void)session_wire_done(s, &wire);
    s->farewell = true;
    s->writable = true;
}

bool session_give_client(struct session *s, bool *broken)
{
    bool moved = s->tls != NULL && s->phase != PHASE_STARTTLS && encrypt(s);
    return session_drain_queue(s, s->tls != NULL ? &s->wire_out : &s->to_client, broken) || moved;
}

static bool refill(struct session *s, struct buf *queue, bool *broken)
{
    size_t before = buf_len(queue);
    if (!s->readable || s->client_ended || (queue == &s->wire_in && before > 0))
        return false; /* what the engine has not taken comes first */
    /* a read that filled its room says that more is on its way */
    size_t most = s->flowing ? LIMIT_CIPHER_IN : LIMIT_CLIENT_IN;
    enum socket_status status = socket_take(s->fd, queue, most, &s->readable);
    s->flowing = s->readable;
    s->octets_in += buf_len(queue) - before;
    if (status == SOCKET_ENDED)
        s->client_ended = true;
    if (status == SOCKET_FAILED)
        *broken = true;
    return status == SOCKET_MOVED || status == SOCKET_ENDED;
}

struct smtp_io session_io(struct session *s)
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
    session_log_event(s, LOG_LEVEL_INFO, "tls_failed", tls_engine_failure(s->tls));
    session_fail(s, reason);
    s->client_ended = true;
    buf_clear(&s->to_client);
    buf_clear(&s->wire_in);
    if (s->phase != PHASE_HANDSHAKE && s->smtp != NULL && !s->told_gone) {
        s->told_gone = true;
        smtp_client_gone(s->smtp); /* a message after its final dot is still waited for */
        return true;
    }
    session_enter(s, PHASE_FLUSH, LIMIT_CLOSE_MS);
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
    struct tls_wire wire = session_wire(s);
    size_t got = 0;
    enum tls_status status = tls_engine_read(s->tls, &wire, plain, room, &got);
    buf_commit(&s->from_client, got);
    bool moved = got > 0 || wire.in_used > 0 || wire.out_len > 0;
    if (!session_wire_done(s, &wire))
        *broken = true;
    if (status == TLS_FAILED)
        return tls_broke(s);
    if (status == TLS_CLOSED) {
        s->client_ended = true;
        buf_clear(&s->wire_in);
    }
    return moved;
}

bool session_take_client(struct session *s, bool *broken)
{
    struct smtp_io io = session_io(s);
    if (!smtp_reads_client(s->smtp, &io))
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
bool session_spoke_tls(const struct session *s)
{
    return s->tls == NULL && smtp_helo(s->smtp) == NULL && buf_len(&s->from_client) > 0 &&
           buf_data(&s->from_client)[0] == 0x16;
}

bool session_start_tls(struct session *s)
{
    s->tls = tls_engine_new(s->port->tls);
    if (s->tls == NULL) {
        session_fail(s, "out of memory");
        session_close(s);
        return false;
    }
    session_enter(s, PHASE_HANDSHAKE, s->worker->front->conf->handshake_timeout);
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
    link_send(s->worker->link,
              &(struct channel_frame){.type = CHANNEL_SIGN,
                                      .number = session_question(s),
                                      .as.sign = {.certificate = (uint32_t)job->certificate,
                                                  .algorithm = job->algorithm,
                                                  .input = job->input,
                                                  .len = job->len}});
}

static void handshake_done(struct session *s)
{
    uint8_t binding[TLS_BINDING_LEN];
    struct smtp_tls_info info = {.bound = tls_engine_binding(s->tls, binding),
                                 .external = tls_engine_client(s->tls)};
    snprintf(info.version, sizeof info.version, "%s", tls_engine_version(s->tls));
    snprintf(info.cipher, sizeof info.cipher, "%s", tls_engine_cipher(s->tls));
    s->phase = PHASE_TALK;
    s->waiting.unit = UINT32_MAX; /* a wait of the core's own begins */
    smtp_tls_started(s->smtp, &info);
}

bool session_handshake(struct session *s, bool *broken)
{
    if (s->asked)
        return session_drain_queue(s, &s->wire_out, broken);
    bool moved = refill(s, &s->wire_in, broken);
    struct tls_wire wire = session_wire(s);
    enum tls_status status = tls_engine_handshake(s->tls, &wire);
    moved |= wire.in_used > 0 || wire.out_len > 0;
    if (!session_wire_done(s, &wire))
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
    moved |= session_drain_queue(s, &s->wire_out, broken);
    if (s->client_ended && s->phase == PHASE_HANDSHAKE) {
        session_fail(s, "client gone in handshake");
        *broken = true;
    }
    return moved;
}
