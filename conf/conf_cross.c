#include "conf/conf_cross.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

static bool is_six(const char *host)
{
    return strchr(host, ':') != NULL;
}

static bool is_four(const char *host)
{
    return host[strspn(host, "0123456789.")] == '\0';
}

static bool covers(const char *wide, const char *host)
{
    return strcmp(wide, "*") == 0 || (strcmp(wide, "0.0.0.0") == 0 && is_four(host)) ||
           (strcmp(wide, "::") == 0 && is_six(host));
}

bool conf_cross_overlap(const struct conf_address *a, const struct conf_address *b)
{
    return a->port == b->port && (strcasecmp(a->host, b->host) == 0 || covers(a->host, b->host) ||
                                  covers(b->host, a->host));
}

static bool is_loopback(const char *host)
{
    return strcasecmp(host, "localhost") == 0 || strcmp(host, "::1") == 0 ||
           (is_four(host) && strncmp(host, "127.", 4) == 0);
}

static bool reaches(const struct conf_address *listening, const struct conf_address *to)
{
    if (listening->port != to->port)
        return false;
    if (strcasecmp(listening->host, to->host) == 0)
        return true;
    if (strcasecmp(to->host, "localhost") == 0 && is_loopback(listening->host))
        return true;
    return is_loopback(to->host) &&
           (covers(listening->host, to->host) ||
            (strcasecmp(to->host, "localhost") == 0 && covers(listening->host, "127.0.0.1")));
}

static void text_of(char *out, size_t cap, const struct conf_address *a)
{
    snprintf(out, cap, "%s%.200s%s:%u", is_six(a->host) ? "[" : "", a->host,
             is_six(a->host) ? "]" : "", a->port);
}

static void check_pair(struct conf_build *b, size_t listener, size_t i, size_t other, size_t j)
{
    char mine[256], theirs[256];
    const struct conf_listener *l = &b->conf->listener[listener], *o = &b->conf->listener[other];
    if (!conf_cross_overlap(&l->address.at[i], &o->address.at[j]))
        return;
    text_of(mine, sizeof mine, &l->address.at[i]);
    text_of(theirs, sizeof theirs, &o->address.at[j]);
    conf_build_blame(b, CONF_SECTION_LISTENER, "address", listener,
                     "%s is taken by %s of [listener %s]; choose another address or port", mine,
                     theirs, o->name);
}

/* Each address against those that stand before it. */
static void check_addresses(struct conf_build *b)
{
    const struct conf *c = b->conf;
    for (size_t l = 0; l < c->listener_count; l++) {
        for (size_t i = 0; i < c->listener[l].address.count; i++) {
            for (size_t o = 0; o <= l; o++) {
                size_t end = o == l ? i : c->listener[o].address.count;
                for (size_t j = 0; j < end; j++)
                    check_pair(b, l, i, o, j);
            }
        }
    }
}

static bool some_listener_reaches(const char **name, const struct conf *c,
                                  const struct conf_address *to)
{
    for (size_t l = 0; l < c->listener_count; l++) {
        for (size_t i = 0; i < c->listener[l].address.count; i++) {
            *name = c->listener[l].name;
            if (reaches(&c->listener[l].address.at[i], to))
                return true;
        }
    }
    return false;
}

static void check_loops(struct conf_build *b)
{
    const struct conf *c = b->conf;
    for (size_t u = 0; u < c->upstream_count; u++) {
        for (size_t i = 0; i < c->upstream[u].address.count; i++) {
            const char *name;
            char text[256];
            if (!some_listener_reaches(&name, c, &c->upstream[u].address.at[i]))
                continue;
            text_of(text, sizeof text, &c->upstream[u].address.at[i]);
            conf_build_blame(
                b, CONF_SECTION_UPSTREAM, "address", u,
                "%s is where [listener %s] listens, mail would go in circles; name the "
                "MTA's own address",
                text, name);
        }
    }
}

/* `told`: other errors were; an upstream that is not there may well be one whose heading was wrong.
 */
static void resolve_upstream(struct conf_build *b, size_t listener, bool told)
{
    const char *name = b->upstream_name[listener];
    struct conf *c = b->conf;
    if (name == NULL)
        return; /* its value was wrong, and that was told */
    for (size_t u = 0; u < c->upstream_count; u++) {
        c->listener[listener].upstream = u;
        if (strcmp(c->upstream[u].name, name) == 0)
            return;
    }
    if (told)
        return;
    conf_build_blame(b, CONF_SECTION_LISTENER, "upstream", listener,
                     "there is no [upstream %.60s]; add it or name one that there is, such as %s",
                     name, c->upstream[0].name);
}

static void blame(struct conf_build *b, size_t listener, const char *key, const char *what)
{
    conf_build_blame(b, CONF_SECTION_LISTENER, key, listener, "%s", what);
}

static bool given(struct conf_build *b, size_t listener, const char *key)
{
    return conf_build_given(b, CONF_SECTION_LISTENER, key, listener);
}

/* In clear anybody on the way can read and change mail: only for networks that are known, and never
 * for passwords. */
static void check_clear(struct conf_build *b, size_t listener)
{
    struct conf_listener *l = &b->conf->listener[listener];
    if (l->tls != CONF_TLS_NONE)
        return;
    if (l->auth != CONF_AUTH_NONE)
        blame(b, listener, "tls",
              "none would let passwords go in clear; write starttls, or auth = none and the "
              "trusted networks");
    else if (l->trusted.count == 0)
        blame(b, listener, "tls",
              "none is for known networks only; name them in trusted, or write starttls");
    if (l->require_tls && given(b, listener, "require_tls"))
        blame(b, listener, "require_tls", "yes is impossible with tls = none; remove one of them");
    l->require_tls = false;
}

