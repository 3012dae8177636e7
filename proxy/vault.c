#include "proxy/vault.h"

#include <errno.h>
#include <openssl/mem.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "proxy/edition.h"
#include "proxy/judge.h"
#include "proxy/learnt.h"
#include "proxy/lender.h"
#include "proxy/listen.h"
#include "proxy/log.h"
#include "proxy/permit.h"
#include "proxy/privileges.h"
#include "proxy/sign.h"
#include "proxy/spawn.h"

#define BACKOFF_FIRST_MS 100
#define BACKOFF_MAX_MS 10000
#define HEALTHY_MS 60000   /* a front that lived so long starts the back-off anew */
#define KILL_GRACE_MS 5000 /* behind drain_timeout, before a front that does not end is killed */
#define LOOK_MS 1000       /* for files and servers that changed */
#define FRONTS_MAX 64      /* draining ones included: a reload waits when there are more */

enum vault_state { VAULT_STARTING, VAULT_SERVING, VAULT_STOPPING };

struct vault {
    uv_loop_t loop;
    const char *conf_path;
    enum vault_state state;
    int status; /* exit status */
    int log_fd;
    struct edition *edition;   /* in force */
    struct listen_set sockets; /* in force */
    struct spawn *current;     /* NULL: it died and the next waits for its back-off */
    struct spawn *coming;      /* a reload's, until it accepts */
    struct edition *coming_edition;
    struct listen_set coming_sockets;
    bool reload_again; /* SIGHUP came while one was under way */
    size_t fronts;     /* processes alive */
    struct spawn *all[FRONTS_MAX];
    struct ticket_keys tickets;
    struct signer signer;
    struct judge *judge;
    struct lender *lender;
    struct permits *permits;
    uint64_t backoff;
    uint64_t serving_since;
    uv_timer_t restart;
    uv_timer_t rotate;
    uv_timer_t kill;
    uv_timer_t look;
    unsigned offered; /* to clients, when that was looked at last */
    const struct spawn *offered_to;
    uv_signal_t signals[4];
};

/* --- fronts
 * ----------------------------------------------------------------------------------------------------
 */

static void on_ready(void *owner, struct spawn *s);
static void on_question(void *owner, struct spawn *s, struct link *l,
                        const struct channel_frame *frame);
static void on_link_gone(void *owner, struct link *l);
static void on_gone(void *owner, struct spawn *s, int64_t status, int signal);

static struct spawn *start_front(struct vault *v, struct edition *e,
                                 const struct listen_set *sockets)
{
    static const struct spawn_events events = {
        .ready = on_ready, .question = on_question, .link_gone = on_link_gone, .gone = on_gone};
    char error[SPAWN_ERROR_MAX] = "too many fronts are draining; try again later";
    struct spawn *s = NULL;
    if (v->fronts < FRONTS_MAX)
        s = spawn_start(&v->loop, e, sockets, &v->tickets, v->log_fd, &events, v, error);
    if (s == NULL)
        log_say(LOG_LEVEL_ERROR, "front_failed", "%s", error);
    else
        v->all[v->fronts++] = s;
    if (s != NULL)
        spawn_mechanisms(s, judge_mechanisms(e));
    return s;
}

static void forget_front(struct vault *v, const struct spawn *s)
{
    for (size_t i = 0; i < v->fronts; i++)
        if (v->all[i] == s) {
            v->all[i] = v->all[--v->fronts];
            return;
        }
}

static void each_front(struct vault *v, void (*act)(struct spawn *s))
{
    for (size_t i = 0; i < v->fronts; i++)
        act(v->all[i]);
}

static void keep_learnt(struct edition *e, const struct channel_frame *frame)
{
    size_t index = frame->as.learnt.upstream;
    if (index >= e->conf->upstream_count)
        return;
    const struct conf_upstream *upstream = &e->conf->upstream[index];
    e->learnt[index] = (struct capabilities){
        .known = true, .extensions = frame->as.learnt.extensions, .size = frame->as.learnt.size};
    if (!learnt_save(e->conf->state_dir, upstream, &e->learnt[index]))
        log_say(LOG_LEVEL_INFO, "state_dir",
                "what the MTA of upstream %s offers cannot be kept in %s: %s", upstream->name,
                e->conf->state_dir, strerror(errno));
}

