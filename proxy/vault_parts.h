/* What the vault's own files share: the process's one struct, and who does what with it.
 *
 * vault.c begins and ends it; vault_front.c keeps a front running and hears its questions;
 * vault_reload.c replaces what is in force; vault_status.c answers `vestibule status`. Everything
 * happens on the one loop. */
#ifndef VESTIBULE_PROXY_VAULT_PARTS_H
#define VESTIBULE_PROXY_VAULT_PARTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "proxy/control.h"
#include "proxy/edition.h"
#include "proxy/judge.h"
#include "proxy/lender.h"
#include "proxy/listen.h"
#include "proxy/permit.h"
#include "proxy/sign.h"
#include "proxy/spawn.h"
#include "tls/ticket.h"

#define FRONTS_MAX 64 /* draining ones included: a reload waits when there are more */

enum vault_state { VAULT_STARTING, VAULT_SERVING, VAULT_STOPPING };

struct vault {
    uv_loop_t loop;
    const char *conf_path;
    enum vault_state state;
    int status; /* exit status */
    int log_fd;
    struct edition *edition;   /* in force */
    struct listen_set sockets; /* in force */
    struct spawn *current;     /* NULL: it died and the next waits for its back-off */
    struct spawn *coming;      /* a reload's, until it accepts */
    struct edition *coming_edition;
    struct listen_set coming_sockets;
    bool reload_again; /* SIGHUP came while one was under way */
    size_t fronts;     /* processes alive */
    struct spawn *all[FRONTS_MAX];
    struct ticket_keys tickets;
    struct signer signer;
    struct judge *judge;
    struct lender *lender;
    struct permits *permits;
    uint64_t backoff;
    uint64_t serving_since;
    uv_timer_t restart;
    uv_timer_t rotate;
    uv_timer_t kill;
    uv_timer_t look;
    unsigned offered; /* to clients, when that was looked at last */
    const struct spawn *offered_to;
    uv_signal_t signals[4];
    int control_fd;          /* bound, until the loop runs; -1: none */
    struct control *control; /* NULL: it could not be opened */
    int64_t started;         /* seconds since 1970 */
    int64_t in_force;        /* the configuration, since then */
};

/* vault.c */

/* The last front is gone: nothing stays on the loop. */
void vault_close_loop(struct vault *v);

/* vault_front.c */

/* NULL: the log says why. */
struct spawn *vault_start_front(struct vault *v, struct edition *e,
                                const struct listen_set *sockets);
void vault_each_front(struct vault *v, void (*act)(struct spawn *s));

/* vault_reload.c */

void vault_reload(struct vault *v);
void vault_take_over(struct vault *v);      /* the reload's front accepts: it is the front now */
void vault_abandon_reload(struct vault *v); /* it never will */

/* The backends come into force. False: the log says why. */
bool vault_start_edition(struct vault *v, struct edition *e);
bool vault_wants_transparent(const struct conf *conf);

/* vault_status.c */

/* On what control_fd is, which is taken over. */
void vault_open_control(struct vault *v);
/* After a reload: where the configuration names another path, it moves there. */
void vault_move_control(struct vault *v);

#endif
