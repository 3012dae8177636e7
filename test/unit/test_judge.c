#include "proxy/judge.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "proxy/log.h"

/* --- backends that say what the test tells them to */

enum { OPEN_MAX_ = 256 };

struct fake {
    struct backend base;
    unsigned mechanisms;
    uint64_t generation;
    const char *known; /* login of a certificate; NULL: none */
    struct backend_question *open[OPEN_MAX_];
    size_t asked; /* so far */
    unsigned left;
    unsigned responded;
    char response[64];
    bool *closed;
    /* of those that hash */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned verified;
    bool held; /* verify waits */
};

static struct fake *fake_of(struct backend *b)
{
    return (struct fake *)b;
}

static unsigned fake_mechanisms(struct backend *b)
{
    return fake_of(b)->mechanisms;
}

static uint64_t fake_generation(struct backend *b)
{
    return fake_of(b)->generation;
}

static void fake_ask(struct backend *b, struct backend_question *q)
{
    struct fake *f = fake_of(b);
    assert_true(f->asked < OPEN_MAX_);
    f->open[f->asked] = q;
    f->asked++;
}

static void fake_respond(struct backend *b, struct backend_question *q, const uint8_t *message,
                         size_t len)
{
    (void)q;
    fake_of(b)->responded++;
    snprintf(fake_of(b)->response, sizeof fake_of(b)->response, "%.*s", (int)len,
             (const char *)message);
}

static void fake_leave(struct backend *b, struct backend_question *q)
{
    struct fake *f = fake_of(b);
    for (size_t i = 0; i < f->asked; i++)
        if (f->open[i] == q) {
            f->open[i] = NULL;
            f->left++;
            return;
        }
    fail_msg("a question was left that was not open");
}

/* "right" is; "away" cannot be said. */
static enum backend_verdict fake_verify(struct backend *b, const struct sasl_credential *c)
{
    struct fake *f = fake_of(b);
    pthread_mutex_lock(&f->lock);
    f->verified++;
    pthread_cond_broadcast(&f->changed);
    while (f->held)
        pthread_cond_wait(&f->changed, &f->lock);
    pthread_mutex_unlock(&f->lock);
    return strcmp(c->secret, "right") == 0  ? BACKEND_ACCEPTED
           : strcmp(c->secret, "away") == 0 ? BACKEND_UNAVAILABLE
                                            : BACKEND_REJECTED;
}

static bool fake_knows(struct backend *b, const char *login)
{
    return strcmp(fake_of(b)->known, login) == 0;
}

static void fake_close(struct backend *b)
{
    struct fake *f = fake_of(b);
    for (size_t i = 0; i < f->asked; i++)
        assert_null(f->open[i]);
    *f->closed = true;
    pthread_mutex_destroy(&f->lock);
    pthread_cond_destroy(&f->changed);
    free(f);
}

static const struct backend_ops asking = {.scheme = "asking",
                                          .mechanisms = fake_mechanisms,
                                          .generation = fake_generation,
                                          .ask = fake_ask,
                                          .respond = fake_respond,
                                          .leave = fake_leave,
                                          .close = fake_close};
static const struct backend_ops hashing = {.scheme = "hashing",
                                           .mechanisms = fake_mechanisms,
                                           .generation = fake_generation,
                                           .verify = fake_verify,
                                           .close = fake_close};
static const struct backend_ops listing = {.scheme = "listing",
                                           .mechanisms = fake_mechanisms,
                                           .verify = fake_verify,
                                           .knows = fake_knows,
                                           .close = fake_close};

/* --- the vault's end and the front's */

enum { HEARD_MAX = 512 };

struct heard {
    enum channel_type type;
    uint64_t number;
    enum channel_verdict word;
    char text[SASL_LOGIN_MAX + 1]; /* login, or challenge */
};

static uv_loop_t loop;
static struct judge *judge;
static struct edition *edition;
static struct link *vault_end, *front_end;
static struct heard heard[HEARD_MAX];
static size_t heard_count;
static bool closed[CONF_BACKENDS_MAX];
static struct fake *fake[CONF_BACKENDS_MAX];

static void on_vault_frame(void *owner, struct link *l, const struct channel_frame *frame)
{
    (void)owner;
    judge_take(judge, l, edition, frame);
}

