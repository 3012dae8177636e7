#include "conf/conf.h"
#include "conf/conf_table.h"
#include "conf/conf_type.h"

static void write_section(FILE *out, const struct conf *c, enum conf_section_id section,
                          size_t instance, const char *name)
{
    /* Writing changes nothing, but the record is found by one function for readers and writers. */
    const void *record = conf_table_record((struct conf *)(uintptr_t)c, section, instance);
    fprintf(out, "[%s%s%s]\n", conf_section[section].name, name != NULL ? " " : "",
            name != NULL ? name : "");
    for (size_t i = 0; i < conf_key_count; i++) {
        const struct conf_key *key = &conf_key[i];
        if (key->section != section || key->type == NULL)
            continue;
        if (!key->type->write(out, c, record, key))
            fprintf(out, "# %s: %s\n", key->name, key->absent != NULL ? key->absent : "none");
    }
    fputc('\n', out);
}

bool conf_write(FILE *out, const struct conf *c)
{
    for (int s = 0; s < CONF_SECTIONS; s++) {
        enum conf_section_id section = (enum conf_section_id)s;
        if (conf_section[s].reserved)
            continue;
        if (section == CONF_SECTION_UPSTREAM) {
            for (size_t i = 0; i < c->upstream_count; i++)
                write_section(out, c, section, i, c->upstream[i].name);
        } else if (section == CONF_SECTION_LISTENER) {
            for (size_t i = 0; i < c->listener_count; i++)
                write_section(out, c, section, i, c->listener[i].name);
        } else {
            write_section(out, c, section, 0, NULL);
        }
    }
    return fflush(out) == 0 && !ferror(out);
}
