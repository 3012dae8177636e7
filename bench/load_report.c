#include "bench/load_report.h"

#include <string.h>

#define MS 1e6 /* nanoseconds */

struct totals {
    uint64_t ops, failed, unfinished, ended;
};

static struct totals totals_of(const struct load_run *r)
{
    struct totals t = {0, 0, 0, 0};
    for (unsigned i = 0; i < r->plan->works_count; i++) {
        const struct load_tally *one = r->jobs[i].tally;
        t.ops += one->ops;
        t.failed += one->failed;
        t.unfinished += one->unfinished;
        t.ended += one->ended;
    }
    return t;
}

static double measured(const struct load_run *r)
{
    return (double)(r->measuring_to - r->measuring_from) / 1e9;
}

static double per_second(const struct load_run *r, uint64_t n)
{
    return measured(r) > 0 ? (double)n / measured(r) : 0;
}

bool load_report_is_good(const struct load_run *r, const struct load_ledger_sums *sums)
{
    for (unsigned i = 0; i < r->plan->works_count; i++) {
        const struct load_tally *t = r->jobs[i].tally;
        bool slow = r->jobs[i].work->kind == LOAD_SLOW;
        if (t->failed > 0 || (t->unfinished > 0 && !slow))
            return false;
    }
    return sums == NULL || (sums->lost == 0 && sums->twice == 0 && sums->altered == 0);
}

/* RFC 8259 7. What servers say may hold anything: beyond ASCII it is shown as its octets' values.
 */
static void json_string(FILE *out, const char *text)
{
    putc('"', out);
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\')
            fprintf(out, "\\%c", c);
        else if (c < 0x20 || c > 0x7e)
            fprintf(out, "\\u%04x", c);
        else
            putc(c, out);
    }
    putc('"', out);
}

static void json_histogram(FILE *out, const char *name, const struct load_histogram *h)
{
    static const struct {
        const char *name;
        double share;
    } quantiles[] = {{"p50", 0.5}, {"p90", 0.9}, {"p95", 0.95}, {"p99", 0.99}, {"p999", 0.999}};
    fprintf(out, "\"%s\": {\"count\": %llu", name, (unsigned long long)h->count);
    if (h->count == 0) {
        fputs(", \"min\": null, \"mean\": null, \"p50\": null, \"p90\": null, \"p95\": null, "
              "\"p99\": null, \"p999\": null, \"max\": null}",
              out);
        return;
    }
    fprintf(out, ", \"min\": %.4f, \"mean\": %.4f", (double)h->min / MS,
            load_histogram_mean(h) / MS);
    for (size_t i = 0; i < sizeof quantiles / sizeof *quantiles; i++)
        fprintf(out, ", \"%s\": %.4f", quantiles[i].name,
                (double)load_histogram_quantile(h, quantiles[i].share) / MS);
    fprintf(out, ", \"max\": %.4f}", (double)h->max / MS);
}

static void json_number(FILE *out, const char *name, uint64_t value)
{
    fprintf(out, "\"%s\": %llu, ", name, (unsigned long long)value);
}

static const struct load_stream *stream_of(const struct load_run *r, const struct load_job *j)
{
    for (unsigned i = 0; i < r->streams_count; i++)
        for (unsigned k = 0; k < r->streams[i].jobs_count; k++)
            if (r->streams[i].jobs[k] == j)
                return &r->streams[i];
    return &r->streams[0];
}

static void json_errors(FILE *out, struct load_tally *t)
{
    load_tally_sort_errors(t);
    fputs("\"errors\": [", out);
    for (size_t i = 0; i < t->errors_count; i++) {
        fputs(i > 0 ? ", {\"where\": " : "{\"where\": ", out);
        json_string(out, t->errors[i].where);
        fputs(", \"what\": ", out);
        json_string(out, t->errors[i].what);
        fprintf(out, ", \"count\": %llu}", (unsigned long long)t->errors[i].count);
    }
    putc(']', out);
}

