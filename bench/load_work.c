#include "bench/load_work.h"

#include <stdio.h>
#include <string.h>

#include "bench/load_value.h"

enum { SMALLEST_MESSAGE = 512, TEXT_MAX = 1024, RECIPIENTS_MAX = 1000 };

static const char *const kinds[LOAD_KINDS] = {"handshake", "resume", "session", "bulk",
                                              "idle",      "slow",   "flood"};

const char *load_work_name(enum load_kind kind)
{
    return kinds[kind];
}

static int word_of(const char *text, const char *const *words)
{
    for (int i = 0; words[i] != NULL; i++)
        if (strcmp(words[i], text) == 0)
            return i;
    return -1;
}

static bool set_label(struct load_work *w, const char *text)
{
    return snprintf(w->label, sizeof w->label, "%s", text) < (int)sizeof w->label && *text != '\0';
}

static bool set_server(struct load_work *w, const char *text)
{
    return load_value_server(&w->server, text);
}

static bool set_tls(struct load_work *w, const char *text)
{
    static const char *const words[] = {"implicit", "starttls", "none", NULL};
    int i = word_of(text, words);
    w->security = i >= 0 ? (enum load_security)i : LOAD_IMPLICIT;
    return i >= 0 && (i != LOAD_PLAINTEXT || w->kind > LOAD_RESUME);
}

static bool set_rate(struct load_work *w, const char *text)
{
    return load_value_rate(&w->rate, text);
}

static bool set_concurrency(struct load_work *w, const char *text)
{
    return load_value_count(&w->concurrency, text);
}

static bool set_weight(struct load_work *w, const char *text)
{
    return load_value_count(&w->weight, text);
}

static bool set_quit(struct load_work *w, const char *text)
{
    return load_value_flag(&w->quit, text);
}

static bool set_greeting(struct load_work *w, const char *text)
{
    return load_value_flag(&w->greeting, text);
}

static bool set_resume(struct load_work *w, const char *text)
{
    return load_value_flag(&w->resume, text);
}

static bool set_auth(struct load_work *w, const char *text)
{
    return load_value_flag(&w->auth, text);
}

static bool set_pipelining(struct load_work *w, const char *text)
{
    return load_value_flag(&w->pipelining, text);
}

static bool set_messages(struct load_work *w, const char *text)
{
    return load_value_count(&w->messages, text);
}

static bool set_recipients(struct load_work *w, const char *text)
{
    return load_value_count(&w->recipients, text) && w->recipients <= RECIPIENTS_MAX;
}

static bool set_attempts(struct load_work *w, const char *text)
{
    return load_value_count(&w->attempts, text);
}

static bool set_octets(struct load_work *w, const char *text)
{
    return load_value_count(&w->octets, text);
}

static bool set_size(struct load_work *w, const char *text)
{
    return load_value_size(&w->size, text) && w->size >= SMALLEST_MESSAGE &&
           w->size <= UINT64_C(1) << 30;
}

static bool set_chunk(struct load_work *w, const char *text)
{
    return load_value_size(&w->chunk, text) && w->chunk >= SMALLEST_MESSAGE;
}

static bool set_body(struct load_work *w, const char *text)
{
    static const char *const words[] = {"data", "bdat", NULL};
    w->chunked = word_of(text, words) == 1;
    return word_of(text, words) >= 0;
}

static bool set_stage(struct load_work *w, const char *text)
{
    static const char *const words[] = {"greeting", "ehlo", "auth", NULL};
    int i = word_of(text, words);
    w->stage = i >= 0 ? (enum load_stage)i : LOAD_AT_EHLO;
    return i >= 0;
}

static bool set_part(struct load_work *w, const char *text)
{
    static const char *const words[] = {"handshake", "command", "data", NULL};
    int i = word_of(text, words);
    w->part = i >= 0 ? (enum load_part)i : LOAD_SLOW_COMMAND;
    return i >= 0;
}

static bool set_hold(struct load_work *w, const char *text)
{
    return load_value_time(&w->hold, text);
}

static bool set_interval(struct load_work *w, const char *text)
{
    return load_value_time(&w->interval, text) && w->interval > 0;
}

#define OF(kind) (1u << (kind))
#define ANY (OF(LOAD_KINDS) - 1)
#define MAILS (OF(LOAD_SESSION) | OF(LOAD_BULK))
#define BARE (OF(LOAD_HANDSHAKE) | OF(LOAD_RESUME))

