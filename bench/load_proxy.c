#include "bench/load_proxy.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

enum { CLIENT_PORT = 40000, V2_LEN = 16 + 12 };

static size_t version_1(uint8_t *out, const struct sockaddr_in *server, struct in_addr client)
{
    char from[INET_ADDRSTRLEN], to[INET_ADDRSTRLEN];
    inet_ntop(AF_INET, &client, from, sizeof from);
    inet_ntop(AF_INET, &server->sin_addr, to, sizeof to);
    return (size_t)snprintf((char *)out, LOAD_PROXY_HEADER_MAX, "PROXY TCP4 %s %s %u %u\r\n", from,
                            to, CLIENT_PORT, ntohs(server->sin_port));
}

static size_t version_2(uint8_t *out, const struct sockaddr_in *server, struct in_addr client)
{
    in_port_t port = htons(CLIENT_PORT);
    memcpy(out, "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c", 16);
    memcpy(out + 16, &client, 4);
    memcpy(out + 20, &server->sin_addr, 4);
    memcpy(out + 24, &port, 2);
    memcpy(out + 26, &server->sin_port, 2);
    return V2_LEN;
}

size_t load_proxy_header(uint8_t out[LOAD_PROXY_HEADER_MAX], enum load_proxy version,
                         const struct sockaddr_storage *server, uint64_t number)
{
    struct sockaddr_in to;
    struct in_addr client = {htonl(0xc6120000u + (uint32_t)(number % 0x1fffe) + 1)};
    memcpy(&to, server, sizeof to);
    if (version == LOAD_PROXY_V1)
        return version_1(out, &to, client);
    return version == LOAD_PROXY_V2 ? version_2(out, &to, client) : 0;
}
