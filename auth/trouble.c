#include "auth/trouble.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

void trouble_tell(struct trouble *t, const char *format, ...)
{
    const uint64_t now = uv_hrtime() / 1000000;
    char sentence[BACKEND_ERROR_MAX];
    va_list values;

    va_start(values, format);
    vsnprintf(sentence, sizeof sentence, format, values);
    va_end(values);
    if (t->say == NULL || (strcmp(sentence, t->said) == 0 && now - t->said_at < TROUBLE_AGAIN_MS))
        return;
    memcpy(t->said, sentence, sizeof t->said);
    t->said_at = now;
    t->say("backend_unavailable", sentence);
}

void trouble_over(struct trouble *t)
{
    t->said[0] = '\0';
}