static void on_front_frame(void *owner, struct link *l, const struct channel_frame *frame)
{
    (void)owner, (void)l;
    assert_true(heard_count < HEARD_MAX);
    struct heard *h = &heard[heard_count++];
    h->type = frame->type;
    h->number = frame->number;
    h->word = frame->type == CHANNEL_VERDICT ? frame->as.verdict.word : CHANNEL_LIMITED;
    if (frame->type == CHANNEL_VERDICT)
        snprintf(h->text, sizeof h->text, "%.*s", (int)frame->as.verdict.login_len,
                 frame->as.verdict.login);
    else
        snprintf(h->text, sizeof h->text, "%.*s", (int)frame->as.message.len,
                 (const char *)frame->as.message.octets);
}

static void on_end_closed(void *owner, struct link *l)
{
    (void)owner;
    if (l == vault_end) {
        judge_link_gone(judge, l);
        vault_end = NULL;
    } else {
        front_end = NULL;
    }
    link_close(l);
}

static const struct link_events vault_events = {.frame = on_vault_frame, .closed = on_end_closed};
static const struct link_events front_events = {.frame = on_front_frame, .closed = on_end_closed};

static void turn(unsigned times)
{
    for (unsigned i = 0; i < times; i++)
        uv_run(&loop, UV_RUN_NOWAIT);
}

static void on_watch(uv_timer_t *watch)
{
    *(bool *)watch->data = true;
}

/* Until that many frames came, at most five seconds. */
static void wait_heard(size_t count)
{
    uv_timer_t watch;
    bool over = false;
    uv_timer_init(&loop, &watch);
    watch.data = &over;
    uv_timer_start(&watch, on_watch, 5000, 0);
    while (heard_count < count && !over)
        uv_run(&loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&watch, NULL);
    turn(2);
    if (heard_count != count)
        fail_msg("%zu frames, not %zu", heard_count, count);
}

static void connect_ends(void)
{
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    vault_end = link_open(&loop, pair[0], &vault_events, NULL);
    front_end = link_open(&loop, pair[1], &front_events, NULL);
}

static struct edition *make_edition(const char *auth)
{
    char text[1024];
    struct conf_errors *errors = calloc(1, sizeof *errors);
    struct edition *e = calloc(1, sizeof *e);
    int len = snprintf(text, sizeof text, "[server]\nhostname = h.test\n%s", auth);
    e->holds = 1;
    e->conf = conf_parse(text, (size_t)len, "test", NULL, errors);
    if (e->conf == NULL)
        fail_msg("%s", errors->text);
    free(errors);
    return e;
}

static struct fake *add(struct edition *e, const struct backend_ops *ops, unsigned mechanisms)
{
    struct fake *f = calloc(1, sizeof *f);
    f->base.ops = ops;
    f->mechanisms = mechanisms;
    f->generation = 1;
    f->closed = &closed[e->backend_count];
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->changed, NULL);
    fake[e->backend_count] = f;
    closed[e->backend_count] = false;
    e->backend[e->backend_count++] = &f->base;
    return f;
}

#define AUTH "[auth]\nfailure_delay = 0\nlockout = 5/1h\n"

static void begin(const char *auth)
{
    log_open(STDERR_FILENO, false, LOG_FORMAT_LOGFMT, LOG_LEVEL_ERROR);
    uv_loop_init(&loop);
    heard_count = 0;
    edition = make_edition(auth);
    judge = judge_new(&loop, 2, edition->conf);
    assert_non_null(judge);
    connect_ends();
}

static void end(void)
{
    struct judge_counts counts;
    judge_stop(judge);
    if (vault_end != NULL)
        link_close(vault_end);
    if (front_end != NULL)
        link_close(front_end);
    size_t backends = edition->backend_count;
    edition_release(edition);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    for (size_t i = 0; i < backends; i++)
        assert_true(closed[i]); /* nobody holds the edition any more */
    counts = judge_counts(judge);
    assert_int_equal(counts.open, 0);
    assert_int_equal(counts.waiting, 0);
    judge_free(judge);
}

static void log_in_from(const char *address, uint64_t number, enum sasl_mechanism mechanism,
                        const char *login, const char *secret)
{
    struct channel_frame frame = {.type = CHANNEL_VERIFY, .number = number};
    frame.as.verify.client.address[10] = frame.as.verify.client.address[11] = 0xff;
    assert_int_equal(inet_pton(AF_INET, address, frame.as.verify.client.address + 12), 1);
    frame.as.verify.mechanism = mechanism;
    frame.as.verify.login = login;
    frame.as.verify.login_len = strlen(login);
    frame.as.verify.secret = secret;
    frame.as.verify.secret_len = strlen(secret);
    link_send(front_end, &frame);
}

static void log_in(uint64_t number, const char *login, const char *secret)
{
    log_in_from("192.0.2.1", number, SASL_PLAIN, login, secret);
    turn(3);
}

