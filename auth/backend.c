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
    {"imap", &backend_url_ops},
    {"imaps", &backend_url_ops},
    {"pop3", &backend_url_ops},
    {"pop3s", &backend_url_ops},
    {"smtp", &backend_url_ops},
    {"smtps", &backend_url_ops},
    {"ldap", &backend_url_ops},
    {"ldaps", &backend_url_ops},
    {"http", &backend_url_ops},
    {"https", &backend_url_ops},
    {"oauth", &backend_oauth_ops},
};

static bool backend_is(const char *scheme, const char *spec, size_t len)
{
    return strlen(scheme) == len && strncmp(scheme, spec, len) == 0;
}

static void backend_explain(char error[BACKEND_ERROR_MAX], const char *spec, size_t len)
{
    const int shown = (int)(len < 64 ? len : 64);

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
