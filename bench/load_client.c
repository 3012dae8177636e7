#include "bench/load_client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/load_client_parts.h"
#include "bench/load_proxy.h"

struct load_client *load_client_next(const struct load_client *c)
{
    return c->next;
}

bool load_client_is_patient(const struct load_client *c)
{
    return c->phase == LOAD_HOLDING || load_client_work(c)->kind == LOAD_SLOW;
}

static void enter_list(struct load_client *c)
{
    struct load_run *r = load_client_run(c);
    c->next = r->clients;
    c->link = &r->clients;
    if (c->next != NULL)
        c->next->link = &c->next;
    r->clients = c;
    r->open++;
    r->opening++;
    r->open_max = r->open > r->open_max ? r->open : r->open_max;
}

static void leave_list(struct load_client *c)
{
    *c->link = c->next;
    if (c->next != NULL)
        c->next->link = c->link;
    load_client_run(c)->open--;
}

static void on_closed(uv_handle_t *handle)
{
    struct load_client *c = handle->data;
    struct load_stream *s = c->stream;
    bool failed = c->failed;
    load_tls_free(c->tls);
    free(c->unsent);
    free(c->dripping);
    free(c);
    load_run_closed(s->run, s, failed);
}

void load_client_is_greeted(struct load_client *c)
{
    if (c->greeted)
        return;
    c->greeted = true;
    load_client_run(c)->opening--;
    if (c->phase != LOAD_CLOSED)
        load_run_greeted(load_client_run(c), c->stream);
}

void load_client_close(struct load_client *c)
{
    if (c->phase == LOAD_CLOSED)
        return;
    load_client_run(c)->holding -= c->phase == LOAD_HOLDING;
    c->phase = LOAD_CLOSED;
    leave_list(c);
    load_client_is_greeted(c);
    uv_close((uv_handle_t *)&c->tcp, on_closed);
}

void load_client_fail(struct load_client *c, const char *where, const char *what)
{
    if (c->phase == LOAD_CLOSED)
        return;
    /* What comes behind the end of an operation is no part of it. */
    if (c->phase != LOAD_LEAVING) {
        c->failed = true;
        load_tally_error(c->job->tally, where, what);
    }
    load_client_close(c);
}

const char *load_client_where(const struct load_client *c)
{
    switch (c->phase) {
    case LOAD_CONNECTING:
        return "connect";
    case LOAD_HANDSHAKING:
        return "tls";
    case LOAD_HOLDING:
        return "idle";
    default:
        return load_step_name(c->talk.step);
    }
}

void load_client_progress(struct load_client *c)
{
    c->deadline = uv_hrtime() + load_client_run(c)->plan->timeout;
}

static void on_connected(uv_connect_t *request, int status)
{
    struct load_client *c = request->handle->data;
    struct load_wire *w = &load_client_run(c)->wire;
    if (c->phase == LOAD_CLOSED)
        return;
    if (status != 0) {
        load_client_fail(c, "connect", uv_strerror(status));
        return;
    }
    load_client_progress(c);
    load_client_end_phase(c, LOAD_PHASE_CONNECT);
    load_client_listen(c);
    w->out_len = load_proxy_header(w->out, load_client_run(c)->plan->proxy,
                                   &load_client_work(c)->server, load_client_run(c)->operations);
    if (load_client_work(c)->security == LOAD_IMPLICIT)
        load_client_begin_handshake(c);
    else
        c->phase = LOAD_TALKING;
    load_client_flush(c);
}

/* A port is chosen with the connection, so that one may serve for several servers. */
static int bind_source(struct load_client *c)
{
    const struct load_plan *p = load_client_run(c)->plan;
    uint32_t span = p->source_last - p->source_first + 1, on = 1;
    struct sockaddr_in from = {.sin_family = AF_INET};
    if (p->source_first == 0)
        return 0;
    from.sin_addr.s_addr =
        htonl(p->source_first + (uint32_t)(load_client_run(c)->operations % span));
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return uv_translate_sys_error(errno);
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    int error = bind(fd, (const struct sockaddr *)&from, sizeof from) != 0
                    ? uv_translate_sys_error(errno)
                    : uv_tcp_open(&c->tcp, fd);
    if (error != 0)
        close(fd);
    return error;
}

static void begin(struct load_client *c)
{
    int error = bind_source(c);
    if (error == 0)
        error = uv_tcp_connect(&c->connect, &c->tcp,
                               (const struct sockaddr *)&load_client_work(c)->server, on_connected);
    if (error != 0)
        load_client_fail(c, "connect", uv_strerror(error));
    else
        uv_tcp_nodelay(&c->tcp, 1);
}

bool load_client_start(struct load_stream *s, struct load_job *j, uint64_t intended)
{
    struct load_run *r = s->run;
    const struct load_plan *p = r->plan;
    struct load_client *c = calloc(1, sizeof *c);
    const struct load_user *user =
        p->users_count > 0 ? &p->users[r->operations % p->users_count] : NULL;
    if (c == NULL)
        return false;
    r->operations++;
    c->stream = s;
    c->job = j;
    c->intended = intended;
    c->started = c->mark = uv_hrtime();
    c->measured = s->is_idle || (r->state == LOAD_MEASURING && intended >= r->measuring_from);
    load_talk_init(&c->talk, &j->script, user != NULL ? user->login : NULL,
                   user != NULL ? user->password : NULL, r->operations);
    uv_tcp_init(&r->loop, &c->tcp);
    c->tcp.data = c;
    enter_list(c);
    load_client_progress(c);
    begin(c);
    return true;
}

static void drip_in_time(struct load_client *c, uint64_t now)
{
    if (now < c->next_drip || c->phase == LOAD_CONNECTING || c->phase == LOAD_LEAVING)
        return;
    c->next_drip = now + load_client_work(c)->interval;
    c->allowance = load_client_work(c)->octets;
    if (load_client_drips_handshake(c))
        load_client_drip(c);
    else {
        if (c->phase == LOAD_TALKING && load_talk_next(&c->talk) != NULL)
            load_client_progress(c);
        load_client_pump(c);
        load_client_flush(c);
    }
}

void load_client_tick(struct load_client *c, uint64_t now)
{
    if (load_client_work(c)->kind == LOAD_SLOW)
        drip_in_time(c, now);
    if (now < c->deadline || c->phase == LOAD_CLOSED)
        return;
    if (c->phase == LOAD_LEAVING)
        load_client_close(c);
    else
        load_client_fail(c, load_client_where(c), "nothing happened for the whole timeout");
}

void load_client_abandon(struct load_client *c)
{
    bool ends_well = c->phase == LOAD_HOLDING || c->phase == LOAD_LEAVING;
    c->job->tally->unfinished += !ends_well && c->measured;
    load_client_close(c);
}