static void say(uint64_t number, enum channel_type type, const char *message)
{
    struct channel_frame frame = {.type = type, .number = number};
    if (type == CHANNEL_RESPOND) {
        frame.as.message.octets = (const uint8_t *)message;
        frame.as.message.len = strlen(message);
    }
    link_send(front_end, &frame);
    turn(3);
}

static void answer(struct fake *f, size_t index, enum backend_verdict verdict, const char *text)
{
    struct backend_question *q = f->open[index];
    assert_non_null(q);
    if (verdict != BACKEND_CHALLENGE)
        f->open[index] = NULL;
    if (verdict == BACKEND_CHALLENGE)
        q->answered(q, verdict, NULL, (const uint8_t *)text, strlen(text));
    else
        q->answered(q, verdict, text, NULL, 0);
    turn(3);
}

static void expect(size_t index, uint64_t number, enum channel_verdict word, const char *login)
{
    assert_true(index < heard_count);
    assert_int_equal(heard[index].type, CHANNEL_VERDICT);
    assert_int_equal(heard[index].number, number);
    assert_int_equal(heard[index].word, word);
    assert_string_equal(heard[index].text, login);
}

/* --- the order of backends */

static void the_first_yes_wins_and_the_next_is_not_asked(void **state)
{
    (void)state;
    begin(AUTH);
    add(edition, &asking, SASL_PLAIN);
    add(edition, &asking, SASL_PLAIN);
    log_in(1, "alice", "x");
    answer(fake[0], 0, BACKEND_ACCEPTED, NULL);
    expect(0, 1, CHANNEL_ACCEPTED, "alice");
    assert_int_equal(fake[1]->asked, 0);
    end();
}

static void a_no_goes_on_to_the_next(void **state)
{
    (void)state;
    begin(AUTH);
    add(edition, &asking, SASL_PLAIN);
    add(edition, &hashing, SASL_PLAIN);
    add(edition, &asking, SASL_PLAIN);
    log_in(1, "alice", "right");
    answer(fake[0], 0, BACKEND_REJECTED, NULL);
    wait_heard(1);
    expect(0, 1, CHANNEL_ACCEPTED, "alice");
    log_in(2, "alice", "wrong");
    answer(fake[0], 1, BACKEND_REJECTED, NULL);
    while (fake[2]->asked == 0)
        uv_run(&loop, UV_RUN_ONCE);
    answer(fake[2], 0, BACKEND_REJECTED, NULL);
    wait_heard(2);
    expect(1, 2, CHANNEL_REJECTED, "");
    end();
}

static void one_out_of_reach_could_have_said_yes(void **state)
{
    (void)state;
    begin(AUTH);
    add(edition, &asking, SASL_PLAIN);
    add(edition, &asking, SASL_PLAIN);
    for (size_t i = 0; i < 10; i++) {
        log_in(i, "alice", (char[]){(char)('a' + i), '\0'});
        answer(fake[0], i, BACKEND_UNAVAILABLE, NULL);
        answer(fake[1], i, BACKEND_REJECTED, NULL);
        expect(i, i, CHANNEL_UNAVAILABLE, "");
    }
    log_in(20, "alice", "right");
    answer(fake[0], 10, BACKEND_UNAVAILABLE, NULL);
    answer(fake[1], 10, BACKEND_ACCEPTED, NULL);
    expect(10, 20, CHANNEL_ACCEPTED, "alice");
    assert_int_equal(judge_counts(judge).rejected, 0);
    end();
}

static void who_cannot_do_the_mechanism_is_not_asked(void **state)
{
    (void)state;
    begin(AUTH);
    add(edition, &asking, SASL_SCRAM_SHA_256);
    add(edition, &asking, SASL_PLAIN);
    log_in(1, "alice", "x");
    answer(fake[1], 0, BACKEND_REJECTED, NULL);
    expect(0, 1, CHANNEL_REJECTED, "");
    assert_int_equal(fake[0]->asked, 0);
    fake[1]->mechanisms = 0; /* a server that is away, perhaps: no refusal */
    log_in(2, "alice", "x");
    expect(1, 2, CHANNEL_UNAVAILABLE, "");
    end();
}

static void the_mechanisms_are_those_of_all_that_the_settings_let_through(void **state)
{
    (void)state;
    begin("[auth]\nmechanisms = PLAIN SCRAM-SHA-256 OAUTHBEARER EXTERNAL\n");
    add(edition, &hashing, SASL_PLAIN | SASL_LOGIN | SASL_SCRAM_SHA_256);
    add(edition, &asking, SASL_OAUTHBEARER | SASL_EXTERNAL);
    /* a backend without `ask` cannot speak an exchange, a certificate needs an authority */
    assert_int_equal(judge_mechanisms(edition), SASL_PLAIN | SASL_OAUTHBEARER);
    end();
}

