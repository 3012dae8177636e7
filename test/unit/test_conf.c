#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/conf.h"
#include "conf/conf_cross.h"
#include "conf/conf_table.h"
#include "conf/conf_type.h"
#include "conf/conf_value.h"

static struct conf_errors errors;

static struct conf *parse_env(const char *text, char *const *environment)
{
    return conf_parse(text, strlen(text), "f.conf", environment, &errors);
}

static struct conf *good_env(const char *text, char *const *environment)
{
    struct conf *c = parse_env(text, environment);
    if (c == NULL)
        fail_msg("refused: %s", errors.text);
    assert_int_equal(errors.count, 0);
    assert_string_equal(errors.text, "");
    return c;
}

static struct conf *good(const char *text)
{
    return good_env(text, NULL);
}

/* Refused with exactly one sentence, `sentence` and a newline. */
static void bad_env(const char *text, char *const *environment, const char *sentence)
{
    char expected[1024];
    struct conf *c = parse_env(text, environment);
    if (c != NULL)
        fail_msg("accepted: %s", text);
    snprintf(expected, sizeof expected, "%s\n", sentence);
    assert_string_equal(errors.text, expected);
    assert_int_equal(errors.count, 1);
}

static void bad(const char *text, const char *sentence)
{
    bad_env(text, NULL, sentence);
}

static char *written(const struct conf *c)
{
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    assert_true(conf_write(out, c));
    fclose(out);
    return text;
}

static void check_address(const struct conf_address *a, const char *host, unsigned port)
{
    assert_string_equal(a->host, host);
    assert_int_equal(a->port, port);
}

static void check_rate(const struct conf_rate *r, uint32_t count, uint64_t period_ms)
{
    assert_int_equal(r->count, count);
    assert_int_equal(r->period_ms, period_ms);
}

static void check_network(const struct conf_network *n, const char *text)
{
    char out[CONF_VALUE_NETWORK_MAX];
    conf_value_network_text(out, n->address, n->bits);
    assert_string_equal(out, text);
}

static void nothing_given_is_the_documented_default(void **state)
{
    (void)state;
    struct conf *c = good("");
    assert_string_equal(c->hostname, "localhost");
    assert_null(c->user);
    assert_int_equal(c->workers, 1);
    assert_string_equal(c->state_dir, "/var/lib/vestibule");
    assert_int_equal(c->max_sessions, 10000);
    assert_int_equal(c->drain_timeout, 60000);
    assert_int_equal(c->certificate_count, 0);
    assert_int_equal(c->min_version, 0x0303);
    assert_null(c->ciphers);
    assert_null(c->groups);
    assert_null(c->ticket_keys);
    assert_int_equal(c->handshake_timeout, 10000);
    assert_int_equal(c->listener_count, 2);
    assert_string_equal(c->listener[0].name, "submissions");
    check_address(&c->listener[0].address.at[0], "*", 465);
    assert_int_equal(c->listener[0].tls, CONF_IMPLICIT);
    assert_string_equal(c->listener[1].name, "submission");
    check_address(&c->listener[1].address.at[0], "*", 587);
    assert_int_equal(c->listener[1].tls, CONF_STARTTLS);
    assert_true(c->listener[1].require_tls);
    assert_int_equal(c->listener[1].min_version, 0x0303);
    assert_int_equal(c->backend_count, 1);
    assert_string_equal(c->backend[0], "file:/etc/vestibule/users");
    assert_int_equal(c->mechanisms, 0x7fff);
    assert_int_equal(c->cache, 60000);
    assert_int_equal(c->lockout.count, 20);
    assert_int_equal(c->lockout.period_ms, 600000);
    assert_null(c->default_realm);
    assert_int_equal(c->login_domain, CONF_LOGIN_KEEP);
    assert_false(c->login_lower);
    assert_null(c->client_ca);
    assert_null(c->control);
    assert_null(c->oauth.jwks);
    assert_string_equal(c->oauth.login_claim, "email");
    assert_int_equal(c->failure_delay, 2000);
    assert_int_equal(c->max_failures, 3);
    assert_int_equal(c->upstream_count, 1);
    assert_string_equal(c->upstream[0].name, "mta");
    assert_int_equal(c->upstream[0].address.count, 1);
    check_address(&c->upstream[0].address.at[0], "127.0.0.1", 25);
    assert_true(c->upstream[0].trace);
    assert_int_equal(c->upstream[0].helo, CONF_HELO_CLIENT);
    assert_int_equal(c->upstream[0].hide, 0);
    assert_int_equal(c->upstream[0].queue_timeout, 30000);
    assert_int_equal(c->upstream[0].connect_timeout, 5000);
    assert_int_equal(c->upstream[0].reply_timeout, 300000);
    assert_int_equal(c->upstream[0].data_timeout, 600000);
    assert_int_equal(c->upstream[0].banner_timeout, 300000);
    assert_int_equal(c->upstream[0].data_init_timeout, 120000);
    assert_int_equal(c->upstream[0].block_timeout, 180000);
    assert_int_equal(c->upstream[0].max_connections, 15);
    assert_int_equal(c->upstream[0].messages_per_connection, 10);
    assert_int_equal(c->upstream[0].identity, CONF_IDENTITY_RECEIVED);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(c->listener[i].auth, CONF_AUTH_REQUIRED);
        assert_int_equal(c->listener[i].trusted.count, 0);
        assert_true(c->listener[i].recipients.any);
        assert_int_equal(c->listener[i].recipients.count, 0);
        assert_int_equal(c->listener[i].proxy_protocol.count, 0);
        assert_int_equal(c->listener[i].idle_timeout, 300000);
    }
    assert_false(c->policy.sender_login);
    assert_null(c->policy.senders);
    check_rate(&c->policy.messages, 0, 0);
    check_rate(&c->policy.recipients, 0, 0);
    assert_int_equal(c->policy.sessions_per_client, 50);
    check_rate(&c->policy.connects_per_client, 100, 60000);
    assert_int_equal(c->max_size, 0);
    assert_int_equal(c->received, CONF_RECEIVED_FULL);
    assert_int_equal(c->bare_newline, CONF_NORMALIZE);
    assert_int_equal(c->log_target, CONF_LOG_STDERR);
    assert_int_equal(c->log_format, CONF_LOG_LOGFMT);
    assert_int_equal(c->log_level, CONF_LOG_INFO);
    conf_free(c);
}

static const char everything[] =
    "# every key that is supported, none at its default\n"
    "[server]\nhostname = Mail.example.com\nuser = smtp\nworkers = 3\nstate_dir = /srv/state\n"
    "max_sessions = 7\ndrain_timeout = 90s\ncontrol = /run/c\n"
    "[tls]\ncertificate = /a/chain.pem /a/key.pem\ncertificate = /b/both.pem\nmin_version = 1.3\n"
    "ciphers = A:B\nciphers = C, D\ngroups = X25519 P-256\nticket_keys = /k\n"
    "handshake_timeout = 1500ms\nclient_ca = /ca.pem\n"
    "[listener one]\naddress = 192.0.2.1:25, [2001:DB8::0:1]:26 mail.example:27\naddress = *:465\n"
    "tls = starttls\nrequire_tls = no\nauth = optional\nupstream = b\nmin_version = 1.0\n"
    "trusted = 10.1.2.0/24, 2001:DB8::/32\ntrusted = 192.0.2.7\n"
    "recipients = Example.COM. xn--bcher-kva.example\nrecipients = example.org\n"
    "proxy_protocol = 10.0.0.5 fc00::/7\nidle_timeout = 10s\n"
    "[listener two]\naddress = [::]:587\ntls = implicit\nupstream = a\n"
    "[listener three]\naddress = 10.1.2.1:25\ntls = none\nauth = none\ntrusted = 10.1.2.0/24\n"
    "upstream = a\n"
    "[auth]\nbackend = file:/u1, dovecot:/run/auth\nbackend = ldaps://h/uid=%u,dc=x http://[::1]/a\n"
    "mechanisms = login scram-sha-256-plus\nfailure_delay = 0\nmax_failures = 1\ncache = 1h\n"
    "lockout = off\ndefault_realm = example.com\nlogin_domain = strip\nlogin_case = lower\n"
    "ca = /auth-ca.pem\nldap_bind_dn = cn=a b,dc=x\nldap_bind_password_file = /lp\n"
    "http_header_file = /hh\n"
    "[oauth]\njwks = https://id/jwks\nissuer = https://id\naudience = the mail\nlogin_claim = sub\n"
    "introspection = https://id/i\nclient_id = me\nclient_secret_file = /cs\n"
    "[upstream a]\naddress = relay_1:2525 10.0.0.1:25\ntls = none\nidentity = none\nhelo = proxy\n"
    "hide = size, DSN\nqueue_timeout = 1m\nconnect_timeout = 20ms\nreply_timeout = 1h\n"
    "data_timeout = 2m\nbanner_timeout = 3s\ndata_init_timeout = 4s\nblock_timeout = 5s\n"
    "max_connections = 1000\nmessages_per_connection = 1\n"
    "[upstream b]\nidentity = proxy-v2\n"
    "[policy]\nsender = login\nsenders = /s\nmessages = 200/1h\nrecipients = 1000000/24h\n"
    "sessions_per_client = 0\nconnects_per_client = OFF\n"
    "[message]\nmax_size = 10M\nreceived = no-ip\nbare_newline = reject\n"
    "[log]\ntarget = syslog\nformat = json\nlevel = debug\n";

