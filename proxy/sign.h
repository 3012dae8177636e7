/* The vault's signatures for the fronts. ECDSA is signed at once, RSA in the thread pool. */
#ifndef VESTIBULE_PROXY_SIGN_H
#define VESTIBULE_PROXY_SIGN_H

#include <uv.h>

#include "proxy/channel.h"
#include "proxy/edition.h"
#include "proxy/link.h"

struct signer {
    uv_loop_t *loop;
    unsigned running; /* in the pool */
};

/* Takes a CHANNEL_SIGN. The answer goes over the link, if that still stands. */
void signer_take(struct signer *s, struct link *l, struct edition *e,
                 const struct channel_frame *question);

#endif
