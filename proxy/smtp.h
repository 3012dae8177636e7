/* The SMTP session: a server towards the client, a client towards the MTA, and the gate between
 * them.
 *
 * Pure: bytes in, bytes out, and at most one thing for the caller to do next. The caller owns the
 * four queues, the sockets, the TLS engine and the clock; it calls smtp_advance after every event
 * until that answers SMTP_WAIT.
 *
 * Invariants, which the session fuzzer checks:
 *   - exactly one reply per command, in order, whatever the segments (RFC 5321 4.2, RFC 2920);
 *   - not one octet to the MTA, and no connection, before smtp_may_forward() says so;
 *   - to the MTA only canonical commands, one unanswered at a time, nothing behind the final dot;
 *   - without a login, no recipient but those that recipients.h lets through the gate;
 *   - what the vault must permit (SMTP_PERMIT) does not reach the MTA before it did;
 *   - a 250 for a message is the MTA's own (that for a chunk which is not the last says only that
 *     its octets were taken);
 *   - the final dot is written only when the client's end of data was read and nothing was wrong.
 *
 * An event in a state that does not wait for it changes nothing. */
#ifndef VESTIBULE_PROXY_SMTP_H
#define VESTIBULE_PROXY_SMTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "auth/sasl.h"
#include "proxy/buf.h"
#include "proxy/capabilities.h"
#include "proxy/data.h"
#include "proxy/limits.h"
#include "proxy/trace.h"

enum smtp_auth_rule {
    SMTP_AUTH_REQUIRED,
    SMTP_AUTH_OPTIONAL, /* offered under TLS; trusted clients, and where there is a gate all others,
                           may do without */
    SMTP_AUTH_NONE,     /* the same, but not offered */
};

/* Where clients that are neither logged in nor trusted may send mail to: see recipients.h. */
struct smtp_gate {
    const char *const *domains;
    size_t count;
};

/* What does not change while a session lives: from the listener, the upstream and the [message]
 * section. */
struct smtp_rules {
    const char *hostname;
    bool starttls;    /* TLS begins with STARTTLS; false: it began before the first octet */
    bool tls_never;   /* there is no TLS; `starttls` and `require_tls` are false */
    bool require_tls; /* before TLS nothing but EHLO, NOOP, QUIT, STARTTLS */
    enum smtp_auth_rule auth;
    const struct smtp_gate *gate; /* NULL: strangers may not send at all */
    bool permit_sender;    /* for clients that logged in the vault has its say on each MAIL */
    bool permit_recipient; /* and on each RCPT: SMTP_PERMIT */
    bool xclient; /* tell an MTA that offers XCLIENT who the client is; it must take it then */
    unsigned messages_per_connection; /* then the MTA gets QUIT; 0: no limit */
    unsigned hidden;                  /* enum extension bits never to offer */
    bool helo_proxy;                  /* the MTA sees our name instead of the client's */
    uint64_t max_size;                /* 0: the MTA's */
    unsigned max_failures;
    enum data_newline newline;
    enum trace_mode trace;
};

/* What the caller knows of the client; borrowed, it outlives the session core. */
struct smtp_peer {
    const char *address; /* "192.0.2.1" */
    const char *session; /* session id */
    uint16_t port;       /* 0: unknown */
    const char *local;   /* the address that it connected to; NULL: unknown */
    bool trusted;        /* it is in one of the listener's trusted networks */
    /* What the vault can have checked, enum sasl_mechanism bits; the caller may change it between
     * calls. */
    const uint32_t *mechanisms;
};

struct smtp_tls_info {
    char version[12];
    char cipher[48];
    bool bound;           /* a login can be bound to this channel: SASL_BOUND may be offered */
    const char *external; /* the login of the client's certificate, borrowed as long as the peer;
                             NULL or "": none, and SASL_EXTERNAL is not offered */
};

/* The queues between the core and the caller's sockets, born with the maxima of limits.h. `now` is
 * seconds since 1970. */
struct smtp_io {
    struct buf *from_client; /* decrypted; the core takes whole commands and leaves the rest */
    struct buf *to_client;
    struct buf *from_mta;
    struct buf *to_mta;
    int64_t now;
};

