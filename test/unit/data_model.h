/* What data.c must do, told in another way: for its unit test and its fuzzer. */
#ifndef VESTIBULE_TEST_DATA_MODEL_H
#define VESTIBULE_TEST_DATA_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "proxy/data.h"

enum { INPUT_MAX = 16384, OUTPUT_MAX = DATA_GROWTH * INPUT_MAX + DATA_TAIL };

struct data_outcome {
    enum data_fault fault;
    bool finished;
    uint64_t octets;
    size_t used;
    size_t len;
    uint8_t text[OUTPUT_MAX];
};

/* The yardstick: the whole input at once, looked at with the eyes of section 4.5.2, not with those
 * of data.c. */
static void data_model(struct data_outcome *o, enum data_newline newline, uint64_t max,
                       const uint8_t *in, size_t len)
{
    bool hard = true;  /* behind CR LF, or at the beginning */
    bool start = true; /* of a line on its way out */
    size_t i = 0;

    memset(o, 0, offsetof(struct data_outcome, text));
    while (i < len) {
        const uint8_t *rest = in + i;
        size_t left = len - i;
        const char *put = NULL;
        size_t size = 1;

        if (hard && left >= 3 && memcmp(rest, ".\r\n", 3) == 0) {
            o->finished = true;
            i += 3;
            break;
        }
        if (hard && rest[0] == '.') {
            if (left == 1 || (left == 2 && rest[1] == '\r')) {
                i = len;
                break;
            }
            hard = false;
            i++;
            continue;
        }
        if (left == 1 && rest[0] == '\r') {
            i = len;
            break;
        }
        hard = false;
        if (rest[0] == '\r' && rest[1] == '\n') {
            put = "\r\n";
            size = 2;
            hard = true;
        } else if (rest[0] == '\r' || rest[0] == '\0' ||
                   (rest[0] == '\n' && newline == DATA_REJECT)) {
            if (o->fault == DATA_FINE)
                o->fault = rest[0] == '\r'   ? DATA_BARE_CR
                           : rest[0] == '\0' ? DATA_NUL
                                             : DATA_BARE_LF;
            i++;
            continue;
        } else if (rest[0] == '\n') {
            put = "\r\n";
            size = 2;
        }
        i += hard ? 2 : 1;
        if (o->fault != DATA_FINE)
            continue;
        if (max != 0 && o->octets + size > max) {
            o->fault = DATA_TOO_BIG;
            continue;
        }
        o->octets += size;
        if (put != NULL) {
            memcpy(o->text + o->len, put, 2);
            o->len += 2;
            start = true;
            continue;
        }
        if (start && rest[0] == '.')
            o->text[o->len++] = '.';
        o->text[o->len++] = rest[0];
        start = false;
    }
    o->used = i;
}

/* The same for chunks: no dot in the input means anything, and the end is the input's. */
static void data_model_chunked(struct data_outcome *o, enum data_newline newline, uint64_t max,
                               const uint8_t *in, size_t len)
{
    bool start = true;

    memset(o, 0, offsetof(struct data_outcome, text));
    o->finished = true;
    o->used = len;
    for (size_t i = 0; i <= len; i++) {
        bool crlf = i + 1 < len && in[i] == '\r' && in[i + 1] == '\n';
        bool open_end = i == len && !start;
        size_t size = crlf || open_end || (i < len && in[i] == '\n') ? 2 : 1;

        if ((i == len && start) || o->fault != DATA_FINE)
            return;
        if (i < len && in[i] == '\r' && !crlf)
            o->fault = DATA_BARE_CR;
        else if (i < len && in[i] == '\0')
            o->fault = DATA_NUL;
        else if (i < len && in[i] == '\n' && newline == DATA_REJECT)
            o->fault = DATA_BARE_LF;
        else if (max != 0 && o->octets + size > max)
            o->fault = DATA_TOO_BIG;
        if (o->fault != DATA_FINE)
            return;
        o->octets += size;
        if (size == 1 && start && in[i] == '.')
            o->text[o->len++] = '.';
        memcpy(o->text + o->len, size == 1 ? (const char *)in + i : "\r\n", size);
        o->len += size;
        start = size == 2;
        i += crlf ? 1 : 0;
    }
}

#endif