static void every_key_reaches_its_field(void **state)
{
    (void)state;
    struct conf *c = good(everything);
    assert_string_equal(c->hostname, "Mail.example.com");
    assert_string_equal(c->user, "smtp");
    assert_int_equal(c->workers, 3);
    assert_string_equal(c->state_dir, "/srv/state");
    assert_int_equal(c->max_sessions, 7);
    assert_int_equal(c->drain_timeout, 90000);
    assert_int_equal(c->certificate_count, 2);
    assert_string_equal(c->certificate[0].chain, "/a/chain.pem");
    assert_string_equal(c->certificate[0].key, "/a/key.pem");
    assert_string_equal(c->certificate[1].chain, "/b/both.pem");
    assert_string_equal(c->certificate[1].key, "/b/both.pem");
    assert_int_equal(c->min_version, 0x0304);
    assert_string_equal(c->ciphers, "A:B:C:D");
    assert_string_equal(c->groups, "X25519:P-256");
    assert_string_equal(c->ticket_keys, "/k");
    assert_int_equal(c->handshake_timeout, 1500);
    assert_int_equal(c->listener_count, 3);
    assert_int_equal(c->listener[0].address.count, 4);
    check_address(&c->listener[0].address.at[0], "192.0.2.1", 25);
    check_address(&c->listener[0].address.at[1], "2001:db8::1", 26);
    check_address(&c->listener[0].address.at[2], "mail.example", 27);
    check_address(&c->listener[0].address.at[3], "*", 465);
    assert_false(c->listener[0].require_tls);
    assert_int_equal(c->listener[0].min_version, 0x0301);
    assert_string_equal(c->upstream[c->listener[0].upstream].name, "b");
    const struct conf_listener *l = &c->listener[0];
    assert_int_equal(l->auth, CONF_AUTH_OPTIONAL);
    assert_int_equal(l->trusted.count, 3);
    check_network(&l->trusted.at[0], "10.1.2.0/24");
    check_network(&l->trusted.at[1], "2001:db8::/32");
    check_network(&l->trusted.at[2], "192.0.2.7");
    assert_false(l->recipients.any);
    assert_int_equal(l->recipients.count, 3);
    assert_string_equal(l->recipients.at[0], "example.com");
    assert_string_equal(l->recipients.at[1], "xn--bcher-kva.example");
    assert_string_equal(l->recipients.at[2], "example.org");
    assert_int_equal(l->proxy_protocol.count, 2);
    check_network(&l->proxy_protocol.at[0], "10.0.0.5");
    check_network(&l->proxy_protocol.at[1], "fc00::/7");
    assert_int_equal(l->idle_timeout, 10000);
    assert_int_equal(c->listener[2].tls, CONF_TLS_NONE);
    assert_int_equal(c->listener[2].auth, CONF_AUTH_NONE);
    assert_false(c->listener[2].require_tls);
    assert_int_equal(c->listener[2].trusted.count, 1);
    assert_true(c->listener[2].recipients.any);
    assert_true(c->listener[1].require_tls);
    assert_int_equal(c->listener[1].tls, CONF_IMPLICIT);
    assert_int_equal(c->listener[1].min_version, 0x0304);
    assert_string_equal(c->upstream[c->listener[1].upstream].name, "a");
    assert_int_equal(c->backend_count, 4);
    assert_string_equal(c->backend[0], "file:/u1");
    assert_string_equal(c->backend[1], "dovecot:/run/auth");
    assert_string_equal(c->backend[2], "ldaps://h/uid=%u,dc=x");
    assert_string_equal(c->backend[3], "http://[::1]/a");
    assert_int_equal(c->mechanisms, CONF_LOGIN | CONF_SCRAM_SHA_256_PLUS);
    assert_string_equal(c->control, "/run/c");
    assert_string_equal(c->client_ca, "/ca.pem");
    assert_int_equal(c->cache, 3600000);
    assert_int_equal(c->lockout.count, 0);
    assert_string_equal(c->default_realm, "example.com");
    assert_int_equal(c->login_domain, CONF_LOGIN_STRIP);
    assert_true(c->login_lower);
    assert_string_equal(c->ca, "/auth-ca.pem");
    assert_string_equal(c->ldap_bind_dn, "cn=a b,dc=x");
    assert_string_equal(c->ldap_bind_password_file, "/lp");
    assert_string_equal(c->http_header_file, "/hh");
    assert_string_equal(c->oauth.jwks, "https://id/jwks");
    assert_string_equal(c->oauth.issuer, "https://id");
    assert_string_equal(c->oauth.audience, "the mail");
    assert_string_equal(c->oauth.login_claim, "sub");
    assert_string_equal(c->oauth.introspection, "https://id/i");
    assert_string_equal(c->oauth.client_id, "me");
    assert_string_equal(c->oauth.client_secret_file, "/cs");
    assert_int_equal(c->failure_delay, 0);
    assert_int_equal(c->max_failures, 1);
    assert_int_equal(c->upstream_count, 2);
    check_address(&c->upstream[0].address.at[0], "relay_1", 2525);
    check_address(&c->upstream[0].address.at[1], "10.0.0.1", 25);
    assert_false(c->upstream[0].trace);
    assert_int_equal(c->upstream[0].helo, CONF_HELO_PROXY);
    assert_int_equal(c->upstream[0].hide, CONF_HIDE_SIZE | CONF_HIDE_DSN);
    assert_int_equal(c->upstream[0].queue_timeout, 60000);
    assert_int_equal(c->upstream[0].connect_timeout, 20);
    assert_int_equal(c->upstream[0].reply_timeout, 3600000);
    assert_int_equal(c->upstream[0].data_timeout, 120000);
    assert_int_equal(c->upstream[0].banner_timeout, 3000);
    assert_int_equal(c->upstream[0].data_init_timeout, 4000);
    assert_int_equal(c->upstream[0].block_timeout, 5000);
    assert_int_equal(c->upstream[0].max_connections, 1000);
    assert_int_equal(c->upstream[0].messages_per_connection, 1);
    assert_int_equal(c->upstream[0].identity, CONF_IDENTITY_NONE);
    assert_int_equal(c->upstream[1].identity, CONF_IDENTITY_PROXY_V2);
    assert_true(c->upstream[1].trace);
    assert_true(c->policy.sender_login);
    assert_string_equal(c->policy.senders, "/s");
    check_rate(&c->policy.messages, 200, 3600000);
    check_rate(&c->policy.recipients, 1000000, 86400000);
    assert_int_equal(c->policy.sessions_per_client, 0);
    check_rate(&c->policy.connects_per_client, 0, 0);
    assert_int_equal(c->max_size, 10 << 20);
    assert_int_equal(c->received, CONF_RECEIVED_NO_IP);
    assert_int_equal(c->bare_newline, CONF_REJECT);
    assert_int_equal(c->log_target, CONF_LOG_SYSLOG);
    assert_int_equal(c->log_format, CONF_LOG_JSON);
    assert_int_equal(c->log_level, CONF_LOG_DEBUG);
    conf_free(c);
}

static void what_is_written_reads_back_the_same(void **state)
{
    (void)state;
    const char *texts[] = {"", everything};
    for (size_t i = 0; i < 2; i++) {
        struct conf *first = good(texts[i]);
        char *text = written(first);
        struct conf *second = good(text);
        char *again = written(second);
        assert_string_equal(text, again);
        assert_int_equal(first->listener[0].upstream, second->listener[0].upstream);
        assert_int_equal(first->mechanisms, second->mechanisms);
        assert_int_equal(first->upstream[0].trace, second->upstream[0].trace);
        free(text);
        free(again);
        conf_free(first);
        conf_free(second);
    }
}

static void every_supported_key_is_written(void **state)
{
    (void)state;
    struct conf *c = good(everything);
    char *text = written(c);
    for (size_t i = 0; i < conf_key_count; i++) {
        char line[64];
        snprintf(line, sizeof line, "\n%s = ", conf_key[i].name);
        if (conf_key[i].type != NULL && strstr(text, line) == NULL)
            fail_msg("%s is not written", conf_key[i].name);
    }
    assert_null(strstr(text, "[metrics]"));
    assert_non_null(strstr(text, "\ntls = none\nrequire_tls = no\nauth = none\n"));
    assert_non_null(strstr(text, "\nmessages = 200/1h\n"));
    assert_non_null(strstr(text, "drain_timeout = 90s\n"));
    assert_non_null(strstr(text, "handshake_timeout = 1500ms\n"));
    assert_non_null(strstr(text, "max_size = 10M\n"));
    assert_non_null(strstr(text, "address = [2001:db8::1]:26\n"));
    free(text);
    conf_free(c);
}

