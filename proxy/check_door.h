/* One address of a listener, as `vestibule check` meets it: how to get in as a client would. A
 * driver. */
#ifndef VESTIBULE_PROXY_CHECK_DOOR_H
#define VESTIBULE_PROXY_CHECK_DOOR_H

#include <stdbool.h>

#include "conf/conf.h"
#include "proxy/address.h"
#include "proxy/check_talk.h"

struct check_door {
    const struct conf *conf;
    const struct conf_listener *listener;
    const char *about; /* "listener submission" */
    struct address at; /* no wildcard */
};

enum check_stage {
    CHECK_CLEAR,  /* greeted in clear */
    CHECK_INSIDE, /* inside TLS: greeted where TLS is implicit, EHLO to be said again where not */
};

/* The stage in which the listener's clients say MAIL. */
enum check_stage check_door_stage(const struct conf_listener *l);

/* The address for a client on this host: loopback instead of a wildcard. */
void check_door_address(struct address *out, const struct address *listening);

/* Dials and goes through the door. `first`: octets before everything that is ours to say; NULL:
 * none. `settings`: of TLS; NULL: the usual. False with t->why; the caller ends the talk either
 * way. */
bool check_door_enter(struct check_talk *t, const struct check_door *d, enum check_stage stage,
                      const char *first, const struct tls_client_settings *settings);

/* Dials, and says in a PROXY header that it comes from elsewhere where one is expected of us. */
bool check_door_knock(struct check_talk *t, const struct check_door *d);

/* Does the listener let this host, or whom a PROXY header names, submit without AUTH? Of a talk
 * that knocked. */
bool check_door_trusts(const struct check_talk *t, const struct check_door *d);

#endif
