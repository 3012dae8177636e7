/* Questions of kind EXCHANGE that are SCRAM, answered on the loop: each has an exchange of its own
 * (auth/scram_server.h), and the answer comes in the loop's next turn. A driver. */
#ifndef VESTIBULE_AUTH_SCRAM_DESK_H
#define VESTIBULE_AUTH_SCRAM_DESK_H

#include <uv.h>

#include "auth/backend.h"
#include "auth/scram_server.h"

struct scram_desk;

/* `find` as in struct scram_terms. NULL: out of memory. */
struct scram_desk *scram_desk_open(uv_loop_t *loop,
                                   bool (*find)(void *owner, struct scram_verifier *verifier,
                                                char login[SASL_LOGIN_MAX + 1], const char *name),
                                   void *owner);

/* As backend_ops has them. */
void scram_desk_ask(struct scram_desk *d, struct backend_question *q);
void scram_desk_respond(struct scram_desk *d, struct backend_question *q, const uint8_t *message,
                        size_t len);
void scram_desk_leave(struct scram_desk *d, struct backend_question *q);

/* No question is open. `closed` comes when nothing of it is on the loop any more, and it is freed.
 */
void scram_desk_close(struct scram_desk *d, void (*closed)(void *owner));

#endif