/* --- kinds */

static void an_exchange_goes_to_and_fro_to_its_end(void **state)
{
    (void)state;
    begin(AUTH);
    add(edition, &asking, SASL_PLAIN);
    add(edition, &asking, SASL_SCRAM_SHA_256);
    add(edition, &asking, SASL_SCRAM_SHA_256);
    log_in_from("192.0.2.1", 7, SASL_SCRAM_SHA_256, "", "n,,n=alice,r=x");
    turn(3);
    answer(fake[1], 0, BACKEND_CHALLENGE, "r=xy,s=,i=1");
    assert_int_equal(heard[0].type, CHANNEL_CHALLENGE);
    assert_int_equal(heard[0].number, 7);
    assert_string_equal(heard[0].text, "r=xy,s=,i=1");
    say(7, CHANNEL_RESPOND, "c=biws,p=");
    assert_string_equal(fake[1]->response, "c=biws,p=");
    answer(fake[1], 0, BACKEND_CHALLENGE, "v=");
    say(7, CHANNEL_RESPOND, "");
    answer(fake[1], 0, BACKEND_ACCEPTED, "alice");
    expect(2, 7, CHANNEL_ACCEPTED, "alice");
    assert_true(fake[0]->asked == 0 && fake[2]->asked == 0);
    end();
}

static void a_no_to_an_exchange_is_the_last_word(void **state)
{
    (void)state;
    begin(AUTH);
    add(edition, &asking, SASL_SCRAM_SHA_256);
    add(edition, &asking, SASL_SCRAM_SHA_256);
    for (size_t i = 0; i < 5; i++) {
        log_in_from("192.0.2.1", i, SASL_SCRAM_SHA_256, "", "n,,");
        turn(3);
        answer(fake[0], i, BACKEND_REJECTED, "alice");
        expect(i, i, CHANNEL_REJECTED, "");
    }
    assert_int_equal(fake[1]->asked, 0);
    /* each was one of its own; and whose name it was is known now */
    log_in_from("192.0.2.1", 10, SASL_SCRAM_SHA_256, "", "n,,");
    log_in_from("198.51.100.1", 11, SASL_SCRAM_SHA_256, "", "n,,");
    turn(3);
    expect(5, 10, CHANNEL_LIMITED, "");
    answer(fake[0], 5, BACKEND_ACCEPTED, "alice"); /* right, and locked out */
    expect(6, 11, CHANNEL_LIMITED, "");
    end();
}

static void an_exchange_without_end_is_ended(void **state)
{
    (void)state;
    begin(AUTH);
    add(edition, &asking, SASL_SCRAM_SHA_256);
    log_in_from("192.0.2.1", 7, SASL_SCRAM_SHA_256, "", "n,,");
    turn(3);
    for (size_t i = 0; i < JUDGE_STEPS_MAX; i++) {
        answer(fake[0], 0, BACKEND_CHALLENGE, "more");
        assert_int_equal(heard[i].type, CHANNEL_CHALLENGE);
        say(7, CHANNEL_RESPOND, "more");
    }
    answer(fake[0], 0, BACKEND_CHALLENGE, "more");
    expect(JUDGE_STEPS_MAX, 7, CHANNEL_UNAVAILABLE, "");
    assert_int_equal(fake[0]->left, 1);
    say(7, CHANNEL_RESPOND, "more"); /* to nobody */
    end();
}

static void a_response_that_nobody_waits_for_is_ignored(void **state)
{
    (void)state;
    begin(AUTH);
    add(edition, &asking, SASL_SCRAM_SHA_256);
    say(3, CHANNEL_RESPOND, "x");
    log_in_from("192.0.2.1", 7, SASL_SCRAM_SHA_256, "", "n,,");
    turn(3);
    say(7, CHANNEL_RESPOND, "x"); /* it was not asked yet */
    assert_int_equal(fake[0]->responded, 0);
    answer(fake[0], 0, BACKEND_CHALLENGE, "c");
    say(8, CHANNEL_RESPOND, "x");
    assert_int_equal(fake[0]->responded, 0);
    say(7, CHANNEL_RESPOND, "x");
    say(7, CHANNEL_RESPOND, "x");
    assert_int_equal(fake[0]->responded, 1);
    answer(fake[0], 0, BACKEND_REJECTED, NULL);
    end();
}