enum smtp_todo {
    SMTP_WAIT,     /* nothing, until bytes come or go or the wait of smtp_waiting() is over */
    SMTP_STARTTLS, /* get to_client out in plaintext, start TLS, then smtp_tls_started() */
    SMTP_VERIFY,   /* have smtp_credential() checked, then smtp_challenged() or smtp_verdict() */
    SMTP_PERMIT,   /* have smtp_permit() judged, then smtp_permitted() */
    SMTP_CONNECT,  /* connect to the MTA, then smtp_mta_connected(), smtp_mta_lost(),
                      smtp_mta_busy() or smtp_mta_unidentified() */
    SMTP_LEAVE,    /* to_mta holds QUIT: get out what its socket takes at once, then close the MTA's
                      connection; call again */
    SMTP_CUT,   /* close the MTA's connection (or the attempt) now; to_mta is empty; call again */
    SMTP_NOTE,  /* something for the log: smtp_note(); call again */
    SMTP_CLOSE, /* get to_client and to_mta out, then close both; the session is over */
    SMTP_ABORT, /* close both at once, nothing more goes out; the session is over */
};

/* What the session is waiting for. A deadline belongs to the pair: it is renewed when either
 * changes. */
enum smtp_waiting_for {
    SMTP_FOR_COMMAND, /* the listener's idle_timeout; no octet of it has come */
    SMTP_FOR_LINE,    /* LIMIT_COMMAND_MS; a command has begun */
    SMTP_FOR_DATA,    /* LIMIT_DATA_MS per LIMIT_DATA_UNIT */
    SMTP_FOR_VERDICT, /* LIMIT_VERDICT_MS; on a login, a sender, a recipient */
    SMTP_FOR_CONNECT, /* the upstream's queue_timeout */
    SMTP_FOR_BANNER,  /* the MTA's, RFC 5321 4.5.3.2.1 */
    SMTP_FOR_REPLY,   /* the upstream's reply_timeout: EHLO, MAIL, RCPT, RSET */
    SMTP_FOR_START,   /* the reply to DATA, 4.5.3.2.4 */
    SMTP_FOR_BLOCK,   /* the upstream's reply_timeout, per LIMIT_DATA_UNIT: the MTA takes no data */
    SMTP_FOR_END,     /* the upstream's data_timeout: the reply to the final dot */
    SMTP_FOR_WRITE,   /* LIMIT_WRITE_MS: the client takes no replies */
};

struct smtp_waiting {
    enum smtp_waiting_for what;
    uint32_t unit; /* grows with each command, reply and unit of data */
};

/* What the vault is asked about; borrowed until smtp_permitted. */
enum smtp_permit_what { SMTP_PERMIT_SENDER, SMTP_PERMIT_RECIPIENT };
struct smtp_permit {
    enum smtp_permit_what what;
    const char *address; /* canonical, `local@domain`; "" is the null sender */
};

enum smtp_permission {
    SMTP_PERMIT_ALLOWED,
    SMTP_PERMIT_NOT_OWNED,   /* 550 5.7.1 */
    SMTP_PERMIT_OVER_QUOTA,  /* 450 4.7.1 */
    SMTP_PERMIT_UNAVAILABLE, /* 451 4.3.0 */
};

enum smtp_verdict { SMTP_ACCEPTED, SMTP_REJECTED, SMTP_UNAVAILABLE, SMTP_LIMITED };

/* How the session ended, or why it must. Stable words for the log: smtp_end_name. */
enum smtp_end {
    SMTP_END_NONE,
    SMTP_END_QUIT,
    SMTP_END_CLIENT_GONE,
    SMTP_END_IDLE,
    SMTP_END_DRAIN,
    SMTP_END_ERRORS,        /* too many bad commands or too much junk */
    SMTP_END_AUTH_FAILURES, /* max_failures reached */
    SMTP_END_LIMITED,       /* the vault said so */
    SMTP_END_FOREIGN,       /* HTTP or another protocol */
    SMTP_END_BARE_LF,       /* a command that ended in, or held, a bare LF */
    SMTP_END_INJECTION, /* plaintext behind STARTTLS, body behind DATA, bytes before the banner */
    SMTP_END_DESYNC,    /* the MTA spoke when no reply was owed */
    SMTP_END_SLOW,      /* a deadline within a command or message */
    SMTP_END_BDAT,      /* of a size unknown or too big: its chunk must not be read as commands */
    SMTP_END_VAULT,     /* no word from the vault on a sender or recipient */
    SMTP_END_MEMORY,
    SMTP_END_GATE, /* something would have gone to the MTA that may not: a bug of ours */
};

