#include "bench/sink_store.h"

#include <unistd.h>

enum { PATH_OCTETS = 1024 };

static void file_path(char path[PATH_OCTETS], const struct sink_client *c, const char *suffix)
{
    snprintf(path, PATH_OCTETS, "%s/%llu.eml%s", c->sink->directory, (unsigned long long)c->message,
             suffix);
}

bool sink_store_begin(struct sink_client *c)
{
    char path[PATH_OCTETS];
    c->message = ++c->sink->messages;
    c->octets = 0;
    sink_label_init(&c->label);
    if (c->sink->directory == NULL)
        return true;
    file_path(path, c, ".part");
    c->file = fopen(path, "wx");
    return c->file != NULL;
}

void sink_store_add(struct sink_client *c, const uint8_t *text, size_t len)
{
    c->octets += len;
    sink_label_take(&c->label, text, len);
    if (c->file != NULL)
        fwrite(text, 1, len, c->file);
}

static bool keep_file(struct sink_client *c)
{
    char part[PATH_OCTETS], path[PATH_OCTETS];
    if (c->file == NULL)
        return true;
    bool good = !ferror(c->file);
    good = fclose(c->file) == 0 && good;
    c->file = NULL;
    file_path(part, c, ".part");
    file_path(path, c, "");
    return rename(part, path) == 0 && good;
}

bool sink_store_end(struct sink_client *c)
{
    struct sink *s = c->sink;
    const struct sink_label *l = &c->label;
    if (!keep_file(c))
        return false;
    s->counts.messages++;
    s->counts.octets += c->octets;
    if (l->state != SINK_LABEL_FOUND ||
        !sink_ledger_enter(&s->ledger, l->run, l->number, l->digest.octets + SINK_LABEL_OCTETS,
                           sink_digest_result(&l->digest)))
        s->counts.unlisted++;
    return true;
}

void sink_store_drop(struct sink_client *c)
{
    char path[PATH_OCTETS];
    if (c->file == NULL)
        return;
    fclose(c->file);
    c->file = NULL;
    file_path(path, c, ".part");
    unlink(path);
}