static void give_permission(struct vault *v, struct link *l, struct edition *e,
                            const struct channel_frame *frame)
{
    enum channel_permission permission = permits_judge(v->permits, e, frame, uv_now(&v->loop));
    link_send(l,
              &(struct channel_frame){
                  .type = CHANNEL_PERMITTED, .number = frame->number, .as.permission = permission});
}

static void on_question(void *owner, struct spawn *s, struct link *l,
                        const struct channel_frame *frame)
{
    struct vault *v = owner;
    switch (frame->type) {
    case CHANNEL_LEARNT:
        keep_learnt(spawn_edition(s), frame);
        break;
    case CHANNEL_PERMIT:
        give_permission(v, l, spawn_edition(s), frame);
        break;
    case CHANNEL_LEASE:
    case CHANNEL_RETURN:
        lender_take(v->lender, l, spawn_edition(s)->conf, frame);
        break;
    case CHANNEL_SIGN:
        signer_take(&v->signer, l, spawn_edition(s), frame);
        break;
    default:
        judge_take(v->judge, l, spawn_edition(s), frame);
        break;
    }
}

static void on_link_gone(void *owner, struct link *l)
{
    struct vault *v = owner;
    lender_link_gone(v->lender, l);
    judge_link_gone(v->judge, l);
}

static void vault_reload(struct vault *v);

/* The reload's front accepts: from here on it is the front. */
static void take_over(struct vault *v)
{
    if (v->current != NULL)
        spawn_drain(v->current);
    uv_timer_stop(&v->restart);
    listen_close_others(&v->sockets, &v->coming_sockets);
    edition_release(v->edition);
    v->current = v->coming;
    v->edition = v->coming_edition;
    v->sockets = v->coming_sockets;
    v->coming = NULL;
    v->coming_edition = NULL;
    judge_measure(v->judge, v->edition->conf);
    lender_measure(v->lender, v->edition->conf);
    permits_measure(v->permits, &v->edition->conf->policy);
    log_open(v->log_fd, v->edition->conf->log_target == CONF_LOG_SYSLOG,
             (enum log_format)v->edition->conf->log_format,
             (enum log_level)v->edition->conf->log_level);
    log_say(LOG_LEVEL_INFO, "reloaded", "the new configuration is in force; the old front drains");
    if (v->reload_again)
        vault_reload(v);
}

static void on_ready(void *owner, struct spawn *s)
{
    struct vault *v = owner;
    if (s == v->coming) {
        take_over(v);
    } else if (s == v->current && v->state == VAULT_STARTING) {
        v->state = VAULT_SERVING;
        log_say(LOG_LEVEL_INFO, "ready", "vestibule %s accepts connections", VESTIBULE_VERSION);
        if (v->reload_again)
            vault_reload(v);
    }
    v->serving_since = uv_now(&v->loop);
}

static void on_restart(uv_timer_t *restart)
{
    struct vault *v = restart->data;
    v->current = start_front(v, v->edition, &v->sockets);
    if (v->current == NULL)
        uv_timer_start(&v->restart, on_restart, BACKOFF_MAX_MS, 0);
}

/* At once the first time, then later and later: a front that dies of its input must not burn the
 * host. */
static void restart_later(struct vault *v)
{
    if (uv_now(&v->loop) - v->serving_since > HEALTHY_MS)
        v->backoff = 0;
    uv_timer_start(&v->restart, on_restart, v->backoff, 0);
    v->backoff = v->backoff == 0 ? BACKOFF_FIRST_MS : v->backoff * 2;
    if (v->backoff > BACKOFF_MAX_MS)
        v->backoff = BACKOFF_MAX_MS;
}

