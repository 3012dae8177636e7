/* What each process may do: less with each step, never more. */
#ifndef VESTIBULE_PROXY_PRIVILEGES_H
#define VESTIBULE_PROXY_PRIVILEGES_H

#include <stdbool.h>

#define PRIVILEGES_ERROR_MAX 256

/* Must be called before anything secret is read: no core dump, no ptrace. */
void privileges_protect_memory(void);

/* As many descriptors as the system lets us have. */
void privileges_raise_limits(void);

/* Root becomes `user` and keeps two capabilities: to bind low ports (a listener that a reload adds)
 * and to read files (a renewed key that root alone may read); `transparent` a third, to connect
 * from clients' addresses, which must be there then. NULL, or not root: stays who it is. False with
 * a sentence. */
bool privileges_drop_vault(const char *user, bool transparent, char error[PRIVILEGES_ERROR_MAX]);

/* May this process connect from addresses that are not the host's? */
bool privileges_transparent(void);

/* The front: no capability, no new one by exec, no core dump. The place where its sandbox closes.
 */
bool privileges_drop_front(void);

/* False also when it cannot be looked into. */
bool privileges_dir_empty(const char *path);

/* A directory that `user` (NULL: whoever we are) can write, made if it is missing, mode 0700. */
bool privileges_own_dir(const char *path, const char *user, char error[PRIVILEGES_ERROR_MAX]);

#endif
