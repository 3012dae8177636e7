/* The vault: the process that the user starts. It holds what is secret and what must be counted in
 * one place, keeps a front running, replaces it on reload, and drains it at the end. */
#ifndef VESTIBULE_PROXY_VAULT_H
#define VESTIBULE_PROXY_VAULT_H

/* Runs in the foreground until SIGTERM or SIGINT. `conf_path` NULL: the default. Exit status: 0
 * ended as told, 1 failed, 2 the configuration is wrong. Sentences go to standard error. */
int vault_run(const char *conf_path);

#endif
