/* The lines of an INI text, split by inih, with what inih would silently cut found out first.
 *
 * inih keeps 197 octets of a line and 49 of a section's name, ends a value at a blank and a `;`,
 * takes an indented line for more of the value above it, and drops what follows a `]`. Here each of
 * these is a problem that is told, and indentation means nothing. Pure. */
#ifndef VESTIBULE_CONF_CONF_INI_H
#define VESTIBULE_CONF_CONF_INI_H

#include <stddef.h>

#define CONF_LINE_MAX 197   /* octets of a line without its end: inih's buffer */
#define CONF_SECTION_MAX 49 /* octets between the brackets */

/* Strings are valid during the call only. Lines count from 1. */
struct conf_ini_events {
    void *context;
    void (*section)(void *context, unsigned line, const char *name);
    void (*entry)(void *context, unsigned line, const char *key, const char *value);
    void (*problem)(void *context, unsigned line, const char *what);
};

void conf_ini_read(const struct conf_ini_events *events, const char *text, size_t len);

#endif