static void json_replies(FILE *out, const struct load_tally *t)
{
    fputs("\"replies\": {", out);
    for (size_t i = 0; i < t->replies_count; i++)
        fprintf(out, "%s\"%u\": %llu", i > 0 ? ", " : "", t->replies[i].code,
                (unsigned long long)t->replies[i].count);
    fputs("}, ", out);
}

static void json_counts(FILE *out, const struct load_run *r, const struct load_tally *t)
{
    json_number(out, "ops", t->ops);
    json_number(out, "failed", t->failed);
    json_number(out, "unfinished", t->unfinished);
    json_number(out, "ended", t->ended);
    fprintf(out, "\"ops_per_s\": %.2f, ", per_second(r, t->ended));
    json_number(out, "late", t->late);
    json_number(out, "primers", t->primers);
    json_number(out, "ended_by_server", t->ended_by_server);
    json_number(out, "resumed", t->resumed);
    json_number(out, "messages", t->messages);
    json_number(out, "octets", t->octets);
    fprintf(out, "\"octets_per_s\": %.0f, ", per_second(r, t->octets));
}

static void json_job(FILE *out, const struct load_run *r, const struct load_job *j)
{
    const struct load_stream *s = stream_of(r, j);
    struct load_tally *t = j->tally;
    fputs("{\"label\": ", out);
    json_string(out, j->work->label);
    fprintf(out, ", \"work\": \"%s\", ", load_work_name(j->work->kind));
    if (s->is_open)
        fprintf(out, "\"loop\": \"open\", \"rate\": %g, \"concurrency\": null, ", s->rate);
    else
        fprintf(out, "\"loop\": \"closed\", \"rate\": null, \"concurrency\": %u, ", s->limit);
    json_counts(out, r, t);
    json_replies(out, t);
    json_histogram(out, "latency", &t->latency);
    fputs(", ", out);
    json_histogram(out, "service", &t->service);
    fputs(", \"phases\": {", out);
    for (unsigned i = 0; i < LOAD_PHASES; i++) {
        fputs(i > 0 ? ", " : "", out);
        json_histogram(out, load_phase_name((enum load_phase)i), &t->phases[i]);
    }
    fputs("}, ", out);
    json_errors(out, t);
    putc('}', out);
}

static void json_ledger(FILE *out, const struct load_run *r, const struct load_ledger_sums *s)
{
    fputs("\"ledger\": ", out);
    if (s == NULL) {
        fputs("null", out);
        return;
    }
    putc('{', out);
    json_number(out, "offered", s->offered);
    json_number(out, "accepted", s->accepted);
    json_number(out, "delivered", s->delivered);
    json_number(out, "lost", s->lost);
    json_number(out, "twice", s->twice);
    json_number(out, "altered", s->altered);
    json_number(out, "unconfirmed", s->unconfirmed);
    if (s->has_example)
        fprintf(out, "\"example\": \"%016llx-%012llx\"}", (unsigned long long)r->id,
                (unsigned long long)s->example);
    else
        fputs("\"example\": null}", out);
}

void load_report_json(FILE *out, struct load_run *r, const struct load_ledger_sums *sums)
{
    struct totals t = totals_of(r);
    fprintf(out, "{\"program\": \"load\", \"schema\": 1, \"run\": \"%016llx\", ",
            (unsigned long long)r->id);
    fprintf(out, "\"measured_s\": %.6f, ", measured(r));
    json_number(out, "ops", t.ops);
    json_number(out, "failed", t.failed);
    json_number(out, "unfinished", t.unfinished);
    json_number(out, "ended", t.ended);
    fprintf(out, "\"ops_per_s\": %.2f, \"open_max\": %u, \"cpu_s\": %.6f, \"works\": [",
            per_second(r, t.ended), r->open_max, r->cpu_to - r->cpu_from);
    for (unsigned i = 0; i < r->plan->works_count; i++) {
        fputs(i > 0 ? ", " : "", out);
        json_job(out, r, &r->jobs[i]);
    }
    fputs("], ", out);
    json_ledger(out, r, sums);
    fputs("}\n", out);
}

