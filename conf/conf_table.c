#include "conf/conf_table.h"

#include <string.h>

#include "conf/conf_type.h"

const struct conf_section conf_section[CONF_SECTIONS] = {
    [CONF_SECTION_SERVER] = {"server", false, NULL, 1, false},
    [CONF_SECTION_TLS] = {"tls", false, NULL, 1, false},
    [CONF_SECTION_AUTH] = {"auth", false, NULL, 1, false},
    [CONF_SECTION_OAUTH] = {"oauth", false, NULL, 1, false},
    [CONF_SECTION_UPSTREAM] = {"upstream", true, "mta", CONF_UPSTREAMS_MAX, false},
    [CONF_SECTION_LISTENER] = {"listener", true, NULL, CONF_LISTENERS_MAX, false},
    [CONF_SECTION_MESSAGE] = {"message", false, NULL, 1, false},
    [CONF_SECTION_POLICY] = {"policy", false, NULL, 1, false},
    [CONF_SECTION_LOG] = {"log", false, NULL, 1, false},
    [CONF_SECTION_CLUSTER] = {"cluster", false, NULL, 1, true},
    [CONF_SECTION_METRICS] = {"metrics", false, NULL, 1, true},
};

static const struct conf_choice booleans[] = {{"yes", 1}, {"no", 0},  {"true", 1}, {"false", 0},
                                              {"on", 1},  {"off", 0}, {NULL, 0}};
static const struct conf_choice versions[] = {
    {"1.0", 0x0301}, {"1.1", 0x0302}, {"1.2", 0x0303}, {"1.3", 0x0304}, {NULL, 0}};
static const struct conf_choice listener_tls[] = {{"implicit", CONF_IMPLICIT},
                                                  {"starttls", CONF_STARTTLS},
                                                  {"auto", CONF_NOT_YET},
                                                  {"none", CONF_TLS_NONE},
                                                  {NULL, 0}};
static const struct conf_choice listener_auth[] = {{"required", CONF_AUTH_REQUIRED},
                                                   {"optional", CONF_AUTH_OPTIONAL},
                                                   {"none", CONF_AUTH_NONE},
                                                   {NULL, 0}};
static const struct conf_choice mechanisms[] = {{"PLAIN", CONF_PLAIN},
                                                {"LOGIN", CONF_LOGIN},
                                                {"SCRAM-SHA-256", CONF_SCRAM_SHA_256},
                                                {"SCRAM-SHA-256-PLUS", CONF_SCRAM_SHA_256_PLUS},
                                                {"OAUTHBEARER", CONF_OAUTHBEARER},
                                                {"XOAUTH2", CONF_XOAUTH2},
                                                {"EXTERNAL", CONF_EXTERNAL},
                                                {"SCRAM-SHA-1", CONF_SCRAM_SHA_1},
                                                {"SCRAM-SHA-1-PLUS", CONF_SCRAM_SHA_1_PLUS},
                                                {"CRAM-MD5", CONF_CRAM_MD5},
                                                {"DIGEST-MD5", CONF_DIGEST_MD5},
                                                {"NTLM", CONF_NTLM},
                                                {"GSSAPI", CONF_GSSAPI},
                                                {"GSS-SPNEGO", CONF_GSS_SPNEGO},
                                                {"OTP", CONF_OTP},
                                                {NULL, 0}};
static const struct conf_choice login_domain[] = {
    {"keep", CONF_LOGIN_KEEP}, {"strip", CONF_LOGIN_STRIP}, {NULL, 0}};
static const struct conf_choice login_case[] = {{"keep", false}, {"lower", true}, {NULL, 0}};
static const struct conf_choice upstream_tls[] = {
    {"none", 0}, {"starttls", CONF_NOT_YET}, {"implicit", CONF_NOT_YET}, {NULL, 0}};
static const struct conf_choice identity[] = {{"received", CONF_IDENTITY_RECEIVED},
                                              {"none", CONF_IDENTITY_NONE},
                                              {"xclient", CONF_IDENTITY_XCLIENT},
                                              {"proxy-v1", CONF_IDENTITY_PROXY_V1},
                                              {"proxy-v2", CONF_IDENTITY_PROXY_V2},
                                              {"transparent", CONF_IDENTITY_TRANSPARENT},
                                              {NULL, 0}};
