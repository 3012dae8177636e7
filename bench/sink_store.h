/* Where messages go: counted, entered into the ledger, and kept in a folder if there is one. */
#ifndef VESTIBULE_BENCH_SINK_STORE_H
#define VESTIBULE_BENCH_SINK_STORE_H

#include "bench/sink_client.h"

bool sink_store_begin(struct sink_client *c); /* false: cannot be kept */
void sink_store_add(struct sink_client *c, const uint8_t *text, size_t len);
bool sink_store_end(struct sink_client *c);  /* likewise */
void sink_store_drop(struct sink_client *c); /* nothing remains; fine when there is none */

#endif
