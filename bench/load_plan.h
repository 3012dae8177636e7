/* The command line of the load. */
#ifndef VESTIBULE_BENCH_LOAD_PLAN_H
#define VESTIBULE_BENCH_LOAD_PLAN_H

#include "bench/load_ledger.h"
#include "bench/load_work.h"

enum load_proxy { LOAD_PROXY_NONE, LOAD_PROXY_V1, LOAD_PROXY_V2 };

struct load_user {
    char *login;
    char *password;
};

struct load_plan {
    struct load_work works[LOAD_LEDGER_WORKS];
    unsigned works_count;
    struct sockaddr_storage server;
    char server_text[80];
    const char *ca;
    const char *name;
    bool insecure;
    uint16_t tls_max;
    struct load_user *users;
    unsigned users_count;
    uint32_t source_first, source_last; /* 0: the kernel's choice */
    enum load_proxy proxy;
    unsigned concurrency;
    double rate; /* 0: a closed loop */
    bool poisson;
    unsigned max_open;
    unsigned opening;
    uint64_t warmup; /* nanoseconds, as all times */
    uint64_t duration;
    unsigned count; /* 0: by duration */
    uint64_t timeout;
    unsigned seed;
    bool has_sink;
    struct sockaddr_storage sink;
    const char *ledger;
    bool json;
    bool events;
    bool quiet;
};

enum load_plan_status { LOAD_PLAN_GOOD, LOAD_PLAN_HELP, LOAD_PLAN_BAD };

/* BAD: error is one sentence. What is in argv must outlive the plan. */
enum load_plan_status load_plan_read(struct load_plan *p, char error[LOAD_ERROR_MAX], int argc,
                                     char **argv);
void load_plan_free(struct load_plan *p);

extern const char load_plan_usage[];

#endif
