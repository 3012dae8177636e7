#include "proxy/lender.h"

#include <errno.h>
#include <openssl/rand.h>
#include <openssl/siphash.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "proxy/lease.h"
#include "proxy/log.h"
#include "proxy/transparent.h"

#define LINES_MAX 64 /* distinct names of upstreams over all reloads */
#define NAME_MAX_LEN 255
#define SOURCE_BUCKETS 1024

struct line {
    char name[NAME_MAX_LEN + 1];
    struct lease_line *leases;
};

/* Whose address the socket is to have, of one who waits in line for a transparent upstream. */
struct source {
    LIST_ENTRY(source) bucket;
    const struct line *line;
    struct link *to;
    uint64_t number;
    uint8_t address[16];
};

LIST_HEAD(source_bucket, source);

struct lender {
    uint8_t key[16];
    struct source_bucket sources[SOURCE_BUCKETS];
    size_t count;
    struct line line[LINES_MAX];
};

struct lender *lender_new(void)
{
    struct lender *l = calloc(1, sizeof *l);
    if (l != NULL)
        RAND_bytes(l->key, sizeof l->key);
    return l;
}

static void forget(struct source *s)
{
    if (s == NULL)
        return;
    LIST_REMOVE(s, bucket);
    free(s);
}

/* Of one link, or all. */
static void forget_sources(struct lender *l, const struct link *of)
{
    for (size_t i = 0; i < SOURCE_BUCKETS; i++) {
        struct source *next;
        for (struct source *s = LIST_FIRST(&l->sources[i]); s != NULL; s = next) {
            next = LIST_NEXT(s, bucket);
            if (of == NULL || s->to == of)
                forget(s);
        }
    }
}

void lender_free(struct lender *l)
{
    if (l != NULL)
        forget_sources(l, NULL);
    for (size_t i = 0; l != NULL && i < l->count; i++)
        lease_free(l->line[i].leases);
    free(l);
}

static struct source_bucket *bucket_of(struct lender *l, const struct link *to, uint64_t number)
{
    const uint64_t holder[2] = {(uint64_t)(uintptr_t)to, number};
    uint64_t key[2];
    memcpy(key, l->key, sizeof key);
    return &l->sources[SIPHASH_24(key, (const uint8_t *)holder, sizeof holder) % SOURCE_BUCKETS];
}

static struct source *source_of(struct lender *l, const struct line *line, const struct link *to,
                                uint64_t number)
{
    struct source *s;
    LIST_FOREACH(s, bucket_of(l, to, number), bucket)
    {
        if (s->line == line && s->to == to && s->number == number)
            break;
    }
    return s;
}

/* As many as wait in the lines at most: who asks twice is remembered once. */
static void remember(struct lender *l, const struct line *line, struct link *to,
                     const struct channel_frame *ask)
{
    struct source *s = source_of(l, line, to, ask->number);
    if (s == NULL && (s = calloc(1, sizeof *s)) != NULL) {
        s->line = line;
        s->to = to;
        s->number = ask->number;
        LIST_INSERT_HEAD(bucket_of(l, to, ask->number), s, bucket);
    }
    if (s != NULL)
        memcpy(s->address, ask->as.lease.source, sizeof s->address);
}

/* Once. */
static bool recall(struct lender *l, const struct line *line, const struct link *to,
                   uint64_t number, uint8_t address[16])
{
    struct source *s = source_of(l, line, to, number);
    if (s == NULL)
        return false;
    memcpy(address, s->address, sizeof s->address);
    forget(s);
    return true;
}

static struct line *find(struct lender *l, const char *name)
{
    for (size_t i = 0; i < l->count; i++)
        if (strcmp(l->line[i].name, name) == 0)
            return &l->line[i];
    return NULL;
}

static void add(struct lender *l, const struct conf_upstream *u)
{
    if (l->count == LINES_MAX || strlen(u->name) > NAME_MAX_LEN)
        return;
    struct line *line = &l->line[l->count];
    line->leases = lease_new(u->max_connections, l->key);
    if (line->leases == NULL)
        return;
    memcpy(line->name, u->name, strlen(u->name) + 1);
    l->count++;
}

