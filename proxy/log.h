/* One line an event, logfmt or JSON, to standard error or syslog: stable field names, values
 * escaped and capped.
 *
 * A line is built on the stack and written with one write; a log that cannot take it loses the line
 * and counts it, never blocks a loop. Callable from any thread. No password, AUTH line or message
 * content is ever given to it. */
#ifndef VESTIBULE_PROXY_LOG_H
#define VESTIBULE_PROXY_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARNING, LOG_LEVEL_ERROR };
enum log_format { LOG_FORMAT_LOGFMT, LOG_FORMAT_JSON };

#define LOG_VALUE_MAX 256    /* octets of one value before escaping; "..." stands for the rest */
#define LOG_MESSAGE_MAX 1024 /* the same for the sentence of log_say */
#define LOG_LINE_MAX 4096    /* PIPE_BUF: a pipe takes it whole or not at all */

struct log_line {
    bool wanted;
    enum log_level level;
    unsigned left_out; /* fields that did not fit; the line ends with their number */
    size_t len;
    char text[LOG_LINE_MAX];
};

/* Where lines go: `fd` is standard error, or a connected syslog socket (`syslog` true). Once per
 * process. */
void log_open(int fd, bool syslog, enum log_format format, enum log_level level);

/* Connects to the local syslog; -1 when there is none. */
int log_syslog_socket(void);

void log_begin(struct log_line *l, enum log_level level, const char *event);
void log_string(struct log_line *l, const char *key, const char *value); /* NULL or "": left out */
void log_number(struct log_line *l, const char *key, uint64_t value);
void log_end(struct log_line *l);

/* event=NAME message="..." for what has no fields. */
void log_say(enum log_level level, const char *event, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
