#include "auth/fetch.h"

#include <curl/curl.h>
#include <dlfcn.h>
#include <malloc.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "auth/peer_certificate.h"
#include "auth/wiped.h"

/* By name and at run time: thirty libraries hang on this one. */
#define FETCH_LIBRARY "libcurl-gnutls.so.4"
#define FETCH_PACKAGE "libcurl3-gnutls (libcurl3t64-gnutls in newer releases)"

#define FETCH_FUNCTIONS(DO)                    \
    DO(global_init_mem, curl_global_init_mem)  \
    DO(multi_init, curl_multi_init)            \
    DO(multi_cleanup, curl_multi_cleanup)      \
    DO(multi_setopt, curl_multi_setopt)        \
    DO(multi_add, curl_multi_add_handle)       \
    DO(multi_remove, curl_multi_remove_handle) \
    DO(multi_action, curl_multi_socket_action) \
    DO(multi_assign, curl_multi_assign)        \
    DO(multi_read, curl_multi_info_read)       \
    DO(easy_init, curl_easy_init)              \
    DO(easy_cleanup, curl_easy_cleanup)        \
    DO(easy_setopt, curl_easy_setopt)          \
    DO(easy_getinfo, curl_easy_getinfo)        \
    DO(easy_strerror, curl_easy_strerror)      \
    DO(slist_append, curl_slist_append)        \
    DO(slist_free, curl_slist_free_all)

#undef curl_easy_setopt
#undef curl_easy_getinfo
#undef curl_multi_setopt

