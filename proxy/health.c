#include "proxy/health.h"

#include "proxy/check_door.h"

#define PATIENCE_MS 3000

static bool answers(struct check_talk *t, struct check_door *d)
{
    const struct conf_address *at = &d->listener->address.at[0];
    struct address found;
    const char *why = "";
    if (address_resolve(&found, 1, at->host, at->port, &why) == 0)
        return false;
    check_door_address(&d->at, &found);
    return check_door_enter(t, d, CHECK_CLEAR, NULL, NULL);
}

/* 0, or 1 and a sentence. */
static int ask(const struct conf *conf, const struct conf_listener *listener, FILE *out)
{
    struct check_talk t;
    struct check_door d = {.conf = conf, .listener = listener, .about = listener->name};
    check_talk_init(&t, PATIENCE_MS);
    bool good = answers(&t, &d);
    bool closed_to_us = !good && t.gone && listener->proxy_protocol.count > 0;
    if (closed_to_us)
        fprintf(out,
                "listener %s cannot be asked: its proxy_protocol does not list this host; add "
                "127.0.0.1 to it\n",
                listener->name);
    else if (!good)
        fprintf(out, "listener %s does not answer with a banner\n", listener->name);
    check_talk_end(&t, good);
    return good || closed_to_us ? 0 : 1;
}

int health_run(const struct conf *conf, FILE *out)
{
    int status = 0;
    for (size_t i = 0; i < conf->listener_count; i++)
        status |= ask(conf, &conf->listener[i], out);
    return status;
}
