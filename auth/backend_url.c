#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "auth/backend.h"
#include "auth/directory.h"
#include "auth/fetch.h"
#include "auth/fetch_once.h"
#include "auth/file_state.h"
#include "auth/text_file.h"
#include "auth/trouble.h"
#include "auth/url_http.h"
#include "auth/url_ldap.h"
#include "auth/url_mail.h"
#include "auth/url_spec.h"
#include "auth/waiting.h"
#include "auth/wiped.h"

_Static_assert(URL_SPEC_ERROR_MAX == BACKEND_ERROR_MAX && FETCH_ERROR_MAX == BACKEND_ERROR_MAX &&
                   DIRECTORY_ERROR_MAX == BACKEND_ERROR_MAX,
               "sentences are handed on in one buffer");

enum {
    URL_FILE_MAX = 16384, /* of headers, of a password */
    URL_BODY_MAX = 65536, /* nobody reads it */
    URL_CERTIFICATE_MAX = 64
};

struct backend_url {
    struct backend base;
    struct url_spec spec;
    struct url_ldap ldap;
    char server[URL_SPEC_TEXT_MAX];   /* "imaps://host:993" */
    char *url;                        /* what is asked for: the same and a path */
    struct backend_settings settings; /* its strings outlive us */
    bool clear; /* mail: the server has no SASL, so IMAP's LOGIN, POP3's USER and PASS */
    char *bind_password;
    char **headers;
    struct file_state file_seen; /* of the one file that the protocol has */
    struct trouble trouble;
    /* once started */
    struct waiting waiting;
    struct fetch *fetch;
    struct directory *directory;
};

/* A question on its way. */
struct url_question {
    struct backend_url *backend;
    struct backend_question *question;
    struct fetch_job job;
    struct directory_visit visit;
    uint64_t begun;
    bool greeted; /* mail: its first line was one */
    bool given;   /* and it has been given the login */
    bool clear;
};

static struct backend_url *url_of(struct backend *b)
{
    return (struct backend_url *)b;
}

/* Answers. */

static void url_answer(struct url_question *uq, enum backend_verdict verdict, const char *login)
{
    struct backend_question *q = uq->question;

    if (verdict != BACKEND_UNAVAILABLE)
        trouble_over(&uq->backend->trouble);
    q->state = NULL;
    free(uq);
    q->answered(q, verdict, login, NULL, 0);
}

static void url_give_up(struct url_question *uq, const char *why)
{
    trouble_tell(&uq->backend->trouble, "%.160s: %.340s", uq->backend->server, why);
    url_answer(uq, BACKEND_UNAVAILABLE, NULL);
}

/* Mail servers. */

static void url_mail_begin(struct url_question *uq);

static void url_mail_sent(struct fetch_job *job, const char *octets, size_t len)
{
    struct url_question *uq = job->owner;

    uq->given = uq->given || url_mail_gives(uq->backend->spec.protocol, octets, len);
}

static bool url_mail_heard(struct fetch_job *job, const char *octets, size_t len)
{
    struct url_question *uq = job->owner;

    if (!uq->greeted)
        uq->greeted = url_mail_greets(uq->backend->spec.protocol, octets, len);
    return uq->greeted;
}

/* No SASL there: what is older may be. */
static void url_mail_try_otherwise(struct url_question *uq)
{
    const struct sasl_credential *c = uq->question->credential;
    struct backend_url *u = uq->backend;
    const bool can = u->spec.protocol != URL_SMTP && !uq->clear;

    u->clear = can;
    if (!can)
        url_give_up(uq, "it offers no way to log in with a password (AUTH PLAIN or LOGIN)");
    else if (!url_mail_clear_ok(u->spec.protocol, c->login, c->secret))
        url_answer(uq, BACKEND_REJECTED, NULL);
    else
        url_mail_begin(uq);
}

