/* The messages of a work, made once: what follows the label line, in a few forms that take turns,
 * so that no two sessions side by side send the same. Pure: it only allocates. */
#ifndef VESTIBULE_BENCH_LOAD_MESSAGE_H
#define VESTIBULE_BENCH_LOAD_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bench/sink_label.h"

enum { LOAD_FORMS_MAX = 16 };

struct load_form {
    uint8_t *wire;
    size_t len;
    uint64_t digest; /* of the decoded text, as the sink computes it */
};

/* Zero state: all zero. */
struct load_messages {
    uint64_t size; /* decoded, label line included */
    size_t count;
    struct load_form forms[LOAD_FORMS_MAX];
};

/* For DATA (dots stuffed, the final dot behind) or, as_is, for BDAT. False: short of memory. */
bool load_messages_make(struct load_messages *m, uint64_t size, bool as_is);
void load_messages_free(struct load_messages *m);

const struct load_form *load_messages_form(const struct load_messages *m, uint64_t number);

#endif
