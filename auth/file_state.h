/* What tells one state of a file from another, so that a change on disk is noticed without reading
 * it. A driver. */
#ifndef VESTIBULE_AUTH_FILE_STATE_H
#define VESTIBULE_AUTH_FILE_STATE_H

#include <stdbool.h>
#include <sys/types.h>
#include <time.h>

/* All zeros: not there. */
struct file_state {
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec modified;
};

/* To be taken before the file is read: a change in between is then seen as one. */
struct file_state file_state_of(const char *path);
bool file_state_same(const struct file_state *a, const struct file_state *b);

#endif
