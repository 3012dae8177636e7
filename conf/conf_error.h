/* Where a configuration error is and how it is said: one sentence a line, all of them gathered. */
#ifndef VESTIBULE_CONF_CONF_ERROR_H
#define VESTIBULE_CONF_CONF_ERROR_H

#include "conf/conf.h"

/* `variable` is set for what came from the environment; then file and line mean nothing. `line` is
 * 0 where no line can be named. Strings are borrowed. */
struct conf_place {
    const char *file;
    unsigned line;
    const char *variable;
};

/* What the error is about; NULL parts are left out. */
struct conf_subject {
    const char *section;
    const char *name; /* of a named section */
    const char *key;
};

/* Octets that are not printable ASCII appear as `?`: a file must not be able to draw on a terminal.
 */
void conf_error(struct conf_errors *errors, const struct conf_place *at,
                const struct conf_subject *about, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#endif
