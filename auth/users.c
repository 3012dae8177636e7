#include "auth/users.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/hash_kind.h"
#include "auth/sasl.h"
#include "auth/sender_list.h"
#include "auth/utf8.h"

/* yescrypt at the cost that `vestibule passwd` writes; the last character has bits set that no hash
 * has. */
#define USERS_DECOY "$y$j9T$kPWCgNKbVmAaOkAmtRcQk/$Cz1Jd9hDCSAyp8Q7OyBBjnNWzcLxgk4cUHJLbTZyhOz"

struct users_entry {
    const char *login;
    const char *hash;
    const char *addresses;
    uint32_t line;
};

struct users {
    atomic_uint holds;
    size_t count;
    size_t weak;
    struct users_entry *entries; /* by login */
    char *text;                  /* the file's text; the strings point into it */
    size_t text_len;
    char decoy[HASH_MAX + 1];
};

/* Where a parser stands, and where its complaint goes. */
struct users_reader {
    struct users *users;
    size_t capacity;
    const char *name;
    uint32_t line;
    char *error;
};

static bool users_complain(const struct users_reader *r, const char *login, const char *what)
{
    if (login != NULL)
        snprintf(r->error, USERS_ERROR_MAX, "%s:%u: the line of \"%.255s\": %s", r->name, r->line,
                 login, what);
    else
        snprintf(r->error, USERS_ERROR_MAX, "%s:%u: %s", r->name, r->line, what);
    return false;
}

const char *users_login_fault(const char *login)
{
    const size_t len = strlen(login);

    if (len == 0)
        return "the login is empty";
    if (len > SASL_LOGIN_MAX)
        return "the login is longer than 255 octets";
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)login[i] < 0x20 || login[i] == 0x7f)
            return "the login holds control characters";
    }
    if (!utf8_ok(login, len))
        return "the login is not UTF-8";
    if (strchr(login, ':') != NULL)
        return "the login holds a colon, which ends it in the users file";
    if (login[0] == '#')
        return "the login begins with #, which starts a comment in the users file";
    if (login[0] == ' ' || login[len - 1] == ' ')
        return "the login has a blank at its start or end";
    return NULL;
}

const char *users_password_fault(const char *password)
{
    const size_t len = strlen(password);

    if (len == 0)
        return "the password is empty";
    if (len > USERS_PASSWORD_MAX)
        return "the password is longer than 511 octets";
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)password[i] < 0x20 || password[i] == 0x7f)
            return "the password holds control characters";
    }
    return utf8_ok(password, len) ? NULL : "the password is not UTF-8";
}

static bool users_append(struct users_reader *r, const char *login, const char *hash,
                         const char *addresses)
{
    struct users *u = r->users;

    if (u->count == r->capacity) {
        const size_t capacity = r->capacity > 0 ? r->capacity * 2 : 64;
        struct users_entry *grown = reallocarray(u->entries, capacity, sizeof *grown);
        if (grown == NULL)
            return users_complain(r, NULL, "out of memory");
        u->entries = grown;
        r->capacity = capacity;
    }
    u->entries[u->count++] =
        (struct users_entry){.login = login, .hash = hash, .addresses = addresses, .line = r->line};
    return true;
}

static bool users_take_hash(const struct users_reader *r, const char *login, const char *hash)
{
    const char *fault;

    if (hash[0] == '{')
        return users_complain(r, login,
                              "verifiers in braces are not supported yet; set a password with "
                              "`vestibule passwd`");
    if (hash_locked(hash))
        return true;
    fault = hash_fault(hash);
    if (fault != NULL) {
        char what[128];
        snprintf(what, sizeof what, "the hash %s; set a password with `vestibule passwd`", fault);
        return users_complain(r, login, what);
    }
    return true;
}

static bool users_take_addresses(const struct users_reader *r, const char *login,
                                 const char *addresses)
{
    const char *fault = sender_list_fault(addresses);

    return fault == NULL || users_complain(r, login, fault);
}

/* `rest` is all behind the login's colon; what follows the hash is cut off it. */
static bool users_take_fields(struct users_reader *r, const char *login, char *rest)
{
    char *end = rest + strcspn(rest, ":");
    const char *addresses = *end != '\0' ? end + 1 : end;

    *end = '\0';
    return users_take_hash(r, login, rest) && users_take_addresses(r, login, addresses) &&
           users_append(r, login, rest, addresses);
}

/* `line` is NUL-ended in place of its newline. */
static bool users_take_line(struct users_reader *r, char *line, size_t len)
{
    char *colon;
    const char *fault;

    if (len == 0 || line[0] == '#')
        return true;
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            return users_complain(r, NULL,
                                  line[i] == '\r'
                                      ? "a carriage return; save the file with Unix line ends"
                                      : "a control character");
    }
    colon = strchr(line, ':');
    if (colon == NULL)
        return users_complain(r, NULL, "no colon; a line is login:hash");
    *colon = '\0';
    fault = users_login_fault(line);
    if (fault != NULL)
        return users_complain(r, NULL, fault);
    return users_take_fields(r, line, colon + 1);
}

