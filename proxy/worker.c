#include "proxy/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/log.h"
#include "proxy/probe.h"
#include "proxy/session.h"
#include "proxy/socket.h"

#define ACCEPT_BURST 32     /* then the sessions get their turn */
#define ACCEPT_PAUSE_MS 100 /* when descriptors are short: no spinning */
#define SHORT_LOG_MS 10000  /* and one log line in so long, for all workers */
#define SETTLE_MS \
    1000 /* who does not say by then what can be offered must not keep clients waiting */
#define REFUSED_LOG_EVERY 100 /* one log line for so many connections over max_sessions */

/* One accepting socket in one worker. */
struct doorway {
    struct worker *worker;
    const struct port *port;
    int fd; /* a duplicate of its own: each worker closes its own when it drains */
    uv_poll_t poll;
    uv_timer_t pause;
    unsigned handles;
    uint64_t refused;
};

static void worker_finish(struct worker *w);

/* --- sessions by slot
 * ------------------------------------------------------------------------------------------ */

static bool more_slots(struct worker *w)
{
    size_t count = w->slot_count == 0 ? 64 : w->slot_count * 2;
    struct slot *slots = realloc(w->slots, count * sizeof *slots);
    if (slots == NULL)
        return false;
    for (size_t i = w->slot_count; i < count; i++)
        slots[i] = (struct slot){.next_free = i + 1};
    w->first_free = w->slot_count;
    w->slots = slots;
    w->slot_count = count;
    return true;
}

bool worker_admit(struct worker *w, struct session *s, uint64_t *number)
{
    if (w->first_free == w->slot_count && !more_slots(w))
        return false;
    size_t index = w->first_free;
    struct slot *slot = &w->slots[index];
    w->first_free = slot->next_free;
    *number = (uint64_t)++w->serial << 32 | index;
    slot->session = s;
    w->live++;
    atomic_fetch_add(&w->front->sessions, 1);
    return true;
}

void worker_forget(struct worker *w, uint64_t number)
{
    size_t index = number & UINT32_MAX;
    w->slots[index] = (struct slot){.next_free = w->first_free};
    w->first_free = index;
    w->live--;
    atomic_fetch_sub(&w->front->sessions, 1);
    if (w->draining && w->live == 0)
        worker_finish(w);
}

uint64_t worker_number(struct worker *w, uint64_t number)
{
    return (uint64_t)++w->serial << 32 | (number & UINT32_MAX);
}

/* Who asks more than once asks with numbers of one slot, and knows himself which counts. */
static struct session *session_at(const struct worker *w, uint64_t number)
{
    size_t index = number & UINT32_MAX;
    return index < w->slot_count ? w->slots[index].session : NULL;
}

/* Whatever `act` does to the session at hand, the others keep their slots. */
static void each_session(struct worker *w, void (*act)(struct session *s))
{
    for (size_t i = 0; i < w->slot_count; i++)
        if (w->slots[i].session != NULL)
            act(w->slots[i].session);
}

/* --- what the MTAs offer
 * --------------------------------------------------------------------------------------- */

static bool share(struct front *f, size_t upstream, const struct capabilities *c)
{
    pthread_mutex_lock(&f->lock);
    bool news = !capabilities_same(&f->learnt[upstream], c);
    if (news) {
        f->learnt[upstream] = *c;
        f->learnt_version++;
    }
    pthread_mutex_unlock(&f->lock);
    return news;
}

void worker_learnt(struct worker *w, size_t upstream, const struct capabilities *c)
{
    if (share(w->front, upstream, c) && w->link != NULL)
        link_send(w->link, &(struct channel_frame){.type = CHANNEL_LEARNT,
                                                   .as.learnt = {.upstream = (uint32_t)upstream,
                                                                 .extensions = c->extensions,
                                                                 .size = c->size}});
}

const struct capabilities *worker_capabilities(struct worker *w, size_t upstream)
{
    struct front *f = w->front;
    pthread_mutex_lock(&f->lock);
    if (w->learnt_version != f->learnt_version) {
        memcpy(w->learnt, f->learnt, sizeof w->learnt);
        w->learnt_version = f->learnt_version;
    }
    pthread_mutex_unlock(&f->lock);
    return &w->learnt[upstream];
}

