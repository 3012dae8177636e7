/* What is asked over the control socket: one line of text, "status", "show" or "lift NAME". Pure.
 *
 * "status" is answered in JSON, "show" by text for a person. */
#ifndef VESTIBULE_PROXY_CONTROL_REQUEST_H
#define VESTIBULE_PROXY_CONTROL_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "auth/sasl.h"

#define CONTROL_LINE_MAX (SASL_LOGIN_MAX + 16)

enum control_verb { CONTROL_STATUS, CONTROL_SHOW, CONTROL_LIFT };

struct control_request {
    enum control_verb verb;
    char name[SASL_LOGIN_MAX + 1]; /* of CONTROL_LIFT: a login, or a network; else "" */
};

enum control_word { CONTROL_MORE, CONTROL_WHOLE, CONTROL_WRONG };

/* A line ends in LF; octets behind it are wrong. A name is UTF-8 without control octets. */
enum control_word control_request_read(struct control_request *out, const uint8_t *in, size_t len);

#endif