static void url_mail_done(struct fetch_job *job, const struct fetch_result *r)
{
    struct url_question *uq = job->owner;
    char last[160], why[256];

    if (r->outcome == FETCH_FAILED) {
        url_give_up(uq, r->error);
        return;
    }
    switch (url_mail_judge(uq->backend->spec.protocol, uq->given, r->outcome == FETCH_DONE,
                           r->headers, r->headers_len)) {
    case URL_MAIL_ACCEPTED:
        url_answer(uq, BACKEND_ACCEPTED, NULL);
        return;
    case URL_MAIL_REJECTED:
        url_answer(uq, BACKEND_REJECTED, NULL);
        return;
    case URL_MAIL_NO_WAY:
        url_mail_try_otherwise(uq);
        return;
    case URL_MAIL_UNAVAILABLE:
        break;
    }
    url_mail_last(last, sizeof last, r->headers, r->headers_len);
    snprintf(why, sizeof why, "it neither takes nor refuses the login (\"%s\")", last);
    url_give_up(uq, why);
}

static uint32_t url_time_left(const struct url_question *uq)
{
    const uint64_t spent = (uv_hrtime() - uq->begun) / 1000000;

    return spent < BACKEND_REPLY_MS ? (uint32_t)(BACKEND_REPLY_MS - spent) : 1;
}

static struct fetch_request url_request(const struct backend_url *u)
{
    return (struct fetch_request){
        .url = u->url,
        .schemes = url_spec_scheme(&u->spec),
        .tls = u->spec.tls == URL_TLS_START ? FETCH_TLS_REQUIRED : FETCH_TLS_BY_SCHEME,
        .ca = u->settings.ca,
        .timeout_ms = BACKEND_REPLY_MS,
        .connect_only = u->spec.protocol != URL_HTTP,
        /* who is logged in on a connection is nobody else */
        .fresh = u->spec.protocol != URL_HTTP,
        .max = URL_BODY_MAX,
    };
}

static void url_mail_begin(struct url_question *uq)
{
    struct fetch_request r = url_request(uq->backend);

    uq->clear = uq->backend->clear;
    uq->given = uq->greeted = false;
    r.user = uq->question->credential->login;
    r.password = uq->question->credential->secret;
    /* without a wish it is IMAP's LOGIN, POP3's USER and PASS where nothing else is offered */
    r.login_options = uq->clear ? NULL : "AUTH=PLAIN;AUTH=LOGIN";
    r.timeout_ms = url_time_left(uq);
    uq->job = (struct fetch_job){
        .done = url_mail_done, .sent = url_mail_sent, .heard = url_mail_heard, .owner = uq};
    fetch_begin(uq->backend->fetch, &uq->job, &r);
}

/* HTTP. */

static void url_http_done(struct fetch_job *job, const struct fetch_result *r)
{
    struct url_question *uq = job->owner;
    char login[SASL_LOGIN_MAX + 1], why[96];

    if (r->outcome != FETCH_DONE) {
        url_give_up(uq, r->error);
        return;
    }
    switch (url_http_judge(login, r->status, r->headers, r->headers_len)) {
    case URL_HTTP_ACCEPTED:
        url_answer(uq, BACKEND_ACCEPTED, login[0] != '\0' ? login : NULL);
        return;
    case URL_HTTP_REJECTED:
        url_answer(uq, BACKEND_REJECTED, NULL);
        return;
    case URL_HTTP_UNAVAILABLE:
        break;
    }
    snprintf(why, sizeof why, "it neither takes nor refuses the login (status %ld)", r->status);
    url_give_up(uq, why);
}

static bool url_http_begin(struct url_question *uq)
{
    struct fetch_request r = url_request(uq->backend);
    char **headers =
        url_http_headers(uq->question->credential, uq->question->client, uq->backend->headers);

    if (headers == NULL)
        return false;
    r.user = uq->question->credential->login;
    r.password = uq->question->credential->secret;
    r.headers = (const char *const *)headers;
    uq->job = (struct fetch_job){.done = url_http_done, .owner = uq};
    fetch_begin(uq->backend->fetch, &uq->job, &r);
    url_http_free(headers);
    return true;
}

/* LDAP. */

static bool url_ascii(const char *text)
{
    while (*text != '\0' && (unsigned char)*text < 0x80)
        text++;
    return *text == '\0';
}

/* Names are compared there without their case: this is the one spelling of all. */
static void url_lower(char out[SASL_LOGIN_MAX + 1], const char *login)
{
    size_t i = 0;

    for (; login[i] != '\0' && i < SASL_LOGIN_MAX; i++)
        out[i] = (char)(login[i] >= 'A' && login[i] <= 'Z' ? login[i] | 0x20 : login[i]);
    out[i] = '\0';
}

