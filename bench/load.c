#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "bench/load_plan.h"
#include "bench/load_report.h"
#include "bench/load_run.h"
#include "bench/load_sink.h"

static int complain(const char *sentence)
{
    fprintf(stderr, "load: %s\n", sentence);
    return 1;
}

static int report(struct load_run *r)
{
    char reason[LOAD_ERROR_MAX];
    struct load_ledger_sums sums;
    const struct load_plan *p = r->plan;
    int status = 0;
    bool compared = p->has_sink && load_sink_compare(&sums, reason, r);
    if (p->has_sink && !compared)
        status = complain(reason);
    if (p->ledger != NULL && !load_sink_write_ledger(reason, r))
        status = complain(reason);
    (p->json ? load_report_json : load_report_text)(stdout, r, compared ? &sums : NULL);
    if (fflush(stdout) != 0)
        status = complain("The report could not be written.");
    return load_report_is_good(r, compared ? &sums : NULL) ? status : 1;
}

static int run(const struct load_plan *plan)
{
    static struct load_run r;
    char reason[LOAD_ERROR_MAX];
    int status = 1;
    if (!load_run_prepare(&r, reason, plan))
        complain(reason);
    else {
        load_run(&r);
        if (!plan->quiet && isatty(STDERR_FILENO))
            load_report_progress_end(stderr);
        status = report(&r);
    }
    load_run_free(&r);
    return status;
}

int main(int argc, char **argv)
{
    static struct load_plan plan;
    char error[LOAD_ERROR_MAX];
    int status = 2;
    signal(SIGPIPE, SIG_IGN);
    switch (load_plan_read(&plan, error, argc, argv)) {
    case LOAD_PLAN_GOOD:
        status = run(&plan);
        break;
    case LOAD_PLAN_HELP:
        fputs(load_plan_usage, stdout);
        status = 0;
        break;
    case LOAD_PLAN_BAD:
        complain(error);
    }
    load_plan_free(&plan);
    return status;
}
