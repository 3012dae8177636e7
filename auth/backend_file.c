#include <crypt.h>
#include <errno.h>
#include <openssl/mem.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "auth/backend.h"
#include "auth/file_state.h"
#include "auth/hash_kind.h"
#include "auth/senders.h"
#include "auth/users.h"

_Static_assert(USERS_ERROR_MAX == BACKEND_ERROR_MAX, "the sentence is handed on in one buffer");

struct backend_file {
    struct backend base;
    pthread_mutex_t
        lock; /* over `users`: the loop puts a new one in its place while threads take it */
    struct users *users;
    struct file_state
        seen; /* the loop's alone: what was looked at last, whether it loaded or not */
    char *path;
};

static struct backend_file *file_of(struct backend *b)
{
    return (struct backend_file *)b;
}

static struct users *file_hold(struct backend_file *f)
{
    struct users *u;

    pthread_mutex_lock(&f->lock);
    u = users_hold(f->users);
    pthread_mutex_unlock(&f->lock);
    return u;
}

static void file_swap(struct backend_file *f, struct users *fresh)
{
    struct users *old;

    pthread_mutex_lock(&f->lock);
    old = f->users;
    f->users = fresh;
    pthread_mutex_unlock(&f->lock);
    users_release(old);
}

static struct backend *file_open(const char *scheme, const char *argument,
                                 const struct backend_settings *settings,
                                 char error[BACKEND_ERROR_MAX])
{
    (void)scheme, (void)settings;
    struct backend_file *f = calloc(1, sizeof *f);

    if (f == NULL || (f->path = strdup(argument)) == NULL) {
        free(f);
        snprintf(error, BACKEND_ERROR_MAX, "out of memory");
        return NULL;
    }
    f->base.ops = &backend_file_ops;
    f->seen = file_state_of(f->path);
    f->users = users_load(f->path, error);
    if (f->users == NULL || pthread_mutex_init(&f->lock, NULL) != 0) {
        users_release(f->users);
        free(f->path);
        free(f);
        return NULL;
    }
    return &f->base;
}

static bool file_refresh(struct backend *b, char error[BACKEND_ERROR_MAX])
{
    struct backend_file *f = file_of(b);
    const struct file_state now = file_state_of(f->path);
    struct users *fresh;

    if (file_state_same(&now, &f->seen))
        return true;
    f->seen = now;
    fresh = users_load(f->path, error);
    if (fresh == NULL)
        return false;
    file_swap(f, fresh);
    return true;
}

static unsigned file_mechanisms(struct backend *b)
{
    (void)b;
    return SASL_PLAIN | SASL_LOGIN;
}

static enum backend_verdict file_check(const char *hash, const char *password)
{
    struct crypt_data *data = calloc(1, sizeof *data);
    enum backend_verdict verdict = BACKEND_REJECTED;
    const char *result;

    if (data == NULL)
        return BACKEND_UNAVAILABLE;
    errno = 0;
    result = crypt_rn(password, hash, data, sizeof *data);
    if (result == NULL)
        verdict = errno == ENOMEM ? BACKEND_UNAVAILABLE : BACKEND_REJECTED;
    else if (strlen(result) == strlen(hash) && CRYPTO_memcmp(result, hash, strlen(hash)) == 0)
        verdict = BACKEND_ACCEPTED;
    OPENSSL_cleanse(data, sizeof *data);
    free(data);
    return verdict;
}

static enum backend_verdict file_verify(struct backend *b, const struct sasl_credential *c)
{
    struct users *u = file_hold(file_of(b));
    const char *hash = users_hash(u, c->login);
    const bool usable = hash != NULL && !hash_locked(hash);
    enum backend_verdict verdict = file_check(usable ? hash : users_decoy(u), c->secret);

    if (!usable && verdict == BACKEND_ACCEPTED)
        verdict = BACKEND_REJECTED;
    users_release(u);
    return verdict;
}

static bool file_owns(struct backend *b, const char *login, const char *address)
{
    return senders_allows(NULL, file_of(b)->users, login, address);
}

static void file_describe_users(char text[BACKEND_ERROR_MAX], const struct users *u,
                                const char *path, mode_t mode)
{
    char weak[96] = "";
    char exposed[128] = "";

    if (users_weak(u) > 0)
        snprintf(weak, sizeof weak, ", %zu with an old DES, MD5 or NT hash: set new passwords",
                 users_weak(u));
    if (mode & S_IROTH)
        snprintf(exposed, sizeof exposed,
                 ", readable by every user of this machine (mode %04o): chmod o-r it",
                 (unsigned)mode & 07777);
    snprintf(text, BACKEND_ERROR_MAX, "%.256s: %zu user%s%s%s", path, users_count(u),
             users_count(u) == 1 ? "" : "s", weak, exposed);
}

static bool file_describe(struct backend *b, char text[BACKEND_ERROR_MAX])
{
    struct backend_file *f = file_of(b);
    struct users *u = users_load(f->path, text);
    struct stat st = {.st_mode = 0};
    bool somebody;

    if (u == NULL)
        return false;
    somebody = users_count(u) > 0;
    if (somebody && stat(f->path, &st) == 0)
        file_describe_users(text, u, f->path, st.st_mode);
    else
        snprintf(text, BACKEND_ERROR_MAX,
                 "the users file %.256s holds no user, so nobody can log in; add one with: "
                 "vestibule passwd USER",
                 f->path);
    users_release(u);
    return somebody;
}

static void file_close(struct backend *b)
{
    struct backend_file *f = file_of(b);

    users_release(f->users);
    pthread_mutex_destroy(&f->lock);
    free(f->path);
    free(f);
}

const struct backend_ops backend_file_ops = {
    .scheme = "file",
    .open = file_open,
    .refresh = file_refresh,
    .mechanisms = file_mechanisms,
    .verify = file_verify,
    .owns = file_owns,
    .describe = file_describe,
    .close = file_close,
};
