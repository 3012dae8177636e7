#include "auth/directory.h"

#include <dlfcn.h>
#include <ldap.h>
#include <openldap.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "auth/dial.h"
#include "auth/wiped.h"

#define DIRECTORY_PACKAGE "libldap-2.5-0 (libldap2 in newer releases)"
/* Where no server is; the library wants to hear something. */
#define DIRECTORY_NOWHERE "ldap://127.0.0.1:1"
#define DIRECTORY_SYSTEM_CA "/etc/ssl/certs/ca-certificates.crt"

enum { DIRECTORY_ENTRIES_MAX = 2 }; /* two are one too many, and enough to know */

#define DIRECTORY_FUNCTIONS(DO)             \
    DO(initialize, ldap_initialize)         \
    DO(init_fd, ldap_init_fd)               \
    DO(set_option, ldap_set_option)         \
    DO(get_option, ldap_get_option)         \
    DO(extended, ldap_extended_operation_s) \
    DO(bind, ldap_sasl_bind_s)              \
    DO(search, ldap_search_ext_s)           \
    DO(count_entries, ldap_count_entries)   \
    DO(first_entry, ldap_first_entry)       \
    DO(get_dn, ldap_get_dn)                 \
    DO(memfree, ldap_memfree)               \
    DO(get_values, ldap_get_values_len)     \
    DO(free_values, ldap_value_free_len)    \
    DO(msgfree, ldap_msgfree)               \
    DO(unbind, ldap_unbind_ext_s)           \
    DO(err2string, ldap_err2string)         \
    DO(ber_set_option, ber_set_option)      \
    DO(berfree, ber_bvfree)                 \
    DO(add_io, ber_sockbuf_add_io)

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
    int fd;                          /* ld's, once that is there; -1: none */
    struct dial tls;
    LDAP *ld;
    struct ldap_conncb no_other;
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

/* Another thread may cut the connection while this one waits on it. False: it has been. */
static bool directory_show_socket(struct directory_talk *t, int fd)
{
    struct directory_errand *e = t->errand;
    bool cut;

    if (e == NULL)
        return true;
    pthread_mutex_lock(&e->directory->lock);
    e->fd = fd;
    cut = e->cut;
    pthread_mutex_unlock(&e->directory->lock);
    return !cut;
}

static bool directory_dial(struct directory_talk *t)
{
    const struct directory_server *s = t->server;

    t->fd = dial_connect(s->host, s->port, DIRECTORY_CONNECT_MS, s->timeout_ms, t->answer->error);
    return t->fd >= 0 && directory_show_socket(t, t->fd);
}

/* The library's own TLS may be OpenSSL's (Debian 13), which would take BoringSSL's functions for
 * its own. So it speaks through ours. */
static int directory_io_setup(Sockbuf_IO_Desc *io, void *dial)
{
    io->sbiod_pvt = dial;
    return 0;
}

static int directory_io_remove(Sockbuf_IO_Desc *io)
{
    io->sbiod_pvt = NULL;
    return 0;
}

static int directory_io_ctrl(Sockbuf_IO_Desc *io, int option, void *value)
{
    (void)value;
    return option == LBER_SB_OPT_DATA_READY && dial_pending(io->sbiod_pvt) ? 1 : 0;
}

static ber_slen_t directory_io_read(Sockbuf_IO_Desc *io, void *octets, ber_len_t len)
{
    return dial_read(io->sbiod_pvt, octets, len);
}

static ber_slen_t directory_io_write(Sockbuf_IO_Desc *io, void *octets, ber_len_t len)
{
    return dial_write(io->sbiod_pvt, octets, len);
}

static int directory_io_close(Sockbuf_IO_Desc *io)
{
    (void)io;
    return 0;
}

static bool directory_secure(struct directory_talk *t)
{
    const struct directory_server *s = t->server;

    return dial_secure(&t->tls, t->fd, s->host, s->ca != NULL ? s->ca : DIRECTORY_SYSTEM_CA,
                       t->answer->until, t->answer->error);
}

static bool directory_speak_through(struct directory_talk *t)
{
    static Sockbuf_IO io = {directory_io_setup, directory_io_remove, directory_io_ctrl,
                            directory_io_read,  directory_io_write,  directory_io_close};
    Sockbuf *sb = NULL;

    return directory_ldap.get_option(t->ld, LDAP_OPT_SOCKBUF, &sb) == LDAP_OPT_SUCCESS &&
           directory_ldap.add_io(sb, &io, LBER_SBIOD_LEVEL_TRANSPORT, &t->tls) == 0;
}

