/* The vault's end of the PAM helper: starts it, asks it, starts it again. One for all `pam:`
 * backends of the process, because only the first to come may find the vault still root. A driver;
 * all of it on one thread. */
#ifndef VESTIBULE_AUTH_PAM_CLIENT_H
#define VESTIBULE_AUTH_PAM_CLIENT_H

#include <stdbool.h>
#include <uv.h>

#include "auth/backend.h"

struct pam_client;

/* The first hold starts the helper. `say` as in backend_settings, may be NULL. NULL with a
 * sentence. */
struct pam_client *pam_client_hold(void (*say)(const char *event, const char *sentence),
                                   char error[BACKEND_ERROR_MAX]);

/* The last one ends the helper; the handles are closed on the loop, where there is one. */
void pam_client_release(struct pam_client *c);

/* Once for all; whoever comes later is on the same loop. */
void pam_client_start(struct pam_client *c, uv_loop_t *loop);

/* As backend_ops.ask and leave; `service` lives as long as the question. */
void pam_client_ask(struct pam_client *c, const char *service, struct backend_question *q);
void pam_client_leave(struct pam_client *c, struct backend_question *q);

#endif
