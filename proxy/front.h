/* The front process: everything hostile is parsed here, nothing secret is here. Started by the
 * vault alone. */
#ifndef VESTIBULE_PROXY_FRONT_H
#define VESTIBULE_PROXY_FRONT_H

/* Where the vault leaves the bundle: proxy/bundle.h. */
#define FRONT_BUNDLE_FD 3

/* Runs until the vault says drain, or is gone. Exit status. */
int front_run(void);

#endif
