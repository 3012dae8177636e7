#include "conf/conf_strings.h"

#include <stdlib.h>
#include <string.h>

struct conf_strings {
    struct conf_strings *next;
    char text[];
};

const char *conf_strings_add(struct conf *c, const char *text, size_t len)
{
    struct conf_strings *s = malloc(sizeof *s + len + 1);
    if (s == NULL)
        return NULL;
    memcpy(s->text, text, len);
    s->text[len] = '\0';
    s->next = c->strings;
    c->strings = s;
    return s->text;
}

void conf_strings_free(struct conf *c)
{
    while (c->strings != NULL) {
        struct conf_strings *next = c->strings->next;
        free(c->strings);
        c->strings = next;
    }
}
