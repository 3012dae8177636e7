/* A kind of work: WORK[,KEY=VALUE]... of the command line. Pure. */
#ifndef VESTIBULE_BENCH_LOAD_WORK_H
#define VESTIBULE_BENCH_LOAD_WORK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

enum load_kind {
    LOAD_HANDSHAKE,
    LOAD_RESUME,
    LOAD_SESSION,
    LOAD_BULK,
    LOAD_IDLE,
    LOAD_SLOW,
    LOAD_FLOOD,
    LOAD_KINDS,
};

enum load_security { LOAD_IMPLICIT, LOAD_STARTTLS, LOAD_PLAINTEXT };
enum load_stage { LOAD_AT_GREETING, LOAD_AT_EHLO, LOAD_AT_AUTH };
enum load_part { LOAD_SLOW_HANDSHAKE, LOAD_SLOW_COMMAND, LOAD_SLOW_DATA };

enum { LOAD_LABEL_MAX = 64, LOAD_ERROR_MAX = 256 };

struct load_work {
    enum load_kind kind;
    char label[LOAD_LABEL_MAX];
    struct sockaddr_storage server; /* ss_family 0: that of all works */
    enum load_security security;
    double rate;          /* a second; 0: no stream of its own */
    unsigned concurrency; /* 0: likewise */
    unsigned weight;
    bool quit;
    bool greeting;
    bool resume;
    bool auth;
    bool pipelining;
    bool chunked; /* BDAT */
    unsigned messages;
    unsigned recipients;
    unsigned attempts;
    unsigned octets;
    uint64_t size;
    uint64_t chunk;
    uint64_t hold; /* nanoseconds, as all times */
    uint64_t interval;
    enum load_stage stage;
    enum load_part part;
};

const char *load_work_name(enum load_kind kind);

/* False: error is one sentence about what is wrong. */
bool load_work_parse(struct load_work *w, char error[LOAD_ERROR_MAX], const char *text);

/* What an operation of it will do. */
bool load_work_logs_in(const struct load_work *w);
bool load_work_sends(const struct load_work *w); /* messages */

#endif
