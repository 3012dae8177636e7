/* Threads of lower priority that hash passwords: a flood of logins takes what the others leave of
 * the processor, and never the threads that sign. A driver. */
#ifndef VESTIBULE_PROXY_HASHING_H
#define VESTIBULE_PROXY_HASHING_H

#include <uv.h>

struct hashing;

/* The caller's memory, until `done`. */
struct hashing_job {
    void (*work)(struct hashing_job *job); /* in one of the threads */
    void (*done)(struct hashing_job *job); /* on the loop */
    struct hashing_job *next;
};

/* NULL: out of memory or threads. */
struct hashing *hashing_new(uv_loop_t *loop, unsigned threads);

void hashing_run(struct hashing *h, struct hashing_job *job);

/* Without it nothing keeps the loop but jobs that are not done. From here on no job may come. */
void hashing_stop(struct hashing *h);

/* The loop has ended, and with it every job. */
void hashing_free(struct hashing *h);

#endif
