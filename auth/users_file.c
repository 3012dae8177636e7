#include <crypt.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <openssl/rand.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "auth/text_file.h"
#include "auth/users.h"

/* A million users with the longest usual hash; beyond it, it is not a users file. */
#define USERS_FILE_MAX ((off_t)256 * 1024 * 1024)

static bool users_fail(char error[USERS_ERROR_MAX], const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static bool users_fail(char error[USERS_ERROR_MAX], const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(error, USERS_ERROR_MAX, format, arguments);
    va_end(arguments);
    return false;
}

/* The text of an open file, to be freed by the caller; NULL with a sentence. */
static char *users_text(size_t *len, struct stat *st, int fd, const char *path,
                        char error[USERS_ERROR_MAX])
{
    char *text = text_file_read(len, st, fd, USERS_FILE_MAX);

    if (text == NULL && errno == EINVAL)
        users_fail(error,
                   "the users file %s is not a plain file of at most 256 MB; give its path as "
                   "backend = file:PATH",
                   path);
    else if (text == NULL)
        users_fail(error, "the users file %s cannot be read: %s", path, strerror(errno));
    return text;
}

static void users_explain_open(char error[USERS_ERROR_MAX], const char *path)
{
    if (errno == ENOENT)
        users_fail(error, "the users file %s is not there; make it with: vestibule passwd USER",
                   path);
    else
        users_fail(error, "the users file %s cannot be opened: %s", path, strerror(errno));
}

struct users *users_load(const char *path, char error[USERS_ERROR_MAX])
{
    /* O_NONBLOCK: a FIFO of that name must not hold us up */
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct users *u = NULL;
    struct stat st;
    size_t len;
    char *text;

    if (fd < 0) {
        users_explain_open(error, path);
        return NULL;
    }
    text = users_text(&len, &st, fd, path, error);
    close(fd);
    if (text != NULL) {
        u = users_parse(text, len, path, error);
        explicit_bzero(text, len);
        free(text);
    }
    return u;
}

/* What a change is about. */
struct users_change {
    const char *path; /* links followed */
    const char *login;
    const char *hash;
    const char *verifier;
    char *old;
    size_t old_len;
    struct stat st; /* of the old file */
    bool exists;
    bool added;
};

/* The second field of one of the login's lines, and what is to stand there. */
struct users_place {
    char *at; /* in the old text; NULL: there is no such line */
    char *end;
    const char *field;
};

static struct users_place users_find_field(const struct users_change *c, bool verifier)
{
    const size_t len = strlen(c->login);
    char *at = c->old;
    char *const end = c->old + c->old_len;
    const char *field = verifier ? c->verifier : c->hash;

    while (at != NULL && at < end) {
        char *newline = memchr(at, '\n', (size_t)(end - at));
        char *const stop = newline != NULL ? newline : end;
        if ((size_t)(stop - at) > len && memcmp(at, c->login, len) == 0 && at[len] == ':') {
            struct users_place p = {.at = at + len + 1, .field = field};
            char *kind = p.at;
            p.end = memchr(p.at, ':', (size_t)(stop - p.at));
            p.end = p.end != NULL ? p.end : stop;
            while (kind < p.end && (*kind == '!' || *kind == '*'))
                kind++;
            if ((kind < p.end && *kind == '{') == verifier)
                return p;
        }
        at = newline != NULL ? newline + 1 : NULL;
    }
    return (struct users_place){.field = field};
}

static void users_write_all(FILE *out, const char *from, const char *to)
{
    if (to > from)
        fwrite(from, 1, (size_t)(to - from), out);
}

/* What is missing goes beside. Returns the end of the line. */
static const char *users_write_field(FILE *out, const struct users_change *c, const char *from,
                                     const struct users_place *place,
                                     const struct users_place *other)
{
    char *const end = c->old + c->old_len;
    char *stop = memchr(place->end, '\n', (size_t)(end - place->end));

    stop = stop != NULL ? stop : end;
    users_write_all(out, from, place->at);
    fputs(place->field, out);
    users_write_all(out, place->end, stop);
    if (other->at == NULL)
        fprintf(out, "\n%s:%s", c->login, other->field);
    return stop;
}

/* Every other octet of the file stays as it was, comments, order and further fields included. */
static bool users_write_changed(FILE *out, struct users_change *c)
{
    char *const end = c->old + c->old_len;
    const struct users_place hash = users_find_field(c, false);
    const struct users_place verifier = users_find_field(c, true);
    const bool hash_first = verifier.at == NULL || (hash.at != NULL && hash.at < verifier.at);
    const struct users_place *places[] = {hash_first ? &hash : &verifier,
                                          hash_first ? &verifier : &hash};
    const char *from = c->old;

    c->added = hash.at == NULL && verifier.at == NULL;
    for (size_t i = 0; i < 2; i++) {
        if (places[i]->at != NULL)
            from = users_write_field(out, c, from, places[i], places[1 - i]);
    }
    users_write_all(out, from, end);
    if (c->added) {
        if (c->old_len > 0 && end[-1] != '\n')
            fputc('\n', out);
        fprintf(out, "%s:%s\n%s:%s\n", c->login, c->hash, c->login, c->verifier);
    }
    return fflush(out) == 0 && !ferror(out) && fsync(fileno(out)) == 0;
}

/* A new file belongs to the group of its folder: the service reads it through that. */
static bool users_set_owner(int fd, int directory, const struct users_change *c)
{
    struct stat folder;

    if (c->exists)
        return fchown(fd, c->st.st_uid, c->st.st_gid) == 0 &&
               fchmod(fd, c->st.st_mode & 07777) == 0;
    if (fstat(directory, &folder) == 0 && fchown(fd, (uid_t)-1, folder.st_gid) != 0)
        errno = 0; /* then it keeps our own group */
    return fchmod(fd, 0640) == 0;
}

static bool users_replace(struct users_change *c, int directory, char error[USERS_ERROR_MAX])
{
    char temporary[PATH_MAX + 16];
    FILE *out;
    int fd;
    bool ok;

    snprintf(temporary, sizeof temporary, "%s.XXXXXX", c->path);
    fd = mkostemp(temporary, O_CLOEXEC);
    if (fd < 0)
        return users_fail(error, "%s cannot be written beside: %s", c->path, strerror(errno));
    out = fdopen(fd, "w");
    if (out == NULL) {
        close(fd);
        unlink(temporary);
        return users_fail(error, "out of memory");
    }
    ok = users_set_owner(fd, directory, c) && users_write_changed(out, c);
    ok = fclose(out) == 0 && ok && rename(temporary, c->path) == 0;
    if (!ok) {
        users_fail(error, "%s cannot be replaced, it stays as it was: %s", c->path,
                   strerror(errno));
        unlink(temporary);
        return false;
    }
    fsync(directory);
    return true;
}

static bool users_read_old(struct users_change *c, char error[USERS_ERROR_MAX])
{
    const int fd = open(c->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    c->exists = fd >= 0;
    if (fd < 0 && errno == ENOENT) {
        c->old = calloc(1, 1);
        return c->old != NULL || users_fail(error, "out of memory");
    }
    if (fd < 0) {
        users_explain_open(error, c->path);
        return false;
    }
    c->old = users_text(&c->old_len, &c->st, fd, c->path, error);
    close(fd);
    return c->old != NULL;
}

static bool users_change(struct users_change *c, char error[USERS_ERROR_MAX])
{
    char folder[PATH_MAX];
    int directory;
    bool ok;

    snprintf(folder, sizeof folder, "%s", c->path);
    /* the lock is on the folder: the file itself is another one after each change */
    directory = open(dirname(folder), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0 || flock(directory, LOCK_EX) != 0) {
        users_fail(error, "the folder of %s cannot be locked: %s", c->path, strerror(errno));
        if (directory >= 0)
            close(directory);
        return false;
    }
    ok = users_read_old(c, error) && users_replace(c, directory, error);
    if (c->old != NULL)
        explicit_bzero(c->old, c->old_len);
    free(c->old);
    close(directory);
    return ok;
}

static bool users_make_hash(char out[CRYPT_OUTPUT_SIZE], const char *password)
{
    char setting[CRYPT_GENSALT_OUTPUT_SIZE];
    struct crypt_data *data = calloc(1, sizeof *data);
    const char *hash = NULL;

    if (data == NULL)
        return false;
    if (crypt_gensalt_rn("$y$", 0, NULL, 0, setting, sizeof setting) != NULL)
        hash = crypt_rn(password, setting, data, sizeof *data);
    if (hash != NULL)
        snprintf(out, CRYPT_OUTPUT_SIZE, "%s", hash);
    explicit_bzero(data, sizeof *data);
    free(data);
    return hash != NULL;
}

static bool users_make_verifier(char out[SCRAM_TEXT_MAX + 1], const char *password)
{
    struct scram_verifier v = {.iterations = USERS_ITERATIONS, .salt_len = USERS_SALT_LEN};
    const bool ok = RAND_bytes(v.salt, USERS_SALT_LEN) == 1 && scram_derive(&v, password);

    if (ok)
        scram_write(out, &v);
    explicit_bzero(&v, sizeof v);
    return ok;
}

bool users_set_password(const char *path, const char *login, const char *password, bool *added,
                        char error[USERS_ERROR_MAX])
{
    char resolved[PATH_MAX];
    char hash[CRYPT_OUTPUT_SIZE];
    char verifier[SCRAM_TEXT_MAX + 1];
    struct users_change c = {.login = login, .hash = hash, .verifier = verifier};
    const char *fault = users_login_fault(login);

    if (fault != NULL)
        return users_fail(error, "%s; choose another one", fault);
    fault = users_password_fault(password);
    if (fault != NULL)
        return users_fail(error, "%s; choose another one", fault);
    if (strlen(path) >= sizeof resolved - 16)
        return users_fail(error, "the path of the users file is too long");
    c.path = realpath(path, resolved) != NULL ? resolved : path;
    if (!users_make_hash(hash, password))
        return users_fail(error, "crypt(3) cannot hash the password: %s", strerror(errno));
    if (!users_make_verifier(verifier, password))
        return users_fail(error, "no SCRAM verifier can be made of the password; try another one");
    if (!users_change(&c, error))
        return false;
    *added = c.added;
    return true;
}