static const struct conf_choice sender[] = {{"any", false}, {"login", true}, {NULL, 0}};
static const struct conf_choice helo[] = {
    {"client", CONF_HELO_CLIENT}, {"proxy", CONF_HELO_PROXY}, {NULL, 0}};
static const struct conf_choice hide[] = {{"none", 0},
                                          {"SIZE", CONF_HIDE_SIZE},
                                          {"8BITMIME", CONF_HIDE_8BITMIME},
                                          {"SMTPUTF8", CONF_HIDE_SMTPUTF8},
                                          {"DSN", CONF_HIDE_DSN},
                                          {"PIPELINING", CONF_HIDE_PIPELINING},
                                          {"ENHANCEDSTATUSCODES", CONF_HIDE_ENHANCEDSTATUSCODES},
                                          {"CHUNKING", CONF_HIDE_CHUNKING},
                                          {NULL, 0}};
static const struct conf_choice received[] = {{"full", CONF_RECEIVED_FULL},
                                              {"no-ip", CONF_RECEIVED_NO_IP},
                                              {"none", CONF_RECEIVED_NONE},
                                              {NULL, 0}};
static const struct conf_choice newline[] = {
    {"normalize", CONF_NORMALIZE}, {"reject", CONF_REJECT}, {NULL, 0}};
static const struct conf_choice target[] = {
    {"stderr", CONF_LOG_STDERR}, {"syslog", CONF_LOG_SYSLOG}, {NULL, 0}};
static const struct conf_choice format[] = {
    {"logfmt", CONF_LOG_LOGFMT}, {"json", CONF_LOG_JSON}, {NULL, 0}};
static const struct conf_choice level[] = {{"debug", CONF_LOG_DEBUG},
                                           {"info", CONF_LOG_INFO},
                                           {"warning", CONF_LOG_WARNING},
                                           {"error", CONF_LOG_ERROR},
                                           {NULL, 0}};

#define SECOND UINT64_C(1000)
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)
#define GIGA (UINT64_C(1) << 30)

#define IN(record, field) offsetof(struct record, field), sizeof(((struct record *)0)->field)
#define NOWHERE 0, 0
#define NOT_YET(section, name)                               \
    {                                                        \
        section, name, NULL, NOWHERE, NULL, NULL, 0, 0, NULL \
    }

