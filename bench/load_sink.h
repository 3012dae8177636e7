/* Asks the sink which messages it has, once the run is over. Blocks. */
#ifndef VESTIBULE_BENCH_LOAD_SINK_H
#define VESTIBULE_BENCH_LOAD_SINK_H

#include "bench/load_run.h"

/* False: reason is one sentence. */
bool load_sink_compare(struct load_ledger_sums *sums, char reason[LOAD_ERROR_MAX],
                       struct load_run *r);

/* A line for each message that was offered. False: likewise. */
bool load_sink_write_ledger(char reason[LOAD_ERROR_MAX], const struct load_run *r);

#endif
