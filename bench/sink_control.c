#include "bench/sink_control.h"

#include <stdlib.h>
#include <string.h>

enum { ASKED_MAX = 512, UNREAD_MAX = 256 * 1024 * 1024 };

struct sink_asker {
    uv_tcp_t tcp;
    struct sink *sink;
    struct sink_asker *next, **link;
    size_t len;
    char line[ASKED_MAX];
};

struct answer {
    uv_write_t request;
    char *text; /* of open_memstream */
    size_t len;
};

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void sink_control_close(struct sink_asker *a)
{
    if (a->link == NULL)
        return;
    *a->link = a->next;
    if (a->next != NULL)
        a->next->link = a->link;
    a->link = NULL;
    uv_close((uv_handle_t *)&a->tcp, on_closed);
}

void sink_control_count(const struct sink *s, FILE *out)
{
    const struct sink_counts *n = &s->counts;
    const struct {
        const char *name;
        uint64_t value;
    } fields[] = {
        {"sessions", n->sessions}, {"open", s->open},         {"open_max", n->open_max},
        {"commands", n->commands}, {"messages", n->messages}, {"octets", n->octets},
        {"rejected", n->rejected}, {"aborted", n->aborted},   {"xclient", n->xclient},
        {"runs", s->ledger.count}, {"unlisted", n->unlisted},
    };
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        fprintf(out, "%s\"%s\": %llu", i == 0 ? "{" : ", ", fields[i].name,
                (unsigned long long)fields[i].value);
    fputs("}\n", out);
}

static void tell_ledger(const struct sink *s, FILE *out, const char *name)
{
    static const struct sink_run none;
    char *end;
    unsigned long long id = strtoull(name, &end, 16);
    const struct sink_run *r = sink_ledger_find(&s->ledger, id);
    if (strlen(name) != 16 || *end != '\0') {
        fputs("{\"error\": \"a run has 16 hex digits\"}\n", out);
        return;
    }
    r = r != NULL ? r : &none;
    size_t entries = 0;
    for (size_t i = 0; i < r->length; i++)
        entries += r->entries[i].times > 0;
    fprintf(out, "{\"run\": \"%016llx\", \"messages\": %llu, \"entries\": %zu}\n", id,
            (unsigned long long)r->messages, entries);
    for (size_t i = 0; i < r->length; i++)
        if (r->entries[i].times > 0)
            fprintf(out, "[%zu, %u, %llu, \"%016llx\"]\n", i, r->entries[i].times,
                    (unsigned long long)r->entries[i].octets,
                    (unsigned long long)r->entries[i].digest);
}

static void forget(struct sink *s, FILE *out)
{
    fprintf(out, "{\"forgotten\": %llu}\n", (unsigned long long)s->counts.messages);
    sink_ledger_clear(&s->ledger);
    s->counts = (struct sink_counts){.open_max = s->open};
}

static void tell(FILE *out, bool good)
{
    fputs(good ? "{\"ok\": true}\n" : "{\"error\": \"VERB, number or reply is none\"}\n", out);
}

static void obey(struct sink *s, FILE *out, char *line)
{
    const char *word = strsep(&line, " ");
    const char *rest = line != NULL ? line : "";
    if (strcmp(word, "count") == 0)
        sink_control_count(s, out);
    else if (strcmp(word, "ledger") == 0)
        tell_ledger(s, out, rest);
    else if (strcmp(word, "forget") == 0)
        forget(s, out);
    else if (strcmp(word, "delay") == 0 && line != NULL) {
        const char *verb = strsep(&line, " ");
        tell(out, line != NULL && sink_faults_delay(&s->faults, verb, line));
    } else if (strcmp(word, "fail") == 0 && line != NULL) {
        const char *verb = strsep(&line, " "), *every = strsep(&line, " ");
        tell(out,
             every != NULL && sink_faults_fail(&s->faults, verb, every, line != NULL ? line : ""));
    } else
        fputs("{\"error\": \"count, ledger RUN, forget, delay VERB TIME, fail VERB N REPLY\"}\n",
              out);
}

static void on_written(uv_write_t *request, int status)
{
    struct answer *w = request->data;
    (void)status;
    free(w->text);
    free(w);
}

static bool answer(struct sink_asker *a, char *line)
{
    struct answer *w = calloc(1, sizeof *w);
    FILE *out = w != NULL ? open_memstream(&w->text, &w->len) : NULL;
    if (out == NULL) {
        free(w);
        return false;
    }
    obey(a->sink, out, line);
    bool good = fclose(out) == 0 && w->len <= UINT32_MAX &&
                uv_stream_get_write_queue_size((uv_stream_t *)&a->tcp) < UNREAD_MAX;
    uv_buf_t text = uv_buf_init(w->text, (unsigned)w->len);
    w->request.data = w;
    good = good && uv_write(&w->request, (uv_stream_t *)&a->tcp, &text, 1, on_written) == 0;
    if (!good) {
        free(w->text);
        free(w);
    }
    return good;
}

static bool answer_all(struct sink_asker *a)
{
    char *lf;
    while ((lf = memchr(a->line, '\n', a->len)) != NULL) {
        size_t used = (size_t)(lf - a->line) + 1;
        *lf = '\0';
        if (lf > a->line && lf[-1] == '\r')
            lf[-1] = '\0';
        if (!answer(a, a->line))
            return false;
        memmove(a->line, a->line + used, a->len - used);
        a->len -= used;
    }
    return a->len < sizeof a->line;
}

static void on_read(uv_stream_t *stream, ssize_t got, const uv_buf_t *block)
{
    struct sink_asker *a = stream->data;
    (void)block;
    if (got > 0)
        a->len += (size_t)got;
    if (got < 0 || !answer_all(a))
        sink_control_close(a);
}

static void on_block(uv_handle_t *handle, size_t suggested, uv_buf_t *block)
{
    struct sink_asker *a = handle->data;
    (void)suggested;
    *block = uv_buf_init(a->line + a->len, (unsigned)(sizeof a->line - a->len));
}

void sink_control_accept(struct sink *s)
{
    struct sink_asker *a = calloc(1, sizeof *a);
    if (a == NULL)
        return;
    a->sink = s;
    a->next = s->askers;
    a->link = &s->askers;
    if (a->next != NULL)
        a->next->link = &a->next;
    s->askers = a;
    uv_tcp_init(&s->loop, &a->tcp);
    a->tcp.data = a;
    if (uv_accept((uv_stream_t *)&s->control, (uv_stream_t *)&a->tcp) != 0)
        sink_control_close(a);
    else
        uv_read_start((uv_stream_t *)&a->tcp, on_block, on_read);
}
