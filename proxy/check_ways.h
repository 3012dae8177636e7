/* The ways in which mail servers were made to relay for strangers, as data. Pure.
 *
 * Each ends with RCPT to an address elsewhere, and none goes on to DATA: nothing is ever sent. */
#ifndef VESTIBULE_PROXY_CHECK_WAYS_H
#define VESTIBULE_PROXY_CHECK_WAYS_H

#include <stdbool.h>
#include <stddef.h>

#define CHECK_FLIGHTS_MAX 5
#define CHECK_FLIGHT_MAX 2048 /* octets, written out */

/* In flights stand for what differs from check to check:
 *   $S sender          $R recipient elsewhere   $U its local part   $D its domain
 *   $H a domain here   $C the client's name     $B a login that nobody has, for AUTH PLAIN
 *   $0 a NUL */
struct check_way {
    const char *name;
    const char *flight[CHECK_FLIGHTS_MAX]; /* NULL behind the last; one segment each */
    const char *first; /* sent before everything, TLS included; not answered. NULL: nothing */
    bool in_clear;     /* tried before TLS, too */
    bool insist;       /* goes on when a command is refused; else that settles it */
    bool fresh;        /* nothing was said before on the connection */
    bool login;        /* a wrong password goes over: there must be few of these */
    bool continues;    /* makes sense only where the way before it left off */
};

extern const struct check_way check_ways[];
extern const size_t check_ways_count;

struct check_words {
    const char *domain; /* $H */
    const char *login;  /* $B, base64 */
};

/* Returns the length; 0: no room. */
size_t check_flight_write(char out[CHECK_FLIGHT_MAX], const char *flight,
                          const struct check_words *words);

/* How many commands it holds for a server that takes every LF for the end of one: only if so many
 * replies come was the last command answered. */
size_t check_flight_commands(const char *flight);

/* Some CR or LF stands alone: a server may wait for more, or see more or fewer commands. */
bool check_flight_loose(const char *flight);

#endif
