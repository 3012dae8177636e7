/* Fixed work over the pure core, for a tool that counts instructions: `count WORK TIMES FOLDER`;
 * `count compiler` tells what built it.
 *
 * WORK is handshake, resumed, session (a message of 4 KiB) or data (one of 1 MiB). What the server
 * does happens in functions named count_handshake_... and count_talk_...; only these are to be
 * counted: client and mail server are in here too. FOLDER gets a certificate. */
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/buf.h"
#include "proxy/limits.h"
#include "proxy/smtp.h"
#include "tls/engine.h"

#define COUNTED __attribute__((noinline))

#ifdef __clang__
#define COMPILER ""
#else
#define COMPILER "gcc "
#endif

enum { SCRATCH = 65536 };

struct server {
    struct tls_context *context;
    struct tls_key *key;
    struct smtp_rules rules;
    struct smtp_peer peer;
    struct capabilities known;
    struct tls_engine *tls;
    struct smtp *smtp;
    struct buf wire_in, wire_out; /* ciphertext */
    struct buf from_client, to_client, from_mta, to_mta;
    bool mta_connected, over;
};

struct client {
    SSL_CTX *context;
    SSL_SESSION *session;
    SSL *ssl;
    BIO *in, *out; /* the library's names: `in` is what it reads */
};

static uint8_t scratch[SCRATCH];

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "count: %s\n", what);
    ERR_print_errors_fp(stderr);
    exit(1);
}

static void need(bool fine, const char *what)
{
    if (!fine)
        die(what);
}

/* The server: what session_wire.c and session_talk.c do, without sockets. */

static struct tls_wire server_wire(const struct server *s)
{
    return (struct tls_wire){.in = buf_data(&s->wire_in),
                             .in_len = buf_len(&s->wire_in),
                             .out = scratch,
                             .out_cap = sizeof scratch};
}

static bool wire_done(struct server *s, const struct tls_wire *wire)
{
    buf_consume(&s->wire_in, wire->in_used);
    need(buf_append(&s->wire_out, scratch, wire->out_len), "the client is not read");
    return wire->in_used > 0 || wire->out_len > 0;
}

COUNTED static void count_handshake_begin(struct server *s)
{
    s->tls = tls_engine_new(s->context);
    need(s->tls != NULL, "no engine");
}

COUNTED static enum tls_status count_handshake_step(struct server *s)
{
    struct tls_wire wire = server_wire(s);
    enum tls_status status = tls_engine_handshake(s->tls, &wire);
    wire_done(s, &wire);
    if (status == TLS_WANT_SIGNATURE) {
        const struct tls_job *job = tls_engine_job(s->tls);
        uint8_t signature[TLS_SIGNATURE_MAX];
        size_t len = 0;
        need(tls_key_sign(s->key, job->algorithm, job->input, job->len, signature, &len),
             "no signature");
        tls_engine_signed(s->tls, signature, len);
    }
    return status;
}

COUNTED static void count_handshake_end(struct server *s)
{
    tls_engine_free(s->tls);
}

COUNTED static void count_talk_begin(struct server *s)
{
    struct smtp_tls_info info = {0};
    s->smtp = smtp_new(&s->rules, &s->peer, &s->known);
    need(s->smtp != NULL, "no session");
    snprintf(info.version, sizeof info.version, "%s", tls_engine_version(s->tls));
    snprintf(info.cipher, sizeof info.cipher, "%s", tls_engine_cipher(s->tls));
    smtp_tls_started(s->smtp, &info);
}

static bool encrypt(struct server *s)
{
    bool moved = false;
    while (buf_len(&s->to_client) > 0) {
        struct tls_wire wire = server_wire(s);
        size_t taken = 0;
        tls_engine_write(s->tls, &wire, buf_data(&s->to_client), buf_len(&s->to_client), &taken);
        buf_consume(&s->to_client, taken);
        moved |= wire_done(s, &wire);
    }
    return moved;
}