#define FETCH_FIELD(field, function) __typeof__(function) *field;
#define FETCH_FIND(field, function)                                        \
    if ((*(void **)&fetch_curl.field = dlsym(library, #function)) == NULL) \
        return #function;

static struct {
    FETCH_FUNCTIONS(FETCH_FIELD)
} fetch_curl;

static uv_once_t fetch_once = UV_ONCE_INIT;
static char fetch_fault[FETCH_ERROR_MAX];

struct fetch {
    uv_loop_t *loop;
    CURLM *multi;
    uv_timer_t pulse; /* what libcurl wants to be woken for */
    uv_timer_t late;  /* tells those that could not be begun */
    struct fetch_job *unbegun;
    size_t handles;
    bool closing;
};

struct fetch_socket {
    uv_poll_t poll;
    struct fetch *fetch;
    curl_socket_t fd;
};

struct fetch_text {
    char *octets;
    size_t len;
    size_t max;
    bool over;
};

struct fetch_transfer {
    struct fetch *fetch;
    struct fetch_job *job;
    CURL *easy;
    struct curl_slist *headers;
    struct fetch_text said; /* header lines */
    struct fetch_text body;
    uv_timer_t deadline;
    uint32_t timeout_ms;
    char host[256];
    bool http;
    bool nonsense;
    CURLcode failure; /* it could not be begun */
    char error[CURL_ERROR_SIZE];
};

static const char *fetch_find(void *library)
{
    FETCH_FUNCTIONS(FETCH_FIND)
    return NULL;
}

static void fetch_open_library(void)
{
    void *library = dlopen(FETCH_LIBRARY, RTLD_NOW | RTLD_LOCAL);
    const char *missing;

    if (library == NULL) {
        snprintf(fetch_fault, sizeof fetch_fault,
                 "credential checks by URL need the library " FETCH_LIBRARY
                 "; install Debian's package " FETCH_PACKAGE " (%.200s)",
                 dlerror());
    } else if ((missing = fetch_find(library)) != NULL) {
        snprintf(fetch_fault, sizeof fetch_fault,
                 "the library " FETCH_LIBRARY
                 " has no %s, so it is too old; install a newer " FETCH_PACKAGE,
                 missing);
    } else if (fetch_curl.global_init_mem(CURL_GLOBAL_DEFAULT, malloc, wiped_free, wiped_realloc,
                                          strdup, calloc) != CURLE_OK) {
        snprintf(fetch_fault, sizeof fetch_fault,
                 "the library " FETCH_LIBRARY " does not start; is memory short?");
    }
}

bool fetch_load(char error[FETCH_ERROR_MAX])
{
    uv_once(&fetch_once, fetch_open_library);
    if (fetch_fault[0] != '\0')
        snprintf(error, FETCH_ERROR_MAX, "%s", fetch_fault);
    return fetch_fault[0] == '\0';
}

static bool fetch_add(struct fetch_text *t, const char *octets, size_t len)
{
    const size_t need = t->len + len + 1;
    char *grown;

    if (len > t->max - t->len) {
        t->over = true;
        return false;
    }
    if (t->octets == NULL || need > malloc_usable_size(t->octets)) {
        grown = realloc(t->octets, need * 2);
        if (grown == NULL)
            return false;
        t->octets = grown;
    }
    memcpy(t->octets + t->len, octets, len);
    t->len += len;
    t->octets[t->len] = '\0';
    return true;
}

static size_t fetch_take_line(char *octets, size_t size, size_t count, void *transfer)
{
    struct fetch_transfer *t = transfer;
    const size_t len = size * count;

    if (t->http && len >= 5 && strncmp(octets, "HTTP/", 5) == 0)
        t->said.len = 0; /* what came before was 100 Continue */
    if (t->job != NULL && t->job->heard != NULL && !t->job->heard(t->job, octets, len)) {
        t->nonsense = true;
        return CURL_WRITEFUNC_ERROR;
    }
    return fetch_add(&t->said, octets, len) ? len : CURL_WRITEFUNC_ERROR;
}

static size_t fetch_take_body(char *octets, size_t size, size_t count, void *transfer)
{
    struct fetch_transfer *t = transfer;

    return fetch_add(&t->body, octets, size * count) ? size * count : CURL_WRITEFUNC_ERROR;
}

static int fetch_sent(CURL *easy, curl_infotype type, char *octets, size_t len, void *transfer)
{
    (void)easy;
    struct fetch_transfer *t = transfer;

    if (type == CURLINFO_HEADER_OUT && t->job != NULL && t->job->sent != NULL)
        t->job->sent(t->job, octets, len);
    return 0;
}

static void fetch_let_go(struct fetch *f)
{
    if (--f->handles == 0)
        free(f);
}

static void fetch_deadline_closed(uv_handle_t *h)
{
    struct fetch_transfer *t = h->data;
    struct fetch *f = t->fetch;

    free(t);
    fetch_let_go(f);
}

static void fetch_hang_up(struct fetch_transfer *t)
{
    if (t->easy != NULL) {
        fetch_curl.multi_remove(t->fetch->multi, t->easy);
        fetch_curl.easy_cleanup(t->easy);
        t->easy = NULL;
    }
}

static void fetch_end(struct fetch_transfer *t)
{
    fetch_hang_up(t);
    fetch_curl.slist_free(t->headers);
    wiped_free(t->said.octets);
    wiped_free(t->body.octets);
    uv_close((uv_handle_t *)&t->deadline, fetch_deadline_closed);
}

/* The server's own certificate, in DER, to be freed with OPENSSL_free; NULL: none was seen. */
static uint8_t *fetch_certificate(CURL *easy, long *len)
{
    struct curl_certinfo *info = NULL;
    char *kind, *header;
    uint8_t *der = NULL;
    BIO *pem;

    if (fetch_curl.easy_getinfo(easy, CURLINFO_CERTINFO, &info) != CURLE_OK || info == NULL ||
        info->num_of_certs < 1)
        return NULL;
    for (const struct curl_slist *l = info->certinfo[0]; l != NULL && der == NULL; l = l->next) {
        if (strncmp(l->data, "Cert:", 5) != 0 || (pem = BIO_new_mem_buf(l->data + 5, -1)) == NULL)
            continue;
        if (PEM_read_bio(pem, &kind, &header, &der, len) == 1) {
            OPENSSL_free(kind);
            OPENSSL_free(header);
        }
        BIO_free(pem);
    }
    return der;
}

static void fetch_note_until(char until[PEER_CERTIFICATE_DATE_MAX], CURL *easy)
{
    long len = 0;
    uint8_t *der = fetch_certificate(easy, &len);

    if (der != NULL)
        peer_certificate_until(until, der, (size_t)len);
    OPENSSL_free(der);
}

/* The library says no more than that it does not trust it. */
static void fetch_blame_certificate(char out[FETCH_ERROR_MAX], struct fetch_transfer *t)
{
    long len = 0;
    uint8_t *der = fetch_certificate(t->easy, &len);

    if (der != NULL)
        peer_certificate_fault(out, der, (size_t)len, t->host, time(NULL));
    else
        snprintf(out, FETCH_ERROR_MAX, "%s", t->error);
    OPENSSL_free(der);
}

/* Whoever reads it may have a terminal. */
static void fetch_plain(char *text)
{
    size_t len = strlen(text);

    while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == '.'))
        text[--len] = '\0';
    for (char *c = text; *c != '\0'; c++) {
        if (*c < 0x20 || *c > 0x7e)
            *c = '?';
    }
}

static void fetch_say_late(char out[FETCH_ERROR_MAX], const struct fetch_transfer *t)
{
    snprintf(out, FETCH_ERROR_MAX, "it gave no answer within %u seconds",
             (unsigned)((t->timeout_ms + 999) / 1000));
}

static void fetch_explain(char out[FETCH_ERROR_MAX], struct fetch_transfer *t, CURLcode code)
{
    if (t->said.over || t->body.over)
        snprintf(out, FETCH_ERROR_MAX, "the answer is longer than any that is right");
    else if (t->nonsense || code == CURLE_WEIRD_SERVER_REPLY)
        snprintf(out, FETCH_ERROR_MAX,
                 "what it says is not what is spoken there: is it the right port?");
    else if (code == CURLE_PEER_FAILED_VERIFICATION)
        fetch_blame_certificate(out, t);
    else if (code == CURLE_COULDNT_CONNECT)
        snprintf(out, FETCH_ERROR_MAX, "it cannot be reached: is it running there?");
    else if (code == CURLE_COULDNT_RESOLVE_HOST)
        snprintf(out, FETCH_ERROR_MAX, "the name %s has no address that can be found", t->host);
    else if (code == CURLE_OPERATION_TIMEDOUT)
        fetch_say_late(out, t);
    else if (code == CURLE_USE_SSL_FAILED)
        snprintf(out, FETCH_ERROR_MAX, "it does not offer TLS (STARTTLS), which is needed here");
    else
        snprintf(out, FETCH_ERROR_MAX, "%s",
                 t->error[0] != '\0' ? t->error : fetch_curl.easy_strerror(code));
    fetch_plain(out);
}

static enum fetch_outcome fetch_outcome(CURLcode code)
{
    if (code == CURLE_OK)
        return FETCH_DONE;
    return code == CURLE_LOGIN_DENIED ? FETCH_DENIED : FETCH_FAILED;
}

static void fetch_tell(struct fetch_transfer *t, enum fetch_outcome outcome, const char *error,
                       bool certificate_bad)
{
    char until[PEER_CERTIFICATE_DATE_MAX] = "";
    struct fetch_result r = {
        .outcome = outcome,
        .body = t->body.octets != NULL ? t->body.octets : "",
        .body_len = t->body.len,
        .headers = t->said.octets != NULL ? t->said.octets : "",
        .headers_len = t->said.len,
        .until = until,
        .error = error,
        .certificate_bad = certificate_bad,
    };
    struct fetch_job *job = t->job;

    if (t->easy != NULL) {
        fetch_note_until(until, t->easy);
        fetch_curl.easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &r.status);
    }
    fetch_hang_up(t); /* `done` may close everything */
    t->job = NULL;
    job->transfer = NULL;
    job->done(job, &r);
    fetch_end(t);
}

