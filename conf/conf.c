#include "conf/conf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/conf_build.h"
#include "conf/conf_cross.h"
#include "conf/conf_env.h"
#include "conf/conf_ini.h"
#include "conf/conf_read.h"
#include "conf/conf_strings.h"
#include "conf/conf_value.h"

/* Where the file's reading stands. */
struct reading {
    struct conf_build *build;
    bool known; /* false: keys of an unknown section are not looked at, one error is enough */
    enum conf_section_id section;
    size_t instance;
};

static struct conf_place place(const struct reading *r, unsigned line)
{
    return (struct conf_place){.file = r->build->file, .line = line};
}

static void on_problem(void *context, unsigned line, const char *what)
{
    struct reading *r = context;
    struct conf_place at = place(r, line);
    conf_error(r->build->errors, &at, NULL, "%s", what);
}

static void unknown_section(struct reading *r, const struct conf_place *at, const char *name)
{
    const char *near = conf_table_near_section(name);
    if (near != NULL)
        conf_error(r->build->errors, at, NULL, "unknown section [%s]; did you mean [%s]?", name,
                   near);
    else
        conf_error(
            r->build->errors, at, NULL,
            "unknown section [%s]; there are server, tls, listener, auth, upstream, message, "
            "policy and log",
            name);
}

/* `name` is what follows the section's word; empty: nothing does. */
static void enter(struct reading *r, const struct conf_place *at, const char *name)
{
    const struct conf_section *s = &conf_section[r->section];
    if (!s->named && *name != '\0') {
        conf_error(r->build->errors, at, NULL, "[%s] takes no name; write [%s]", s->name, s->name);
        return;
    }
    if (s->named && *name == '\0')
        name = s->unnamed != NULL ? s->unnamed : "";
    if (s->named && *name == '\0')
        conf_error(r->build->errors, at, NULL, "[%s] has no name; write [%s NAME]", s->name,
                   s->name);
    else
        r->known = conf_build_instance(r->build, &r->instance, at, r->section, name);
}

static void on_section(void *context, unsigned line, const char *text)
{
    struct reading *r = context;
    struct conf_place at = place(r, line);
    const char *word, *cursor = text;
    size_t len;
    r->known = false;
    if (!conf_value_word(&word, &len, &cursor, " \t"))
        len = 0;
    int section = conf_table_section(word, len);
    if (section < 0) {
        unknown_section(r, &at, text);
        return;
    }
    r->section = (enum conf_section_id)section;
    char name[CONF_SECTION_MAX + 1];
    snprintf(name, sizeof name, "%s", cursor + strspn(cursor, " \t"));
    for (size_t end = strlen(name); end > 0 && strchr(" \t", name[end - 1]) != NULL; end--)
        name[end - 1] = '\0';
    enter(r, &at, name);
}

/* A key that is right elsewhere was put under the wrong heading. */
static const char *other_section(const char *key)
{
    for (int i = 0; i < CONF_SECTIONS; i++) {
        if (conf_table_key((enum conf_section_id)i, key) != NULL)
            return conf_section[i].name;
    }
    return NULL;
}

static void list_keys(char *out, size_t cap, enum conf_section_id section)
{
    size_t used = 0;
    for (size_t i = 0; i < conf_key_count; i++) {
        size_t len = strlen(conf_key[i].name);
        if (conf_key[i].section != section || used + len + 3 > cap)
            continue;
        memcpy(out + used, used > 0 ? ", " : "", used > 0 ? 2 : 0);
        used += used > 0 ? 2 : 0;
        memcpy(out + used, conf_key[i].name, len);
        used += len;
    }
    out[used] = '\0';
}

static void unknown_key(struct reading *r, const struct conf_place *at, const char *key)
{
    struct conf_subject about = {conf_section[r->section].name,
                                 conf_build_name(r->build, r->section, r->instance), key};
    const char *near = conf_table_near_key(r->section, key);
    const char *other = other_section(key);
    char keys[512];
    if (other != NULL) {
        conf_error(r->build->errors, at, &about, "unknown key; it belongs below [%s]", other);
    } else if (near != NULL) {
        conf_error(r->build->errors, at, &about, "unknown key; did you mean %s?", near);
    } else {
        list_keys(keys, sizeof keys, r->section);
        conf_error(r->build->errors, at, &about, "unknown key; there are %s", keys);
    }
}

static void on_entry(void *context, unsigned line, const char *name, const char *value)
{
    struct reading *r = context;
    struct conf_place at = place(r, line);
    if (!r->known)
        return;
    const struct conf_key *key = conf_table_key(r->section, name);
    if (key != NULL)
        conf_build_set(r->build, &at, key, r->instance, value);
    else if (*name == '\0')
        conf_error(r->build->errors, &at, NULL, "no key stands before the =");
    else
        unknown_key(r, &at, name);
}

/* As if the file said so: the environment may still change single keys. */
static void add_listener(struct conf_build *b, const char *name, const char *address,
                         const char *tls)
{
    struct conf_place at = {.file = b->file};
    size_t instance;
    if (!conf_build_instance(b, &instance, &at, CONF_SECTION_LISTENER, name))
        return;
    conf_build_set(b, &at, conf_table_key(CONF_SECTION_LISTENER, "address"), instance, address);
    conf_build_set(b, &at, conf_table_key(CONF_SECTION_LISTENER, "tls"), instance, tls);
}

static void read_all(struct conf_build *b, const char *text, size_t len, char *const *environment)
{
    struct reading r = {.build = b};
    struct conf_ini_events events = {&r, on_section, on_entry, on_problem};
    struct conf_place at = {.file = b->file};
    size_t mta;
    conf_ini_read(&events, text, len);
    if (b->conf->listener_count == 0) {
        add_listener(b, "submissions", "*:465", "implicit");
        add_listener(b, "submission", "*:587", "starttls");
    }
    conf_env_read(b, environment);
    if (b->conf->upstream_count == 0)
        conf_build_instance(b, &mta, &at, CONF_SECTION_UPSTREAM, "mta");
    conf_build_defaults(b);
    conf_cross_check(b);
}

struct conf *conf_read(const char *text, size_t len, const char *name, char *const *environment,
                       struct conf_errors *errors)
{
    struct conf *c = calloc(1, sizeof *c);
    struct conf_build *b = calloc(1, sizeof *b);
    errors->count = 0;
    errors->text[0] = '\0';
    if (c != NULL && b != NULL) {
        *b = (struct conf_build){.conf = c, .errors = errors, .file = name};
        read_all(b, text, len, environment);
    } else {
        struct conf_place at = {.file = name};
        conf_error(errors, &at, NULL, "out of memory");
    }
    free(b);
    if (errors->count == 0)
        return c;
    conf_free(c);
    return NULL;
}

struct conf *conf_parse(const char *text, size_t len, const char *name, char *const *environment,
                        struct conf_errors *errors)
{
    struct conf *c = conf_read(text, len, name, environment, errors);
    if (c == NULL)
        return NULL;
    if (c->hostname == NULL)
        c->hostname = "localhost";
    if (c->workers == 0)
        c->workers = 1;
    return c;
}

void conf_free(struct conf *c)
{
    if (c == NULL)
        return;
    conf_strings_free(c);
    free(c);
}
