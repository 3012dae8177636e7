/* A configuration while it is put together from file, environment and defaults. Pure. */
#ifndef VESTIBULE_CONF_CONF_BUILD_H
#define VESTIBULE_CONF_CONF_BUILD_H

#include <stdbool.h>
#include <stddef.h>

#include "conf/conf.h"
#include "conf/conf_error.h"
#include "conf/conf_table.h"

#define CONF_NAME_MAX 32 /* of a listener or an upstream */

struct conf_origin {
    bool given; /* by file or environment, right or wrong */
    bool wrong; /* told; what follows from its value is not */
    struct conf_place place;
};

struct conf_build {
    struct conf *conf;
    struct conf_errors *errors;
    const char *file;
    struct conf_origin origin[CONF_KEYS_MAX][CONF_LISTENERS_MAX]; /* in the order of conf_key */
    struct conf_place born[CONF_SECTIONS][CONF_LISTENERS_MAX];    /* where it was first named */
    const char *upstream_name[CONF_LISTENERS_MAX];
};

/* The instance of a section by name, made if need be. False: an error was told. */
bool conf_build_instance(struct conf_build *b, size_t *instance, const struct conf_place *at,
                         enum conf_section_id section, const char *name);
size_t conf_build_count(const struct conf_build *b, enum conf_section_id section);
const char *conf_build_name(const struct conf_build *b, enum conf_section_id section,
                            size_t instance);

/* The environment knows no lower case and no hyphens: do two names look the same there? */
bool conf_build_same_name(const char *a, const char *b);

/* Gives a key a value; what is wrong with it is told. The environment replaces what the file said.
 */
void conf_build_set(struct conf_build *b, const struct conf_place *at, const struct conf_key *key,
                    size_t instance, const char *value);

struct conf_origin *conf_build_origin(struct conf_build *b, const struct conf_key *key,
                                      size_t instance);

/* By name, which must be in the table. */
bool conf_build_given(struct conf_build *b, enum conf_section_id section, const char *key,
                      size_t instance);
bool conf_build_wrong(struct conf_build *b, enum conf_section_id section, const char *key,
                      size_t instance);

/* Tells an error about a key of an instance, at the place where it was given or the section begins.
 */
void conf_build_blame(struct conf_build *b, enum conf_section_id section, const char *key,
                      size_t instance, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

/* Fills in what nobody gave; a key without a default that is missing is an error. */
void conf_build_defaults(struct conf_build *b);

#endif