static bool decrypt(struct server *s)
{
    size_t room = buf_room(&s->from_client), got = 0;
    uint8_t *plain = room > 0 ? buf_reserve(&s->from_client, room) : NULL;
    if (plain == NULL)
        return false;
    struct tls_wire wire = server_wire(s);
    enum tls_status status = tls_engine_read(s->tls, &wire, plain, room, &got);
    need(status != TLS_FAILED, tls_engine_failure(s->tls));
    buf_commit(&s->from_client, got);
    return wire_done(s, &wire) || got > 0;
}

static bool advance(struct server *s)
{
    struct smtp_io io = {.from_client = &s->from_client,
                         .to_client = &s->to_client,
                         .from_mta = &s->from_mta,
                         .to_mta = &s->to_mta,
                         .now = 1790000000};
    enum smtp_todo todo;
    while ((todo = smtp_advance(s->smtp, &io)) != SMTP_WAIT && !s->over) {
        if (todo == SMTP_VERIFY)
            smtp_verdict(s->smtp, SMTP_ACCEPTED, smtp_credential(s->smtp)->login);
        else if (todo == SMTP_CONNECT)
            smtp_mta_connected(s->smtp), s->mta_connected = true;
        else if (todo == SMTP_CLOSE)
            s->over = true;
        else
            need(todo == SMTP_NOTE || todo == SMTP_LEAVE, "the session ends early");
        smtp_learnt(s->smtp, &s->known);
    }
    return smtp_reads_client(s->smtp, &io) && decrypt(s);
}

COUNTED static void count_talk_step(struct server *s)
{
    while (advance(s) || encrypt(s))
        ;
}

COUNTED static void count_talk_end(struct server *s)
{
    smtp_free(s->smtp);
}

/* The mail server behind it: the shortest answer to each command. Never counted. */

static void mta_say(struct server *s, const char *text)
{
    need(buf_text(&s->from_mta, text), "the mail server is not read");
}

static bool ends_with(const struct buf *b, const char *end)
{
    size_t len = strlen(end);
    return buf_len(b) >= len && memcmp(buf_data(b) + buf_len(b) - len, end, len) == 0;
}

static bool mta_step(struct server *s, bool *greeted, bool *data)
{
    size_t len = buf_len(&s->to_mta);
    if (s->mta_connected && !*greeted) {
        *greeted = true;
        mta_say(s, "220 mta ESMTP\r\n");
        return true;
    }
    if (len == 0 || (!*data && !ends_with(&s->to_mta, "\r\n")))
        return false;
    const char *verb = (const char *)buf_data(&s->to_mta);
    bool was_data = *data, end = ends_with(&s->to_mta, "\r\n.\r\n");
    if (was_data && end)
        mta_say(s, "250 2.0.0 queued\r\n");
    else if (!was_data && len >= 4 && memcmp(verb, "EHLO", 4) == 0)
        mta_say(s, "250-mta\r\n250-8BITMIME\r\n250-PIPELINING\r\n250 SIZE 52428800\r\n");
    else if (!was_data && len >= 4 && memcmp(verb, "DATA", 4) == 0)
        mta_say(s, "354 go on\r\n");
    else if (!was_data && len >= 4 && memcmp(verb, "QUIT", 4) == 0)
        mta_say(s, "221 2.0.0 bye\r\n");
    else if (!was_data)
        mta_say(s, "250 2.1.0 fine\r\n");
    *data = was_data ? !end : len >= 4 && memcmp(verb, "DATA", 4) == 0;
    buf_consume(&s->to_mta, len);
    return true;
}

/* The client. Never counted. */

static int keep_session(SSL *ssl, SSL_SESSION *session)
{
    struct client *c = SSL_get_app_data(ssl);
    SSL_SESSION_free(c->session);
    c->session = session;
    return 1;
}

