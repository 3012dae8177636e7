#include "proxy/check_tls.h"

#include <stdio.h>
#include <string.h>

#define PATIENCE_MS 10000
/* What was slipped in is answered at once or not at all. */
#define QUIET_MS 300
#define FOREIGN_PROTOCOL "http/1.1"

static const char replace[] = "see that Vestibule itself listens there";

static void untried(struct check_report *r, const struct check_door *d, const char *what,
                    const struct check_talk *t)
{
    check_say(r, CHECK_WARNING, d->about,
              "%s could not be tried: %s; wait a minute and run check again", what, t->why);
}

/* RFC 3207 4.2 and CVE-2011-0411: what comes before TLS must not count inside. */
static void check_injection(struct check_report *r, const struct check_door *d)
{
    static const char flight[] = "STARTTLS\r\nNOOP\r\n";
    static const struct tls_client_settings usual = {0};
    struct check_talk t;
    struct reply reply;
    check_talk_init(&t, PATIENCE_MS);
    if (!check_door_enter(&t, d, CHECK_CLEAR, NULL, NULL) ||
        !check_talk_say(&t, "EHLO", "vestibule-check.example.org") ||
        !check_talk_expect(&t, &reply, 250) || !check_talk_send(&t, flight, sizeof flight - 1) ||
        (!check_talk_reply(&t, &reply) && !t.gone))
        untried(r, d, "plaintext behind STARTTLS", &t);
    else if (t.gone || reply.code != 220)
        check_say(r, CHECK_OK, d->about, "plaintext behind STARTTLS is refused");
    else if (check_talk_tls(&t, &usual) && check_talk_reply_within(&t, &reply, QUIET_MS))
        check_say(
            r, CHECK_PROBLEM, d->about,
            "plaintext behind STARTTLS is executed inside TLS, so that anybody on the way can "
            "slip commands in; %s",
            replace);
    else
        check_say(r, CHECK_OK, d->about, "plaintext behind STARTTLS is dropped");
    check_talk_end(&t, false);
}

/* 535 would mean that the password was looked at. */
static void check_auth_in_clear(struct check_report *r, const struct check_door *d)
{
    struct check_talk t;
    struct reply reply;
    check_talk_init(&t, PATIENCE_MS);
    /* login "vestibule-check", password "made-up" */
    if (!check_door_enter(&t, d, CHECK_CLEAR, NULL, NULL) ||
        !check_talk_say(&t, "EHLO", "vestibule-check.example.org") ||
        !check_talk_expect(&t, &reply, 250) ||
        !check_talk_say(&t, "AUTH", "PLAIN AHZlc3RpYnVsZS1jaGVjawBtYWRlLXVw") ||
        (!check_talk_reply(&t, &reply) && !t.gone))
        untried(r, d, "AUTH in clear", &t);
    else if (t.gone || (reply.code >= 500 && reply.code != 535))
        check_say(r, CHECK_OK, d->about, "AUTH in clear is refused without a look at the password");
    else
        check_say(r, CHECK_PROBLEM, d->about,
                  "AUTH in clear is answered with %u, so that passwords cross the network for "
                  "everybody to read; %s",
                  reply.code, replace);
    check_talk_end(&t, !t.gone);
}

/* 0x0301 is 1.0 */
static unsigned minor(uint16_t version)
{
    return version - 0x0301u;
}

static void check_versions(struct check_report *r, const struct check_door *d)
{
    const uint16_t least = d->listener->min_version;
    struct check_talk t;
    if (least <= 0x0301) {
        check_say(
            r, CHECK_WARNING, d->about,
            "TLS 1.0 and 1.1 are taken, which is weak; raise min_version to 1.2 when the last "
            "old client is gone");
        return;
    }
    const struct tls_client_settings old = {.min_version = 0x0301,
                                            .max_version = (uint16_t)(least - 1)};
    check_talk_init(&t, PATIENCE_MS);
    bool taken = check_door_enter(&t, d, CHECK_INSIDE, NULL, &old);
    if (taken)
        check_say(r, CHECK_PROBLEM, d->about,
                  "TLS below 1.%u is taken against min_version; restart the service if min_version "
                  "was changed, and %s",
                  minor(least), replace);
    else if (t.alert != 0)
        check_say(r, CHECK_OK, d->about, "TLS below 1.%u is refused (alert %u)", minor(least),
                  t.alert);
    else
        untried(r, d, "an old version of TLS", &t);
    check_talk_end(&t, taken);
}

/* A browser that was led here must not get as far as SMTP (ALPACA). */
static void check_alpn(struct check_report *r, const struct check_door *d)
{
    static const struct tls_client_settings foreign = {.alpn = FOREIGN_PROTOCOL};
    struct check_talk t;
    check_talk_init(&t, PATIENCE_MS);
    bool taken = check_door_enter(&t, d, CHECK_INSIDE, NULL, &foreign);
    if (taken)
        check_say(r, CHECK_PROBLEM, d->about,
                  "TLS clients of another protocol (ALPN " FOREIGN_PROTOCOL ") are taken, which "
                  "opens the way to cross-protocol attacks; %s",
                  replace);
    else if (t.alert != 0)
        check_say(r, CHECK_OK, d->about,
                  "TLS clients of another protocol (ALPN " FOREIGN_PROTOCOL
                  ") are refused (alert %u)",
                  t.alert);
    else
        untried(r, d, "another application protocol", &t);
    check_talk_end(&t, taken);
}

void check_tls(struct check_report *r, const struct check_door *d)
{
    if (d->listener->tls == CONF_TLS_NONE)
        return;
    if (d->listener->tls == CONF_STARTTLS) {
        check_injection(r, d);
        check_auth_in_clear(r, d);
    }
    check_versions(r, d);
    check_alpn(r, d);
}