/* --- accepting
 * -------------------------------------------------------------------------------------------------
 */

static void on_accept(uv_poll_t *poll, int status, int events);

static void on_pause_over(uv_timer_t *pause)
{
    struct doorway *d = pause->data;
    uv_poll_start(&d->poll, UV_READABLE, on_accept);
}

static void log_shortage(struct front *f, uint64_t now)
{
    uint64_t until = atomic_load(&f->short_until);
    if (now >= until && atomic_compare_exchange_strong(&f->short_until, &until, now + SHORT_LOG_MS))
        log_say(LOG_LEVEL_ERROR, "accept_failed",
                "cannot accept a connection: %s; trying again every moment", strerror(errno));
}

static void short_of_descriptors(struct doorway *d)
{
    log_shortage(d->worker->front, uv_now(&d->worker->loop));
    uv_poll_stop(&d->poll);
    uv_timer_start(&d->pause, on_pause_over, ACCEPT_PAUSE_MS, 0);
}

static void refuse_crowd(struct doorway *d, int fd)
{
    static const char text[] = "421 4.3.2 Too many sessions, try again later\r\n";
    if (d->port->conf->tls == CONF_STARTTLS)
        (void)send(fd, text, sizeof text - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    close(fd);
    if (d->refused++ % REFUSED_LOG_EVERY == 0)
        log_say(LOG_LEVEL_WARNING, "max_sessions",
                "a connection was refused: max_sessions (%u) is reached",
                d->worker->front->max_sessions);
}

/* False: nobody waits, or nobody can be let in. */
static bool accept_one(struct doorway *d)
{
    struct address from;
    int fd = socket_accept(d->fd, &from);
    if (fd < 0) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
            short_of_descriptors(d);
        return errno == ECONNABORTED || errno == EINTR;
    }
    if (atomic_load(&d->worker->front->sessions) >= d->worker->front->max_sessions)
        refuse_crowd(d, fd);
    else
        session_open(d->worker, d->port, fd, &from);
    return true;
}

static void on_accept(uv_poll_t *poll, int status, int events)
{
    struct doorway *d = poll->data;
    (void)status, (void)events;
    for (int i = 0; i < ACCEPT_BURST; i++)
        if (!accept_one(d))
            return;
}

static void on_doorway_closed(uv_handle_t *handle)
{
    struct doorway *d = handle->data;
    if (--d->handles == 0)
        free(d);
}

static bool doorway_open(struct worker *w, const struct bundle_socket *socket)
{
    struct doorway *d = calloc(1, sizeof *d);
    if (d == NULL)
        return false;
    d->worker = w;
    d->port = &w->front->port[socket->listener];
    d->fd = fcntl(socket->fd, F_DUPFD_CLOEXEC, 0);
    if (d->fd < 0 || uv_poll_init(&w->loop, &d->poll, d->fd) != 0) {
        if (d->fd >= 0)
            close(d->fd);
        free(d);
        return false;
    }
    uv_timer_init(&w->loop, &d->pause);
    d->poll.data = d->pause.data = d;
    d->handles = 2;
    w->doorways[w->doorway_count++] = d;
    uv_poll_start(&d->poll, UV_READABLE, on_accept);
    return true;
}

static void close_doorways(struct worker *w)
{
    for (size_t i = 0; i < w->doorway_count; i++) {
        struct doorway *d = w->doorways[i];
        uv_close((uv_handle_t *)&d->poll, on_doorway_closed);
        uv_close((uv_handle_t *)&d->pause, on_doorway_closed);
        close(d->fd);
    }
    w->doorway_count = 0;
}

/* --- draining
 * --------------------------------------------------------------------------------------------------
 */

static void on_drain_timeout(uv_timer_t *timer)
{
    each_session(timer->data, session_kill);
}

