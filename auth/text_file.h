/* A file of text, read whole. A driver. */
#ifndef VESTIBULE_AUTH_TEXT_FILE_H
#define VESTIBULE_AUTH_TEXT_FILE_H

#include <stddef.h>
#include <sys/stat.h>

/* The text of an open file with a NUL behind it, to be freed by the caller. NULL with errno; it is
 * EINVAL when this is no plain file or one of more than `max` octets. */
char *text_file_read(size_t *len, struct stat *st, int fd, off_t max);

#endif
