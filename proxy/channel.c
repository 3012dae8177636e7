#include "proxy/channel.h"

#include <string.h>

#include "proxy/wire.h"

/* On the wire: length of the whole frame, type, number, then what the type carries. */
enum { CHANNEL_HEADER = 4 + 4 + 8 };

static bool channel_mechanism_known(uint32_t mechanism)
{
    return (mechanism & SASL_ALL) != 0 && (mechanism & (mechanism - 1)) == 0;
}

/* A C string reads the wrong login where a NUL stands inside, so none gets through. */
static bool channel_text_fits(const char *text, size_t len, size_t max)
{
    return text != NULL && len > 0 && len <= max && memchr(text, '\0', len) == NULL;
}

/* The same, where there may be none at all. */
static bool channel_text_fits_or_empty(const char *text, size_t len, size_t max)
{
    return len == 0 || channel_text_fits(text, len, max);
}

static bool channel_octets_fit(const void *octets, size_t len, size_t max)
{
    return len == 0 || (octets != NULL && len <= max);
}

static bool channel_credential_fits(const struct channel_frame *f)
{
    const char *const login = f->as.verify.login;
    const size_t login_len = f->as.verify.login_len;
    const size_t secret_len = f->as.verify.secret_len;

    if (!channel_mechanism_known((uint32_t)f->as.verify.mechanism))
        return false;
    switch (sasl_kind(f->as.verify.mechanism)) {
    case SASL_KIND_PASSWORD:
        return channel_text_fits(login, login_len, SASL_LOGIN_MAX) &&
               channel_text_fits(f->as.verify.secret, secret_len, SASL_PASSWORD_MAX);
    case SASL_KIND_TOKEN:
        return channel_text_fits_or_empty(login, login_len, SASL_LOGIN_MAX) &&
               channel_text_fits(f->as.verify.secret, secret_len, SASL_SECRET_MAX);
    case SASL_KIND_EXTERNAL:
        return channel_text_fits(login, login_len, SASL_LOGIN_MAX) && secret_len == 0;
    case SASL_KIND_EXCHANGE:
        return login_len == 0 &&
               channel_octets_fit(f->as.verify.secret, secret_len, SASL_SECRET_MAX);
    }
    return false;
}

/* Printable ASCII, and its end within `cap`. */
static bool channel_word_fits(const char *word, size_t cap)
{
    for (size_t i = 0; i < cap; i++) {
        if (word[i] == '\0')
            return true;
        if (word[i] < 0x20 || word[i] > 0x7e)
            return false;
    }
    return false;
}

static bool channel_client_fits(const struct auth_client *c)
{
    return (c->offered & ~SASL_ALL) == 0 && channel_word_fits(c->session, sizeof c->session) &&
           channel_word_fits(c->helo, sizeof c->helo) &&
           channel_word_fits(c->tls_version, sizeof c->tls_version) &&
           channel_word_fits(c->tls_cipher, sizeof c->tls_cipher);
}

static bool channel_verdict_fits(const struct channel_frame *f)
{
    if (f->as.verdict.word == CHANNEL_ACCEPTED)
        return channel_text_fits(f->as.verdict.login, f->as.verdict.login_len, SASL_LOGIN_MAX);
    return f->as.verdict.word <= CHANNEL_LIMITED && f->as.verdict.login_len == 0;
}

/* One judge for both directions: what may not be sent is not taken either. */
static bool channel_valid(const struct channel_frame *f)
{
    switch (f->type) {
    case CHANNEL_READY:
    case CHANNEL_CANCEL:
    case CHANNEL_DRAIN:
    case CHANNEL_RETURN:
    case CHANNEL_LEARNT:
        return true;
    case CHANNEL_LEASE:
        return channel_text_fits_or_empty(f->as.lease.login, f->as.lease.login_len, SASL_LOGIN_MAX);
    case CHANNEL_LEASED:
        return f->as.leased <= CHANNEL_GRANTED_SOCKET;
    case CHANNEL_PERMIT:
        return f->as.permit.what <= CHANNEL_PERMIT_RECIPIENT &&
               channel_text_fits(f->as.permit.login, f->as.permit.login_len, SASL_LOGIN_MAX) &&
               channel_text_fits_or_empty(f->as.permit.address, f->as.permit.address_len,
                                          CHANNEL_ADDRESS_MAX);
    case CHANNEL_PERMITTED:
        return f->as.permission <= CHANNEL_OVER_QUOTA;
    case CHANNEL_SIGN:
        return f->as.sign.input != NULL && f->as.sign.len > 0 &&
               f->as.sign.len <= TLS_SIGN_INPUT_MAX;
    case CHANNEL_VERIFY:
        return channel_credential_fits(f) && channel_client_fits(&f->as.verify.client);
    case CHANNEL_RESPOND:
        return channel_octets_fit(f->as.message.octets, f->as.message.len, SASL_SECRET_MAX);
    case CHANNEL_CHALLENGE:
        return channel_octets_fit(f->as.message.octets, f->as.message.len, SASL_CHALLENGE_MAX);
    case CHANNEL_MECHANISMS:
        return (f->as.mechanisms & ~SASL_ALL) == 0;
    case CHANNEL_SIGNED:
        return f->as.signature.len == 0 ||
               (f->as.signature.signature != NULL && f->as.signature.len <= TLS_SIGNATURE_MAX);
    case CHANNEL_VERDICT:
        return channel_verdict_fits(f);
    case CHANNEL_TICKETS:
        return f->as.tickets.count <= TICKET_KEYS_MAX;
    }
    return false;
}

