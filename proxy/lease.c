#include "proxy/lease.h"

#include <openssl/siphash.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

enum { LEASE_BUCKETS = 4096 };

/* Somebody who holds a connection or waits for one. */
struct lease {
    LIST_ENTRY(lease) bucket;
    TAILQ_ENTRY(lease) line; /* of its login, while it waits */
    struct lease_login *login;
    void *owner;
    uint64_t number;
    bool granted;
};

TAILQ_HEAD(lease_waiting_line, lease);

/* There for as long as somebody holds or waits under it. */
struct lease_login {
    LIST_ENTRY(lease_login) bucket;
    TAILQ_ENTRY(lease_login) turn;
    bool in_turn; /* somebody waits, and the share is not used up */
    unsigned held;
    unsigned waiting;
    struct lease_waiting_line line;
    char name[];
};

LIST_HEAD(lease_bucket, lease);
LIST_HEAD(lease_login_bucket, lease_login);

struct lease_line {
    unsigned max;
    unsigned share;
    size_t granted;
    size_t waiting;
    uint64_t key[2];
    TAILQ_HEAD(, lease_login) turns;
    struct lease_bucket leases[LEASE_BUCKETS];
    struct lease_login_bucket logins[LEASE_BUCKETS];
};

static void lease_measure(struct lease_line *l, unsigned max)
{
    l->max = max;
    l->share = max / 3 > 0 ? max / 3 : 1;
}

struct lease_line *lease_new(unsigned max, const uint8_t key[16])
{
    struct lease_line *l = calloc(1, sizeof *l);

    if (l == NULL)
        return NULL;
    lease_measure(l, max);
    memcpy(l->key, key, sizeof l->key);
    TAILQ_INIT(&l->turns);
    return l;
}

static struct lease_bucket *lease_bucket(struct lease_line *l, void *owner, uint64_t number)
{
    const uint64_t holder[2] = {(uint64_t)(uintptr_t)owner, number};

    return &l->leases[SIPHASH_24(l->key, (const uint8_t *)holder, sizeof holder) % LEASE_BUCKETS];
}

static struct lease *lease_find(struct lease_line *l, void *owner, uint64_t number)
{
    struct lease *e;

    LIST_FOREACH(e, lease_bucket(l, owner, number), bucket)
    {
        if (e->owner == owner && e->number == number)
            break;
    }
    return e;
}

static struct lease_login *lease_login_get(struct lease_line *l, const char *name)
{
    const size_t len = strlen(name);
    const uint64_t hash = SIPHASH_24(l->key, (const uint8_t *)name, len);
    struct lease_login_bucket *bucket = &l->logins[hash % LEASE_BUCKETS];
    struct lease_login *login;

    LIST_FOREACH(login, bucket, bucket)
    {
        if (strcmp(login->name, name) == 0)
            return login;
    }
    login = calloc(1, sizeof *login + len + 1);
    if (login == NULL)
        return NULL;
    memcpy(login->name, name, len + 1);
    TAILQ_INIT(&login->line);
    LIST_INSERT_HEAD(bucket, login, bucket);
    return login;
}

/* After every change of a login: it has a turn exactly while it could use one; and it goes when
 * nothing is left of it. */
static void lease_login_settle(struct lease_line *l, struct lease_login *login)
{
    const bool wants = login->waiting > 0 && login->held < l->share;

    if (wants && !login->in_turn)
        TAILQ_INSERT_TAIL(&l->turns, login, turn);
    if (!wants && login->in_turn)
        TAILQ_REMOVE(&l->turns, login, turn);
    login->in_turn = wants;
    if (login->held == 0 && login->waiting == 0) {
        LIST_REMOVE(login, bucket);
        free(login);
    }
}

static void lease_grant(struct lease_line *l, struct lease *e)
{
    e->granted = true;
    e->login->held++;
    l->granted++;
}

static void lease_wait(struct lease_line *l, struct lease *e)
{
    TAILQ_INSERT_TAIL(&e->login->line, e, line);
    e->login->waiting++;
    l->waiting++;
}

