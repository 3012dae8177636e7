#include "tls/engine.h"

#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>

#include "tls/engine_parts.h"

#define ENGINE_RECORD_MAX 16384
/* What a record adds to its plaintext, with the split in two that TLS 1.0 needs. */
#define ENGINE_OVERHEAD 192
/* With less room than this behind other output, a record waits for the next call instead of half of
 * it in memory. */
#define ENGINE_ROOM_MIN 512

static bool engine_start(struct tls_engine *e)
{
    BIO *bio = BIO_new(e->context->wire);
    e->ssl = SSL_new(e->context->ssl);
    if (bio == NULL || e->ssl == NULL || SSL_set_app_data(e->ssl, e) != 1) {
        BIO_free(bio);
        return false;
    }
    BIO_set_data(bio, e);
    BIO_set_init(bio, 1);
    SSL_set_bio(e->ssl, bio, bio);
    SSL_set_accept_state(e->ssl);
    SSL_set_shed_handshake_config(e->ssl, 1);
    return true;
}

static bool has_tickets(struct tls_context *c)
{
    pthread_mutex_lock(&c->lock);
    bool has = c->tickets.count > 0;
    pthread_mutex_unlock(&c->lock);
    return has;
}

struct tls_engine *tls_engine_new(struct tls_context *c)
{
    struct tls_engine *e = calloc(1, sizeof *e);
    if (e == NULL)
        return NULL;
    e->context = c;
    e->failure = "";
    if (!engine_start(e)) {
        ERR_clear_error();
        tls_engine_free(e);
        return NULL;
    }
    if (!has_tickets(c))
        SSL_set_options(e->ssl, SSL_OP_NO_TICKET);
    return e;
}

void tls_engine_free(struct tls_engine *e)
{
    if (e == NULL)
        return;
    if (e->ssl != NULL && SSL_pending(e->ssl) > 0)
        wire_record_wipe(&e->record);
    SSL_free(e->ssl);
    free(e->client);
    free(e->signing);
    free(e->stuck);
    free(e);
}

static void forget_stuck(struct tls_engine *e)
{
    free(e->stuck);
    e->stuck = NULL;
    e->stuck_len = 0;
}

/* The library gives up what is left of an alert that found no room. We do not. */
static enum tls_status put_alert(struct tls_engine *e)
{
    struct tls_wire *w = e->wire;
    size_t room = w->out_cap - w->out_len;
    size_t n = e->stuck_len < room ? e->stuck_len : room;

    if (n > 0) {
        memcpy(w->out + w->out_len, e->stuck, n);
        w->out_len += n;
        e->stuck_len -= n;
        memmove(e->stuck, e->stuck + n, e->stuck_len);
    }
    if (e->stuck_len > 0)
        return TLS_WANT_OUTPUT;
    forget_stuck(e);
    e->state = ENGINE_FAILED;
    return TLS_FAILED;
}

static enum tls_status engine_fail(struct tls_engine *e, const char *phrase)
{
    e->failure = phrase;
    e->state = ENGINE_FAILING;
    /* For a key that does not sign the library sends no alert of its own. */
    if (e->refused)
        SSL_send_fatal_alert(e->ssl, SSL_AD_INTERNAL_ERROR);
    ERR_clear_error();
    return put_alert(e);
}

/* What the library's last answer means to the caller. */
static enum tls_status engine_status(struct tls_engine *e, int answer)
{
    switch (SSL_get_error(e->ssl, answer)) {
    case SSL_ERROR_NONE:
        return TLS_OK;
    case SSL_ERROR_WANT_READ:
        return TLS_WANT_INPUT;
    case SSL_ERROR_WANT_WRITE:
        return TLS_WANT_OUTPUT;
    case SSL_ERROR_WANT_PRIVATE_KEY_OPERATION:
        return TLS_WANT_SIGNATURE;
    case SSL_ERROR_ZERO_RETURN:
        return TLS_CLOSED;
    default:
        /* Why a client's certificate was refused is known better than the library knows it. */
        return engine_fail(e, e->failure[0] != '\0' ? e->failure : failure_phrase());
    }
}

static void call_begin(struct tls_engine *e, struct tls_wire *wire)
{
    wire->in_used = 0;
    wire->out_len = 0;
    e->wire = wire;
}

static enum tls_status call_end(struct tls_engine *e, enum tls_status status)
{
    if (e->state != ENGINE_FAILING && e->stuck != NULL)
        forget_stuck(e);
    e->wire = NULL;
    return status;
}

/* TLS_OK: the connection is open. */
static enum tls_status engine_shake(struct tls_engine *e)
{
    switch (e->state) {
    case ENGINE_OPEN:
        return TLS_OK;
    case ENGINE_FAILING:
        return put_alert(e);
    case ENGINE_FAILED:
        return TLS_FAILED;
    case ENGINE_SHAKING:
        break;
    }
    ERR_clear_error();
    enum tls_status status = engine_status(e, SSL_do_handshake(e->ssl));
    if (status == TLS_OK) {
        e->state = ENGINE_OPEN;
        e->shook = true;
        e->record = (struct wire_record){.left = 0}; /* between two records, whatever came before */
    }
    return status;
}

enum tls_status tls_engine_handshake(struct tls_engine *e, struct tls_wire *wire)
{
    call_begin(e, wire);
    return call_end(e, engine_shake(e));
}

/* Of the record at hand; with its last octet BoringSSL frees it, so that is taken when the rest of
 * it was overwritten. */
