/* The PROXY header in front of a connection, versions 1 and 2 of the protocol: passed over, but it
 * must be well formed. Pure. */
#ifndef VESTIBULE_BENCH_SINK_PREAMBLE_H
#define VESTIBULE_BENCH_SINK_PREAMBLE_H

#include <stddef.h>
#include <stdint.h>

enum sink_preamble_status { SINK_PREAMBLE_MORE, SINK_PREAMBLE_DONE, SINK_PREAMBLE_BAD };

/* Zero state: nothing came yet. */
struct sink_preamble {
    size_t len;
    uint8_t text[16 + 536]; /* version 2 with all that its authors foresee; version 1 has 107 */
};

enum sink_preamble_status sink_preamble_take(struct sink_preamble *p, size_t *taken,
                                             const uint8_t *in, size_t len);

#endif