static void url_ldap_done(struct directory_visit *v, const struct directory_answer *a)
{
    struct url_question *uq = v->owner;
    const char *login = uq->question->credential->login;
    char known[SASL_LOGIN_MAX + 1];

    if (a->outcome == DIRECTORY_REJECTED)
        url_answer(uq, BACKEND_REJECTED, NULL);
    else if (a->outcome == DIRECTORY_FAILED)
        url_give_up(uq, a->error);
    else if (a->login[0] != '\0')
        url_answer(uq, BACKEND_ACCEPTED, a->login);
    else if (!url_ascii(login))
        url_give_up(
            uq, "the entry that was found does not show who it is; let whoever searches read the "
                "attribute that the URL names");
    else {
        url_lower(known, login);
        url_answer(uq, BACKEND_ACCEPTED, known);
    }
}

static bool url_ldap_question(struct directory_question *out, const struct url_ldap *l,
                              const char *login, const char *password)
{
    *out = (struct directory_question){
        .name = url_ldap_name(l, login),
        .filter = l->search ? url_ldap_filter(l, login) : NULL,
        .password = password != NULL ? strdup(password) : NULL,
        .scope = l->scope,
        .attribute = l->attribute,
        .base_may_lack = url_ldap_base_varies(l),
    };
    if (out->name != NULL && (out->filter != NULL || !l->search) &&
        (out->password != NULL || password == NULL))
        return true;
    wiped_free(out->name);
    wiped_free(out->filter);
    wiped_free(out->password);
    return false;
}

static bool url_ldap_begin(struct url_question *uq)
{
    const struct sasl_credential *c = uq->question->credential;
    struct directory_question dq;

    uq->visit = (struct directory_visit){.done = url_ldap_done, .owner = uq};
    return url_ldap_question(&dq, &uq->backend->ldap, c->login, c->secret) &&
           directory_begin(uq->backend->directory, &uq->visit, &dq);
}

/* Asking. */

/* Logins that the protocol cannot carry, or carries as something else. */
static bool url_can_say(const struct backend_url *u, const struct sasl_credential *c)
{
    if (c->login[0] == '\0' || c->secret[0] == '\0' || strlen(c->login) != c->login_len ||
        strlen(c->secret) != c->secret_len || !sasl_login_fits(c->login, c->login_len) ||
        !sasl_password_fits(c->secret, c->secret_len))
        return false;
    switch (u->spec.protocol) {
    case URL_HTTP:
        return url_http_login_ok(c->login);
    case URL_LDAP:
        return url_ldap_login_ok(&u->ldap, c->login, u->ldap.search);
    case URL_IMAP:
    case URL_POP3:
    case URL_SMTP:
        break;
    }
    return !u->clear || url_mail_clear_ok(u->spec.protocol, c->login, c->secret);
}

static bool url_begin(struct url_question *uq)
{
    switch (uq->backend->spec.protocol) {
    case URL_HTTP:
        return url_http_begin(uq);
    case URL_LDAP:
        return url_ldap_begin(uq);
    case URL_IMAP:
    case URL_POP3:
    case URL_SMTP:
        break;
    }
    url_mail_begin(uq);
    return true;
}

static void url_ask(struct backend *b, struct backend_question *q)
{
    struct backend_url *u = url_of(b);
    struct url_question *uq;

    if (!url_can_say(u, q->credential)) {
        waiting_answer(&u->waiting, q, BACKEND_REJECTED);
        return;
    }
    uq = calloc(1, sizeof *uq);
    if (uq != NULL) {
        uq->backend = u;
        uq->question = q;
        uq->begun = uv_hrtime();
        q->state = uq;
        if (url_begin(uq))
            return;
        free(uq);
    }
    waiting_answer(&u->waiting, q, BACKEND_UNAVAILABLE);
}

static void url_leave(struct backend *b, struct backend_question *q)
{
    struct backend_url *u = url_of(b);
    struct url_question *uq;

    if (waiting_forget(&u->waiting, q))
        return;
    uq = q->state;
    q->state = NULL;
    if (u->directory != NULL)
        directory_drop(u->directory, &uq->visit);
    else
        fetch_drop(u->fetch, &uq->job);
    free(uq);
}

