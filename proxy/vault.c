#include "proxy/vault.h"

#include <openssl/mem.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "proxy/ask.h"
#include "proxy/log.h"
#include "proxy/privileges.h"
#include "proxy/vault_parts.h"

#define KILL_GRACE_MS 5000 /* behind drain_timeout, before a front that does not end is killed */
#define LOOK_MS 1000       /* for files and servers that changed */

/* --- the end
 * ---------------------------------------------------------------------------------------------------
 */

static void close_handle(uv_handle_t *handle, void *unused)
{
    (void)unused;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

void vault_close_loop(struct vault *v)
{
    judge_stop(v->judge);
    control_close(v->control);
    v->control = NULL;
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
    vault_each_front(v, spawn_kill);
}

static void vault_stop(struct vault *v)
{
    if (v->state == VAULT_STOPPING) {
        vault_each_front(v, spawn_kill); /* told twice */
        return;
    }
    v->state = VAULT_STOPPING;
    log_say(LOG_LEVEL_INFO, "stopping",
            "no new connections; sessions have drain_timeout to finish");
    static const struct listen_set none;
    listen_close_others(&v->sockets, &none);
    uv_timer_stop(&v->restart);
    uv_timer_start(&v->kill, on_kill, v->edition->conf->drain_timeout + KILL_GRACE_MS, 0);
    vault_each_front(v, spawn_drain);
    if (v->fronts == 0)
        vault_close_loop(v);
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

/* RSA signatures have libuv's pool; passwords as many threads of their own. */
static unsigned size_thread_pool(void)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned parallel = cores < 1 ? 1 : cores > 32 ? 32 : (unsigned)cores;
    char text[16];
    snprintf(text, sizeof text, "%u", parallel + 1);
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

/* Where nobody named a place and there is none, the service goes on without: all that is missing is
 * `vestibule status`. Another service at the same place is one that runs already. */
static bool bind_control(struct vault *v, char error[EDITION_ERROR_MAX])
{
    const struct conf *conf = v->edition->conf;
    char path[CONTROL_PATH_MAX + 1] = "";
    enum control_opened opened = CONTROL_FAILED;
    if (ask_path(path, sizeof path, conf))
        opened = control_bind(&v->control_fd, path, conf->user, error);
    else
        snprintf(
            error, EDITION_ERROR_MAX,
            "the control socket's path has more than %d octets; give a shorter one as [server] "
            "control",
            CONTROL_PATH_MAX);
    if (opened == CONTROL_FAILED && conf->control == NULL)
        say(0, error);
    return opened == CONTROL_OPENED || (opened == CONTROL_FAILED && conf->control == NULL);
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
        !bind_control(v, error) ||
        !privileges_drop_vault(v->edition->conf->user, vault_wants_transparent(v->edition->conf),
                               error))
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
    v->started = v->in_force = (int64_t)time(NULL);
    vault_open_control(v);
    if (!vault_start_edition(v, v->edition))
        return 1;
    v->current = vault_start_front(v, v->edition, &v->sockets);
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
    v->control_fd = -1;
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
