#include "auth/source.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

static const uint8_t source_mapped[12] = {[10] = 0xff, [11] = 0xff};

static bool source_four(const uint8_t address[16])
{
    return memcmp(address, source_mapped, sizeof source_mapped) == 0;
}

void source_of(uint8_t out[SOURCE_LEN], const uint8_t address[16])
{
    const size_t kept = source_four(address) ? 15 : 7;

    memset(out, 0, SOURCE_LEN);
    memcpy(out, address, kept);
}

bool source_around(uint8_t out[SOURCE_LEN], const uint8_t source[SOURCE_LEN])
{
    memset(out, 0, SOURCE_LEN);
    memcpy(out, source, SOURCE_AROUND_LEN);
    return !source_four(source);
}

/* The whole of 127/8; of IPv6 what ::1 counts as, where nobody else can be. */
bool source_loopback(const uint8_t source[SOURCE_LEN])
{
    static const uint8_t six[SOURCE_LEN] = {0};

    return (source_four(source) && source[12] == 127) || memcmp(source, six, sizeof six) == 0;
}

void source_text(char out[SOURCE_TEXT_MAX], const uint8_t source[SOURCE_LEN])
{
    char address[INET6_ADDRSTRLEN] = "";

    if (source_four(source)) {
        inet_ntop(AF_INET, source + 12, address, sizeof address);
        snprintf(out, SOURCE_TEXT_MAX, "%s/24", address);
    } else {
        inet_ntop(AF_INET6, source, address, sizeof address);
        snprintf(out, SOURCE_TEXT_MAX, "%s/56", address);
    }
}

void source_around_text(char out[SOURCE_TEXT_MAX], const uint8_t around[SOURCE_LEN])
{
    char address[INET6_ADDRSTRLEN] = "";

    inet_ntop(AF_INET6, around, address, sizeof address);
    snprintf(out, SOURCE_TEXT_MAX, "%s/48", address);
}

/* An address, alone or with one of these behind it. */
static bool source_read(uint8_t address[16], const char *text, const char *four, const char *six)
{
    char host[SOURCE_TEXT_MAX];
    const size_t len = strcspn(text, "/");

    if (len >= sizeof host)
        return false;
    memcpy(host, text, len);
    host[len] = '\0';
    memcpy(address, source_mapped, sizeof source_mapped);
    if (inet_pton(AF_INET, host, address + 12) == 1)
        return text[len] == '\0' || strcmp(text + len, four) == 0;
    return inet_pton(AF_INET6, host, address) == 1 &&
           (text[len] == '\0' || strcmp(text + len, six) == 0);
}

bool source_parse(uint8_t out[SOURCE_LEN], const char *text)
{
    uint8_t address[16];

    if (!source_read(address, text, "/24", "/56"))
        return false;
    source_of(out, address);
    return true;
}

bool source_around_parse(uint8_t out[SOURCE_LEN], const char *text)
{
    uint8_t address[16];

    return source_read(address, text, "", "/48") && source_around(out, address);
}