static size_t channel_client_len(const struct auth_client *c)
{
    return 16 + 2 + 16 + 2 + 4 + 4 + 4 + (c->bound ? sizeof c->binding : 0) + 4 * 2 +
           strlen(c->session) + strlen(c->helo) + strlen(c->tls_version) + strlen(c->tls_cipher);
}

static size_t channel_body_len(const struct channel_frame *f)
{
    switch (f->type) {
    case CHANNEL_SIGN:
        return 4 + 2 + 2 + f->as.sign.len;
    case CHANNEL_VERIFY:
        return 4 + channel_client_len(&f->as.verify.client) + 4 + 2 + 2 + f->as.verify.login_len +
               f->as.verify.secret_len;
    case CHANNEL_RESPOND:
    case CHANNEL_CHALLENGE:
        return 2 + f->as.message.len;
    case CHANNEL_SIGNED:
        return 2 + f->as.signature.len;
    case CHANNEL_VERDICT:
        return 4 + 2 + f->as.verdict.login_len;
    case CHANNEL_LEASED:
    case CHANNEL_PERMITTED:
    case CHANNEL_MECHANISMS:
        return 4;
    case CHANNEL_LEASE:
        return 4 + 16 + 2 + f->as.lease.login_len;
    case CHANNEL_PERMIT:
        return 4 + 2 + 2 + f->as.permit.login_len + f->as.permit.address_len;
    case CHANNEL_LEARNT:
        return 4 + 4 + 8;
    case CHANNEL_TICKETS:
        return 4 + f->as.tickets.count * TICKET_KEY_LEN;
    default:
        return 0;
    }
}

static uint8_t *channel_put(uint8_t *to, const void *from, size_t len)
{
    if (len > 0)
        memcpy(to, from, len);
    return to + len;
}

static uint8_t *channel_put_u16(uint8_t *to, size_t value)
{
    const uint16_t narrow = (uint16_t)value;

    return channel_put(to, &narrow, sizeof narrow);
}

static uint8_t *channel_put_u32(uint8_t *to, size_t value)
{
    const uint32_t narrow = (uint32_t)value;

    return channel_put(to, &narrow, sizeof narrow);
}

static uint8_t *channel_put_word(uint8_t *to, const char *word)
{
    const size_t len = strlen(word);

    to = channel_put_u16(to, len);
    return channel_put(to, word, len);
}

static uint8_t *channel_put_client(uint8_t *to, const struct auth_client *c)
{
    to = channel_put(to, c->address, sizeof c->address);
    to = channel_put_u16(to, c->port);
    to = channel_put(to, c->local, sizeof c->local);
    to = channel_put_u16(to, c->local_port);
    to = channel_put_u32(to, c->attempt);
    to = channel_put_u32(to, c->offered);
    to = channel_put_u32(to, c->bound ? 1 : 0);
    to = channel_put(to, c->binding, c->bound ? sizeof c->binding : 0);
    to = channel_put_word(to, c->session);
    to = channel_put_word(to, c->helo);
    to = channel_put_word(to, c->tls_version);
    return channel_put_word(to, c->tls_cipher);
}

static uint8_t *channel_put_verify(uint8_t *to, const struct channel_frame *f)
{
    to = channel_put_u32(to, f->as.verify.listener);
    to = channel_put_client(to, &f->as.verify.client);
    to = channel_put_u32(to, f->as.verify.mechanism);
    to = channel_put_u16(to, f->as.verify.login_len);
    to = channel_put_u16(to, f->as.verify.secret_len);
    to = channel_put(to, f->as.verify.login, f->as.verify.login_len);
    return channel_put(to, f->as.verify.secret, f->as.verify.secret_len);
}

static uint8_t *channel_put_verdict(uint8_t *to, const struct channel_frame *f)
{
    to = channel_put_u32(to, f->as.verdict.word);
    to = channel_put_u16(to, f->as.verdict.login_len);
    return channel_put(to, f->as.verdict.login, f->as.verdict.login_len);
}

