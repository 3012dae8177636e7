/* What made-up verifiers are derived from (auth/scram.h): 32 octets in the state directory, made
 * when they are missing. Whoever knows them can tell logins that there are from those that there
 * are not, no more. A driver. */
#ifndef VESTIBULE_AUTH_SCRAM_SECRET_H
#define VESTIBULE_AUTH_SCRAM_SECRET_H

#include <stdbool.h>
#include <stdint.h>

#define SCRAM_SECRET_LEN 32
#define SCRAM_SECRET_ERROR_MAX 512

/* Of STATE_DIR/scram.secret. False with a sentence: it could neither be read nor be kept, `out` is
 * random and lasts as long as this process. */
bool scram_secret_load(uint8_t out[SCRAM_SECRET_LEN], const char *state_dir,
                       char error[SCRAM_SECRET_ERROR_MAX]);

#endif
