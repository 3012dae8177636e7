/* Single values of the configuration, from text and to text. Pure.
 *
 * Everything is read whole or not at all: a rest that does not belong (`587x`) and a number that
 * overflows are errors, never cut. */
#ifndef VESTIBULE_CONF_CONF_VALUE_H
#define VESTIBULE_CONF_CONF_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONF_VALUE_TEXT_MAX 32    /* a size or time written out */
#define CONF_VALUE_NETWORK_MAX 50 /* an IPv6 address and /128 */
#define CONF_VALUE_HOST_MAX 253   /* RFC 1035 2.3.4, without the final dot */

bool conf_value_number(uint64_t *out, const char *text);

/* Octets: digits and k, M or G (powers of 1024, either case). */
bool conf_value_size(uint64_t *out, const char *text);
void conf_value_size_text(char out[CONF_VALUE_TEXT_MAX], uint64_t octets);

/* Milliseconds: digits and ms, s, m, h or d; only 0 goes without a unit. */
bool conf_value_time(uint64_t *out, const char *text);
void conf_value_time_text(char out[CONF_VALUE_TEXT_MAX], uint64_t ms);

/* "host:port", "192.0.2.1:25", "[::1]:465", "*:465". The host comes out without brackets, a numeric
 * IPv6 address in its shortest form. False: *why is a phrase with what to do. */
bool conf_value_address(char host[CONF_VALUE_HOST_MAX + 1], uint16_t *port, const char **why,
                        const char *text);

/* Labels of letters, digits and hyphens (RFC 1123 2.1), with dots between. */
bool conf_value_hostname(const char *text);

/* A system account. */
bool conf_value_account(const char *text);

/* From the root, without blanks, commas and control octets, which separate values in lists. */
bool conf_value_path(const char *text);

/* "192.0.2.0/24", "2001:db8::/32", or one address. IPv4 comes out mapped to ::ffff:0:0/96. False:
 * *why is a phrase with what to do. */
bool conf_value_network(uint8_t address[16], uint8_t *bits, const char **why, const char *text);
void conf_value_network_text(char out[CONF_VALUE_NETWORK_MAX], const uint8_t address[16],
                             uint8_t bits);

/* Does it hold so much of the internet that nobody can know who is in it? Wider than /8 of IPv4, /7
 * of IPv6 (the private ranges are that wide). */
bool conf_value_network_wide(const uint8_t address[16], uint8_t bits);

/* A host name that is no IPv4 address: lower-case, without the final dot. */
bool conf_value_domain(char out[CONF_VALUE_HOST_MAX + 1], const char *text);

/* "200/1h": how many in how long a time, neither of them 0. */
bool conf_value_rate(uint32_t *count, uint64_t *period_ms, const char *text);

/* The next word of a list whose words are separated by any of `separators`. False at the end. */
bool conf_value_word(const char **word, size_t *len, const char **cursor, const char *separators);

#define CONF_VALUE_SEPARATORS " \t,"

#endif
