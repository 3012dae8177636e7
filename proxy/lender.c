#include "proxy/lender.h"

#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/lease.h"

#define LINES_MAX 64 /* distinct names of upstreams over all reloads */
#define NAME_MAX_LEN 255

struct line {
    char name[NAME_MAX_LEN + 1];
    struct lease_line *leases;
};

struct lender {
    uint8_t key[16];
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

void lender_free(struct lender *l)
{
    for (size_t i = 0; l != NULL && i < l->count; i++)
        lease_free(l->line[i].leases);
    free(l);
}

static struct lease_line *find(const struct lender *l, const char *name)
{
    for (size_t i = 0; i < l->count; i++)
        if (strcmp(l->line[i].name, name) == 0)
            return l->line[i].leases;
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

static void grant_whose_turn_it_is(struct lease_line *leases)
{
    void *owner;
    uint64_t number;
    while (lease_next(leases, &owner, &number))
        send_lease(owner, number, CHANNEL_GRANTED);
}

void lender_measure(struct lender *l, const struct conf *conf)
{
    for (size_t i = 0; i < conf->upstream_count; i++) {
        struct lease_line *leases = find(l, conf->upstream[i].name);
        if (leases == NULL) {
            add(l, &conf->upstream[i]);
            continue;
        }
        lease_resize(leases, conf->upstream[i].max_connections);
        grant_whose_turn_it_is(leases);
    }
}

static void lend(struct lender *l, struct link *from, const struct conf *conf,
                 const struct channel_frame *ask)
{
    size_t index = ask->as.lease.upstream;
    struct lease_line *leases =
        index < conf->upstream_count ? find(l, conf->upstream[index].name) : NULL;
    char login[SASL_LOGIN_MAX + 1] = "";
    memcpy(login, ask->as.lease.login_len > 0 ? ask->as.lease.login : "", ask->as.lease.login_len);
    enum lease_answer answer =
        leases != NULL ? lease_ask(leases, from, ask->number, login) : LEASE_FULL;
    if (answer != LEASE_WAITING)
        send_lease(from, ask->number, answer == LEASE_GRANTED ? CHANNEL_GRANTED : CHANNEL_FULL);
}

static void take_back(struct lender *l, struct link *from, uint64_t number)
{
    for (size_t i = 0; i < l->count; i++)
        if (lease_give_back(l->line[i].leases, from, number)) {
            grant_whose_turn_it_is(l->line[i].leases);
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
    for (size_t i = 0; i < l->count; i++) {
        lease_owner_gone(l->line[i].leases, gone);
        grant_whose_turn_it_is(l->line[i].leases);
    }
}
