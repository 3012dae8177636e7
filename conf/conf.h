/* The configuration: one table of keys -> one typed, immutable struct.
 *
 * A file in INI form (read with inih), then the environment (VESTIBULE_<SECTION>_<KEY>), then
 * defaults. All errors are gathered and shown at once; a key that is unknown, or whose feature is
 * not there yet, is an error. Syntax and ranges are checked here; whether a file can be opened or a
 * port be bound is found out by whoever does it. */
#ifndef VESTIBULE_CONF_CONF_H
#define VESTIBULE_CONF_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define CONF_DEFAULT_PATH "/etc/vestibule/vestibule.conf"
#define CONF_ADDRESSES_MAX 32
#define CONF_LISTENERS_MAX 32
#define CONF_UPSTREAMS_MAX 8
#define CONF_CERTIFICATES_MAX 256
#define CONF_BACKENDS_MAX 8
#define CONF_NETWORKS_MAX 32
#define CONF_DOMAINS_MAX 64

/* "host:port" split. "*" is every address of both families. The host is a name or a numeric address
 * without brackets. */
struct conf_address {
    const char *host;
    uint16_t port;
};

struct conf_addresses {
    size_t count;
    struct conf_address at[CONF_ADDRESSES_MAX];
};

/* Octets in network order. IPv4 is mapped to ::ffff:0:0/96: its prefix counts 96 bits more. The
 * bits behind the prefix are zero. */
struct conf_network {
    uint8_t address[16];
    uint8_t bits;
};

struct conf_networks {
    size_t count;
    struct conf_network at[CONF_NETWORKS_MAX];
};

/* Lower-case LDH names without a trailing dot, or any. Where the file is silent: any. */
struct conf_domains {
    bool any; /* then count is 0 */
    size_t count;
    const char *at[CONF_DOMAINS_MAX];
};

/* `count` events in each period; count 0: no limit (and period 0). */
struct conf_rate {
    uint32_t count;
    uint64_t period_ms;
};

enum conf_listener_tls { CONF_IMPLICIT, CONF_STARTTLS, CONF_TLS_NONE };
enum conf_auth { CONF_AUTH_REQUIRED, CONF_AUTH_OPTIONAL, CONF_AUTH_NONE };

struct conf_listener {
    const char *name;
    struct conf_addresses address;
    enum conf_listener_tls tls; /* CONF_TLS_NONE: auth is none, trusted is not empty */
    bool require_tls;           /* false with CONF_TLS_NONE */
    enum conf_auth auth;
    struct conf_networks trusted; /* who may submit without AUTH */
    /* Where mail of those who are neither logged in nor trusted may go; any: they may not send
     * (auth is required, or trusted is not empty). */
    struct conf_domains recipients;
    struct conf_networks proxy_protocol; /* whose connections begin with a PROXY header */
    uint64_t idle_timeout;               /* milliseconds */
    size_t upstream;                     /* index into upstreams */
    uint16_t min_version;                /* 0x0301 to 0x0304; [tls]'s where the file is silent */
};

struct conf_certificate {
    const char *chain;
    const char *key; /* the chain's path when one file holds both */
};

enum conf_helo { CONF_HELO_CLIENT, CONF_HELO_PROXY };
enum conf_identity {
    CONF_IDENTITY_RECEIVED,
    CONF_IDENTITY_NONE,
    CONF_IDENTITY_XCLIENT,
    CONF_IDENTITY_PROXY_V1,
    CONF_IDENTITY_PROXY_V2,
    CONF_IDENTITY_TRANSPARENT /* the MTA sees the client's own address */
};

struct conf_upstream {
    const char *name;
    struct conf_addresses address; /* tried in order */
    enum conf_helo helo;
    unsigned hide;          /* enum conf_hide bits */
    uint64_t queue_timeout; /* milliseconds, as all times */
    uint64_t connect_timeout;
    uint64_t reply_timeout;
    uint64_t data_timeout;
    uint64_t banner_timeout;    /* for the greeting */
    uint64_t data_init_timeout; /* for the reply to DATA */
    uint64_t block_timeout;     /* for a block of a message to be taken */
    unsigned max_connections;
    unsigned messages_per_connection;
    enum conf_identity identity;
    bool trace; /* a Received header is added: any identity but none */
};

enum conf_hide {
    CONF_HIDE_SIZE = 1 << 0,
    CONF_HIDE_8BITMIME = 1 << 1,
    CONF_HIDE_SMTPUTF8 = 1 << 2,
    CONF_HIDE_DSN = 1 << 3,
    CONF_HIDE_PIPELINING = 1 << 4,
    CONF_HIDE_ENHANCEDSTATUSCODES = 1 << 5,
    CONF_HIDE_CHUNKING = 1 << 6,
};