static void a_token_names_its_login_and_the_first_word_is_the_last(void **state)
{
    (void)state;
    begin(AUTH);
    add(edition, &asking, SASL_OAUTHBEARER);
    add(edition, &asking, SASL_OAUTHBEARER);
    log_in_from("192.0.2.1", 1, SASL_OAUTHBEARER, "", "token");
    turn(3);
    answer(fake[0], 0, BACKEND_ACCEPTED, "alice@example.com");
    expect(0, 1, CHANNEL_ACCEPTED, "alice@example.com");
    log_in_from("192.0.2.1", 2, SASL_OAUTHBEARER, "alice", "old token");
    turn(3);
    answer(fake[0], 1, BACKEND_REJECTED, NULL);
    expect(1, 2, CHANNEL_REJECTED, "");
    log_in_from("192.0.2.1", 3, SASL_OAUTHBEARER, "alice", "token");
    turn(3);
    answer(fake[0], 2, BACKEND_UNAVAILABLE, NULL);
    expect(2, 3, CHANNEL_UNAVAILABLE, "");
    log_in_from("192.0.2.1", 4, SASL_OAUTHBEARER, "", "token"); /* tokens are not remembered */
    turn(3);
    assert_int_equal(fake[0]->asked, 4);
    assert_int_equal(fake[1]->asked, 0);
    end();
}

static void a_certificates_login_must_be_known_where_logins_are(void **state)
{
    (void)state;
    begin(AUTH "[tls]\nclient_ca = /ca.pem\n");
    log_in_from("192.0.2.1", 1, SASL_EXTERNAL, "alice", "");
    turn(3);
    expect(0, 1, CHANNEL_ACCEPTED, "alice");
    add(edition, &asking, SASL_PLAIN);
    add(edition, &listing, SASL_PLAIN)->known = "bob";
    log_in_from("192.0.2.1", 2, SASL_EXTERNAL, "alice", "");
    turn(5);
    log_in_from("192.0.2.1", 3, SASL_EXTERNAL, "bob", "");
    turn(3);
    expect(1, 2, CHANNEL_REJECTED, "");
    expect(2, 3, CHANNEL_ACCEPTED, "bob");
    end();
    begin(AUTH); /* no authority: no certificate proves anything */
    log_in_from("192.0.2.1", 1, SASL_EXTERNAL, "alice", "");
    turn(3);
    expect(0, 1, CHANNEL_REJECTED, "");
    end();
}

/* --- names */

static void one_name_before_every_backend_and_behind_it(void **state)
{
    (void)state;
    begin(AUTH "default_realm = example.com\nlogin_domain = strip\nlogin_case = lower\n");
    add(edition, &asking, SASL_PLAIN);
    log_in(1, "Alice@Example.COM", "x");
    assert_string_equal(fake[0]->open[0]->credential->login, "alice");
    assert_int_equal(fake[0]->open[0]->credential->login_len, 5);
    answer(fake[0], 0, BACKEND_ACCEPTED, "ALICE@example.com");
    expect(0, 1, CHANNEL_ACCEPTED, "alice");
    log_in(2, "alice@other.test", "x");
    expect(1, 2, CHANNEL_REJECTED, "");
    assert_int_equal(fake[0]->asked, 1);
    log_in(3, "bob", "x");
    answer(fake[0], 1, BACKEND_ACCEPTED, "bob@other.test"); /* whom it names is none of ours */
    expect(2, 3, CHANNEL_REJECTED, "");
    log_in(4, "bob", "y");
    answer(fake[0], 2, BACKEND_ACCEPTED, "b\nob");
    expect(3, 4, CHANNEL_REJECTED, "");
    end();
}

/* --- the cache */

static void who_was_right_a_moment_ago_costs_no_question(void **state)
{
    (void)state;
    begin(AUTH);
    add(edition, &asking, SASL_PLAIN | SASL_LOGIN);
    log_in(1, "alice", "right");
    answer(fake[0], 0, BACKEND_ACCEPTED, "alice@example.com");
    log_in(2, "alice", "right");
    expect(1, 2, CHANNEL_ACCEPTED, "alice@example.com");
    assert_int_equal(fake[0]->asked, 1);
    assert_int_equal(judge_counts(judge).cache_hits, 1);
    log_in(3, "alice", "wrong");
    answer(fake[0], 1, BACKEND_REJECTED, NULL);
    log_in(4, "bob", "right");
    answer(fake[0], 2, BACKEND_REJECTED, NULL);
    expect(3, 4, CHANNEL_REJECTED, "");
    end();
}

