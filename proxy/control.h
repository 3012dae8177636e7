/* The control socket ([server] control): where `vestibule status` asks the running service. A
 * driver on the vault's loop.
 *
 * A unix socket of mode 0600; only root and the service's own user are heard. Of each connection
 * one line is read (control_request.h) and one answer given; a slow or a wordless one is closed. */
#ifndef VESTIBULE_PROXY_CONTROL_H
#define VESTIBULE_PROXY_CONTROL_H

#include <stdbool.h>
#include <uv.h>

#include "proxy/buf.h"
#include "proxy/control_request.h"

#define CONTROL_ERROR_MAX 512
#define CONTROL_PATH_MAX 107 /* of a unix socket */
#define CONTROL_CLIENTS_MAX 16
#define CONTROL_WAIT_MS 5000
#define CONTROL_ANSWER_MAX (1024 * 1024)

struct control;

typedef void control_answer(void *owner, struct buf *out, const struct control_request *request);

enum control_opened {
    CONTROL_OPENED,
    CONTROL_TAKEN,  /* another service answers there */
    CONTROL_FAILED, /* it cannot be made there */
};

/* Makes the socket; needs no loop. One that nobody answers on (left by a crash) is replaced,
 * anything else stays. `user` NULL, or we are not root: it is ours. *fd is -1, with a sentence,
 * unless CONTROL_OPENED. */
enum control_opened control_bind(int *fd, const char *path, const char *user,
                                 char error[CONTROL_ERROR_MAX]);

/* Takes over `fd`, whatever happens. NULL: out of memory. `path` is copied. */
struct control *control_start(uv_loop_t *loop, int fd, const char *path, control_answer *answer,
                              void *owner);
const char *control_path(const struct control *c);

/* Takes the socket's name away, closes what is open, and frees itself when the loop lets go. NULL
 * is fine. */
void control_close(struct control *c);

#endif