static uint8_t *channel_put_lease(uint8_t *to, const struct channel_frame *f)
{
    to = channel_put_u32(to, f->as.lease.upstream);
    to = channel_put(to, f->as.lease.source, sizeof f->as.lease.source);
    to = channel_put_u16(to, f->as.lease.login_len);
    return channel_put(to, f->as.lease.login, f->as.lease.login_len);
}

static uint8_t *channel_put_permit(uint8_t *to, const struct channel_frame *f)
{
    to = channel_put_u32(to, f->as.permit.what);
    to = channel_put_u16(to, f->as.permit.login_len);
    to = channel_put_u16(to, f->as.permit.address_len);
    to = channel_put(to, f->as.permit.login, f->as.permit.login_len);
    return channel_put(to, f->as.permit.address, f->as.permit.address_len);
}

static uint8_t *channel_put_learnt(uint8_t *to, const struct channel_frame *f)
{
    to = channel_put_u32(to, f->as.learnt.upstream);
    to = channel_put_u32(to, f->as.learnt.extensions);
    return channel_put(to, &f->as.learnt.size, sizeof f->as.learnt.size);
}

static uint8_t *channel_put_body(uint8_t *to, const struct channel_frame *f)
{
    switch (f->type) {
    case CHANNEL_SIGN:
        to = channel_put_u32(to, f->as.sign.certificate);
        to = channel_put_u16(to, f->as.sign.algorithm);
        to = channel_put_u16(to, f->as.sign.len);
        return channel_put(to, f->as.sign.input, f->as.sign.len);
    case CHANNEL_VERIFY:
        return channel_put_verify(to, f);
    case CHANNEL_SIGNED:
        to = channel_put_u16(to, f->as.signature.len);
        return channel_put(to, f->as.signature.signature, f->as.signature.len);
    case CHANNEL_VERDICT:
        return channel_put_verdict(to, f);
    case CHANNEL_RESPOND:
    case CHANNEL_CHALLENGE:
        to = channel_put_u16(to, f->as.message.len);
        return channel_put(to, f->as.message.octets, f->as.message.len);
    case CHANNEL_MECHANISMS:
        return channel_put_u32(to, f->as.mechanisms);
    case CHANNEL_LEASE:
        return channel_put_lease(to, f);
    case CHANNEL_LEASED:
        return channel_put_u32(to, f->as.leased);
    case CHANNEL_PERMIT:
        return channel_put_permit(to, f);
    case CHANNEL_PERMITTED:
        return channel_put_u32(to, f->as.permission);
    case CHANNEL_LEARNT:
        return channel_put_learnt(to, f);
    case CHANNEL_TICKETS:
        to = channel_put_u32(to, f->as.tickets.count);
        return channel_put(to, f->as.tickets.key, f->as.tickets.count * TICKET_KEY_LEN);
    default:
        return to;
    }
}

bool channel_brings_descriptor(const struct channel_frame *frame)
{
    return frame->type == CHANNEL_LEASED && frame->as.leased == CHANNEL_GRANTED_SOCKET;
}

bool channel_encode(struct buf *out, const struct channel_frame *frame)
{
    size_t len;
    uint8_t *to;

    if (!channel_valid(frame))
        return false;
    len = CHANNEL_HEADER + channel_body_len(frame);
    to = buf_reserve(out, len);
    if (to == NULL)
        return false;
    to = channel_put_u32(to, len);
    to = channel_put_u32(to, frame->type);
    to = channel_put(to, &frame->number, sizeof frame->number);
    channel_put_body(to, frame);
    buf_commit(out, len);
    return true;
}

/* What does not fit spoils the frame. */
static void channel_take_word(char *out, size_t cap, struct wire *w)
{
    const size_t len = wire_u16(w);
    const uint8_t *const word = wire_bytes(w, len);

    if (word != NULL && len < cap && memchr(word, '\0', len) == NULL)
        memcpy(out, word, len);
    else
        w->short_of = true;
}

static void channel_take_client(struct auth_client *out, struct wire *w)
{
    uint32_t bound;

    wire_copy(w, out->address, sizeof out->address);
    out->port = wire_u16(w);
    wire_copy(w, out->local, sizeof out->local);
    out->local_port = wire_u16(w);
    out->attempt = wire_u32(w);
    out->offered = wire_u32(w);
    bound = wire_u32(w);
    out->bound = bound == 1;
    if (bound > 1)
        w->short_of = true;
    if (out->bound)
        wire_copy(w, out->binding, sizeof out->binding);
    channel_take_word(out->session, sizeof out->session, w);
    channel_take_word(out->helo, sizeof out->helo, w);
    channel_take_word(out->tls_version, sizeof out->tls_version, w);
    channel_take_word(out->tls_cipher, sizeof out->tls_cipher, w);
}

