#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/bundle.h"

static void require(int holds)
{
    if (!holds)
        abort();
}

static void check_parts(const struct bundle *b)
{
    require(b->certificate_count <= CONF_CERTIFICATES_MAX && b->socket_count <= BUNDLE_SOCKETS_MAX);
    require(b->tickets.count <= TICKET_KEYS_MAX && b->first_channel >= 0 && b->log >= 0);
    for (size_t i = 0; i < b->certificate_count; i++)
        require(certificate_chain_len(b->certificate[i]) > 0);
    for (size_t i = 0; i < b->socket_count; i++)
        require(b->socket[i].listener < b->conf->listener_count && b->socket[i].fd >= 0);
    for (size_t i = 0; i < b->conf->upstream_count; i++) {
        require(b->upstream[i].count <= CONF_ADDRESSES_MAX);
        for (size_t j = 0; j < b->upstream[i].count; j++)
            require(b->upstream[i].at[j].len <= sizeof b->upstream[i].at[j].storage);
    }
}

/* Written and read once more it is the same, to the octet: the configuration's text has taken its
 * one form by then. */
static void check_again(const struct bundle *b)
{
    struct buf first, second;
    struct bundle *again;

    buf_init(&first, BUNDLE_MAX);
    buf_init(&second, BUNDLE_MAX);
    require(bundle_encode(&first, b));
    again = bundle_decode(buf_data(&first), buf_len(&first));
    require(again != NULL);
    require(bundle_encode(&second, again));
    require(buf_len(&first) == buf_len(&second));
    require(memcmp(buf_data(&first), buf_data(&second), buf_len(&first)) == 0);
    bundle_free(again);
    buf_clear(&first);
    buf_clear(&second);
}

/* The name of the format and its version are put in front here, so that seeds outlive a version. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char magic[] = "vestibule bundle " VESTIBULE_VERSION;
    const uint32_t magic_len = sizeof magic - 1;
    uint8_t *whole = malloc(sizeof magic_len + magic_len + size);
    struct bundle *b;

    memcpy(whole, &magic_len, sizeof magic_len);
    memcpy(whole + sizeof magic_len, magic, magic_len);
    if (size > 0)
        memcpy(whole + sizeof magic_len + magic_len, data, size);
    b = bundle_decode(whole, sizeof magic_len + magic_len + size);
    if (b != NULL) {
        check_parts(b);
        check_again(b);
        bundle_free(b);
    }
    free(whole);
    return 0;
}
