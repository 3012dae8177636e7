/* One field of a log line, escaped: whatever bytes a value holds, the line stays one line of
 * printable ASCII.
 *
 * Pure. Logfmt: a value with anything but plain characters stands in quotes, other octets as \xNN.
 * JSON: always valid; UTF-8 as \uNNNN of its code points, an octet that is not UTF-8 as the code
 * point of its number. */
#ifndef VESTIBULE_PROXY_LOG_FIELD_H
#define VESTIBULE_PROXY_LOG_FIELD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/log.h"

#define LOG_FIELD_MAX 2560

struct log_field {
    size_t len;
    char text[LOG_FIELD_MAX];
};

/* At most `max` octets of the value (LOG_MESSAGE_MAX and below), and at most twice as many once
 * escaped, so that a hostile value cannot push the other fields off the line; "..." stands for the
 * rest. `first`: begins the line. */
void log_field_string(struct log_field *f, enum log_format format, bool first, const char *key,
                      const char *value, size_t max);
void log_field_number(struct log_field *f, enum log_format format, bool first, const char *key,
                      uint64_t value);

#endif
