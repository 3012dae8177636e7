/* libcurl (GnuTLS) asks a server of BoringSSL's in the same process: neither may take the other's
 * functions for its own. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/ssl.h>

#include "auth/fetch.h"
#include "tls_make.h"

enum { CONNECTIONS_MAX = 64, REQUEST_MAX = 8192 };

/* A server on the loop: a fixed answer to each request, and what was asked. */
struct server {
    uv_loop_t *loop;
    SSL_CTX *tls;
    uv_poll_t listening;
    int fd;
    int port;
    const char *answer;
    size_t answer_len;
    bool silent;
    int connections;
    int open, most; /* at once */
    int requests;
    char last[REQUEST_MAX];
};

struct connection {
    struct server *server;
    SSL *ssl;
    uv_poll_t poll;
    int fd;
    char in[REQUEST_MAX];
    size_t len;
};

static void connection_closed(uv_handle_t *h)
{
    struct connection *c = h->data;

    c->server->open--;
    SSL_free(c->ssl);
    close(c->fd);
    free(c);
}

static void connection_ready(uv_poll_t *poll, int status, int events)
{
    (void)status, (void)events;
    struct connection *c = poll->data;
    struct server *s = c->server;
    const int n = SSL_read(c->ssl, c->in + c->len, (int)(sizeof c->in - 1 - c->len));

    if (n <= 0) {
        const int why = SSL_get_error(c->ssl, n);
        if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE &&
            !uv_is_closing((void *)poll))
            uv_close((uv_handle_t *)poll, connection_closed);
        return;
    }
    c->len += (size_t)n;
    c->in[c->len] = '\0';
    if (strstr(c->in, "\r\n\r\n") == NULL)
        return;
    memcpy(s->last, c->in, c->len + 1);
    c->len = 0;
    s->requests++;
    if (!s->silent)
        SSL_write(c->ssl, s->answer, (int)s->answer_len);
}

static void server_accept(uv_poll_t *poll, int status, int events)
{
    (void)status, (void)events;
    struct server *s = poll->data;
    struct connection *c = calloc(1, sizeof *c);

    c->server = s;
    c->fd = accept4(s->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    assert_true(c->fd >= 0);
    s->connections++;
    s->open++;
    s->most = s->open > s->most ? s->open : s->most;
    c->ssl = SSL_new(s->tls);
    SSL_set_fd(c->ssl, c->fd);
    SSL_set_accept_state(c->ssl);
    uv_poll_init(s->loop, &c->poll, c->fd);
    c->poll.data = c;
    uv_poll_start(&c->poll, UV_READABLE, connection_ready);
}

static void server_start(struct server *s, uv_loop_t *loop, struct made *m, const char *answer)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;

    *s = (struct server){.loop = loop, .answer = answer, .answer_len = strlen(answer)};
    s->tls = SSL_CTX_new(TLS_method());
    SSL_CTX_use_certificate(s->tls, m->x);
    SSL_CTX_use_PrivateKey(s->tls, m->key);
    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(s->fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(s->fd, 64), 0);
    getsockname(s->fd, (struct sockaddr *)&a, &len);
    s->port = ntohs(a.sin_port);
    uv_poll_init(loop, &s->listening, s->fd);
    s->listening.data = s;
    uv_poll_start(&s->listening, UV_READABLE, server_accept);
}

static void close_handle(uv_handle_t *h, void *server)
{
    struct server *s = server;

    if (uv_is_closing(h))
        return;
    uv_close(h, h == (uv_handle_t *)&s->listening ? NULL : connection_closed);
}

static void server_stop(struct server *s)
{
    uv_walk(s->loop, close_handle, s);
    uv_run(s->loop, UV_RUN_DEFAULT);
    close(s->fd);
    SSL_CTX_free(s->tls);
}

static struct {
    int count;
    enum fetch_outcome outcome;
    long status;
    bool certificate_bad;
    char body[256], headers[1024], error[FETCH_ERROR_MAX], until[32];
} got;

static void done(struct fetch_job *job, const struct fetch_result *r)
{
    (void)job;
    got.count++;
    got.outcome = r->outcome;
    got.status = r->status;
    got.certificate_bad = r->certificate_bad;
    snprintf(got.body, sizeof got.body, "%s", r->body);
    snprintf(got.headers, sizeof got.headers, "%s", r->headers);
    snprintf(got.error, sizeof got.error, "%s", r->error);
    snprintf(got.until, sizeof got.until, "%s", r->until);
}

