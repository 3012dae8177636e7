#include "proxy/front.h"

#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proxy/crowd.h"
#include "proxy/log.h"
#include "proxy/privileges.h"
#include "proxy/worker.h"

#define MEMORY_KEPT (1024 * 1024)  /* octets free at the end of the heap */
#define DESCRIPTORS_SPARE 16       /* a connection that is turned away, a probe of the MTA */
#define DESCRIPTORS_LOOKED_AT 4096 /* a front that just started holds none above */

static uint8_t *read_whole(int fd, size_t *len)
{
    struct stat st;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size <= 0 || st.st_size > BUNDLE_MAX)
        return NULL;
    *len = (size_t)st.st_size;
    uint8_t *bytes = malloc(*len);
    size_t have = 0;
    while (bytes != NULL && have < *len) {
        ssize_t n = pread(fd, bytes + have, *len - have, (off_t)have);
        if (n <= 0) {
            free(bytes);
            return NULL;
        }
        have += (size_t)n;
    }
    return bytes;
}

static struct bundle *take_bundle(void)
{
    size_t len = 0;
    uint8_t *bytes = read_whole(FRONT_BUNDLE_FD, &len);
    struct bundle *b = bytes != NULL ? bundle_decode(bytes, len) : NULL;
    if (bytes != NULL)
        explicit_bzero(bytes, len);
    free(bytes);
    if (b != NULL)
        close(FRONT_BUNDLE_FD);
    return b;
}

static unsigned hidden_extensions(unsigned hide)
{
    static const struct {
        unsigned conf;
        unsigned extension;
    } map[] = {{CONF_HIDE_SIZE, EXTENSION_SIZE},
               {CONF_HIDE_8BITMIME, EXTENSION_8BITMIME},
               {CONF_HIDE_SMTPUTF8, EXTENSION_SMTPUTF8},
               {CONF_HIDE_DSN, EXTENSION_DSN},
               {CONF_HIDE_PIPELINING, EXTENSION_PIPELINING},
               {CONF_HIDE_ENHANCEDSTATUSCODES, EXTENSION_ENHANCEDSTATUSCODES},
               {CONF_HIDE_CHUNKING, EXTENSION_CHUNKING}};
    unsigned hidden = 0;
    for (size_t i = 0; i < sizeof map / sizeof *map; i++)
        if (hide & map[i].conf)
            hidden |= map[i].extension;
    return hidden;
}

static enum trace_mode trace_of(const struct conf *conf, const struct conf_upstream *upstream)
{
    if (!upstream->trace || conf->received == CONF_RECEIVED_NONE)
        return TRACE_NONE;
    return conf->received == CONF_RECEIVED_FULL ? TRACE_FULL : TRACE_NO_IP;
}

static enum smtp_auth_rule auth_of(enum conf_auth auth)
{
    if (auth == CONF_AUTH_REQUIRED)
        return SMTP_AUTH_REQUIRED;
    return auth == CONF_AUTH_OPTIONAL ? SMTP_AUTH_OPTIONAL : SMTP_AUTH_NONE;
}

static struct smtp_rules rules_of(const struct conf *conf, const struct conf_listener *listener)
{
    const struct conf_upstream *upstream = &conf->upstream[listener->upstream];
    return (struct smtp_rules){
        .hostname = conf->hostname,
        .starttls = listener->tls == CONF_STARTTLS,
        .tls_never = listener->tls == CONF_TLS_NONE,
        .auth = auth_of(listener->auth),
        .permit_sender = conf->policy.sender_login || conf->policy.messages.count > 0,
        .permit_recipient = conf->policy.recipients.count > 0,
        .xclient = upstream->identity == CONF_IDENTITY_XCLIENT,
        .messages_per_connection = upstream->messages_per_connection,
        .require_tls = listener->require_tls,
        .hidden = hidden_extensions(upstream->hide),
        .helo_proxy = upstream->helo == CONF_HELO_PROXY,
        .max_size = conf->max_size,
        .max_failures = conf->max_failures,
        .newline = conf->bare_newline == CONF_NORMALIZE ? DATA_NORMALIZE : DATA_REJECT,
        .trace = trace_of(conf, upstream),
    };
}

static bool open_port(struct front *f, size_t index)
{
    const struct conf_listener *listener = &f->conf->listener[index];
    struct port *p = &f->port[index];
    *p = (struct port){.conf = listener,
                       .index = (uint32_t)index,
                       .upstream = &f->conf->upstream[listener->upstream]};
    p->rules = rules_of(f->conf, listener);
    p->gate =
        (struct smtp_gate){.domains = listener->recipients.at, .count = listener->recipients.count};
    if (!listener->recipients.any)
        p->rules.gate = &p->gate;
    p->target =
        (struct upstream_target){.address = f->bundle->upstream[listener->upstream].at,
                                 .address_count = f->bundle->upstream[listener->upstream].count,
                                 .connect_timeout = p->upstream->connect_timeout};
    struct tls_settings settings = {.min_version = listener->min_version,
                                    .ciphers = f->conf->ciphers,
                                    .groups = f->conf->groups,
                                    .scope = listener->name,
                                    .certificates = f->bundle->certificate,
                                    .certificate_count = f->bundle->certificate_count,
                                    .client_ca = f->bundle->client_ca};
    char error[CERTIFICATE_ERROR_MAX];
    p->tls = tls_context_new(&settings, error);
    if (p->tls == NULL) {
        log_say(LOG_LEVEL_ERROR, "front_failed", "listener %s: %s", listener->name, error);
        return false;
    }
    tls_context_tickets(p->tls, &f->bundle->tickets);
    return true;
}

