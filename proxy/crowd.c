#include "proxy/crowd.h"

#include <openssl/rand.h>
#include <pthread.h>
#include <stdlib.h>

#include "proxy/gauge.h"
#include "proxy/network.h"
#include "proxy/quota.h"

struct crowd {
    pthread_mutex_t lock;
    struct gauge *inside;   /* NULL: no limit */
    struct quota *arrivals; /* NULL: no limit */
};

struct crowd *crowd_new(const struct conf *conf)
{
    const struct conf_policy *policy = &conf->policy;
    struct crowd *c = calloc(1, sizeof *c);
    uint8_t key[16];
    if (c == NULL)
        return NULL;
    RAND_bytes(key, sizeof key);
    pthread_mutex_init(&c->lock, NULL);
    if (policy->sessions_per_client > 0)
        c->inside = gauge_new(policy->sessions_per_client, conf->max_sessions, key);
    if (policy->connects_per_client.count > 0)
        c->arrivals = quota_new(policy->connects_per_client.count,
                                policy->connects_per_client.period_ms, key);
    if ((policy->sessions_per_client > 0) == (c->inside != NULL) &&
        (policy->connects_per_client.count > 0) == (c->arrivals != NULL))
        return c;
    crowd_free(c);
    return NULL;
}

void crowd_free(struct crowd *c)
{
    if (c == NULL)
        return;
    if (c->inside != NULL)
        gauge_free(c->inside);
    if (c->arrivals != NULL)
        quota_free(c->arrivals);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

static enum crowd_answer enter(struct crowd *c, void *owner, uint64_t number,
                               const uint8_t client[16], uint64_t now_ms)
{
    if (c->arrivals != NULL && !quota_take(c->arrivals, client, 16, 1, now_ms))
        return CROWD_TOO_FAST;
    if (c->inside != NULL && !gauge_enter(c->inside, owner, number, client, 16))
        return CROWD_TOO_MANY;
    return CROWD_COME_IN;
}

enum crowd_answer crowd_enter(struct crowd *c, void *owner, uint64_t number,
                              const uint8_t address[16], uint64_t now_ms)
{
    uint8_t client[16];
    network_of_client(client, address);
    pthread_mutex_lock(&c->lock);
    enum crowd_answer answer = enter(c, owner, number, client, now_ms);
    pthread_mutex_unlock(&c->lock);
    return answer;
}

void crowd_leave(struct crowd *c, void *owner, uint64_t number)
{
    if (c->inside == NULL)
        return;
    pthread_mutex_lock(&c->lock);
    (void)gauge_leave(c->inside, owner, number);
    pthread_mutex_unlock(&c->lock);
}