struct bench {
    uv_loop_t loop;
    struct fetch *fetch;
    struct server server;
    struct made made;
    char ca[256], url[64];
};

#define OK_ANSWER "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nAuth-Status: OK\r\n\r\nhello"

static void begin(struct bench *b, const char *names, const char *answer)
{
    char error[FETCH_ERROR_MAX];

    memset(&got, 0, sizeof got);
    uv_loop_init(&b->loop);
    b->made = make_certificate(make_ec_key(NID_X9_62_prime256v1), names);
    snprintf(b->ca, sizeof b->ca, "/tmp/test_fetch.%d.pem", (int)getpid());
    write_pem(b->ca, &b->made.x, 1, NULL, NULL);
    server_start(&b->server, &b->loop, &b->made, answer);
    snprintf(b->url, sizeof b->url, "https://127.0.0.1:%d/path", b->server.port);
    b->fetch = fetch_new(&b->loop, error);
    if (b->fetch == NULL)
        fail_msg("%s", error);
}

static void end(struct bench *b)
{
    fetch_close(b->fetch);
    server_stop(&b->server);
    uv_run(&b->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&b->loop), 0);
    made_free(&b->made);
    unlink(b->ca);
}

static struct fetch_request request(const struct bench *b)
{
    return (struct fetch_request){
        .url = b->url, .schemes = "https", .ca = b->ca, .max = 100, .timeout_ms = 5000};
}

static void ask(struct bench *b, const struct fetch_request *r)
{
    struct fetch_job job = {.done = done};
    const int before = got.count;

    fetch_begin(b->fetch, &job, r);
    assert_int_equal(got.count, before); /* never from inside */
    while (got.count == before)
        uv_run(&b->loop, UV_RUN_ONCE);
}

static void an_answer_comes_whole(void **state)
{
    (void)state;
    struct bench b;
    static const char *const headers[] = {"X-Key: value", NULL};
    struct fetch_request r;

    begin(&b, "IP:127.0.0.1", OK_ANSWER);
    r = request(&b);
    r.user = "alice";
    r.password = "se:cret";
    r.headers = headers;
    ask(&b, &r);
    assert_int_equal(got.outcome, FETCH_DONE);
    assert_int_equal(got.status, 200);
    assert_string_equal(got.body, "hello");
    assert_non_null(strstr(got.headers, "Auth-Status: OK\r\n"));
    assert_int_equal(strlen(got.until), 10);
    assert_non_null(strstr(b.server.last, "GET /path HTTP/1.1\r\n"));
    assert_non_null(strstr(b.server.last, "Authorization: Basic YWxpY2U6c2U6Y3JldA==\r\n"));
    assert_non_null(strstr(b.server.last, "X-Key: value\r\n"));
    end(&b);
}

/* Both directions of both libraries, many times over, in one process. */
static void two_tls_libraries_live_together(void **state)
{
    (void)state;
    struct bench b;
    struct fetch_request r;
    struct made rsa = make_certificate(make_rsa_key(2048), "DNS:x");

    begin(&b, "IP:127.0.0.1", OK_ANSWER);
    r = request(&b);
    r.fresh = true;
    for (int i = 0; i < 40; i++) {
        ask(&b, &r);
        assert_int_equal(got.outcome, FETCH_DONE);
        /* BoringSSL's own signatures and parsers meanwhile */
        assert_int_equal(X509_verify(rsa.x, rsa.key), 1);
        assert_int_equal(X509_verify(b.made.x, b.made.key), 1);
    }
    assert_int_equal(b.server.connections, 40);
    made_free(&rsa);
    end(&b);
}

static void connections_are_used_again_and_logins_are_not(void **state)
{
    (void)state;
    struct bench b;
    struct fetch_request r;

    begin(&b, "IP:127.0.0.1", OK_ANSWER);
    r = request(&b);
    r.user = "alice";
    r.password = "a";
    ask(&b, &r);
    assert_non_null(strstr(b.server.last, "Basic YWxpY2U6YQ=="));
    r.user = "bob";
    r.password = "b";
    ask(&b, &r);
    assert_non_null(strstr(b.server.last, "Basic Ym9iOmI="));
    r.user = NULL;
    ask(&b, &r);
    assert_null(strstr(b.server.last, "Authorization"));
    assert_int_equal(b.server.connections, 1);
    assert_int_equal(b.server.requests, 3);
    end(&b);
}

