#include "proxy/privileges.h"

#include <cap-ng.h>
#include <dirent.h>
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proxy/log.h"

void privileges_protect_memory(void)
{
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
}

void privileges_raise_limits(void)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0)
        return;
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
}

/* Only what we hold can be kept: a container's root may have less than root. */
static void keep(unsigned capability, bool held)
{
    if (held)
        capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, capability);
}

static bool drop_to(const struct passwd *to, bool transparent)
{
    if (capng_get_caps_process() != 0)
        return false;
    bool binds = capng_have_capability(CAPNG_PERMITTED, CAP_NET_BIND_SERVICE);
    bool reads = capng_have_capability(CAPNG_PERMITTED, CAP_DAC_READ_SEARCH);
    bool raw = capng_have_capability(CAPNG_PERMITTED, CAP_NET_RAW);
    capng_clear(CAPNG_SELECT_BOTH);
    keep(CAP_NET_BIND_SERVICE, binds);
    keep(CAP_DAC_READ_SEARCH, reads);
    keep(CAP_NET_RAW, raw && transparent);
    return capng_change_id((int)to->pw_uid, (int)to->pw_gid, CAPNG_INIT_SUPP_GRP) == 0;
}

bool privileges_transparent(void)
{
    return capng_get_caps_process() == 0 && (capng_have_capability(CAPNG_EFFECTIVE, CAP_NET_RAW) ||
                                             capng_have_capability(CAPNG_EFFECTIVE, CAP_NET_ADMIN));
}

static bool become(const char *user, bool transparent, char error[PRIVILEGES_ERROR_MAX])
{
    if (user == NULL || geteuid() != 0)
        return true;
    const struct passwd *to = getpwnam(user);
    if (to == NULL) {
        snprintf(
            error, PRIVILEGES_ERROR_MAX,
            "user %s does not exist; make it (adduser --system --group %s) or set [server] user",
            user, user);
        return false;
    }
    if (to->pw_uid != 0 && !drop_to(to, transparent)) {
        snprintf(error, PRIVILEGES_ERROR_MAX, "cannot become user %s: %s", user, strerror(errno));
        return false;
    }
    privileges_protect_memory(); /* the change of identity made us dumpable again */
    return true;
}

bool privileges_drop_vault(const char *user, bool transparent, char error[PRIVILEGES_ERROR_MAX])
{
    if (!become(user, transparent, error))
        return false;
    if (transparent && !privileges_transparent()) {
        snprintf(error, PRIVILEGES_ERROR_MAX,
                 "identity = transparent needs CAP_NET_RAW; start Vestibule as root or with that "
                 "capability, or choose another identity");
        return false;
    }
    return true;
}

bool privileges_drop_front(void)
{
    privileges_protect_memory();
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        log_say(LOG_LEVEL_ERROR, "front_failed", "cannot set no_new_privs: %s", strerror(errno));
        return false;
    }
    capng_clear(CAPNG_SELECT_BOTH);
    if (capng_apply(CAPNG_SELECT_CAPS) != 0) {
        log_say(LOG_LEVEL_ERROR, "front_failed", "cannot give up capabilities: %s",
                strerror(errno));
        return false;
    }
    return true;
}

bool privileges_dir_empty(const char *path)
{
    DIR *dir = opendir(path);
    bool found = false;
    for (struct dirent *e; dir != NULL && !found && (e = readdir(dir)) != NULL;)
        found = strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    if (dir != NULL)
        closedir(dir);
    return dir != NULL && !found;
}

/* A folder that somebody made for us as root (systemd does) is ours; one that holds anything is
 * left alone. */
static void give_dir(const char *path, const struct stat *st, const char *user)
{
    const struct passwd *to = user != NULL && geteuid() == 0 ? getpwnam(user) : NULL;
    if (to != NULL && st->st_uid == 0 && privileges_dir_empty(path) &&
        chown(path, to->pw_uid, to->pw_gid) != 0)
        log_say(LOG_LEVEL_WARNING, "state_dir", "cannot give %s to %s: %s", path, user,
                strerror(errno));
}

bool privileges_own_dir(const char *path, const char *user, char error[PRIVILEGES_ERROR_MAX])
{
    struct stat st;
    if (stat(path, &st) != 0 && (mkdir(path, 0700) != 0 || stat(path, &st) != 0)) {
        snprintf(error, PRIVILEGES_ERROR_MAX,
                 "cannot make state_dir %s: %s; make it or name another", path, strerror(errno));
        return false;
    }
    if (!S_ISDIR(st.st_mode)) {
        snprintf(error, PRIVILEGES_ERROR_MAX, "state_dir %s is not a directory; name another",
                 path);
        return false;
    }
    give_dir(path, &st, user);
    return true;
}