/* clang-format off */
const struct conf_key conf_key[] = {
    {CONF_SECTION_SERVER, "hostname", &conf_type_hostname, IN(conf, hostname), NULL, "the full name of this host", 0, 0, NULL},
    {CONF_SECTION_SERVER, "user", &conf_type_account, IN(conf, user), NULL, "vestibule where there is such an account, else whoever starts it", 0, 0, NULL},
    {CONF_SECTION_SERVER, "workers", &conf_type_number, IN(conf, workers), NULL, "one for each core", 1, 64, NULL},
    {CONF_SECTION_SERVER, "state_dir", &conf_type_path, IN(conf, state_dir), "/var/lib/vestibule", NULL, 0, 0, NULL},
    {CONF_SECTION_SERVER, "max_sessions", &conf_type_number, IN(conf, max_sessions), "10000", NULL, 1, 1000000, NULL},
    {CONF_SECTION_SERVER, "drain_timeout", &conf_type_time, IN(conf, drain_timeout), "60s", NULL, 0, 24 * HOUR, NULL},
    {CONF_SECTION_SERVER, "control", &conf_type_path, IN(conf, control), NULL, "control in state_dir", 0, 0, NULL},

    {CONF_SECTION_TLS, "certificate", &conf_type_certificates, NOWHERE, NULL, "a self-signed one, made and kept in state_dir", 0, 0, NULL},
    {CONF_SECTION_TLS, "min_version", &conf_type_choice, IN(conf, min_version), "1.2", NULL, 0, 0, versions},
    {CONF_SECTION_TLS, "ciphers", &conf_type_joined, IN(conf, ciphers), NULL, "forward-secret AEAD suites", 0, 0, NULL},
    {CONF_SECTION_TLS, "groups", &conf_type_joined, IN(conf, groups), NULL, "BoringSSL's", 0, 0, NULL},
    {CONF_SECTION_TLS, "ticket_keys", &conf_type_path, IN(conf, ticket_keys), NULL, "made and rotated", 0, 0, NULL},
    {CONF_SECTION_TLS, "handshake_timeout", &conf_type_time, IN(conf, handshake_timeout), "10s", NULL, 100, 10 * MINUTE, NULL},
    {CONF_SECTION_TLS, "client_ca", &conf_type_path, IN(conf, client_ca), NULL, "clients are not asked for a certificate", 0, 0, NULL},

    {CONF_SECTION_AUTH, "backend", &conf_type_backends, NOWHERE, "file:/etc/vestibule/users", NULL, 0, 0, NULL},
    {CONF_SECTION_AUTH, "mechanisms", &conf_type_set, IN(conf, mechanisms), "PLAIN LOGIN SCRAM-SHA-256 SCRAM-SHA-256-PLUS OAUTHBEARER XOAUTH2 EXTERNAL SCRAM-SHA-1 SCRAM-SHA-1-PLUS CRAM-MD5 DIGEST-MD5 NTLM GSSAPI GSS-SPNEGO OTP", NULL, 0, 0, mechanisms},
    {CONF_SECTION_AUTH, "failure_delay", &conf_type_time, IN(conf, failure_delay), "2s", NULL, 0, 16 * SECOND, NULL},
    {CONF_SECTION_AUTH, "max_failures", &conf_type_number, IN(conf, max_failures), "3", NULL, 1, 100, NULL},
    {CONF_SECTION_AUTH, "cache", &conf_type_time, IN(conf, cache), "60s", NULL, 0, HOUR, NULL},
    {CONF_SECTION_AUTH, "lockout", &conf_type_rate, IN(conf, lockout), "20/10m", NULL, SECOND, 24 * HOUR, NULL},
    {CONF_SECTION_AUTH, "default_realm", &conf_type_hostname, IN(conf, default_realm), NULL, "none", 0, 0, NULL},
    {CONF_SECTION_AUTH, "login_domain", &conf_type_choice, IN(conf, login_domain), "keep", NULL, 0, 0, login_domain},
    {CONF_SECTION_AUTH, "login_case", &conf_type_choice, IN(conf, login_lower), "keep", NULL, 0, 0, login_case},
    {CONF_SECTION_AUTH, "ca", &conf_type_path, IN(conf, ca), NULL, "the system's", 0, 0, NULL},
    {CONF_SECTION_AUTH, "ldap_bind_dn", &conf_type_plain, IN(conf, ldap_bind_dn), NULL, "anonymous", 0, 0, NULL},
    {CONF_SECTION_AUTH, "ldap_bind_password_file", &conf_type_path, IN(conf, ldap_bind_password_file), NULL, "none", 0, 0, NULL},
    {CONF_SECTION_AUTH, "http_header_file", &conf_type_path, IN(conf, http_header_file), NULL, "none", 0, 0, NULL},

    {CONF_SECTION_OAUTH, "jwks", &conf_type_plain, IN(conf, oauth.jwks), NULL, "no JWT is taken", 0, 0, NULL},
    {CONF_SECTION_OAUTH, "issuer", &conf_type_plain, IN(conf, oauth.issuer), NULL, "must be given with jwks", 0, 0, NULL},
    {CONF_SECTION_OAUTH, "audience", &conf_type_plain, IN(conf, oauth.audience), NULL, "must be given with jwks", 0, 0, NULL},
    {CONF_SECTION_OAUTH, "login_claim", &conf_type_plain, IN(conf, oauth.login_claim), "email", NULL, 0, 0, NULL},
    {CONF_SECTION_OAUTH, "introspection", &conf_type_plain, IN(conf, oauth.introspection), NULL, "no server is asked", 0, 0, NULL},
    {CONF_SECTION_OAUTH, "client_id", &conf_type_plain, IN(conf, oauth.client_id), NULL, "none", 0, 0, NULL},
    {CONF_SECTION_OAUTH, "client_secret_file", &conf_type_path, IN(conf, oauth.client_secret_file), NULL, "none", 0, 0, NULL},

    {CONF_SECTION_UPSTREAM, "address", &conf_type_addresses, IN(conf_upstream, address), "127.0.0.1:25", NULL, 0, 0, NULL},
    {CONF_SECTION_UPSTREAM, "tls", &conf_type_choice, NOWHERE, "none", NULL, 0, 0, upstream_tls},
    {CONF_SECTION_UPSTREAM, "identity", &conf_type_choice, IN(conf_upstream, identity), "received", NULL, 0, 0, identity},
    {CONF_SECTION_UPSTREAM, "helo", &conf_type_choice, IN(conf_upstream, helo), "client", NULL, 0, 0, helo},
    {CONF_SECTION_UPSTREAM, "hide", &conf_type_set, IN(conf_upstream, hide), "none", NULL, 0, 0, hide},
    {CONF_SECTION_UPSTREAM, "queue_timeout", &conf_type_time, IN(conf_upstream, queue_timeout), "30s", NULL, 0, HOUR, NULL},
    {CONF_SECTION_UPSTREAM, "connect_timeout", &conf_type_time, IN(conf_upstream, connect_timeout), "5s", NULL, 10, 10 * MINUTE, NULL},
    {CONF_SECTION_UPSTREAM, "reply_timeout", &conf_type_time, IN(conf_upstream, reply_timeout), "5m", NULL, 100, HOUR, NULL},
    {CONF_SECTION_UPSTREAM, "data_timeout", &conf_type_time, IN(conf_upstream, data_timeout), "10m", NULL, 100, HOUR, NULL},
    {CONF_SECTION_UPSTREAM, "banner_timeout", &conf_type_time, IN(conf_upstream, banner_timeout), "5m", NULL, 100, HOUR, NULL},
    {CONF_SECTION_UPSTREAM, "data_init_timeout", &conf_type_time, IN(conf_upstream, data_init_timeout), "2m", NULL, 100, HOUR, NULL},
    {CONF_SECTION_UPSTREAM, "block_timeout", &conf_type_time, IN(conf_upstream, block_timeout), "3m", NULL, 100, HOUR, NULL},
    {CONF_SECTION_UPSTREAM, "max_connections", &conf_type_number, IN(conf_upstream, max_connections), "15", NULL, 1, 1000, NULL},
    {CONF_SECTION_UPSTREAM, "messages_per_connection", &conf_type_number, IN(conf_upstream, messages_per_connection), "10", NULL, 1, 1000, NULL},
    NOT_YET(CONF_SECTION_UPSTREAM, "ca"),
    NOT_YET(CONF_SECTION_UPSTREAM, "username"),
    NOT_YET(CONF_SECTION_UPSTREAM, "password_file"),

    {CONF_SECTION_LISTENER, "address", &conf_type_addresses, IN(conf_listener, address), NULL, NULL, 0, 0, NULL},
    {CONF_SECTION_LISTENER, "tls", &conf_type_choice, IN(conf_listener, tls), NULL, NULL, 0, 0, listener_tls},
    {CONF_SECTION_LISTENER, "require_tls", &conf_type_choice, IN(conf_listener, require_tls), "yes", NULL, 0, 0, booleans},
    {CONF_SECTION_LISTENER, "auth", &conf_type_choice, IN(conf_listener, auth), "required", NULL, 0, 0, listener_auth},
    {CONF_SECTION_LISTENER, "upstream", &conf_type_upstream, NOWHERE, "mta", NULL, 0, 0, NULL},
    {CONF_SECTION_LISTENER, "min_version", &conf_type_choice, IN(conf_listener, min_version), NULL, "that of [tls]", 0, 0, versions},
    {CONF_SECTION_LISTENER, "trusted", &conf_type_networks, IN(conf_listener, trusted), "none", NULL, 0, 0, NULL},
    {CONF_SECTION_LISTENER, "recipients", &conf_type_domains, IN(conf_listener, recipients), "any", NULL, 0, 0, NULL},
    {CONF_SECTION_LISTENER, "proxy_protocol", &conf_type_networks, IN(conf_listener, proxy_protocol), "none", NULL, 0, 0, NULL},
    {CONF_SECTION_LISTENER, "idle_timeout", &conf_type_time, IN(conf_listener, idle_timeout), "5m", NULL, 10 * SECOND, HOUR, NULL},

    {CONF_SECTION_MESSAGE, "max_size", &conf_type_size, IN(conf, max_size), NULL, "the MTA's SIZE, else 50M", 1, 1024 * GIGA, NULL},
    {CONF_SECTION_MESSAGE, "received", &conf_type_choice, IN(conf, received), "full", NULL, 0, 0, received},
    {CONF_SECTION_MESSAGE, "bare_newline", &conf_type_choice, IN(conf, bare_newline), "normalize", NULL, 0, 0, newline},

    {CONF_SECTION_POLICY, "sender", &conf_type_choice, IN(conf, policy.sender_login), "any", NULL, 0, 0, sender},
    {CONF_SECTION_POLICY, "senders", &conf_type_path, IN(conf, policy.senders), NULL, "none", 0, 0, NULL},
    {CONF_SECTION_POLICY, "messages", &conf_type_rate, IN(conf, policy.messages), "off", NULL, SECOND, 24 * HOUR, NULL},
    {CONF_SECTION_POLICY, "recipients", &conf_type_rate, IN(conf, policy.recipients), "off", NULL, SECOND, 24 * HOUR, NULL},
    {CONF_SECTION_POLICY, "sessions_per_client", &conf_type_number, IN(conf, policy.sessions_per_client), "50", NULL, 0, 1000000, NULL},
    {CONF_SECTION_POLICY, "connects_per_client", &conf_type_rate, IN(conf, policy.connects_per_client), "100/1m", NULL, SECOND, 24 * HOUR, NULL},

    {CONF_SECTION_LOG, "target", &conf_type_choice, IN(conf, log_target), "stderr", NULL, 0, 0, target},
    {CONF_SECTION_LOG, "format", &conf_type_choice, IN(conf, log_format), "logfmt", NULL, 0, 0, format},
    {CONF_SECTION_LOG, "level", &conf_type_choice, IN(conf, log_level), "info", NULL, 0, 0, level},

    NOT_YET(CONF_SECTION_CLUSTER, "redis"),
    NOT_YET(CONF_SECTION_METRICS, "address"),
};
/* clang-format on */

