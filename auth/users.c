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

struct users_field {
    const char *text; /* NULL: there is no such line */
    uint32_t line;
};

/* One line, and when all are there one login. */
struct users_entry {
    const char *login;
    struct users_field hash;
    struct users_field verifier;
    const char *addresses;
    char *joined; /* those of two lines, to be freed */
};

struct users {
    atomic_uint holds;
    size_t count;
    size_t weak;
    size_t verifiers;
    size_t without_verifier;
    const struct users_entry *first_without_verifier;
    struct users_entry *entries; /* by login */
    char *text;                  /* the file's text; the strings point into it */
    size_t text_len;
    char decoy[HASH_MAX + 1];
    struct scram_verifier shape;
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

static bool users_password_prepares(const char *password)
{
    char prepared[SCRAM_PASSWORD_MAX + 1];
    const bool ok = scram_prepare(prepared, sizeof prepared, password, true);

    explicit_bzero(prepared, sizeof prepared);
    return ok;
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
    if (!utf8_ok(password, len))
        return "the password is not UTF-8";
    if (!users_password_prepares(password))
        return "the password holds characters that mail clients cannot send alike (RFC 4013, "
               "SASLprep)";
    return NULL;
}

static bool users_append(struct users_reader *r, const struct users_entry *entry)
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
    u->entries[u->count++] = *entry;
    return true;
}

/* What a lock stands in front of tells as well. */
static bool users_is_verifier(const char *hash)
{
    return hash[strspn(hash, "!*")] == '{';
}

