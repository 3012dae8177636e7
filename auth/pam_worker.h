/* The PAM helper at work: takes questions, forks a check for each, tells how they ended. A driver.
 */
#ifndef VESTIBULE_AUTH_PAM_WORKER_H
#define VESTIBULE_AUTH_PAM_WORKER_H

/* Returns when the vault is gone. A message that is none ends the process. */
void pam_worker_run(int vault);

#endif