static void abandon_reload(struct vault *v)
{
    listen_close_others(&v->coming_sockets, &v->sockets);
    edition_release(v->coming_edition);
    v->coming = NULL;
    v->coming_edition = NULL;
    log_say(LOG_LEVEL_ERROR, "reload_failed",
            "the new front did not start; the running configuration stays in force");
}

static void close_loop(struct vault *v);

static void current_gone(struct vault *v, const struct spawn *s, int64_t status, int signal)
{
    v->current = NULL;
    log_say(LOG_LEVEL_ERROR, "front_died", "the front (pid %d) ended by %s %d; another is started",
            spawn_pid(s), signal != 0 ? "signal" : "exit status",
            signal != 0 ? signal : (int)status);
    if (v->state == VAULT_STARTING) {
        v->status = 1;
        v->state = VAULT_STOPPING;
    } else {
        restart_later(v);
    }
}

static void on_gone(void *owner, struct spawn *s, int64_t status, int signal)
{
    struct vault *v = owner;
    forget_front(v, s);
    if (v->state != VAULT_STOPPING) {
        if (s == v->coming)
            abandon_reload(v);
        else if (s == v->current)
            current_gone(v, s, status, signal);
    }
    if (v->state == VAULT_STOPPING && v->fronts == 0)
        close_loop(v);
}

/* --- reload
 * ----------------------------------------------------------------------------------------------------
 */

static void log_conf_errors(const struct conf_errors *errors)
{
    for (const char *line = errors->text; *line != '\0';) {
        size_t len = strcspn(line, "\n");
        log_say(LOG_LEVEL_ERROR, "reload_failed", "%.*s", (int)len, line);
        line += len + (line[len] == '\n');
    }
    log_say(LOG_LEVEL_ERROR, "reload_failed", "the running configuration stays in force");
}

static bool wants_transparent(const struct conf *conf)
{
    for (size_t i = 0; i < conf->upstream_count; i++)
        if (conf->upstream[i].identity == CONF_IDENTITY_TRANSPARENT)
            return true;
    return false;
}

static struct conf *refuse_what_was_given_up(struct conf *conf)
{
    if (conf == NULL || !wants_transparent(conf) || privileges_transparent())
        return conf;
    log_say(
        LOG_LEVEL_ERROR, "reload_failed",
        "identity = transparent: restart Vestibule so that it may keep CAP_NET_RAW; the running "
        "configuration stays in force");
    conf_free(conf);
    return NULL;
}

static struct edition *load_edition(struct vault *v)
{
    struct conf_errors *errors = calloc(1, sizeof *errors);
    struct conf *conf = errors != NULL ? conf_load(v->conf_path, environ, errors) : NULL;
    struct edition *e = NULL;
    char error[EDITION_ERROR_MAX];
    if (conf == NULL && errors != NULL)
        log_conf_errors(errors);
    conf = refuse_what_was_given_up(conf);
    if (conf != NULL && (e = edition_load(conf, error)) == NULL)
        log_say(LOG_LEVEL_ERROR, "reload_failed", "%s; the running configuration stays in force",
                error);
    free(errors);
    return e;
}

static bool start_edition(struct vault *v, struct edition *e)
{
    char error[EDITION_ERROR_MAX];
    bool started = edition_start(e, &v->loop, error);
    if (!started)
        log_say(LOG_LEVEL_ERROR, "backend", "%s", error);
    return started;
}

static void vault_reload(struct vault *v)
{
    char error[LISTEN_ERROR_MAX];
    v->reload_again = v->coming != NULL || v->state == VAULT_STARTING;
    if (v->reload_again || v->state == VAULT_STOPPING)
        return;
    v->coming_edition = load_edition(v);
    if (v->coming_edition == NULL)
        return;
    if (!listen_open(&v->coming_sockets, v->coming_edition->conf, &v->sockets, error)) {
        log_say(LOG_LEVEL_ERROR, "reload_failed", "%s; the running configuration stays in force",
                error);
        edition_release(v->coming_edition);
        v->coming_edition = NULL;
        return;
    }
    v->coming = start_edition(v, v->coming_edition)
                    ? start_front(v, v->coming_edition, &v->coming_sockets)
                    : NULL;
    if (v->coming == NULL)
        abandon_reload(v);
}

