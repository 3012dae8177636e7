/* Logins checked by an LDAP server (RFC 4511): bind, or search and then bind, on one connection
 * that is used once. A driver.
 *
 * libldap waits where it stands, so each visit has a thread of its own, not one of the pool that
 * signs; so many at once, the rest in line. It is loaded when it is needed, as libcurl is, and TLS
 * is not its affair. Neither the system's ldap.conf nor the environment has a say, referrals are
 * not followed. */
#ifndef VESTIBULE_AUTH_DIRECTORY_H
#define VESTIBULE_AUTH_DIRECTORY_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "auth/sasl.h"
#include "auth/url_ldap.h"

#define DIRECTORY_ERROR_MAX 512
#define DIRECTORY_AT_ONCE 16
#define DIRECTORY_CONNECT_MS 5000

enum directory_outcome {
    DIRECTORY_ACCEPTED,
    DIRECTORY_REJECTED,
    DIRECTORY_FAILED, /* `error` says why */
};

struct directory_server {
    const char *host;
    uint16_t port;
    bool tls;
    bool start_tls;
    const char *ca; /* NULL: the system's */
    uint32_t timeout_ms;
    /* of a search: who searches; NULL: anonymous */
    const char *bind_dn;
    const char *bind_password;
};

/* What is to be found out. All owned by it. */
struct directory_question {
    char *name;     /* to bind as; of a search: the base */
    char *filter;   /* NULL: no search */
    char *password; /* NULL: only look whether the server is there and can be searched */
    enum url_ldap_scope scope;
    const char *attribute; /* borrowed, of a search */
    bool base_may_lack;    /* no such base: no such login */
};

struct directory_answer {
    enum directory_outcome outcome;
    char login[SASL_LOGIN_MAX + 1]; /* of a search: the entry's attribute, where it has one value
                                       that can be a login; else "" */
    char until[16];                 /* the certificate's last day, "" without one */
    char error[DIRECTORY_ERROR_MAX];
};

/* The caller's memory, zeroed and filled by it; it lives until `done` or directory_drop. */
struct directory_visit {
    void (*done)(struct directory_visit *v, const struct directory_answer *answer);
    void *owner;
    struct directory_errand *errand; /* directory's */
};

struct directory;

/* Is the library there? False with a sentence that says what to install. */
bool directory_load(char error[DIRECTORY_ERROR_MAX]);

/* `server` and its strings are copied. NULL: out of memory. */
struct directory *directory_new(uv_loop_t *loop, const struct directory_server *server);

/* Takes the question's memory and wipes it. `done` is called on the loop, exactly once, never from
 * inside. False: out of memory, `done` is not called. */
bool directory_begin(struct directory *d, struct directory_visit *v, struct directory_question *q);
void directory_drop(struct directory *d, struct directory_visit *v);
/* No visit is open. The last handle's callback frees. */
void directory_close(struct directory *d);

/* Who searches has a new password. */
bool directory_set_password(struct directory *d, const char *password);

/* All of it at once; blocks. Takes the question's memory. */
void directory_ask(struct directory_answer *out, const struct directory_server *server,
                   struct directory_question *q);

#endif
