#include <openssl/base64.h>
#include <openssl/evp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "auth/backend.h"
#include "auth/fetch.h"
#include "auth/oauth_keys.h"

/* The backend over a stand-in for the driver of libcurl, and a clock that is set by hand. */

#define JWKS_URL "https://id.example/jwks.json"
#define ASK_URL "https://id.example/introspect"
#define JOBS_MAX 16

struct fetch {
    struct fetch_job *job[JOBS_MAX]; /* open ones, oldest first */
    char url[JOBS_MAX][64];
    size_t open, begun, dropped;
    char body[256]; /* of the last one */
    char user[64];
    char password[64];
};

static struct fetch line;
static uint64_t clock_ms;
static uv_loop_t loop;

uint64_t uv_now(const uv_loop_t *of)
{
    (void)of;
    return clock_ms;
}

bool fetch_load(char error[FETCH_ERROR_MAX])
{
    (void)error;
    return true;
}

struct fetch *fetch_new(uv_loop_t *on, char error[FETCH_ERROR_MAX])
{
    (void)on, (void)error;
    return &line;
}

static void note(char *out, size_t cap, const char *text)
{
    snprintf(out, cap, "%s", text != NULL ? text : "");
}

void fetch_begin(struct fetch *f, struct fetch_job *job, const struct fetch_request *request)
{
    assert_true(f->open < JOBS_MAX);
    note(f->url[f->open], sizeof f->url[0], request->url);
    note(f->body, sizeof f->body, request->body);
    note(f->user, sizeof f->user, request->user);
    note(f->password, sizeof f->password, request->password);
    f->job[f->open++] = job;
    f->begun++;
}

static void take_out(struct fetch *f, size_t i)
{
    f->open--;
    memmove(&f->job[i], &f->job[i + 1], (f->open - i) * sizeof f->job[0]);
    memmove(&f->url[i], &f->url[i + 1], (f->open - i) * sizeof f->url[0]);
}

void fetch_drop(struct fetch *f, struct fetch_job *job)
{
    for (size_t i = 0; i < f->open; i++) {
        if (f->job[i] == job) {
            take_out(f, i);
            f->dropped++;
            return;
        }
    }
    fail_msg("dropped what was not begun");
}

void fetch_close(struct fetch *f)
{
    assert_int_equal(f->open, 0);
}

/* The oldest open request of that URL is answered. */
static void answer(const char *url, enum fetch_outcome outcome, long status, const char *body)
{
    const struct fetch_result r = {.outcome = outcome,
                                   .status = status,
                                   .body = body,
                                   .body_len = strlen(body),
                                   .headers = "",
                                   .until = "",
                                   .error = "it is away"};
    for (size_t i = 0; i < line.open; i++) {
        if (strcmp(line.url[i], url) == 0) {
            struct fetch_job *job = line.job[i];
            take_out(&line, i);
            job->done(job, &r);
            return;
        }
    }
    fail_msg("nobody asked %s", url);
}

/* --- tokens
 * -----------------------------------------------------------------------------------------------------
 */

static EVP_PKEY *key_a, *key_b;
static char token_a[1024], token_b[1024], keys_a[512], keys_ab[1024];

static void b64(char *out, const void *data, size_t len)
{
    size_t n = EVP_EncodeBlock((uint8_t *)out, data, len);
    while (n > 0 && out[n - 1] == '=')
        out[--n] = '\0';
    for (char *c = out; *c != '\0'; c++)
        *c = *c == '+' ? '-' : *c == '/' ? '_' : *c;
}

static void make_token(char out[1024], const char *kid, EVP_PKEY *key)
{
    char text[512], part[512], header[512];
    uint8_t signature[64];
    size_t len = sizeof signature;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    snprintf(text, sizeof text, "{\"alg\":\"EdDSA\",\"kid\":\"%s\"}", kid);
    b64(header, text, strlen(text));
    snprintf(text, sizeof text, "{\"iss\":\"i\",\"aud\":\"a\",\"exp\":%lld,\"email\":\"alice@x\"}",
             (long long)time(NULL) + 3600);
    b64(part, text, strlen(text));
    snprintf(out, 1024, "%s.%s", header, part);
    EVP_DigestSignInit(ctx, NULL, NULL, NULL, key);
    EVP_DigestSign(ctx, signature, &len, (const uint8_t *)out, strlen(out));
    EVP_MD_CTX_free(ctx);
    b64(part, signature, len);
    snprintf(out + strlen(out), 1024 - strlen(out), ".%s", part);
}

