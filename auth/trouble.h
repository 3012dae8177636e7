/* Why a backend cannot answer, for the log: each trouble once, and again after a while, because
 * every login would find the same. A driver: it looks at the clock. */
#ifndef VESTIBULE_AUTH_TROUBLE_H
#define VESTIBULE_AUTH_TROUBLE_H

#include <stdint.h>

#include "auth/backend.h"

#define TROUBLE_AGAIN_MS 60000

struct trouble {
    void (*say)(const char *event, const char *sentence); /* backend_settings.say */
    char said[BACKEND_ERROR_MAX];                         /* "": none is known */
    uint64_t said_at;
};

/* On the loop's thread. */
void trouble_tell(struct trouble *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
void trouble_over(struct trouble *t);

#endif
