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

/* Every line of a file that was taken is a comment, empty, or a user who is found with the hash as
 * it stands. */
static size_t check_lines(const struct users *u, char *text, size_t len)
{
    size_t users = 0;
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
            require(users_login_fault(at) == NULL);
            require(users_addresses(u, at) != NULL);
            require(strcmp(users_addresses(u, at), second != NULL ? second + 1 : "") == 0);
            require(sender_list_fault(users_addresses(u, at)) == NULL);
            require(users_hash(u, at) != NULL && strcmp(users_hash(u, at), colon + 1) == 0);
            require(hash_locked(colon + 1) || hash_fault(colon + 1) == NULL);
            users++;
        }
        at = newline + 1;
    }
    return users;
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
    require(users_weak(u) <= users_count(u));
    require(!hash_locked(users_decoy(u)) && hash_fault(users_decoy(u)) == NULL);
    require(hash_cost_len(users_decoy(u)) < strlen(users_decoy(u)));
    free(copy);
    users_release(u);
    return 0;
}