static void send_lease(struct link *to, uint64_t number, enum channel_lease lease)
{
    link_send(
        to, &(struct channel_frame){.type = CHANNEL_LEASED, .number = number, .as.leased = lease});
}

/* Without a socket where there cannot be one: the front knows what it asked for. */
static void grant_as(struct link *to, uint64_t number, const uint8_t source[16])
{
    struct channel_frame frame = {
        .type = CHANNEL_LEASED, .number = number, .as.leased = CHANNEL_GRANTED_SOCKET};
    char host[ADDRESS_TEXT_MAX];
    struct address from;
    int fd = transparent_socket(source);
    if (fd < 0) {
        int why = errno;
        address_from_octets(&from, source, 0);
        address_host(host, &from);
        log_say(LOG_LEVEL_ERROR, "transparent",
                "no connection to the MTA can be made from the client's address %s: %s", host,
                strerror(why));
    }
    if (fd < 0 || !link_send_fd(to, &frame, fd))
        send_lease(to, number, CHANNEL_GRANTED);
}

static void grant_whose_turn_it_is(struct lender *l, const struct line *line)
{
    void *owner;
    uint64_t number;
    while (lease_next(line->leases, &owner, &number)) {
        uint8_t address[16];
        if (recall(l, line, owner, number, address))
            grant_as(owner, number, address);
        else
            send_lease(owner, number, CHANNEL_GRANTED);
    }
}

void lender_measure(struct lender *l, const struct conf *conf)
{
    for (size_t i = 0; i < conf->upstream_count; i++) {
        struct line *line = find(l, conf->upstream[i].name);
        if (line == NULL) {
            add(l, &conf->upstream[i]);
            continue;
        }
        lease_resize(line->leases, conf->upstream[i].max_connections);
        grant_whose_turn_it_is(l, line);
    }
}

static void lend(struct lender *l, struct link *from, const struct conf *conf,
                 const struct channel_frame *ask)
{
    size_t index = ask->as.lease.upstream;
    struct line *line = index < conf->upstream_count ? find(l, conf->upstream[index].name) : NULL;
    bool transparent = line != NULL && conf->upstream[index].identity == CONF_IDENTITY_TRANSPARENT;
    char login[SASL_LOGIN_MAX + 1] = "";
    memcpy(login, ask->as.lease.login_len > 0 ? ask->as.lease.login : "", ask->as.lease.login_len);
    enum lease_answer answer =
        line != NULL ? lease_ask(line->leases, from, ask->number, login) : LEASE_FULL;
    if (transparent && answer == LEASE_GRANTED)
        grant_as(from, ask->number, ask->as.lease.source);
    else if (transparent && answer == LEASE_WAITING)
        remember(l, line, from, ask);
    else if (answer != LEASE_WAITING)
        send_lease(from, ask->number, answer == LEASE_GRANTED ? CHANNEL_GRANTED : CHANNEL_FULL);
}

static void take_back(struct lender *l, struct link *from, uint64_t number)
{
    for (size_t i = 0; i < l->count; i++)
        if (lease_give_back(l->line[i].leases, from, number)) {
            forget(source_of(l, &l->line[i], from, number));
            grant_whose_turn_it_is(l, &l->line[i]);
            return;
        }
}

void lender_take(struct lender *l, struct link *from, const struct conf *conf,
                 const struct channel_frame *frame)
{
    if (frame->type == CHANNEL_LEASE)
        lend(l, from, conf, frame);
    else
        take_back(l, from, frame->number);
}

void lender_link_gone(struct lender *l, struct link *gone)
{
    forget_sources(l, gone);
    for (size_t i = 0; i < l->count; i++) {
        lease_owner_gone(l->line[i].leases, gone);
        grant_whose_turn_it_is(l, &l->line[i]);
    }
}

void lender_count(struct lender *l, size_t *in_use, size_t *waiting, const char *upstream)
{
    const struct line *line = find(l, upstream);
    *in_use = line != NULL ? lease_granted(line->leases) : 0;
    *waiting = line != NULL ? lease_waiting(line->leases) : 0;
}
