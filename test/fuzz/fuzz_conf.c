/* Input: the file's text, then variables of the environment, an octet 0x1e before each. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/conf.h"

#define SEPARATOR '\x1e'
#define VARIABLES_MAX 32

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int truth)
{
    if (!truth)
        abort();
}

static void check_errors(const struct conf_errors *errors)
{
    size_t len = strlen(errors->text);
    require(len > 0 && errors->text[len - 1] == '\n');
    for (size_t i = 0; i < len; i++)
        require(errors->text[i] == '\n' || (errors->text[i] >= ' ' && errors->text[i] <= '~'));
}

static void check_addresses(const struct conf_addresses *a)
{
    require(a->count > 0 && a->count <= CONF_ADDRESSES_MAX);
    for (size_t i = 0; i < a->count; i++)
        require(a->at[i].host[0] != '\0' && a->at[i].port != 0);
}

static void check_networks(const struct conf_networks *n)
{
    require(n->count <= CONF_NETWORKS_MAX);
    for (size_t i = 0; i < n->count; i++) {
        const struct conf_network *at = &n->at[i];
        require(at->bits >= 7 && at->bits <= 128);
        for (unsigned bit = at->bits; bit < 128; bit++)
            require((at->address[bit / 8] & (0x80 >> bit % 8)) == 0);
    }
}

static void check_domains(const struct conf_domains *d)
{
    require(d->any ? d->count == 0 : d->count > 0 && d->count <= CONF_DOMAINS_MAX);
    for (size_t i = 0; i < d->count; i++) {
        size_t len = strlen(d->at[i]);
        require(len > 0 && d->at[i][0] != '.' && d->at[i][len - 1] != '.');
        require(strspn(d->at[i], "abcdefghijklmnopqrstuvwxyz0123456789-.") == len);
    }
}

/* Nobody relays who is neither logged in nor named, and no password goes in clear. */
static void check_door(const struct conf_listener *l)
{
    check_networks(&l->trusted);
    check_networks(&l->proxy_protocol);
    check_domains(&l->recipients);
    require(l->auth == CONF_AUTH_REQUIRED || !l->recipients.any || l->trusted.count > 0);
    require(l->auth != CONF_AUTH_REQUIRED || (l->recipients.any && l->trusted.count == 0));
    if (l->tls == CONF_TLS_NONE)
        require(l->auth == CONF_AUTH_NONE && l->trusted.count > 0 && !l->require_tls);
}

static void check_rate(const struct conf_rate *r)
{
    require((r->count == 0) == (r->period_ms == 0));
    require(r->count == 0 || (r->period_ms >= 1000 && r->period_ms <= 86400000));
}

static void check_bounds(const struct conf *c)
{
    require(c->workers >= 1 && c->workers <= 64 && c->max_sessions >= 1);
    require(c->listener_count >= 1 && c->listener_count <= CONF_LISTENERS_MAX);
    require(c->upstream_count >= 1 && c->upstream_count <= CONF_UPSTREAMS_MAX);
    require(c->backend_count >= 1 && c->backend_count <= CONF_BACKENDS_MAX);
    require(c->certificate_count <= CONF_CERTIFICATES_MAX);
    require(c->mechanisms != 0 && c->failure_delay <= 16000);
    for (size_t i = 0; i < c->listener_count; i++) {
        require(c->listener[i].upstream < c->upstream_count);
        require(c->listener[i].min_version >= 0x0301 && c->listener[i].min_version <= 0x0304);
        check_addresses(&c->listener[i].address);
        check_door(&c->listener[i]);
    }
    for (size_t i = 0; i < c->upstream_count; i++) {
        const struct conf_upstream *u = &c->upstream[i];
        check_addresses(&u->address);
        require(u->max_connections >= 1 && u->messages_per_connection >= 1);
        require(u->trace == (u->identity != CONF_IDENTITY_NONE));
    }
    check_rate(&c->policy.messages);
    check_rate(&c->policy.recipients);
    check_rate(&c->policy.connects_per_client);
    require(c->policy.senders == NULL || c->policy.sender_login);
}

static char *written(const struct conf *c, size_t *len)
{
    char *text = NULL;
    FILE *out = open_memstream(&text, len);
    require(out != NULL && conf_write(out, c));
    fclose(out);
    return text;
}

static void check_round_trip(const struct conf *c)
{
    static struct conf_errors errors;
    size_t len, again_len;
    char *text = written(c, &len);
    struct conf *back = conf_parse(text, len, "written", NULL, &errors);
    require(back != NULL);
    char *again = written(back, &again_len);
    require(len == again_len && memcmp(text, again, len) == 0);
    free(text);
    free(again);
    conf_free(back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct conf_errors errors;
    char *environment[VARIABLES_MAX + 1] = {NULL};
    char *copy = malloc(size + 1);
    memcpy(copy, data, size);
    copy[size] = '\0';
    char *end = memchr(copy, SEPARATOR, size);
    size_t len = end != NULL ? (size_t)(end - copy) : size;
    for (size_t n = 0; end != NULL && n < VARIABLES_MAX; n++) {
        environment[n] = end + 1;
        *end = '\0';
        end = memchr(end + 1, SEPARATOR, (size_t)(copy + size - end - 1));
    }

    char *text = malloc(len); /* exact, so that a read beyond it is seen */
    memcpy(text, copy, len);
    struct conf *c = conf_parse(text, len, "fuzz.conf", environment, &errors);
    free(text);
    free(copy);
    require((c == NULL) == (errors.count > 0));
    if (c == NULL) {
        check_errors(&errors);
    } else {
        check_bounds(c);
        check_round_trip(c);
    }
    conf_free(c);
    return 0;
}