static void fetch_done(struct fetch_transfer *t, CURLcode code)
{
    char error[FETCH_ERROR_MAX] = "";

    if (code != CURLE_OK)
        fetch_explain(error, t, code);
    fetch_tell(t, fetch_outcome(code), error, code == CURLE_PEER_FAILED_VERIFICATION);
}

static void fetch_collect(struct fetch *f)
{
    CURLMsg *m;
    int left;

    while ((m = fetch_curl.multi_read(f->multi, &left)) != NULL) {
        struct fetch_transfer *t = NULL;
        const CURLcode code = m->data.result;
        fetch_curl.easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&t);
        fetch_done(t, code);
    }
}

static void fetch_act(struct fetch *f, curl_socket_t fd, int events)
{
    int running;

    fetch_curl.multi_action(f->multi, fd, events, &running);
    fetch_collect(f);
}

static void fetch_pulse(uv_timer_t *timer)
{
    fetch_act(timer->data, CURL_SOCKET_TIMEOUT, 0);
}

/* A millisecond more: woken too early libcurl does nothing and does not ask again. */
static int fetch_set_pulse(CURLM *multi, long ms, void *fetch)
{
    (void)multi;
    struct fetch *f = fetch;

    if (ms < 0 || f->closing)
        return uv_timer_stop(&f->pulse);
    uv_update_time(f->loop);
    return uv_timer_start(&f->pulse, fetch_pulse, ms == 0 ? 0 : (uint64_t)ms + 1, 0);
}