static void make_jwk(char out[256], const char *kid, EVP_PKEY *key)
{
    uint8_t octets[32];
    size_t len = sizeof octets;
    char x[64];
    EVP_PKEY_get_raw_public_key(key, octets, &len);
    b64(x, octets, len);
    snprintf(out, 256, "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"%s\",\"x\":\"%s\"}", kid, x);
}

static int make_all(void **state)
{
    static const uint8_t seeds[2][32] = {{1}, {2}};
    char a[256], b[256];
    (void)state;
    key_a = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seeds[0], 32);
    key_b = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seeds[1], 32);
    make_token(token_a, "a", key_a);
    make_token(token_b, "b", key_b);
    make_jwk(a, "a", key_a);
    make_jwk(b, "b", key_b);
    snprintf(keys_a, sizeof keys_a, "{\"keys\":[%s]}", a);
    snprintf(keys_ab, sizeof keys_ab, "{\"keys\":[%s,%s]}", a, b);
    return 0;
}

static int free_all(void **state)
{
    (void)state;
    EVP_PKEY_free(key_a);
    EVP_PKEY_free(key_b);
    return 0;
}

/* --- questions
 * -------------------------------------------------------------------------------------------------
 */

struct asked {
    struct sasl_credential credential;
    struct backend_question q;
    int answers;
    enum backend_verdict verdict;
    char login[SASL_LOGIN_MAX + 1];
    struct asked *leaves; /* who goes away when this one is answered */
    struct backend *backend;
};

static const struct auth_client client;
static unsigned said;
static char said_last[BACKEND_ERROR_MAX];

static void say(const char *event, const char *sentence)
{
    said++;
    snprintf(said_last, sizeof said_last, "%s: %s", event, sentence);
}

static void on_answered(struct backend_question *q, enum backend_verdict verdict, const char *login,
                        const uint8_t *message, size_t len)
{
    struct asked *a = q->owner;
    assert_null(message);
    assert_int_equal(len, 0);
    a->answers++;
    a->verdict = verdict;
    snprintf(a->login, sizeof a->login, "%s", login != NULL ? login : "");
    assert_null(q->state);
    if (a->leaves != NULL)
        a->backend->ops->leave(a->backend, &a->leaves->q);
}

static struct backend *opened(bool keys, bool server)
{
    const struct backend_settings settings = {.oauth = {.jwks = keys ? JWKS_URL : NULL,
                                                        .issuer = "i",
                                                        .audience = "a",
                                                        .introspection = server ? ASK_URL : NULL,
                                                        .client_id = "me & you"},
                                              .say = say};
    char error[BACKEND_ERROR_MAX];
    memset(&line, 0, sizeof line);
    clock_ms = 1000000;
    said = 0;
    assert_int_equal(uv_loop_init(&loop), 0);
    struct backend *b = backend_oauth_ops.open("oauth", "", &settings, error);
    if (b == NULL || !b->ops->start(b, &loop, error))
        fail_msg("%s", error);
    return b;
}

static void closed(struct backend *b)
{
    b->ops->close(b);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    assert_int_equal(line.open, 0);
}

static void ask(struct backend *b, struct asked *a, const char *token)
{
    memset(a, 0, sizeof *a);
    a->credential.mechanism = SASL_XOAUTH2;
    a->credential.login_len = (size_t)snprintf(a->credential.login, SASL_LOGIN_MAX, "alice@x");
    a->credential.secret_len = (size_t)snprintf(a->credential.secret, SASL_SECRET_MAX, "%s", token);
    a->q = (struct backend_question){
        .credential = &a->credential, .client = &client, .answered = on_answered, .owner = a};
    a->backend = b;
    b->ops->ask(b, &a->q);
    assert_int_equal(a->answers, 0); /* never from inside */
}

static void turn(void)
{
    for (int i = 0; i < 3; i++)
        uv_run(&loop, UV_RUN_NOWAIT);
}

static void assert_verdict(struct asked *a, enum backend_verdict verdict)
{
    turn();
    assert_int_equal(a->answers, 1);
    assert_int_equal(a->verdict, verdict);
    assert_string_equal(a->login, verdict == BACKEND_ACCEPTED ? "alice@x" : "");
}

/* --- keys from a URL
 * -------------------------------------------------------------------------------------------
 */

