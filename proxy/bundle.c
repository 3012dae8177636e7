#include "proxy/bundle.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/wire.h"

/* A front of another version, started while the program file is being replaced, must not misread
 * this. */
#define BUNDLE_MAGIC "vestibule bundle " VESTIBULE_VERSION

static bool bundle_put_u32(struct buf *out, size_t value)
{
    const uint32_t narrow = (uint32_t)value;

    return value <= UINT32_MAX && buf_append(out, &narrow, sizeof narrow);
}

static bool bundle_put_bytes(struct buf *out, const void *bytes, size_t len)
{
    return bundle_put_u32(out, len) && buf_append(out, bytes, len);
}

static bool bundle_put_conf(struct buf *out, const struct conf *conf)
{
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    bool ok;

    if (f == NULL)
        return false;
    ok = conf_write(f, conf);
    ok = fclose(f) == 0 && ok && bundle_put_bytes(out, text, len);
    free(text);
    return ok;
}

static bool bundle_put_certificate(struct buf *out, const struct certificate *c)
{
    const size_t count = certificate_chain_len(c);

    if (count == 0 || count > CERTIFICATE_CHAIN_MAX || !bundle_put_u32(out, count))
        return false;
    for (size_t i = 0; i < count; i++) {
        size_t len;
        const uint8_t *der = certificate_der(c, i, &len);
        if (!bundle_put_bytes(out, der, len))
            return false;
    }
    return true;
}

static bool bundle_put_certificates(struct buf *out, const struct bundle *b)
{
    if (b->certificate_count > CONF_CERTIFICATES_MAX || !bundle_put_u32(out, b->certificate_count))
        return false;
    for (size_t i = 0; i < b->certificate_count; i++) {
        if (!bundle_put_certificate(out, b->certificate[i]))
            return false;
    }
    return true;
}

static bool bundle_address_valid(const struct address *a)
{
    return (a->storage.ss_family == AF_INET && a->len == sizeof(struct sockaddr_in)) ||
           (a->storage.ss_family == AF_INET6 && a->len == sizeof(struct sockaddr_in6));
}

static bool bundle_put_upstreams(struct buf *out, const struct bundle *b)
{
    for (size_t i = 0; i < b->conf->upstream_count; i++) {
        const size_t count = b->upstream[i].count;
        if (count > CONF_ADDRESSES_MAX || !bundle_put_u32(out, count))
            return false;
        for (size_t j = 0; j < count; j++) {
            const struct address *a = &b->upstream[i].at[j];
            if (!bundle_address_valid(a) || !bundle_put_bytes(out, &a->storage, a->len))
                return false;
        }
    }
    return true;
}

static bool bundle_put_learnt(struct buf *out, const struct bundle *b)
{
    for (size_t i = 0; i < b->conf->upstream_count; i++) {
        const struct capabilities *c = &b->learnt[i];
        if (!bundle_put_u32(out, c->known) || !bundle_put_u32(out, c->extensions) ||
            !buf_append(out, &c->size, sizeof c->size))
            return false;
    }
    return true;
}

static bool bundle_put_fd(struct buf *out, int32_t fd)
{
    return fd >= 0 && bundle_put_u32(out, (size_t)fd);
}

static bool bundle_put_sockets(struct buf *out, const struct bundle *b)
{
    if (b->socket_count > BUNDLE_SOCKETS_MAX || !bundle_put_u32(out, b->socket_count))
        return false;
    for (size_t i = 0; i < b->socket_count; i++) {
        if (b->socket[i].listener >= b->conf->listener_count ||
            !bundle_put_u32(out, b->socket[i].listener) || !bundle_put_fd(out, b->socket[i].fd))
            return false;
    }
    return bundle_put_fd(out, b->first_channel) && bundle_put_fd(out, b->log);
}

static bool bundle_put_tickets(struct buf *out, const struct ticket_keys *t)
{
    return t->count <= TICKET_KEYS_MAX && bundle_put_u32(out, t->count) &&
           buf_append(out, t->key, t->count * TICKET_KEY_LEN);
}

static bool bundle_put_client_ca(struct buf *out, const struct client_ca *ca)
{
    const size_t count = ca != NULL ? client_ca_count(ca) : 0;

    if (count > CLIENT_CA_MAX || !bundle_put_u32(out, count))
        return false;
    for (size_t i = 0; i < count; i++) {
        size_t len;
        const uint8_t *der = client_ca_der(ca, i, &len);
        if (!bundle_put_bytes(out, der, len))
            return false;
    }
    return true;
}

bool bundle_encode(struct buf *out, const struct bundle *b)
{
    return bundle_put_bytes(out, BUNDLE_MAGIC, strlen(BUNDLE_MAGIC)) &&
           bundle_put_conf(out, b->conf) && bundle_put_certificates(out, b) &&
           bundle_put_upstreams(out, b) && bundle_put_learnt(out, b) &&
           bundle_put_sockets(out, b) && bundle_put_tickets(out, &b->tickets) &&
           bundle_put_client_ca(out, b->client_ca);
}

/* A length and as many octets. NULL: not there, and the reader knows. */
static const uint8_t *bundle_take_bytes(struct wire *w, size_t *len)
{
    *len = wire_u32(w);
    return wire_bytes(w, *len);
}

static bool bundle_take_magic(struct wire *w)
{
    size_t len;
    const uint8_t *magic = bundle_take_bytes(w, &len);

    return magic != NULL && len == strlen(BUNDLE_MAGIC) && memcmp(magic, BUNDLE_MAGIC, len) == 0;
}

