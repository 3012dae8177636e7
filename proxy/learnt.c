#include "proxy/learnt.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PATH_ROOM 4096

static void name_file(char out[PATH_ROOM], const char *state_dir, const struct conf_upstream *u,
                      const char *suffix)
{
    snprintf(out, PATH_ROOM, "%s/learnt-%s%s", state_dir, u->name, suffix);
}

static void name_mta(char out[512], const struct conf_upstream *u)
{
    snprintf(out, 512, "%s:%u", u->address.at[0].host, u->address.at[0].port);
}

void learnt_load(struct capabilities *out, const char *state_dir,
                 const struct conf_upstream *upstream)
{
    char path[PATH_ROOM], mta[512];
    uint8_t bytes[REPLY_TOTAL_MAX];
    *out = (struct capabilities){0};
    name_file(path, state_dir, upstream, "");
    name_mta(mta, upstream);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, bytes, sizeof bytes) : -1;
    if (fd >= 0)
        close(fd);
    struct reply r;
    const char *name;
    size_t len;
    if (n > 0 && reply_parse(&r, bytes, (size_t)n) == REPLY_COMPLETE && r.code == 250 &&
        reply_line(&r, 0, &name, &len) && len == strlen(mta) && memcmp(name, mta, len) == 0)
        capabilities_learn(out, &r, true);
}

static bool write_file(const char *path, const struct buf *bytes)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        return false;
    bool good = write(fd, buf_data(bytes), buf_len(bytes)) == (ssize_t)buf_len(bytes);
    int saved = errno;
    close(fd);
    errno = saved;
    return good;
}

bool learnt_save(const char *state_dir, const struct conf_upstream *upstream,
                 const struct capabilities *c)
{
    char path[PATH_ROOM], beside[PATH_ROOM], mta[512];
    struct buf bytes;
    name_file(path, state_dir, upstream, "");
    name_file(beside, state_dir, upstream, ".new");
    name_mta(mta, upstream);
    buf_init(&bytes, REPLY_TOTAL_MAX);
    bool good = capabilities_record(&bytes, c, mta) && write_file(beside, &bytes) &&
                rename(beside, path) == 0;
    int saved = errno;
    buf_clear(&bytes);
    errno = saved;
    return good;
}
