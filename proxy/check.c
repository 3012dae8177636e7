#include "proxy/check.h"

#include <signal.h>
#include <string.h>

#include "proxy/check_certificate.h"
#include "proxy/check_exposure.h"
#include "proxy/check_host.h"
#include "proxy/check_listener.h"
#include "proxy/check_mta.h"
#include "proxy/check_report.h"

static const char *plural(size_t count)
{
    return count == 1 ? "" : "s";
}

static void check_server(struct check_report *r, const struct conf *conf)
{
    check_say(r, CHECK_OK, "configuration", "%s: %zu listener%s, %zu upstream%s", conf->hostname,
              conf->listener_count, plural(conf->listener_count), conf->upstream_count,
              plural(conf->upstream_count));
    if (strchr(conf->hostname, '.') == NULL)
        check_say(
            r, CHECK_WARNING, "hostname",
            "%s is no full name, and clients and filters expect one; set hostname in [server]",
            conf->hostname);
}

static void check_listeners(struct check_report *r, const struct conf *conf)
{
    size_t answering = 0;
    for (size_t i = 0; i < conf->listener_count; i++)
        answering += check_listener(r, conf, &conf->listener[i]);
    if (answering == 0)
        check_say(
            r, CHECK_WARNING, "listeners",
            "none answers, so relaying without a password, STARTTLS, AUTH in clear and "
            "versions of TLS were not tried; start the service and run vestibule check again");
}

int check_run(const struct conf *conf, FILE *out)
{
    struct check_report r = {.out = out};
    signal(SIGPIPE, SIG_IGN); /* servers that hang up are findings, too */
    check_server(&r, conf);
    check_account(&r, conf);
    check_certificates(&r, conf);
    check_tickets(&r, conf);
    check_backends(&r, conf);
    check_files(&r, conf);
    check_log(&r, conf);
    for (size_t i = 0; i < conf->upstream_count; i++) {
        check_mta(&r, conf, &conf->upstream[i]);
        check_exposure(&r, conf, &conf->upstream[i]);
    }
    check_listeners(&r, conf);
    return r.problem ? 1 : 0;
}
