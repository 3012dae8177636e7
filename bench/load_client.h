/* One operation: a connection and what is done on it. */
#ifndef VESTIBULE_BENCH_LOAD_CLIENT_H
#define VESTIBULE_BENCH_LOAD_CLIENT_H

#include "bench/load_run.h"

/* Whatever becomes of it, load_run_closed is called later, never from within. False: short of
 * memory. */
bool load_client_start(struct load_stream *s, struct load_job *j, uint64_t intended);

/* Ten times a second: limits of time, and slow clients. */
void load_client_tick(struct load_client *c, uint64_t now);

/* The end of all: an operation that is under way is told to be unfinished. */
void load_client_abandon(struct load_client *c);

/* The next of the run's list. */
struct load_client *load_client_next(const struct load_client *c);
bool load_client_is_patient(
    const struct load_client *c); /* slow or held: nobody waits for its end */

#endif
