/* The kinds of values that keys hold: from text into the struct, and back. Pure. */
#ifndef VESTIBULE_CONF_CONF_TYPE_H
#define VESTIBULE_CONF_CONF_TYPE_H

#include <stdbool.h>
#include <stdio.h>

#include "conf/conf.h"
#include "conf/conf_table.h"

#define CONF_WHY_MAX 512
#define CONF_TYPE_WORD_MAX 256 /* any word that conf_type_fits, and a NUL */

/* Where a value goes. */
struct conf_target {
    struct conf *conf;
    void *record;               /* conf, or one of its listeners or upstreams */
    const char **upstream_name; /* of a listener; resolved when all upstreams are known */
};

struct conf_type {
    /* `value` is not empty and holds no control octet but TAB. False: `why` says what is wrong and
     * what to do, to be read behind the key's name. A list appends. */
    bool (*set)(const struct conf_target *to, const struct conf_key *key, const char *value,
                char why[CONF_WHY_MAX]);
    /* Empties a list; NULL: not a list, the key may be given once. */
    void (*clear)(const struct conf_target *to, const struct conf_key *key);
    /* Writes lines that `set` reads back. False: nothing is set, nothing was written. */
    bool (*write)(FILE *out, const struct conf *c, const void *record, const struct conf_key *key);
};

extern const struct conf_type conf_type_hostname;
extern const struct conf_type conf_type_account;
extern const struct conf_type conf_type_path;
extern const struct conf_type conf_type_plain; /* text as it stands */
extern const struct conf_type conf_type_number;
extern const struct conf_type conf_type_size;
extern const struct conf_type conf_type_time;
extern const struct conf_type conf_type_choice;
extern const struct conf_type conf_type_set;          /* bits, from a list of words */
extern const struct conf_type conf_type_joined;       /* a list kept as one string with colons */
extern const struct conf_type conf_type_addresses;    /* struct conf_addresses */
extern const struct conf_type conf_type_certificates; /* those of struct conf */
extern const struct conf_type conf_type_backends;     /* those of struct conf */
extern const struct conf_type conf_type_upstream;     /* a listener's */
extern const struct conf_type conf_type_networks;     /* struct conf_networks */
extern const struct conf_type conf_type_domains;      /* struct conf_domains */
extern const struct conf_type conf_type_rate; /* struct conf_rate; the range is the period's */

/* What the kinds are made of; `why` has CONF_WHY_MAX octets. */

/* False, always. */
bool conf_type_wrong(char *why, const char *format, ...) __attribute__((format(printf, 2, 3)));
void *conf_type_field(const void *record, const struct conf_key *key);
/* What is written must be readable again: a line of `key = item` has to fit. */
bool conf_type_fits(const struct conf_key *key, size_t item_len, char *why);
/* Kept as long as the configuration; NULL: out of memory, told. */
const char *conf_type_copy(const struct conf_target *to, const char *text, size_t len, char *why);

#endif