static void channel_take_verify(struct channel_frame *out, struct wire *w)
{
    out->as.verify.listener = wire_u32(w);
    channel_take_client(&out->as.verify.client, w);
    out->as.verify.mechanism = (enum sasl_mechanism)wire_u32(w);
    out->as.verify.login_len = wire_u16(w);
    out->as.verify.secret_len = wire_u16(w);
    out->as.verify.login = (const char *)wire_bytes(w, out->as.verify.login_len);
    out->as.verify.secret = (const char *)wire_bytes(w, out->as.verify.secret_len);
}

static void channel_take_verdict(struct channel_frame *out, struct wire *w)
{
    out->as.verdict.word = (enum channel_verdict)wire_u32(w);
    out->as.verdict.login_len = wire_u16(w);
    out->as.verdict.login = (const char *)wire_bytes(w, out->as.verdict.login_len);
}

static void channel_take_tickets(struct channel_frame *out, struct wire *w)
{
    size_t count = wire_u32(w);

    out->as.tickets.count = count;
    if (count <= TICKET_KEYS_MAX)
        wire_copy(w, out->as.tickets.key, count * TICKET_KEY_LEN);
}

static void channel_take_lease(struct channel_frame *out, struct wire *w)
{
    out->as.lease.upstream = wire_u32(w);
    wire_copy(w, out->as.lease.source, sizeof out->as.lease.source);
    out->as.lease.login_len = wire_u16(w);
    out->as.lease.login = (const char *)wire_bytes(w, out->as.lease.login_len);
}

static void channel_take_permit(struct channel_frame *out, struct wire *w)
{
    out->as.permit.what = (enum channel_permit)wire_u32(w);
    out->as.permit.login_len = wire_u16(w);
    out->as.permit.address_len = wire_u16(w);
    out->as.permit.login = (const char *)wire_bytes(w, out->as.permit.login_len);
    out->as.permit.address = (const char *)wire_bytes(w, out->as.permit.address_len);
}

static void channel_take_learnt(struct channel_frame *out, struct wire *w)
{
    out->as.learnt.upstream = wire_u32(w);
    out->as.learnt.extensions = wire_u32(w);
    out->as.learnt.size = wire_u64(w);
}

static void channel_take_body(struct channel_frame *out, struct wire *w)
{
    switch (out->type) {
    case CHANNEL_SIGN:
        out->as.sign.certificate = wire_u32(w);
        out->as.sign.algorithm = wire_u16(w);
        out->as.sign.len = wire_u16(w);
        out->as.sign.input = wire_bytes(w, out->as.sign.len);
        break;
    case CHANNEL_VERIFY:
        channel_take_verify(out, w);
        break;
    case CHANNEL_SIGNED:
        out->as.signature.len = wire_u16(w);
        out->as.signature.signature = wire_bytes(w, out->as.signature.len);
        break;
    case CHANNEL_VERDICT:
        channel_take_verdict(out, w);
        break;
    case CHANNEL_RESPOND:
    case CHANNEL_CHALLENGE:
        out->as.message.len = wire_u16(w);
        out->as.message.octets = wire_bytes(w, out->as.message.len);
        break;
    case CHANNEL_MECHANISMS:
        out->as.mechanisms = wire_u32(w);
        break;
    case CHANNEL_LEASE:
        channel_take_lease(out, w);
        break;
    case CHANNEL_LEASED:
        out->as.leased = (enum channel_lease)wire_u32(w);
        break;
    case CHANNEL_PERMIT:
        channel_take_permit(out, w);
        break;
    case CHANNEL_PERMITTED:
        out->as.permission = (enum channel_permission)wire_u32(w);
        break;
    case CHANNEL_LEARNT:
        channel_take_learnt(out, w);
        break;
    case CHANNEL_TICKETS:
        channel_take_tickets(out, w);
        break;
    default:
        break;
    }
}

enum channel_status channel_decode(struct channel_frame *out, size_t *used, const uint8_t *in,
                                   size_t len)
{
    struct wire w = {.at = in, .left = len};
    size_t frame_len;

    if (len < 4)
        return CHANNEL_MORE;
    frame_len = wire_u32(&w);
    if (frame_len < CHANNEL_HEADER || frame_len > CHANNEL_FRAME_MAX)
        return CHANNEL_BAD;
    if (len < frame_len)
        return CHANNEL_MORE;
    w.left = frame_len - 4;
    memset(out, 0, sizeof *out);
    out->type = (enum channel_type)wire_u32(&w);
    out->number = wire_u64(&w);
    channel_take_body(out, &w);
    if (!wire_done(&w) || !channel_valid(out))
        return CHANNEL_BAD;
    *used = frame_len;
    return CHANNEL_FRAME;
}