static void fetch_ready(uv_poll_t *poll, int status, int events)
{
    struct fetch_socket *s = poll->data;
    int what = 0;

    if (status < 0)
        what = CURL_CSELECT_ERR;
    if (events & UV_READABLE)
        what |= CURL_CSELECT_IN;
    if (events & UV_WRITABLE)
        what |= CURL_CSELECT_OUT;
    fetch_act(s->fetch, s->fd, what);
}

static void fetch_socket_closed(uv_handle_t *h)
{
    struct fetch_socket *s = h->data;
    struct fetch *f = s->fetch;

    free(s);
    fetch_let_go(f);
}

static struct fetch_socket *fetch_new_socket(struct fetch *f, curl_socket_t fd)
{
    struct fetch_socket *s = calloc(1, sizeof *s);

    if (s == NULL || uv_poll_init(f->loop, &s->poll, fd) != 0) {
        free(s);
        return NULL;
    }
    s->fetch = f;
    s->fd = fd;
    s->poll.data = s;
    f->handles++;
    fetch_curl.multi_assign(f->multi, fd, s);
    return s;
}

static int fetch_watch(CURL *easy, curl_socket_t fd, int what, void *fetch, void *socket)
{
    (void)easy;
    struct fetch *f = fetch;
    struct fetch_socket *s = socket;
    int events = 0;

    if (what == CURL_POLL_REMOVE) {
        if (s != NULL) {
            fetch_curl.multi_assign(f->multi, fd, NULL);
            uv_close((uv_handle_t *)&s->poll, fetch_socket_closed);
        }
        return 0;
    }
    if (s == NULL && (s = fetch_new_socket(f, fd)) == NULL)
        return -1;
    if (what & CURL_POLL_IN)
        events |= UV_READABLE;
    if (what & CURL_POLL_OUT)
        events |= UV_WRITABLE;
    return uv_poll_start(&s->poll, events, fetch_ready) == 0 ? 0 : -1;
}

static void fetch_late(uv_timer_t *timer)
{
    struct fetch *f = timer->data;
    const struct fetch_result r = {
        .outcome = FETCH_FAILED, .body = "", .headers = "", .until = "", .error = "out of memory"};
    struct fetch_job *job;

    while ((job = f->unbegun) != NULL) {
        f->unbegun = job->next;
        job->done(job, &r);
    }
}

static void fetch_too_late(uv_timer_t *timer)
{
    struct fetch_transfer *t = timer->data;
    char error[FETCH_ERROR_MAX];

    if (t->failure != CURLE_OK)
        snprintf(error, sizeof error, "%s", fetch_curl.easy_strerror(t->failure));
    else
        fetch_say_late(error, t);
    fetch_plain(error);
    fetch_tell(t, FETCH_FAILED, error, false);
}

static void fetch_init_timer(struct fetch *f, uv_timer_t *timer, void *data)
{
    uv_timer_init(f->loop, timer);
    timer->data = data;
    f->handles++;
}

struct fetch *fetch_new(uv_loop_t *loop, char error[FETCH_ERROR_MAX])
{
    struct fetch *f = NULL;

