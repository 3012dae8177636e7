/* The one table of keys: it drives reading, the environment, defaults, writing and suggestions.
 * Pure. */
#ifndef VESTIBULE_CONF_CONF_TABLE_H
#define VESTIBULE_CONF_CONF_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf/conf.h"

enum conf_section_id {
    CONF_SECTION_SERVER,
    CONF_SECTION_TLS,
    CONF_SECTION_AUTH,
    CONF_SECTION_OAUTH,
    CONF_SECTION_UPSTREAM,
    CONF_SECTION_LISTENER,
    CONF_SECTION_MESSAGE,
    CONF_SECTION_POLICY,
    CONF_SECTION_LOG,
    CONF_SECTION_CLUSTER,
    CONF_SECTION_METRICS,
    CONF_SECTIONS
};

struct conf_section {
    const char *name;
    bool named;          /* [listener NAME] */
    const char *unnamed; /* the name of one without a name; NULL: it must have one */
    size_t max;          /* how many of it */
    bool reserved;       /* nothing of it is supported yet */
};

extern const struct conf_section conf_section[CONF_SECTIONS];

/* A word that a key takes. */
struct conf_choice {
    const char *word; /* NULL ends the list */
    int value;
};
#define CONF_NOT_YET (-1) /* known, but its feature is not there */

struct conf_type;

/* The field is at `offset` in struct conf, conf_listener or conf_upstream, `size` octets long; size
 * 0: the value is checked and kept nowhere, since only one is supported. */
struct conf_key {
    enum conf_section_id section;
    const char *name;
    const struct conf_type *type; /* NULL: not supported yet */
    size_t offset;
    size_t size;
    const char *fallback; /* the default as it would stand in a file; NULL: see absent */
    const char *absent;   /* what is done where nothing is given; NULL: the key must be there */
    uint64_t least, most; /* of numbers, sizes and times */
    const struct conf_choice *choices;
};

#define CONF_KEYS_MAX 96
extern const struct conf_key conf_key[];
extern const size_t conf_key_count;

/* -1: there is none. */
int conf_table_section(const char *name, size_t len);
const struct conf_key *conf_table_key(enum conf_section_id section, const char *name);

/* The record that a section's keys live in; `instance` counts named sections. */
void *conf_table_record(struct conf *c, enum conf_section_id section, size_t instance);

/* How many edits (insert, delete, replace, swap of neighbours) make `b` of `a`. Only the first 64
 * octets of each are looked at. */
size_t conf_table_distance(const char *a, const char *b);

/* The nearest name, or NULL when nothing is near enough to be what was meant. */
const char *conf_table_near_section(const char *name);
const char *conf_table_near_key(enum conf_section_id section, const char *name);
bool conf_table_is_near(const char *meant, size_t distance);

#endif