static void a_wrong_certificate_is_named(void **state)
{
    (void)state;
    struct bench b;
    struct made other;
    struct fetch_request r;
    char path[300];

    begin(&b, "DNS:other.example", OK_ANSWER);
    r = request(&b);
    ask(&b, &r);
    assert_int_equal(got.outcome, FETCH_FAILED);
    assert_true(got.certificate_bad);
    assert_non_null(strstr(got.error, "does not name 127.0.0.1"));
    end(&b);

    begin(&b, "IP:127.0.0.1", OK_ANSWER);
    other = make_certificate(make_ec_key(NID_X9_62_prime256v1), "IP:127.0.0.1");
    snprintf(path, sizeof path, "%s.other", b.ca);
    write_pem(path, &other.x, 1, NULL, NULL);
    r = request(&b);
    r.ca = path;
    ask(&b, &r);
    assert_true(got.certificate_bad);
    assert_non_null(strstr(got.error, "no authority that is trusted"));
    assert_int_equal(b.server.requests, 0); /* not a word was said */
    unlink(path);
    made_free(&other);
    end(&b);
}

static void redirections_are_answers(void **state)
{
    (void)state;
    struct bench b;
    struct fetch_request r;

    begin(&b, "IP:127.0.0.1",
          "HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n");
    r = request(&b);
    ask(&b, &r);
    assert_int_equal(got.outcome, FETCH_DONE);
    assert_int_equal(got.status, 302);
    assert_int_equal(b.server.requests, 1);
    end(&b);
}

static void a_form_is_posted(void **state)
{
    (void)state;
    struct bench b;
    struct fetch_request r;

    begin(&b, "IP:127.0.0.1", OK_ANSWER);
    r = request(&b);
    r.body = "token=x&y=z";
    r.body_len = strlen(r.body);
    ask(&b, &r);
    assert_int_equal(got.outcome, FETCH_DONE);
    assert_non_null(strstr(b.server.last, "POST /path HTTP/1.1\r\n"));
    assert_non_null(strstr(b.server.last, "application/x-www-form-urlencoded"));
    end(&b);
}

