/* What people and programs are told about a run. */
#ifndef VESTIBULE_BENCH_LOAD_REPORT_H
#define VESTIBULE_BENCH_LOAD_REPORT_H

#include <stdio.h>

#include "bench/load_ledger.h"
#include "bench/load_run.h"

/* sums: NULL when no sink was asked. */
void load_report_json(FILE *out, struct load_run *r, const struct load_ledger_sums *sums);
void load_report_text(FILE *out, struct load_run *r, const struct load_ledger_sums *sums);

/* A line of --events; sessions below 0: none are told. */
void load_report_event(FILE *out, const char *event, double at, int sessions);

/* Overwrites its line, ten times a second. */
void load_report_progress(FILE *out, const struct load_run *r, double at);
void load_report_progress_end(FILE *out);

/* Whether all was as it should be. */
bool load_report_is_good(const struct load_run *r, const struct load_ledger_sums *sums);

#endif
