#include "proxy/edition.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proxy/learnt.h"
#include "proxy/log.h"
#include "proxy/privileges.h"
#include "tls/engine.h"

static bool load_pair(struct edition *e, const char *chain, const char *key,
                      char error[EDITION_ERROR_MAX])
{
    struct certificate *c = certificate_load(chain, error);
    if (c == NULL)
        return false;
    struct tls_key *k = tls_key_load(key, c, error);
    if (k == NULL) {
        certificate_free(c);
        return false;
    }
    e->certificate[e->certificate_count] = c;
    e->key[e->certificate_count++] = k;
    return true;
}

static bool load_self_signed(struct edition *e, char error[EDITION_ERROR_MAX])
{
    const struct conf *conf = e->conf;
    char chain[4096], key[4096];
    bool made;
    snprintf(chain, sizeof chain, "%s/self-signed.pem", conf->state_dir);
    snprintf(key, sizeof key, "%s/self-signed.key", conf->state_dir);
    if (!privileges_own_dir(conf->state_dir, conf->user, error) ||
        !certificate_self_signed(chain, key, conf->hostname, &made, error))
        return false;
    e->self_signed = true;
    return load_pair(e, chain, key, error);
}

static bool load_certificates(struct edition *e, char error[EDITION_ERROR_MAX])
{
    if (e->conf->certificate_count == 0)
        return load_self_signed(e, error);
    for (size_t i = 0; i < e->conf->certificate_count; i++)
        if (!load_pair(e, e->conf->certificate[i].chain, e->conf->certificate[i].key, error))
            return false;
    return true;
}

static bool load_client_ca(struct edition *e, char error[EDITION_ERROR_MAX])
{
    if (e->conf->client_ca == NULL)
        return true;
    e->client_ca = client_ca_load(e->conf->client_ca, error);
    return e->client_ca != NULL;
}

struct realm_rule edition_realm(const struct conf *conf)
{
    return (struct realm_rule){
        .default_realm = conf->default_realm,
        .domain = conf->login_domain == CONF_LOGIN_STRIP ? REALM_STRIP : REALM_KEEP,
        .lower = conf->login_lower};
}

struct backend_settings edition_backend_settings(const struct conf *conf)
{
    const struct conf_oauth *o = &conf->oauth;
    return (struct backend_settings){.realm = edition_realm(conf),
                                     .state_dir = conf->state_dir,
                                     .hostname = conf->hostname,
                                     .ca = conf->ca,
                                     .ldap_bind_dn = conf->ldap_bind_dn,
                                     .ldap_bind_password_file = conf->ldap_bind_password_file,
                                     .http_header_file = conf->http_header_file,
                                     .oauth = {.jwks = o->jwks,
                                               .issuer = o->issuer,
                                               .audience = o->audience,
                                               .login_claim = o->login_claim,
                                               .introspection = o->introspection,
                                               .client_id = o->client_id,
                                               .client_secret_file = o->client_secret_file}};
}

static void say_warning(const char *event, const char *sentence)
{
    log_say(LOG_LEVEL_WARNING, event, "%s", sentence);
}

static bool open_backend(struct edition *e, const char *spec, char error[EDITION_ERROR_MAX])
{
    struct backend_settings settings = edition_backend_settings(e->conf);
    settings.say = say_warning;
    struct backend *b = backend_open(spec, &settings, error);
    if (b != NULL)
        e->backend[e->backend_count++] = b;
    return b != NULL;
}

const char *edition_backend_spec(const struct conf *conf, size_t index)
{
    const bool tokens = conf->oauth.jwks != NULL || conf->oauth.introspection != NULL;
    if (index < conf->backend_count)
        return conf->backend[index];
    for (size_t i = 0; i < conf->backend_count; i++)
        if (strcmp(conf->backend[i], "oauth:") == 0)
            return NULL;
    return tokens && index == conf->backend_count ? "oauth:" : NULL;
}

static bool open_backends(struct edition *e, char error[EDITION_ERROR_MAX])
{
    const char *spec;
    for (size_t i = 0; (spec = edition_backend_spec(e->conf, i)) != NULL; i++)
        if (!open_backend(e, spec, error))
            return false;
    return true;
}

/* Blocks for nothing; what is away is found out when it is asked. */
bool edition_start(struct edition *e, uv_loop_t *loop, char error[EDITION_ERROR_MAX])
{
    for (size_t i = 0; i < e->backend_count; i++) {
        const struct backend_ops *ops = e->backend[i]->ops;
        if (ops->start != NULL && !ops->start(e->backend[i], loop, error))
            return false;
    }
    return true;
}

static bool load_senders(struct edition *e, char error[EDITION_ERROR_MAX])
{
    const char *path = e->conf->policy.senders;
    if (path == NULL)
        return true;
    e->senders_seen = file_state_of(path);
    e->senders = senders_load(path, error);
    return e->senders != NULL;
}