static unsigned url_mechanisms(struct backend *b)
{
    (void)b;
    return SASL_PLAIN | SASL_LOGIN;
}

/* Files that hold secrets. */

static char *url_read(size_t *len, const char *path, char error[BACKEND_ERROR_MAX])
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    char *text = fd >= 0 ? text_file_read(len, &st, fd, URL_FILE_MAX) : NULL;

    if (text == NULL)
        snprintf(error, BACKEND_ERROR_MAX, "%.200s cannot be read: %s", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    return text;
}

static bool url_read_password(struct backend_url *u, char error[BACKEND_ERROR_MAX])
{
    const char *path = u->settings.ldap_bind_password_file;
    size_t len = 0;
    char *text = url_read(&len, path, error);

    if (text == NULL)
        return false;
    while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == '\r'))
        text[--len] = '\0';
    if (!sasl_password_fits(text, len)) {
        snprintf(error, BACKEND_ERROR_MAX,
                 "%.200s does not hold a password alone; write it on one line", path);
        wiped_free(text);
        return false;
    }
    wiped_free(u->bind_password);
    u->bind_password = text;
    return u->directory == NULL || directory_set_password(u->directory, text);
}

static bool url_read_headers(struct backend_url *u, char error[BACKEND_ERROR_MAX])
{
    const char *path = u->settings.http_header_file;
    const char *why;
    size_t len = 0;
    char *text = url_read(&len, path, error);
    char **lines = text != NULL ? url_http_lines(text, len, &why) : NULL;

    if (text != NULL && lines == NULL)
        snprintf(error, BACKEND_ERROR_MAX, "%.200s %s", path, why);
    wiped_free(text);
    if (lines == NULL)
        return false;
    url_http_free(u->headers);
    u->headers = lines;
    return true;
}

static const char *url_file(const struct backend_url *u)
{
    if (u->spec.protocol == URL_HTTP)
        return u->settings.http_header_file;
    return u->spec.protocol == URL_LDAP && u->settings.ldap_bind_dn != NULL
               ? u->settings.ldap_bind_password_file
               : NULL;
}

static bool url_read_file(struct backend_url *u, char error[BACKEND_ERROR_MAX])
{
    u->file_seen = file_state_of(url_file(u));
    return u->spec.protocol == URL_HTTP ? url_read_headers(u, error) : url_read_password(u, error);
}

static bool url_refresh(struct backend *b, char error[BACKEND_ERROR_MAX])
{
    struct backend_url *u = url_of(b);
    const char *path = url_file(u);
    struct file_state now;

    if (path == NULL)
        return true;
    now = file_state_of(path);
    return file_state_same(&now, &u->file_seen) || url_read_file(u, error);
}

/* Coming and going. */

static void url_free(struct backend_url *u)
{
    wiped_free(u->bind_password);
    url_http_free(u->headers);
    free(u->url);
    free(u);
}

static bool url_wrong(char error[BACKEND_ERROR_MAX], const struct backend_url *u, const char *what)
{
    char said[BACKEND_ERROR_MAX];

    snprintf(said, sizeof said, "the backend %.120s %.370s", u->server, what);
    memcpy(error, said, sizeof said);
    return false;
}

static bool url_open_path(struct backend_url *u, char error[BACKEND_ERROR_MAX])
{
    const char *rest = u->spec.rest[0] != '\0' ? u->spec.rest : "/";
    const char *name = u->spec.protocol == URL_SMTP ? u->settings.hostname : NULL;
    const size_t cap = strlen(u->server) + strlen(rest) + (name != NULL ? strlen(name) : 0) + 2;

    if (u->spec.protocol == URL_LDAP && !url_ldap_parse(&u->ldap, u->spec.rest, error))
        return url_wrong(error, u, error);
    if (u->spec.protocol != URL_LDAP && u->spec.protocol != URL_HTTP && strcmp(rest, "/") != 0)
        return url_wrong(error, u, "has something behind the host; end it with /");
    u->url = malloc(cap);
    if (u->url == NULL)
        return url_wrong(error, u, "cannot be opened: out of memory");
    /* SMTP's path is the name for EHLO */
    snprintf(u->url, cap, "%s%s%s", u->server, rest, name != NULL ? name : "");
    return true;
}

