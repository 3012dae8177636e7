/* Message data behind DATA, decoded (RFC 5321 4.5.2): CR LF . CR LF is its end and nothing else is,
 * a dot that begins a line is taken away, a CR or LF that stands alone is a fault. Pure. */
#ifndef VESTIBULE_BENCH_SINK_DATA_H
#define VESTIBULE_BENCH_SINK_DATA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum sink_data_state {
    SINK_LINE_START,
    SINK_TEXT,
    SINK_CR,
    SINK_DOT,
    SINK_DOT_CR,
    SINK_ENDED,
};

struct sink_data {
    enum sink_data_state state;
    bool bare; /* a CR or LF stood alone: the decoded text is not to be relied on */
};

void sink_data_init(struct sink_data *d);

/* Takes some of the input and says how much; *text and *text_len are what it stands for, either in
 * the input or of static storage, often nothing. At least one octet is taken if there is one and
 * the end was not yet. To be called until all is taken or the state is SINK_ENDED. */
size_t sink_data_next(struct sink_data *d, const uint8_t **text, size_t *text_len,
                      const uint8_t *in, size_t len);

#endif
