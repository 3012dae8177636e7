#include "proxy/check_relay.h"

#include <openssl/base64.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>

#include "proxy/check_ways.h"

/* A refused password is answered after a delay that grows to 16 s. */
#define PATIENCE_MS 30000
/* For what need not be answered: over loopback an answer comes at once or not at all. */
#define QUIET_MS 300
#define NAMES_MAX 3 /* ways that are named; the others are counted */
#define LOGIN_MAX 128

enum outcome {
    REFUSED,
    RELAYS,
    CLOSED,  /* the server ended it, which may be for what came before */
    UNTRIED, /* talk.why */
};

struct visitor {
    const struct check_door *door;
    struct check_talk talk;
    struct check_words words;
    char login[LOGIN_MAX];
    bool open; /* the talk is inside the door, and can be used for another way */
    bool used; /* another way was tried on it */
    size_t tried;
    size_t relaying;
    const char *relays[NAMES_MAX];
};

/* A login of 16 random octets is nobody's. */
static void invent_login(char out[LOGIN_MAX])
{
    uint8_t random[16], message[LOGIN_MAX / 2];
    char name[2 * sizeof random + 1];
    RAND_bytes(random, sizeof random);
    for (size_t i = 0; i < sizeof random; i++)
        snprintf(name + 2 * i, 3, "%02x", random[i]);
    int len = snprintf((char *)message, sizeof message, "%c%.20s%c%.12s", 0, name, 0, name + 20);
    EVP_EncodeBlock((uint8_t *)out, message, (size_t)len);
}

static void leave(struct visitor *v, bool polite)
{
    check_talk_end(&v->talk, polite && v->open);
    v->open = false;
    v->used = false;
}

static bool enter(struct visitor *v, enum check_stage stage, const char *first)
{
    leave(v, true);
    v->open = check_door_enter(&v->talk, v->door, stage, first, NULL);
    return v->open;
}

/* *code: of the last of the replies that are owed. CLOSED or UNTRIED, or REFUSED when it is as good
 * as that; RELAYS: go on. */
static enum outcome hear(struct visitor *v, unsigned *code, const char *flight)
{
    const bool loose = check_flight_loose(flight);
    struct reply reply;
    for (size_t owed = check_flight_commands(flight); owed > 0; owed--) {
        if (!check_talk_reply_within(&v->talk, &reply, loose ? QUIET_MS : PATIENCE_MS))
            return v->talk.gone ? CLOSED : loose ? REFUSED : UNTRIED;
        if (reply.code == 421)
            return CLOSED;
        *code = reply.code;
    }
    while (loose && check_talk_reply_within(&v->talk, &reply, QUIET_MS))
        ;
    return RELAYS;
}

static enum outcome walk(struct visitor *v, const struct check_way *way)
{
    unsigned code = 0;
    for (size_t i = 0; i < CHECK_FLIGHTS_MAX && way->flight[i] != NULL; i++) {
        char octets[CHECK_FLIGHT_MAX];
        size_t len = check_flight_write(octets, way->flight[i], &v->words);
        if (code >= 400 && !way->insist)
            return REFUSED;
        if (!check_talk_send(&v->talk, octets, len))
            return v->talk.gone ? CLOSED : UNTRIED;
        enum outcome heard = hear(v, &code, way->flight[i]);
        if (heard != RELAYS)
            return heard;
    }
    return code >= 200 && code < 300 ? RELAYS : REFUSED;
}

static bool way_loose(const struct check_way *way)
{
    for (size_t i = 0; i < CHECK_FLIGHTS_MAX && way->flight[i] != NULL; i++)
        if (check_flight_loose(way->flight[i]))
            return true;
    return false;
}

static enum outcome try_once(struct visitor *v, enum check_stage stage, const struct check_way *way)
{
    if (!v->open || way->fresh) {
        if (!enter(v, stage, way->first))
            return way->first != NULL ? REFUSED : UNTRIED;
    }
    enum outcome outcome = walk(v, way);
    if (outcome == RELAYS)
        (void)check_talk_say(&v->talk, "RSET", "");
    if (outcome != REFUSED || way_loose(way) || way->first != NULL)
        leave(v, outcome == RELAYS);
    return outcome;
}

/* An end that an earlier way may have brought about says nothing about this one. */
static enum outcome try_way(struct visitor *v, enum check_stage stage, const struct check_way *way)
{
    const bool used = v->used && v->open && !way->fresh;
    enum outcome outcome = try_once(v, stage, way);
    if (outcome == CLOSED && used && !way->continues)
        outcome = try_once(v, stage, way);
    v->used = true;
    return outcome == CLOSED ? REFUSED : outcome;
}

static void count(struct visitor *v, const struct check_way *way, enum outcome outcome)
{
    v->tried++;
    if (outcome != RELAYS)
        return;
    if (v->relaying < NAMES_MAX)
        v->relays[v->relaying] = way->name;
    v->relaying++;
}

static bool try_all(struct visitor *v, enum check_stage stage, bool all)
{
    for (size_t i = 0; i < check_ways_count; i++) {
        const struct check_way *way = &check_ways[i];
        if ((!all && !way->in_clear) || (way->continues && !v->open))
            continue;
        enum outcome outcome = try_way(v, stage, way);
        if (outcome == UNTRIED)
            return false;
        count(v, way, outcome);
    }
    leave(v, true);
    return true;
}

static void tell(struct check_report *r, const struct visitor *v, bool complete)
{
    const struct check_door *d = v->door;
    char names[256] = "", more[64] = "", where[ADDRESS_TEXT_MAX];
    address_text(where, &d->at);
    for (size_t i = 0, used = 0; i < v->relaying && i < NAMES_MAX; i++)
        used += (size_t)snprintf(names + used, sizeof names - used, "%s%s", i > 0 ? "; " : "",
                                 v->relays[i]);
    if (v->relaying > NAMES_MAX)
        snprintf(more, sizeof more, "; and %zu more", v->relaying - NAMES_MAX);
    if (v->relaying > 0)
        check_say(r, CHECK_PROBLEM, d->about,
                  "%s relays without a password: %s%s; stop it, see that Vestibule itself listens "
                  "there, and set auth = required in [listener %s]",
                  where, names, more, d->listener->name);
    if (!complete)
        check_say(r, CHECK_WARNING, d->about,
                  "%s was not tried to the end for relaying, after %zu ways: %s; wait a minute and "
                  "run check again",
                  where, v->tried, v->talk.why);
    else if (v->relaying == 0)
        check_say(r, CHECK_OK, d->about, "%zu ways to relay without a password are refused",
                  v->tried);
}

void check_relay(struct check_report *r, const struct check_door *d)
{
    struct visitor v = {.door = d};
    invent_login(v.login);
    v.words = (struct check_words){.domain = d->listener->recipients.count > 0
                                                 ? d->listener->recipients.at[0]
                                                 : d->conf->hostname,
                                   .login = v.login};
    check_talk_init(&v.talk, PATIENCE_MS);
    bool complete = try_all(&v, check_door_stage(d->listener), true);
    if (complete && d->listener->tls == CONF_STARTTLS)
        complete = try_all(&v, CHECK_CLEAR, false);
    check_talk_end(&v.talk, false);
    tell(r, &v, complete);
}