const size_t conf_key_count = sizeof conf_key / sizeof *conf_key;
_Static_assert(sizeof conf_key / sizeof *conf_key <= CONF_KEYS_MAX, "more keys than places");

int conf_table_section(const char *name, size_t len)
{
    for (int i = 0; i < CONF_SECTIONS; i++) {
        if (strlen(conf_section[i].name) == len && memcmp(conf_section[i].name, name, len) == 0)
            return i;
    }
    return -1;
}

const struct conf_key *conf_table_key(enum conf_section_id section, const char *name)
{
    for (size_t i = 0; i < conf_key_count; i++) {
        if (conf_key[i].section == section && strcmp(conf_key[i].name, name) == 0)
            return &conf_key[i];
    }
    return NULL;
}

void *conf_table_record(struct conf *c, enum conf_section_id section, size_t instance)
{
    if (section == CONF_SECTION_LISTENER)
        return &c->listener[instance];
    if (section == CONF_SECTION_UPSTREAM)
        return &c->upstream[instance];
    return c;
}

#define DISTANCE_MAX 64

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

size_t conf_table_distance(const char *a, const char *b)
{
    size_t m = strnlen(a, DISTANCE_MAX), n = strnlen(b, DISTANCE_MAX);
    size_t row[3][DISTANCE_MAX + 1]; /* two rows back, for swaps */
    for (size_t j = 0; j <= n; j++)
        row[0][j] = j;
    for (size_t i = 1; i <= m; i++) {
        size_t *now = row[i % 3];
        const size_t *before = row[(i + 2) % 3], *earlier = row[(i + 1) % 3];
        now[0] = i;
        for (size_t j = 1; j <= n; j++) {
            size_t replaced = before[j - 1] + (a[i - 1] != b[j - 1]);
            now[j] = least(replaced, least(before[j], now[j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                now[j] = least(now[j], earlier[j - 2] + 1);
        }
    }
    return row[m % 3][n];
}

bool conf_table_is_near(const char *meant, size_t distance)
{
    return distance <= strlen(meant) / 2;
}

const char *conf_table_near_section(const char *name)
{
    const char *nearest = NULL;
    size_t best = SIZE_MAX;
    for (size_t i = 0; i < CONF_SECTIONS; i++) {
        size_t distance = conf_table_distance(name, conf_section[i].name);
        if (distance < best && conf_table_is_near(conf_section[i].name, distance)) {
            best = distance;
            nearest = conf_section[i].name;
        }
    }
    return nearest;
}

const char *conf_table_near_key(enum conf_section_id section, const char *name)
{
    const char *nearest = NULL;
    size_t best = SIZE_MAX;
    for (size_t i = 0; i < conf_key_count; i++) {
        size_t distance = conf_table_distance(name, conf_key[i].name);
        if (conf_key[i].section == section && distance < best &&
            conf_table_is_near(conf_key[i].name, distance)) {
            best = distance;
            nearest = conf_key[i].name;
        }
    }
    return nearest;
}
