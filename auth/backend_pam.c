#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "auth/backend.h"
#include "auth/pam_client.h"
#include "auth/pam_wire.h"

struct backend_pam {
    struct backend base;
    struct pam_client *client;
    char service[PAM_WIRE_SERVICE_MAX + 1];
};

static struct backend_pam *pam_of(struct backend *b)
{
    return (struct backend_pam *)b;
}

/* The helper is started here, while the vault still is who started it. */
static struct backend *pam_backend_open(const char *scheme, const char *argument,
                                        const struct backend_settings *settings,
                                        char error[BACKEND_ERROR_MAX])
{
    (void)scheme;
    const size_t len = strlen(argument);
    struct backend_pam *p;

    if (len == 0 || len > PAM_WIRE_SERVICE_MAX || strchr(argument, '/') != NULL) {
        snprintf(error, BACKEND_ERROR_MAX,
                 "pam:%.128s names no service; write pam: and the name of a file in /etc/pam.d",
                 argument);
        return NULL;
    }
    p = calloc(1, sizeof *p);
    if (p == NULL) {
        snprintf(error, BACKEND_ERROR_MAX, "out of memory");
        return NULL;
    }
    p->base.ops = &backend_pam_ops;
    memcpy(p->service, argument, len);
    p->client = pam_client_hold(settings->say, error);
    if (p->client == NULL) {
        free(p);
        return NULL;
    }
    return &p->base;
}

static bool pam_backend_start(struct backend *b, uv_loop_t *loop, char error[BACKEND_ERROR_MAX])
{
    (void)error;
    pam_client_start(pam_of(b)->client, loop);
    return true;
}

static unsigned pam_backend_mechanisms(struct backend *b)
{
    (void)b;
    return SASL_PLAIN | SASL_LOGIN;
}

static void pam_backend_ask(struct backend *b, struct backend_question *q)
{
    pam_client_ask(pam_of(b)->client, pam_of(b)->service, q);
}

static void pam_backend_leave(struct backend *b, struct backend_question *q)
{
    pam_client_leave(pam_of(b)->client, q);
}

/* Asks nothing: a wrong password would be a failure in somebody's log. */
static bool pam_backend_describe(struct backend *b, char text[BACKEND_ERROR_MAX])
{
    const char *service = pam_of(b)->service;
    char path[sizeof "/etc/pam.d/" + PAM_WIRE_SERVICE_MAX];

    snprintf(path, sizeof path, "/etc/pam.d/%s", service);
    if (access(path, R_OK) != 0) {
        snprintf(text, BACKEND_ERROR_MAX,
                 "PAM service %s: %s: %s, so PAM's service \"other\" decides, which refuses all; "
                 "write one",
                 service, path, strerror(errno));
        return false;
    }
    snprintf(text, BACKEND_ERROR_MAX, "PAM service %s, by the rules of %s%s", service, path,
             geteuid() == 0
                 ? ""
                 : "; not started as root, pam_unix cannot check other users' passwords");
    return true;
}

static void pam_backend_close(struct backend *b)
{
    struct backend_pam *p = pam_of(b);

    pam_client_release(p->client);
    free(p);
}

const struct backend_ops backend_pam_ops = {
    .scheme = "pam",
    .open = pam_backend_open,
    .start = pam_backend_start,
    .mechanisms = pam_backend_mechanisms,
    .ask = pam_backend_ask,
    .leave = pam_backend_leave,
    .describe = pam_backend_describe,
    .close = pam_backend_close,
};
