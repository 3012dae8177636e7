/* What the vault and the PAM helper say to each other over their socketpair, a message a packet.
 *
 * Pure. Numbers are in the machine's order (both ends are one binary). Either side treats a message
 * that does not decode as the other's corruption. */
#ifndef VESTIBULE_AUTH_PAM_WIRE_H
#define VESTIBULE_AUTH_PAM_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "auth/sasl.h"

#define PAM_WIRE_MAX 2048
#define PAM_WIRE_SERVICE_MAX 63
#define PAM_WIRE_HOST_MAX 45 /* an IPv6 address */

/* Strings end in NUL and hold none; service and login are not empty. */
struct pam_wire_question {
    uint32_t id;
    char service[PAM_WIRE_SERVICE_MAX + 1];
    char host[PAM_WIRE_HOST_MAX + 1];
    char login[SASL_LOGIN_MAX + 1];
    char password[SASL_PASSWORD_MAX + 1];
};

enum pam_wire_word {
    PAM_WIRE_HELLO, /* id 0: a new helper begins; what the one before it had taken is lost */
    PAM_WIRE_ACCEPTED,
    PAM_WIRE_REJECTED,
    PAM_WIRE_UNAVAILABLE,
};

struct pam_wire_answer {
    uint32_t id;
    enum pam_wire_word word;
};

/* What is written is to be wiped. */
void pam_wire_ask(uint8_t out[PAM_WIRE_MAX], size_t *len, const struct pam_wire_question *q);
bool pam_wire_asked(struct pam_wire_question *out, const uint8_t *in, size_t len);

void pam_wire_answer(uint8_t out[PAM_WIRE_MAX], size_t *len, const struct pam_wire_answer *a);
bool pam_wire_answered(struct pam_wire_answer *out, const uint8_t *in, size_t len);

#endif
