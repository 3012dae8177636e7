#include "auth/directory.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <ldap.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "auth/peer_certificate.h"
#include "auth/wiped.h"

#define DIRECTORY_PACKAGE "libldap-2.5-0 (libldap2 in newer releases)"
#define DIRECTORY_SYSTEM_CA "/etc/ssl/certs/ca-certificates.crt"

enum { DIRECTORY_ENTRIES_MAX = 2 }; /* two are one too many, and enough to know */

#define DIRECTORY_FUNCTIONS(DO)           \
    DO(initialize, ldap_initialize)       \
    DO(set_option, ldap_set_option)       \
    DO(get_option, ldap_get_option)       \
    DO(connect, ldap_connect)             \
    DO(start_tls, ldap_start_tls_s)       \
    DO(bind, ldap_sasl_bind_s)            \
    DO(search, ldap_search_ext_s)         \
    DO(count_entries, ldap_count_entries) \
    DO(first_entry, ldap_first_entry)     \
    DO(get_dn, ldap_get_dn)               \
    DO(memfree, ldap_memfree)             \
    DO(get_values, ldap_get_values_len)   \
    DO(free_values, ldap_value_free_len)  \
    DO(msgfree, ldap_msgfree)             \
    DO(unbind, ldap_unbind_ext_s)         \
    DO(err2string, ldap_err2string)       \
    DO(ber_set_option, ber_set_option)    \
    DO(ber_free, ber_memfree)             \
    DO(sockbuf_ctrl, ber_sockbuf_ctrl)