static void too_much_is_not_taken(void **state)
{
    (void)state;
    struct bench b;
    struct fetch_request r;
    static char answer[FETCH_HEADERS_MAX * 2];

    begin(&b, "IP:127.0.0.1", OK_ANSWER);
    r = request(&b);
    r.max = 5;
    ask(&b, &r);
    assert_int_equal(got.outcome, FETCH_DONE);
    r.max = 4;
    ask(&b, &r);
    assert_int_equal(got.outcome, FETCH_FAILED);
    assert_non_null(strstr(got.error, "longer than any"));
    end(&b);

    snprintf(answer, sizeof answer, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n");
    for (size_t i = 0; i < 12; i++)
        snprintf(answer + strlen(answer), sizeof answer - strlen(answer), "X: %03000d\r\n", 7);
    strcat(answer, "\r\n");
    begin(&b, "IP:127.0.0.1", answer);
    r = request(&b);
    ask(&b, &r);
    assert_int_equal(got.outcome, FETCH_FAILED);
    assert_non_null(strstr(got.error, "longer than any"));
    end(&b);
}

static void only_the_last_answer_counts(void **state)
{
    (void)state;
    struct bench b;
    struct fetch_request r;

    begin(&b, "IP:127.0.0.1",
          "HTTP/1.1 100 Continue\r\nAuth-Status: OK\r\n\r\n"
          "HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n");
    r = request(&b);
    ask(&b, &r);
    assert_int_equal(got.status, 403);
    assert_null(strstr(got.headers, "Auth-Status"));
    end(&b);
}

static void silence_ends(void **state)
{
    (void)state;
    struct bench b;
    struct fetch_request r;
    uint64_t begun;

    begin(&b, "IP:127.0.0.1", OK_ANSWER);
    b.server.silent = true;
    r = request(&b);
    r.timeout_ms = 300;
    begun = uv_hrtime();
    ask(&b, &r);
    assert_int_equal(got.outcome, FETCH_FAILED);
    assert_non_null(strstr(got.error, "no answer within"));
    assert_true(uv_hrtime() - begun < UINT64_C(3000000000));
    end(&b);
}

static void nobody_there_is_said(void **state)
{
    (void)state;
    struct bench b;
    struct fetch_request r;

    begin(&b, "IP:127.0.0.1", OK_ANSWER);
    r = request(&b);
    r.url = "https://127.0.0.1:1/";
    ask(&b, &r);
    assert_int_equal(got.outcome, FETCH_FAILED);
    assert_non_null(strstr(got.error, "cannot be reached"));
    r.url = "http://127.0.0.1:1/"; /* a scheme that was not allowed */
    ask(&b, &r);
    assert_int_equal(got.outcome, FETCH_FAILED);
    assert_null(strstr(got.error, "cannot be reached"));
    r.url = "https://a:b@127.0.0.1:1/";
    ask(&b, &r);
    assert_int_not_equal(got.outcome, FETCH_DONE);
    end(&b);
}

static void the_environment_has_no_say(void **state)
{
    (void)state;
    struct bench b;
    struct fetch_request r;

    setenv("https_proxy", "http://127.0.0.1:1", 1);
    setenv("ALL_PROXY", "http://127.0.0.1:1", 1);
    setenv("SSL_CERT_FILE", "/nonexistent", 1);
    begin(&b, "IP:127.0.0.1", OK_ANSWER);
    r = request(&b);
    ask(&b, &r);
    assert_int_equal(got.outcome, FETCH_DONE);
    end(&b);
    unsetenv("https_proxy");
    unsetenv("ALL_PROXY");
    unsetenv("SSL_CERT_FILE");
}

static void who_left_is_not_told(void **state)
{
    (void)state;
    struct bench b;
    struct fetch_request r;
    struct fetch_job jobs[20];

    begin(&b, "IP:127.0.0.1", OK_ANSWER);
    r = request(&b);
    for (int turns = 0; turns < 12; turns++) {
        for (size_t i = 0; i < 20; i++) {
            jobs[i] = (struct fetch_job){.done = done};
            fetch_begin(b.fetch, &jobs[i], &r);
        }
        for (int i = 0; i < turns; i++)
            uv_run(&b.loop, UV_RUN_NOWAIT);
        for (size_t i = 0; i < 20; i++)
            if (jobs[i].transfer != NULL)
                fetch_drop(b.fetch, &jobs[i]);
        const int before = got.count;
        for (int i = 0; i < 20; i++)
            uv_run(&b.loop, UV_RUN_NOWAIT);
        assert_int_equal(got.count, before);
    }
    end(&b);
}

static void begin_many(struct bench *b, struct fetch_job *jobs, int count)
{
    struct fetch_request r = request(b);

    r.timeout_ms = b->server.silent ? 1500 : 20000;
    for (int i = 0; i < count; i++) {
        jobs[i] = (struct fetch_job){.done = done};
        fetch_begin(b->fetch, &jobs[i], &r);
    }
    while (got.count < count)
        uv_run(&b->loop, UV_RUN_ONCE);
}

static void so_many_at_once_and_no_more(void **state)
{
    (void)state;
    struct bench b;
    static struct fetch_job jobs[FETCH_AT_ONCE * 2];

    begin(&b, "IP:127.0.0.1", OK_ANSWER);
    begin_many(&b, jobs, FETCH_AT_ONCE * 2);
    assert_int_equal(got.outcome, FETCH_DONE);
    end(&b);

    begin(&b, "IP:127.0.0.1", OK_ANSWER);
    b.server.silent = true;
    begin_many(&b, jobs, FETCH_AT_ONCE * 2);
    assert_int_equal(got.outcome, FETCH_FAILED);
    assert_int_equal(b.server.most, FETCH_AT_ONCE);
    end(&b);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN); /* as the vault does */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_comes_whole),
        cmocka_unit_test(two_tls_libraries_live_together),
        cmocka_unit_test(connections_are_used_again_and_logins_are_not),
        cmocka_unit_test(a_wrong_certificate_is_named),
        cmocka_unit_test(redirections_are_answers),
        cmocka_unit_test(a_form_is_posted),
        cmocka_unit_test(too_much_is_not_taken),
        cmocka_unit_test(only_the_last_answer_counts),
        cmocka_unit_test(silence_ends),
        cmocka_unit_test(nobody_there_is_said),
        cmocka_unit_test(the_environment_has_no_say),
        cmocka_unit_test(who_left_is_not_told),
        cmocka_unit_test(so_many_at_once_and_no_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
