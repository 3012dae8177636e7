#include "bench/load_sink.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { ANSWER_SECONDS = 60, LINE_OCTETS = 256 };

static FILE *ask(const struct load_run *r)
{
    const struct timeval limit = {.tv_sec = ANSWER_SECONDS};
    const struct sockaddr_storage *sink = &r->plan->sink;
    socklen_t len =
        sink->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    int fd = socket(sink->ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return NULL;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (connect(fd, (const struct sockaddr *)sink, len) != 0 ||
        dprintf(fd, "ledger %016llx\n", (unsigned long long)r->id) < 0) {
        close(fd);
        return NULL;
    }
    FILE *answer = fdopen(fd, "r");
    if (answer == NULL)
        close(fd);
    return answer;
}

static bool is_unharmed(const struct load_run *r, uint64_t number, unsigned long long octets,
                        unsigned long long digest)
{
    unsigned work;
    bool accepted;
    if (!load_ledger_was_offered(&r->ledger, &work, &accepted, number))
        return false;
    const struct load_messages *m = &r->jobs[work].messages;
    return octets == m->size && digest == load_messages_form(m, number)->digest;
}

static bool read_entries(struct load_ledger_sums *sums, struct load_run *r, FILE *answer)
{
    char line[LINE_OCTETS];
    unsigned long long run, messages, entries, number, times, octets, digest;
    if (fgets(line, sizeof line, answer) == NULL ||
        sscanf(line, "{\"run\": \"%llx\", \"messages\": %llu, \"entries\": %llu}", &run, &messages,
               &entries) != 3 ||
        run != r->id)
        return false;
    for (; entries > 0; entries--) {
        if (fgets(line, sizeof line, answer) == NULL ||
            sscanf(line, "[%llu, %llu, %llu, \"%llx\"]", &number, &times, &octets, &digest) != 4)
            return false;
        load_ledger_found(&r->ledger, sums, number, times, is_unharmed(r, number, octets, digest));
    }
    return true;
}

bool load_sink_compare(struct load_ledger_sums *sums, char reason[LOAD_ERROR_MAX],
                       struct load_run *r)
{
    *sums = (struct load_ledger_sums){0};
    errno = 0;
    FILE *answer = ask(r);
    bool good = answer != NULL && read_entries(sums, r, answer);
    if (!good)
        snprintf(reason, LOAD_ERROR_MAX, "The sink's control port does not tell its ledger: %s.",
                 errno != 0 ? strerror(errno) : "no answer of a sink's");
    if (answer != NULL)
        fclose(answer);
    load_ledger_close(&r->ledger, sums);
    return good;
}

bool load_sink_write_ledger(char reason[LOAD_ERROR_MAX], const struct load_run *r)
{
    FILE *out = fopen(r->plan->ledger, "we");
    unsigned work;
    bool accepted;
    for (uint64_t i = 0; out != NULL && i < r->ledger.next; i++)
        if (load_ledger_was_offered(&r->ledger, &work, &accepted, i))
            fprintf(out, "%016llx-%012llx %s %llu %016llx\n", (unsigned long long)r->id,
                    (unsigned long long)i, accepted ? "accepted" : "offered",
                    (unsigned long long)r->jobs[work].messages.size,
                    (unsigned long long)load_messages_form(&r->jobs[work].messages, i)->digest);
    if (out != NULL && fclose(out) == 0)
        return true;
    snprintf(reason, LOAD_ERROR_MAX, "The ledger %s cannot be written: %s.", r->plan->ledger,
             strerror(errno));
    return false;
}
