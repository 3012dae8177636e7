#include "proxy/check_certificate.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tls/certificate.h"
#include "tls/engine.h"
#include "tls/ticket.h"

#define DAY_S 86400
#define EXPIRES_SOON_S                                                         \
    (14 * DAY_S) /* half the time that renewal has, where it begins at 30 days \
                  */
#define NAMES_MAX 512
#define DATE_MAX 32

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

static void check_client_ca(struct check_report *r, const char *path)
{
    char error[CERTIFICATE_ERROR_MAX];
    struct client_ca *ca = path != NULL ? client_ca_load(path, error) : NULL;
    if (ca != NULL)
        check_say(r, CHECK_OK, "client_ca", "%s: %zu %s; whoever they signed for can log in", path,
                  client_ca_count(ca), client_ca_count(ca) == 1 ? "authority" : "authorities");
    else if (path != NULL)
        check_say(r, CHECK_PROBLEM, "client_ca", "%s", error);
    client_ca_free(ca);
}

void check_certificates(struct check_report *r, const struct conf *conf)
{
    struct certificate *loaded[CONF_CERTIFICATES_MAX];
    size_t count = 0;
    check_client_ca(r, conf->client_ca);
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

void check_tickets(struct check_report *r, const struct conf *conf)
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
