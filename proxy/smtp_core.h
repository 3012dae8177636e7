/* Inside the SMTP session core: its state, and what its files owe each other. Nobody else includes
 * this.
 *
 *   smtp.c              the loop, events, questions
 *   smtp_command.c      the command table, and everything that is answered from here
 *   smtp_auth.c         AUTH
 *   smtp_permit.c       the vault's word on senders and recipients
 *   smtp_envelope.c     MAIL, RCPT, DATA, RSET as the client says them
 *   smtp_transaction.c  the transaction with the MTA
 *   smtp_body.c         message data
 *   smtp_chunk.c        BDAT, and chunks as message data
 *   smtp_say.c          replies on their way to the client, notes for the log */
#ifndef VESTIBULE_PROXY_SMTP_CORE_H
#define VESTIBULE_PROXY_SMTP_CORE_H

#include "proxy/fifo.h"
#include "proxy/hops.h"
#include "proxy/mta.h"
#include "proxy/path.h"
#include "proxy/smtp.h"

enum smtp_link {
    LINK_PLAIN,     /* plaintext */
    LINK_STARTTLS,  /* the caller is to start TLS */
    LINK_HANDSHAKE, /* it is at it */
    LINK_TLS,
};

enum smtp_hello { HELLO_NONE, HELLO_HELO, HELLO_EHLO };

enum smtp_auth {
    AUTH_NONE,
    AUTH_CHALLENGE, /* a 334 is to be said */
    AUTH_EXCHANGE,  /* it is out, the next line is the answer */
    AUTH_ASK,       /* the caller is to have the credential checked */
    AUTH_VERDICT,   /* it is at it */
    AUTH_DONE,
};

/* The vault's word on a sender or recipient. */
enum smtp_asking {
    ASKING_NOT,
    ASKING_DUE,     /* the caller is to ask */
    ASKING_VERDICT, /* it is at it */
};

/* The mail transaction. */
enum smtp_stage {
    STAGE_NONE,
    STAGE_MAIL,  /* MAIL is to be permitted and written, or its reply is owed */
    STAGE_OPEN,  /* MAIL was accepted */
    STAGE_RCPT,  /* the same for RCPT */
    STAGE_DATA,  /* the reply to DATA is owed */
    STAGE_BODY,  /* message data goes through */
    STAGE_CHUNK, /* the MTA said 354, the client's next BDAT is awaited */
    STAGE_DRAIN, /* message data is read and thrown away */
    STAGE_DOT,   /* the end was read, the final dot is to be written */
    STAGE_END,   /* the final dot was written, its reply is owed */
};

enum smtp_closing {
    CLOSING_NOT,
    CLOSING_SAY,   /* after what is owed, the last reply */
    CLOSING_LEAVE, /* the MTA is taken leave of */
    CLOSING_CLOSE,
    CLOSING_ABORT,
};

#define SMTP_REPLY_NOTED 512 /* of a reply, for the log */
/* A reply of the MTA's with an enhanced code put into each line. */
#define SMTP_RELAYED_MAX (REPLY_TOTAL_MAX + REPLY_LINES_MAX * 16)

/* From MAIL to the end of data. */
struct smtp_message {
    struct command_mail mail;
    struct command_rcpt rcpt; /* in STAGE_RCPT */
    bool rcpt_due;            /* it is to be written */
    bool written;             /* MAIL is on its way */
    bool retried;             /* it had to be written again */
    bool lost;                /* the MTA's connection broke: nothing can come of it */
    bool chunked;             /* by BDAT */
    bool data;                /* 354 was said: its end is noted */
    bool traced;              /* the trace header was written */
    bool delivered;
    unsigned accepted;
    unsigned refused;
    unsigned chunks; /* BDATs taken */
    struct data_scan scan;
    struct hops hops;
    uint64_t in;        /* octets of message data read */
    uint64_t out;       /* and written */
    const char *fate;   /* while STAGE_DRAIN, or lost in STAGE_CHUNK: the reply at the end of the
                           data or chunk; NULL: `refusal` */
    struct buf refusal; /* the MTA's early one */
    char reply[SMTP_REPLY_NOTED];
};