static void lease_leave_line(struct lease_line *l, struct lease *e)
{
    TAILQ_REMOVE(&e->login->line, e, line);
    e->login->waiting--;
    l->waiting--;
}

static enum lease_answer lease_decide(const struct lease_line *l, const struct lease_login *login)
{
    if (l->granted < l->max && login->held < l->share && TAILQ_EMPTY(&l->turns))
        return LEASE_GRANTED;
    if (l->waiting < LEASE_WAITING_MAX && login->waiting < LEASE_WAITING_LOGIN_MAX)
        return LEASE_WAITING;
    return LEASE_FULL;
}

enum lease_answer lease_ask(struct lease_line *l, void *owner, uint64_t number, const char *login)
{
    struct lease *e = lease_find(l, owner, number);
    struct lease_login *of = NULL;
    enum lease_answer answer = LEASE_FULL;

    if (e != NULL)
        return e->granted ? LEASE_GRANTED : LEASE_WAITING;
    of = lease_login_get(l, login);
    if (of == NULL)
        return LEASE_FULL;
    e = calloc(1, sizeof *e);
    if (e != NULL)
        answer = lease_decide(l, of);
    if (answer == LEASE_FULL) {
        free(e);
    } else {
        *e = (struct lease){.login = of, .owner = owner, .number = number};
        LIST_INSERT_HEAD(lease_bucket(l, owner, number), e, bucket);
        if (answer == LEASE_GRANTED)
            lease_grant(l, e);
        else
            lease_wait(l, e);
    }
    lease_login_settle(l, of);
    return answer;
}

static void lease_end(struct lease_line *l, struct lease *e)
{
    if (e->granted) {
        e->login->held--;
        l->granted--;
    } else {
        lease_leave_line(l, e);
    }
    LIST_REMOVE(e, bucket);
    lease_login_settle(l, e->login);
    free(e);
}

bool lease_give_back(struct lease_line *l, void *owner, uint64_t number)
{
    struct lease *e = lease_find(l, owner, number);

    if (e != NULL)
        lease_end(l, e);
    return e != NULL;
}

bool lease_next(struct lease_line *l, void **owner, uint64_t *number)
{
    struct lease_login *login = TAILQ_FIRST(&l->turns);
    struct lease *e;

    if (login == NULL || l->granted >= l->max)
        return false;
    e = TAILQ_FIRST(&login->line);
    lease_leave_line(l, e);
    lease_grant(l, e);
    /* the turn is used; what else waits there comes behind the others */
    TAILQ_REMOVE(&l->turns, login, turn);
    login->in_turn = false;
    lease_login_settle(l, login);
    *owner = e->owner;
    *number = e->number;
    return true;
}

void lease_owner_gone(struct lease_line *l, void *owner)
{
    for (size_t i = 0; i < LEASE_BUCKETS; i++) {
        struct lease *next;

        for (struct lease *e = LIST_FIRST(&l->leases[i]); e != NULL; e = next) {
            next = LIST_NEXT(e, bucket);
            if (e->owner == owner)
                lease_end(l, e);
        }
    }
}

void lease_resize(struct lease_line *l, unsigned max)
{
    struct lease_login *login;

    lease_measure(l, max);
    for (size_t i = 0; i < LEASE_BUCKETS; i++) {
        LIST_FOREACH(login, &l->logins[i], bucket)
        lease_login_settle(l, login);
    }
}

void lease_free(struct lease_line *l)
{
    if (l == NULL)
        return;
    for (size_t i = 0; i < LEASE_BUCKETS; i++) {
        struct lease *e;

        while ((e = LIST_FIRST(&l->leases[i])) != NULL)
            lease_end(l, e);
    }
    free(l);
}

size_t lease_granted(const struct lease_line *l)
{
    return l->granted;
}

size_t lease_waiting(const struct lease_line *l)
{
    return l->waiting;
}
