#include "bench/sink_fault.h"

#include <ctype.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { DELAY_MAX_MS = 3600 * 1000 };

static const char *const names[SINK_VERBS] = {"CONNECT", "EHLO", "AUTH", "XCLIENT", "MAIL", "RCPT",
                                              "DATA",    "BODY", "RSET", "NOOP",    "QUIT"};

static struct sink_fault *fault_of(struct sink_faults *f, const char *verb, size_t len)
{
    for (size_t i = 0; i < SINK_VERBS; i++)
        if (strlen(names[i]) == len && strncasecmp(names[i], verb, len) == 0)
            return &f->of[i];
    return NULL;
}

/* A number and its unit; seconds without one. */
static bool milliseconds(uint64_t *ms, const char *text)
{
    static const struct {
        const char *unit;
        double ms;
    } units[] = {{"", 1000}, {"s", 1000}, {"ms", 1}, {"m", 60000}};
    char *end;
    if (!isdigit((unsigned char)*text))
        return false;
    double number = strtod(text, &end);
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (strcmp(end, units[i].unit) == 0 && number * units[i].ms <= DELAY_MAX_MS) {
            *ms = (uint64_t)(number * units[i].ms + 0.5);
            return true;
        }
    return false;
}

static bool is_reply(const char *text)
{
    if (strcmp(text, "close") == 0 || strcmp(text, "silence") == 0)
        return true;
    if (strlen(text) >= SINK_FAULT_REPLY_MAX || text[0] < '2' || text[0] > '5')
        return false;
    return isdigit((unsigned char)text[1]) && isdigit((unsigned char)text[2]) && text[3] == ' ';
}

static bool set_delay(struct sink_fault *fault, const char *time)
{
    return fault != NULL && milliseconds(&fault->delay_ms, time);
}

static bool set_reply(struct sink_fault *fault, const char *every, const char *reply)
{
    char *end;
    unsigned long n = strtoul(every, &end, 10);
    if (fault == NULL || !isdigit((unsigned char)*every) || *end != '\0' || n > INT_MAX ||
        (n > 0 && !is_reply(reply)))
        return false;
    fault->every = (unsigned)n;
    fault->passed = 0;
    snprintf(fault->reply, sizeof fault->reply, "%s", reply);
    return true;
}

bool sink_faults_delay(struct sink_faults *f, const char *verb, const char *time)
{
    return set_delay(fault_of(f, verb, strlen(verb)), time);
}

bool sink_faults_fail(struct sink_faults *f, const char *verb, const char *every, const char *reply)
{
    return set_reply(fault_of(f, verb, strlen(verb)), every, reply);
}

bool sink_faults_delay_option(struct sink_faults *f, const char *text)
{
    const char *equals = strchr(text, '=');
    return equals != NULL && set_delay(fault_of(f, text, (size_t)(equals - text)), equals + 1);
}

bool sink_faults_fail_option(struct sink_faults *f, const char *text)
{
    char every[12] = "1";
    const char *equals = strchr(text, '=');
    size_t verb = strcspn(text, "/=");
    if (equals == NULL)
        return false;
    if (text[verb] == '/') {
        size_t digits = (size_t)(equals - text) - verb - 1;
        if (digits == 0 || digits >= sizeof every)
            return false;
        memcpy(every, text + verb + 1, digits);
        every[digits] = '\0';
    }
    return set_reply(fault_of(f, text, verb), every, equals + 1);
}

const char *sink_faults_reply(struct sink_faults *f, enum sink_verb verb)
{
    struct sink_fault *fault = &f->of[verb];
    if (fault->every == 0 || ++fault->passed < fault->every)
        return NULL;
    fault->passed = 0;
    return fault->reply;
}