static void a_token_waits_for_the_first_keys(void **state)
{
    struct backend *b = opened(true, false);
    struct asked one, two;
    (void)state;
    assert_int_equal(line.begun, 1); /* at the start, before anybody asks */
    ask(b, &one, token_a);
    ask(b, &two, token_b);
    turn();
    assert_int_equal(one.answers + two.answers, 0);
    assert_int_equal(line.begun, 1);
    answer(JWKS_URL, FETCH_DONE, 200, keys_a);
    assert_verdict(&one, BACKEND_ACCEPTED);
    assert_verdict(&two, BACKEND_REJECTED);
    assert_int_equal(line.begun, 1);
    closed(b);
}

static void no_keys_are_no_refusal(void **state)
{
    static const struct {
        enum fetch_outcome outcome;
        long status;
        const char *body;
    } rows[] = {{FETCH_FAILED, 0, ""},
                {FETCH_DENIED, 401, ""},
                {FETCH_DONE, 500, "{\"keys\":[]}"},
                {FETCH_DONE, 404, ""},
                {FETCH_DONE, 200, ""},
                {FETCH_DONE, 200, "<html>"},
                {FETCH_DONE, 200, "{\"keys\":[]}"}};
    struct backend *b = opened(true, false);
    struct asked one;
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        ask(b, &one, token_a);
        assert_int_equal(line.open, 1); /* each asks anew: it recovers with the first one */
        answer(JWKS_URL, rows[i].outcome, rows[i].status, rows[i].body);
        assert_verdict(&one, BACKEND_UNAVAILABLE);
    }
    assert_int_equal(said, 1); /* once */
    ask(b, &one, token_a);
    answer(JWKS_URL, FETCH_DONE, 200, keys_a);
    assert_verdict(&one, BACKEND_ACCEPTED);
    closed(b);
}

static void a_missed_key_is_looked_for_but_not_often(void **state)
{
    struct backend *b = opened(true, false);
    struct asked one;
    (void)state;
    answer(JWKS_URL, FETCH_DONE, 200, keys_a);
    for (int i = 0; i < 5; i++) {
        clock_ms += OAUTH_KEYS_AGAIN_MS / 5 - 1;
        ask(b, &one, token_b);
        assert_verdict(&one, BACKEND_REJECTED);
    }
    assert_int_equal(line.begun, 1);
    clock_ms += OAUTH_KEYS_AGAIN_MS;
    ask(b, &one, token_b);
    assert_int_equal(line.begun, 2);
    answer(JWKS_URL, FETCH_DONE, 200, keys_a);
    assert_verdict(&one, BACKEND_REJECTED); /* it is in no set */

    clock_ms += OAUTH_KEYS_AGAIN_MS;
    ask(b, &one, token_b);
    answer(JWKS_URL, FETCH_FAILED, 0, "");
    assert_verdict(&one, BACKEND_UNAVAILABLE); /* who knows */
    ask(b, &one, token_b);
    assert_verdict(&one, BACKEND_UNAVAILABLE);
    assert_int_equal(line.begun, 3);
    ask(b, &one, token_a);
    assert_verdict(&one, BACKEND_ACCEPTED); /* what was known still is */

    clock_ms += OAUTH_KEYS_AGAIN_MS;
    ask(b, &one, token_b);
    answer(JWKS_URL, FETCH_DONE, 200, keys_ab);
    assert_verdict(&one, BACKEND_ACCEPTED);
    ask(b, &one, token_a);
    assert_verdict(&one, BACKEND_ACCEPTED);
    assert_int_equal(line.begun, 4);
    closed(b);
}

/* In how long the next question goes out by itself. */
static void find_due(uv_handle_t *handle, void *due)
{
    if (handle->type == UV_TIMER && uv_is_active(handle) && !uv_has_ref(handle))
        *(uint64_t *)due = uv_timer_get_due_in((uv_timer_t *)handle);
}

static void keys_are_fetched_again_by_themselves(void **state)
{
    struct backend *b = opened(true, false);
    uint64_t due = 0;
    (void)state;
    answer(JWKS_URL, FETCH_DONE, 200, keys_a);
    uv_walk(&loop, find_due, &due);
    assert_in_range(due, OAUTH_KEYS_HOUR_MS - 1000, OAUTH_KEYS_HOUR_MS);
    clock_ms += OAUTH_KEYS_AGAIN_MS;
    struct asked one;
    ask(b, &one, token_b);
    answer(JWKS_URL, FETCH_FAILED, 0, "");
    uv_walk(&loop, find_due, &due);
    assert_in_range(due, OAUTH_KEYS_RETRY_MS - 1000, OAUTH_KEYS_RETRY_MS);
    assert_verdict(&one, BACKEND_UNAVAILABLE);
    closed(b);
}

