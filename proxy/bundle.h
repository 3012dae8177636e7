/* What a new front is given through a descriptor: the configuration in force, certificate chains,
 * addresses, ticket keys, and which inherited descriptor is what. No private key, no password, no
 * path that it could open. Pure codec. */
#ifndef VESTIBULE_PROXY_BUNDLE_H
#define VESTIBULE_PROXY_BUNDLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf/conf.h"
#include "proxy/address.h"
#include "proxy/buf.h"
#include "proxy/capabilities.h"
#include "tls/certificate.h"
#include "tls/client_ca.h"
#include "tls/ticket.h"

#define BUNDLE_MAX (16 * 1024 * 1024)
#define BUNDLE_SOCKETS_MAX 256

struct bundle_socket {
    uint32_t listener; /* index into conf->listener */
    int32_t fd;
};

struct bundle {
    struct conf *conf;
    size_t certificate_count;
    struct certificate *certificate[CONF_CERTIFICATES_MAX];
    struct {
        size_t count;
        struct address at[CONF_ADDRESSES_MAX];
    } upstream[CONF_UPSTREAMS_MAX];                 /* resolved, in the order of conf->upstream */
    struct capabilities learnt[CONF_UPSTREAMS_MAX]; /* what those MTAs offered when last asked */
    size_t socket_count;
    struct bundle_socket socket[BUNDLE_SOCKETS_MAX];
    int32_t first_channel; /* channel of worker i is descriptor first_channel + i, conf->workers of
                              them */
    int32_t log;           /* descriptor of the log */
    struct ticket_keys tickets;
    struct client_ca *client_ca; /* NULL: clients are not asked for a certificate */
};

bool bundle_encode(struct buf *out, const struct bundle *b);

/* NULL when it does not decode. The result owns its parts. */
struct bundle *bundle_decode(const uint8_t *in, size_t len);
void bundle_free(struct bundle *b);

#endif
