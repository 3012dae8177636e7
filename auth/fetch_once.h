/* One request for who can wait, such as `vestibule check`: on a loop of its own, until it is done.
 * A driver. */
#ifndef VESTIBULE_AUTH_FETCH_ONCE_H
#define VESTIBULE_AUTH_FETCH_ONCE_H

#include "auth/fetch.h"

/* Blocks until `job->done` was called. False with a sentence: it could not be begun, and was not.
 */
bool fetch_once(struct fetch_job *job, const struct fetch_request *request,
                char error[FETCH_ERROR_MAX]);

#endif