/* What BDAT announced. */
struct smtp_chunk {
    bool open; /* its octets are not commands, whatever becomes of them */
    bool last;
    uint64_t size;
    uint64_t left;
    const char *refusal; /* thrown away, and then this; NULL: it is message data */
};

struct smtp {
    const struct smtp_rules *rules;
    const struct smtp_peer *peer;
    const struct capabilities *known; /* of the MTA, before this session has a connection */

    enum smtp_link link;       /* written by smtp_link_enter alone */
    enum smtp_hello hello;     /* by smtp_greeted and smtp_forget */
    enum smtp_auth auth;       /* by smtp_auth_enter */
    enum smtp_asking asking;   /* by smtp_asking_enter */
    enum smtp_stage stage;     /* by smtp_stage_enter */
    enum smtp_closing closing; /* by smtp_closing_enter */
    enum smtp_end end;         /* by smtp_finish: the first reason stands */
    bool banner_due;
    bool draining;
    bool client_gone;
    bool cut;     /* the caller is to close the MTA's connection */
    bool leaving; /* the same, when QUIT is out */

    bool unidentified; /* an MTA without XCLIENT was noted */
    unsigned offered;  /* enum extension bits of the last EHLO's answer */
    unsigned listed;   /* enum sasl_mechanism bits of it */
    unsigned errors;
    unsigned junk;
    unsigned failures;
    unsigned messages;
    uint32_t progress;      /* commands taken */
    const char *discarding; /* inside a line that is too long: the reply at its end */
    uint64_t said;          /* octets put into to_client */
    enum sasl_mechanism mechanism;

    char *helo;
    char *login;
    struct sasl *sasl;         /* during an exchange */
    struct smtp_permit permit; /* while asking */
    struct smtp_chunk chunk;
    struct smtp_message *message; /* during a transaction */
    struct smtp_message *ended;   /* until its note is taken */
    unsigned notes;               /* 1 << enum smtp_note_kind: to be given */
    struct smtp_note note;
    struct smtp_waiting wait;

    struct fifo fifo;
    struct mta mta;
    struct mta_identity identity; /* what XCLIENT would say */
    struct smtp_tls_info tls;
};

/* One command line in from_client. */
struct smtp_line {
    const char *args;
    size_t len;
    bool behind; /* octets stand behind it */
};

/* --- smtp.c */

/* May the client send to this address? The second half of the gate, for each RCPT; NULL: yes, else
 * the reply. */
const char *smtp_may_reach(const struct smtp *s, const struct path *path);

/* The gate: where octets for the MTA go. NULL, and the session ends: none may. */
struct buf *smtp_to_mta(struct smtp *s, struct smtp_io *io);
void smtp_finish(struct smtp *s, enum smtp_end end);
void smtp_out_of_memory(struct smtp *s);
void smtp_abort(struct smtp *s, enum smtp_end end);
void smtp_inject(struct smtp *s); /* octets came where none may come */
void smtp_link_enter(struct smtp *s, enum smtp_link link);

/* The MTA began to say something that nobody asked for; what it is decides over the next command.
 */
bool smtp_half_heard(const struct smtp *s, const struct smtp_io *io);

/* --- smtp_say.c */

/* Room for any one reply? A client that takes none is not read either. */
bool smtp_can_say(const struct smtp *s, const struct smtp_io *io);

/* The reply to the command being read: a constant, in its turn; errors are counted here. */
void smtp_reply(struct smtp *s, const char *text);

