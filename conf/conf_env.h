/* VESTIBULE_<SECTION>_<KEY> and VESTIBULE_<SECTION>_<NAME>_<KEY>: the environment's word on the
 * configuration. Pure: the variables are given. */
#ifndef VESTIBULE_CONF_CONF_ENV_H
#define VESTIBULE_CONF_CONF_ENV_H

#include "conf/conf_build.h"

/* `environment` is NULL-ended, "NAME=value" each; what does not begin with VESTIBULE_ is passed
 * over. */
void conf_env_read(struct conf_build *b, char *const *environment);

#endif
