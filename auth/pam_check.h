/* One login asked of PAM, in a process of its own: modules block, leak and crash as they like.
 *
 * A driver over libpam. Blocks. */
#ifndef VESTIBULE_AUTH_PAM_CHECK_H
#define VESTIBULE_AUTH_PAM_CHECK_H

#include "auth/pam_wire.h"

/* pam_authenticate and pam_acct_mgmt; the conversation gives the password to whoever asks for
 * something hidden, and nothing to other questions. A refusal does not wait: Vestibule's own delay
 * does. */
enum pam_wire_word pam_check(const struct pam_wire_question *q);

#endif