static void a_change_of_the_backend_or_a_reload_forgets_who_was_right(void **state)
{
    (void)state;
    begin(AUTH);
    add(edition, &asking, SASL_PLAIN);
    log_in(1, "alice", "right");
    answer(fake[0], 0, BACKEND_ACCEPTED, NULL);
    fake[0]->generation++;
    log_in(2, "alice", "right");
    assert_int_equal(fake[0]->asked, 2);
    answer(fake[0], 1, BACKEND_ACCEPTED, NULL);
    judge_measure(judge, edition->conf);
    log_in(3, "alice", "right");
    assert_int_equal(fake[0]->asked, 3);
    /* the file changed while the old one was asked */
    fake[0]->generation++;
    answer(fake[0], 2, BACKEND_ACCEPTED, NULL);
    log_in(4, "alice", "right");
    assert_int_equal(fake[0]->asked, 4);
    answer(fake[0], 3, BACKEND_REJECTED, NULL);
    expect(3, 4, CHANNEL_REJECTED, "");
    end();
}

static void what_an_old_front_learns_the_new_one_does_not_believe(void **state)
{
    (void)state;
    begin(AUTH);
    add(edition, &asking, SASL_PLAIN);
    struct edition *fresh = make_edition(AUTH);
    judge_measure(judge, fresh->conf);
    log_in(1, "alice", "right"); /* over the old edition */
    answer(fake[0], 0, BACKEND_ACCEPTED, NULL);
    struct edition *old = edition;
    edition = fresh;
    struct fake *before = fake[0];
    add(edition, &asking, SASL_PLAIN);
    log_in(2, "alice", "right");
    assert_int_equal(fake[0]->asked, 1);
    answer(fake[0], 0, BACKEND_REJECTED, NULL);
    expect(1, 2, CHANNEL_REJECTED, "");
    before->closed = &(bool){false};
    edition_release(old);
    end();
}

/* --- guessing */

static void a_lock_out_is_answered_without_asking_anybody(void **state)
{
    (void)state;
    begin(AUTH);
    add(edition, &asking, SASL_PLAIN);
    for (size_t i = 0; i < 5; i++) {
        log_in(i, "alice", (char[]){(char)('a' + i), '\0'});
        answer(fake[0], i, BACKEND_REJECTED, NULL);
        expect(i, i, CHANNEL_REJECTED, "");
    }
    log_in(10, "alice", "right");
    expect(5, 10, CHANNEL_LIMITED, "");
    log_in_from("198.51.100.7", 11, SASL_PLAIN, "alice", "right");
    turn(3);
    expect(6, 11, CHANNEL_LIMITED, "");
    assert_int_equal(fake[0]->asked, 5);
    struct judge_counts counts = judge_counts(judge);
    assert_int_equal(counts.lockouts[GUARD_NETWORK], 1);
    assert_int_equal(counts.lockouts[GUARD_ACCOUNT], 1);
    assert_int_equal(counts.limited, 2);
    assert_true(guard_lift(judge_guard(judge), "alice", uv_now(&loop)));
    log_in_from("198.51.100.7", 12, SASL_PLAIN, "alice", "right");
    turn(3);
    answer(fake[0], 5, BACKEND_ACCEPTED, NULL);
    expect(7, 12, CHANNEL_ACCEPTED, "alice");
    end();
}

static void many_guesses_at_once_are_no_more_than_one_by_one(void **state)
{
    (void)state;
    begin(AUTH);
    struct fake *f = add(edition, &hashing, SASL_PLAIN);
    char secret[16];
    f->held = true;
    for (unsigned i = 0; i < 50; i++) {
        snprintf(secret, sizeof secret, "guess%u", i);
        log_in(i, "alice", secret);
    }
    pthread_mutex_lock(&f->lock);
    f->held = false;
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
    wait_heard(50);
    assert_in_range(f->verified, 5, 6); /* two run at once */
    end();
}

static void a_refusal_waits_and_an_acceptance_does_not(void **state)
{
    (void)state;
    begin("[auth]\nfailure_delay = 100ms\nlockout = off\n");
    add(edition, &asking, SASL_PLAIN);
    log_in(1, "alice", "wrong");
    log_in(2, "alice", "right");
    uint64_t from = uv_hrtime();
    answer(fake[0], 0, BACKEND_REJECTED, NULL);
    answer(fake[0], 1, BACKEND_ACCEPTED, NULL);
    expect(0, 2, CHANNEL_ACCEPTED, "alice");
    wait_heard(2);
    expect(1, 1, CHANNEL_REJECTED, "");
    assert_true(uv_hrtime() - from > 80 * 1000000ull);
    end();
}

/* --- the line */

