#include "proxy/permit.h"

#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/log.h"
#include "proxy/quota.h"

struct measure {
    struct conf_rate rate;
    struct quota *quota; /* NULL: no limit */
};

struct permits {
    uint8_t key[16];
    struct measure messages;
    struct measure recipients;
};

struct permits *permits_new(void)
{
    struct permits *p = calloc(1, sizeof *p);
    if (p != NULL)
        RAND_bytes(p->key, sizeof p->key);
    return p;
}

static void measure_free(struct measure *m)
{
    if (m->quota != NULL)
        quota_free(m->quota);
    *m = (struct measure){.quota = NULL};
}

void permits_free(struct permits *p)
{
    if (p == NULL)
        return;
    measure_free(&p->messages);
    measure_free(&p->recipients);
    free(p);
}

/* A limit that cannot be kept for want of memory is said so, and does not hold: mail goes on. */
static void measure_set(struct measure *m, const struct conf_rate *rate, const uint8_t key[16])
{
    if (m->quota != NULL && rate->count > 0 && rate->period_ms == m->rate.period_ms) {
        quota_resize(m->quota, rate->count);
        m->rate = *rate;
        return;
    }
    measure_free(m);
    if (rate->count == 0)
        return;
    *m = (struct measure){.rate = *rate, .quota = quota_new(rate->count, rate->period_ms, key)};
    if (m->quota == NULL)
        log_say(LOG_LEVEL_ERROR, "out_of_memory",
                "a limit of [policy] cannot be kept: memory is short");
}

void permits_measure(struct permits *p, const struct conf_policy *policy)
{
    measure_set(&p->messages, &policy->messages, p->key);
    measure_set(&p->recipients, &policy->recipients, p->key);
}

static bool owns(struct edition *e, const char *login, const char *address)
{
    edition_refresh(e);
    bool owned = senders_allows(e->senders, NULL, login, address);
    for (size_t i = 0; i < e->backend_count && !owned; i++)
        owned = e->backend[i]->ops->owns != NULL &&
                e->backend[i]->ops->owns(e->backend[i], login, address);
    return owned;
}

static bool within(struct measure *m, const char *login, uint64_t now_ms)
{
    return m->quota == NULL || quota_take(m->quota, login, strlen(login), 1, now_ms);
}

enum channel_permission permits_judge(struct permits *p, struct edition *e,
                                      const struct channel_frame *question, uint64_t now_ms)
{
    char login[SASL_LOGIN_MAX + 1] = "", address[CHANNEL_ADDRESS_MAX + 1] = "";
    bool sender = question->as.permit.what == CHANNEL_PERMIT_SENDER;
    memcpy(login, question->as.permit.login, question->as.permit.login_len);
    if (question->as.permit.address_len > 0)
        memcpy(address, question->as.permit.address, question->as.permit.address_len);
    if (sender && e->conf->policy.sender_login && !owns(e, login, address))
        return CHANNEL_NOT_OWNED;
    return within(sender ? &p->messages : &p->recipients, login, now_ms) ? CHANNEL_ALLOWED
                                                                         : CHANNEL_OVER_QUOTA;
}
