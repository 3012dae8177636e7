#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "auth/senders.h"
#include "auth/text_file.h"

/* A million logins with a few addresses each; beyond it, it is not a senders file. */
#define SENDERS_FILE_MAX ((off_t)256 * 1024 * 1024)

static void senders_explain(char error[SENDERS_ERROR_MAX], const char *path)
{
    if (errno == EINVAL)
        snprintf(error, SENDERS_ERROR_MAX,
                 "the senders file %.256s is not a plain file of at most 256 MB; give its path as "
                 "senders = PATH",
                 path);
    else
        snprintf(error, SENDERS_ERROR_MAX, "the senders file %.256s cannot be read: %s", path,
                 strerror(errno));
}

struct senders *senders_load(const char *path, char error[SENDERS_ERROR_MAX])
{
    /* O_NONBLOCK: a FIFO of that name must not hold us up */
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct senders *s = NULL;
    struct stat st;
    char *text = NULL;
    size_t len;

    if (fd >= 0)
        text = text_file_read(&len, &st, fd, SENDERS_FILE_MAX);
    if (text == NULL)
        senders_explain(error, path);
    else
        s = senders_parse(text, len, path, error);
    free(text);
    if (fd >= 0)
        close(fd);
    return s;
}
