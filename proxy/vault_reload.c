#include "proxy/vault_parts.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "proxy/log.h"
#include "proxy/privileges.h"

static void log_conf_errors(const struct conf_errors *errors)
{
    for (const char *line = errors->text; *line != '\0';) {
        size_t len = strcspn(line, "\n");
        log_say(LOG_LEVEL_ERROR, "reload_failed", "%.*s", (int)len, line);
        line += len + (line[len] == '\n');
    }
    log_say(LOG_LEVEL_ERROR, "reload_failed", "the running configuration stays in force");
}

bool vault_wants_transparent(const struct conf *conf)
{
    for (size_t i = 0; i < conf->upstream_count; i++)
        if (conf->upstream[i].identity == CONF_IDENTITY_TRANSPARENT)
            return true;
    return false;
}

static struct conf *refuse_what_was_given_up(struct conf *conf)
{
    if (conf == NULL || !vault_wants_transparent(conf) || privileges_transparent())
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

bool vault_start_edition(struct vault *v, struct edition *e)
{
    char error[EDITION_ERROR_MAX];
    bool started = edition_start(e, &v->loop, error);
    if (!started)
        log_say(LOG_LEVEL_ERROR, "backend", "%s", error);
    return started;
}

void vault_take_over(struct vault *v)
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
    v->in_force = (int64_t)time(NULL);
    vault_move_control(v);
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

void vault_abandon_reload(struct vault *v)
{
    listen_close_others(&v->coming_sockets, &v->sockets);
    edition_release(v->coming_edition);
    v->coming = NULL;
    v->coming_edition = NULL;
    log_say(LOG_LEVEL_ERROR, "reload_failed",
            "the new front did not start; the running configuration stays in force");
}

void vault_reload(struct vault *v)
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
    v->coming = vault_start_edition(v, v->coming_edition)
                    ? vault_start_front(v, v->coming_edition, &v->coming_sockets)
                    : NULL;
    if (v->coming == NULL)
        vault_abandon_reload(v);
}