static void no_prefix_of_a_file_crashes_or_reads_differently_twice(void **state)
{
    (void)state;
    for (size_t len = 0; len <= strlen(everything); len++) {
        char *cut = malloc(len + 1); /* exact, so that ASan sees a read beyond it */
        memcpy(cut, everything, len);
        struct conf *c = conf_parse(cut, len, "f.conf", NULL, &errors);
        free(cut);
        assert_true((c == NULL) == (errors.count > 0));
        conf_free(c);
    }
}

static void unknown_key_names_file_line_key_and_the_nearest(void **state)
{
    (void)state;
    bad("[server]\nhostnaem = a\n",
        "f.conf:2: [server] hostnaem: unknown key; did you mean hostname?");
    bad("\n\n[listener x]\naddress=*:1\ntls=implicit\nrequire-tls = no\n",
        "f.conf:6: [listener x] require-tls: unknown key; did you mean require_tls?");
    bad("[server]\ncertificate = /a\n",
        "f.conf:2: [server] certificate: unknown key; it belongs below [tls]");
    bad("[log]\nzzzzzzzz = 1\n",
        "f.conf:2: [log] zzzzzzzz: unknown key; there are target, format, level");
    bad("[log]\n= 1\n", "f.conf:2: no key stands before the =");
}

static void unknown_section_is_told_once_with_the_nearest(void **state)
{
    (void)state;
    bad("[serber]\na = 1\nb = 2\n", "f.conf:1: unknown section [serber]; did you mean [server]?");
    bad("[xyzxyzxyz]\n", "f.conf:1: unknown section [xyzxyzxyz]; there are server, tls, listener, "
                         "auth, upstream, message, policy and log");
    bad("[listener]\n", "f.conf:1: [listener] has no name; write [listener NAME]");
    bad("[server x]\n", "f.conf:1: [server] takes no name; write [server]");
    bad("[upstream Big]\n",
        "f.conf:1: [upstream Big]: not a name; use up to 32 lower-case letters, "
        "digits, - and _");
}

static void key_given_twice_is_refused_where_it_is_no_list(void **state)
{
    (void)state;
    bad("[server]\nworkers = 2\n\n[log]\n[server]\nworkers = 2\n",
        "f.conf:6: [server] workers: is given twice, first in line 2; keep one");
    conf_free(good("[auth]\nmechanisms = PLAIN\nmechanisms = LOGIN\n"));
}

static void all_errors_of_a_file_are_shown_at_once(void **state)
{
    (void)state;
    assert_null(
        parse_env("[server]\nworkers = no\nhostname = -\n[tsl]\n[log]\nlevel = loud\n", NULL));
    assert_int_equal(errors.count, 4);
    assert_non_null(strstr(errors.text, "f.conf:2: [server] workers:"));
    assert_non_null(strstr(errors.text, "f.conf:3: [server] hostname:"));
    assert_non_null(strstr(errors.text, "f.conf:4: unknown section [tsl]; did you mean [tls]?"));
    assert_non_null(strstr(errors.text,
                           "f.conf:6: [log] level: \"loud\" is unknown; what there is: "
                           "debug, info, warning, error\n"));
}

static void too_many_errors_are_counted(void **state)
{
    (void)state;
    char text[60000] = "[server]\n";
    size_t used = strlen(text);
    for (int i = 0; i < 5000; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "x%d=1\n", i);
    assert_null(parse_env(text, NULL));
    assert_int_equal(errors.count, 5000);
    size_t lines = 0;
    const char *last = errors.text;
    for (const char *at = errors.text; (at = strchr(at, '\n')) != NULL; at++) {
        lines++;
        if (at[1] != '\0')
            last = at + 1;
    }
    char expected[64];
    snprintf(expected, sizeof expected, "and %zu more\n", 5000 - (lines - 1));
    assert_string_equal(last, expected);
    assert_true(strlen(errors.text) < sizeof errors.text);
}

static void what_is_not_there_yet_is_refused_never_ignored(void **state)
{
    (void)state;
    size_t refused = 0;
    for (size_t i = 0; i < conf_key_count; i++) {
        const struct conf_key *k = &conf_key[i];
        char text[256], expected[256];
        const char *name = conf_section[k->section].named ? " x" : "";
        if (k->type != NULL)
            continue;
        refused++;
        snprintf(text, sizeof text, "[%s%s]\n%s = any\n%s", conf_section[k->section].name, name,
                 k->name,
                 k->section == CONF_SECTION_LISTENER ? "address = *:1\ntls = implicit\nupstream=x\n"
                                                       "[upstream x]\n"
                                                     : "[listener y]\naddress = *:1\ntls=implicit\n"
                                                       "upstream=x\n[upstream x]\n");
        snprintf(expected, sizeof expected, "f.conf:2: [%s%s] %s: is not supported yet; remove it",
                 conf_section[k->section].name, name, k->name);
        bad(text, expected);
    }
    assert_int_equal(refused, 5);
    bad("[listener x]\naddress = *:1\ntls = auto\n",
        "f.conf:3: [listener x] tls: auto is not supported yet; what there is: implicit, starttls, "
        "none");
    bad("[upstream]\ntls = starttls\n",
        "f.conf:2: [upstream mta] tls: starttls is not supported yet; what there is: none");
}

static void backends_are_known_by_what_they_begin_with(void **state)
{
    (void)state;
    bad("[auth]\nbackend = fiel:/u\n",
        "f.conf:2: [auth] backend: \"fiel:/u\" is not a backend; write file:/etc/vestibule/users, or "
        "dovecot:, saslauthd:, pam:, or a URL (imap, pop3, smtp, ldap, http)");
    bad("[auth]\nbackend = dovecot:run/a\n",
        "f.conf:2: [auth] backend: \"dovecot:run/a\" names no path; write dovecot: and a path that "
        "starts with /");
    bad("[auth]\nbackend = ldaps:x\n",
        "f.conf:2: [auth] backend: \"ldaps:x\" names no server; write ldaps://HOST/");
    bad("[auth]\nbackend = imaps:///x\n",
        "f.conf:2: [auth] backend: \"imaps:///x\" names no server; write imaps://HOST/");
    bad("[auth]\nbackend = pam:../x\n",
        "f.conf:2: [auth] backend: \"pam:../x\" names no service; write pam: and the name of a file "
        "in /etc/pam.d");
    bad("[auth]\nbackend = files:/u\n",
        "f.conf:2: [auth] backend: \"files:/u\" is not a backend; write file:/etc/vestibule/users, or "
        "dovecot:, saslauthd:, pam:, or a URL (imap, pop3, smtp, ldap, http)");
    bad("[auth]\nmechanisms = PLAIN ANONYMOUS\n",
        "f.conf:2: [auth] mechanisms: \"ANONYMOUS\" is unknown; what there is: PLAIN, LOGIN, "
        "SCRAM-SHA-256, SCRAM-SHA-256-PLUS, OAUTHBEARER, XOAUTH2, EXTERNAL, SCRAM-SHA-1, "
        "SCRAM-SHA-1-PLUS, CRAM-MD5, DIGEST-MD5, NTLM, GSSAPI, GSS-SPNEGO, OTP");
}

static void tokens_of_anybody_are_not_taken(void **state)
{
    (void)state;
    bad("[oauth]\njwks = /k\naudience = a\n", "f.conf: [oauth] issuer: is missing; write whose "
                                              "tokens are taken, as they say it in iss");
    bad("[oauth]\njwks = /k\nissuer = a\n",
        "f.conf: [oauth] audience: is missing; write for whom "
        "tokens are, as they say it in aud");
    bad("[oauth]\njwks = http://x/\nissuer = a\naudience = b\n",
        "f.conf:2: [oauth] jwks: is neither a path nor an https URL; write /PATH or https://HOST");
}

