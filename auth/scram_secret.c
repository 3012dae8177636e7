#include "auth/scram_secret.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* EINVAL: it is there, but not what we keep. */
static bool secret_read(uint8_t out[SCRAM_SECRET_LEN], const char *path)
{
    uint8_t octets[SCRAM_SECRET_LEN + 1];
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    const ssize_t n = fd >= 0 ? read(fd, octets, sizeof octets) : -1;
    const int saved = errno;

    if (fd >= 0)
        close(fd);
    errno = n < 0 ? saved : EINVAL;
    if (n != SCRAM_SECRET_LEN)
        return false;
    memcpy(out, octets, SCRAM_SECRET_LEN);
    explicit_bzero(octets, sizeof octets);
    return true;
}

/* Appears whole, and never in the place of one that another process made meanwhile. */
static bool secret_keep(const uint8_t secret[SCRAM_SECRET_LEN], const char *path)
{
    char beside[PATH_MAX];
    int fd;
    int saved;
    bool ok;

    if (snprintf(beside, sizeof beside, "%s.XXXXXX", path) >= (int)sizeof beside) {
        errno = ENAMETOOLONG;
        return false;
    }
    fd = mkostemp(beside, O_CLOEXEC);
    if (fd < 0)
        return false;
    ok = write(fd, secret, SCRAM_SECRET_LEN) == SCRAM_SECRET_LEN && fsync(fd) == 0 &&
         link(beside, path) == 0;
    saved = errno;
    close(fd);
    unlink(beside);
    errno = saved;
    return ok;
}

static bool secret_get(uint8_t out[SCRAM_SECRET_LEN], const char *path)
{
    if (secret_read(out, path))
        return true;
    if (errno != ENOENT)
        return false;
    RAND_bytes(out, SCRAM_SECRET_LEN);
    return secret_keep(out, path) || (errno == EEXIST && secret_read(out, path));
}

bool scram_secret_load(uint8_t out[SCRAM_SECRET_LEN], const char *state_dir,
                       char error[SCRAM_SECRET_ERROR_MAX])
{
    char path[PATH_MAX];
    const int len =
        snprintf(path, sizeof path, "%s/scram.secret", state_dir != NULL ? state_dir : "");

    errno = ENOENT;
    if (state_dir != NULL && len < (int)sizeof path && secret_get(out, path))
        return true;
    snprintf(
        error, SCRAM_SECRET_ERROR_MAX,
        "%.256s cannot be read or made (%s), so logins that are not there can be told by SCRAM "
        "after a restart; %s",
        state_dir != NULL ? path : "scram.secret",
        errno == EINVAL ? "it is not of 32 octets" : strerror(errno),
        errno == EINVAL ? "remove it" : "let the service write to state_dir");
    RAND_bytes(out, SCRAM_SECRET_LEN);
    return false;
}