/* --- asking the server
 * ----------------------------------------------------------------------------------------
 */

static void opaque_tokens_are_asked_about(void **state)
{
    struct backend *b = opened(true, true);
    struct asked one, two, three, four;
    (void)state;
    answer(JWKS_URL, FETCH_DONE, 200, keys_a);
    ask(b, &one, "opaque+/=");
    assert_string_equal(line.body, "token_type_hint=access_token&token=opaque%2B%2F%3D");
    assert_string_equal(line.user, "me%20%26%20you");
    assert_string_equal(line.password, "");
    ask(b, &two, "other");
    ask(b, &three, "third");
    ask(b, &four, token_a); /* a JWT needs nobody */
    assert_verdict(&four, BACKEND_ACCEPTED);
    assert_int_equal(line.open, 3);
    answer(ASK_URL, FETCH_DONE, 200, "{\"active\":true,\"email\":\"alice@x\"}");
    answer(ASK_URL, FETCH_DONE, 200, "{\"active\":false}");
    answer(ASK_URL, FETCH_FAILED, 0, "");
    assert_verdict(&one, BACKEND_ACCEPTED);
    assert_verdict(&two, BACKEND_REJECTED);
    assert_verdict(&three, BACKEND_UNAVAILABLE);
    assert_null(strstr(said_last, "third"));
    ask(b, &one, "x");
    answer(ASK_URL, FETCH_DENIED, 401, "");
    assert_verdict(&one, BACKEND_UNAVAILABLE);
    assert_non_null(strstr(said_last, "does not take client_id"));
    closed(b);
}

/* A JWT that the keys do not like is not tried at the server: it would be a way around. */
static void a_refused_jwt_is_not_asked_about(void **state)
{
    struct backend *b = opened(true, true);
    struct asked one;
    char text[1024];
    (void)state;
    answer(JWKS_URL, FETCH_DONE, 200, keys_a);
    memcpy(text, token_a, sizeof text);
    text[strlen(text) - 10] ^= 1;
    ask(b, &one, text);
    assert_verdict(&one, BACKEND_REJECTED);
    assert_int_equal(line.begun, 1);
    closed(b);

    b = opened(false, true); /* without keys all are */
    ask(b, &one, token_a);
    assert_int_equal(line.open, 1);
    answer(ASK_URL, FETCH_DONE, 200, "{\"active\":true,\"email\":\"alice@x\"}");
    assert_verdict(&one, BACKEND_ACCEPTED);
    closed(b);

    b = opened(true, false);
    answer(JWKS_URL, FETCH_DONE, 200, keys_a);
    ask(b, &one, "opaque");
    assert_verdict(&one, BACKEND_REJECTED);
    closed(b);
}

/* --- leaving
 * -----------------------------------------------------------------------------------------------
 */

static void who_leaves_is_not_answered(void **state)
{
    struct backend *b = opened(true, true);
    struct asked keys, server, known, stays;
    (void)state;
    ask(b, &keys, token_a);
    ask(b, &server, "opaque");
    ask(b, &stays, token_a);
    b->ops->leave(b, &keys.q);
    b->ops->leave(b, &server.q);
    assert_int_equal(line.dropped, 1);
    answer(JWKS_URL, FETCH_DONE, 200, keys_a);
    assert_verdict(&stays, BACKEND_ACCEPTED);
    ask(b, &known, token_a);
    b->ops->leave(b, &known.q);
    turn();
    assert_int_equal(keys.answers + server.answers + known.answers, 0);
    assert_null(keys.q.state);
    assert_null(server.q.state);
    assert_null(known.q.state);
    closed(b);
}

static void an_answer_may_send_another_away(void **state)
{
    struct backend *b = opened(true, false);
    struct asked one, two, three;
    (void)state;
    ask(b, &one, token_a);
    ask(b, &two, token_a);
    ask(b, &three, token_a);
    one.leaves = &two;
    answer(JWKS_URL, FETCH_DONE, 200, keys_a);
    assert_verdict(&one, BACKEND_ACCEPTED);
    assert_verdict(&three, BACKEND_ACCEPTED);
    assert_int_equal(two.answers, 0);
    closed(b);
}

static void closing_drops_what_is_under_way(void **state)
{
    struct backend *b = opened(true, true);
    (void)state;
    closed(b);
    assert_int_equal(line.dropped, 1);
}

