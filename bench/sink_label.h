/* Finds the line `X-Load-Id: RUN-NUMBER` in the header of a decoded message, and digests all that
 * follows it. What proxies put in front makes no difference. Pure. */
#ifndef VESTIBULE_BENCH_SINK_LABEL_H
#define VESTIBULE_BENCH_SINK_LABEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bench/sink_digest.h"

#define SINK_LABEL_PREFIX "X-Load-Id: "
#define SINK_LABEL_FORMAT SINK_LABEL_PREFIX "%016llx-%012llx\r\n"

enum {
    SINK_LABEL_OCTETS = 11 + 16 + 1 + 12 + 2, /* the whole line */
    SINK_LABEL_HEADER_MAX = 65536,            /* a header longer than this has no label */
};

enum sink_label_state { SINK_LABEL_SOUGHT, SINK_LABEL_FOUND, SINK_LABEL_ABSENT };

struct sink_label {
    enum sink_label_state state;
    uint64_t run;
    uint64_t number; /* below 1 << 48 */
    struct sink_digest digest;
    size_t seen;     /* octets of the header so far */
    size_t line_len; /* of the line so far, however long */
    char line[SINK_LABEL_OCTETS];
};

void sink_label_init(struct sink_label *l);
void sink_label_take(struct sink_label *l, const uint8_t *text, size_t len);

#endif