static void values_that_do_not_fit_are_refused_never_cut(void **state)
{
    (void)state;
    bad("[server]\nworkers = 65\n", "f.conf:2: [server] workers: 65 is out of range; use 1 to 64");
    bad("[server]\nworkers = 0\n", "f.conf:2: [server] workers: 0 is out of range; use 1 to 64");
    bad("[server]\nworkers = 4294967297\n",
        "f.conf:2: [server] workers: 4294967297 is out of range; use 1 to 64");
    bad("[server]\nworkers = 2 3\n",
        "f.conf:2: [server] workers: \"2 3\" is not a number; write digits only");
    bad("[server]\nworkers = 2 # two\n",
        "f.conf:2: [server] workers: \"2 # two\" is not a number; write digits only");
    bad("[server]\nworkers =\n",
        "f.conf:2: [server] workers: has no value; remove it to get the default");
    bad("[tls]\nhandshake_timeout = 10\n",
        "f.conf:2: [tls] handshake_timeout: \"10\" is not a time; write a number with ms, s, m, h or d: 30s");
    bad("[auth]\nfailure_delay = 17s\n",
        "f.conf:2: [auth] failure_delay: 17s is out of range; use 0s to 16s");
    bad("[message]\nmax_size = 10MB\n",
        "f.conf:2: [message] max_size: \"10MB\" is not a size; write a number of octets, or one with "
        "k, M or G: 50M");
    bad("[message]\nmax_size = 99999999999999999999\n",
        "f.conf:2: [message] max_size: \"99999999999999999999\" is not a size; write a number of "
        "octets, or one with k, M or G: 50M");
    bad("[tls]\nmin_version = 1.4\n",
        "f.conf:2: [tls] min_version: \"1.4\" is unknown; what there is: 1.0, 1.1, 1.2, 1.3");
    bad("[server]\nstate_dir = var\n",
        "f.conf:2: [server] state_dir: \"var\" is not a path; it starts "
        "with / and holds no blank and no comma");
    bad("[tls]\ncertificate = /a /b /c\n", "f.conf:2: [tls] certificate: has more than CHAIN.pem "
                                           "KEY.pem; give the key once for each certificate");
    bad("[upstream]\nhide = none SIZE\n",
        "f.conf:2: [upstream mta] hide: has none beside other words; keep one or the other");
    bad("[upstream]\naddress = 127.0.0.1:587x\n",
        "f.conf:2: [upstream mta] address: \"127.0.0.1:587x\" has no valid port; a port is a number "
        "from 1 to 65535");
    bad("[upstream]\naddress = *:25\n", "f.conf:2: [upstream mta] address: \"*:25\" is no place to "
                                        "connect to; name the MTA's host");
}

static void host_name_that_could_break_a_banner_is_refused(void **state)
{
    (void)state;
    static const char *const names[] = {"a b", "a..b",      ".a",    "a.",  "-a",  "a-",
                                        "a_b", "a\xc3\xa9", "[::1]", "a,b", "a-.b"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char text[64];
        snprintf(text, sizeof text, "[server]\nhostname = %s\n", names[i]);
        assert_null(parse_env(text, NULL));
        assert_int_equal(errors.count, 1);
        assert_null(strchr(errors.text, '\xc3'));
    }
    char label[80] = "[server]\nhostname = ";
    memset(label + strlen(label), 'a', 59);
    conf_free(good(label));
}

static void lines_that_inih_would_cut_are_errors(void **state)
{
    (void)state;
    char text[6000];
    int used = snprintf(text, sizeof text, "[tls]\nticket_keys = /");
    memset(text + used, 'x', 5000);
    strcpy(text + used + 5000, "\n");
    bad(text,
        "f.conf:2: the line is longer than 197 octets; give a list's values in several lines");

    /* The longest that fits, and one more. */
    size_t room = 197 - strlen("ticket_keys = /");
    memset(text + used, 'x', room);
    strcpy(text + used + room, "\n");
    struct conf *c = good(text);
    assert_int_equal(strlen(c->ticket_keys), room + 1);
    char *out = written(c);
    struct conf *again = good(out);
    assert_string_equal(c->ticket_keys, again->ticket_keys);
    free(out);
    conf_free(again);
    conf_free(c);
    strcpy(text + used + room, "x\n");
    bad(text,
        "f.conf:2: the line is longer than 197 octets; give a list's values in several lines");

    bad("[server]\nworkers = 2 ; two\n",
        "f.conf:2: a ; behind a blank; put the comment on a line of its own");
    bad("[tls]\nticket_keys = /a\t;b\n",
        "f.conf:2: a ; behind a blank; put the comment on a line of its own");
    bad("[server] workers = 2\n", "f.conf:1: something follows the ]; put it on a line of its own");
    bad("[server\n", "f.conf:1: a section's name has no ] at its end; write [section]");
    bad("[listener aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa]\n",
        "f.conf:1: a section's name is longer than 49 octets; make it shorter");
    bad("workers = 2\n[server]\n",
        "f.conf:1: a key before the first section; put it below one such as [server]");
    bad("[server]\nworkers\n",
        "f.conf:2: neither a [section] nor key = value; a comment starts with #");
}

static void indentation_never_joins_lines(void **state)
{
    (void)state;
    struct conf *c = good("[server]\n  hostname = a.example\n\tworkers = 5\n");
    assert_string_equal(c->hostname, "a.example");
    assert_int_equal(c->workers, 5);
    conf_free(c);
    bad("[server]\nhostname = a\n  b\n",
        "f.conf:3: neither a [section] nor key = value; a comment starts with #");
}

static void keys_behind_a_bad_heading_are_not_taken_for_the_section_above(void **state)
{
    (void)state;
    bad("[server]\n[tls\nworkers = 99\n",
        "f.conf:2: a section's name has no ] at its end; write [section]");
}

static void byte_order_mark_and_crlf_are_fine(void **state)
{
    (void)state;
    struct conf *c =
        good("\xef\xbb\xbf[server]\r\nworkers = 5\r\n\r\n# x ; y\r\n[log]\r\nlevel=error");
    assert_int_equal(c->workers, 5);
    assert_int_equal(c->log_level, CONF_LOG_ERROR);
    conf_free(c);
}

static void control_octets_are_errors_even_in_comments(void **state)
{
    (void)state;
    static const char nul[] = "[server]\nworkers = 5\0\n";
    assert_null(conf_parse(nul, sizeof nul - 1, "f.conf", NULL, &errors));
    assert_string_equal(
        errors.text,
        "f.conf:2: a control octet (NUL, lone carriage return or the like); remove it\n");
    bad("# a\rb\n", "f.conf:1: a control octet (NUL, lone carriage return or the like); remove it");
    bad("[log]\nlevel = in\033fo\n",
        "f.conf:2: a control octet (NUL, lone carriage return or the like); remove it");
}

static void listener_needs_address_and_tls(void **state)
{
    (void)state;
    assert_null(parse_env("[log]\n[listener x]\n", NULL));
    assert_string_equal(errors.text,
                        "f.conf:2: [listener x] address: is missing; each listener needs it\n"
                        "f.conf:2: [listener x] tls: is missing; each listener needs it\n");
}

static void listener_without_its_upstream_is_refused(void **state)
{
    (void)state;
    bad("[listener x]\naddress = *:1\ntls = implicit\nupstream = smart\n",
        "f.conf:4: [listener x] upstream: there is no [upstream smart]; add it or name one that there "
        "is, such as mta");
    /* Not silently to 127.0.0.1:25 when the file names other MTAs. */
    bad("[listener x]\naddress = *:1\ntls = implicit\n[upstream smart]\n",
        "f.conf:1: [listener x] upstream: there is no [upstream mta]; add it or name one that there "
        "is, such as smart");
}

static void two_listeners_cannot_share_an_address(void **state)
{
    (void)state;
    bad("[listener x]\naddress = *:465\ntls = implicit\n"
        "[listener y]\naddress = 127.0.0.1:465\ntls = implicit\n",
        "f.conf:5: [listener y] address: 127.0.0.1:465 is taken by *:465 of [listener x]; choose "
        "another address or port");
    bad("[listener x]\naddress = [::1]:1 [0::1]:1\ntls = implicit\n",
        "f.conf:2: [listener x] address: [::1]:1 is taken by [::1]:1 of [listener x]; choose another "
        "address or port");
    conf_free(good("[listener x]\naddress = 0.0.0.0:1 [::]:1\ntls = implicit\n"));
}

static void proxy_that_would_talk_to_itself_is_refused(void **state)
{
    (void)state;
    const char *sentence =
        "f.conf:2: [upstream mta] address: 127.0.0.1:587 is where [listener "
        "submission] listens, mail would go in circles; name the MTA's own address";
    bad("[upstream]\naddress = 127.0.0.1:587\n", sentence);
    conf_free(good("[upstream]\naddress = mail.example:587\n"));
    conf_free(good("[listener x]\naddress = 192.0.2.1:25\ntls = starttls\n"));
    assert_null(parse_env("[listener x]\naddress = *:25\ntls = starttls\n", NULL));
}

/* A listener x with `keys`, which begin in line 3. */
static void bad_listener(const char *keys, const char *sentence)
{
    char text[512], expected[512];
    snprintf(text, sizeof text, "[listener x]\naddress = *:1\n%s", keys);
    snprintf(expected, sizeof expected, "f.conf:%s", sentence);
    bad(text, expected);
}

static void good_listener(const char *keys)
{
    char text[512];
    snprintf(text, sizeof text, "[listener x]\naddress = *:1\n%s", keys);
    conf_free(good(text));
}

