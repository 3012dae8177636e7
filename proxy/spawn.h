/* A front process as the vault sees it: started with a fresh exec, spoken to over one link for each
 * of its workers. */
#ifndef VESTIBULE_PROXY_SPAWN_H
#define VESTIBULE_PROXY_SPAWN_H

#include <stdbool.h>
#include <uv.h>

#include "proxy/edition.h"
#include "proxy/link.h"
#include "proxy/listen.h"
#include "tls/ticket.h"

#define SPAWN_ERROR_MAX 256

struct spawn;

struct spawn_events {
    void (*ready)(void *owner, struct spawn *s); /* all workers accept */
    void (*question)(void *owner, struct spawn *s, struct link *l,
                     const struct channel_frame *frame);
    void (*link_gone)(void *owner, struct link *l); /* before it is closed */
    /* The process is gone; the struct frees itself after this. `signal` 0: it exited with `status`.
     */
    void (*gone)(void *owner, struct spawn *s, int64_t status, int signal);
};

/* NULL with a sentence. Holds the edition. */
struct spawn *spawn_start(uv_loop_t *loop, struct edition *e, const struct listen_set *sockets,
                          const struct ticket_keys *tickets, int log_fd,
                          const struct spawn_events *events, void *owner,
                          char error[SPAWN_ERROR_MAX]);

struct edition *spawn_edition(const struct spawn *s);
int spawn_pid(const struct spawn *s);
void spawn_tickets(struct spawn *s, const struct ticket_keys *tickets);

/* What its clients can be offered, enum sasl_mechanism bits: before it accepts, and when it
 * changes. */
void spawn_mechanisms(struct spawn *s, uint32_t mechanisms);
void spawn_drain(struct spawn *s);
void spawn_kill(struct spawn *s);

#endif
