#include "auth/file_state.h"

#include <sys/stat.h>

struct file_state file_state_of(const char *path)
{
    struct file_state state = {.size = 0};
    struct stat st;

    if (stat(path, &st) == 0) {
        state.device = st.st_dev;
        state.inode = st.st_ino;
        state.size = st.st_size;
        state.modified = st.st_mtim;
    }
    return state;
}

bool file_state_same(const struct file_state *a, const struct file_state *b)
{
    return a->device == b->device && a->inode == b->inode && a->size == b->size &&
           a->modified.tv_sec == b->modified.tv_sec && a->modified.tv_nsec == b->modified.tv_nsec;
}
