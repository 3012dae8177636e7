/* The process that asks PAM: it alone keeps the rights for that, and reads nothing but the vault's
 * typed questions.
 *
 * Two processes and one for each check. The first only starts the second again when that ends,
 * which the vault, having given up root, could not. Each check is forked, so that one that blocks,
 * leaks or crashes is that one check. All end with the vault. */
#ifndef VESTIBULE_AUTH_PAM_HELPER_H
#define VESTIBULE_AUTH_PAM_HELPER_H

#define PAM_HELPER_ARGUMENT "pam" /* of the command line, when the vault starts it */
#define PAM_HELPER_FD 3           /* its end of the socketpair */
#define PAM_HELPER_CHECKS_MAX 32  /* at once; further questions wait in the vault */

/* Exit status. Where it was not the vault who started it: 2, and a sentence. */
int pam_helper_run(void);

#endif
