/* How many mail servers a message has passed: the Received fields of its header section, counted as
 * it streams by, so that a loop ends (RFC 5321 6.3). Pure. */
#ifndef VESTIBULE_PROXY_HOPS_H
#define VESTIBULE_PROXY_HOPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HOPS_MAX 100 /* RFC 5321 6.3: at least 100 */

struct hops {
    unsigned count;
    unsigned char matched; /* octets of the field's name that this line began with */
    bool elsewhere;        /* this line is no Received field */
    bool any;              /* this line has octets before its CR LF */
    bool over;             /* the header section has ended: nothing more is looked at */
};

/* Canonical lines, in any pieces. Zero state: all zero. */
void hops_scan(struct hops *h, const uint8_t *in, size_t len);

#endif