    if (!fetch_load(error))
        return NULL;
    f = calloc(1, sizeof *f);
    if (f == NULL || (f->multi = fetch_curl.multi_init()) == NULL) {
        free(f);
        snprintf(error, FETCH_ERROR_MAX, "out of memory");
        return NULL;
    }
    f->loop = loop;
    fetch_init_timer(f, &f->pulse, f);
    fetch_init_timer(f, &f->late, f);
    fetch_curl.multi_setopt(f->multi, CURLMOPT_SOCKETFUNCTION, fetch_watch);
    fetch_curl.multi_setopt(f->multi, CURLMOPT_SOCKETDATA, f);
    fetch_curl.multi_setopt(f->multi, CURLMOPT_TIMERFUNCTION, fetch_set_pulse);
    fetch_curl.multi_setopt(f->multi, CURLMOPT_TIMERDATA, f);
    fetch_curl.multi_setopt(f->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, (long)FETCH_AT_ONCE);
    fetch_curl.multi_setopt(f->multi, CURLMOPT_MAXCONNECTS, (long)FETCH_KEPT);
    return f;
}

/* Every option may fail for want of memory; then nothing is begun. */
#define FETCH_SET(option, value)                                         \
    do {                                                                 \
        if (t->failure == CURLE_OK)                                      \
            t->failure = fetch_curl.easy_setopt(t->easy, option, value); \
    } while (0)

