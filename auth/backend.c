#include "auth/backend.h"

#include <stdio.h>
#include <string.h>

/* Several schemes may share one kind: it is told which. */
static const struct backend_scheme {
    const char *name;
    const struct backend_ops *ops;
} backend_schemes[] = {
    {"file", &backend_file_ops},
    {"dovecot", &backend_dovecot_ops},
    {"saslauthd", &backend_saslauthd_ops},
    {"pam", &backend_pam_ops},
};

/* Named in the configuration's manual, not built: the answer is not "unknown". */
static const char *const backend_later[] = {
    "imap", "imaps", "pop3", "pop3s", "smtp", "smtps", "ldap", "ldaps", "http", "https",
};

static bool backend_is(const char *scheme, const char *spec, size_t len)
{
    return strlen(scheme) == len && strncmp(scheme, spec, len) == 0;
}

static void backend_explain(char error[BACKEND_ERROR_MAX], const char *spec, size_t len)
{
    const int shown = (int)(len < 64 ? len : 64);

    for (size_t i = 0; i < sizeof backend_later / sizeof backend_later[0]; i++) {
        if (backend_is(backend_later[i], spec, len)) {
            snprintf(error, BACKEND_ERROR_MAX,
                     "the credential backend \"%.*s\" is not supported yet; use file:PATH", shown,
                     spec);
            return;
        }
    }
    snprintf(error, BACKEND_ERROR_MAX,
             "there is no credential backend \"%.*s\"; use file:PATH, as file:/etc/vestibule/users",
             shown, spec);
}

struct backend *backend_open(const char *spec, const struct backend_settings *settings,
                             char error[BACKEND_ERROR_MAX])
{
    const size_t len = strcspn(spec, ":");

    for (size_t i = 0; i < sizeof backend_schemes / sizeof backend_schemes[0]; i++) {
        const struct backend_scheme *s = &backend_schemes[i];
        if (spec[len] == ':' && backend_is(s->name, spec, len))
            return s->ops->open(s->name, spec + len + 1, settings, error);
    }
    backend_explain(error, spec, len);
    return NULL;
}

void backend_close(struct backend *b)
{
    if (b != NULL)
        b->ops->close(b);
}
