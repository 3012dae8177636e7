/* `vestibule passwd USER`: adds a user or changes a password.
 *
 * Asks twice without echo on a terminal, takes one line from standard input otherwise. The terminal
 * is as it was when a signal ends it in between. */
#ifndef VESTIBULE_PROXY_PASSWD_H
#define VESTIBULE_PROXY_PASSWD_H

/* The exit status: 0 done and said so, 1 failed, 2 a login that cannot be one. */
int passwd_run(const char *users_path, const char *login);

#endif
