#include "proxy/ask.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "proxy/buf.h"
#include "proxy/control.h"

#define PATIENCE_S 10
#define LIFTED "{\"ok\":true"

bool ask_path(char *out, size_t cap, const struct conf *conf)
{
    int len = conf->control != NULL ? snprintf(out, cap, "%s", conf->control)
                                    : snprintf(out, cap, "%s/control", conf->state_dir);
    return len >= 0 && (size_t)len < cap;
}

/* -1, told. */
static int reach(const struct conf *conf)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    struct timeval patience = {.tv_sec = PATIENCE_S};
    char path[CONTROL_PATH_MAX + 1];
    if (!ask_path(path, sizeof path, conf)) {
        fprintf(stderr,
                "vestibule: the control socket's path has more than %d octets; give a shorter one "
                "as [server] control\n",
                CONTROL_PATH_MAX);
        return -1;
    }
    memcpy(name.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0 &&
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) == 0 &&
        connect(fd, (const struct sockaddr *)&name, sizeof name) == 0)
        return fd;
    if (errno == ENOENT || errno == ECONNREFUSED)
        fprintf(stderr,
                "vestibule: no service answers at %s; is it running, and with this "
                "configuration?\n",
                path);
    else if (errno == EACCES || errno == EPERM)
        fprintf(stderr, "vestibule: %s: permission denied; ask as root%s%s\n", path,
                conf->user != NULL ? " or as " : "", conf->user != NULL ? conf->user : "");
    else
        fprintf(stderr, "vestibule: %s: %s\n", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    return -1;
}

static bool hear(int fd, struct buf *answer)
{
    for (;;) {
        uint8_t *room = buf_reserve(answer, 4096);
        ssize_t n = room != NULL ? read(fd, room, 4096) : -1;
        if (room != NULL)
            buf_commit(answer, n > 0 ? (size_t)n : 0);
        if (n <= 0)
            return n == 0 && buf_len(answer) > 0;
    }
}

/* False, told. */
static bool exchange(const struct conf *conf, const char *line, struct buf *answer)
{
    int fd = reach(conf);
    if (fd < 0)
        return false;
    size_t len = strlen(line);
    bool heard = send(fd, line, len, MSG_NOSIGNAL) == (ssize_t)len && hear(fd, answer);
    close(fd);
    if (!heard)
        fputs("vestibule: the service does not answer; only root and its own user are heard\n",
              stderr);
    return heard;
}

int ask_status(const struct conf *conf, bool json, FILE *out)
{
    struct buf answer;
    buf_init(&answer, CONTROL_ANSWER_MAX + 4096);
    bool told = exchange(conf, json ? "status\n" : "show\n", &answer) &&
                fwrite(buf_data(&answer), 1, buf_len(&answer), out) == buf_len(&answer);
    buf_clear(&answer);
    return told ? 0 : 1;
}

int ask_lift(const struct conf *conf, const char *name, FILE *out)
{
    char line[CONTROL_LINE_MAX + 8];
    struct buf answer;
    if (!sasl_login_fits(name, strlen(name))) {
        fputs("vestibule: this is neither a login nor a network\n", stderr);
        return 1;
    }
    snprintf(line, sizeof line, "lift %s\n", name);
    buf_init(&answer, CONTROL_ANSWER_MAX + 4096);
    bool heard = exchange(conf, line, &answer);
    bool lifted = heard && buf_len(&answer) >= sizeof LIFTED - 1 &&
                  memcmp(buf_data(&answer), LIFTED, sizeof LIFTED - 1) == 0;
    buf_clear(&answer);
    if (lifted)
        fprintf(out, "%s is not locked out any more\n", name);
    else if (heard)
        fprintf(stderr, "vestibule: %s is not locked out; vestibule status lists who is\n", name);
    return lifted ? 0 : 1;
}
