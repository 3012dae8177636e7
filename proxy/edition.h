/* One loaded configuration with all that belongs to it: certificates and their keys, credential
 * backends, addresses of the MTAs. The vault's alone; a reload makes a new one and leaves the old
 * one to the fronts that still drain. */
#ifndef VESTIBULE_PROXY_EDITION_H
#define VESTIBULE_PROXY_EDITION_H

#include <stdbool.h>
#include <stddef.h>

#include "auth/backend.h"
#include "auth/file_state.h"
#include "auth/senders.h"
#include "conf/conf.h"
#include "proxy/bundle.h"
#include "tls/certificate.h"

#define EDITION_ERROR_MAX 1024

struct edition {
    unsigned holds;
    struct conf *conf;
    size_t certificate_count; /* at least one: self-signed where the configuration names none */
    struct certificate *certificate[CONF_CERTIFICATES_MAX];
    struct tls_key *key[CONF_CERTIFICATES_MAX];
    bool self_signed;
    struct client_ca *client_ca; /* NULL: clients are not asked for a certificate */
    size_t backend_count;
    struct backend *backend[CONF_BACKENDS_MAX + 1]; /* [oauth] may be one more */
    struct senders *senders;                        /* [policy] senders; NULL: none */
    struct file_state senders_seen;                 /* of that file, when it was looked at last */
    struct {
        size_t count;
        struct address at[CONF_ADDRESSES_MAX];
    } upstream[CONF_UPSTREAMS_MAX];
    struct capabilities learnt[CONF_UPSTREAMS_MAX]; /* what the MTAs offered when last asked */
    struct ticket_keys tickets; /* from [tls] ticket_keys; count 0: the vault's own are used */
};

/* Blocks (files, name look-ups). Takes over `conf`, whatever happens. NULL with one sentence. */
struct edition *edition_load(struct conf *conf, char error[EDITION_ERROR_MAX]);
/* Under which name a login is known, by [auth]; borrowed from `conf`. */
struct realm_rule edition_realm(const struct conf *conf);

/* What backends are opened with; borrowed from `conf`. */
struct backend_settings edition_backend_settings(const struct conf *conf);
/* The backends of a configuration in order, from 0; NULL: no more. [oauth] is the last one, where
 * it is set and not named among them. */
const char *edition_backend_spec(const struct conf *conf, size_t index);

/* It comes into force: its backends work on this loop from here on. False with a sentence. */
bool edition_start(struct edition *e, uv_loop_t *loop, char error[EDITION_ERROR_MAX]);

/* Takes note of files that changed (users, senders); cheap when none did. What does not load leaves
 * the last good state in force and is logged once. */
void edition_refresh(struct edition *e);
struct edition *edition_hold(struct edition *e);
void edition_release(struct edition *e);

#endif
