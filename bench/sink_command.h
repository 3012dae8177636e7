/* SMTP as the sink speaks it: as strict as RFC 5321 lets a server be, so that whatever comes in
 * front of it cannot get away with much. */
#ifndef VESTIBULE_BENCH_SINK_COMMAND_H
#define VESTIBULE_BENCH_SINK_COMMAND_H

#include "bench/sink_client.h"

void sink_command_greet(struct sink_client *c);

/* c->line is whole. */
void sink_command_run(struct sink_client *c);

/* Each takes some of what came, at least one octet. */
size_t sink_command_message(struct sink_client *c, const uint8_t *in, size_t len);
size_t sink_command_chunk(struct sink_client *c, const uint8_t *in, size_t len);

#endif
