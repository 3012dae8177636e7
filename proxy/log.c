#include "proxy/log.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "proxy/log_field.h"

enum {
    LOG_TAIL = 96,             /* kept free for left_out, lost, the closing brace and the newline */
    LOG_FACILITY_MAIL = 2 << 3 /* RFC 3164 4.1.1 */
};

enum log_way { LOG_WAY_POLL, LOG_WAY_PIPE, LOG_WAY_SOCKET, LOG_WAY_FILE };

static struct {
    pthread_mutex_t lock; /* over `lost` and `torn`, and so that poll and write belong together */
    int fd;
    bool syslog;
    enum log_way way;
    enum log_format format;
    enum log_level level;
    uint64_t lost; /* lines since the last one that got through */
    bool torn;     /* the last line was taken in part: the next one starts on a line of its own */
} log_sink = {
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .fd = STDERR_FILENO,
    .level = LOG_LEVEL_INFO,
};

static const char *const log_level_names[] = {"debug", "info", "warning", "error"};

static enum log_way log_way_of(int fd)
{
    struct stat st;

    if (fstat(fd, &st) != 0)
        return LOG_WAY_POLL;
    if (S_ISSOCK(st.st_mode))
        return LOG_WAY_SOCKET;
    if (S_ISREG(st.st_mode))
        return LOG_WAY_FILE;
    return S_ISFIFO(st.st_mode) ? LOG_WAY_PIPE : LOG_WAY_POLL;
}

void log_open(int fd, bool syslog, enum log_format format, enum log_level level)
{
    pthread_mutex_lock(&log_sink.lock);
    log_sink.fd = fd;
    log_sink.syslog = syslog;
    log_sink.way = log_way_of(fd);
    log_sink.format = format;
    log_sink.level = level;
    log_sink.lost = 0;
    log_sink.torn = false;
    pthread_mutex_unlock(&log_sink.lock);
    /* syslog's stamp is in local time; the zone's file is out of the front's reach later */
    tzset();
}

static bool log_connect_syslog(int fd)
{
    const struct sockaddr_un to = {.sun_family = AF_UNIX, .sun_path = "/dev/log"};

    return connect(fd, (const struct sockaddr *)&to, sizeof to) == 0;
}

int log_syslog_socket(void)
{
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (fd >= 0 && !log_connect_syslog(fd)) {
        close(fd);
        fd = -1;
    }
    return fd;
}

static void log_take(struct log_line *l, const struct log_field *f, size_t spare)
{
    if (f->len + spare > sizeof l->text - l->len) {
        l->left_out++;
        return;
    }
    memcpy(l->text + l->len, f->text, f->len);
    l->len += f->len;
}

static void log_value(struct log_line *l, const char *key, const char *value, size_t max)
{
    struct log_field f;

    log_field_string(&f, log_sink.format, l->len == 0, key, value, max);
    log_take(l, &f, LOG_TAIL);
}

static void log_count(struct log_line *l, const char *key, uint64_t value, size_t spare)
{
    struct log_field f;

    log_field_number(&f, log_sink.format, l->len == 0, key, value);
    log_take(l, &f, spare);
}

static void log_time(char out[32])
{
    struct timespec now;
    struct tm tm;

    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    strftime(out, 32, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out + strlen(out), 32 - strlen(out), ".%03uZ", (unsigned)(now.tv_nsec / 1000000));
}

void log_begin(struct log_line *l, enum log_level level, const char *event)
{
    char stamp[32];

    l->level = level;
    l->len = 0;
    l->left_out = 0;
    l->wanted = level >= log_sink.level;
    if (!l->wanted)
        return;
    log_time(stamp);
    log_value(l, "time", stamp, LOG_VALUE_MAX);
    log_value(l, "level", log_level_names[level], LOG_VALUE_MAX);
    log_value(l, "event", event, LOG_VALUE_MAX);
}

void log_string(struct log_line *l, const char *key, const char *value)
{
    if (l->wanted && value != NULL && value[0] != '\0')
        log_value(l, key, value, LOG_VALUE_MAX);
}

