/* The session driver: two sockets, a TLS engine, the pure SMTP core, one timer. After every event
 * it moves bytes until nothing moves, then arms the polls. */
#ifndef VESTIBULE_PROXY_SESSION_H
#define VESTIBULE_PROXY_SESSION_H

#include "proxy/channel.h"
#include "proxy/worker.h"

/* Takes over `fd`, whatever happens. */
void session_open(struct worker *w, const struct port *port, int fd, const struct address *from);

/* The vault's answer to this session's question. */
void session_answer(struct session *s, const struct channel_frame *frame);

/* The vault is gone: no question will be answered any more. */
void session_orphan(struct session *s);

/* The end, in three steps: whoever is at work goes on and the idle are sent away with a 421; then a
 * 421 to all at the next chance that loses no message; then the sockets are closed. */
void session_drain(struct session *s);
void session_hurry(struct session *s);
void session_kill(struct session *s);

#endif