static bool users_take_lines(struct users_reader *r)
{
    char *at = r->users->text;
    char *const end = at + r->users->text_len;

    while (at < end) {
        char *newline = memchr(at, '\n', (size_t)(end - at));
        char *stop = newline != NULL ? newline : end;
        r->line++;
        *stop = '\0';
        if (!users_take_line(r, at, (size_t)(stop - at)))
            return false;
        at = stop + 1;
    }
    return true;
}

static int users_compare(const void *a, const void *b)
{
    const struct users_entry *x = a;
    const struct users_entry *y = b;
    const int order = strcmp(x->login, y->login);

    return order != 0 ? order : (x->line > y->line) - (x->line < y->line);
}

static bool users_sort(struct users_reader *r)
{
    struct users *u = r->users;

    if (u->count > 0)
        qsort(u->entries, u->count, sizeof *u->entries, users_compare);
    for (size_t i = 1; i < u->count; i++) {
        if (strcmp(u->entries[i - 1].login, u->entries[i].login) == 0) {
            char what[96];
            snprintf(what, sizeof what, "the login stands on line %u already; take one of them out",
                     u->entries[i - 1].line);
            r->line = u->entries[i].line;
            return users_complain(r, u->entries[i].login, what);
        }
    }
    return true;
}

/* A file holds a handful of kinds; where it holds more, the most common one is among the first. */
enum { USERS_KINDS = 16 };

struct users_kind {
    const char *hash;
    size_t count;
};

static void users_count_kind(struct users_kind kinds[USERS_KINDS], const char *hash)
{
    const size_t len = hash_cost_len(hash);

    for (size_t i = 0; i < USERS_KINDS; i++) {
        if (kinds[i].hash == NULL)
            kinds[i].hash = hash;
        if (hash_cost_len(kinds[i].hash) == len && memcmp(kinds[i].hash, hash, len) == 0) {
            kinds[i].count++;
            return;
        }
    }
}

/* A real hash with its last character changed: it takes as long as the real one, and the password
 * that fits the real one does not fit it. */
static void users_make_decoy(struct users *u)
{
    struct users_kind kinds[USERS_KINDS] = {{0}};
    const struct users_kind *common = kinds;
    size_t len;

    for (size_t i = 0; i < u->count; i++) {
        if (hash_locked(u->entries[i].hash))
            continue;
        users_count_kind(kinds, u->entries[i].hash);
        u->weak += hash_weak(u->entries[i].hash) ? 1 : 0;
    }
    for (size_t i = 1; i < USERS_KINDS; i++) {
        if (kinds[i].count > common->count)
            common = &kinds[i];
    }
    snprintf(u->decoy, sizeof u->decoy, "%s", common->hash != NULL ? common->hash : USERS_DECOY);
    len = strlen(u->decoy);
    if (common->hash != NULL)
        u->decoy[len - 1] = u->decoy[len - 1] == '.' ? '/' : '.';
}

static void users_free(struct users *u)
{
    if (u->text != NULL)
        explicit_bzero(u->text, u->text_len);
    free(u->text);
    free(u->entries);
    free(u);
}

struct users *users_parse(const char *text, size_t len, const char *name,
                          char error[USERS_ERROR_MAX])
{
    struct users_reader r = {.name = name, .error = error};

    r.users = calloc(1, sizeof *r.users);
    if (r.users != NULL)
        r.users->text = malloc(len + 1);
    if (r.users == NULL || r.users->text == NULL) {
        free(r.users);
        users_complain(&r, NULL, "out of memory");
        return NULL;
    }
    atomic_init(&r.users->holds, 1);
    if (len > 0)
        memcpy(r.users->text, text, len);
    r.users->text[len] = '\0';
    r.users->text_len = len;
    if (!users_take_lines(&r) || !users_sort(&r)) {
        users_free(r.users);
        return NULL;
    }
    users_make_decoy(r.users);
    return r.users;
}

struct users *users_hold(struct users *u)
{
    atomic_fetch_add_explicit(&u->holds, 1, memory_order_relaxed);
    return u;
}

void users_release(struct users *u)
{
    if (u != NULL && atomic_fetch_sub_explicit(&u->holds, 1, memory_order_acq_rel) == 1)
        users_free(u);
}

size_t users_count(const struct users *u)
{
    return u->count;
}

static const struct users_entry *users_find(const struct users *u, const char *login)
{
    size_t low = 0;
    size_t high = u->count;

    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const int order = strcmp(login, u->entries[middle].login);
        if (order == 0)
            return &u->entries[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

const char *users_hash(const struct users *u, const char *login)
{
    const struct users_entry *e = users_find(u, login);

    return e != NULL ? e->hash : NULL;
}

const char *users_addresses(const struct users *u, const char *login)
{
    const struct users_entry *e = users_find(u, login);

    return e != NULL ? e->addresses : NULL;
}

const char *users_decoy(const struct users *u)
{
    return u->decoy;
}

size_t users_weak(const struct users *u)
{
    return u->weak;
}