static int read_record(struct tls_engine *e, uint8_t *plain, size_t cap)
{
    uint8_t last;
    if (e->no_secrets)
        return SSL_read(e->ssl, plain, (int)cap);
    int n = SSL_peek(e->ssl, plain, 1);
    if (n <= 0)
        return n;
    const size_t pending = (size_t)SSL_pending(e->ssl);
    if (cap < pending)
        return SSL_read(e->ssl, plain, (int)cap);
    if (pending > 1 && SSL_read(e->ssl, plain, (int)pending - 1) != (int)pending - 1)
        return -1;
    if (SSL_peek(e->ssl, &last, 1) != 1)
        return -1;
    wire_record_wipe(&e->record);
    plain[pending - 1] = last;
    (void)SSL_read(e->ssl, &last, 1);
    return (int)pending;
}

void tls_engine_no_secrets(struct tls_engine *e)
{
    e->no_secrets = true;
}

enum tls_status tls_engine_read(struct tls_engine *e, struct tls_wire *wire, uint8_t *plain,
                                size_t cap, size_t *got)
{
    *got = 0;
    call_begin(e, wire);
    enum tls_status status = engine_shake(e);
    if (status == TLS_OK) {
        ERR_clear_error();
        int n = read_record(e, plain, cap < ENGINE_RECORD_MAX ? cap : ENGINE_RECORD_MAX);
        if (n > 0)
            *got = (size_t)n;
        else
            status = engine_status(e, n);
    }
    return call_end(e, status);
}

/* How much of `len` goes into the next record; 0: wait for room. */
static size_t next_record(const struct tls_engine *e, size_t len)
{
    const size_t room = e->wire->out_cap - e->wire->out_len;

    if (e->held > 0)
        return e->held < len ? e->held : len;
    if (room == 0 || (room < ENGINE_ROOM_MIN && e->wire->out_len > 0))
        return 0;
    if (len > ENGINE_RECORD_MAX)
        len = ENGINE_RECORD_MAX;
    /* What fits now needs no buffer in between. */
    if (room >= ENGINE_ROOM_MIN && len > room - ENGINE_OVERHEAD)
        len = room - ENGINE_OVERHEAD;
    return len;
}

static enum tls_status write_records(struct tls_engine *e, const uint8_t *plain, size_t len,
                                     size_t *taken)
{
    while (*taken < len) {
        size_t n = next_record(e, len - *taken);
        if (n == 0)
            return TLS_WANT_OUTPUT;
        ERR_clear_error();
        int written = SSL_write(e->ssl, plain + *taken, (int)n);
        if (written <= 0) {
            enum tls_status status = engine_status(e, written);
            e->held = status == TLS_WANT_OUTPUT ? n : 0;
            return status;
        }
        e->held = 0;
        *taken += (size_t)written;
    }
    return TLS_OK;
}

enum tls_status tls_engine_write(struct tls_engine *e, struct tls_wire *wire, const uint8_t *plain,
                                 size_t len, size_t *taken)
{
    *taken = 0;
    call_begin(e, wire);
    enum tls_status status = engine_shake(e);
    if (status == TLS_OK)
        status = write_records(e, plain, len, taken);
    return call_end(e, status);
}

static enum tls_status send_close(struct tls_engine *e)
{
    if (e->state == ENGINE_FAILING)
        return put_alert(e);
    if (e->state == ENGINE_FAILED)
        return TLS_FAILED;
    /* Before the handshake is done there is nobody to say it to. */
    if (e->state == ENGINE_SHAKING || e->close_sent)
        return TLS_OK;
    if (e->held > 0)
        return engine_fail(e, "closed in the middle of a record");
    ERR_clear_error();
    int answer = SSL_shutdown(e->ssl);
    if (answer < 0)
        return engine_status(e, answer);
    e->close_sent = true;
    return TLS_OK;
}

enum tls_status tls_engine_close(struct tls_engine *e, struct tls_wire *wire)
{
    call_begin(e, wire);
    return call_end(e, send_close(e));
}

const char *tls_engine_version(const struct tls_engine *e)
{
    return e->shook ? SSL_get_version(e->ssl) : "";
}

const char *tls_engine_cipher(const struct tls_engine *e)
{
    const SSL_CIPHER *cipher = e->shook ? SSL_get_current_cipher(e->ssl) : NULL;
    const char *name = cipher == NULL ? NULL : SSL_CIPHER_standard_name(cipher);
    return name == NULL ? "" : name;
}

const char *tls_engine_group(const struct tls_engine *e)
{
    const uint16_t id = e->shook ? SSL_get_curve_id(e->ssl) : 0;
    const char *name = id == 0 ? NULL : SSL_get_curve_name(id);
    return name == NULL ? "" : name;
}

const char *tls_engine_sni(const struct tls_engine *e)
{
    const char *name = SSL_get_servername(e->ssl, TLSEXT_NAMETYPE_host_name);
    return name != NULL && sni_sound(name) ? name : "";
}

bool tls_engine_resumed(const struct tls_engine *e)
{
    return e->shook && SSL_session_reused(e->ssl) == 1;
}

const char *tls_engine_client(const struct tls_engine *e)
{
    return e->shook && e->client != NULL ? e->client : "";
}

bool tls_engine_binding(const struct tls_engine *e, uint8_t out[TLS_BINDING_LEN])
{
    static const char label[] = "EXPORTER-Channel-Binding";

    /* Without the extended master secret two connections can be made to have the same one. */
    if (!e->shook || SSL_version(e->ssl) < TLS1_2_VERSION || SSL_get_extms_support(e->ssl) != 1)
        return false;
    const bool good = SSL_export_keying_material(e->ssl, out, TLS_BINDING_LEN, label,
                                                 sizeof label - 1, (const uint8_t *)"", 0, 1) == 1;
    ERR_clear_error();
    return good;
}

const char *tls_engine_failure(const struct tls_engine *e)
{
    return e->failure;
}