enum smtp_note_kind {
    SMTP_NOTE_MESSAGE,    /* a message ended: accepted, refused or lost */
    SMTP_NOTE_CLEAR_AUTH, /* a password went over the wire in clear; it was not looked at */
    SMTP_NOTE_DESYNC,
    SMTP_NOTE_INJECTION,
    SMTP_NOTE_NO_XCLIENT, /* the MTA does not offer it; once a session */
};

/* Borrowed from the core until the next smtp_advance. */
struct smtp_note {
    enum smtp_note_kind kind;
    const char *sender;  /* reverse-path; "" is the null path */
    unsigned recipients; /* accepted by the MTA */
    unsigned refused;    /* recipients it refused */
    uint64_t octets;     /* of message data as decoded */
    const char *reply;   /* that the client got for it, cleaned; or why there is none */
    bool delivered;      /* the MTA said 2yz */
    bool client_gone;    /* the client did not wait for it */
};

struct smtp; /* zeroed and filled by smtp_new */

/* Sends the banner unless `rules->starttls` is false: then smtp_tls_started() does. Borrows rules,
 * peer and mta until smtp_free. `mta` is what is known of the MTA so far; the caller may change it
 * between calls. NULL: out of memory. */
struct smtp *smtp_new(const struct smtp_rules *rules, const struct smtp_peer *peer,
                      const struct capabilities *mta);
void smtp_free(struct smtp *s);

enum smtp_todo smtp_advance(struct smtp *s, struct smtp_io *io);

/* Events. Each is followed by smtp_advance. */
void smtp_tls_started(struct smtp *s, const struct smtp_tls_info *info);
void smtp_challenged(struct smtp *s, const uint8_t *message, size_t len); /* an exchange goes on */
void smtp_verdict(
    struct smtp *s, enum smtp_verdict verdict,
    const char *login); /* whom SMTP_ACCEPTED names; it need not be the credential's */
void smtp_permitted(struct smtp *s, enum smtp_permission permission);
void smtp_mta_connected(struct smtp *s);
void smtp_mta_busy(struct smtp *s); /* instead: none was free within the upstream's queue_timeout */
void smtp_mta_unidentified(struct smtp *s); /* instead: it cannot be shown the client's address */
void smtp_mta_idle_out(struct smtp *s);     /* its connection has been idle for long enough */
void smtp_mta_lost(
    struct smtp *s); /* end of file, reset, refused, or queue_timeout; from_mta was fed first */
void smtp_client_gone(
    struct smtp *s);                 /* end of file or error: no more from it, nothing more to it */
void smtp_timed_out(struct smtp *s); /* the wait of smtp_waiting() is over */
void smtp_drain(struct smtp *s);     /* 421 at the next chance that loses no message */

/* Questions. */
struct smtp_waiting smtp_waiting(const struct smtp *s, const struct smtp_io *io);
bool smtp_reads_client(const struct smtp *s,
                       const struct smtp_io *io); /* room for more of its bytes? */
const struct sasl_credential *smtp_credential(
    const struct smtp *s);                 /* while SMTP_VERIFY is pending */
bool smtp_exchanges(const struct smtp *s); /* the vault is in the middle of an exchange with it: the
                                              credential is its next message, or none is to come */
unsigned smtp_listed(const struct smtp *s); /* enum sasl_mechanism bits of its last EHLO's answer */
const struct smtp_permit *smtp_permit(const struct smtp *s); /* while SMTP_PERMIT is pending */
bool smtp_mta_idles(const struct smtp *s); /* is there an MTA's connection without a transaction? */
const struct smtp_note *smtp_note(const struct smtp *s);
bool smtp_learnt(struct smtp *s,
                 struct capabilities *out); /* true once after each EHLO to the MTA */
bool smtp_may_forward(const struct smtp *s);
enum smtp_end smtp_end(const struct smtp *s);
const char *smtp_end_name(enum smtp_end end);
const char *smtp_login(const struct smtp *s);     /* NULL before AUTH */
const char *smtp_mechanism(const struct smtp *s); /* "PLAIN", or NULL */
const char *smtp_helo(const struct smtp *s);      /* NULL before EHLO */
unsigned smtp_messages(const struct smtp *s);     /* delivered */

#endif