static void fetch_set_rules(struct fetch_transfer *t, const struct fetch_request *q)
{
    FETCH_SET(CURLOPT_URL, q->url);
    FETCH_SET(CURLOPT_PROTOCOLS_STR, q->schemes);
    FETCH_SET(CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
    FETCH_SET(CURLOPT_PATH_AS_IS, 1L);
    FETCH_SET(CURLOPT_PROXY, "");
    FETCH_SET(CURLOPT_NOPROXY, "*");
    FETCH_SET(CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    FETCH_SET(CURLOPT_FOLLOWLOCATION, 0L);
    FETCH_SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    FETCH_SET(CURLOPT_NOSIGNAL, 1L);
    FETCH_SET(CURLOPT_NOPROGRESS, 1L);
    /* a name server that does not answer must not hold the loop up when we stop waiting */
    FETCH_SET(CURLOPT_QUICK_EXIT, 1L);
    /* to the library a login is a part of connecting, and a server may take its time over it */
    FETCH_SET(CURLOPT_CONNECTTIMEOUT_MS,
              q->connect_only ? (long)q->timeout_ms : (long)FETCH_CONNECT_MS);
    FETCH_SET(CURLOPT_TIMEOUT_MS, (long)q->timeout_ms);
    FETCH_SET(CURLOPT_TCP_KEEPALIVE, 1L);
}

static void fetch_set_tls(struct fetch_transfer *t, const struct fetch_request *q)
{
    FETCH_SET(CURLOPT_SSL_VERIFYPEER, 1L);
    FETCH_SET(CURLOPT_SSL_VERIFYHOST, 2L);
    FETCH_SET(CURLOPT_SSL_SESSIONID_CACHE, 0L);
    FETCH_SET(CURLOPT_CERTINFO, 1L);
    /* the system's directory would be trusted beside a file of ours */
    FETCH_SET(CURLOPT_CAPATH, NULL);
    if (q->ca != NULL)
        FETCH_SET(CURLOPT_CAINFO, q->ca);
    FETCH_SET(CURLOPT_USE_SSL,
              (long)(q->tls == FETCH_TLS_REQUIRED ? CURLUSESSL_ALL : CURLUSESSL_NONE));
}

static void fetch_set_login(struct fetch_transfer *t, const struct fetch_request *q)
{
    if (q->user != NULL) {
        FETCH_SET(CURLOPT_USERNAME, q->user);
        FETCH_SET(CURLOPT_PASSWORD, q->password);
        FETCH_SET(CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
    }
    if (q->login_options != NULL)
        FETCH_SET(CURLOPT_LOGIN_OPTIONS, q->login_options);
    if (q->fresh) {
        FETCH_SET(CURLOPT_FRESH_CONNECT, 1L);
        FETCH_SET(CURLOPT_FORBID_REUSE, 1L);
    }
}

static void fetch_set_content(struct fetch_transfer *t, const struct fetch_request *q)
{
    for (size_t i = 0; q->headers != NULL && q->headers[i] != NULL; i++) {
        struct curl_slist *more = fetch_curl.slist_append(t->headers, q->headers[i]);
        if (more == NULL) {
            t->failure = CURLE_OUT_OF_MEMORY;
            return;
        }
        t->headers = more;
    }
    FETCH_SET(CURLOPT_HTTPHEADER, t->headers);
    if (q->body != NULL) {
        FETCH_SET(CURLOPT_POSTFIELDSIZE, (long)q->body_len);
        FETCH_SET(CURLOPT_COPYPOSTFIELDS, q->body);
    }
    FETCH_SET(CURLOPT_CONNECT_ONLY, q->connect_only ? 1L : 0L);
}

static void fetch_set_ears(struct fetch_transfer *t)
{
    FETCH_SET(CURLOPT_PRIVATE, t);
    FETCH_SET(CURLOPT_ERRORBUFFER, t->error);
    FETCH_SET(CURLOPT_HEADERFUNCTION, fetch_take_line);
    FETCH_SET(CURLOPT_HEADERDATA, t);
    FETCH_SET(CURLOPT_WRITEFUNCTION, fetch_take_body);
    FETCH_SET(CURLOPT_WRITEDATA, t);
    if (t->job->sent != NULL) {
        FETCH_SET(CURLOPT_DEBUGFUNCTION, fetch_sent);
        FETCH_SET(CURLOPT_DEBUGDATA, t);
        FETCH_SET(CURLOPT_VERBOSE, 1L);
    }
}

static void fetch_set(struct fetch_transfer *t, const struct fetch_request *q)
{
    t->easy = fetch_curl.easy_init();
    if (t->easy == NULL) {
        t->failure = CURLE_OUT_OF_MEMORY;
        return;
    }
    fetch_set_rules(t, q);
    fetch_set_tls(t, q);
    fetch_set_login(t, q);
    fetch_set_content(t, q);
    fetch_set_ears(t);
    if (t->failure == CURLE_OK && fetch_curl.multi_add(t->fetch->multi, t->easy) != CURLM_OK)
        t->failure = CURLE_OUT_OF_MEMORY;
}

/* What a certificate must name. */
static void fetch_note_host(struct fetch_transfer *t, const char *url)
{
    const char *from = strstr(url, "://");
    const bool six = from != NULL && from[3] == '[';

    if (from == NULL)
        return;
    from += six ? 4 : 3;
    snprintf(t->host, sizeof t->host, "%.*s", (int)strcspn(from, six ? "]" : ":/?#"), from);
}

void fetch_begin(struct fetch *f, struct fetch_job *job, const struct fetch_request *request)
{
    struct fetch_transfer *t = calloc(1, sizeof *t);

    job->transfer = t;
    if (t == NULL) {
        job->next = f->unbegun;
        f->unbegun = job;
        uv_timer_start(&f->late, fetch_late, 0, 0);
        return;
    }
    t->fetch = f;
    t->job = job;
    t->http = strncmp(request->schemes, "http", 4) == 0;
    t->timeout_ms = request->timeout_ms;
    fetch_note_host(t, request->url);
    t->said.max = FETCH_HEADERS_MAX;
    t->body.max = request->max;
    fetch_init_timer(f, &t->deadline, t);
    fetch_set(t, request);
    uv_update_time(f->loop);
    uv_timer_start(&t->deadline, fetch_too_late, t->failure == CURLE_OK ? t->timeout_ms : 0, 0);
}

static void fetch_forget_unbegun(struct fetch *f, const struct fetch_job *job)
{
    for (struct fetch_job **at = &f->unbegun; *at != NULL; at = &(*at)->next) {
        if (*at == job) {
            *at = job->next;
            return;
        }
    }
}

void fetch_drop(struct fetch *f, struct fetch_job *job)
{
    struct fetch_transfer *t = job->transfer;

    if (t == NULL) {
        fetch_forget_unbegun(f, job);
        return;
    }
    t->job = NULL;
    job->transfer = NULL;
    fetch_end(t);
}

static void fetch_timer_closed(uv_handle_t *h)
{
    fetch_let_go(h->data);
}

void fetch_close(struct fetch *f)
{
    f->closing = true;
    fetch_curl.multi_cleanup(f->multi);
    f->multi = NULL;
    uv_close((uv_handle_t *)&f->pulse, fetch_timer_closed);
    uv_close((uv_handle_t *)&f->late, fetch_timer_closed);
}