static void check_gate(struct conf_build *b, size_t listener)
{
    const struct conf_listener *l = &b->conf->listener[listener];
    if (l->auth != CONF_AUTH_REQUIRED) {
        if (l->recipients.any && l->trusted.count == 0)
            blame(b, listener, "recipients",
                  "any would relay for everybody where auth is not required; name your domains, or "
                  "the networks that may send in trusted");
        return;
    }
    if (!l->recipients.any)
        blame(b, listener, "recipients",
              "would have no effect, since auth is required; remove it, or write auth = optional");
    if (l->trusted.count > 0)
        blame(b, listener, "trusted",
              "would have no effect, since auth is required; remove it, or write auth = optional");
}

/* Who may come in and send where. What follows from a wrong value is nothing to tell. */
static void check_door(struct conf_build *b, size_t listener)
{
    static const char *const keys[] = {"tls", "require_tls", "auth", "trusted", "recipients"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        if (conf_build_wrong(b, CONF_SECTION_LISTENER, keys[i], listener))
            return;
    }
    check_clear(b, listener);
    check_gate(b, listener);
}

static void check_senders(struct conf_build *b)
{
    const struct conf_policy *p = &b->conf->policy;
    if (p->senders != NULL && !p->sender_login &&
        !conf_build_wrong(b, CONF_SECTION_POLICY, "sender", 0))
        conf_build_blame(b, CONF_SECTION_POLICY, "senders", 0,
                         "would have no effect, since sender is any; write sender = login");
}

/* Is one of the backends of this kind? The kind's name is what its specs begin with. */
static bool has_backend(const struct conf *c, const char *const *kinds)
{
    for (size_t i = 0; i < c->backend_count; i++)
        for (const char *const *kind = kinds; *kind != NULL; kind++)
            if (strncmp(c->backend[i], *kind, strlen(*kind)) == 0)
                return true;
    return false;
}

static void check_backend_keys(struct conf_build *b)
{
    static const char *const urls[] = {"imap", "pop3", "smtp", "ldap", "http", NULL};
    static const char *const ldap[] = {"ldap", NULL};
    static const char *const http[] = {"http", NULL};
    const struct conf *c = b->conf;
    const bool oauth = c->oauth.jwks != NULL || c->oauth.introspection != NULL;
    const struct {
        const char *key;
        const char *value;
        bool serves;
        const char *kind;
    } rows[] = {
        {"ca", c->ca, oauth || has_backend(c, urls), "by a URL"},
        {"ldap_bind_dn", c->ldap_bind_dn, has_backend(c, ldap), "ldap"},
        {"ldap_bind_password_file", c->ldap_bind_password_file, c->ldap_bind_dn != NULL,
         "with an ldap_bind_dn"},
        {"http_header_file", c->http_header_file, has_backend(c, http), "http"},
    };
    if (conf_build_wrong(b, CONF_SECTION_AUTH, "backend", 0))
        return;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].value != NULL && !rows[i].serves)
            conf_build_blame(b, CONF_SECTION_AUTH, rows[i].key, 0,
                             "would have no effect, since there is no backend %s; remove it",
                             rows[i].kind);
}

static void blame_oauth(struct conf_build *b, const char *key, const char *what)
{
    conf_build_blame(b, CONF_SECTION_OAUTH, key, 0, "%s", what);
}

/* A token of anybody, or for anybody, would do where issuer and audience are not told. */
static void check_oauth(struct conf_build *b)
{
    const struct conf_oauth *o = &b->conf->oauth;
    if (o->jwks != NULL && o->issuer == NULL)
        blame_oauth(b, "issuer", "is missing; write whose tokens are taken, as they say it in iss");
    if (o->jwks != NULL && o->audience == NULL)
        blame_oauth(b, "audience", "is missing; write for whom tokens are, as they say it in aud");
    if (o->jwks != NULL && o->jwks[0] != '/' && strncmp(o->jwks, "https://", 8) != 0)
        blame_oauth(b, "jwks", "is neither a path nor an https URL; write /PATH or https://HOST");
    if (o->introspection != NULL && strncmp(o->introspection, "http", 4) != 0)
        blame_oauth(b, "introspection", "is not a URL; write https://HOST");
    if (o->client_id != NULL && o->introspection == NULL)
        blame_oauth(b, "client_id", "would have no effect without introspection; remove it");
    if (o->client_secret_file != NULL && o->client_id == NULL)
        blame_oauth(b, "client_secret_file", "would have no effect without client_id; add that");
}

void conf_cross_check(struct conf_build *b)
{
    bool told = b->errors->count > 0;
    for (size_t l = 0; l < b->conf->listener_count; l++) {
        if (b->conf->listener[l].min_version == 0)
            b->conf->listener[l].min_version = b->conf->min_version;
        resolve_upstream(b, l, told);
        check_door(b, l);
    }
    for (size_t u = 0; u < b->conf->upstream_count; u++)
        b->conf->upstream[u].trace = b->conf->upstream[u].identity != CONF_IDENTITY_NONE;
    check_senders(b);
    check_backend_keys(b);
    check_oauth(b);
    check_addresses(b);
    check_loops(b);
}
