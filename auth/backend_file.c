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
#include "auth/scram.h"
#include "auth/scram_desk.h"
#include "auth/scram_secret.h"
#include "auth/senders.h"
#include "auth/users.h"

_Static_assert(USERS_ERROR_MAX == BACKEND_ERROR_MAX, "the sentence is handed on in one buffer");

struct backend_file {
    struct backend base;
    pthread_mutex_t
        lock; /* over `users`: the loop puts a new one in its place while threads take it */
    struct users *users;
    struct file_state
        seen;            /* the loop's alone: what was looked at last, whether it loaded or not */
    uint64_t generation; /* of what is in force */
    char *path;
    struct backend_settings settings;
    struct scram_desk *desk; /* NULL: not started */
    uint8_t secret[SCRAM_SECRET_LEN];
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

static void file_free(struct backend_file *f)
{
    users_release(f->users);
    free(f->path);
    OPENSSL_cleanse(f, sizeof *f);
    free(f);
}

/* The same for the same state of the same file, in whichever backend. */
static uint64_t file_generation(const struct file_state *s)
{
    const uint64_t parts[] = {(uint64_t)s->device, (uint64_t)s->inode, (uint64_t)s->size,
                              (uint64_t)s->modified.tv_sec, (uint64_t)s->modified.tv_nsec};
    uint64_t sum = 0xcbf29ce484222325;

    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        sum = (sum ^ parts[i]) * 0x100000001b3;
    return sum;
}

/* Once for each state of the file. */
static void file_say_weak(const struct backend_file *f)
{
    char sentence[BACKEND_ERROR_MAX];

    if (f->settings.say == NULL || users_weak(f->users) == 0)
        return;
    snprintf(sentence, sizeof sentence,
             "%.256s: %zu of %zu logins have an old DES, MD5 or NT hash, which whoever gets the "
             "file breaks in hours: set new passwords with vestibule passwd",
             f->path, users_weak(f->users), users_count(f->users));
    f->settings.say("users", sentence);
}

static struct backend *file_open(const char *scheme, const char *argument,
                                 const struct backend_settings *settings,
                                 char error[BACKEND_ERROR_MAX])
{
    struct backend_file *f = calloc(1, sizeof *f);

    (void)scheme;
    if (f == NULL || (f->path = strdup(argument)) == NULL) {
        free(f);
        snprintf(error, BACKEND_ERROR_MAX, "out of memory");
        return NULL;
    }
    f->base.ops = &backend_file_ops;
    f->settings = *settings;
    f->seen = file_state_of(f->path);
    f->generation = file_generation(&f->seen);
    f->users = users_load(f->path, error);
    if (f->users == NULL || pthread_mutex_init(&f->lock, NULL) != 0) {
        file_free(f);
        return NULL;
    }
    file_say_weak(f);
    return &f->base;
}

/* Whom an exchange is about: on the loop, where no other thread changes `users`. Who has no
 * verifier gets a made-up one; who has one and is locked keeps it, so that being locked shows as
 * little. */
static bool file_find(void *owner, struct scram_verifier *verifier, char login[SASL_LOGIN_MAX + 1],
                      const char *name)
{
    const struct backend_file *f = owner;
    const bool ours = realm_apply(&f->settings.realm, login, name);
    struct scram_verifier kept;
    const char *text;

    if (!ours)
        snprintf(login, SASL_LOGIN_MAX + 1, "%s", name);
    *verifier = users_shape(f->users);
    scram_pretend(verifier, f->secret, login);
    text = ours ? users_verifier(f->users, login) : NULL;
    if (text == NULL || !scram_read(&kept, text + strspn(text, "!*")))
        return false;
    *verifier = kept;
    return !users_locked(f->users, login);
}

static bool file_start(struct backend *b, uv_loop_t *loop, char error[BACKEND_ERROR_MAX])
{
    struct backend_file *f = file_of(b);
    char trouble[SCRAM_SECRET_ERROR_MAX];

    f->desk = scram_desk_open(loop, file_find, f);
    if (f->desk == NULL) {
        snprintf(error, BACKEND_ERROR_MAX, "out of memory");
        return false;
    }
    if (!scram_secret_load(f->secret, f->settings.state_dir, trouble) && f->settings.say != NULL)
        f->settings.say("scram", trouble);
    return true;
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
    f->generation = file_generation(&now);
    file_say_weak(f);
    return true;
}

/* A client picks the strongest that is offered: one that has no verifier would be locked out by an
 * offer for the others. */
static bool file_all_verifiers(const struct users *u)
{
    return users_verifiers(u) > 0 && users_without_verifier(u) == 0;
}

static unsigned file_mechanisms(struct backend *b)
{
    const struct backend_file *f = file_of(b);
    const unsigned scram = f->desk != NULL && file_all_verifiers(f->users)
                               ? SASL_SCRAM_SHA_256 | SASL_SCRAM_SHA_256_PLUS
                               : 0;

    return SASL_PLAIN | SASL_LOGIN | scram;
}

static uint64_t file_generation_now(struct backend *b)
{
    return file_of(b)->generation;
}

static enum backend_verdict file_check_hash(const char *hash, const char *password)
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

static enum backend_verdict file_check(const char *kept, const char *password)
{
    struct scram_verifier v;
    enum backend_verdict verdict;

