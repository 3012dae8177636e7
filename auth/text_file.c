#include "auth/text_file.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

static bool text_file_fill(char *text, size_t len, size_t *got, int fd)
{
    *got = 0;
    while (*got < len) {
        const ssize_t n = read(fd, text + *got, len - *got);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        if (n == 0)
            break;
        *got += (size_t)n;
    }
    return true;
}

char *text_file_read(size_t *len, struct stat *st, int fd, off_t max)
{
    char *text;

    if (fstat(fd, st) != 0)
        return NULL;
    if (!S_ISREG(st->st_mode) || st->st_size > max) {
        errno = EINVAL;
        return NULL;
    }
    text = malloc((size_t)st->st_size + 1);
    if (text == NULL)
        return NULL;
    if (!text_file_fill(text, (size_t)st->st_size, len, fd)) {
        const int why = errno;
        free(text);
        errno = why;
        return NULL;
    }
    text[*len] = '\0';
    return text;
}
