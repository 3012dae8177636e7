/* Message data: decoded from the client (RFC 5321 4.1.1.4, 4.5.2), encoded anew for the MTA, in one
 * pass.
 *
 * The end of data is CR LF . CR LF and nothing else. What comes out is canonical: every line ends
 * in CR LF, every line that starts with a dot is stuffed, and the terminating dot is not among it:
 * that is the caller's to write. After a fault nothing more comes out, but the input is still
 * followed to its true end.
 *
 * Chunks (RFC 3030) hold the message itself: no dot is stuffed in them and none ends anything;
 * where the message ends the caller knows. All else is the same, across the borders of chunks.
 * Pure. */
#ifndef VESTIBULE_PROXY_DATA_H
#define VESTIBULE_PROXY_DATA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum data_newline {
    DATA_NORMALIZE, /* a bare LF becomes CR LF, and what follows is a line start */
    DATA_REJECT,    /* a bare LF is a fault */
};

enum data_fault { DATA_FINE, DATA_BARE_CR, DATA_BARE_LF, DATA_NUL, DATA_TOO_BIG };

struct data_scan {
    enum data_newline newline;
    enum data_fault fault; /* the first one */
    unsigned char state;   /* where in the line we stand; see data.c */
    bool chunked;          /* the input is chunks */
    bool finished;         /* the end of data has been read */
    uint64_t octets;     /* decoded size so far, line ends as CR LF (RFC 1870 counts these); stands
                            still after a fault */
    uint64_t max_octets; /* 0: no limit */
};

/* At most this many octets come out for one that goes in; with that much room in `out` a call gets
 * ahead. */
#define DATA_GROWTH 2

/* What the caller writes when `finished` and DATA_FINE: `.` CR LF alone. What came out before it is
 * empty or ends in CR LF, always, so nothing else is ever needed. */
#define DATA_END ".\r\n"
#define DATA_TAIL 3

void data_init(struct data_scan *d, enum data_newline newline, uint64_t max_octets);
void data_init_chunked(struct data_scan *d, enum data_newline newline, uint64_t max_octets);

/* Reads from `in` until it or the room in `out` ends or the end of data was read (finished).
 * Returns what was read; *out_len is what was written. Bytes behind the end of data are never
 * touched. */
size_t data_scan(struct data_scan *d, const uint8_t *in, size_t len, uint8_t *out, size_t cap,
                 size_t *out_len);

/* The last chunk was read: finished. A last line without its end gets one, and is counted with it;
 * a CR as the very last octet is a bare one. *out_len is what was written, at most DATA_GROWTH. */
void data_end_chunked(struct data_scan *d, uint8_t *out, size_t *out_len);

/* How many octets at the front of `in` go out just as they came: whole lines and beginnings of
 * lines, up to a dot at a line start, a NUL, an LF without CR or a CR without LF (yet).
 * `line_start`: a dot at the very front is such a dot. */
size_t data_clean(const uint8_t *in, size_t len, bool line_start);

/* The ways to do it that this processor has, the fastest first; all say the same, the last one is
 * the yardstick. */
#define DATA_CLEANERS_MAX 4
typedef size_t data_cleaner(const uint8_t *in, size_t len, bool line_start);
size_t data_cleaners(data_cleaner *out[DATA_CLEANERS_MAX]);

#endif