enum conf_received { CONF_RECEIVED_FULL, CONF_RECEIVED_NO_IP, CONF_RECEIVED_NONE };
enum conf_newline { CONF_NORMALIZE, CONF_REJECT };
enum conf_log_target { CONF_LOG_STDERR, CONF_LOG_SYSLOG };
enum conf_log_format { CONF_LOG_LOGFMT, CONF_LOG_JSON };
enum conf_log_level { CONF_LOG_DEBUG, CONF_LOG_INFO, CONF_LOG_WARNING, CONF_LOG_ERROR };
enum conf_login_domain { CONF_LOGIN_KEEP, CONF_LOGIN_STRIP };
/* In the order of auth/sasl.h. */
enum conf_mechanism {
    CONF_PLAIN = 1 << 0,
    CONF_LOGIN = 1 << 1,
    CONF_SCRAM_SHA_256 = 1 << 2,
    CONF_SCRAM_SHA_256_PLUS = 1 << 3,
    CONF_OAUTHBEARER = 1 << 4,
    CONF_XOAUTH2 = 1 << 5,
    CONF_EXTERNAL = 1 << 6,
    CONF_SCRAM_SHA_1 = 1 << 7,
    CONF_SCRAM_SHA_1_PLUS = 1 << 8,
    CONF_CRAM_MD5 = 1 << 9,
    CONF_DIGEST_MD5 = 1 << 10,
    CONF_NTLM = 1 << 11,
    CONF_GSSAPI = 1 << 12,
    CONF_GSS_SPNEGO = 1 << 13,
    CONF_OTP = 1 << 14,
};

/* [oauth]; strings NULL where not given. It is on when jwks or introspection is. */
struct conf_oauth {
    const char *jwks; /* a file or an https URL */
    const char *issuer;
    const char *audience;
    const char *login_claim;
    const char *introspection; /* a URL */
    const char *client_id;
    const char *client_secret_file;
};

struct conf_policy {
    bool sender_login;   /* MAIL FROM must be an address of the login */
    const char *senders; /* a file; NULL: none */
    /* Per login; count 0: no limit. */
    struct conf_rate messages;
    struct conf_rate recipients;
    /* Per client address; 0: no limit. */
    unsigned sessions_per_client;
    struct conf_rate connects_per_client;
};

struct conf {
    /* [server] */
    const char *hostname;
    const char *user; /* NULL: stay who we are */
    unsigned workers;
    const char *state_dir;
    unsigned max_sessions;
    uint64_t drain_timeout;
    const char *control; /* a socket's path; NULL: state_dir/control */
    /* [tls] */
    size_t certificate_count; /* 0: a self-signed one in state_dir */
    struct conf_certificate certificate[CONF_CERTIFICATES_MAX];
    uint16_t min_version;
    const char *ciphers; /* NULL: the engine's list */
    const char *groups;
    const char *ticket_keys; /* a file; NULL: made and rotated */
    uint64_t handshake_timeout;
    const char *client_ca; /* a file of PEM certificates; NULL: clients are not asked for theirs */
    /* [listener NAME] */
    size_t listener_count;
    struct conf_listener listener[CONF_LISTENERS_MAX];
    /* [auth] */
    size_t backend_count;
    const char *backend[CONF_BACKENDS_MAX]; /* "file:/etc/vestibule/users" */
    unsigned mechanisms;                    /* enum conf_mechanism bits */
    uint64_t failure_delay;
    unsigned max_failures;
    uint64_t cache;            /* how long a success is remembered; 0: not at all */
    struct conf_rate lockout;  /* distinct wrong passwords; count 0: no lock-out */
    const char *default_realm; /* NULL: none */
    enum conf_login_domain login_domain;
    bool login_lower; /* ASCII letters of a login to lower case */
    /* of backends that ask another server; NULL where not given */
    const char *ca; /* a file of PEM certificates */
    const char *ldap_bind_dn;
    const char *ldap_bind_password_file;
    const char *http_header_file;
    /* [oauth] */
    struct conf_oauth oauth;
    /* [upstream NAME]; [upstream] alone is "mta" */
    size_t upstream_count;
    struct conf_upstream upstream[CONF_UPSTREAMS_MAX];
    /* [message] */
    uint64_t max_size; /* octets; 0: the MTA's SIZE, and where it gives none, 50M */
    enum conf_received received;
    enum conf_newline bare_newline;
    /* [policy] */
    struct conf_policy policy;
    /* [log] */
    enum conf_log_target log_target;
    enum conf_log_format log_format;
    enum conf_log_level log_level;
    /* all strings above live here */
    struct conf_strings *strings;
};

/* One sentence a line: "FILE:LINE: [section] key: what is wrong; what to do". */
struct conf_errors {
    size_t count;
    char text[16384]; /* newline after each; when it is full the last line says how many more */
};

/* Pure. `text` of a file called `name`, and `environment` (NULL-ended, "NAME=value"; NULL: none).
 * NULL when errors. */
struct conf *conf_parse(const char *text, size_t len, const char *name, char *const *environment,
                        struct conf_errors *errors);

/* Reads `path`; NULL is CONF_DEFAULT_PATH, which need not exist. The file must not be writable by
 * others. */
struct conf *conf_load(const char *path, char *const *environment, struct conf_errors *errors);

void conf_free(struct conf *c);

/* Writes the configuration in force, every key, defaults included, in a form that conf_parse reads
 * back to the same struct: what `vestibule config` prints and what the front is given. Keys not
 * supported yet do not appear. */
bool conf_write(FILE *out, const struct conf *c);

#endif
