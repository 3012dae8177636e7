/* An issuer's keys kept fresh: from a file that is read again when it changes, or from a URL that
 * is asked every hour, and when a token names a key that is not known. A driver.
 *
 * What cannot be read or fetched leaves the last good keys in force. */
#ifndef VESTIBULE_AUTH_OAUTH_KEYS_H
#define VESTIBULE_AUTH_OAUTH_KEYS_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "auth/backend.h"
#include "auth/fetch.h"
#include "auth/jwk.h"

#define OAUTH_KEYS_HOUR_MS (3600 * 1000)
#define OAUTH_KEYS_AGAIN_MS 30000 /* unknown keys make it ask no more often */
#define OAUTH_KEYS_RETRY_MS 60000 /* after a failure, by itself */
#define OAUTH_KEYS_FETCH_MS 10000

struct oauth_keys;

/* `source` is a path, or an https URL. A file is read at once. Strings are borrowed. NULL with a
 * sentence. */
struct oauth_keys *oauth_keys_open(const char *source, const char *ca,
                                   char error[BACKEND_ERROR_MAX]);
bool oauth_keys_remote(const struct oauth_keys *k);

/* The first question to a URL goes out at once. `renewed` is told how each one ended; NULL `say`:
 * nobody listens. */
void oauth_keys_start(struct oauth_keys *k, uv_loop_t *loop, struct fetch *fetch,
                      void (*renewed)(void *owner), void *owner,
                      void (*say)(const char *event, const char *sentence));

/* As backend_ops.refresh. */
bool oauth_keys_refresh(struct oauth_keys *k, char error[BACKEND_ERROR_MAX]);

/* NULL: there are none yet. Good until the loop's next turn. */
const struct jwk_set *oauth_keys_now(const struct oauth_keys *k);

/* The last question to the URL had no good answer. */
bool oauth_keys_away(const struct oauth_keys *k);

enum oauth_keys_hope {
    OAUTH_KEYS_COMING,  /* `renewed` will be called, never from inside */
    OAUTH_KEYS_CURRENT, /* those that are here are what there is */
    OAUTH_KEYS_AWAY,    /* the URL did not answer just now */
};

/* A key is missed. */
enum oauth_keys_hope oauth_keys_renew(struct oauth_keys *k);

/* For `vestibule check`: one sentence; fetches, and blocks. */
bool oauth_keys_describe(struct oauth_keys *k, char text[BACKEND_ERROR_MAX]);

/* `closed` is called on the loop with the owner's pointer; where it was not started, at once. */
void oauth_keys_close(struct oauth_keys *k, void (*closed)(void *owner), void *owner);

#endif
