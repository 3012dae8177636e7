/* A connection to the sink: reads, writes, waits, ends. What is said is sink_command's. */
#ifndef VESTIBULE_BENCH_SINK_CLIENT_H
#define VESTIBULE_BENCH_SINK_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <uv.h>

#include "bench/sink_data.h"
#include "bench/sink_label.h"
#include "bench/sink_preamble.h"
#include "bench/sink_server.h"

enum { SINK_LINE_MAX = 12290, SINK_OUT_MAX = 2048 }; /* RFC 4954 4: AUTH has the longest line */

enum sink_phase {
    SINK_PREAMBLE,
    SINK_COMMAND,
    SINK_MESSAGE, /* behind DATA */
    SINK_CHUNK,   /* behind BDAT */
    SINK_DEAF,    /* whatever comes is dropped */
};

struct sink_client {
    uv_tcp_t tcp;
    uv_timer_t timer;
    bool has_timer;
    struct sink *sink;
    struct sink_client *next, **link;
    uint64_t number;
    enum sink_phase phase;
    bool over;                              /* nothing more is read */
    void (*waiting)(struct sink_client *c); /* not NULL: what is done once the delay is over */
    uint8_t *held;                          /* what came behind that */
    size_t held_len;
    struct sink_preamble *preamble; /* NULL but in that phase */

    char *line; /* of line_len octets, followed by NUL once it is whole; NULL between lines */
    size_t line_len;
    bool greeted;
    bool mail;
    unsigned awaits; /* lines of an AUTH that are still to come */
    unsigned recipients;

    struct sink_data data;
    struct sink_label label;
    uint64_t chunk_left;
    bool chunk_is_last;
    bool chunk_refused;
    bool chunked; /* in a message of chunks */
    uint64_t octets;
    uint64_t message; /* N of the file's name */
    FILE *file;

    size_t out_len;
    char out[SINK_OUT_MAX]; /* goes when all that was read has been taken */
};

void sink_client_accept(struct sink *s);
void sink_client_close(struct sink_client *c);

/* A line, CR LF is added. */
void sink_client_say(struct sink_client *c, const char *text);
/* The last one; the connection closes behind it. */
void sink_client_say_bye(struct sink_client *c, const char *text);

/* Nothing more is taken for so long, then `then` is called. */
void sink_client_wait(struct sink_client *c, uint64_t ms, void (*then)(struct sink_client *c));

/* A line of the conversation, unless quiet. */
void sink_client_note(const struct sink_client *c, const char *who, const char *text, size_t len);

#endif
