/* Which network a client's address counts as where guesses are counted: the /24 of an IPv4 address
 * (v4-mapped as well), the /56 of an IPv6 one. Pure. */
#ifndef VESTIBULE_AUTH_SOURCE_H
#define VESTIBULE_AUTH_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SOURCE_LEN 16
#define SOURCE_AROUND_LEN 6
#define SOURCE_TEXT_MAX 49 /* the longest IPv6 text that there is, with its prefix */

/* The address with all that is the client's own set to zero. */
void source_of(uint8_t out[SOURCE_LEN], const uint8_t address[16]);

/* The /48 around a source of IPv6: what one customer of a generous provider has. False: IPv4. */
bool source_around(uint8_t out[SOURCE_LEN], const uint8_t source[SOURCE_LEN]);

bool source_loopback(const uint8_t source[SOURCE_LEN]);

/* "192.0.2.0/24", "2001:db8:0:100::/56"; what is around it: "2001:db8::/48". */
void source_text(char out[SOURCE_TEXT_MAX], const uint8_t source[SOURCE_LEN]);
void source_around_text(char out[SOURCE_TEXT_MAX], const uint8_t around[SOURCE_LEN]);

/* From text as above, or from any address in it. False: it is neither. */
bool source_parse(uint8_t out[SOURCE_LEN], const char *text);
bool source_around_parse(uint8_t out[SOURCE_LEN], const char *text);

#endif