static void what_would_be_an_open_relay_is_refused(void **state)
{
    (void)state;
    const char *any =
        "any would relay for everybody where auth is not required; name your domains, "
        "or the networks that may send in trusted";
    char sentence[256];
    snprintf(sentence, sizeof sentence, "1: [listener x] recipients: %s", any);
    bad_listener("tls = starttls\nauth = none\n", sentence);
    bad_listener("tls = starttls\nauth = optional\n", sentence);
    bad_listener("tls = starttls\nauth = optional\ntrusted = none\n", sentence);
    snprintf(sentence, sizeof sentence, "5: [listener x] recipients: %s", any);
    bad_listener("tls = starttls\nauth = none\nrecipients = ANY\n", sentence);
    good_listener("tls = starttls\nauth = none\nrecipients = example.com\n");
    good_listener("tls = starttls\nauth = optional\ntrusted = 10.0.0.0/8\n");
    good_listener("tls = starttls\nauth = optional\ntrusted = 10.0.0.0/8\nrecipients = any\n");

    static const char *const wide[] = {"0.0.0.0/0",      "::/0",         "0.0.0.0/7", "128.0.0.0/1",
                                       "::ffff:0:0/96",  "::/80",        "::/8",      "2000::/3",
                                       "::ffff:0:0/103", "::fffe:0:0/95"};
    for (size_t i = 0; i < sizeof wide / sizeof *wide; i++) {
        char keys[128];
        snprintf(keys, sizeof keys, "tls = starttls\nauth = none\ntrusted = %s\n", wide[i]);
        snprintf(sentence, sizeof sentence,
                 "5: [listener x] trusted: %s holds too much of the internet to be trusted; name "
                 "networks of your own, /8 at most (IPv6: /7)",
                 wide[i]);
        bad_listener(keys, sentence);
    }
    char *environment[] = {"VESTIBULE_LISTENER_SUBMISSION_AUTH=none", NULL};
    bad_env("", environment,
            "f.conf: [listener submission] recipients: any would relay for everybody where auth is "
            "not required; name your domains, or the networks that may send in trusted");
}

static void tls_none_is_for_trusted_networks_without_passwords(void **state)
{
    (void)state;
    const char *password = "3: [listener x] tls: none would let passwords go in clear; write "
                           "starttls, or auth = none and the trusted networks";
    bad_listener("tls = none\n", password);
    bad_listener("tls = none\nauth = optional\ntrusted = 10.0.0.0/8\n", password);
    bad_listener("tls = none\nauth = none\nrecipients = example.com\n",
                 "3: [listener x] tls: none is for known networks only; name them in trusted, or "
                 "write starttls");
    bad_listener(
        "tls = none\nauth = none\ntrusted = 10.0.0.0/8\nrequire_tls = yes\n",
        "6: [listener x] require_tls: yes is impossible with tls = none; remove one of them");
    good_listener("tls = none\nauth = none\ntrusted = 10.0.0.0/8\nrequire_tls = no\n");
    good_listener("tls = none\nauth = none\ntrusted = 10.0.0.0/8\nrecipients = example.com\n");
}

static void keys_without_effect_are_told(void **state)
{
    (void)state;
    bad_listener("tls = starttls\nrecipients = example.com\n",
                 "4: [listener x] recipients: would have no effect, since auth is required; remove "
                 "it, or write auth = optional");
    bad_listener(
        "tls = starttls\nauth = required\ntrusted = 10.0.0.0/8\n",
        "5: [listener x] trusted: would have no effect, since auth is required; remove it, "
        "or write auth = optional");
    good_listener("tls = starttls\nauth = required\nrecipients = any\ntrusted = none\n");
    bad("[policy]\nsenders = /s\n",
        "f.conf:2: [policy] senders: would have no effect, since sender is any; write sender = login");
    bad("[auth]\nldap_bind_dn = cn=x\n",
        "f.conf:2: [auth] ldap_bind_dn: would have no effect, since "
        "there is no backend ldap; remove it");
    bad("[auth]\nca = /ca\n",
        "f.conf:2: [auth] ca: would have no effect, since there is no backend "
        "by a URL; remove it");
    bad("[auth]\nbackend = https://x/\nldap_bind_password_file = /p\n",
        "f.conf:3: [auth] ldap_bind_password_file: would have no effect, since there is no backend "
        "with an ldap_bind_dn; remove it");
    bad("[oauth]\nclient_id = x\n",
        "f.conf:2: [oauth] client_id: would have no effect without introspection; remove it");
}

static void one_wrong_value_is_one_error(void **state)
{
    (void)state;
    bad_listener(
        "tls = starttls\nauth = nobody\nrecipients = example.com\n",
        "4: [listener x] auth: \"nobody\" is unknown; what there is: required, optional, none");
    bad_listener("tls = none\nauth = none\ntrusted = 10\n",
                 "5: [listener x] trusted: \"10\" is not a network; write 192.0.2.0/24, "
                 "2001:db8::/32 or one address");
    bad("[policy]\nsender = me\nsenders = /s\n",
        "f.conf:2: [policy] sender: \"me\" is unknown; what there is: any, login");
}

static void networks_are_read_whole_or_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *back; /* NULL: refused */
        unsigned bits;
    } rows[] = {
        {"10.0.0.0/8", "10.0.0.0/8", 104},
        {"192.0.2.1", "192.0.2.1", 128},
        {"192.0.2.1/32", "192.0.2.1", 128},
        {"192.0.2.254/31", "192.0.2.254/31", 127},
        {"0.0.0.0/0", "0.0.0.0/0", 96},
        {"::1", "::1", 128},
        {"2001:DB8:0:0::/32", "2001:db8::/32", 32},
        {"fe80::/10", "fe80::/10", 10},
        {"::ffff:10.0.0.0/104", "10.0.0.0/8", 104},
        {"::/0", "::/0", 0},
        {"::/80", "::/80", 80},
        {"192.0.2.1/24", NULL, 0},
        {"192.0.2.1/31", NULL, 0},
        {"2001:db8::1/127", NULL, 0},
        {"8000::/0", NULL, 0},
        {"192.0.2.0/33", NULL, 0},
        {"2001:db8::/129", NULL, 0},
        {"192.0.2.0/", NULL, 0},
        {"192.0.2.0/-1", NULL, 0},
        {"192.0.2.0/+24", NULL, 0},
        {"192.0.2.0/24x", NULL, 0},
        {"192.0.2.0/24/24", NULL, 0},
        {"192.0.2.0/4294967320", NULL, 0},
        {"192.0.2.0/18446744073709551640", NULL, 0},
        {"/24", NULL, 0},
        {"", NULL, 0},
        {"10/8", NULL, 0},
        {"10.0.0/24", NULL, 0},
        {"10.0.0.256", NULL, 0},
        {"[::1]", NULL, 0},
        {"fe80::1%eth0", NULL, 0},
        {"localhost", NULL, 0},
        {"*", NULL, 0},
        {"0000:0000:0000:0000:0000:0000:0000:0000:0000:0000", NULL, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint8_t address[16], bits;
        char back[CONF_VALUE_NETWORK_MAX];
        const char *why = NULL;
        bool ok = conf_value_network(address, &bits, &why, rows[i].text);
        if (ok != (rows[i].back != NULL))
            fail_msg("%s", rows[i].text);
        if (!ok)
            continue;
        assert_int_equal(bits, rows[i].bits);
        conf_value_network_text(back, address, bits);
        assert_string_equal(back, rows[i].back);
    }
    uint8_t address[16], bits;
    const char *why;
    static const uint8_t expected[16] = {[10] = 0xff, [11] = 0xff, [12] = 10, [13] = 1};
    assert_true(conf_value_network(address, &bits, &why, "10.1.0.0/16"));
    assert_memory_equal(address, expected, 16);
    assert_true(conf_value_network(address, &bits, &why, "::/96") &&
                !conf_value_network_wide(address, bits));
    assert_true(conf_value_network(address, &bits, &why, "127.0.0.0/8") &&
                !conf_value_network_wide(address, bits));
}