void log_number(struct log_line *l, const char *key, uint64_t value)
{
    if (l->wanted)
        log_count(l, key, value, LOG_TAIL);
}

/* RFC 3164 4.1, without the host name, as the local syslog expects it. */
static size_t log_syslog_head(char *out, size_t cap, enum log_level level)
{
    static const int severity[] = {7, 6, 4, 3};
    static const char months[][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    const time_t now = time(NULL);
    struct tm tm;
    int len;

    localtime_r(&now, &tm);
    len = snprintf(
        out, cap, "<%d>%s %2d %02d:%02d:%02d vestibule[%ld]: ", LOG_FACILITY_MAIL | severity[level],
        months[tm.tm_mon], tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (long)getpid());
    return len > 0 && (size_t)len < cap ? (size_t)len : 0;
}

static ssize_t log_send(const struct iovec *parts, int count)
{
    const struct msghdr message = {
        .msg_iov = (struct iovec *)parts,
        .msg_iovlen = (size_t)count,
    };
    ssize_t n = sendmsg(log_sink.fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);

    /* the syslog daemon was started again */
    if (n < 0 && log_sink.syslog && (errno == ECONNREFUSED || errno == ENOTCONN) &&
        log_connect_syslog(log_sink.fd))
        n = sendmsg(log_sink.fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    return n;
}

static ssize_t log_write(const struct iovec *parts, int count)
{
    struct pollfd ready = {.fd = log_sink.fd, .events = POLLOUT};

    if (log_sink.way == LOG_WAY_SOCKET)
        return log_send(parts, count);
    /* a pipe may be shared with another process, which could take its last room behind poll's back
     */
    if (log_sink.way == LOG_WAY_PIPE) {
        const ssize_t n = pwritev2(log_sink.fd, parts, count, -1, RWF_NOWAIT);
        if (n >= 0 || (errno != EOPNOTSUPP && errno != ENOSYS))
            return n;
    }
    if (log_sink.way != LOG_WAY_FILE && (poll(&ready, 1, 0) <= 0 || !(ready.revents & POLLOUT)))
        return -1;
    return writev(log_sink.fd, parts, count);
}

static void log_close_line(struct log_line *l)
{
    if (l->left_out > 0)
        log_count(l, "left_out", l->left_out, 48);
    if (log_sink.lost > 0)
        log_count(l, "lost", log_sink.lost, 8);
    if (log_sink.format == LOG_FORMAT_JSON)
        l->text[l->len++] = '}';
    if (!log_sink.syslog)
        l->text[l->len++] = '\n';
}

static void log_emit(struct log_line *l)
{
    char head[64];
    struct iovec parts[2] = {{.iov_base = head}, {.iov_base = l->text}};
    ssize_t n;

    log_close_line(l);
    if (log_sink.syslog)
        parts[0].iov_len = log_syslog_head(head, sizeof head, l->level);
    else if (log_sink.torn)
        parts[0].iov_len = (size_t)snprintf(head, sizeof head, "\n");
    parts[1].iov_len = l->len;
    n = log_write(parts, 2);
    if (n <= 0) {
        log_sink.lost++;
        return;
    }
    log_sink.torn = (size_t)n < parts[0].iov_len + parts[1].iov_len;
    log_sink.lost = log_sink.torn ? log_sink.lost + 1 : 0;
}

void log_end(struct log_line *l)
{
    int saved = errno;

    if (!l->wanted)
        return;
    pthread_mutex_lock(&log_sink.lock);
    log_emit(l);
    pthread_mutex_unlock(&log_sink.lock);
    errno = saved;
}

void log_say(enum log_level level, const char *event, const char *format, ...)
{
    struct log_line l;
    char message[LOG_MESSAGE_MAX + 2];
    va_list arguments;

    log_begin(&l, level, event);
    if (!l.wanted)
        return;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    if (message[0] != '\0')
        log_value(&l, "message", message, LOG_MESSAGE_MAX);
    log_end(&l);
}
