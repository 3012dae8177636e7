/* The client side, towards the MTA: greeting, then one unanswered command at a time (RFC 5321).
 *
 * Pure. It learns what the MTA offers, falls back to HELO, and tells apart what the MTA may say
 * from what it may not. What goes out is written here alone, message data excepted; whether
 * anything may go out at all is the caller's gate, passed before `to` is given. Zero state: no
 * connection. */
#ifndef VESTIBULE_PROXY_MTA_H
#define VESTIBULE_PROXY_MTA_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/buf.h"
#include "proxy/capabilities.h"
#include "proxy/command.h"
#include "proxy/mta_identity.h"
#include "proxy/reply.h"

enum mta_state {
    MTA_NONE,
    MTA_WANTED,     /* to be connected; the caller has not been told yet */
    MTA_CONNECTING, /* the caller is at it */
    MTA_BANNER,
    MTA_EHLO,
    MTA_HELO,
    MTA_XCLIENT, /* is to be answered by 220, then EHLO begins anew */
    MTA_READY,   /* no reply is owed */
    MTA_BUSY,    /* `verb` is under way */
    MTA_DATA,    /* message data goes out; no reply is owed */
    MTA_END,     /* the final dot is written */
    MTA_QUIT,    /* nobody waits for the answer */
};

enum mta_verb { MTA_VERB_MAIL, MTA_VERB_RCPT, MTA_VERB_DATA, MTA_VERB_RSET };

struct mta {
    enum mta_state state; /* written by mta_enter alone */
    enum mta_verb verb;
    struct capabilities capabilities;    /* of this connection, from MTA_READY on */
    bool learnt;                         /* anew, and nobody has asked yet */
    bool transaction;                    /* it holds an envelope of ours */
    bool identified;                     /* XCLIENT was said on this connection */
    bool leave;                          /* the caller's wish to take leave when it can */
    const struct mta_identity *identity; /* to be told by XCLIENT; borrowed until MTA_READY, set
                                            behind mta_connected; NULL: none */
    unsigned transactions;               /* MAILs accepted on this connection */
    bool used; /* it has answered a MAIL before: it may have grown tired of us */
    uint32_t replies;
};

enum mta_event {
    MTA_SILENT,  /* nothing (whole) to hear */
    MTA_MOVED,   /* the greeting went on, or RSET was answered */
    MTA_REPLY,   /* the answer to the command under way, of a class that it may have; mta_heard() it
                  */
    MTA_REFUSAL, /* 4yz or 5yz in the middle of message data, or before the final dot was out */
    MTA_HANGUP,  /* 421, owed or not */
    MTA_UNUSABLE,     /* greeting or RSET was refused */
    MTA_UNIDENTIFIED, /* it offers XCLIENT, and refused it: it would take the client for us */
    MTA_NONSENSE,     /* a reply was owed, and this is none, or not one that the command can have */
    MTA_DESYNC,       /* octets while no reply is owed */
};

/* The caller has connected; a banner is owed. */
void mta_connected(struct mta *m);

/* No connection any more, or: one is wanted, the caller was told so. */
void mta_forget(struct mta *m);
void mta_want(struct mta *m);
void mta_asked(struct mta *m);

/* Looks at what the MTA said. `reply` is set with MTA_REPLY and MTA_REFUSAL and lives until
 * mta_heard. `to` takes EHLO and HELO; what still waits in it was never seen by the MTA. `name` is
 * ours or the client's. */
enum mta_event mta_hear(struct mta *m, struct reply *reply, struct buf *from, struct buf *to,
                        const char *name);

/* The reply was dealt with: drops it, and the state follows from it. */
void mta_heard(struct mta *m, struct buf *from, const struct reply *reply);

/* May a command be written now? */
bool mta_idle(const struct mta *m, const struct buf *from);

/* One command each, in MTA_READY; false: out of memory. `hidden`: enum extension bits that are not
 * to be used. */
bool mta_mail(struct mta *m, struct buf *to, const struct command_mail *mail, unsigned hidden);
bool mta_rcpt(struct mta *m, struct buf *to, const struct command_rcpt *rcpt, unsigned hidden);
bool mta_data(struct mta *m, struct buf *to);
bool mta_reset(struct mta *m, struct buf *to);
bool mta_quit(struct mta *m, struct buf *to);

/* The final dot, in MTA_DATA. */
bool mta_end(struct mta *m, struct buf *to);

#endif