/* At once: nothing else is owed, and smtp_can_say. */
void smtp_say(struct smtp *s, struct smtp_io *io, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void smtp_say_relayed(struct smtp *s, struct smtp_io *io, const struct reply *r);
void smtp_say_raw(struct smtp *s, struct smtp_io *io, const struct buf *lines);
void smtp_say_offer(struct smtp *s, struct smtp_io *io);
void smtp_say_challenge(struct smtp *s, struct smtp_io *io, const char *challenge);
void smtp_say_end(struct smtp *s, struct smtp_io *io);
bool smtp_flush(struct smtp *s, struct smtp_io *io);

bool smtp_give_note(struct smtp *s);
void smtp_drop_note(struct smtp *s);

/* --- smtp_command.c */

/* Takes one line, if there is one and its turn has come. */
bool smtp_take_line(struct smtp *s, struct smtp_io *io);

/* Everything that the client said before TLS. */
void smtp_forget(struct smtp *s);

enum smtp_command_flag {
    BEFORE_TLS = 1 << 0,  /* allowed before TLS where TLS is required (RFC 3207 4) */
    BEFORE_AUTH = 1 << 1, /* allowed before AUTH (RFC 4954 6) */
    LAST = 1 << 2,        /* nothing may stand behind it: what follows is not for us as commands */
    BARE = 1 << 3,        /* takes no parameter */
    JUNK = 1 << 4,        /* moves no mail: counted */
    UTF8 = 1 << 5,        /* may hold octets above 127, which its parser checks */
};

/* Not yet, for a command with these flags: TLS first, or AUTH first; NULL: it may. */
const char *smtp_too_early(const struct smtp *s, unsigned flags);

/* --- handlers of the table: a constant reply, or NULL: the answer was given, waits, or ends the
 * session. */

const char *smtp_do_auth(struct smtp *s, struct smtp_io *io, const struct smtp_line *line);
const char *smtp_do_mail(struct smtp *s, struct smtp_io *io, const struct smtp_line *line);
const char *smtp_do_rcpt(struct smtp *s, struct smtp_io *io, const struct smtp_line *line);
const char *smtp_do_data(struct smtp *s, struct smtp_io *io, const struct smtp_line *line);
const char *smtp_do_bdat(struct smtp *s, struct smtp_io *io, const struct smtp_line *line);
const char *smtp_do_rset(struct smtp *s, struct smtp_io *io, const struct smtp_line *line);

/* --- smtp_permit.c */

/* Has the vault its say on this? Then it is asked, and nothing happens before it was heard. */
void smtp_permit_ask(struct smtp *s, enum smtp_permit_what what, const char *address);
void smtp_permit_asked(struct smtp *s);
void smtp_permit_stop(struct smtp *s);

/* --- smtp_auth.c */

const char *smtp_auth_response(struct smtp *s, const char *text, size_t len);
void smtp_auth_stop(struct smtp *s); /* wipes */
void smtp_auth_asked(struct smtp *s);
unsigned smtp_auth_offer(const struct smtp *s);               /* enum sasl_mechanism bits */
bool smtp_auth_challenge(struct smtp *s, struct smtp_io *io); /* says what is to be said */

/* --- smtp_transaction.c */

/* One step of the transaction: something heard from the MTA, written to it, or moved through. */
bool smtp_transact(struct smtp *s, struct smtp_io *io);
void smtp_stage_enter(struct smtp *s, enum smtp_stage stage);

/* Can the MTA of this connection not do it? Enum extension bits. */
bool smtp_lacks(const struct smtp *s, unsigned extensions);
bool smtp_too_big(const struct capabilities *mta, const struct smtp *s,
                  const struct command_mail *mail);

/* The transaction is over; once message data had begun, the log hears of it. `noted` NULL: its
 * reply was noted. */
void smtp_conclude(struct smtp *s, const char *noted);
void smtp_answer_and_conclude(struct smtp *s, const char *text);

/* The client's wish: no transaction any more. */
void smtp_transaction_reset(struct smtp *s);

/* The client's side ends in the middle of it. */
void smtp_transaction_abandon(struct smtp *s, const char *noted);

/* Why a connection to the MTA is of no use any more. */
enum smtp_mishap {
    MISHAP_AWAY,     /* not to be had */
    MISHAP_BUSY,     /* none was free */
    MISHAP_IDENTITY, /* it offers XCLIENT and does not take it */
    MISHAP_LOST,     /* broken */
    MISHAP_SLOW,     /* no answer in time */
    MISHAP_CLOSING,  /* 421 */
    MISHAP_NONSENSE, /* not a reply */
};

/* Answers who waits for the MTA, if need be; then the connection is forgotten, or closed by
 * smtp_cut. */
void smtp_mta_failed(struct smtp *s, enum smtp_mishap mishap);
void smtp_cut(struct smtp *s);

/* A RCPT that never got to the MTA. */
void smtp_rcpt_refuse(struct smtp *s, const char *text);

/* Always true; without `ok` memory was short, and the session ends. */
bool smtp_wrote(struct smtp *s, bool ok);
void smtp_message_free(struct smtp_message *m);

/* --- smtp_body.c */

void smtp_body_begin(struct smtp *s); /* 354 */

/* The trace header goes with the first octets of message data: alone it would wake the MTA for
 * nothing. Once; false: the session ends. */
bool smtp_body_trace(struct smtp *s, struct smtp_io *io);

bool smtp_body_pass(struct smtp *s, struct smtp_io *io);
bool smtp_body_drain(struct smtp *s, struct smtp_io *io);
bool smtp_body_end(struct smtp *s, struct smtp_io *io); /* the final dot */

bool smtp_body_over(const struct smtp *s); /* nothing of it is to come, or not of this chunk */

/* So many octets of from_client were scanned: a fault costs the MTA's connection, the end is
 * answered in its turn. */
void smtp_body_scanned(struct smtp *s, struct smtp_io *io, size_t used);

/* --- smtp_chunk.c */

/* Throws away of a refused chunk what has come, and answers at its end. */
bool smtp_chunk_refused(struct smtp *s, struct smtp_io *io);

/* All of the chunk went through. */
bool smtp_chunk_end(struct smtp *s, struct smtp_io *io);

/* --- every local reply; none holds anything of the input, and those that end a session are in
 * smtp_say.c */

#define SAY_OK "250 2.0.0 OK"
#define SAY_BYE "221 2.0.0 Bye"
#define SAY_HELP "214 2.0.0 Mail submission: EHLO STARTTLS AUTH MAIL RCPT DATA RSET NOOP QUIT"
#define SAY_VRFY "252 2.1.5 Cannot verify, but will accept the message and attempt delivery"
#define SAY_STARTTLS "220 2.0.0 Ready to start TLS"
#define SAY_DATA "354 End data with <CR><LF>.<CR><LF>"

#define SAY_UNKNOWN "500 5.5.1 Command not recognized"
#define SAY_NOT_HERE "502 5.5.1 Command not implemented"
#define SAY_LINE_TOO_LONG "500 5.5.2 Line too long"
#define SAY_LINE_UNCLEAN "500 5.5.2 Control or 8-bit character in command"
#define SAY_ARGUMENT "501 5.5.4 Syntax error in parameters or arguments"
#define SAY_NO_ARGUMENT "501 5.5.4 No parameters allowed"
#define SAY_PARAMETER "555 5.5.4 Parameter not recognized or not offered"
#define SAY_HELLO_NAME "501 5.5.4 Domain name or address literal required"

#define SAY_NEED_STARTTLS "530 5.7.0 Must issue a STARTTLS command first"
#define SAY_NEED_AUTH "530 5.7.0 Authentication required"
#define SAY_NEED_EHLO "503 5.5.1 Send EHLO first"
#define SAY_NEED_HELLO "503 5.5.1 Send EHLO or HELO first"
#define SAY_TLS_ALREADY "503 5.5.1 TLS is active already"

#define SAY_AUTH_OK "235 2.7.0 Authentication successful"
#define SAY_AUTH_WRONG "535 5.7.8 Authentication credentials invalid"
#define SAY_AUTH_UNAVAILABLE "454 4.7.0 Temporary authentication failure, try again later"
#define SAY_AUTH_ALREADY "503 5.5.1 Already authenticated"
#define SAY_AUTH_OFF "503 5.5.1 Authentication is not available here"
#define SAY_AUTH_MECHANISM "504 5.5.4 Mechanism not supported"
#define SAY_AUTH_CANCELLED "501 5.7.0 Authentication cancelled"
#define SAY_AUTH_BASE64 "501 5.5.2 Cannot decode base64"
#define SAY_AUTH_UNASKED "501 5.5.4 Mechanism takes no initial response"
#define SAY_AUTH_TOO_LONG "500 5.5.6 Authentication line too long"

#define SAY_AUTH_IN_MAIL "503 5.5.1 AUTH is not allowed inside a mail transaction"
#define SAY_TLS_NEVER "502 5.5.1 TLS is not available here"
#define SAY_TLS_IN_MAIL "503 5.5.1 STARTTLS is not allowed inside a mail transaction"

#define SAY_NOT_YOURS "550 5.7.1 Sender address is not yours"
#define SAY_NOT_ALLOWED "550 5.7.1 Recipient address is not allowed"
#define SAY_OVER_QUOTA "450 4.7.1 Too much mail, try again later"
#define SAY_NO_VERDICT "451 4.3.0 Temporary failure, try again later"
#define SAY_RELAY "550 5.7.1 Relaying denied"
#define SAY_NOT_PLAIN "550 5.1.3 Recipient address is not accepted in this form"

#define SAY_NESTED "503 5.5.1 Nested MAIL command"
#define SAY_NEED_MAIL "503 5.5.1 Send MAIL first"
#define SAY_CHUNKS_OPEN "503 5.5.1 Message is being sent by BDAT"
#define SAY_NEED_RCPT "503 5.5.1 No valid recipients"
#define SAY_SENDER "501 5.1.7 Bad sender address syntax"
#define SAY_RECIPIENT "501 5.1.3 Bad recipient address syntax"
#define SAY_NOT_UTF8 "501 5.5.2 Invalid UTF-8 in address"
#define SAY_SENDER_UTF8 "550 5.6.7 Address needs SMTPUTF8"
#define SAY_RECIPIENT_UTF8 "553 5.6.7 Address needs SMTPUTF8"
#define SAY_TOO_MANY "452 4.5.3 Too many recipients"
#define SAY_TOO_BIG "552 5.3.4 Message too big"
#define SAY_BARE_CR "550 5.6.0 Bare CR in message data (RFC 5321 2.3.8)"
#define SAY_BARE_LF "550 5.6.0 Bare LF in message data (RFC 5321 2.3.8)"
#define SAY_NUL "550 5.6.0 NUL in message data"
#define SAY_LOOP "554 5.4.6 Too many Received headers, a mail loop"

#define SAY_MTA_AWAY "451 4.4.1 The mail server is out of reach, try again later"
#define SAY_MTA_BUSY "451 4.3.2 The mail server is busy, try again later"
#define SAY_MTA_IDENTITY \
    "451 4.3.0 The mail server does not take the client's identity, try again later"
#define SAY_MTA_LOST "451 4.4.2 The connection to the mail server was lost, try again later"
#define SAY_MTA_SLOW "451 4.4.2 The mail server does not answer, try again later"
#define SAY_MTA_CLOSING "451 4.3.2 The mail server takes no mail now, try again later"
#define SAY_MTA_NONSENSE "451 4.3.0 The mail server's answer made no sense, try again later"
#define SAY_MTA_LACKS \
    "451 4.3.0 The mail server lacks an extension that this needs, try again later"

#endif
