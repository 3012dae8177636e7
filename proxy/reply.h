/* The reply grammar (RFC 5321 4.2, 2034, 3463): what an MTA answers, and what we pass on of it.
 *
 * The MTA is not trusted to be well behaved: lines, their number and the total are capped, the text
 * that is passed on is printable ASCII, and an enhanced status code is added where the MTA has
 * none. */
#ifndef VESTIBULE_PROXY_REPLY_H
#define VESTIBULE_PROXY_REPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/buf.h"

#define REPLY_TOTAL_MAX 16384 /* octets of one reply, all lines */
#define REPLY_LINES_MAX 100
#define REPLY_TEXT_MAX 480 /* of one line passed on; RFC 5321 4.5.3.1.5: 512 in all */

struct reply {
    unsigned code;        /* 200 to 599 */
    const uint8_t *bytes; /* the whole reply in the caller's buffer, until that is consumed */
    size_t len;
    unsigned lines;
};

enum reply_status { REPLY_MORE, REPLY_COMPLETE, REPLY_BAD };

/* One reply from the front of `in`. MORE: not there yet. BAD: not a reply, never will be (over a
 * cap, codes that differ between lines, no digits, a first digit other than 2 to 5). A bare LF at
 * the end of a line is tolerated. */
enum reply_status reply_parse(struct reply *out, const uint8_t *in, size_t len);

/* The text of line `index` (0 first) without code, separator and line end. */
bool reply_line(const struct reply *r, unsigned index, const char **text, size_t *len);

/* Passes a reply on to the client: same code, every line cleaned and bounded, each with an enhanced
 * code whose class is the code's first digit (none for 3yz). False when `out` has no room. */
bool reply_relay(struct buf *out, const struct reply *r);

/* First line as one clean, bounded C string, for the log. */
void reply_summary(char *out, size_t cap, const struct reply *r);

#endif