/* Where the connection is lost the library would make a new one, without TLS. */
static int directory_no_other(LDAP *ld, Sockbuf *sb, LDAPURLDesc *url, struct sockaddr *address,
                              struct ldap_conncb *callback)
{
    (void)ld, (void)sb, (void)url, (void)address, (void)callback;
    return -1;
}

static void directory_never_mind(LDAP *ld, Sockbuf *sb, struct ldap_conncb *callback)
{
    (void)ld, (void)sb, (void)callback;
}

/* Everything that a file of the system or the environment could have said otherwise. */
static bool directory_rules(struct directory_talk *t)
{
    const struct timeval reply = directory_time(t->server->timeout_ms);
    const int version = LDAP_VERSION3, deref = LDAP_DEREF_NEVER;

    t->no_other =
        (struct ldap_conncb){.lc_add = directory_no_other, .lc_del = directory_never_mind};
    directory_ldap.set_option(t->ld, LDAP_OPT_DEREF, &deref);
    directory_ldap.set_option(t->ld, LDAP_OPT_RESTART, t); /* anything but NULL */
    directory_ldap.set_option(t->ld, LDAP_OPT_TIMEOUT, &reply);
    return directory_ldap.set_option(t->ld, LDAP_OPT_PROTOCOL_VERSION, &version) ==
               LDAP_OPT_SUCCESS &&
           directory_ldap.set_option(t->ld, LDAP_OPT_REFERRALS, LDAP_OPT_OFF) == LDAP_OPT_SUCCESS &&
           directory_ldap.set_option(t->ld, LDAP_OPT_CONNECT_CB, &t->no_other) == LDAP_OPT_SUCCESS;
}

static bool directory_begin_ldap(struct directory_talk *t)
{
    if (directory_ldap.init_fd(t->fd, LDAP_PROTO_TCP, DIRECTORY_NOWHERE, &t->ld) != LDAP_SUCCESS) {
        t->ld = NULL;
        return directory_fails(t, "out of memory");
    }
    return directory_rules(t) || directory_fails(t, "the library libldap takes no orders");
}

static void directory_hang_up(struct directory_talk *t)
{
    directory_show_socket(t, -1);
    if (!t->open && t->fd >= 0)
        shutdown(t->fd, SHUT_RDWR); /* whoever is not trusted hears no farewell */
    if (t->ld != NULL)
        directory_ldap.unbind(t->ld, NULL, NULL);
    else if (t->fd >= 0)
        close(t->fd);
    dial_free(&t->tls);
}

static int directory_bind(struct directory_talk *t, const char *name, const char *password)
{
    struct berval secret = {.bv_val = (char *)(uintptr_t)password, .bv_len = strlen(password)};

    return directory_ldap.bind(t->ld, name, LDAP_SASL_SIMPLE, &secret, NULL, NULL, NULL);
}

/* `rc` may be of the network alone, or the server's. */
static bool directory_reached(struct directory_talk *t, int rc)
{
    if (rc != LDAP_SERVER_DOWN && rc != LDAP_CONNECT_ERROR && rc != LDAP_TIMEOUT)
        return true;
    if (rc == LDAP_TIMEOUT || uv_hrtime() >= t->end)
        return directory_fails(t, "it gave no answer within %u seconds",
                               (unsigned)(t->server->timeout_ms / 1000));
    return directory_fails(t, "it closed the connection without an answer that makes sense");
}

/* RFC 4511 4.14 */
static bool directory_start_tls(struct directory_talk *t)
{
    char *name = NULL;
    struct berval *value = NULL;
    const int rc =
        directory_ldap.extended(t->ld, LDAP_EXOP_START_TLS, NULL, NULL, NULL, &name, &value);

    directory_ldap.memfree(name);
    directory_ldap.berfree(value);
    if (!directory_reached(t, rc))
        return false;
    return rc == LDAP_SUCCESS ||
           directory_fails(t, "it does not offer TLS (StartTLS: %s), which is needed here",
                           directory_ldap.err2string(rc));
}

static bool directory_open(struct directory_talk *t)
{
    const bool tls = t->server->tls, later = t->server->start_tls;

    t->open = directory_dial(t) && (!tls || later || directory_secure(t)) &&
              directory_begin_ldap(t) &&
              (!later || (directory_start_tls(t) && directory_secure(t))) &&
              (!tls || directory_speak_through(t));
    return t->open;
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
                               .fd = -1,
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
    whole = directory_copy(&to->host, from->host);
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