static void a_flood_of_one_network_is_turned_away_and_others_are_not(void **state)
{
    (void)state;
    begin("[auth]\nfailure_delay = 0\nlockout = off\n");
    struct fake *f = add(edition, &hashing, SASL_PLAIN);
    f->held = true;
    for (unsigned i = 0; i < JUDGE_HASHES_WAITING + 2 + 20; i++)
        log_in(i, "alice", "wrong");
    turn(5);
    assert_int_equal(heard_count, 20);
    for (unsigned i = 0; i < 20; i++)
        assert_int_equal(heard[i].word, CHANNEL_UNAVAILABLE);
    log_in_from("198.51.100.7", 1000, SASL_PLAIN, "bob", "right");
    turn(3);
    assert_int_equal(heard_count, 21); /* somebody of the flood had to go for him */
    assert_true(heard[20].number < JUDGE_HASHES_WAITING + 2);
    assert_int_equal(judge_counts(judge).turned_away, 21);
    pthread_mutex_lock(&f->lock);
    f->held = false;
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
    wait_heard(21 + JUDGE_HASHES_WAITING + 2);
    size_t bob = 0;
    for (size_t i = 21; i < heard_count; i++)
        if (heard[i].number == 1000) {
            bob = i;
            assert_int_equal(heard[i].word, CHANNEL_ACCEPTED);
        }
    assert_in_range(bob, 21, 21 + 6); /* next in turn, not behind all of them */
    end();
}

static void questions_to_other_servers_are_bounded(void **state)
{
    (void)state;
    begin("[auth]\nfailure_delay = 0\nlockout = off\n");
    add(edition, &asking, SASL_PLAIN);
    for (unsigned i = 0; i < JUDGE_ASKS + 10; i++)
        log_in(i, "alice", "x");
    assert_int_equal(fake[0]->asked, JUDGE_ASKS);
    assert_int_equal(judge_counts(judge).waiting, 10);
    assert_int_equal(judge_counts(judge).running, JUDGE_ASKS);
    answer(fake[0], 0, BACKEND_UNAVAILABLE, NULL);
    assert_int_equal(fake[0]->asked, JUDGE_ASKS + 1);
    say(5, CHANNEL_CANCEL, NULL); /* who leaves makes room as well */
    assert_int_equal(fake[0]->asked, JUDGE_ASKS + 2);
    say(JUDGE_ASKS + 9, CHANNEL_CANCEL, NULL);
    assert_int_equal(judge_counts(judge).waiting, 7);
    end();
}

/* --- leaving, at every state */

static void a_client_who_leaves_is_forgotten_wherever_he_is(void **state)
{
    (void)state;
    begin("[auth]\nfailure_delay = 16s\nlockout = off\n");
    add(edition, &asking, SASL_PLAIN | SASL_SCRAM_SHA_256);
    log_in(1, "alice", "x"); /* asked */
    say(1, CHANNEL_CANCEL, NULL);
    assert_int_equal(fake[0]->left, 1);
    log_in_from("192.0.2.1", 2, SASL_SCRAM_SHA_256, "", "n,,"); /* a challenge is out */
    turn(3);
    answer(fake[0], 1, BACKEND_CHALLENGE, "c");
    say(2, CHANNEL_CANCEL, NULL);
    assert_int_equal(fake[0]->left, 2);
    log_in(3, "alice", "x"); /* refused, and waits for it */
    answer(fake[0], 2, BACKEND_REJECTED, NULL);
    say(3, CHANNEL_CANCEL, NULL);
    say(3, CHANNEL_CANCEL, NULL);
    say(99, CHANNEL_CANCEL, NULL);
    assert_int_equal(judge_counts(judge).open, 0);
    assert_int_equal(heard_count, 1); /* the challenge */
    end();
}

static void a_client_who_leaves_while_it_is_hashed_gets_no_answer_but_is_counted(void **state)
{
    (void)state;
    begin(AUTH);
    struct fake *f = add(edition, &hashing, SASL_PLAIN);
    f->held = true;
    for (uint64_t i = 0; i < 4; i++) /* two run, two wait */
        log_in(i, "alice", (char[]){(char)('a' + i), '\0'});
    for (uint64_t i = 0; i < 4; i++)
        say(i, CHANNEL_CANCEL, NULL);
    assert_int_equal(judge_counts(judge).open, 2);
    pthread_mutex_lock(&f->lock);
    f->held = false;
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
    while (judge_counts(judge).open > 0)
        uv_run(&loop, UV_RUN_ONCE);
    turn(3);
    assert_int_equal(heard_count, 0);
    assert_int_equal(judge_counts(judge).rejected, 2);
    assert_int_equal(f->verified, 2);
    end();
}

