#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/channel.h"

static void require(int holds)
{
    if (!holds)
        abort();
}

/* What was decoded is written as it came, and no part of it is a frame. */
static void check_frame(const struct channel_frame *frame, const uint8_t *in, size_t used)
{
    struct channel_frame part;
    size_t part_used;
    struct buf again;

    require(used <= CHANNEL_FRAME_MAX);
    buf_init(&again, CHANNEL_FRAME_MAX);
    require(channel_encode(&again, frame));
    require(buf_len(&again) == used && memcmp(buf_data(&again), in, used) == 0);
    buf_clear(&again);
    for (size_t n = 0; n < used; n++)
        require(channel_decode(&part, &part_used, in, n) == CHANNEL_MORE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct channel_frame frame;
    size_t used;

    for (;;) {
        enum channel_status status = channel_decode(&frame, &used, data, size);
        if (status != CHANNEL_FRAME)
            break;
        require(used <= size);
        check_frame(&frame, data, used);
        data += used;
        size -= used;
    }
    return 0;
}
