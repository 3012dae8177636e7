/* The listening sockets: the vault's, for as long as it lives; every front inherits them, so that a
 * reload or a crash refuses nobody. */
#ifndef VESTIBULE_PROXY_LISTEN_H
#define VESTIBULE_PROXY_LISTEN_H

#include <stdbool.h>
#include <stddef.h>

#include "conf/conf.h"
#include "proxy/address.h"
#include "proxy/bundle.h"

#define LISTEN_ERROR_MAX 512

struct listen_socket {
    int fd;
    uint32_t listener; /* of the configuration in force */
    struct address address;
};

struct listen_set {
    size_t count;
    struct listen_socket at[BUNDLE_SOCKETS_MAX];
};

/* Opens what `conf` asks for; a socket that `have` holds already is taken over as it is. `have` is
 * left alone: close what is not in `out` when the change stands (listen_close_others), or what is
 * new when it does not. False with one sentence, and nothing new is open. */
bool listen_open(struct listen_set *out, const struct conf *conf, const struct listen_set *have,
                 char error[LISTEN_ERROR_MAX]);

/* Closes the sockets of `set` that `keep` does not hold. */
void listen_close_others(struct listen_set *set, const struct listen_set *keep);

#endif
