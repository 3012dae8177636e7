#include "proxy/check.h"

#include <errno.h>
#include <netinet/in.h>
#include <pwd.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "auth/backend.h"
#include "proxy/address.h"
#include "proxy/check_mta.h"
#include "proxy/check_report.h"
#include "proxy/log.h"
#include "tls/certificate.h"
#include "tls/engine.h"
#include "tls/ticket.h"

#define DAY_S 86400
#define EXPIRES_SOON_S                                                         \
    (14 * DAY_S) /* half the time that renewal has, where it begins at 30 days \
                  */
#define NAMES_MAX 512
#define DATE_MAX 32

static const char *plural(size_t count)
{
    return count == 1 ? "" : "s";
}

static void check_server(struct check_report *r, const struct conf *conf)
{
    check_say(r, CHECK_OK, "configuration", "%s: %zu listener%s, %zu upstream%s", conf->hostname,
              conf->listener_count, plural(conf->listener_count), conf->upstream_count,
              plural(conf->upstream_count));
    if (strchr(conf->hostname, '.') == NULL)
        check_say(
            r, CHECK_WARNING, "hostname",
            "%s is no full name, and clients and filters expect one; set hostname in [server]",
            conf->hostname);
    if (conf->user != NULL && getpwnam(conf->user) == NULL)
        check_say(r, CHECK_PROBLEM, "user",
                  "there is no account %s; make it or correct user in [server]", conf->user);
    if (conf->user == NULL && geteuid() == 0)
        check_say(r, CHECK_WARNING, "user",
                  "the service would stay root; make an account vestibule or set user in [server]");
}

/* Certificates. */

static void date(char out[DATE_MAX], int64_t when)
{
    struct tm parts;
    time_t t = (time_t)when;
    if (gmtime_r(&t, &parts) == NULL || strftime(out, DATE_MAX, "%Y-%m-%d", &parts) == 0)
        snprintf(out, DATE_MAX, "an unknown day");
}

static void check_dates(struct check_report *r, const struct certificate *c, const char *chain)
{
    char names[NAMES_MAX], begin[DATE_MAX], end[DATE_MAX];
    int64_t now = (int64_t)time(NULL);
    date(begin, certificate_not_before(c));
    date(end, certificate_not_after(c));
    certificate_names(c, names, sizeof names);
    if (now < certificate_not_before(c))
        check_say(r, CHECK_PROBLEM, "certificate",
                  "%s is not good before %s; correct the clock or the certificate", chain, begin);
    else if (now > certificate_not_after(c))
        check_say(r, CHECK_PROBLEM, "certificate", "%s expired on %s; renew it", chain, end);
    else if (certificate_not_after(c) - now < EXPIRES_SOON_S)
        check_say(r, CHECK_WARNING, "certificate",
                  "%s expires on %s, in %lld days; see why it was not renewed", chain, end,
                  (long long)((certificate_not_after(c) - now) / DAY_S));
    else
        check_say(r, CHECK_OK, "certificate", "%s (%s) is good until %s for %s", chain,
                  certificate_kind(c) == CERTIFICATE_ECDSA ? "ECDSA" : "RSA", end,
                  names[0] != '\0' ? names : "no name at all");
}

static void check_key_mode(struct check_report *r, const char *path)
{
    struct stat s;
    if (stat(path, &s) == 0 && (s.st_mode & (S_IROTH | S_IWOTH)) != 0)
        check_say(r, CHECK_WARNING, "certificate",
                  "every user of this machine can get at the key %s; run: chmod o-rw %s", path,
                  path);
}

/* NULL: told. */
static struct certificate *check_pair(struct check_report *r, const struct conf_certificate *pair)
{
    char error[CERTIFICATE_ERROR_MAX];
    struct certificate *c = certificate_load(pair->chain, error);
    if (c == NULL) {
        check_say(r, CHECK_PROBLEM, "certificate", "%s", error);
        return NULL;
    }
    check_dates(r, c, pair->chain);
    struct tls_key *k = tls_key_load(pair->key, c, error);
    if (k == NULL)
        check_say(r, CHECK_PROBLEM, "certificate", "%s", error);
    else
        check_key_mode(r, pair->key);
    tls_key_free(k);
    return c;
}

/* Ciphers and groups are names that only the TLS library can judge. */
static void check_settings(struct check_report *r, const struct conf *conf,
                           struct certificate **certificates, size_t count)
{
    struct tls_settings settings = {.min_version = conf->min_version,
                                    .ciphers = conf->ciphers,
                                    .groups = conf->groups,
                                    .scope = "check",
                                    .certificates = certificates,
                                    .certificate_count = count};
    char why[CERTIFICATE_ERROR_MAX];
    struct tls_context *c = tls_context_new(&settings, why);
    if (c == NULL)
        check_say(r, CHECK_PROBLEM, "tls", "%s", why);
    tls_context_free(c);
}

static void check_hostname(struct check_report *r, const struct conf *conf,
                           struct certificate **certificates, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (certificate_matches(certificates[i], conf->hostname))
            return;
    }
    check_say(r, CHECK_WARNING, "certificate",
              "none is for %s, so clients that connect by that name will complain; have one issued "
              "for it or correct hostname in [server]",
              conf->hostname);
}

