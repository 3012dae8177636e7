/* Inside the session driver: its state, and what its files do for each other. Nobody else includes
 * this.
 *
 * session.c owns the life: step, timers, end. session_begin.c finds out who comes, session_wire.c
 * moves the client's bytes and does TLS, session_talk.c runs the core and the MTA's socket,
 * session_login.c has logins checked, session_log.c writes the lines.
 */
#ifndef VESTIBULE_PROXY_SESSION_STATE_H
#define VESTIBULE_PROXY_SESSION_STATE_H

#include "proxy/log.h"
#include "proxy/proxy_header.h"
#include "proxy/session.h"

enum phase {
    PHASE_PROXY,     /* the PROXY header is awaited */
    PHASE_HANDSHAKE, /* TLS is being set up */
    PHASE_TALK,      /* the core decides */
    PHASE_STARTTLS,  /* the last plaintext reply is on its way out, then PHASE_HANDSHAKE */
    PHASE_FLUSH,     /* the last octets are on their way out */
    PHASE_LINGER, /* ours is closed; reading on so that a reset does not overtake the last reply */
    PHASE_CLOSED,
};

struct session {
    struct worker *worker;
    const struct port *port;
    uint64_t number;
    enum phase phase;
    int fd;
    unsigned handles; /* poll and timer; the last one's close callback frees */
    uv_poll_t poll;
    uv_timer_t timer;
    int armed;
    bool again; /* more can move: the others have their turn first */
    bool draining;
    bool readable;
    bool flowing; /* the last read filled its room */
    bool writable;
    bool client_ended; /* end of file or close_notify; replies may still reach it */
    bool farewell;     /* our close_notify is in wire_out, or out */
    bool polite;       /* the client said goodbye first: no need to linger */
    bool asked;        /* a question to the vault is open */
    uint64_t
        question;   /* its number, a new one each time: a late answer to an earlier one is none */
    bool told_gone; /* the core knows that the client is gone */
    bool exchange;  /* the vault speaks a mechanism with the client, under `question`; not `asked`:
                       it is the client's turn */
    uint32_t attempt; /* logins begun */

    struct tls_engine *tls;
    struct smtp *smtp;
    struct upstream *upstream;
    bool upstream_stands;
    enum { LEASE_NOT, LEASE_ASKED, LEASE_HELD } lease; /* of a connection to the MTA */
    uint64_t lease_asked;                              /* when */
    uint64_t lease_number; /* one for each question: an answer to an earlier one is none */
    bool mta_readable;
    bool mta_ended; /* and the core has not been told yet */

    struct buf wire_in; /* ciphertext; unused in plaintext */
    struct buf wire_out;
    struct buf from_client;
    struct buf to_client;
    struct buf from_mta;
    struct buf to_mta;

    struct smtp_waiting waiting;
    uint64_t wait_until;
    uint64_t phase_until; /* of every phase but PHASE_TALK */
    uint64_t write_until; /* 0: nothing waits to be written */

    uint64_t opened;
    uint64_t octets_in;
    uint64_t octets_out;
    struct smtp_peer peer;
    struct address from;            /* the client's, or what the PROXY header said */
    struct address to;              /* ours, likewise */
    char address[ADDRESS_TEXT_MAX]; /* `from` as text */
    char local[ADDRESS_TEXT_MAX];   /* `to` as text */
    char id[24];
    char failure[96];
};

/* session.c */
void session_step(
    struct session *s); /* moves bytes until nothing moves, then arms polls and timer */
void session_close(
    struct session *s); /* at once; the struct lives until libuv lets go of its handles */
void session_enter(struct session *s, enum phase phase, uint64_t milliseconds);
uint64_t session_question(struct session *s);             /* opens one: its number */
void session_withdraw(struct session *s);                 /* no answer is wanted any more */
void session_fail(struct session *s, const char *reason); /* the first reason stays */
void session_drop_mta(struct session *s);                 /* and give its lease back */

/* session_begin.c */
void session_name(struct session *s);   /* its id, its peer's address */
void session_arrive(struct session *s); /* a PROXY header first, or session_begin; may close */
void session_begin(struct session *s);  /* who the client is, is known */
bool session_take_header(struct session *s, bool *broken); /* one round of PHASE_PROXY */
size_t session_introduction(const struct session *s,
                            uint8_t out[PROXY_HEADER_WRITE_MAX]); /* for the MTA; 0: none */

/* session_wire.c. `*broken` is set when the client's socket is of no use any more. True: something
 * moved. */
struct smtp_io session_io(struct session *s);
struct tls_wire session_wire(struct session *s); /* from wire_in into the worker's scratch */
bool session_wire_done(struct session *s, const struct tls_wire *wire); /* false: out of memory */
bool session_drain_queue(struct session *s, struct buf *queue, bool *broken);
/* Our close_notify behind what is left to say, so that both go in one packet; once. */
void session_farewell(struct session *s);
bool session_give_client(struct session *s, bool *broken);
bool session_take_client(struct session *s, bool *broken);
bool session_start_tls(struct session *s); /* false: the session is closed */
bool session_handshake(struct session *s, bool *broken);
bool session_spoke_tls(const struct session *s);

/* session_talk.c */
bool session_give_mta(struct session *s);
void session_leased(struct session *s, uint64_t number, enum channel_lease lease);
bool session_talk(struct session *s, bool *broken); /* one round of PHASE_TALK */

/* session_login.c: the core's logins and the vault */
bool session_ask_verdict(struct session *s); /* true: answered already */
void session_take_challenge(struct session *s, const struct channel_frame *frame);
void session_take_verdict(struct session *s, const struct channel_frame *frame);
void session_end_exchange(struct session *s); /* if the core is not in it any more */

/* session_log.c */
void session_log_event(const struct session *s, enum log_level level, const char *event,
                       const char *message);
void session_log_refused_login(const struct session *s, const char *reason);
void session_log_abandoned_login(const struct session *s); /* or guessing would leave no trace */
void session_log_note(const struct session *s);
void session_log_end(const struct session *s);

#endif