static unsigned descriptors_held(void)
{
    unsigned held = 0;
    for (int fd = 0; fd < DESCRIPTORS_LOOKED_AT; fd++)
        held += fcntl(fd, F_GETFD) >= 0;
    return held;
}

static uint64_t mta_connections(const struct conf *conf)
{
    uint64_t all = 0;
    for (size_t i = 0; i < conf->upstream_count; i++)
        all += conf->upstream[i].max_connections;
    return all;
}

/* A session holds one descriptor, and a second one while it has a connection to the MTA. Whoever is
 * inside must get that: so the crowd is turned away before descriptors are short. */
static void limit_sessions(struct front *f)
{
    struct rlimit files = {0};
    f->max_sessions = f->conf->max_sessions;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur == RLIM_INFINITY)
        return;
    uint64_t kept = descriptors_held() + (uint64_t)DESCRIPTORS_SPARE;
    uint64_t room = files.rlim_cur > kept + 2 ? files.rlim_cur - kept : 2;
    uint64_t connections = mta_connections(f->conf);
    uint64_t most = room > 2 * connections ? room - connections : room / 2;
    if (most >= f->max_sessions)
        return;
    f->max_sessions = (unsigned)most;
    log_say(LOG_LEVEL_WARNING, "max_sessions",
            "max_sessions is %u, but %llu descriptors are enough for %u sessions only; raise the "
            "hard limit (ulimit -Hn, LimitNOFILE=)",
            f->conf->max_sessions, (unsigned long long)files.rlim_cur, f->max_sessions);
}

static void *run_thread(void *worker)
{
    worker_run(worker);
    return NULL;
}

static bool start_workers(struct front *f, struct worker *workers, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (!worker_start(&workers[i], f, i, f->bundle->first_channel + (int)i))
            return false;
    worker_settle(&workers[0]);
    for (unsigned i = 0; i < count; i++) {
        workers[i].mechanisms = workers[0].mechanisms; /* the others' loops do not run yet */
        if (!worker_open_doors(&workers[i]))
            return false;
    }
    for (size_t i = 0; i < f->bundle->socket_count; i++)
        close(f->bundle->socket[i].fd); /* each worker has its duplicate */
    limit_sessions(f);
    for (unsigned i = 1; i < count; i++)
        if (pthread_create(&workers[i].thread, NULL, run_thread, &workers[i]) != 0)
            return false;
    return true;
}

static int serve(struct front *f)
{
    unsigned count = f->conf->workers;
    struct worker *workers = calloc(count, sizeof *workers);
    if (workers == NULL || !start_workers(f, workers, count)) {
        log_say(LOG_LEVEL_ERROR, "front_failed",
                "the front could not start its workers: out of memory or descriptors");
        return 1; /* the vault starts another; the process ends with its threads */
    }
    worker_run(&workers[0]);
    for (unsigned i = 1; i < count; i++)
        pthread_join(workers[i].thread, NULL);
    free(workers);
    return 0;
}

/* The vault alone decides when a front ends: a ^C at the terminal reaches both. */
static void ignore_signals(void)
{
    static const int ignored[] = {SIGPIPE, SIGINT, SIGTERM, SIGHUP, SIGQUIT};
    for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++)
        signal(ignored[i], SIG_IGN);
}

static void front_close(struct front *f)
{
    for (size_t i = 0; i < f->conf->listener_count; i++)
        tls_context_free(f->port[i].tls);
    crowd_free(f->crowd);
    pthread_mutex_destroy(&f->lock);
}

/* Buffers come and go all the time; memory that goes back to the kernel in between has to be
 * faulted in again. */
static void keep_memory(void)
{
    mallopt(M_TRIM_THRESHOLD, MEMORY_KEPT);
    mallopt(M_TOP_PAD, MEMORY_KEPT / 4);
}

int front_run(void)
{
    keep_memory();
    ignore_signals();
    prctl(PR_SET_NAME, "vestibule-front");
    struct bundle *bundle = take_bundle();
    if (bundle == NULL) {
        fputs("vestibule: the front is started by vestibule itself, not by hand\n", stderr);
        return 2;
    }
    const struct conf *conf = bundle->conf;
    log_open(bundle->log, conf->log_target == CONF_LOG_SYSLOG, (enum log_format)conf->log_format,
             (enum log_level)conf->log_level);
    if (!privileges_drop_front())
        return 1;
    struct front *f = calloc(1, sizeof *f);
    if (f == NULL)
        return 1;
    f->bundle = bundle;
    f->conf = conf;
    memcpy(f->learnt, bundle->learnt, sizeof f->learnt);
    f->learnt_version = 1;
    pthread_mutex_init(&f->lock, NULL);
    f->crowd = crowd_new(conf);
    if (f->crowd == NULL)
        return 1;
    for (size_t i = 0; i < conf->listener_count; i++)
        if (!open_port(f, i))
            return 1;
    int status = serve(f);
    if (status == 0) {
        front_close(f);
        free(f);
        bundle_free(bundle);
    }
    return status;
}
