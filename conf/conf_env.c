#include "conf/conf_env.h"

#include <stdio.h>
#include <string.h>

#include "conf/conf_strings.h"

#define PREFIX "VESTIBULE_"
#define VARIABLE_MAX 128

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* VESTIBULE_SERVER_HOSTNAME -> server_hostname. False: it is not written in capitals, or too long.
 */
static bool lower_rest(char out[VARIABLE_MAX], const char *variable)
{
    size_t len = strlen(variable) - strlen(PREFIX);
    if (len >= VARIABLE_MAX)
        return false;
    for (size_t i = 0; i <= len; i++) {
        out[i] = lower(variable[strlen(PREFIX) + i]);
        if (out[i] != '\0' && out[i] == variable[strlen(PREFIX) + i] && out[i] != '_' &&
            (out[i] < '0' || out[i] > '9'))
            return false;
    }
    return true;
}

static bool section_of(enum conf_section_id *section, const char **rest, const char *text)
{
    for (int i = 0; i < CONF_SECTIONS; i++) {
        size_t len = strlen(conf_section[i].name);
        if (strncmp(text, conf_section[i].name, len) == 0 && text[len] == '_') {
            *section = (enum conf_section_id)i;
            *rest = text + len + 1;
            return true;
        }
    }
    return false;
}

/* The longest key at the end wins: in listener_a_require_tls it is require_tls, not tls. `name_len`
 * is what stands before it; 0: nothing does. */
static const struct conf_key *key_of(size_t *name_len, enum conf_section_id section,
                                     const char *rest)
{
    const struct conf_key *best = NULL;
    size_t len = strlen(rest), best_len = 0;
    for (size_t i = 0; i < conf_key_count; i++) {
        size_t key_len = strlen(conf_key[i].name);
        if (conf_key[i].section != section || key_len > len || key_len <= best_len ||
            strcmp(rest + len - key_len, conf_key[i].name) != 0)
            continue;
        bool whole = key_len == len;
        bool named =
            conf_section[section].named && len > key_len + 1 && rest[len - key_len - 1] == '_';
        if (!whole && !named)
            continue;
        best = &conf_key[i];
        best_len = key_len;
        *name_len = whole ? 0 : len - key_len - 1;
    }
    return best;
}

/* Kubernetes and old Docker links put such variables into every container beside a service called
 * vestibule: the usual advice would not help. */
static bool from_service_link(const char *rest)
{
    return strncmp(rest, "service_", 8) == 0 || strncmp(rest, "port_", 5) == 0 ||
           strcmp(rest, "port") == 0;
}

struct nearest {
    char text[VARIABLE_MAX];
    size_t distance;
};

static void offer(struct nearest *n, const char *candidate, const char *rest)
{
    size_t distance = conf_table_distance(candidate, rest);
    if (distance >= n->distance || !conf_table_is_near(candidate, distance))
        return;
    n->distance = distance;
    snprintf(n->text, sizeof n->text, "%s", candidate);
}

/* Every variable that the table allows; for named sections with the name that was meant, if there
 * is one: the first word behind the section. */
static void find_nearest(struct nearest *n, const char *rest)
{
    const char *name = strchr(rest, '_');
    int name_len = name != NULL ? (int)strcspn(name + 1, "_") : 0;
    for (size_t i = 0; i < conf_key_count; i++) {
        const struct conf_section *s = &conf_section[conf_key[i].section];
        char candidate[VARIABLE_MAX];
        if (!s->named || s->unnamed != NULL) {
            snprintf(candidate, sizeof candidate, "%s_%s", s->name, conf_key[i].name);
            offer(n, candidate, rest);
        }
        if (s->named && name_len > 0) {
            snprintf(candidate, sizeof candidate, "%s_%.*s_%s", s->name, name_len, name + 1,
                     conf_key[i].name);
            offer(n, candidate, rest);
        }
    }
}

static void raise_case(char *text)
{
    for (; *text != '\0'; text++) {
        if (*text >= 'a' && *text <= 'z')
            *text = (char)(*text - 'a' + 'A');
    }
}

static void unknown(struct conf_build *b, const struct conf_place *at, const char *rest)
{
    struct nearest n = {.distance = SIZE_MAX};
    if (from_service_link(rest)) {
        conf_error(b->errors, at, NULL,
                   "looks like a service link of the container platform; switch those off "
                   "(Kubernetes: enableServiceLinks: false)");
        return;
    }
    find_nearest(&n, rest);
    raise_case(n.text);
    if (n.distance != SIZE_MAX)
        conf_error(b->errors, at, NULL, "is not a known variable; did you mean " PREFIX "%s?",
                   n.text);
    else
        conf_error(b->errors, at, NULL,
                   "is not a known variable; it must be " PREFIX "<SECTION>_<KEY>");
}

static void apply(struct conf_build *b, const struct conf_place *at, const char *value)
{
    char lowered[VARIABLE_MAX], name[VARIABLE_MAX] = "";
    const char *rest;
    enum conf_section_id section;
    size_t name_len, instance;
    if (!lower_rest(lowered, at->variable)) {
        conf_error(b->errors, at, NULL,
                   "is not a known variable; use capitals, digits and _ as in " PREFIX "LOG_LEVEL");
        return;
    }
    const struct conf_key *key =
        section_of(&section, &rest, lowered) ? key_of(&name_len, section, rest) : NULL;
    if (key == NULL) {
        unknown(b, at, lowered);
        return;
    }
    memcpy(name, rest, name_len);
    if (name_len == 0 && conf_section[section].unnamed != NULL)
        snprintf(name, sizeof name, "%s", conf_section[section].unnamed);
    if (conf_section[section].named && name[0] == '\0')
        conf_error(b->errors, at, NULL,
                   "does not say which %s; write " PREFIX "LISTENER_<NAME>_<KEY>",
                   conf_section[section].name);
    else if (conf_build_instance(b, &instance, at, section, name))
        conf_build_set(b, at, key, instance, value);
}

void conf_env_read(struct conf_build *b, char *const *environment)
{
    for (; environment != NULL && *environment != NULL; environment++) {
        const char *equals = strchr(*environment, '=');
        if (strncmp(*environment, PREFIX, strlen(PREFIX)) != 0 || equals == NULL)
            continue;
        size_t len = (size_t)(equals - *environment);
        struct conf_place at = {.variable = conf_strings_add(b->conf, *environment, len)};
        if (at.variable == NULL) {
            at.variable = "environment";
            conf_error(b->errors, &at, NULL, "out of memory");
            return;
        }
        apply(b, &at, equals + 1);
    }
}
