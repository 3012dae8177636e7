/* The PROXY header that a load balancer would send. Pure. */
#ifndef VESTIBULE_BENCH_LOAD_PROXY_H
#define VESTIBULE_BENCH_LOAD_PROXY_H

#include <stddef.h>
#include <stdint.h>

#include "bench/load_plan.h"

enum { LOAD_PROXY_HEADER_MAX = 108 };

/* For a client out of 198.18.0.0/15, another for each number. The server is an IPv4 one. */
size_t load_proxy_header(uint8_t out[LOAD_PROXY_HEADER_MAX], enum load_proxy version,
                         const struct sockaddr_storage *server, uint64_t number);

#endif
