#include "conf/conf_value.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

struct unit {
    const char *name;
    uint64_t factor;
};

/* The largest first: that is how they are written. */
static const struct unit sizes[] = {
    {"G", UINT64_C(1) << 30}, {"M", UINT64_C(1) << 20}, {"k", UINT64_C(1) << 10}, {"", 1}};
static const struct unit times[] = {
    {"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* Reads digits; *rest is what follows them. False: none, or more than 64 bits. */
static bool digits(uint64_t *out, const char **rest, const char *text)
{
    uint64_t number = 0;
    const char *at = text;
    for (; *at >= '0' && *at <= '9'; at++) {
        if (__builtin_mul_overflow(number, UINT64_C(10), &number) ||
            __builtin_add_overflow(number, (uint64_t)(*at - '0'), &number))
            return false;
    }
    *out = number;
    *rest = at;
    return at != text;
}

bool conf_value_number(uint64_t *out, const char *text)
{
    const char *rest;
    return digits(out, &rest, text) && *rest == '\0';
}

static bool with_unit(uint64_t *out, const struct unit *units, size_t count,
                      int (*differ)(const char *, const char *), const char *text)
{
    const char *rest;
    uint64_t number;
    if (!digits(&number, &rest, text))
        return false;
    for (size_t i = 0; i < count; i++) {
        if (differ(rest, units[i].name) == 0)
            return !__builtin_mul_overflow(number, units[i].factor, out);
    }
    *out = 0;
    return number == 0 && *rest == '\0';
}

bool conf_value_size(uint64_t *out, const char *text)
{
    return with_unit(out, sizes, COUNT(sizes), strcasecmp, text);
}

bool conf_value_time(uint64_t *out, const char *text)
{
    return with_unit(out, times, COUNT(times), strcmp, text);
}

static void unit_text(char *out, const struct unit *units, size_t count, uint64_t number)
{
    size_t i = 0;
    while (i + 1 < count && number % units[i].factor != 0)
        i++;
    snprintf(out, CONF_VALUE_TEXT_MAX, "%llu%s", (unsigned long long)(number / units[i].factor),
             units[i].name);
}

void conf_value_size_text(char out[CONF_VALUE_TEXT_MAX], uint64_t octets)
{
    unit_text(out, sizes, COUNT(sizes), octets);
}

void conf_value_time_text(char out[CONF_VALUE_TEXT_MAX], uint64_t ms)
{
    if (ms == 0)
        snprintf(out, CONF_VALUE_TEXT_MAX, "0s");
    else
        unit_text(out, times, COUNT(times), ms);
}

static bool letter_or_digit(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* Names that only resolvers see may hold underscores: container networks use them. */
static bool labels(const char *text, bool underscores)
{
    size_t len = strlen(text);
    if (len == 0 || len > CONF_VALUE_HOST_MAX)
        return false;
    size_t label = 0;
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        bool last = i + 1 == len || text[i + 1] == '.';
        if (c == '.') {
            if (label == 0)
                return false;
            label = 0;
        } else if (letter_or_digit(c) || (c == '_' && underscores) ||
                   (c == '-' && label > 0 && !last)) {
            if (++label > 63)
                return false;
        } else {
            return false;
        }
    }
    return label > 0;
}

bool conf_value_hostname(const char *text)
{
    return labels(text, false);
}

bool conf_value_account(const char *text)
{
    size_t len = strlen(text);
    if (len == 0 || len > 32 || text[0] == '-')
        return false;
    for (; *text != '\0'; text++) {
        if (!letter_or_digit(*text) && strchr("_.-$", *text) == NULL)
            return false;
    }
    return true;
}

bool conf_value_path(const char *text)
{
    if (text[0] != '/')
        return false;
    for (; *text != '\0'; text++) {
        if ((unsigned char)*text <= ' ' || *text == 0x7f || *text == ',')
            return false;
    }
    return true;
}

/* Digits and dots alone must be a whole IPv4 address, or a resolver would make one of 127.1. */
static bool host_ok(const char *host)
{
    struct in_addr four;
    if (host[strspn(host, "0123456789.")] == '\0')
        return inet_pton(AF_INET, host, &four) == 1;
    return labels(host, true);
}

static bool bracketed(char host[CONF_VALUE_HOST_MAX + 1], const char **colon, const char *text)
{
    char inside[INET6_ADDRSTRLEN];
    struct in6_addr six;
    const char *end = strchr(text, ']');
    size_t len = end != NULL ? (size_t)(end - text) - 1 : sizeof inside;
    if (len >= sizeof inside)
        return false;
    memcpy(inside, text + 1, len);
    inside[len] = '\0';
    *colon = end + 1;
    return inet_pton(AF_INET6, inside, &six) == 1 &&
           inet_ntop(AF_INET6, &six, host, CONF_VALUE_HOST_MAX + 1) != NULL;
}

static bool host_part(char host[CONF_VALUE_HOST_MAX + 1], const char **colon, const char **why,
                      const char *text)
{
    if (text[0] == '[') {
        *why = "is not an IPv6 address in brackets; write [::1]:25";
        return bracketed(host, colon, text);
    }
    *colon = strchr(text, ':');
    size_t len = *colon != NULL ? (size_t)(*colon - text) : strlen(text);
    if (*colon != NULL && strchr(*colon + 1, ':') != NULL) {
        *why = "has several colons; write an IPv6 address in brackets: [::1]:25";
        return false;
    }
    *why = "is not a host; write a name, 192.0.2.1, [::1] or *";
    if (len > CONF_VALUE_HOST_MAX)
        return false;
    memcpy(host, text, len);
    host[len] = '\0';
    return strcmp(host, "*") == 0 || host_ok(host);
}

bool conf_value_address(char host[CONF_VALUE_HOST_MAX + 1], uint16_t *port, const char **why,
                        const char *text)
{
    const char *colon;
    uint64_t number;
    if (!host_part(host, &colon, why, text))
        return false;
    *why = "has no port; write host:port";
    if (colon == NULL || *colon != ':')
        return false;
    *why = "has no valid port; a port is a number from 1 to 65535";
    if (!conf_value_number(&number, colon + 1) || number < 1 || number > UINT16_MAX)
        return false;
    *port = (uint16_t)number;
    return true;
}

static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

static bool is_mapped(const uint8_t address[16])
{
    return memcmp(address, mapped, sizeof mapped) == 0;
}

/* The octets of an address without its prefix; `most` is what its prefix may count. */
static bool network_address(uint8_t address[16], unsigned *most, const char *text, size_t len)
{
    char alone[INET6_ADDRSTRLEN];
    if (len >= sizeof alone)
        return false;
    memcpy(alone, text, len);
    alone[len] = '\0';
    *most = 32;
    memcpy(address, mapped, sizeof mapped);
    if (inet_pton(AF_INET, alone, address + sizeof mapped) == 1)
        return true;
    *most = 128;
    return inet_pton(AF_INET6, alone, address) == 1;
}

static bool clear_behind(const uint8_t address[16], unsigned bits)
{
    for (unsigned bit = bits; bit < 128; bit++) {
        if ((address[bit / 8] & (0x80 >> bit % 8)) != 0)
            return false;
    }
    return true;
}

bool conf_value_network(uint8_t address[16], uint8_t *bits, const char **why, const char *text)
{
    size_t len = strcspn(text, "/");
    unsigned most;
    uint64_t prefix;
    *why = "is not a network; write 192.0.2.0/24, 2001:db8::/32 or one address";
    if (!network_address(address, &most, text, len))
        return false;
    prefix = most;
    *why = "has no valid prefix; it is a number up to 32 for IPv4, up to 128 for IPv6";
    if (text[len] == '/' && (!conf_value_number(&prefix, text + len + 1) || prefix > most))
        return false;
    *bits = (uint8_t)(prefix + 128 - most);
    *why = "has bits behind its prefix; write the network's first address or a longer prefix";
    return clear_behind(address, *bits);
}

void conf_value_network_text(char out[CONF_VALUE_NETWORK_MAX], const uint8_t address[16],
                             uint8_t bits)
{
    char alone[INET6_ADDRSTRLEN] = "";
    bool four = is_mapped(address) && bits >= 96;
    inet_ntop(four ? AF_INET : AF_INET6, four ? address + sizeof mapped : address, alone,
              sizeof alone);
    if (bits == 128)
        snprintf(out, CONF_VALUE_NETWORK_MAX, "%s", alone);
    else
        snprintf(out, CONF_VALUE_NETWORK_MAX, "%s/%u", alone, four ? bits - 96U : bits);
}

/* Of IPv4, or wider and with all of it inside: ::/80 is as much of IPv4 as 0.0.0.0/0. */
static bool reaches_four(const uint8_t address[16], unsigned bits)
{
    for (unsigned bit = 0; bit < bits && bit < 96; bit++) {
        if (((address[bit / 8] ^ mapped[bit / 8]) & (0x80 >> bit % 8)) != 0)
            return false;
    }
    return true;
}

bool conf_value_network_wide(const uint8_t address[16], uint8_t bits)
{
    return bits < (reaches_four(address, bits) ? 96 + 8 : 7);
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

bool conf_value_domain(char out[CONF_VALUE_HOST_MAX + 1], const char *text)
{
    size_t len = strlen(text);
    if (len > 0 && text[len - 1] == '.')
        len--;
    if (len > CONF_VALUE_HOST_MAX)
        return false;
    for (size_t i = 0; i < len; i++)
        out[i] = lower(text[i]);
    out[len] = '\0';
    return labels(out, false) && out[strspn(out, "0123456789.")] != '\0';
}

bool conf_value_rate(uint32_t *count, uint64_t *period_ms, const char *text)
{
    const char *rest;
    uint64_t number;
    if (!digits(&number, &rest, text) || *rest != '/' || number == 0 || number > UINT32_MAX)
        return false;
    *count = (uint32_t)number;
    return conf_value_time(period_ms, rest + 1) && *period_ms != 0;
}

bool conf_value_word(const char **word, size_t *len, const char **cursor, const char *separators)
{
    *word = *cursor + strspn(*cursor, separators);
    *len = strcspn(*word, separators);
    *cursor = *word + *len;
    return *len > 0;
}
