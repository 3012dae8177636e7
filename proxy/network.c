#include "proxy/network.h"

#include <string.h>

#include "conf/conf.h"

enum { NETWORK_V4_BITS = 96, NETWORK_CLIENT_BITS = 64 };

bool network_is_v4(const uint8_t address[16])
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

    return memcmp(address, mapped, sizeof mapped) == 0;
}

void network_of(uint8_t out[16], const uint8_t address[16], uint8_t bits)
{
    for (unsigned i = 0; i < 16; i++) {
        const unsigned kept = bits > 8 * i ? bits - 8 * i : 0;

        out[i] = (uint8_t)(kept >= 8 ? address[i] : address[i] & ~(0xffU >> kept));
    }
}

bool network_contains(const uint8_t network[16], uint8_t bits, const uint8_t address[16])
{
    uint8_t theirs[16];
    uint8_t ours[16];

    if (bits > 128 || (bits < NETWORK_V4_BITS && network_is_v4(address)))
        return false;
    network_of(ours, network, bits);
    network_of(theirs, address, bits);
    return memcmp(ours, theirs, sizeof ours) == 0;
}

void network_of_client(uint8_t out[16], const uint8_t address[16])
{
    network_of(out, address, network_is_v4(address) ? 128 : NETWORK_CLIENT_BITS);
}

bool network_is_loopback(const uint8_t address[16])
{
    static const uint8_t loopback[16] = {[15] = 1};

    return memcmp(address, loopback, sizeof loopback) == 0 ||
           (network_is_v4(address) && address[12] == 127);
}

bool network_listed(const struct conf_networks *networks, const uint8_t address[16])
{
    for (size_t i = 0; i < networks->count; i++) {
        if (network_contains(networks->at[i].address, networks->at[i].bits, address))
            return true;
    }
    return false;
}
