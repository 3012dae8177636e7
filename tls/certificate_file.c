#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tls/certificate_parts.h"
#include "tls/client_ca_parts.h"

/* Ten certificates and a key are far below; a wrong path may lead to a disk image. */
#define CERTIFICATE_FILE_MAX (256 * 1024)
#define CERTIFICATE_PATH_MAX 4096
/* Made anew this long before it runs out. */
#define SELF_SIGNED_RENEW_S (30 * 86400)

struct text {
    char *data;
    size_t len;
};

static void text_free(struct text *t)
{
    if (t->data != NULL)
        explicit_bzero(t->data, t->len);
    free(t->data);
}

static bool read_to_end(int fd, struct text *t)
{
    while (t->len <= CERTIFICATE_FILE_MAX) {
        ssize_t n = read(fd, t->data + t->len, CERTIFICATE_FILE_MAX + 1 - t->len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        if (n == 0)
            return true;
        t->len += (size_t)n;
    }
    errno = EFBIG;
    return false;
}

static bool text_read(struct text *t, const char *what, const char *path,
                      char error[CERTIFICATE_ERROR_MAX])
{
    *t = (struct text){.data = malloc(CERTIFICATE_FILE_MAX + 1)};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    bool good = t->data != NULL && fd >= 0 && read_to_end(fd, t);
    if (!good) {
        snprintf(error, CERTIFICATE_ERROR_MAX,
                 "%s %s: cannot be read: %s; check the path and who may read it", what, path,
                 strerror(errno));
        text_free(t);
    }
    if (fd >= 0)
        close(fd);
    return good;
}

struct certificate *certificate_load(const char *chain_path, char error[CERTIFICATE_ERROR_MAX])
{
    struct text text;
    if (!text_read(&text, "certificate", chain_path, error))
        return NULL;
    struct certificate *c = certificate_from_pem(text.data, text.len, chain_path, error);
    text_free(&text);
    return c;
}

struct client_ca *client_ca_load(const char *path, char error[CERTIFICATE_ERROR_MAX])
{
    struct text text;
    if (!text_read(&text, "client_ca", path, error))
        return NULL;
    struct client_ca *ca = client_ca_from_pem(text.data, text.len, path, error);
    text_free(&text);
    return ca;
}

struct tls_key *tls_key_load(const char *key_path, const struct certificate *c,
                             char error[CERTIFICATE_ERROR_MAX])
{
    struct text text;
    if (!text_read(&text, "key", key_path, error))
        return NULL;
    struct tls_key *k = tls_key_from_pem(text.data, text.len, key_path, c, error);
    text_free(&text);
    return k;
}

bool tls_key_exposed(const char *key_path)
{
    struct stat status;
    return stat(key_path, &status) == 0 && (status.st_mode & (S_IRWXO)) != 0;
}

static bool pair_good(const char *chain_path, const char *key_path, const char *hostname,
                      time_t now)
{
    char ignored[CERTIFICATE_ERROR_MAX];
    struct certificate *c = certificate_load(chain_path, ignored);
    struct tls_key *k = c == NULL ? NULL : tls_key_load(key_path, c, ignored);
    bool good = k != NULL && certificate_matches(c, hostname) &&
                certificate_not_after(c) > (int64_t)now + SELF_SIGNED_RENEW_S;
    tls_key_free(k);
    certificate_free(c);
    return good;
}

static bool write_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        data += n;
        len -= (size_t)n;
    }
    return fsync(fd) == 0;
}

/* Beside the place where it belongs, so that a rename puts it there whole. */
static bool write_beside(char beside[CERTIFICATE_PATH_MAX], const char *path, mode_t mode,
                         const char *data, size_t len)
{
    if (snprintf(beside, CERTIFICATE_PATH_MAX, "%s.new", path) >= CERTIFICATE_PATH_MAX) {
        beside[0] = '\0';
        errno = ENAMETOOLONG;
        return false;
    }
    if (unlink(beside) != 0 && errno != ENOENT)
        return false;
    int fd = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
    if (fd < 0)
        return false;
    bool good = fchmod(fd, mode) == 0 && write_all(fd, data, len);
    int why = errno;
    close(fd);
    errno = why;
    return good;
}

static bool write_pair(const char *chain_path, const char *key_path, const struct self_signed *made)
{
    char chain_new[CERTIFICATE_PATH_MAX] = "", key_new[CERTIFICATE_PATH_MAX] = "";
    bool good = write_beside(key_new, key_path, 0600, made->key, made->key_len) &&
                write_beside(chain_new, chain_path, 0644, made->chain, made->chain_len) &&
                rename(key_new, key_path) == 0;
    if (good && rename(chain_new, chain_path) != 0) {
        int why = errno;
        unlink(key_path);
        errno = why;
        good = false;
    }
    if (!good) {
        int why = errno;
        unlink(key_new);
        unlink(chain_new);
        errno = why;
    }
    return good;
}

static bool hostname_sound(const char *hostname)
{
    size_t len = strlen(hostname);
    return len > 0 && len <= 253 && hostname[0] != '.' &&
           strspn(hostname, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._:") ==
               len;
}

bool certificate_self_signed(const char *chain_path, const char *key_path, const char *hostname,
                             bool *made, char error[CERTIFICATE_ERROR_MAX])
{
    const time_t now = time(NULL);
    struct self_signed pair;

    *made = false;
    if (pair_good(chain_path, key_path, hostname, now))
        return true;
    if (!hostname_sound(hostname)) {
        snprintf(error, CERTIFICATE_ERROR_MAX,
                 "hostname %.253s: no certificate can be made for it; set one of letters, digits, "
                 "hyphens and dots",
                 hostname);
        return false;
    }
    if (!self_signed_make(&pair, hostname, (int64_t)now)) {
        snprintf(error, CERTIFICATE_ERROR_MAX,
                 "certificate %s: cannot be made for %s: out of memory", chain_path, hostname);
        return false;
    }
    *made = write_pair(chain_path, key_path, &pair);
    if (!*made)
        snprintf(error, CERTIFICATE_ERROR_MAX,
                 "certificate %s: cannot be written with its key %s: %s; check the folder and who "
                 "may write there",
                 chain_path, key_path, strerror(errno));
    self_signed_free(&pair);
    return *made;
}
