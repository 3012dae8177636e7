/* The sink's second port: a line is asked, JSON is answered. */
#ifndef VESTIBULE_BENCH_SINK_CONTROL_H
#define VESTIBULE_BENCH_SINK_CONTROL_H

#include <stdio.h>

#include "bench/sink_server.h"

void sink_control_accept(struct sink *s);
void sink_control_close(struct sink_asker *a);

/* The counters as one line. */
void sink_control_count(const struct sink *s, FILE *out);

#endif
