#include "conf/conf_build.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "conf/conf_strings.h"
#include "conf/conf_type.h"

size_t conf_build_count(const struct conf_build *b, enum conf_section_id section)
{
    if (section == CONF_SECTION_LISTENER)
        return b->conf->listener_count;
    if (section == CONF_SECTION_UPSTREAM)
        return b->conf->upstream_count;
    return 1;
}

const char *conf_build_name(const struct conf_build *b, enum conf_section_id section,
                            size_t instance)
{
    if (section == CONF_SECTION_LISTENER)
        return b->conf->listener[instance].name;
    if (section == CONF_SECTION_UPSTREAM)
        return b->conf->upstream[instance].name;
    return NULL;
}

static char fold(char c)
{
    return c == '-' ? '_' : c;
}

bool conf_build_same_name(const char *a, const char *b)
{
    while (*a != '\0' && fold(*a) == fold(*b)) {
        a++;
        b++;
    }
    return fold(*a) == fold(*b);
}

static bool name_ok(const char *name)
{
    size_t len = strlen(name);
    return len > 0 && len <= CONF_NAME_MAX &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-_") == len &&
           isalnum((unsigned char)name[0]);
}

static bool add_instance(struct conf_build *b, const struct conf_place *at,
                         enum conf_section_id section, const char *name)
{
    struct conf *c = b->conf;
    const char *kept = conf_strings_add(c, name, strlen(name));
    if (kept == NULL) {
        conf_error(b->errors, at, NULL, "out of memory");
        return false;
    }
    if (section == CONF_SECTION_LISTENER) {
        b->born[section][c->listener_count] = *at;
        c->listener[c->listener_count++].name = kept;
    } else {
        b->born[section][c->upstream_count] = *at;
        c->upstream[c->upstream_count++].name = kept;
    }
    return true;
}

static bool refuse(struct conf_build *b, const struct conf_place *at, enum conf_section_id section,
                   const char *name, const char *what)
{
    struct conf_subject about = {conf_section[section].name, name, NULL};
    conf_error(b->errors, at, &about, "%s", what);
    return false;
}

bool conf_build_instance(struct conf_build *b, size_t *instance, const struct conf_place *at,
                         enum conf_section_id section, const char *name)
{
    size_t count = conf_build_count(b, section);
    *instance = 0;
    if (!conf_section[section].named)
        return true;
    for (*instance = 0; *instance < count; ++*instance) {
        const char *other = conf_build_name(b, section, *instance);
        if (!conf_build_same_name(other, name))
            continue;
        if (at->variable == NULL && strcmp(other, name) != 0)
            return refuse(b, at, section, name,
                          "another name differs in - and _ alone; choose a different one");
        return true;
    }
    if (!name_ok(name))
        return refuse(b, at, section, name,
                      "not a name; use up to 32 lower-case letters, digits, - and _");
    if (count == conf_section[section].max)
        return refuse(b, at, section, name, "one too many of this kind; remove some");
    return add_instance(b, at, section, name);
}

struct conf_origin *conf_build_origin(struct conf_build *b, const struct conf_key *key,
                                      size_t instance)
{
    return &b->origin[key - conf_key][instance];
}

static struct conf_target target_of(struct conf_build *b, const struct conf_key *key,
                                    size_t instance)
{
    return (struct conf_target){b->conf, conf_table_record(b->conf, key->section, instance),
                                &b->upstream_name[instance]};
}

/* False: told. */
static bool may_set(struct conf_build *b, const struct conf_place *at,
                    const struct conf_subject *about, const struct conf_key *key,
                    const struct conf_origin *before)
{
    if (!before->given || key->type->clear != NULL)
        return true;
    if (at->variable != NULL && before->place.variable == NULL)
        return true;
    if (at->variable != NULL)
        conf_error(b->errors, at, about, "is given twice; keep one");
    else
        conf_error(b->errors, at, about, "is given twice, first in line %u; keep one",
                   before->place.line);
    return false;
}

static bool value_ok(struct conf_build *b, const struct conf_place *at,
                     const struct conf_subject *about, const char *value)
{
    if (*value == '\0')
        conf_error(b->errors, at, about, "has no value; remove it to get the default");
    for (const char *c = value; *c != '\0'; c++) {
        if (((unsigned char)*c < ' ' && *c != '\t') || *c == 0x7f) {
            conf_error(b->errors, at, about, "holds a control octet; remove it");
            return false;
        }
    }
    return *value != '\0';
}

void conf_build_set(struct conf_build *b, const struct conf_place *at, const struct conf_key *key,
                    size_t instance, const char *value)
{
    struct conf_subject about = {conf_section[key->section].name,
                                 conf_build_name(b, key->section, instance), key->name};
    if (key->type == NULL) {
        conf_error(b->errors, at, &about, "is not supported yet; remove it");
        return;
    }
    struct conf_origin *origin = conf_build_origin(b, key, instance);
    struct conf_target to = target_of(b, key, instance);
    char why[CONF_WHY_MAX];
    if (!may_set(b, at, &about, key, origin))
        return;
    if (at->variable != NULL && origin->given && origin->place.variable == NULL &&
        key->type->clear != NULL)
        key->type->clear(&to, key);
    if (!origin->given || at->variable != NULL)
        *origin = (struct conf_origin){true, false, *at};
    size_t told = b->errors->count;
    if (value_ok(b, at, &about, value) && !key->type->set(&to, key, value, why))
        conf_error(b->errors, at, &about, "%s", why);
    origin->wrong = origin->wrong || b->errors->count > told;
}

bool conf_build_given(struct conf_build *b, enum conf_section_id section, const char *key,
                      size_t instance)
{
    return conf_build_origin(b, conf_table_key(section, key), instance)->given;
}

bool conf_build_wrong(struct conf_build *b, enum conf_section_id section, const char *key,
                      size_t instance)
{
    return conf_build_origin(b, conf_table_key(section, key), instance)->wrong;
}

void conf_build_blame(struct conf_build *b, enum conf_section_id section, const char *key,
                      size_t instance, const char *format, ...)
{
    struct conf_subject about = {conf_section[section].name, conf_build_name(b, section, instance),
                                 key};
    const struct conf_key *entry = conf_table_key(section, key);
    const struct conf_origin *origin = entry != NULL ? conf_build_origin(b, entry, instance) : NULL;
    struct conf_place at = b->born[section][instance];
    if (origin != NULL && origin->given)
        at = origin->place;
    if (at.file == NULL)
        at.file = b->file;
    char what[CONF_WHY_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    conf_error(b->errors, &at, &about, "%s", what);
}

static void fill_in(struct conf_build *b, const struct conf_key *key, size_t instance)
{
    struct conf_target to = target_of(b, key, instance);
    char why[CONF_WHY_MAX];
    if (conf_build_origin(b, key, instance)->given)
        return;
    if (key->fallback != NULL && !key->type->set(&to, key, key->fallback, why))
        conf_build_blame(b, key->section, key->name, instance, "%s", why);
    if (key->fallback == NULL && key->absent == NULL)
        conf_build_blame(b, key->section, key->name, instance, "is missing; each %s needs it",
                         conf_section[key->section].name);
}

void conf_build_defaults(struct conf_build *b)
{
    for (size_t i = 0; i < conf_key_count; i++) {
        if (conf_key[i].type == NULL)
            continue;
        for (size_t n = 0; n < conf_build_count(b, conf_key[i].section); n++)
            fill_in(b, &conf_key[i], n);
    }
}