static void text_histogram(FILE *out, const char *name, const struct load_histogram *h)
{
    if (h->count > 0)
        fprintf(out, "  %-9s p50 %9.3f  p90 %9.3f  p99 %9.3f  p99.9 %9.3f  max %9.3f ms\n", name,
                (double)load_histogram_quantile(h, 0.5) / MS,
                (double)load_histogram_quantile(h, 0.9) / MS,
                (double)load_histogram_quantile(h, 0.99) / MS,
                (double)load_histogram_quantile(h, 0.999) / MS, (double)h->max / MS);
}

static void text_count(FILE *out, const char *what, uint64_t n)
{
    if (n > 0)
        fprintf(out, ", %llu %s", (unsigned long long)n, what);
}

static void text_job(FILE *out, const struct load_run *r, const struct load_job *j)
{
    struct load_tally *t = j->tally;
    fprintf(out, "%s: %llu done, %.1f a second", j->work->label, (unsigned long long)t->ops,
            per_second(r, t->ended));
    text_count(out, "failed", t->failed);
    text_count(out, "unfinished", t->unfinished);
    text_count(out, "late", t->late);
    text_count(out, "full handshakes for a ticket", t->primers);
    text_count(out, "resumed", t->resumed);
    text_count(out, "ended by the server", t->ended_by_server);
    text_count(out, "messages", t->messages);
    if (t->octets > 0)
        fprintf(out, ", %.1f MiB/s", per_second(r, t->octets) / 0x1p20);
    putc('\n', out);
    text_histogram(out, "latency", &t->latency);
    for (unsigned i = 0; i < LOAD_PHASES; i++)
        text_histogram(out, load_phase_name((enum load_phase)i), &t->phases[i]);
    for (size_t i = 0; i < t->replies_count; i++)
        fprintf(out, "  reply     %u: %llu\n", t->replies[i].code,
                (unsigned long long)t->replies[i].count);
    load_tally_sort_errors(t);
    for (size_t i = 0; i < t->errors_count; i++)
        fprintf(out, "  failed    %llu at %s: %s\n", (unsigned long long)t->errors[i].count,
                t->errors[i].where, t->errors[i].what);
}

void load_report_text(FILE *out, struct load_run *r, const struct load_ledger_sums *sums)
{
    for (unsigned i = 0; i < r->plan->works_count; i++)
        text_job(out, r, &r->jobs[i]);
    fprintf(out, "in %.2f s, at most %u connections; load itself took %.2f s of CPU time\n",
            measured(r), r->open_max, r->cpu_to - r->cpu_from);
    if (sums == NULL)
        return;
    fprintf(out, "messages: %llu accepted, %llu delivered", (unsigned long long)sums->accepted,
            (unsigned long long)sums->delivered);
    text_count(out, "lost", sums->lost);
    text_count(out, "delivered twice or more", sums->twice);
    text_count(out, "altered", sums->altered);
    text_count(out, "delivered without a 250", sums->unconfirmed);
    if (sums->has_example)
        fprintf(out, "; for example %016llx-%012llx", (unsigned long long)r->id,
                (unsigned long long)sums->example);
    putc('\n', out);
}

void load_report_event(FILE *out, const char *event, double at, int sessions)
{
    fprintf(out, "{\"event\": \"%s\", \"at\": %.6f", event, at);
    if (sessions >= 0)
        fprintf(out, ", \"sessions\": %d", sessions);
    fputs("}\n", out);
    fflush(out);
}

static const char *state_name(enum load_state state)
{
    switch (state) {
    case LOAD_FILLING:
        return "opening";
    case LOAD_WARMING:
        return "warming up";
    case LOAD_MEASURING:
        return "measuring";
    default:
        return "ending";
    }
}

void load_report_progress(FILE *out, const struct load_run *r, double at)
{
    struct totals t = totals_of(r);
    fprintf(out, "\r%6.1f s  %s: %llu done, %llu failed, %u open, %u held \x1b[K", at,
            state_name(r->state), (unsigned long long)t.ops, (unsigned long long)t.failed,
            r->open - r->holding, r->holding);
    fflush(out);
}

void load_report_progress_end(FILE *out)
{
    fputs("\r\x1b[K", out);
}