/* --- opening
 * -----------------------------------------------------------------------------------------------
 */

static void what_cannot_work_does_not_open(void **state)
{
    const struct {
        struct backend_settings settings;
        const char *word;
    } rows[] = {
        {{.oauth = {.issuer = "i", .audience = "a"}}, "neither jwks nor introspection"},
        {{.oauth = {.jwks = JWKS_URL, .issuer = "i"}}, "issuer and audience"},
        {{.oauth = {.jwks = JWKS_URL, .audience = "a"}}, "issuer and audience"},
        {{.oauth = {.jwks = "http://id.example/", .issuer = "i", .audience = "a"}}, "https"},
        {{.oauth = {.jwks = "/nowhere/jwks", .issuer = "i", .audience = "a"}}, "cannot be read"},
        {{.oauth = {.jwks = "/", .issuer = "i", .audience = "a"}}, "plain file"},
        {{.oauth = {.introspection = "http://id.example/"}}, "loopback"},
        {{.oauth = {.introspection = "ftp://id.example/"}}, "https"},
        {{.oauth = {.introspection = "https:"}}, "https"},
        {{.oauth = {.introspection = "https"}}, "https"},
        {{.oauth = {.introspection = ASK_URL,
                    .client_id = "x",
                    .client_secret_file = "/nowhere/x"}},
         "cannot be read"},
        {{.oauth = {.introspection = ASK_URL, .client_id = "x", .client_secret_file = "/dev/null"}},
         "client_secret_file"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char error[BACKEND_ERROR_MAX] = "";
        assert_null(backend_oauth_ops.open("oauth", "", &rows[i].settings, error));
        if (strstr(error, rows[i].word) == NULL)
            fail_msg("\"%s\" does not say \"%s\"", error, rows[i].word);
    }
}

static void the_secret_is_read_again(void **state)
{
    char path[] = "/tmp/vestibule-secret-XXXXXX", error[BACKEND_ERROR_MAX];
    const int fd = mkstemp(path);
    const struct backend_settings settings = {
        .oauth = {.introspection = ASK_URL, .client_id = "me", .client_secret_file = path}};
    static const char *const bad[] = {"", "\n", "two\nlines\n", "a\tb\n", "x\n\nx"};
    struct asked one;
    (void)state;
    assert_int_equal(write(fd, "first 1\n", 8), 8);
    memset(&line, 0, sizeof line);
    assert_int_equal(uv_loop_init(&loop), 0);
    struct backend *b = backend_oauth_ops.open("oauth", "", &settings, error);
    assert_non_null(b);
    assert_true(b->ops->start(b, &loop, error));
    assert_true(b->ops->refresh(b, error));
    ask(b, &one, "opaque");
    assert_string_equal(line.password, "first%201");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(ftruncate(fd, 0), 0);
        assert_int_equal(pwrite(fd, bad[i], strlen(bad[i]), 0), strlen(bad[i]));
        assert_false(b->ops->refresh(b, error));
        assert_non_null(strstr(error, path));
        ask(b, &one, "opaque");
        assert_string_equal(line.password, "first%201");
        b->ops->leave(b, &one.q);
    }
    assert_int_equal(ftruncate(fd, 0), 0);
    assert_int_equal(pwrite(fd, "second", 6, 0), 6);
    assert_true(b->ops->refresh(b, error));
    ask(b, &one, "opaque");
    assert_string_equal(line.password, "second");
    b->ops->leave(b, &one.q);
    answer(ASK_URL, FETCH_DONE, 200, "{\"active\":true,\"email\":\"alice@x\"}");
    turn();
    closed(b);
    close(fd);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_token_waits_for_the_first_keys),
        cmocka_unit_test(no_keys_are_no_refusal),
        cmocka_unit_test(a_missed_key_is_looked_for_but_not_often),
        cmocka_unit_test(keys_are_fetched_again_by_themselves),
        cmocka_unit_test(opaque_tokens_are_asked_about),
        cmocka_unit_test(a_refused_jwt_is_not_asked_about),
        cmocka_unit_test(who_leaves_is_not_answered),
        cmocka_unit_test(an_answer_may_send_another_away),
        cmocka_unit_test(closing_drops_what_is_under_way),
        cmocka_unit_test(what_cannot_work_does_not_open),
        cmocka_unit_test(the_secret_is_read_again),
    };
    return cmocka_run_group_tests(tests, make_all, free_all);
}