static void a_front_that_is_gone_leaves_nothing_open(void **state)
{
    (void)state;
    begin("[auth]\nfailure_delay = 16s\nlockout = off\n");
    add(edition, &asking, SASL_PLAIN | SASL_SCRAM_SHA_256);
    for (uint64_t i = 0; i < JUDGE_ASKS; i++)
        log_in(i, "alice", "x");
    log_in(100, "alice", "x"); /* in line */
    answer(fake[0], 0, BACKEND_REJECTED, NULL);
    link_close(front_end);
    front_end = NULL;
    turn(5);
    assert_null(vault_end);
    assert_int_equal(judge_counts(judge).open, 0);
    assert_int_equal(fake[0]->left, JUDGE_ASKS); /* one was answered, the one in line was asked */
    end();
}

static void the_end_leaves_what_is_open(void **state)
{
    (void)state;
    begin("[auth]\nfailure_delay = 16s\nlockout = off\n");
    add(edition, &asking, SASL_PLAIN | SASL_SCRAM_SHA_256);
    struct fake *f = add(edition, &hashing, SASL_LOGIN);
    log_in(1, "alice", "x");
    log_in_from("192.0.2.1", 2, SASL_SCRAM_SHA_256, "", "n,,");
    turn(3);
    answer(fake[0], 1, BACKEND_CHALLENGE, "c");
    log_in(3, "alice", "x");
    answer(fake[0], 2, BACKEND_REJECTED, NULL);
    f->held = true;
    log_in_from("192.0.2.1", 4, SASL_LOGIN, "alice", "x");
    turn(3);
    judge_stop(judge);
    log_in(5, "alice", "x"); /* too late */
    expect(1, 5, CHANNEL_UNAVAILABLE, "");
    pthread_mutex_lock(&f->lock);
    f->held = false;
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
    end();
}

static void an_edition_stays_until_its_last_question_is_answered(void **state)
{
    (void)state;
    begin(AUTH);
    add(edition, &asking, SASL_PLAIN);
    struct fake *old = fake[0];
    bool old_closed = false;
    old->closed = &old_closed;
    log_in(1, "alice", "x");
    edition_release(edition); /* a reload, whose old front still waits */
    edition = make_edition(AUTH);
    judge_measure(judge, edition->conf);
    turn(3);
    assert_false(old_closed);
    answer(old, 0, BACKEND_ACCEPTED, NULL);
    expect(0, 1, CHANNEL_ACCEPTED, "alice");
    turn(3);
    assert_true(old_closed);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_yes_wins_and_the_next_is_not_asked),
        cmocka_unit_test(a_no_goes_on_to_the_next),
        cmocka_unit_test(one_out_of_reach_could_have_said_yes),
        cmocka_unit_test(who_cannot_do_the_mechanism_is_not_asked),
        cmocka_unit_test(the_mechanisms_are_those_of_all_that_the_settings_let_through),
        cmocka_unit_test(an_exchange_goes_to_and_fro_to_its_end),
        cmocka_unit_test(a_no_to_an_exchange_is_the_last_word),
        cmocka_unit_test(an_exchange_without_end_is_ended),
        cmocka_unit_test(a_response_that_nobody_waits_for_is_ignored),
        cmocka_unit_test(a_token_names_its_login_and_the_first_word_is_the_last),
        cmocka_unit_test(a_certificates_login_must_be_known_where_logins_are),
        cmocka_unit_test(one_name_before_every_backend_and_behind_it),
        cmocka_unit_test(who_was_right_a_moment_ago_costs_no_question),
        cmocka_unit_test(a_change_of_the_backend_or_a_reload_forgets_who_was_right),
        cmocka_unit_test(what_an_old_front_learns_the_new_one_does_not_believe),
        cmocka_unit_test(a_lock_out_is_answered_without_asking_anybody),
        cmocka_unit_test(many_guesses_at_once_are_no_more_than_one_by_one),
        cmocka_unit_test(a_refusal_waits_and_an_acceptance_does_not),
        cmocka_unit_test(a_flood_of_one_network_is_turned_away_and_others_are_not),
        cmocka_unit_test(questions_to_other_servers_are_bounded),
        cmocka_unit_test(a_client_who_leaves_is_forgotten_wherever_he_is),
        cmocka_unit_test(a_client_who_leaves_while_it_is_hashed_gets_no_answer_but_is_counted),
        cmocka_unit_test(a_front_that_is_gone_leaves_nothing_open),
        cmocka_unit_test(the_end_leaves_what_is_open),
        cmocka_unit_test(an_edition_stays_until_its_last_question_is_answered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
