#include "auth/wiped.h"

#include <malloc.h>
#include <openssl/mem.h>
#include <stdlib.h>
#include <string.h>

void wiped_free(void *p)
{
    if (p != NULL)
        OPENSSL_cleanse(p, malloc_usable_size(p));
    free(p);
}

/* realloc might move it and leave the old content behind. */
void *wiped_realloc(void *p, size_t size)
{
    const size_t had = p == NULL ? 0 : malloc_usable_size(p);
    void *fresh;

    if (p != NULL && size <= had)
        return p;
    fresh = malloc(size > 0 ? size : 1);
    if (fresh == NULL || p == NULL)
        return fresh;
    memcpy(fresh, p, had);
    wiped_free(p);
    return fresh;
}