static bool url_open_settings(struct backend_url *u, char error[BACKEND_ERROR_MAX])
{
    const struct backend_settings *s = &u->settings;

    if (u->spec.tls != URL_TLS_NONE && s->ca != NULL && access(s->ca, R_OK) != 0) {
        snprintf(error, BACKEND_ERROR_MAX, "the file of authorities %.200s cannot be read: %s",
                 s->ca, strerror(errno));
        return false;
    }
    if (u->spec.protocol == URL_LDAP && s->ldap_bind_dn != NULL &&
        s->ldap_bind_password_file == NULL)
        return url_wrong(error, u, "has an ldap_bind_dn without its ldap_bind_password_file");
    return url_file(u) == NULL || url_read_file(u, error);
}

static bool url_load(const struct backend_url *u, char error[BACKEND_ERROR_MAX])
{
    return u->spec.protocol == URL_LDAP ? directory_load(error) : fetch_load(error);
}

static struct backend *url_open(const char *scheme, const char *argument,
                                const struct backend_settings *settings,
                                char error[BACKEND_ERROR_MAX])
{
    struct backend_url *u = calloc(1, sizeof *u);

    if (u == NULL) {
        snprintf(error, BACKEND_ERROR_MAX, "out of memory");
        return NULL;
    }
    u->base.ops = &backend_url_ops;
    u->settings = *settings;
    u->trouble.say = settings->say;
    if (url_spec_parse(&u->spec, scheme, argument, error)) {
        url_spec_text(u->server, &u->spec);
        if (url_open_path(u, error) && url_open_settings(u, error) && url_load(u, error))
            return &u->base;
    }
    url_free(u);
    return NULL;
}

static struct directory_server url_directory_server(const struct backend_url *u)
{
    return (struct directory_server){
        .host = u->spec.host,
        .port = u->spec.port,
        .tls = u->spec.tls != URL_TLS_NONE,
        .start_tls = u->spec.tls == URL_TLS_START,
        .ca = u->settings.ca,
        .timeout_ms = BACKEND_REPLY_MS,
        .bind_dn = u->bind_password != NULL ? u->settings.ldap_bind_dn : NULL,
        .bind_password = u->bind_password,
    };
}

static bool url_start(struct backend *b, uv_loop_t *loop, char error[BACKEND_ERROR_MAX])
{
    struct backend_url *u = url_of(b);
    const struct directory_server server = url_directory_server(u);

    if (u->spec.protocol == URL_LDAP) {
        u->directory = directory_new(loop, &server);
        if (u->directory == NULL)
            return url_wrong(error, u, "cannot be started: out of memory");
    } else {
        u->fetch = fetch_new(loop, error);
        if (u->fetch == NULL)
            return false;
    }
    waiting_start(&u->waiting, loop, NULL);
    return true;
}

static void url_stopped(uv_handle_t *timer)
{
    struct waiting *w = (struct waiting *)((char *)timer - offsetof(struct waiting, timer));

    url_free((struct backend_url *)((char *)w - offsetof(struct backend_url, waiting)));
}

static void url_close(struct backend *b)
{
    struct backend_url *u = url_of(b);
    const bool started = u->fetch != NULL || u->directory != NULL;

    if (u->fetch != NULL)
        fetch_close(u->fetch);
    if (u->directory != NULL)
        directory_close(u->directory);
    if (started)
        waiting_stop(&u->waiting, url_stopped);
    else
        url_free(u);
}

/* For `vestibule check`. */

struct url_look {
    struct backend_url *backend;
    char *text;
    bool fine;
};

static void url_look_certificate(char out[URL_CERTIFICATE_MAX], const struct backend_url *u,
                                 const char *until)
{
    if (u->spec.tls == URL_TLS_NONE)
        snprintf(out, URL_CERTIFICATE_MAX, ", in clear on this host");
    else
        snprintf(out, URL_CERTIFICATE_MAX, "%s, certificate good until %s",
                 u->spec.tls == URL_TLS_START ? " (STARTTLS)" : "", until);
}

