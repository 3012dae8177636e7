#include "proxy/health.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "proxy/address.h"
#include "tls/client.h"

#define PATIENCE_S 3

/* A wildcard is asked over loopback. */
static const char *loopback(const char *host)
{
    if (strcmp(host, "*") == 0 || strcmp(host, "0.0.0.0") == 0)
        return "127.0.0.1";
    return strcmp(host, "::") == 0 ? "::1" : host;
}

static int connect_to(const struct conf_address *to)
{
    struct address a;
    const char *why = "";
    struct timeval patience = {.tv_sec = PATIENCE_S};
    if (address_resolve(&a, 1, loopback(to->host), to->port, &why) == 0)
        return -1;
    int fd = socket(a.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (connect(fd, (const struct sockaddr *)&a.storage, a.len) == 0)
        return fd;
    close(fd);
    return -1;
}

static bool plain_first_line(int fd, char *line, size_t cap)
{
    size_t len = 0;
    while (len + 1 < cap && recv(fd, line + len, 1, 0) == 1)
        if (line[len++] == '\n') {
            line[len] = '\0';
            return true;
        }
    return false;
}

static bool answers(const struct conf_listener *listener)
{
    char line[512];
    int fd = connect_to(&listener->address.at[0]);
    if (fd < 0)
        return false;
    bool good = listener->tls == CONF_IMPLICIT ? tls_client_first_line(fd, line, sizeof line)
                                               : plain_first_line(fd, line, sizeof line);
    close(fd);
    return good && strncmp(line, "220 ", 4) == 0;
}

int health_run(const struct conf *conf, FILE *out)
{
    int status = 0;
    for (size_t i = 0; i < conf->listener_count; i++)
        if (!answers(&conf->listener[i])) {
            fprintf(out, "listener %s does not answer with a banner\n", conf->listener[i].name);
            status = 1;
        }
    return status;
}