static void domains_are_canonical_or_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *back; /* NULL: refused */
    } rows[] = {
        {"Example.COM", "example.com"},
        {"example.com.", "example.com"},
        {"a", "a"},
        {"4u.example", "4u.example"},
        {"example.com..", NULL},
        {".", NULL},
        {"", NULL},
        {".example.com", NULL},
        {"*.example.com", NULL},
        {"@example.com", NULL},
        {"a_b.example", NULL},
        {"-a.example", NULL},
        {"a-.example", NULL},
        {"192.0.2.1", NULL},
        {"[192.0.2.1]", NULL},
        {"b\xc3\xbc.example", NULL},
        {"a..b", NULL},
        {"user%a.example", NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char out[CONF_VALUE_HOST_MAX + 1];
        bool ok = conf_value_domain(out, rows[i].text);
        if (ok != (rows[i].back != NULL))
            fail_msg("%s", rows[i].text);
        if (ok)
            assert_string_equal(out, rows[i].back);
    }
    char big[400], out[CONF_VALUE_HOST_MAX + 1];
    memset(big, 'a', sizeof big);
    for (size_t i = 63; i < sizeof big; i += 64)
        big[i] = '.';
    big[253] = '.';
    big[254] = '\0';
    assert_true(conf_value_domain(out, big)); /* 253 and the final dot */
    strcpy(big + 253, "a");
    assert_false(conf_value_domain(out, big));
    memset(big, 'a', sizeof big - 1); /* longer than the room, whatever its labels */
    big[sizeof big - 1] = '\0';
    assert_false(conf_value_domain(out, big));
}

static void lists_of_the_gate_are_bounded_and_not_mixed(void **state)
{
    (void)state;
    char text[8192];
    const char *head = "[listener x]\naddress = *:1\ntls = starttls\nauth = none\n";
    size_t used = (size_t)snprintf(text, sizeof text, "%s", head);
    for (int i = 0; i < CONF_NETWORKS_MAX; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "trusted = 10.0.%d.0/24\n", i);
    for (int i = 0; i < CONF_DOMAINS_MAX; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "recipients = d%d.example\n", i);
    struct conf *c = good(text);
    assert_int_equal(c->listener[0].trusted.count, CONF_NETWORKS_MAX);
    assert_int_equal(c->listener[0].recipients.count, CONF_DOMAINS_MAX);
    assert_string_equal(c->listener[0].recipients.at[63], "d63.example");
    conf_free(c);
    strcpy(text + used, "trusted = ::1\n");
    bad(text, "f.conf:101: [listener x] trusted: has more than 32 networks; name fewer");
    strcpy(text + used, "recipients = d\n");
    bad(text, "f.conf:101: [listener x] recipients: has more than 64 domains; name fewer");

    bad_listener("tls = starttls\nauth = none\nrecipients = any example.com\n",
                 "5: [listener x] recipients: has any beside domains; keep one or the other");
    bad_listener("tls = starttls\nauth = none\nrecipients = example.com\nrecipients = any\n",
                 "6: [listener x] recipients: has any beside domains; keep one or the other");
    bad_listener("tls = starttls\nauth = none\ntrusted = ::1 none\n",
                 "5: [listener x] trusted: has none beside networks; keep one or the other");
    bad_listener(
        "tls = starttls\nauth = none\ntrusted = ,\n",
        "5: [listener x] trusted: names nothing; remove the line to get the default, none");
    bad_listener(
        "tls = starttls\nauth = none\nrecipients = *\n",
        "5: [listener x] recipients: \"*\" is not a domain; use letters, digits, hyphens and "
        "dots: example.com");
}

static void rates_are_read_whole_or_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint32_t count; /* 0: refused */
        uint64_t period_ms;
    } rows[] = {
        {"200/1h", 200, 3600000},
        {"1/500ms", 1, 500},
        {"4294967295/2d", UINT32_MAX, 172800000},
        {"4294967296/1h", 0, 0},
        {"0/1h", 0, 0},
        {"1/0", 0, 0},
        {"1/0s", 0, 0},
        {"1/h", 0, 0},
        {"1/60", 0, 0},
        {"1", 0, 0},
        {"/1h", 0, 0},
        {"", 0, 0},
        {"1 / 1h", 0, 0},
        {"1/1h ", 0, 0},
        {"-1/1h", 0, 0},
        {"1//1h", 0, 0},
        {"1/1h/1h", 0, 0},
        {"off", 0, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint32_t count;
        uint64_t period_ms;
        bool ok = conf_value_rate(&count, &period_ms, rows[i].text);
        if (ok != (rows[i].count != 0))
            fail_msg("%s", rows[i].text);
        if (ok) {
            assert_int_equal(count, rows[i].count);
            assert_int_equal(period_ms, rows[i].period_ms);
        }
    }
    bad("[policy]\nmessages = 200\n",
        "f.conf:2: [policy] messages: \"200\" is not a rate; write a number, / and a time: 200/1h, "
        "or off");
    bad("[policy]\nmessages = 1000001/1h\n",
        "f.conf:2: [policy] messages: 1000001/1h is out of range; use 1 to 1000000, or off");
    bad("[policy]\nconnects_per_client = 1/999ms\n",
        "f.conf:2: [policy] connects_per_client: 1/999ms is out of range; use a time of 1s to 1d");
    bad("[policy]\nrecipients = 1/25h\n",
        "f.conf:2: [policy] recipients: 1/25h is out of range; use a time of 1s to 1d");
    bad("[policy]\nmessages = 1/1h\nmessages = off\n",
        "f.conf:3: [policy] messages: is given twice, first in line 2; keep one");
}