static void refresh_senders(struct edition *e)
{
    struct file_state now = file_state_of(e->conf->policy.senders);
    char error[SENDERS_ERROR_MAX];
    if (file_state_same(&now, &e->senders_seen))
        return;
    e->senders_seen = now;
    struct senders *fresh = senders_load(e->conf->policy.senders, error);
    if (fresh == NULL) {
        log_say(LOG_LEVEL_ERROR, "senders", "%s; the last good state stays in force", error);
        return;
    }
    senders_release(e->senders);
    e->senders = fresh;
}

void edition_refresh(struct edition *e)
{
    for (size_t i = 0; i < e->backend_count; i++) {
        char error[BACKEND_ERROR_MAX] = "";
        const struct backend_ops *ops = e->backend[i]->ops;
        if (ops->refresh != NULL && !ops->refresh(e->backend[i], error) && error[0] != '\0')
            log_say(LOG_LEVEL_ERROR, "backend", "%s; the last good state stays in force", error);
    }
    if (e->senders != NULL)
        refresh_senders(e);
}

static bool resolve_upstream(struct edition *e, size_t index, char error[EDITION_ERROR_MAX])
{
    const struct conf_addresses *from = &e->conf->upstream[index].address;
    for (size_t i = 0; i < from->count; i++) {
        const char *why = "";
        size_t room = CONF_ADDRESSES_MAX - e->upstream[index].count;
        size_t found = address_resolve(e->upstream[index].at + e->upstream[index].count, room,
                                       from->at[i].host, from->at[i].port, &why);
        if (found == 0) {
            snprintf(error, EDITION_ERROR_MAX,
                     "[upstream %s] address: %s cannot be found: %s; give a numeric address",
                     e->conf->upstream[index].name, from->at[i].host, why);
            return false;
        }
        e->upstream[index].count += found;
    }
    return true;
}

static bool resolve_upstreams(struct edition *e, char error[EDITION_ERROR_MAX])
{
    for (size_t i = 0; i < e->conf->upstream_count; i++) {
        if (!resolve_upstream(e, i, error))
            return false;
        learnt_load(&e->learnt[i], e->conf->state_dir, &e->conf->upstream[i]);
    }
    return true;
}

static bool load_tickets(struct edition *e, char error[EDITION_ERROR_MAX])
{
    const char *path = e->conf->ticket_keys;
    if (path == NULL)
        return true;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, e->tickets.key, sizeof e->tickets.key) : -1;
    char more;
    bool longer = n == (ssize_t)sizeof e->tickets.key && read(fd, &more, 1) == 1;
    int saved = errno;
    if (fd >= 0)
        close(fd);
    if (n < 0)
        snprintf(
            error, EDITION_ERROR_MAX,
            "%s: cannot be read: %s; make it (head -c 48 /dev/urandom) or leave ticket_keys out",
            path, strerror(saved));
    else if (n == 0 || n % TICKET_KEY_LEN != 0 || longer)
        snprintf(error, EDITION_ERROR_MAX,
                 "%s: holds no ticket keys: give one to %d keys of %d octets, the newest first",
                 path, TICKET_KEYS_MAX, TICKET_KEY_LEN);
    else
        e->tickets.count = (size_t)n / TICKET_KEY_LEN;
    return e->tickets.count > 0;
}

/* Ciphers, groups and versions are checked where they are used, so that the front cannot fail over
 * them. */
static bool try_tls(const struct edition *e, char error[EDITION_ERROR_MAX])
{
    struct tls_settings settings = {.min_version = e->conf->min_version,
                                    .ciphers = e->conf->ciphers,
                                    .groups = e->conf->groups,
                                    .scope = "check",
                                    .certificates = e->certificate,
                                    .certificate_count = e->certificate_count,
                                    .client_ca = e->client_ca};
    char why[CERTIFICATE_ERROR_MAX];
    struct tls_context *c = tls_context_new(&settings, why);
    if (c == NULL)
        snprintf(error, EDITION_ERROR_MAX, "[tls] %s", why);
    tls_context_free(c);
    return c != NULL;
}

struct edition *edition_load(struct conf *conf, char error[EDITION_ERROR_MAX])
{
    struct edition *e = calloc(1, sizeof *e);
    if (e == NULL) {
        conf_free(conf);
        snprintf(error, EDITION_ERROR_MAX, "out of memory");
        return NULL;
    }
    e->holds = 1;
    e->conf = conf;
    if (load_certificates(e, error) && load_client_ca(e, error) && try_tls(e, error) &&
        load_tickets(e, error) && open_backends(e, error) && load_senders(e, error) &&
        resolve_upstreams(e, error))
        return e;
    edition_release(e);
    return NULL;
}

struct edition *edition_hold(struct edition *e)
{
    e->holds++;
    return e;
}

void edition_release(struct edition *e)
{
    if (e == NULL || --e->holds > 0)
        return;
    for (size_t i = 0; i < e->certificate_count; i++) {
        certificate_free(e->certificate[i]);
        tls_key_free(e->key[i]);
    }
    client_ca_free(e->client_ca);
    for (size_t i = 0; i < e->backend_count; i++)
        backend_close(e->backend[i]);
    if (e->senders != NULL)
        senders_release(e->senders);
    conf_free(e->conf);
    explicit_bzero(e, sizeof *e);
    free(e);
}
