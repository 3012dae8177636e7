/* The strings of one configuration: they live and go together. */
#ifndef VESTIBULE_CONF_CONF_STRINGS_H
#define VESTIBULE_CONF_CONF_STRINGS_H

#include <stddef.h>

#include "conf/conf.h"

/* A copy that lives as long as the configuration; NULL when memory is short. */
const char *conf_strings_add(struct conf *c, const char *text, size_t len);
void conf_strings_free(struct conf *c);

#endif
