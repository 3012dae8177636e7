/* The findings of `vestibule check`: where they are written, and whether one is a problem. */
#ifndef VESTIBULE_PROXY_CHECK_REPORT_H
#define VESTIBULE_PROXY_CHECK_REPORT_H

#include <stdbool.h>
#include <stdio.h>

enum check_kind {
    CHECK_OK,
    CHECK_WARNING, /* works, but look at it */
    CHECK_PROBLEM, /* does not work */
};

struct check_report {
    FILE *out;
    bool problem;
};

/* `about` is the part that was looked at: "certificate". */
void check_say(struct check_report *r, enum check_kind kind, const char *about, const char *format,
               ...) __attribute__((format(printf, 4, 5)));

#endif
