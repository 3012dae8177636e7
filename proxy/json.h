/* Writes JSON (RFC 8259) into a queue. Pure.
 *
 * Commas and escapes are done here, the order of calls is the caller's. Text that is not UTF-8
 * appears with U+FFFD for each octet that is none. What is written is ASCII. */
#ifndef VESTIBULE_PROXY_JSON_H
#define VESTIBULE_PROXY_JSON_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/buf.h"

struct json {
    struct buf *out;
    bool begun;  /* something stands before, so a comma comes first */
    bool failed; /* there was no room: what is in `out` is not whole */
};

void json_init(struct json *j, struct buf *out);

/* `key` NULL: within a list, or the whole. */
void json_object(struct json *j, const char *key);
void json_object_end(struct json *j);
void json_list(struct json *j, const char *key);
void json_list_end(struct json *j);
void json_string(struct json *j, const char *key, const char *value);
void json_number(struct json *j, const char *key, uint64_t value);
void json_bool(struct json *j, const char *key, bool value);

#endif