static bool users_take_hash(const struct users_reader *r, const char *login, const char *hash)
{
    const bool verifier = users_is_verifier(hash);
    const char *fault = NULL;
    char what[160];

    if (hash_locked(hash))
        return true;
    if (verifier && strncmp(hash, SCRAM_SCHEME, strlen(SCRAM_SCHEME)) != 0)
        return users_complain(r, login,
                              "of what can stand in braces only " SCRAM_SCHEME
                              " is known here; set a password with `vestibule passwd`");
    fault = verifier ? scram_fault(hash) : hash_fault(hash);
    if (fault == NULL)
        return true;
    snprintf(what, sizeof what, "the %s %s; set a password with `vestibule passwd`",
             verifier ? "verifier" : "hash", fault);
    return users_complain(r, login, what);
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
    const struct users_field field = {.text = rest, .line = r->line};
    struct users_entry e = {.login = login, .addresses = *end != '\0' ? end + 1 : end};

    *end = '\0';
    *(users_is_verifier(rest) ? &e.verifier : &e.hash) = field;
    return users_take_hash(r, login, rest) && users_take_addresses(r, login, e.addresses) &&
           users_append(r, &e);
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

/* Of one that was not merged yet. */
static uint32_t users_line(const struct users_entry *e)
{
    return e->hash.text != NULL ? e->hash.line : e->verifier.line;
}

static int users_compare(const void *a, const void *b)
{
    const struct users_entry *x = a;
    const struct users_entry *y = b;
    const int order = strcmp(x->login, y->login);

    return order != 0 ? order : (users_line(x) > users_line(y)) - (users_line(x) < users_line(y));
}

static bool users_merge_field(struct users_reader *r, struct users_entry *into,
                              struct users_field *field, const struct users_field *more)
{
    char what[96];

    if (more->text == NULL)
        return true;
    if (field->text == NULL) {
        *field = *more;
        return true;
    }
    snprintf(what, sizeof what, "the login stands on line %u already; take one of them out",
             field->line);
    r->line = more->line;
    return users_complain(r, into->login, what);
}

static bool users_merge(struct users_reader *r, struct users_entry *into,
                        const struct users_entry *more)
{
    if (!users_merge_field(r, into, &into->hash, &more->hash) ||
        !users_merge_field(r, into, &into->verifier, &more->verifier))
        return false;
    if (into->addresses[0] == '\0')
        into->addresses = more->addresses;
    else if (more->addresses[0] != '\0') {
        if (asprintf(&into->joined, "%s,%s", into->addresses, more->addresses) < 0) {
            into->joined = NULL;
            return users_complain(r, NULL, "out of memory");
        }
        into->addresses = into->joined;
    }
    return true;
}

/* By login, one entry for each. */
static bool users_sort(struct users_reader *r)
{
    struct users *u = r->users;
    size_t kept = 0;

    if (u->count > 0)
        qsort(u->entries, u->count, sizeof *u->entries, users_compare);
    for (size_t i = 0; i < u->count; i++) {
        if (kept > 0 && strcmp(u->entries[kept - 1].login, u->entries[i].login) == 0) {
            if (!users_merge(r, &u->entries[kept - 1], &u->entries[i])) {
                u->count = kept;
                return false;
            }
        } else {
            u->entries[kept++] = u->entries[i];
        }
    }
    u->count = kept;
    return true;
}

/* A file holds a handful of kinds; where it holds more, the most common one is among the first. */
enum { USERS_KINDS = 16 };

struct users_kind {
    const char *hash;
    size_t count;
};

/* Verifiers whose texts are as long have salts as long. */
static bool users_same_cost(const char *a, const char *b)
{
    const bool verifier = a[0] == '{';
    const size_t len = verifier ? strcspn(a, ",") + 1 : hash_cost_len(a);

    if (verifier != (b[0] == '{'))
        return false;
    return (verifier ? strlen(b) == strlen(a) : hash_cost_len(b) == len) && memcmp(a, b, len) == 0;
}

static void users_count_kind(struct users_kind kinds[USERS_KINDS], const char *hash)
{
    for (size_t i = 0; i < USERS_KINDS; i++) {
        if (kinds[i].hash == NULL)
            kinds[i].hash = hash;
        if (users_same_cost(kinds[i].hash, hash)) {
            kinds[i].count++;
            return;
        }
    }
}

/* NULL: there are none. */
static const char *users_common_kind(const struct users_kind kinds[USERS_KINDS])
{
    const struct users_kind *common = kinds;

    for (size_t i = 1; i < USERS_KINDS; i++) {
        if (kinds[i].count > common->count)
            common = &kinds[i];
    }
    return common->hash;
}

/* A real hash with its last character changed, a real verifier with another key: it takes as long
 * as the real one, and the password that fits the real one does not fit it. */
static void users_make_decoy(struct users *u, const char *common)
{
    struct scram_verifier v;

    if (common != NULL && common[0] == '{' && scram_read(&v, common)) {
        v.stored_key[0] ^= 1;
        scram_write(u->decoy, &v);
        return;
    }
    snprintf(u->decoy, sizeof u->decoy, "%s", common != NULL ? common : USERS_DECOY);
    if (common != NULL) {
        char *last = u->decoy + strlen(u->decoy) - 1;
        *last = *last == '.' ? '/' : '.';
    }
}

static bool users_entry_locked(const struct users_entry *e)
{
    return (e->hash.text != NULL && hash_locked(e->hash.text)) ||
           (e->verifier.text != NULL && hash_locked(e->verifier.text));
}

static void users_count_verifier(struct users *u, const struct users_entry *e)
{
    const struct users_entry *first = u->first_without_verifier;

    if (e->verifier.text != NULL) {
        u->verifiers++;
        return;
    }
    u->without_verifier++;
    if (first == NULL || e->hash.line < first->hash.line)
        u->first_without_verifier = e;
}

static void users_make_shape(struct users *u, const struct users_kind shapes[USERS_KINDS])
{
    const char *common = users_common_kind(shapes);

    u->shape = (struct scram_verifier){.iterations = USERS_ITERATIONS, .salt_len = USERS_SALT_LEN};
    if (common != NULL)
        scram_read(&u->shape, common);
    memset(u->shape.salt, 0, sizeof u->shape.salt);
    memset(u->shape.stored_key, 0, sizeof u->shape.stored_key);
    memset(u->shape.server_key, 0, sizeof u->shape.server_key);
}

static void users_look_over(struct users *u)
{
    struct users_kind kinds[USERS_KINDS] = {{0}};
    struct users_kind shapes[USERS_KINDS] = {{0}};

    for (size_t i = 0; i < u->count; i++) {
        const struct users_entry *e = &u->entries[i];
        if (users_entry_locked(e))
            continue;
        users_count_kind(kinds, e->hash.text != NULL ? e->hash.text : e->verifier.text);
        if (e->verifier.text != NULL)
            users_count_kind(shapes, e->verifier.text);
        users_count_verifier(u, e);
        u->weak += e->hash.text != NULL && hash_weak(e->hash.text) ? 1 : 0;
    }
    users_make_decoy(u, users_common_kind(kinds));
    users_make_shape(u, shapes);
}

static void users_free(struct users *u)
{
    for (size_t i = 0; i < u->count; i++)
        free(u->entries[i].joined);
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
    users_look_over(r.users);
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

bool users_knows(const struct users *u, const char *login)
{
    return users_find(u, login) != NULL;
}

const char *users_hash(const struct users *u, const char *login)
{
    const struct users_entry *e = users_find(u, login);

    return e != NULL ? e->hash.text : NULL;
}

const char *users_verifier(const struct users *u, const char *login)
{
    const struct users_entry *e = users_find(u, login);

    return e != NULL ? e->verifier.text : NULL;
}

bool users_locked(const struct users *u, const char *login)
{
    const struct users_entry *e = users_find(u, login);

    return e == NULL || users_entry_locked(e);
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

struct scram_verifier users_shape(const struct users *u)
{
    return u->shape;
}

size_t users_weak(const struct users *u)
{
    return u->weak;
}

size_t users_verifiers(const struct users *u)
{
    return u->verifiers;
}

size_t users_without_verifier(const struct users *u)
{
    return u->without_verifier;
}

const char *users_first_without_verifier(const struct users *u)
{
    return u->first_without_verifier != NULL ? u->first_without_verifier->login : NULL;
}
