#include "proxy/wire.h"

#include <string.h>

const uint8_t *wire_bytes(struct wire *w, size_t len)
{
    const uint8_t *bytes = w->at;

    if (w->short_of || len > w->left) {
        w->short_of = true;
        return NULL;
    }
    w->at += len;
    w->left -= len;
    return bytes;
}

void wire_copy(struct wire *w, void *out, size_t len)
{
    const uint8_t *bytes = wire_bytes(w, len);

    if (bytes == NULL)
        memset(out, 0, len);
    else if (len > 0)
        memcpy(out, bytes, len);
}

uint16_t wire_u16(struct wire *w)
{
    uint16_t value;

    wire_copy(w, &value, sizeof value);
    return value;
}

uint32_t wire_u32(struct wire *w)
{
    uint32_t value;

    wire_copy(w, &value, sizeof value);
    return value;
}

uint64_t wire_u64(struct wire *w)
{
    uint64_t value;

    wire_copy(w, &value, sizeof value);
    return value;
}

bool wire_done(const struct wire *w)
{
    return !w->short_of && w->left == 0;
}