/* --- the end
 * ---------------------------------------------------------------------------------------------------
 */

static void close_handle(uv_handle_t *handle, void *unused)
{
    (void)unused;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

static void close_loop(struct vault *v)
{
    judge_stop(v->judge);
    edition_release(v->edition); /* its backends' handles stand on the loop */
    edition_release(v->coming_edition);
    v->edition = v->coming_edition = NULL;
    uv_handle_t *ours[] = {(uv_handle_t *)&v->restart, (uv_handle_t *)&v->rotate,
                           (uv_handle_t *)&v->kill, (uv_handle_t *)&v->look};
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
        close_handle(ours[i], NULL);
    for (size_t i = 0; i < sizeof v->signals / sizeof *v->signals; i++)
        close_handle((uv_handle_t *)&v->signals[i], NULL);
}

static void on_kill(uv_timer_t *kill)
{
    struct vault *v = kill->data;
    log_say(LOG_LEVEL_WARNING, "killed",
            "%zu fronts did not end within drain_timeout and are killed", v->fronts);
    each_front(v, spawn_kill);
}

static void vault_stop(struct vault *v)
{
    if (v->state == VAULT_STOPPING) {
        each_front(v, spawn_kill); /* told twice */
        return;
    }
    v->state = VAULT_STOPPING;
    log_say(LOG_LEVEL_INFO, "stopping",
            "no new connections; sessions have drain_timeout to finish");
    static const struct listen_set none;
    listen_close_others(&v->sockets, &none);
    uv_timer_stop(&v->restart);
    uv_timer_start(&v->kill, on_kill, v->edition->conf->drain_timeout + KILL_GRACE_MS, 0);
    each_front(v, spawn_drain);
    if (v->fronts == 0)
        close_loop(v);
}

static void on_signal(uv_signal_t *handle, int signum)
{
    struct vault *v = handle->data;
    if (signum == SIGHUP)
        vault_reload(v);
    else if (signum != SIGPIPE)
        vault_stop(v);
}

/* --- the beginning
 * --------------------------------------------------------------------------------------------- */

static void on_rotate(uv_timer_t *rotate)
{
    struct vault *v = rotate->data;
    ticket_keys_rotate(&v->tickets);
    for (size_t i = 0; i < v->fronts; i++)
        spawn_tickets(v->all[i], &v->tickets);
}

/* Files that changed and servers that came back show in what clients are offered, without anybody's
 * login. */
static void on_look(uv_timer_t *look)
{
    struct vault *v = look->data;
    if (v->state != VAULT_SERVING || v->edition == NULL)
        return;
    edition_refresh(v->edition);
    unsigned can = judge_mechanisms(v->edition);
    if (v->current == NULL || (can == v->offered && v->current == v->offered_to))
        return;
    v->offered = can;
    v->offered_to = v->current;
    spawn_mechanisms(v->current, can);
}

static void init_handles(struct vault *v)
{
    static const int wanted[] = {SIGTERM, SIGINT, SIGHUP, SIGPIPE};
    uv_loop_init(&v->loop);
    uv_timer_t *timers[] = {&v->restart, &v->rotate, &v->kill, &v->look};
    for (size_t i = 0; i < sizeof timers / sizeof *timers; i++) {
        uv_timer_init(&v->loop, timers[i]);
        timers[i]->data = v;
    }
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        uv_signal_init(&v->loop, &v->signals[i]);
        v->signals[i].data = v;
        uv_signal_start(&v->signals[i], on_signal, wanted[i]);
    }
    uv_timer_start(&v->look, on_look, LOOK_MS, LOOK_MS);
    uv_timer_start(&v->rotate, on_rotate, TICKET_ROTATE_S * 1000ULL, TICKET_ROTATE_S * 1000ULL);
}

