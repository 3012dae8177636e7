/* What the sink is told to do amiss: delays and replies for each command. Pure. */
#ifndef VESTIBULE_BENCH_SINK_FAULT_H
#define VESTIBULE_BENCH_SINK_FAULT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum sink_verb {
    SINK_CONNECT, /* the greeting */
    SINK_EHLO,    /* HELO too */
    SINK_AUTH,
    SINK_XCLIENT,
    SINK_MAIL,
    SINK_RCPT,
    SINK_DATA, /* BDAT too */
    SINK_BODY, /* the end of a message */
    SINK_RSET,
    SINK_NOOP,
    SINK_QUIT,
    SINK_VERBS,
};

enum { SINK_FAULT_REPLY_MAX = 200 };

struct sink_fault {
    uint64_t delay_ms;
    unsigned every;                   /* 0: never */
    unsigned passed;                  /* since the last that failed */
    char reply[SINK_FAULT_REPLY_MAX]; /* or "close", "silence" */
};

/* Zero state: all is well. */
struct sink_faults {
    struct sink_fault of[SINK_VERBS];
};

/* Each false when the text makes no sense; nothing changes then. */
bool sink_faults_delay(struct sink_faults *f, const char *verb, const char *time);
bool sink_faults_fail(struct sink_faults *f, const char *verb, const char *every,
                      const char *reply);

/* "VERB=TIME", "VERB[/N]=REPLY": as an option has them. */
bool sink_faults_delay_option(struct sink_faults *f, const char *text);
bool sink_faults_fail_option(struct sink_faults *f, const char *text);

/* Counts one such command: the reply that it is to get, NULL when it is to go well. */
const char *sink_faults_reply(struct sink_faults *f, enum sink_verb verb);

#endif
