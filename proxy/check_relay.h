/* `vestibule check` as a stranger at the door: tries to relay in every known way, and sends
 * nothing.
 */
#ifndef VESTIBULE_PROXY_CHECK_RELAY_H
#define VESTIBULE_PROXY_CHECK_RELAY_H

#include "proxy/check_door.h"
#include "proxy/check_report.h"

/* One wrong password is among it, so that no account and no network is locked out. */
void check_relay(struct check_report *r, const struct check_door *d);

#endif
