#include "proxy/check_report.h"

#include <stdarg.h>

void check_say(struct check_report *r, enum check_kind kind, const char *about, const char *format,
               ...)
{
    static const char *const words[] = {
        [CHECK_OK] = "ok", [CHECK_WARNING] = "warning", [CHECK_PROBLEM] = "problem"};
    va_list args;
    fprintf(r->out, "%-7s %s: ", words[kind], about);
    va_start(args, format);
    vfprintf(r->out, format, args);
    va_end(args);
    fputc('\n', r->out);
    r->problem = r->problem || kind == CHECK_PROBLEM;
}