static void check_certificates(struct check_report *r, const struct conf *conf)
{
    struct certificate *loaded[CONF_CERTIFICATES_MAX];
    size_t count = 0;
    if (conf->certificate_count == 0) {
        check_say(r, CHECK_WARNING, "certificate",
                  "none is named, so a self-signed one in %s is used, which clients do not trust; "
                  "set certificate in [tls]",
                  conf->state_dir);
        return;
    }
    for (size_t i = 0; i < conf->certificate_count; i++) {
        loaded[count] = check_pair(r, &conf->certificate[i]);
        count += loaded[count] != NULL;
    }
    if (count > 0) {
        check_hostname(r, conf, loaded, count);
        check_settings(r, conf, loaded, count);
    }
    for (size_t i = 0; i < count; i++)
        certificate_free(loaded[i]);
}

static void check_tickets(struct check_report *r, const struct conf *conf)
{
    const char *path = conf->ticket_keys;
    struct stat s;
    if (path == NULL)
        return;
    if (stat(path, &s) != 0 || access(path, R_OK) != 0)
        check_say(r, CHECK_PROBLEM, "ticket_keys", "%s cannot be read: %s; make it or leave it out",
                  path, strerror(errno));
    else if (s.st_size == 0 || s.st_size % TICKET_KEY_LEN != 0 ||
             s.st_size > TICKET_KEYS_MAX * TICKET_KEY_LEN)
        check_say(r, CHECK_PROBLEM, "ticket_keys",
                  "%s does not hold one to %d keys of %d octets; make it anew", path,
                  TICKET_KEYS_MAX, TICKET_KEY_LEN);
    else
        check_say(r, CHECK_OK, "ticket_keys", "%s holds %lld", path,
                  (long long)(s.st_size / TICKET_KEY_LEN));
}

/* Backends. */

static void check_backends(struct check_report *r, const struct conf *conf)
{
    for (size_t i = 0; i < conf->backend_count; i++) {
        char text[BACKEND_ERROR_MAX];
        struct backend *b = backend_open(conf->backend[i], text);
        if (b == NULL) {
            check_say(r, CHECK_PROBLEM, "backend", "%s", text);
            continue;
        }
        bool fine = b->ops->describe(b, text);
        check_say(r, fine ? CHECK_OK : CHECK_PROBLEM, "backend", "%s", text);
        backend_close(b);
    }
}

/* Listeners: bound, but not opened, so that no client is drawn in. */

static int try_bind(const struct address *a)
{
    int on = 1, error = 0;
    int fd = socket(a->storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (a->storage.ss_family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    if (bind(fd, (const struct sockaddr *)&a->storage, a->len) != 0)
        error = errno;
    close(fd);
    return error;
}

static void check_bind(struct check_report *r, const char *about, const struct address *a,
                       bool everywhere)
{
    char where[ADDRESS_TEXT_MAX];
    int error = try_bind(a);
    address_text(where, a);
    switch (error) {
    case 0:
        check_say(r, CHECK_OK, about, "%s is free", where);
        return;
    case EADDRINUSE:
        check_say(r, CHECK_WARNING, about,
                  "%s is in use: fine if that is the running service, else stop what listens there "
                  "or choose another port",
                  where);
        return;
    case EACCES:
        check_say(r, CHECK_PROBLEM, about,
                  "%s may not be bound by this account; ports below 1024 need root or "
                  "CAP_NET_BIND_SERVICE",
                  where);
        return;
    case EADDRNOTAVAIL:
        if (!everywhere)
            check_say(r, CHECK_PROBLEM, about,
                      "%s is no address of this host; correct address in the listener", where);
        return; /* a host without IPv6 serves the other family */
    default:
        check_say(r, CHECK_PROBLEM, about,
                  "%s cannot be bound: %s; correct address in the listener", where,
                  strerror(error));
    }
}

static void check_listener(struct check_report *r, const struct conf_listener *l)
{
    char about[64];
    snprintf(about, sizeof about, "listener %s", l->name);
    for (size_t i = 0; i < l->address.count; i++) {
        struct address found[CONF_ADDRESSES_MAX];
        const struct conf_address *a = &l->address.at[i];
        const char *why = "";
        size_t count = address_resolve(found, CONF_ADDRESSES_MAX, a->host, a->port, &why);
        if (count == 0)
            check_say(r, CHECK_PROBLEM, about, "%s cannot be found: %s; give a numeric address",
                      a->host, why);
        for (size_t k = 0; k < count; k++)
            check_bind(r, about, &found[k], strcmp(a->host, "*") == 0);
    }
}

static void check_log(struct check_report *r, const struct conf *conf)
{
    if (conf->log_target != CONF_LOG_SYSLOG)
        return;
    int fd = log_syslog_socket();
    if (fd < 0)
        check_say(r, CHECK_PROBLEM, "log",
                  "there is no syslog on this host; start one or set target = stderr in [log]");
    else
        close(fd);
}

int check_run(const struct conf *conf, FILE *out)
{
    struct check_report r = {.out = out};
    check_server(&r, conf);
    check_certificates(&r, conf);
    check_tickets(&r, conf);
    check_backends(&r, conf);
    check_log(&r, conf);
    for (size_t i = 0; i < conf->listener_count; i++)
        check_listener(&r, &conf->listener[i]);
    for (size_t i = 0; i < conf->upstream_count; i++)
        check_mta(&r, conf, &conf->upstream[i]);
    return r.problem ? 1 : 0;
}