static const struct key {
    const char *name;
    unsigned kinds;
    bool (*set)(struct load_work *w, const char *text);
} keys[] = {
    {"server", ANY, set_server},
    {"tls", ANY, set_tls},
    {"rate", ANY & ~OF(LOAD_IDLE), set_rate},
    {"concurrency", ANY, set_concurrency},
    {"weight", ANY, set_weight},
    {"label", ANY, set_label},
    {"quit", BARE, set_quit},
    {"greeting", BARE, set_greeting},
    {"resume", MAILS | OF(LOAD_IDLE) | OF(LOAD_FLOOD), set_resume},
    {"auth", MAILS | OF(LOAD_IDLE) | OF(LOAD_SLOW), set_auth},
    {"messages", MAILS, set_messages},
    {"size", MAILS | OF(LOAD_SLOW), set_size},
    {"recipients", MAILS, set_recipients},
    {"pipelining", MAILS, set_pipelining},
    {"body", MAILS, set_body},
    {"chunk", MAILS, set_chunk},
    {"stage", OF(LOAD_IDLE), set_stage},
    {"hold", OF(LOAD_IDLE), set_hold},
    {"part", OF(LOAD_SLOW), set_part},
    {"octets", OF(LOAD_SLOW), set_octets},
    {"interval", OF(LOAD_SLOW), set_interval},
    {"attempts", OF(LOAD_FLOOD), set_attempts},
};

static const struct key *key_of(const char *name, enum load_kind kind)
{
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (strcmp(keys[i].name, name) == 0 && (keys[i].kinds & OF(kind)) != 0)
            return &keys[i];
    return NULL;
}

static bool complain(char error[LOAD_ERROR_MAX], const char *format, const char *a, const char *b,
                     const char *c)
{
    snprintf(error, LOAD_ERROR_MAX, format, a, b, c);
    return false;
}

static bool take_pair(struct load_work *w, char error[LOAD_ERROR_MAX], char *pair)
{
    char *value = pair;
    const char *name = strsep(&value, "=");
    const struct key *key = key_of(name, w->kind);
    if (key == NULL)
        return complain(error, "The work \"%s\" has no key \"%s\"%s.", kinds[w->kind], name, "");
    if (value == NULL || !key->set(w, value))
        return complain(error, "\"%s\" is no value for %s of the work \"%s\".",
                        value != NULL ? value : "", name, kinds[w->kind]);
    return true;
}

static struct load_work with_defaults(enum load_kind kind)
{
    struct load_work w = {
        .kind = kind,
        .weight = 1,
        .greeting = true,
        .auth = true,
        .pipelining = true,
        .messages = 1,
        .recipients = 1,
        .attempts = 1,
        .octets = 1,
        .size = kind == LOAD_BULK ? UINT64_C(25) << 20 : 4096,
        .chunk = UINT64_C(1) << 20,
        .hold = 10 * LOAD_SECOND,
        .interval = LOAD_SECOND,
        .stage = LOAD_AT_EHLO,
        .part = LOAD_SLOW_COMMAND,
    };
    set_label(&w, kinds[kind]);
    return w;
}

bool load_work_parse(struct load_work *w, char error[LOAD_ERROR_MAX], const char *text)
{
    char copy[TEXT_MAX], *rest = copy, *pair;
    if (snprintf(copy, sizeof copy, "%s", text) >= (int)sizeof copy)
        return complain(error, "A work has at most 1,023 characters%s%s%s.", "", "", "");
    const char *name = strsep(&rest, ",");
    int kind = 0;
    while (kind < LOAD_KINDS && strcmp(kinds[kind], name) != 0)
        kind++;
    if (kind == LOAD_KINDS)
        return complain(error,
                        "\"%s\" is no work: handshake, resume, session, bulk, idle, slow "
                        "and flood are%s%s.",
                        name, "", "");
    *w = with_defaults((enum load_kind)kind);
    while ((pair = strsep(&rest, ",")) != NULL)
        if (!take_pair(w, error, pair))
            return false;
    if (w->rate > 0 && w->concurrency > 0)
        return complain(error, "The work \"%s\" has either rate or concurrency, not both%s%s.",
                        name, "", "");
    return true;
}

bool load_work_logs_in(const struct load_work *w)
{
    switch (w->kind) {
    case LOAD_SESSION:
    case LOAD_BULK:
        return w->auth;
    case LOAD_IDLE:
        return w->stage == LOAD_AT_AUTH;
    case LOAD_SLOW:
        return w->auth && w->part != LOAD_SLOW_HANDSHAKE;
    case LOAD_FLOOD:
        return true;
    default:
        return false;
    }
}

bool load_work_sends(const struct load_work *w)
{
    return w->kind == LOAD_SESSION || w->kind == LOAD_BULK ||
           (w->kind == LOAD_SLOW && w->part != LOAD_SLOW_HANDSHAKE);
}
