#include "proxy/check_host.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "auth/backend.h"
#include "proxy/edition.h"
#include "proxy/log.h"
#include "proxy/privileges.h"

#define LINE_MAX_OCTETS 4096

static const char *account(const struct conf *conf)
{
    return conf->user != NULL && geteuid() == 0 ? conf->user : "this account";
}

void check_account(struct check_report *r, const struct conf *conf)
{
    if (conf->user != NULL && getpwnam(conf->user) == NULL)
        check_say(r, CHECK_PROBLEM, "user",
                  "there is no account %s; make it or correct user in [server]", conf->user);
    if (conf->user == NULL && geteuid() == 0)
        check_say(r, CHECK_WARNING, "user",
                  "the service would stay root; make an account vestibule or set user in [server]");
}

void check_backends(struct check_report *r, const struct conf *conf)
{
    const char *spec;
    for (size_t i = 0; (spec = edition_backend_spec(conf, i)) != NULL; i++) {
        char text[BACKEND_ERROR_MAX];
        const struct backend_settings settings = edition_backend_settings(conf);
        struct backend *b = backend_open(spec, &settings, text);
        if (b == NULL) {
            check_say(r, CHECK_PROBLEM, "backend", "%s", text);
            continue;
        }
        bool fine = b->ops->describe(b, text);
        check_say(r, fine ? CHECK_OK : CHECK_PROBLEM, "backend", "%s", text);
        backend_close(b);
    }
}

void check_log(struct check_report *r, const struct conf *conf)
{
    if (conf->log_target != CONF_LOG_SYSLOG)
        return;
    int fd = log_syslog_socket();
    if (fd < 0)
        check_say(r, CHECK_PROBLEM, "log",
                  "there is no syslog on this host; start one or set target = stderr in [log]");
    else
        close(fd);
}

/* Files that are missing, or that even we cannot read, were told of already. */
static void note(const char *list[], size_t *count, size_t max, const char *path)
{
    if (path != NULL && *count < max && access(path, R_OK) == 0)
        list[(*count)++] = path;
}

#define FILES_MAX (2 * CONF_CERTIFICATES_MAX + CONF_BACKENDS_MAX + 8)

static size_t list_files(const char *list[FILES_MAX], const struct conf *conf)
{
    size_t count = 0;
    for (size_t i = 0; i < conf->certificate_count; i++) {
        note(list, &count, FILES_MAX, conf->certificate[i].chain);
        note(list, &count, FILES_MAX, conf->certificate[i].key);
    }
    for (size_t i = 0; i < conf->backend_count; i++)
        if (strncmp(conf->backend[i], "file:", 5) == 0)
            note(list, &count, FILES_MAX, conf->backend[i] + 5);
    note(list, &count, FILES_MAX, conf->ticket_keys);
    note(list, &count, FILES_MAX, conf->policy.senders);
    note(list, &count, FILES_MAX, conf->client_ca);
    note(list, &count, FILES_MAX, conf->ca);
    note(list, &count, FILES_MAX, conf->ldap_bind_password_file);
    note(list, &count, FILES_MAX, conf->http_header_file);
    note(list, &count, FILES_MAX, conf->oauth.client_secret_file);
    if (conf->oauth.jwks != NULL && conf->oauth.jwks[0] == '/')
        note(list, &count, FILES_MAX, conf->oauth.jwks);
    return count;
}

static void check_readable(struct check_report *r, const char *const *list, size_t count,
                           const char *who)
{
    size_t refused = 0;
    for (size_t i = 0; i < count; i++) {
        int fd = open(list[i], O_RDONLY | O_CLOEXEC);
        if (fd >= 0) {
            close(fd);
            continue;
        }
        refused++;
        check_say(r, CHECK_PROBLEM, "files",
                  "%s cannot be read by %s: %s; give it the group of that account and run: chmod "
                  "g+r %s",
                  list[i], who, strerror(errno), list[i]);
    }
    if (refused == 0 && count > 0)
        check_say(r, CHECK_OK, "files", "certificates, keys and users can be read by %s", who);
}

/* Missing, or root's and empty: the service makes or takes it at its start. */
static bool dir_to_come(const struct conf *conf)
{
    struct stat st;
    char parent[1024];
    if (stat(conf->state_dir, &st) == 0)
        return conf->user != NULL && geteuid() == 0 && S_ISDIR(st.st_mode) && st.st_uid == 0 &&
               privileges_dir_empty(conf->state_dir);
    snprintf(parent, sizeof parent, "%s", conf->state_dir);
    char *slash = strrchr(parent, '/');
    if (slash != NULL)
        *(slash == parent ? slash + 1 : slash) = '\0';
    return errno == ENOENT && access(slash != NULL ? parent : ".", W_OK | X_OK) == 0;
}

static void check_state_dir(struct check_report *r, const char *path, const char *who)
{
    struct stat st;
    if (stat(path, &st) == 0 && !S_ISDIR(st.st_mode))
        check_say(r, CHECK_PROBLEM, "state_dir", "%s is no directory; name another in [server]",
                  path);
    else if (faccessat(AT_FDCWD, path, R_OK | W_OK | X_OK, AT_EACCESS) == 0)
        check_say(r, CHECK_OK, "state_dir", "%s can be written by %s", path, who);
    else
        check_say(r, CHECK_PROBLEM, "state_dir",
                  "%s cannot be written by %s: %s; make it that account's (chown) or name another "
                  "in [server]",
                  path, who, strerror(errno));
}

static void look_as_service(struct check_report *r, const struct conf *conf, bool with_dir,
                            const char *const *files, size_t count)
{
    const char *who = account(conf);
    char error[PRIVILEGES_ERROR_MAX];
    if (!privileges_drop_vault(conf->user, false, error)) {
        check_say(r, CHECK_PROBLEM, "user", "%s", error);
        return;
    }
    check_readable(r, files, count, who);
    if (with_dir)
        check_state_dir(r, conf->state_dir, who);
}

/* The child's lines, as they are. */
static void copy_lines(struct check_report *r, int fd)
{
    char line[LINE_MAX_OCTETS];
    FILE *from = fdopen(fd, "r");
    while (from != NULL && fgets(line, sizeof line, from) != NULL)
        fputs(line, r->out);
    if (from != NULL)
        fclose(from);
    else
        close(fd);
}

static void run_child(int fd, const struct conf *conf, bool with_dir, const char *const *files,
                      size_t count)
{
    struct check_report r = {.out = fdopen(fd, "w")};
    if (r.out == NULL)
        _exit(1);
    look_as_service(&r, conf, with_dir, files, count);
    fclose(r.out);
    _exit(r.problem ? 1 : 0);
}

void check_files(struct check_report *r, const struct conf *conf)
{
    const char *files[FILES_MAX];
    size_t count = list_files(files, conf);
    bool to_come = dir_to_come(conf);
    int ends[2], status = 1;
    if (conf->user != NULL && geteuid() == 0 && getpwnam(conf->user) == NULL)
        return;
    if (to_come)
        check_say(r, CHECK_OK, "state_dir", "%s will be made or taken over at the start",
                  conf->state_dir);
    if (pipe2(ends, O_CLOEXEC) != 0)
        return;
    pid_t pid = fork();
    if (pid == 0)
        run_child(ends[1], conf, !to_come, files, count);
    close(ends[1]);
    copy_lines(r, ends[0]);
    if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
        r->problem = true;
}