    if (kept[0] != '{')
        return file_check_hash(kept, password);
    verdict =
        scram_read(&v, kept) && scram_fits(&v, password) ? BACKEND_ACCEPTED : BACKEND_REJECTED;
    OPENSSL_cleanse(&v, sizeof v);
    return verdict;
}

static enum backend_verdict file_verify(struct backend *b, const struct sasl_credential *c)
{
    struct users *u = file_hold(file_of(b));
    const char *hash = users_hash(u, c->login);
    const char *kept = hash != NULL ? hash : users_verifier(u, c->login);
    const bool usable = !users_locked(u, c->login);
    enum backend_verdict verdict = file_check(usable ? kept : users_decoy(u), c->secret);

    if (!usable && verdict == BACKEND_ACCEPTED)
        verdict = BACKEND_REJECTED;
    users_release(u);
    return verdict;
}

static void file_ask(struct backend *b, struct backend_question *q)
{
    scram_desk_ask(file_of(b)->desk, q);
}

static void file_respond(struct backend *b, struct backend_question *q, const uint8_t *message,
                         size_t len)
{
    scram_desk_respond(file_of(b)->desk, q, message, len);
}

static void file_leave(struct backend *b, struct backend_question *q)
{
    scram_desk_leave(file_of(b)->desk, q);
}

static bool file_knows(struct backend *b, const char *login)
{
    return users_knows(file_of(b)->users, login);
}

static bool file_owns(struct backend *b, const char *login, const char *address)
{
    return senders_allows(NULL, file_of(b)->users, login, address);
}

static void file_describe_scram(char *out, size_t cap, const struct users *u)
{
    const size_t missing = users_without_verifier(u);

    if (file_all_verifiers(u))
        snprintf(out, cap, ", all with a SCRAM verifier");
    else if (missing > 0)
        snprintf(out, cap,
                 ", SCRAM is not offered as %zu of them ha%s no verifier (the first is %.64s)",
                 missing, missing == 1 ? "s" : "ve", users_first_without_verifier(u));
}

static void file_describe_users(char text[BACKEND_ERROR_MAX], const struct users *u,
                                const char *path, mode_t mode)
{
    char weak[96] = "";
    char exposed[96] = "";
    char scram[160] = "";

    if (users_weak(u) > 0)
        snprintf(weak, sizeof weak, ", %zu with an old DES, MD5 or NT hash: set new passwords",
                 users_weak(u));
    file_describe_scram(scram, sizeof scram, u);
    if (mode & S_IROTH)
        snprintf(exposed, sizeof exposed,
                 ", readable by every user of this machine (mode %04o): chmod o-r it",
                 (unsigned)mode & 07777);
    snprintf(text, BACKEND_ERROR_MAX, "%.128s: %zu user%s%s%s%s", path, users_count(u),
             users_count(u) == 1 ? "" : "s", weak, scram, exposed);
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

static void on_desk_closed(void *owner)
{
    struct backend_file *f = owner;

    pthread_mutex_destroy(&f->lock);
    file_free(f);
}

static void file_close(struct backend *b)
{
    struct backend_file *f = file_of(b);

    if (f->desk != NULL)
        scram_desk_close(f->desk, on_desk_closed);
    else
        on_desk_closed(f);
}

const struct backend_ops backend_file_ops = {
    .scheme = "file",
    .open = file_open,
    .start = file_start,
    .refresh = file_refresh,
    .mechanisms = file_mechanisms,
    .generation = file_generation_now,
    .verify = file_verify,
    .ask = file_ask,
    .respond = file_respond,
    .leave = file_leave,
    .owns = file_owns,
    .knows = file_knows,
    .describe = file_describe,
    .close = file_close,
};