static void client_begin(struct client *c, bool resume)
{
    c->ssl = SSL_new(c->context);
    c->in = BIO_new(BIO_s_mem());
    c->out = BIO_new(BIO_s_mem());
    SSL_set_bio(c->ssl, c->in, c->out);
    SSL_set_app_data(c->ssl, c);
    SSL_set_connect_state(c->ssl);
    if (resume)
        SSL_set_session(c->ssl, c->session);
}

/* Ciphertext from one to the other, as it goes over a fast network: a record at a time. */
static void carry(struct client *c, struct server *s)
{
    uint8_t record[LIMIT_CIPHER_IN];
    int got = BIO_read(
        c->out, record,
        (int)(buf_room(&s->wire_in) < sizeof record ? buf_room(&s->wire_in) : sizeof record));
    if (got > 0)
        buf_append(&s->wire_in, record, (size_t)got);
    BIO_write(c->in, buf_data(&s->wire_out), (int)buf_len(&s->wire_out));
    buf_clear(&s->wire_out);
}

static void shake_hands(struct client *c, struct server *s, bool resume)
{
    client_begin(c, resume);
    count_handshake_begin(s);
    enum tls_status status = TLS_WANT_INPUT;
    int done = 0;
    for (int turn = 0; status != TLS_OK || done != 1; turn++) {
        need(turn < 20 && status != TLS_FAILED, "no handshake");
        done = SSL_do_handshake(c->ssl);
        carry(c, s);
        if (status != TLS_OK)
            status = count_handshake_step(s);
    }
    carry(c, s);
    need(tls_engine_resumed(s->tls) == resume, "a handshake of the wrong kind");
    need(strcmp(tls_engine_version(s->tls), "TLSv1.3") == 0, "not TLS 1.3");
}

/* Until the client got so many whole replies. */
static void talk(struct client *c, struct server *s, const char *say, size_t len, unsigned replies)
{
    static bool greeted, data;
    static char line[4096];
    size_t said = 0;
    if (!s->mta_connected)
        greeted = data = false;
    for (int idle = 0; replies > 0;) {
        if (said < len) {
            size_t some = len - said < 16384 ? len - said : 16384;
            need(SSL_write(c->ssl, say + said, (int)some) == (int)some, "the client cannot write");
            said += some;
        }
        do {
            carry(c, s);
            count_talk_step(s);
        } while (mta_step(s, &greeted, &data) || BIO_pending(c->out) > 0 ||
                 buf_len(&s->wire_out) > 0);
        int got = SSL_read(c->ssl, line, sizeof line - 1);
        need(++idle < 10000, "no reply");
        for (const char *at = line; got > 0 && at < line + got;) {
            const char *end = memchr(at, '\n', (size_t)(line + got - at));
            need(end != NULL && (*at == '2' || *at == '3'), "not the reply that was to come");
            replies -= at[3] == ' ';
            at = end + 1;
        }
    }
}

static void converse(struct client *c, struct server *s, const char *message, size_t len)
{
    static const char ehlo[] = "EHLO client.test\r\n",
                      login[] = "AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n",
                      envelope[] =
                          "MAIL FROM:<a@bench.test> SIZE=4096\r\nRCPT TO:<b@bench.test>\r\n"
                          "DATA\r\n",
                      quit[] = "QUIT\r\n";
    count_talk_begin(s);
    talk(c, s, "", 0, 1);
    talk(c, s, ehlo, strlen(ehlo), 1);
    talk(c, s, login, strlen(login), 1);
    talk(c, s, envelope, strlen(envelope), 3);
    talk(c, s, message, len, 1);
    talk(c, s, quit, strlen(quit), 1);
    need(smtp_messages(s->smtp) == 1, "the message did not arrive");
    count_talk_end(s);
}