/* The last quarter of drain_timeout is for messages under way: no new one begins. */
static void on_drain_hurry(uv_timer_t *timer)
{
    struct worker *w = timer->data;
    uv_timer_start(timer, on_drain_timeout, w->front->conf->drain_timeout / 4, 0);
    each_session(w, session_hurry);
}

static void worker_drain(struct worker *w)
{
    if (w->draining)
        return;
    close_doorways(w);
    if (w->probe != NULL)
        probe_stop(w->probe);
    w->probe = NULL;
    uv_timer_start(&w->drain_timer, on_drain_hurry, w->front->conf->drain_timeout / 4 * 3, 0);
    each_session(w, session_drain);
    w->draining = true;
    if (w->live == 0)
        worker_finish(w);
}

/* The last session is gone: with the last handle the loop ends. */
static void worker_finish(struct worker *w)
{
    if (uv_is_closing((uv_handle_t *)&w->drain_timer))
        return;
    uv_close((uv_handle_t *)&w->drain_timer, NULL);
    if (w->link != NULL)
        link_close(w->link);
    w->link = NULL;
}

/* --- the vault
 * -------------------------------------------------------------------------------------------------
 */

static void take_tickets(const struct front *f, const struct ticket_keys *keys)
{
    for (size_t i = 0; i < f->conf->listener_count; i++)
        tls_context_tickets(f->port[i].tls, keys);
}

static void on_frame(void *owner, struct link *l, const struct channel_frame *frame)
{
    struct worker *w = owner;
    (void)l;
    struct session *s;
    switch (frame->type) {
    case CHANNEL_SIGNED:
    case CHANNEL_VERDICT:
    case CHANNEL_CHALLENGE:
    case CHANNEL_PERMITTED:
    case CHANNEL_LEASED:
        s = session_at(w, frame->number);
        if (s != NULL)
            session_answer(s, frame);
        break;
    case CHANNEL_TICKETS:
        take_tickets(w->front, &frame->as.tickets);
        break;
    case CHANNEL_MECHANISMS:
        w->mechanisms = frame->as.mechanisms;
        w->told = true;
        break;
    case CHANNEL_DRAIN:
        worker_drain(w);
        break;
    default: /* a front's own questions */
        break;
    }
}

static void on_vault_gone(void *owner, struct link *l)
{
    struct worker *w = owner;
    w->link = NULL;
    link_close(l);
    each_session(w, session_orphan);
    worker_drain(w);
}

bool worker_start(struct worker *w, struct front *front, unsigned index, int channel)
{
    static const struct link_events events = {
        .frame = on_frame, .closed = on_vault_gone, .takes_descriptors = true};
    w->front = front;
    w->index = index;
    if (uv_loop_init(&w->loop) != 0)
        return false;
    uv_timer_init(&w->loop, &w->drain_timer);
    w->drain_timer.data = w;
    w->link = link_open(&w->loop, channel, &events, w);
    if (w->link == NULL)
        return false;
    if (index == 0)
        w->probe = probe_start(w);
    return true;
}

static void on_settle_timeout(uv_timer_t *timer)
{
    struct worker *w = timer->data;
    w->settled = true;
}

static bool waits_for_offers(const struct worker *w)
{
    return !w->told || (w->probe != NULL && !probe_settled(w->probe));
}

void worker_settle(struct worker *w)
{
    uv_timer_start(&w->drain_timer, on_settle_timeout, SETTLE_MS, 0);
    while (!w->settled && !w->draining && waits_for_offers(w))
        uv_run(&w->loop, UV_RUN_ONCE);
    if (!w->draining)
        uv_timer_stop(&w->drain_timer);
}

bool worker_open_doors(struct worker *w)
{
    if (w->draining)
        return true;
    for (size_t i = 0; i < w->front->bundle->socket_count; i++)
        if (!doorway_open(w, &w->front->bundle->socket[i]))
            return false;
    link_send(w->link, &(struct channel_frame){.type = CHANNEL_READY});
    return true;
}

void worker_run(struct worker *w)
{
    uv_run(&w->loop, UV_RUN_DEFAULT);
    uv_loop_close(&w->loop);
    free(w->slots);
}
