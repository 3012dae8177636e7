/* Memory whose content is overwritten before it is let go: for libraries that copy passwords about
 * and can be told whose memory to use. */
#ifndef VESTIBULE_AUTH_WIPED_H
#define VESTIBULE_AUTH_WIPED_H

#include <stddef.h>

/* Of malloc, calloc, strdup. NULL is fine. */
void wiped_free(void *p);
void *wiped_realloc(void *p, size_t size);

#endif