static bool bundle_take_conf(struct bundle *b, struct wire *w)
{
    size_t len;
    const uint8_t *text = bundle_take_bytes(w, &len);
    struct conf_errors *errors;

    if (text == NULL)
        return false;
    errors = calloc(1, sizeof *errors);
    if (errors == NULL)
        return false;
    b->conf = conf_parse((const char *)text, len, "(front)", NULL, errors);
    free(errors);
    return b->conf != NULL;
}

/* Views of as many certificates as stand there. */
static bool bundle_take_der(const uint8_t **der, size_t *len, size_t *count, size_t max,
                            struct wire *w)
{
    *count = wire_u32(w);
    if (*count > max)
        return false;
    for (size_t i = 0; i < *count; i++) {
        der[i] = bundle_take_bytes(w, &len[i]);
        if (der[i] == NULL)
            return false;
    }
    return true;
}

static struct certificate *bundle_take_certificate(struct wire *w)
{
    const uint8_t *der[CERTIFICATE_CHAIN_MAX];
    size_t len[CERTIFICATE_CHAIN_MAX];
    size_t count;

    if (!bundle_take_der(der, len, &count, CERTIFICATE_CHAIN_MAX, w) || count == 0)
        return NULL;
    return certificate_from_der(der, len, count);
}

static bool bundle_take_client_ca(struct bundle *b, struct wire *w)
{
    const uint8_t *der[CLIENT_CA_MAX];
    size_t len[CLIENT_CA_MAX];
    size_t count;

    if (!bundle_take_der(der, len, &count, CLIENT_CA_MAX, w))
        return false;
    if (count > 0)
        b->client_ca = client_ca_from_der(der, len, count);
    return count == 0 || b->client_ca != NULL;
}

static bool bundle_take_certificates(struct bundle *b, struct wire *w)
{
    const size_t count = wire_u32(w);

    if (count > CONF_CERTIFICATES_MAX)
        return false;
    for (size_t i = 0; i < count; i++) {
        b->certificate[i] = bundle_take_certificate(w);
        if (b->certificate[i] == NULL)
            return false;
        b->certificate_count++;
    }
    return true;
}

static bool bundle_take_address(struct address *out, struct wire *w)
{
    size_t len;
    const uint8_t *bytes = bundle_take_bytes(w, &len);

    if (bytes == NULL || len > sizeof out->storage)
        return false;
    memcpy(&out->storage, bytes, len);
    out->len = (socklen_t)len;
    return bundle_address_valid(out);
}

static void bundle_take_learnt(struct bundle *b, struct wire *w)
{
    for (size_t i = 0; i < b->conf->upstream_count; i++) {
        b->learnt[i].known = wire_u32(w) != 0;
        b->learnt[i].extensions = wire_u32(w);
        b->learnt[i].size = wire_u64(w);
    }
}

static bool bundle_take_upstreams(struct bundle *b, struct wire *w)
{
    for (size_t i = 0; i < b->conf->upstream_count; i++) {
        const size_t count = wire_u32(w);
        if (count > CONF_ADDRESSES_MAX)
            return false;
        for (size_t j = 0; j < count; j++) {
            if (!bundle_take_address(&b->upstream[i].at[j], w))
                return false;
        }
        b->upstream[i].count = count;
    }
    bundle_take_learnt(b, w);
    return true;
}

static bool bundle_take_fd(int32_t *fd, struct wire *w)
{
    *fd = (int32_t)wire_u32(w);
    return !w->short_of && *fd >= 0;
}

static bool bundle_take_sockets(struct bundle *b, struct wire *w)
{
    const size_t count = wire_u32(w);

    if (count > BUNDLE_SOCKETS_MAX)
        return false;
    for (size_t i = 0; i < count; i++) {
        b->socket[i].listener = wire_u32(w);
        if (b->socket[i].listener >= b->conf->listener_count ||
            !bundle_take_fd(&b->socket[i].fd, w))
            return false;
    }
    b->socket_count = count;
    return bundle_take_fd(&b->first_channel, w) && bundle_take_fd(&b->log, w);
}

static bool bundle_take_tickets(struct ticket_keys *t, struct wire *w)
{
    t->count = wire_u32(w);
    if (t->count > TICKET_KEYS_MAX)
        return false;
    wire_copy(w, t->key, t->count * TICKET_KEY_LEN);
    return true;
}

struct bundle *bundle_decode(const uint8_t *in, size_t len)
{
    struct wire w = {.at = in, .left = len};
    struct bundle *b = calloc(1, sizeof *b);

    if (b == NULL)
        return NULL;
    if (len <= BUNDLE_MAX && bundle_take_magic(&w) && bundle_take_conf(b, &w) &&
        bundle_take_certificates(b, &w) && bundle_take_upstreams(b, &w) &&
        bundle_take_sockets(b, &w) && bundle_take_tickets(&b->tickets, &w) &&
        bundle_take_client_ca(b, &w) && wire_done(&w))
        return b;
    bundle_free(b);
    return NULL;
}

void bundle_free(struct bundle *b)
{
    if (b == NULL)
        return;
    if (b->conf != NULL)
        conf_free(b->conf);
    for (size_t i = 0; i < b->certificate_count; i++)
        certificate_free(b->certificate[i]);
    client_ca_free(b->client_ca);
    explicit_bzero(&b->tickets, sizeof b->tickets);
    free(b);
}
