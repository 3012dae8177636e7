#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "auth/hash_kind.h"
#include "auth/sender_list.h"
#include "auth/users.h"

static void require(int holds)
{
    if (!holds)
        abort();
}

static void check_field(const struct users *u, const char *login, const char *field)
{
    const bool verifier = field[strspn(field, "!*")] == '{';
    const char *kept = verifier ? users_verifier(u, login) : users_hash(u, login);

    require(kept != NULL && strcmp(kept, field) == 0);
    if (hash_locked(field))
        require(users_locked(u, login));
    else
        require((verifier ? scram_fault(field) : hash_fault(field)) == NULL);
}

/* The addresses are in the login's list, which has no more than what both lines say. */
static void check_addresses(const struct users *u, const char *login, const char *addresses)
{
    const char *all = users_addresses(u, login);

    require(all != NULL && sender_list_fault(all) == NULL && sender_list_fault(addresses) == NULL);
    require(strstr(all, addresses) != NULL);
}

/* Every line of a file that was taken is a comment, empty, or one of a user who is found with it as
 * it stands. */
static size_t check_lines(const struct users *u, char *text, size_t len)
{
    size_t lines = 0;
    char *const end = text + len;

    for (char *at = text; at < end;) {
        char *newline = memchr(at, '\n', (size_t)(end - at));
        char *colon;
        if (newline == NULL)
            newline = end;
        *newline = '\0';
        if (at[0] != '\0' && at[0] != '#') {
            colon = strchr(at, ':');
            require(colon != NULL && strlen(at) == (size_t)(newline - at));
            char *second = strchr(colon + 1, ':');
            *colon = '\0';
            if (second != NULL)
                *second = '\0';
            require(users_login_fault(at) == NULL && users_knows(u, at));
            check_field(u, at, colon + 1);
            check_addresses(u, at, second != NULL ? second + 1 : "");
            /* one that has both is counted once */
            lines += users_hash(u, at) != NULL && users_verifier(u, at) != NULL ? 1 : 2;
        }
        at = newline + 1;
    }
    return lines / 2;
}

static void check_counts(const struct users *u)
{
    const struct scram_verifier shape = users_shape(u);
    const char *decoy = users_decoy(u);

    require(users_weak(u) <= users_count(u));
    require(users_verifiers(u) + users_without_verifier(u) <= users_count(u));
    require((users_without_verifier(u) == 0) == (users_first_without_verifier(u) == NULL));
    require(!hash_locked(decoy) && (decoy[0] == '{' ? scram_fault : hash_fault)(decoy) == NULL);
    require(decoy[0] == '{' || hash_cost_len(decoy) < strlen(decoy));
    require(shape.iterations >= SCRAM_ITERATIONS_MIN && shape.salt_len >= SCRAM_SALT_MIN);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char error[USERS_ERROR_MAX] = "";
    struct users *u = users_parse((const char *)data, size, "users", error);
    char *copy;

    require((u == NULL) == (error[0] != '\0'));
    require(strpbrk(error, "\r\n\x1b") == NULL);
    if (u == NULL)
        return 0;
    copy = malloc(size + 1);
    if (size > 0)
        memcpy(copy, data, size);
    copy[size] = '\0';
    require(check_lines(u, copy, size) == users_count(u));
    check_counts(u);
    free(copy);
    users_release(u);
    return 0;
}