static void ranges_of_numbers_and_times_hold_at_their_ends(void **state)
{
    (void)state;
    static const struct {
        const char *section, *key, *low, *least, *most, *high;
    } rows[] = {
        {"upstream", "max_connections", "0", "1", "1000", "1001"},
        {"upstream", "messages_per_connection", "0", "1", "1000", "1001"},
        {"upstream", "banner_timeout", "99ms", "100ms", "1h", "3601s"},
        {"upstream", "data_init_timeout", "99ms", "100ms", "1h", "3601s"},
        {"upstream", "block_timeout", "99ms", "100ms", "1h", "3601s"},
        {"policy", "sessions_per_client", "-1", "0", "1000000", "1000001"},
        {"listener x", "idle_timeout", "9999ms", "10s", "1h", "3601s"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *values[] = {rows[i].low, rows[i].least, rows[i].most, rows[i].high};
        for (size_t v = 0; v < 4; v++) {
            char text[256];
            snprintf(text, sizeof text,
                     "[listener x]\naddress = *:1\ntls = starttls\n[%s]\n%s = %s\n",
                     rows[i].section, rows[i].key, values[v]);
            struct conf *c = parse_env(text, NULL);
            if ((c != NULL) != (v == 1 || v == 2))
                fail_msg("%s", text);
            assert_int_equal(errors.count, c == NULL);
            conf_free(c);
        }
    }
}

static void identity_decides_about_the_header(void **state)
{
    (void)state;
    static const struct {
        const char *word;
        enum conf_identity identity;
        bool trace;
    } rows[] = {{"received", CONF_IDENTITY_RECEIVED, true},
                {"none", CONF_IDENTITY_NONE, false},
                {"xclient", CONF_IDENTITY_XCLIENT, true},
                {"proxy-v1", CONF_IDENTITY_PROXY_V1, true},
                {"proxy-v2", CONF_IDENTITY_PROXY_V2, true},
                {"transparent", CONF_IDENTITY_TRANSPARENT, true}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[64];
        snprintf(text, sizeof text, "[upstream]\nidentity = %s\n", rows[i].word);
        struct conf *c = good(text);
        assert_int_equal(c->upstream[0].identity, rows[i].identity);
        assert_int_equal(c->upstream[0].trace, rows[i].trace);
        conf_free(c);
    }
}

static void environment_wins_and_lists_are_replaced(void **state)
{
    (void)state;
    char *environment[] = {"PATH=/bin",
                           "VESTIBULE_SERVER_HOSTNAME=env.example",
                           "VESTIBULE_UPSTREAM_ADDRESS=mta:25,backup:26",
                           "VESTIBULE_TLS_CERTIFICATE=/c.pem /k.pem, /both.pem",
                           "VESTIBULE_AUTH_MECHANISMS=PLAIN",
                           "VESTIBULE_TLS_CIPHERS=X",
                           "VESTIBULE_LISTENER_IN_TRUSTED=none",
                           "VESTIBULE_LISTENER_IN_RECIPIENTS=env.example",
                           "VESTIBULE_UPSTREAM_DATA_INIT_TIMEOUT=7s",
                           "VESTIBULE_POLICY_CONNECTS_PER_CLIENT=5/1s",
                           NULL};
    struct conf *c = good_env("[server]\nhostname = file.example\nworkers = 2\n"
                              "[upstream]\naddress = 10.0.0.1:25\naddress = 10.0.0.2:25\n"
                              "[tls]\ncertificate = /old\nciphers = Y\n[auth]\nmechanisms = LOGIN\n"
                              "[listener in]\naddress = *:1\ntls = starttls\nauth = none\n"
                              "trusted = 10.0.0.0/8\nrecipients = any\n",
                              environment);
    assert_int_equal(c->listener[0].trusted.count, 0);
    assert_false(c->listener[0].recipients.any);
    assert_int_equal(c->listener[0].recipients.count, 1);
    assert_string_equal(c->listener[0].recipients.at[0], "env.example");
    assert_int_equal(c->upstream[0].data_init_timeout, 7000);
    assert_int_equal(c->upstream[0].data_timeout, 600000);
    check_rate(&c->policy.connects_per_client, 5, 1000);
    assert_string_equal(c->hostname, "env.example");
    assert_int_equal(c->workers, 2);
    assert_int_equal(c->upstream_count, 1);
    assert_int_equal(c->upstream[0].address.count, 2);
    check_address(&c->upstream[0].address.at[1], "backup", 26);
    assert_int_equal(c->certificate_count, 2);
    assert_string_equal(c->certificate[0].key, "/k.pem");
    assert_string_equal(c->certificate[1].key, "/both.pem");
    assert_int_equal(c->mechanisms, CONF_PLAIN);
    assert_string_equal(c->ciphers, "X");
    conf_free(c);
}

static void environment_makes_and_changes_named_sections(void **state)
{
    (void)state;
    char *builtin[] = {"VESTIBULE_LISTENER_SUBMISSION_ADDRESS=*:1587", NULL};
    struct conf *c = good_env("", builtin);
    assert_int_equal(c->listener_count, 2);
    check_address(&c->listener[1].address.at[0], "*", 1587);
    assert_int_equal(c->listener[1].address.count, 1);
    assert_int_equal(c->listener[1].tls, CONF_STARTTLS);
    conf_free(c);

    char *made[] = {"VESTIBULE_LISTENER_OLD_PRINTERS_ADDRESS=*:2525",
                    "VESTIBULE_LISTENER_OLD_PRINTERS_TLS=starttls",
                    "VESTIBULE_LISTENER_OLD_PRINTERS_REQUIRE_TLS=no",
                    "VESTIBULE_LISTENER_OLD_PRINTERS_UPSTREAM=smart",
                    "VESTIBULE_UPSTREAM_SMART_ADDRESS=smart:25",
                    "VESTIBULE_UPSTREAM_SMART_CONNECT_TIMEOUT=1s",
                    "VESTIBULE_UPSTREAM_CONNECT_TIMEOUT=2s",
                    NULL};
    c = good_env("", made);
    assert_int_equal(c->listener_count, 3);
    assert_string_equal(c->listener[2].name, "old_printers");
    assert_false(c->listener[2].require_tls);
    assert_int_equal(c->listener[2].tls, CONF_STARTTLS);
    assert_string_equal(c->upstream[c->listener[2].upstream].name, "smart");
    assert_int_equal(c->upstream[0].connect_timeout, 1000);
    assert_string_equal(c->upstream[1].name, "mta");
    assert_int_equal(c->upstream[1].connect_timeout, 2000);
    conf_free(c);

    char *hyphen[] = {"VESTIBULE_LISTENER_MY_PORT_TLS=starttls", NULL};
    c = good_env("[listener my-port]\naddress = *:1\n", hyphen);
    assert_int_equal(c->listener_count, 1);
    assert_string_equal(c->listener[0].name, "my-port");
    conf_free(c);
    bad("[upstream mta]\n[upstream a-b]\n[upstream a_b]\n",
        "f.conf:3: [upstream a_b]: another name differs in - and _ alone; choose a different one");
}

static void wrong_variables_are_named(void **state)
{
    (void)state;
    static const struct {
        char *variable;
        const char *sentence;
    } rows[] = {
        {"VESTIBULE_SERVER_HOSTNAEM=x",
         "VESTIBULE_SERVER_HOSTNAEM: is not a known variable; did you mean VESTIBULE_SERVER_HOSTNAME?"},
        {"VESTIBULE_SERVR_HOSTNAME=x",
         "VESTIBULE_SERVR_HOSTNAME: is not a known variable; did you mean VESTIBULE_SERVER_HOSTNAME?"},
        {"VESTIBULE_LISTENER_FOO_ADRESS=*:1",
         "VESTIBULE_LISTENER_FOO_ADRESS: is not a known variable; did you mean "
         "VESTIBULE_LISTENER_FOO_ADDRESS?"},
        {"VESTIBULE_UPSTREAM_ADDRES=x",
         "VESTIBULE_UPSTREAM_ADDRES: is not a known variable; did you mean VESTIBULE_UPSTREAM_ADDRESS?"},
        {"VESTIBULE_X=1",
         "VESTIBULE_X: is not a known variable; it must be VESTIBULE_<SECTION>_<KEY>"},
        {"VESTIBULE_log_level=info", "VESTIBULE_log_level: is not a known variable; use capitals, "
                                     "digits and _ as in VESTIBULE_LOG_LEVEL"},
        {"VESTIBULE_LISTENER_ADDRESS=*:1",
         "VESTIBULE_LISTENER_ADDRESS: does not say which listener; write VESTIBULE_LISTENER_<NAME>_<KEY>"},
        {"VESTIBULE_LOG_LEVEL=loud",
         "VESTIBULE_LOG_LEVEL: \"loud\" is unknown; what there is: debug, "
         "info, warning, error"},
        {"VESTIBULE_LOG_LEVEL=", "VESTIBULE_LOG_LEVEL: has no value; remove it to get the default"},
        {"VESTIBULE_POLICY_SENDR=any",
         "VESTIBULE_POLICY_SENDR: is not a known variable; did you mean VESTIBULE_POLICY_SENDER?"},
        {"VESTIBULE_CLUSTER_REDIS=x", "VESTIBULE_CLUSTER_REDIS: is not supported yet; remove it"},
        {"VESTIBULE_METRICS_ADDRESS=*:1",
         "VESTIBULE_METRICS_ADDRESS: is not supported yet; remove it"},
        {"VESTIBULE_SERVER_HOSTNAME=a\nb",
         "VESTIBULE_SERVER_HOSTNAME: holds a control octet; remove it"},
        {"VESTIBULE_PORT_465_TCP=tcp://10.0.0.1:465",
         "VESTIBULE_PORT_465_TCP: looks like a service link of the container platform; switch those "
         "off (Kubernetes: enableServiceLinks: false)"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *environment[] = {rows[i].variable, NULL};
        bad_env("", environment, rows[i].sentence);
    }
    char *twice[] = {"VESTIBULE_LOG_LEVEL=info", "VESTIBULE_LOG_LEVEL=error", NULL};
    bad_env("", twice, "VESTIBULE_LOG_LEVEL: is given twice; keep one");
}

static void value_from_the_environment_always_fits_a_line(void **state)
{
    (void)state;
    char variable[400] = "VESTIBULE_SERVER_STATE_DIR=/";
    memset(variable + strlen(variable), 'x', 300);
    char *environment[] = {variable, NULL};
    bad_env("", environment,
            "VESTIBULE_SERVER_STATE_DIR: has a value of 301 octets, more than 185; "
            "make it shorter");
}

static void addresses_are_split_at_the_right_colon(void **state)
{
    (void)state;
    static const struct {
        const char *text, *host;
        unsigned port; /* 0: refused */
    } rows[] = {
        {"localhost:25", "localhost", 25},
        {"127.0.0.1:65535", "127.0.0.1", 65535},
        {"[::1]:465", "::1", 465},
        {"[::ffff:192.0.2.1]:1", "::ffff:192.0.2.1", 1},
        {"*:465", "*", 465},
        {"my_mta:25", "my_mta", 25},
        {"localhost", "", 0},
        {"localhost:", "", 0},
        {"localhost:0", "", 0},
        {"localhost:65536", "", 0},
        {"localhost:18446744073709551641", "", 0},
        {"localhost:+25", "", 0},
        {"localhost: 25", "", 0},
        {":25", "", 0},
        {"::1:25", "", 0},
        {"[::1]25", "", 0},
        {"[::1]", "", 0},
        {"[::1:25", "", 0},
        {"[]:25", "", 0},
        {"[localhost]:25", "", 0},
        {"127.1:25", "", 0},
        {"1.2.3.256:25", "", 0},
        {"a b:25", "", 0},
        {"**:25", "", 0},
        {"", "", 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char host[CONF_VALUE_HOST_MAX + 1];
        uint16_t port = 0;
        const char *why;
        bool ok = conf_value_address(host, &port, &why, rows[i].text);
        if (ok != (rows[i].port != 0))
            fail_msg("%s", rows[i].text);
        if (ok) {
            assert_string_equal(host, rows[i].host);
            assert_int_equal(port, rows[i].port);
        }
    }
}

static void sizes_and_times_survive_being_written(void **state)
{
    (void)state;
    static const uint64_t numbers[] = {0,
                                       1,
                                       999,
                                       1000,
                                       1024,
                                       1536,
                                       60000,
                                       3600000,
                                       86400000,
                                       90000,
                                       52428800,
                                       UINT64_MAX,
                                       UINT64_C(1) << 40};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        char text[CONF_VALUE_TEXT_MAX];
        uint64_t back;
        conf_value_size_text(text, numbers[i]);
        assert_true(conf_value_size(&back, text));
        assert_true(back == numbers[i]);
        conf_value_time_text(text, numbers[i]);
        assert_true(conf_value_time(&back, text));
        assert_true(back == numbers[i]);
    }
    uint64_t out;
    assert_false(conf_value_size(&out, "17179869184G"));
    assert_false(conf_value_size(&out, "-1"));
    assert_false(conf_value_size(&out, " 1"));
    assert_false(conf_value_time(&out, "1S"));
    assert_false(conf_value_time(&out, "s"));
    assert_true(conf_value_time(&out, "0"));
    assert_true(conf_value_size(&out, "5K") && out == 5120);
}

static void distance_counts_edits(void **state)
{
    (void)state;
    assert_int_equal(conf_table_distance("hostname", "hostname"), 0);
    assert_int_equal(conf_table_distance("hostnaem", "hostname"), 1);
    assert_int_equal(conf_table_distance("hostnme", "hostname"), 1);
    assert_int_equal(conf_table_distance("hoostname", "hostname"), 1);
    assert_int_equal(conf_table_distance("", "abc"), 3);
    assert_int_equal(conf_table_distance("kitten", "sitting"), 3);
}

static char *file_text(const char *path)
{
    FILE *in = fopen(path, "r");
    char *text = calloc(1, 1 << 20);
    if (in == NULL)
        fail_msg("%s is not there; run tests from the top of the tree", path);
    assert_true(fread(text, 1, (1 << 20) - 1, in) > 0);
    fclose(in);
    return text;
}

static void shipped_example_changes_nothing_and_names_every_key(void **state)
{
    (void)state;
    char *text = file_text("conf/vestibule.conf");
    struct conf *c = good(text), *nothing = good("");
    char *a = written(c), *b = written(nothing);
    assert_string_equal(a, b);
    for (size_t i = 0; i < conf_key_count; i++) {
        char line[64];
        snprintf(line, sizeof line, "\n#%s = ", conf_key[i].name);
        if (conf_key[i].type != NULL && strstr(text, line) == NULL)
            fail_msg("vestibule.conf lacks %s", conf_key[i].name);
    }
    assert_null(strstr(text, "metrics"));
    free(a);
    free(b);
    free(text);
    conf_free(c);
    conf_free(nothing);
}

/* With its # removed, each example line is a key of the table: what people will do first. */
static void shipped_example_works_when_uncommented(void **state)
{
    (void)state;
    char *text = file_text("conf/vestibule.conf");
    for (char *at = text; (at = strstr(at, "\n#")) != NULL; at++) {
        if ((at[2] >= 'a' && at[2] <= 'z') || at[2] == '[')
            at[1] = ' ';
    }
    struct conf *c = good(text);
    assert_int_equal(c->listener_count, 2);
    assert_int_equal(c->max_failures, 3);
    assert_int_equal(c->certificate_count, 1);
    free(text);
    conf_free(c);
}

static void manual_explains_every_key_and_default(void **state)
{
    (void)state;
    char *text = file_text("conf/vestibule.conf.5");
    for (size_t i = 0; i < conf_key_count; i++) {
        char line[96];
        snprintf(line, sizeof line, ".It Ic %s No = ", conf_key[i].name);
        if (conf_key[i].type != NULL && strstr(text, line) == NULL)
            fail_msg("%s is not explained", conf_key[i].name);
        snprintf(line, sizeof line, ".Ic %s", conf_key[i].name);
        if (conf_key[i].type == NULL && strstr(text, line) == NULL)
            fail_msg("%s is not named as reserved", conf_key[i].name);
        snprintf(line, sizeof line, "%s", conf_key[i].fallback != NULL ? conf_key[i].fallback : "");
        if (strstr(text, line) == NULL)
            fail_msg("the default of %s is not told: %s", conf_key[i].name, line);
    }
    free(text);
}

static void put_file(const char *path, const char *text, mode_t mode)
{
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    fputs(text, out);
    fclose(out);
    assert_int_equal(chmod(path, mode), 0);
}

static void file_that_others_may_write_is_not_trusted(void **state)
{
    (void)state;
    char dir[] = "/tmp/test_conf.XXXXXX", path[64], expected[160];
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/v.conf", dir);

    put_file(path, "[server]\nworkers = 5\n", 0640);
    struct conf *c = conf_load(path, NULL, &errors);
    assert_non_null(c);
    assert_int_equal(c->workers, 5);
    assert_true(conf_value_hostname(c->hostname)); /* this host's */
    conf_free(c);

    static const mode_t modes[] = {0660, 0602, 0622};
    for (size_t i = 0; i < 3; i++) {
        chmod(path, modes[i]);
        assert_null(conf_load(path, NULL, &errors));
        snprintf(expected, sizeof expected,
                 "%s: writable by others than its owner; run: chmod go-w on the file\n", path);
        assert_string_equal(errors.text, expected);
    }
    unlink(path);
    assert_null(conf_load(path, NULL, &errors));
    snprintf(expected, sizeof expected,
             "%s: there is no such file; name one that there is with -c\n", path);
    assert_string_equal(errors.text, expected);
    assert_null(conf_load(dir, NULL, &errors));
    snprintf(expected, sizeof expected, "%s: not a regular file; name the configuration file\n",
             dir);
    assert_string_equal(errors.text, expected);
    assert_int_equal(mkfifo(path, 0600), 0); /* must not hang */
    assert_null(conf_load(path, NULL, &errors));
    unlink(path);

    put_file(path, "", 0600);
    assert_int_equal(truncate(path, 1024 * 1024 + 1), 0);
    assert_null(conf_load(path, NULL, &errors));
    snprintf(expected, sizeof expected, "%s: larger than 1 MiB; that is no configuration file\n",
             path);
    assert_string_equal(errors.text, expected);
    unlink(path);
    rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_given_is_the_documented_default),
        cmocka_unit_test(every_key_reaches_its_field),
        cmocka_unit_test(what_is_written_reads_back_the_same),
        cmocka_unit_test(every_supported_key_is_written),
        cmocka_unit_test(no_prefix_of_a_file_crashes_or_reads_differently_twice),
        cmocka_unit_test(unknown_key_names_file_line_key_and_the_nearest),
        cmocka_unit_test(unknown_section_is_told_once_with_the_nearest),
        cmocka_unit_test(key_given_twice_is_refused_where_it_is_no_list),
        cmocka_unit_test(all_errors_of_a_file_are_shown_at_once),
        cmocka_unit_test(too_many_errors_are_counted),
        cmocka_unit_test(what_is_not_there_yet_is_refused_never_ignored),
        cmocka_unit_test(backends_are_known_by_what_they_begin_with),
        cmocka_unit_test(tokens_of_anybody_are_not_taken),
        cmocka_unit_test(values_that_do_not_fit_are_refused_never_cut),
        cmocka_unit_test(host_name_that_could_break_a_banner_is_refused),
        cmocka_unit_test(lines_that_inih_would_cut_are_errors),
        cmocka_unit_test(indentation_never_joins_lines),
        cmocka_unit_test(keys_behind_a_bad_heading_are_not_taken_for_the_section_above),
        cmocka_unit_test(byte_order_mark_and_crlf_are_fine),
        cmocka_unit_test(control_octets_are_errors_even_in_comments),
        cmocka_unit_test(listener_needs_address_and_tls),
        cmocka_unit_test(listener_without_its_upstream_is_refused),
        cmocka_unit_test(two_listeners_cannot_share_an_address),
        cmocka_unit_test(proxy_that_would_talk_to_itself_is_refused),
        cmocka_unit_test(what_would_be_an_open_relay_is_refused),
        cmocka_unit_test(tls_none_is_for_trusted_networks_without_passwords),
        cmocka_unit_test(keys_without_effect_are_told),
        cmocka_unit_test(one_wrong_value_is_one_error),
        cmocka_unit_test(networks_are_read_whole_or_refused),
        cmocka_unit_test(domains_are_canonical_or_refused),
        cmocka_unit_test(lists_of_the_gate_are_bounded_and_not_mixed),
        cmocka_unit_test(rates_are_read_whole_or_refused),
        cmocka_unit_test(ranges_of_numbers_and_times_hold_at_their_ends),
        cmocka_unit_test(identity_decides_about_the_header),
        cmocka_unit_test(environment_wins_and_lists_are_replaced),
        cmocka_unit_test(environment_makes_and_changes_named_sections),
        cmocka_unit_test(wrong_variables_are_named),
        cmocka_unit_test(value_from_the_environment_always_fits_a_line),
        cmocka_unit_test(addresses_are_split_at_the_right_colon),
        cmocka_unit_test(sizes_and_times_survive_being_written),
        cmocka_unit_test(distance_counts_edits),
        cmocka_unit_test(shipped_example_changes_nothing_and_names_every_key),
        cmocka_unit_test(shipped_example_works_when_uncommented),
        cmocka_unit_test(manual_explains_every_key_and_default),
        cmocka_unit_test(file_that_others_may_write_is_not_trusted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