static void hang_up(struct client *c, struct server *s)
{
    struct buf *queue[] = {&s->wire_in,   &s->wire_out, &s->from_client,
                           &s->to_client, &s->from_mta, &s->to_mta};
    count_handshake_end(s);
    SSL_free(c->ssl);
    for (size_t i = 0; i < sizeof queue / sizeof *queue; i++)
        buf_clear(queue[i]);
    s->mta_connected = s->over = false;
}

static void server_init(struct server *s, const char *folder)
{
    static const uint32_t mechanisms = SASL_PLAIN | SASL_LOGIN;
    static struct certificate *certificate;
    char chain[512], key[512], error[CERTIFICATE_ERROR_MAX];
    bool made;
    snprintf(chain, sizeof chain, "%s/chain.pem", folder);
    snprintf(key, sizeof key, "%s/key.pem", folder);
    need(certificate_self_signed(chain, key, "bench.test", &made, error), error);
    need((certificate = certificate_load(chain, error)) != NULL, error);
    need((s->key = tls_key_load(key, certificate, error)) != NULL, error);
    struct tls_settings settings = {.min_version = 0x0303,
                                    .scope = "count",
                                    .certificates = &certificate,
                                    .certificate_count = 1};
    need((s->context = tls_context_new(&settings, error)) != NULL, error);
    struct ticket_keys tickets = {0};
    ticket_keys_rotate(&tickets);
    tls_context_tickets(s->context, &tickets);
    s->rules = (struct smtp_rules){.hostname = "bench.test",
                                   .require_tls = true,
                                   .auth = SMTP_AUTH_REQUIRED,
                                   .max_failures = 3,
                                   .newline = DATA_NORMALIZE,
                                   .trace = TRACE_FULL};
    s->peer = (struct smtp_peer){
        .address = "192.0.2.1", .session = "abcdef", .port = 4321, .mechanisms = &mechanisms};
    buf_init(&s->wire_in, LIMIT_CIPHER_IN);
    buf_init(&s->wire_out, LIMIT_CIPHER_OUT);
    buf_init(&s->from_client, LIMIT_CLIENT_IN);
    buf_init(&s->to_client, LIMIT_CLIENT_OUT);
    buf_init(&s->from_mta, LIMIT_MTA_IN);
    buf_init(&s->to_mta, LIMIT_MTA_OUT);
}

static void client_init(struct client *c)
{
    c->context = SSL_CTX_new(TLS_method());
    SSL_CTX_set_session_cache_mode(c->context, SSL_SESS_CACHE_CLIENT);
    SSL_CTX_sess_set_new_cb(c->context, keep_session);
}

/* Lines as mail has them: text, now and then a dot in front. */
static char *message_of(size_t octets, size_t *len)
{
    static const char line[] =
        "The quick brown fox jumps over the lazy dog, as it has done in so many tests.\r\n";
    char *message = malloc(octets + sizeof line + 16);
    need(message != NULL, "no memory");
    *len = (size_t)sprintf(message, "Subject: count\r\n\r\n");
    for (unsigned n = 0; *len < octets; n++)
        *len += (size_t)sprintf(message + *len, "%s%s", n % 64 == 63 ? ".." : "", line);
    *len += (size_t)sprintf(message + *len, ".\r\n");
    return message;
}

int main(int argc, char **argv)
{
    static struct server server;
    static struct client client;
    if (argc == 2 && strcmp(argv[1], "compiler") == 0)
        return puts(COMPILER __VERSION__) < 0;
    if (argc != 4)
        die("usage: count handshake|resumed|session|data TIMES FOLDER, or count compiler");
    size_t len;
    char *message = message_of(strcmp(argv[1], "data") == 0 ? 1 << 20 : 4096, &len);
    bool resumed = strcmp(argv[1], "resumed") == 0;
    server_init(&server, argv[3]);
    client_init(&client);
    for (long times = strtol(argv[2], NULL, 10); times > 0; times--) {
        shake_hands(&client, &server, resumed && client.session != NULL);
        converse(&client, &server, message, len);
        hang_up(&client, &server);
    }
    free(message);
    return 0;
}