/* Passwords never take the last threads: signatures and files find one. */
static unsigned size_thread_pool(void)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned parallel = cores < 1 ? 1 : cores > 32 ? 32 : (unsigned)cores;
    char text[16];
    snprintf(text, sizeof text, "%u", parallel + 2);
    setenv("UV_THREADPOOL_SIZE", text, 1);
    return parallel;
}

static bool open_log(struct vault *v, char error[EDITION_ERROR_MAX])
{
    const struct conf *conf = v->edition->conf;
    v->log_fd = conf->log_target == CONF_LOG_SYSLOG ? log_syslog_socket() : STDERR_FILENO;
    if (v->log_fd < 0) {
        snprintf(error, EDITION_ERROR_MAX,
                 "[log] target: there is no syslog at /dev/log; start one or use stderr");
        return false;
    }
    log_open(v->log_fd, conf->log_target == CONF_LOG_SYSLOG, (enum log_format)conf->log_format,
             (enum log_level)conf->log_level);
    return true;
}

static int say(int status, const char *error)
{
    fprintf(stderr, "vestibule: %s\n", error);
    return status;
}

/* All that can fail while a person looks on: the sentences go to the terminal. 0, or the exit
 * status. */
static int prepare(struct vault *v)
{
    struct conf_errors *errors = calloc(1, sizeof *errors);
    struct conf *conf = errors != NULL ? conf_load(v->conf_path, environ, errors) : NULL;
    if (conf == NULL && errors != NULL)
        fputs(errors->text, stderr);
    free(errors);
    if (conf == NULL)
        return 2;
    char error[EDITION_ERROR_MAX];
    v->edition = edition_load(conf, error);
    if (v->edition == NULL)
        return say(2, error);
    static const struct listen_set none;
    if (!privileges_own_dir(v->edition->conf->state_dir, v->edition->conf->user, error))
        say(0, error); /* only what would be kept there is lost */
    if (!listen_open(&v->sockets, v->edition->conf, &none, error) || !open_log(v, error) ||
        !privileges_drop_vault(v->edition->conf->user, wants_transparent(v->edition->conf), error))
        return say(1, error);
    return 0;
}

static void warn_of_self_signed(const struct vault *v)
{
    if (v->edition->self_signed)
        log_say(
            LOG_LEVEL_WARNING, "self_signed",
            "no [tls] certificate: clients see a self-signed one from %s and will complain; get a real one",
            v->edition->conf->state_dir);
}

static int serve(struct vault *v)
{
    init_handles(v);
    v->signer.loop = &v->loop;
    v->judge = judge_new(&v->loop, size_thread_pool(), v->edition->conf);
    v->lender = lender_new();
    v->permits = permits_new();
    if (v->judge == NULL || v->lender == NULL || v->permits == NULL)
        return say(1, "out of memory");
    lender_measure(v->lender, v->edition->conf);
    permits_measure(v->permits, &v->edition->conf->policy);
    ticket_keys_rotate(&v->tickets);
    warn_of_self_signed(v);
    if (!start_edition(v, v->edition))
        return 1;
    v->current = start_front(v, v->edition, &v->sockets);
    if (v->current == NULL)
        return 1;
    uv_run(&v->loop, UV_RUN_DEFAULT);
    uv_loop_close(&v->loop);
    log_say(LOG_LEVEL_INFO, "stopped", "vestibule ended");
    return v->status;
}

int vault_run(const char *conf_path)
{
    privileges_protect_memory();
    privileges_raise_limits();
    struct vault *v = calloc(1, sizeof *v);
    if (v == NULL)
        return 1;
    v->conf_path = conf_path;
    int status = prepare(v);
    if (status == 0)
        status = serve(v);
    judge_free(v->judge);
    lender_free(v->lender);
    permits_free(v->permits);
    edition_release(v->coming_edition);
    edition_release(v->edition);
    OPENSSL_cleanse(v, sizeof *v);
    free(v);
    return status;
}
