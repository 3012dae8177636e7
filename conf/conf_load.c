#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <pwd.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/conf.h"
#include "conf/conf_error.h"
#include "conf/conf_read.h"
#include "conf/conf_strings.h"
#include "conf/conf_value.h"

#define FILE_MAX (1024 * 1024)
#define WORKERS_MAX 64

static bool refuse(struct conf_errors *errors, const char *path, const char *what)
{
    struct conf_place at = {.file = path};
    conf_error(errors, &at, NULL, "%s", what);
    return false;
}

/* Whoever may write the file may name the MTA, the keys and the users: that is the owner alone. */
static bool file_ok(int fd, size_t *len, const char *path, struct conf_errors *errors)
{
    struct stat s;
    if (fstat(fd, &s) != 0)
        return refuse(errors, path, strerror(errno));
    if (!S_ISREG(s.st_mode))
        return refuse(errors, path, "not a regular file; name the configuration file");
    if ((s.st_mode & (S_IWGRP | S_IWOTH)) != 0)
        return refuse(errors, path,
                      "writable by others than its owner; run: chmod go-w on the file");
    if (s.st_size > FILE_MAX)
        return refuse(errors, path, "larger than 1 MiB; that is no configuration file");
    *len = (size_t)s.st_size;
    return true;
}

static bool read_whole(char **text, size_t *len, int fd, const char *path,
                       struct conf_errors *errors)
{
    size_t size, used = 0;
    if (!file_ok(fd, &size, path, errors))
        return false;
    *text = malloc(size + 1);
    if (*text == NULL)
        return refuse(errors, path, "out of memory");
    while (used < size) {
        ssize_t n = read(fd, *text + used, size - used);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return refuse(errors, path, strerror(errno));
        if (n == 0)
            break;
        used += (size_t)n;
    }
    *len = used;
    return true;
}

/* An empty text stands for the default file that is not there. */
static bool take_file(char **text, size_t *len, const char *path, bool optional,
                      struct conf_errors *errors)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT && optional)
        return true;
    if (fd < 0 && errno == ENOENT)
        return refuse(errors, path, "there is no such file; name one that there is with -c");
    if (fd < 0) {
        struct conf_place at = {.file = path};
        conf_error(errors, &at, NULL, "cannot be opened: %s; let this account read it",
                   strerror(errno));
        return false;
    }
    bool ok = read_whole(text, len, fd, path, errors);
    close(fd);
    return ok;
}

/* The full name that the resolver gives this host; its own short name where there is none. */
static const char *host_name(struct conf *c)
{
    char name[CONF_VALUE_HOST_MAX + 1] = "";
    struct addrinfo hints = {.ai_flags = AI_CANONNAME, .ai_socktype = SOCK_STREAM}, *found = NULL;
    if (gethostname(name, sizeof name - 1) != 0 || !conf_value_hostname(name))
        return "localhost";
    const char *best = name;
    if (strchr(name, '.') == NULL && getaddrinfo(name, NULL, &hints, &found) == 0 &&
        found->ai_canonname != NULL && strchr(found->ai_canonname, '.') != NULL &&
        conf_value_hostname(found->ai_canonname))
        best = found->ai_canonname;
    const char *kept = conf_strings_add(c, best, strlen(best));
    if (found != NULL)
        freeaddrinfo(found);
    return kept != NULL ? kept : "localhost";
}

static unsigned cores(void)
{
    cpu_set_t set;
    int count = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    return count < WORKERS_MAX ? (unsigned)count : WORKERS_MAX;
}

static void fill_in_host(struct conf *c)
{
    if (c->hostname == NULL)
        c->hostname = host_name(c);
    if (c->workers == 0)
        c->workers = cores();
    if (c->user == NULL && getpwnam("vestibule") != NULL)
        c->user = "vestibule";
}

struct conf *conf_load(const char *path, char *const *environment, struct conf_errors *errors)
{
    const char *name = path != NULL ? path : CONF_DEFAULT_PATH;
    char *text = NULL;
    size_t len = 0;
    struct conf *c = NULL;
    errors->count = 0;
    errors->text[0] = '\0';
    if (take_file(&text, &len, name, path == NULL, errors))
        c = conf_read(text != NULL ? text : "", len, name, environment, errors);
    free(text);
    if (c != NULL)
        fill_in_host(c);
    return c;
}