static void url_look_http(struct url_look *l, const struct fetch_result *r, const char *how)
{
    char login[SASL_LOGIN_MAX + 1];

    l->fine = false;
    switch (url_http_judge(login, r->status, r->headers, r->headers_len)) {
    case URL_HTTP_ACCEPTED:
        snprintf(l->text, BACKEND_ERROR_MAX,
                 "%.256s accepts a login that nobody has (status %ld), so it would let everybody "
                 "in; name a URL that checks passwords",
                 l->backend->url, r->status);
        break;
    case URL_HTTP_REJECTED:
        snprintf(l->text, BACKEND_ERROR_MAX, "%.256s: refuses a login that nobody has%s",
                 l->backend->url, how);
        l->fine = true;
        break;
    case URL_HTTP_UNAVAILABLE:
        snprintf(
            l->text, BACKEND_ERROR_MAX,
            "%.256s neither takes nor refuses a login (status %ld); look into the server's log",
            l->backend->url, r->status);
        break;
    }
}

static void url_looked(struct fetch_job *job, const struct fetch_result *r)
{
    struct url_look *l = job->owner;
    const struct backend_url *u = l->backend;
    char how[URL_CERTIFICATE_MAX];

    url_look_certificate(how, u, r->until);
    if (r->outcome != FETCH_DONE) {
        snprintf(l->text, BACKEND_ERROR_MAX, "%.160s: %.340s", u->server, r->error);
        l->fine = false;
    } else if (u->spec.protocol == URL_HTTP) {
        url_look_http(l, r, how);
    } else {
        snprintf(l->text, BACKEND_ERROR_MAX, "%.256s: %s server%s", u->server,
                 url_spec_protocol_name(u->spec.protocol), how);
        l->fine = true;
    }
}

/* A login that nobody has. */
/* True: url_looked was told. */
static bool url_look(struct url_look *l)
{
    static const struct sasl_credential nobody = {.mechanism = SASL_PLAIN,
                                                  .login_len = 15,
                                                  .secret_len = 15,
                                                  .login = "vestibule-check",
                                                  .secret = "vestibule-check"};
    static const struct auth_client here = {
        .address = {[10] = 0xff, [11] = 0xff, [12] = 127, [15] = 1}};
    struct fetch_request r = url_request(l->backend);
    struct fetch_job job = {.done = url_looked, .owner = l};
    char **headers = NULL;
    bool asked;

    if (l->backend->spec.protocol == URL_HTTP) {
        headers = url_http_headers(&nobody, &here, l->backend->headers);
        if (headers == NULL) {
            snprintf(l->text, BACKEND_ERROR_MAX, "out of memory");
            return false;
        }
        r.headers = (const char *const *)headers;
        r.user = nobody.login;
        r.password = nobody.secret;
    }
    asked = fetch_once(&job, &r, l->text);
    url_http_free(headers);
    return asked;
}

static bool url_describe_server(struct backend_url *u, char text[BACKEND_ERROR_MAX])
{
    struct url_look look = {.backend = u, .text = text};

    return url_look(&look) && look.fine;
}

static bool url_describe_directory(struct backend_url *u, char text[BACKEND_ERROR_MAX])
{
    const struct directory_server server = url_directory_server(u);
    struct directory_question q;
    struct directory_answer a;
    char how[URL_CERTIFICATE_MAX];

    if (!url_ldap_question(&q, &u->ldap, "vestibule-check@vestibule-check", NULL)) {
        snprintf(text, BACKEND_ERROR_MAX, "out of memory");
        return false;
    }
    directory_ask(&a, &server, &q);
    url_look_certificate(how, u, a.until);
    if (a.outcome == DIRECTORY_FAILED)
        snprintf(text, BACKEND_ERROR_MAX, "%.160s: %.340s", u->server, a.error);
    else
        snprintf(text, BACKEND_ERROR_MAX, "%.256s: LDAP server%s%s", u->server,
                 u->ldap.search ? " that can be searched" : "", how);
    return a.outcome != DIRECTORY_FAILED;
}

static bool url_describe(struct backend *b, char text[BACKEND_ERROR_MAX])
{
    struct backend_url *u = url_of(b);

    return u->spec.protocol == URL_LDAP ? url_describe_directory(u, text)
                                        : url_describe_server(u, text);
}

const struct backend_ops backend_url_ops = {
    .scheme = "url",
    .open = url_open,
    .start = url_start,
    .refresh = url_refresh,
    .mechanisms = url_mechanisms,
    .ask = url_ask,
    .leave = url_leave,
    .describe = url_describe,
    .close = url_close,
};
