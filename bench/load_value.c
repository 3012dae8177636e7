#include "bench/load_value.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

struct unit {
    const char *name;
    double factor;
};

static bool number(double *value, const char **rest, const char *text)
{
    char *end;
    if (!isdigit((unsigned char)*text) || text[1] == 'x' || text[1] == 'X')
        return false;
    *value = strtod(text, &end);
    *rest = end;
    return true;
}

static bool measure(uint64_t *value, const char *text, const struct unit *units, double max)
{
    double amount;
    const char *unit;
    if (!number(&amount, &unit, text))
        return false;
    for (; units->name != NULL; units++)
        if (strcmp(units->name, unit) == 0 && amount * units->factor <= max) {
            *value = (uint64_t)(amount * units->factor + 0.5);
            return true;
        }
    return false;
}

bool load_value_time(uint64_t *value, const char *text)
{
    static const struct unit units[] = {{"", 1e9},   {"s", 1e9},    {"us", 1e3}, {"ms", 1e6},
                                        {"m", 60e9}, {"h", 3600e9}, {NULL, 0}};
    return measure(value, text, units, 86400e9);
}

bool load_value_size(uint64_t *value, const char *text)
{
    static const struct unit units[] = {{"", 1},       {"k", 0x1p10}, {"K", 0x1p10},
                                        {"M", 0x1p20}, {"G", 0x1p30}, {NULL, 0}};
    return measure(value, text, units, 0x1p40);
}

bool load_value_count(unsigned *value, const char *text)
{
    char *end;
    unsigned long n = strtoul(text, &end, 10);
    if (!isdigit((unsigned char)*text) || *end != '\0' || n == 0 || n > 1000000000)
        return false;
    *value = (unsigned)n;
    return true;
}

bool load_value_rate(double *value, const char *text)
{
    double rate;
    const char *rest;
    if (!number(&rate, &rest, text) || *rest != '\0' || !(rate > 0) || rate > 1e6)
        return false;
    *value = rate;
    return true;
}

bool load_value_flag(bool *value, const char *text)
{
    bool yes = strcmp(text, "yes") == 0;
    if (!yes && strcmp(text, "no") != 0)
        return false;
    *value = yes;
    return true;
}

static bool port_of(in_port_t *port, const char *text)
{
    unsigned n;
    if (!load_value_count(&n, text) || n > 65535)
        return false;
    *port = htons((uint16_t)n);
    return true;
}

static bool host_of(struct sockaddr_storage *value, const char *host, in_port_t port)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = port};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = port};
    bool local = strcmp(host, "localhost") == 0;
    memset(value, 0, sizeof *value);
    if (inet_pton(AF_INET, local ? "127.0.0.1" : host, &v4.sin_addr) == 1)
        memcpy(value, &v4, sizeof v4);
    else if (inet_pton(AF_INET6, host, &v6.sin6_addr) == 1)
        memcpy(value, &v6, sizeof v6);
    else
        return false;
    return true;
}

bool load_value_server(struct sockaddr_storage *value, const char *text)
{
    char host[64];
    const char *colon = strrchr(text, ':');
    struct sockaddr_storage found;
    in_port_t port;
    if (colon == NULL || !port_of(&port, colon + 1))
        return false;
    size_t len = (size_t)(colon - text);
    if (len >= 2 && text[0] == '[' && colon[-1] == ']') {
        text++;
        len -= 2;
    }
    if (len >= sizeof host)
        return false;
    memcpy(host, text, len);
    host[len] = '\0';
    if (!host_of(&found, host, port))
        return false;
    *value = found;
    return true;
}

bool load_value_range(uint32_t *first, uint32_t *last, const char *text)
{
    char from[INET_ADDRSTRLEN];
    struct in_addr low, high;
    size_t len = strcspn(text, "-");
    if (len >= sizeof from)
        return false;
    memcpy(from, text, len);
    from[len] = '\0';
    const char *to = text[len] == '-' ? text + len + 1 : from;
    if (inet_pton(AF_INET, from, &low) != 1 || inet_pton(AF_INET, to, &high) != 1 ||
        ntohl(low.s_addr) > ntohl(high.s_addr))
        return false;
    *first = ntohl(low.s_addr);
    *last = ntohl(high.s_addr);
    return true;
}