#define DIRECTORY_FIELD(field, function) __typeof__(function) *field;
#define DIRECTORY_FIND(field, function)                                        \
    if ((*(void **)&directory_ldap.field = dlsym(library, #function)) == NULL) \
        return #function;

static struct {
    DIRECTORY_FUNCTIONS(DIRECTORY_FIELD)
} directory_ldap;

static uv_once_t directory_once = UV_ONCE_INIT, directory_warm = UV_ONCE_INIT;
static char directory_fault[DIRECTORY_ERROR_MAX];

struct directory_errand {
    struct directory_errand *next;
    struct directory *directory;
    struct directory_visit *visit; /* NULL: nobody waits */
    struct directory_server server;
    struct directory_question question;
    struct directory_answer answer;
    uv_thread_t thread;
    uv_timer_t deadline;
    bool running; /* its thread is not back */
    bool timer_closed;
    int fd;   /* of its connection; -1: none; under the directory's lock, as is `cut` */
    bool cut; /* no connection may be made any more */
};

struct directory {
    uv_loop_t *loop;
    struct directory_server server; /* its strings are ours */
    uv_async_t back;
    pthread_mutex_t lock;
    struct directory_errand *finished; /* under the lock */
    struct directory_errand *first;    /* waiting for a thread */
    struct directory_errand **last;
    size_t running;
    size_t handles;
    bool closing;
};

/* One conversation. */
struct directory_talk {
    const struct directory_server *server;
    const struct directory_question *question;
    struct directory_answer *answer;
    struct directory_errand *errand; /* NULL: nobody can cut it off */
    LDAP *ld;
    struct ldap_conncb watch;
    bool connected;
    bool open;    /* with TLS, where that is wanted */
    uint64_t end; /* uv_hrtime: then its time is over */
};

/* Loading. */

static void *directory_take(ber_len_t size, void *context)
{
    (void)context;
    return malloc(size);
}

static void *directory_take_clear(ber_len_t count, ber_len_t size, void *context)
{
    (void)context;
    return calloc(count, size);
}

static void *directory_resize(void *p, ber_len_t size, void *context)
{
    (void)context;
    return wiped_realloc(p, size);
}

static void directory_let_go(void *p, void *context)
{
    (void)context;
    wiped_free(p);
}

static const char *directory_find(void *library)
{
    DIRECTORY_FUNCTIONS(DIRECTORY_FIND)
    return NULL;
}

/* Cyrus SASL would load all its plug-ins, some of which bring OpenSSL; none is used here. */
static void directory_without_plugins(void *library)
{
    int (*set_path)(int type, char *path);
    static char nowhere[] = "/nonexistent";

    *(void **)&set_path = dlsym(library, "sasl_set_path");
    if (set_path != NULL)
        set_path(0, nowhere);
}

static void directory_open_library(void)
{
    static BerMemoryFunctions memory = {directory_take, directory_take_clear, directory_resize,
                                        directory_let_go};
    static const char *const names[] = {"libldap.so.2", "libldap-2.5.so.0"};
    void *library = NULL;
    const char *missing;

    for (size_t i = 0; i < sizeof names / sizeof names[0] && library == NULL; i++)
        library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        snprintf(
            directory_fault, sizeof directory_fault,
            "a directory needs the library libldap; install Debian's package " DIRECTORY_PACKAGE
            " (%.200s)",
            dlerror());
    } else if ((missing = directory_find(library)) != NULL) {
        snprintf(directory_fault, sizeof directory_fault,
                 "the library libldap has no %s; install Debian's package " DIRECTORY_PACKAGE,
                 missing);
    } else {
        directory_ldap.ber_set_option(NULL, LBER_OPT_MEMORY_FNS, &memory);
        directory_without_plugins(library);
    }
}

/* The library does it with its first call, but not so that two threads may make that one. It looks
 * this host's name up, so nobody should wait for it on the loop. */
static void directory_warm_up(void)
{
    LDAP *ld = NULL;

    if (directory_ldap.initialize(&ld, "ldap://127.0.0.1") == LDAP_SUCCESS)
        directory_ldap.unbind(ld, NULL, NULL);
}

bool directory_load(char error[DIRECTORY_ERROR_MAX])
{
    uv_once(&directory_once, directory_open_library);
    if (directory_fault[0] != '\0')
        snprintf(error, DIRECTORY_ERROR_MAX, "%s", directory_fault);
    return directory_fault[0] == '\0';
}

/* One conversation, in any thread. */

static void directory_wipe_question(struct directory_question *q)
{
    wiped_free(q->name);
    wiped_free(q->filter);
    wiped_free(q->password);
    memset(q, 0, sizeof *q);
}

static bool directory_fails(struct directory_talk *t, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static bool directory_fails(struct directory_talk *t, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(t->answer->error, sizeof t->answer->error, format, arguments);
    va_end(arguments);
    for (char *c = t->answer->error; *c != '\0'; c++) {
        if (*c < 0x20 || *c > 0x7e)
            *c = '?';
    }
    t->answer->outcome = DIRECTORY_FAILED;
    return false;
}

static struct timeval directory_time(uint32_t ms)
{
    return (struct timeval){.tv_sec = ms / 1000, .tv_usec = (suseconds_t)(ms % 1000) * 1000};
}

/* Half a TLS record would be waited for without end. */
static void directory_patience(int fd, uint32_t ms)
{
    const struct timeval tv = directory_time(ms);

    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof tv);
}

/* The socket is the library's and may be closed and its number given away at any time; a second
 * descriptor of it may be shut down from another thread. */
static void directory_forget_socket(struct directory_errand *e)
{
    if (e->fd >= 0)
        close(e->fd);
    e->fd = -1;
}

static int directory_connected(LDAP *ld, Sockbuf *sb, LDAPURLDesc *url, struct sockaddr *address,
                               struct ldap_conncb *watch)
{
    (void)ld, (void)url, (void)address;
    struct directory_talk *t = watch->lc_arg;
    struct directory_errand *e = t->errand;
    ber_socket_t fd = -1;
    bool cut = false;

    directory_ldap.sockbuf_ctrl(sb, LBER_SB_OPT_GET_FD, &fd);
    if (fd < 0)
        return -1;
    directory_patience(fd, t->server->timeout_ms);
    t->connected = true;
    if (e != NULL) {
        pthread_mutex_lock(&e->directory->lock);
        directory_forget_socket(e);
        e->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
        cut = e->cut;
        pthread_mutex_unlock(&e->directory->lock);
    }
    return cut ? -1 : 0;
}

static void directory_disconnected(LDAP *ld, Sockbuf *sb, struct ldap_conncb *watch)
{
    (void)ld, (void)sb, (void)watch;
}

static void directory_set(struct directory_talk *t, int option, int value)
{
    directory_ldap.set_option(t->ld, option, &value);
}

/* Everything that a file of the system or the environment could have said otherwise. */
static bool directory_rules(struct directory_talk *t)
{
    const struct timeval connect = directory_time(DIRECTORY_CONNECT_MS);
    const struct timeval reply = directory_time(t->server->timeout_ms);

    directory_set(t, LDAP_OPT_PROTOCOL_VERSION, LDAP_VERSION3);
    directory_set(t, LDAP_OPT_DEREF, LDAP_DEREF_NEVER);
    directory_ldap.set_option(t->ld, LDAP_OPT_REFERRALS, LDAP_OPT_OFF);
    directory_ldap.set_option(t->ld, LDAP_OPT_RESTART, t); /* anything but NULL */
    directory_ldap.set_option(t->ld, LDAP_OPT_NETWORK_TIMEOUT, &connect);
    directory_ldap.set_option(t->ld, LDAP_OPT_TIMEOUT, &reply);
    t->watch = (struct ldap_conncb){
        .lc_add = directory_connected, .lc_del = directory_disconnected, .lc_arg = t};
    return directory_ldap.set_option(t->ld, LDAP_OPT_CONNECT_CB, &t->watch) == LDAP_OPT_SUCCESS;
}

static bool directory_tls_rules(struct directory_talk *t, int demand)
{
    const char *ca = t->server->ca != NULL ? t->server->ca : DIRECTORY_SYSTEM_CA;
    static const int nothing[] = {LDAP_OPT_X_TLS_CACERTDIR, LDAP_OPT_X_TLS_CERTFILE,
                                  LDAP_OPT_X_TLS_KEYFILE, LDAP_OPT_X_TLS_CRLFILE};
    int server = 0;

    if (!t->server->tls)
        return true;
    for (size_t i = 0; i < sizeof nothing / sizeof nothing[0]; i++)
        directory_ldap.set_option(t->ld, nothing[i], NULL);
    directory_set(t, LDAP_OPT_X_TLS_REQUIRE_CERT, demand);
    if (directory_ldap.set_option(t->ld, LDAP_OPT_X_TLS_CACERTFILE, ca) == LDAP_OPT_SUCCESS &&
        directory_ldap.set_option(t->ld, LDAP_OPT_X_TLS_NEWCTX, &server) == LDAP_OPT_SUCCESS)
        return true;
    return directory_fails(t, "the authorities in %.200s cannot be read; see [auth] ca", ca);
}

static void directory_hang_up(struct directory_talk *t)
{
    if (t->ld != NULL)
        directory_ldap.unbind(t->ld, NULL, NULL);
    t->ld = NULL;
    if (t->errand == NULL)
        return;
    pthread_mutex_lock(&t->errand->directory->lock);
    directory_forget_socket(t->errand);
    pthread_mutex_unlock(&t->errand->directory->lock);
}

static bool directory_prepare(struct directory_talk *t, int demand)
{
    t->connected = false;
    if (directory_ldap.initialize(&t->ld, t->server->url) != LDAP_SUCCESS)
        return directory_fails(t, "the address cannot be used");
    return directory_rules(t) && directory_tls_rules(t, demand);
}

static int directory_secure(struct directory_talk *t)
{
    const int rc = directory_ldap.connect(t->ld);

    return rc == LDAP_SUCCESS && t->server->start_tls ? directory_ldap.start_tls(t->ld, NULL, NULL)
                                                      : rc;
}

static int directory_bind(struct directory_talk *t, const char *name, const char *password)
{
    struct berval secret = {.bv_val = (char *)(uintptr_t)password, .bv_len = strlen(password)};

    return directory_ldap.bind(t->ld, name, LDAP_SASL_SIMPLE, &secret, NULL, NULL, NULL);
}

static bool directory_certificate(struct directory_talk *t, struct berval *der)
{
    return t->ld != NULL && t->server->tls &&
           directory_ldap.get_option(t->ld, LDAP_OPT_X_TLS_PEERCERT, der) == LDAP_OPT_SUCCESS &&
           der->bv_val != NULL;
}

/* Even a farewell would be something said. */
static void directory_silence(struct directory_talk *t)
{
    int fd = -1;

    if (directory_ldap.get_option(t->ld, LDAP_OPT_DESC, &fd) == LDAP_OPT_SUCCESS && fd >= 0)
        shutdown(fd, SHUT_RDWR);
}

/* The library does not tell what it has against a certificate. So it is looked at again, without
 * saying anything to whoever shows it. */
static bool directory_tls_fault(struct directory_talk *t)
{
    char fault[PEER_CERTIFICATE_FAULT_MAX] = "the TLS handshake failed";
    struct berval der = {.bv_len = 0};

    directory_hang_up(t);
    if (!directory_prepare(t, LDAP_OPT_X_TLS_NEVER))
        return false;
    if (directory_secure(t) == LDAP_SUCCESS && directory_certificate(t, &der)) {
        peer_certificate_fault(fault, (const uint8_t *)der.bv_val, der.bv_len, t->server->host,
                               time(NULL));
        directory_ldap.ber_free(der.bv_val);
    }
    directory_silence(t);
    return directory_fails(t, "%s", fault);
}

/* `rc` is what the first thing that was said came to: of the network alone, or of the server. */
static bool directory_reached(struct directory_talk *t, int rc)
{
    if (rc != LDAP_SERVER_DOWN && rc != LDAP_CONNECT_ERROR && rc != LDAP_TIMEOUT)
        return true;
    if (!t->connected)
        return directory_fails(t, "it cannot be reached: is it running there?");
    if (rc == LDAP_TIMEOUT || uv_hrtime() >= t->end)
        return directory_fails(t, "it gave no answer within %u seconds",
                               (unsigned)(t->server->timeout_ms / 1000));
    if (t->server->tls && !t->open)
        return directory_tls_fault(t);
    return directory_fails(t, "it closed the connection without an answer");
}

static bool directory_open(struct directory_talk *t)
{
    int rc;

    if (!directory_prepare(t, LDAP_OPT_X_TLS_DEMAND))
        return false;
    rc = directory_secure(t);
    if (!directory_reached(t, rc))
        return false;
    if (rc != LDAP_SUCCESS)
        return directory_fails(t, "it does not offer TLS (StartTLS: %s), which is needed here",
                               directory_ldap.err2string(rc));
    t->open = true;
    return true;
}

static void directory_note_until(struct directory_talk *t)
{
    struct berval der = {.bv_len = 0};

    if (!directory_certificate(t, &der))
        return;
    peer_certificate_until(t->answer->until, (const uint8_t *)der.bv_val, der.bv_len);
    directory_ldap.ber_free(der.bv_val);
}

/* Who searches. Without a name it is nobody, which is said too: it shows that the server answers.
 */
static bool directory_enter(struct directory_talk *t)
{
    const struct directory_server *s = t->server;
    int rc;

    rc = directory_bind(t, s->bind_dn != NULL ? s->bind_dn : "",
                        s->bind_dn != NULL ? s->bind_password : "");
    if (!directory_reached(t, rc))
        return false;
    directory_note_until(t);
    if (rc == LDAP_SUCCESS)
        return true;
    return directory_fails(t, "it does not let %.200s in (%s)%s",
                           s->bind_dn != NULL ? s->bind_dn : "an anonymous search",
                           directory_ldap.err2string(rc),
                           s->bind_dn != NULL ? "; see ldap_bind_dn and ldap_bind_password_file"
                                              : "; set ldap_bind_dn");
}

static void directory_note_login(struct directory_talk *t, LDAPMessage *entry)
{
    struct berval **values = directory_ldap.get_values(t->ld, entry, t->question->attribute);

    if (values != NULL && values[0] != NULL && values[1] == NULL &&
        sasl_login_fits(values[0]->bv_val, values[0]->bv_len)) {
        memcpy(t->answer->login, values[0]->bv_val, values[0]->bv_len);
        t->answer->login[values[0]->bv_len] = '\0';
    }
    directory_ldap.free_values(values);
}

/* Exactly one entry, or it is nobody. */
static char *directory_one(struct directory_talk *t, LDAPMessage *found, int rc)
{
    const int count = found != NULL ? directory_ldap.count_entries(t->ld, found) : 0;
    LDAPMessage *entry;

    if (rc == LDAP_NO_SUCH_OBJECT && t->question->base_may_lack) {
        t->answer->outcome = DIRECTORY_REJECTED;
    } else if (rc == LDAP_SIZELIMIT_EXCEEDED || count > 1) {
        directory_fails(t,
                        "more than one entry answers to this login (%.200s); make the filter "
                        "stricter",
                        t->question->filter);
    } else if (rc != LDAP_SUCCESS) {
        directory_fails(t, "the search below %.200s failed (%s)", t->question->name,
                        directory_ldap.err2string(rc));
    } else if ((entry = directory_ldap.first_entry(t->ld, found)) == NULL) {
        t->answer->outcome = DIRECTORY_REJECTED;
    } else {
        directory_note_login(t, entry);
        return directory_ldap.get_dn(t->ld, entry);
    }
    return NULL;
}

static char *directory_search(struct directory_talk *t)
{
    static const int scopes[] = {LDAP_SCOPE_BASE, LDAP_SCOPE_ONELEVEL, LDAP_SCOPE_SUBTREE};
    struct timeval time = directory_time(t->server->timeout_ms);
    char *attributes[] = {(char *)(uintptr_t)t->question->attribute, NULL};
    LDAPMessage *found = NULL;
    char *name;
    int rc;

    rc = directory_ldap.search(t->ld, t->question->name, scopes[t->question->scope],
                               t->question->filter, attributes, 0, NULL, NULL, &time,
                               DIRECTORY_ENTRIES_MAX, &found);
    name = directory_one(t, found, rc);
    if (found != NULL)
        directory_ldap.msgfree(found);
    return name;
}

static void directory_try(struct directory_talk *t, const char *name)
{
    const char *password = t->question->password;
    int rc;

    /* RFC 4513 5.1.1 and 5.1.2: without a name or a password everybody is let in, as nobody */
    if (name[0] == '\0' || password[0] == '\0') {
        t->answer->outcome = DIRECTORY_REJECTED;
        return;
    }
    rc = directory_bind(t, name, password);
    if (!directory_reached(t, rc))
        return;
    if (rc == LDAP_SUCCESS)
        t->answer->outcome = DIRECTORY_ACCEPTED;
    else if (rc == LDAP_INVALID_CREDENTIALS || rc == LDAP_INAPPROPRIATE_AUTH ||
             rc == LDAP_NO_SUCH_OBJECT)
        t->answer->outcome = DIRECTORY_REJECTED;
    else
        directory_fails(t, "it can neither take nor refuse the login (%s)",
                        directory_ldap.err2string(rc));
}

/* Is it there? Whether nobody may log in is its own affair. */
static void directory_look(struct directory_talk *t)
{
    if (!directory_reached(t, directory_bind(t, "", "")))
        return;
    directory_note_until(t);
    t->answer->outcome = DIRECTORY_REJECTED;
}

static void directory_run(struct directory_talk *t)
{
    const struct directory_question *q = t->question;
    char *found;

    if (!directory_open(t))
        return;
    if (q->filter == NULL && q->password != NULL) {
        directory_try(t, q->name);
        return;
    }
    if (q->filter == NULL) {
        directory_look(t);
        return;
    }
    if (!directory_enter(t))
        return;
    found = directory_search(t);
    if (found != NULL && q->password != NULL)
        directory_try(t, found);
    else if (found != NULL)
        t->answer->outcome = DIRECTORY_REJECTED;
    directory_ldap.memfree(found);
}

static void directory_speak(struct directory_answer *out, const struct directory_server *server,
                            const struct directory_question *q, struct directory_errand *e)
{
    struct directory_talk t = {.server = server,
                               .question = q,
                               .answer = out,
                               .errand = e,
                               .end = uv_hrtime() + server->timeout_ms * UINT64_C(1000000)};

    uv_once(&directory_warm, directory_warm_up);
    *out = (struct directory_answer){.outcome = DIRECTORY_FAILED, .error = "out of memory"};
    directory_run(&t);
    directory_hang_up(&t);
}

void directory_ask(struct directory_answer *out, const struct directory_server *server,
                   struct directory_question *q)
{
    directory_speak(out, server, q, NULL);
    directory_wipe_question(q);
}

/* Many of them, on the loop. */

static void directory_free_server(struct directory_server *s)
{
    free((char *)(uintptr_t)s->url);
    free((char *)(uintptr_t)s->host);
    free((char *)(uintptr_t)s->ca);
    free((char *)(uintptr_t)s->bind_dn);
    wiped_free((char *)(uintptr_t)s->bind_password);
}

static bool directory_copy(const char **to, const char *from)
{
    *to = from != NULL ? strdup(from) : NULL;
    return from == NULL || *to != NULL;
}

static bool directory_copy_server(struct directory_server *to, const struct directory_server *from)
{
    bool whole;

    *to = *from;
    whole = directory_copy(&to->url, from->url);
    whole = directory_copy(&to->host, from->host) && whole;
    whole = directory_copy(&to->ca, from->ca) && whole;
    whole = directory_copy(&to->bind_dn, from->bind_dn) && whole;
    whole = directory_copy(&to->bind_password, from->bind_password) && whole;
    if (!whole)
        directory_free_server(to);
    return whole;
}

static void directory_free(struct directory *d)
{
    directory_free_server(&d->server);
    pthread_mutex_destroy(&d->lock);
    free(d);
}

static void directory_unhandle(struct directory *d)
{
    if (--d->handles == 0)
        directory_free(d);
}

static void directory_back_closed(uv_handle_t *h)
{
    directory_unhandle(h->data);
}

static void directory_end_if_over(struct directory *d)
{
    if (d->closing && d->running == 0 && !uv_is_closing((uv_handle_t *)&d->back))
        uv_close((uv_handle_t *)&d->back, directory_back_closed);
}

static void directory_free_errand(struct directory_errand *e)
{
    struct directory *d = e->directory;

    if (e->running || !e->timer_closed)
        return;
    directory_wipe_question(&e->question);
    directory_free_server(&e->server);
    free(e);
    directory_unhandle(d);
}

static void directory_timer_closed(uv_handle_t *h)
{
    struct directory_errand *e = h->data;

    e->timer_closed = true;
    directory_free_errand(e);
}

/* Wakes its thread, wherever it waits. */
static void directory_cut(struct directory_errand *e)
{
    pthread_mutex_lock(&e->directory->lock);
    e->cut = true;
    if (e->fd >= 0)
        shutdown(e->fd, SHUT_RDWR);
    pthread_mutex_unlock(&e->directory->lock);
}

static void directory_unqueue(struct directory_errand *e)
{
    struct directory *d = e->directory;

    for (struct directory_errand **at = &d->first; *at != NULL; at = &(*at)->next) {
        if (*at != e)
            continue;
        *at = e->next;
        if (d->last == &e->next)
            d->last = at;
        return;
    }
}

static void directory_abandon(struct directory_errand *e)
{
    e->visit->errand = NULL;
    e->visit = NULL;
    if (e->running)
        directory_cut(e);
    else
        directory_unqueue(e);
    uv_close((uv_handle_t *)&e->deadline, directory_timer_closed);
}

static void directory_too_late(uv_timer_t *timer)
{
    struct directory_errand *e = timer->data;
    struct directory_visit *v = e->visit;
    struct directory_answer late = {.outcome = DIRECTORY_FAILED};

    snprintf(late.error, sizeof late.error, "it gave no answer within %u seconds",
             (unsigned)(e->server.timeout_ms / 1000));
    directory_abandon(e);
    v->done(v, &late);
}

static void directory_finish(struct directory_errand *e)
{
    struct directory *d = e->directory;

    pthread_mutex_lock(&d->lock);
    e->next = d->finished;
    d->finished = e;
    pthread_mutex_unlock(&d->lock);
    uv_async_send(&d->back);
}

static void directory_thread(void *errand)
{
    struct directory_errand *e = errand;

    directory_speak(&e->answer, &e->server, &e->question, e);
    directory_finish(e);
}

static void directory_start_waiting(struct directory *d)
{
    while (d->first != NULL && d->running < DIRECTORY_AT_ONCE) {
        struct directory_errand *e = d->first;
        directory_unqueue(e);
        d->running++;
        e->running = true;
        if (uv_thread_create(&e->thread, directory_thread, e) == 0)
            continue;
        e->thread = 0;
        e->answer = (struct directory_answer){.outcome = DIRECTORY_FAILED,
                                              .error = "no thread can be started"};
        directory_finish(e);
    }
}

static void directory_welcome(struct directory_errand *e)
{
    struct directory_visit *v = e->visit;

    if (e->thread != 0)
        uv_thread_join(&e->thread);
    e->directory->running--;
    e->running = false;
    if (v == NULL) {
        directory_free_errand(e);
        return;
    }
    v->errand = NULL;
    uv_close((uv_handle_t *)&e->deadline, directory_timer_closed);
    v->done(v, &e->answer);
}

static void directory_back(uv_async_t *async)
{
    struct directory *d = async->data;
    struct directory_errand *e, *next;

    pthread_mutex_lock(&d->lock);
    e = d->finished;
    d->finished = NULL;
    pthread_mutex_unlock(&d->lock);
    for (; e != NULL; e = next) {
        next = e->next;
        directory_welcome(e);
    }
    directory_start_waiting(d);
    directory_end_if_over(d);
}

struct directory *directory_new(uv_loop_t *loop, const struct directory_server *server)
{
    struct directory *d = calloc(1, sizeof *d);

    if (d == NULL || !directory_copy_server(&d->server, server)) {
        free(d);
        return NULL;
    }
    if (pthread_mutex_init(&d->lock, NULL) != 0 ||
        uv_async_init(loop, &d->back, directory_back) != 0) {
        directory_free_server(&d->server);
        free(d);
        return NULL;
    }
    d->loop = loop;
    d->back.data = d;
    d->handles = 1;
    d->last = &d->first;
    return d;
}

bool directory_begin(struct directory *d, struct directory_visit *v, struct directory_question *q)
{
    struct directory_errand *e = calloc(1, sizeof *e);

    if (e == NULL || !directory_copy_server(&e->server, &d->server)) {
        free(e);
        directory_wipe_question(q);
        return false;
    }
    e->directory = d;
    e->visit = v;
    e->fd = -1;
    e->question = *q;
    memset(q, 0, sizeof *q);
    v->errand = e;
    uv_timer_init(d->loop, &e->deadline);
    e->deadline.data = e;
    d->handles++;
    uv_update_time(d->loop);
    uv_timer_start(&e->deadline, directory_too_late, e->server.timeout_ms, 0);
    *d->last = e;
    d->last = &e->next;
    directory_start_waiting(d);
    return true;
}

void directory_drop(struct directory *d, struct directory_visit *v)
{
    (void)d;
    if (v->errand != NULL)
        directory_abandon(v->errand);
}

bool directory_set_password(struct directory *d, const char *password)
{
    char *copy = strdup(password);

    if (copy == NULL)
        return false;
    wiped_free((char *)(uintptr_t)d->server.bind_password);
    d->server.bind_password = copy;
    return true;
}

void directory_close(struct directory *d)
{
    d->closing = true;
    directory_end_if_over(d);
}
