/* Values of options as people write them. Each is false, and *value untouched, when the text is no
 * such value. Pure. */
#ifndef VESTIBULE_BENCH_LOAD_VALUE_H
#define VESTIBULE_BENCH_LOAD_VALUE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#define LOAD_SECOND UINT64_C(1000000000) /* all times are nanoseconds */

bool load_value_time(uint64_t *value, const char *text);  /* at most a day */
bool load_value_size(uint64_t *value, const char *text);  /* at most 1 TiB */
bool load_value_count(unsigned *value, const char *text); /* 1 to 1,000,000,000 */
bool load_value_rate(double *value, const char *text);    /* above 0, at most 1,000,000 */
bool load_value_flag(bool *value, const char *text);      /* yes, no */

/* HOST:PORT, where HOST is a numeric address, [address] or localhost. */
bool load_value_server(struct sockaddr_storage *value, const char *text);

/* FIRST[-LAST], IPv4: in the host's byte order. */
bool load_value_range(uint32_t *first, uint32_t *last, const char *text);

#endif
