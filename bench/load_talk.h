/* The client's side of an SMTP conversation: replies in, commands and message data out, and every
 * reply checked. Pure. */
#ifndef VESTIBULE_BENCH_LOAD_TALK_H
#define VESTIBULE_BENCH_LOAD_TALK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bench/load_message.h"
#include "bench/load_work.h"

enum {
    LOAD_REPLY_MAX = 512, /* RFC 5321 4.5.3.1.5 */
    LOAD_WHAT_MAX = 160,
    LOAD_OUT_MAX = 1024,
    LOAD_SECRET_MAX = 256, /* octets of a login or a password */
};

/* MAIL, RCPT and DATA of a work, the same for each message. Zero state: all zero. */
struct load_envelope {
    char mail[2][128]; /* without and with what 8BITMIME and SIZE allow to say */
    char *rest;        /* RCPT lines, and DATA unless it is BDAT */
    size_t len;
};

bool load_envelope_make(struct load_envelope *e, const struct load_work *w);
void load_envelope_free(struct load_envelope *e);

/* What all operations of a work share; owned by the caller. */
struct load_script {
    const struct load_work *work;
    const struct load_messages *messages;
    const struct load_envelope *envelope;
    uint64_t run;
};

enum load_talk_status {
    LOAD_TALK_MORE, /* what is to be sent is sent, then the server's turn */
    LOAD_TALK_TLS,  /* STARTTLS was taken: handshake, then load_talk_secured */
    LOAD_TALK_HOLD, /* as far as an idle session goes */
    LOAD_TALK_DONE,
    LOAD_TALK_FAILED,
};

enum load_step {
    LOAD_STEP_GREETING,
    LOAD_STEP_EHLO,
    LOAD_STEP_STARTTLS,
    LOAD_STEP_AUTH,
    LOAD_STEP_MAIL,
    LOAD_STEP_RCPT,
    LOAD_STEP_DATA,
    LOAD_STEP_BODY,
    LOAD_STEP_QUIT,
    LOAD_STEPS,
};

/* What has been reached since the caller last looked; it clears them. */
enum load_mark {
    LOAD_MARK_GREETING = 1,
    LOAD_MARK_EHLO = 2,
    LOAD_MARK_AUTH = 4,
    LOAD_MARK_NUMBER = 8,   /* the next message needs one: load_talk_number */
    LOAD_MARK_OFFERED = 16, /* the message's octets are on their way */
    LOAD_MARK_MESSAGE = 32, /* it was accepted */
    LOAD_MARK_REPLY = 64,   /* to a wrong password: `code` */
};

struct load_span {
    const uint8_t *at;
    size_t len;
    bool is_body;
};

struct load_talk {
    const struct load_script *script;
    enum load_talk_status status;
    enum load_step step;
    bool secure;
    unsigned marks;

    char line[LOAD_REPLY_MAX];
    size_t line_len;
    unsigned code; /* of the last reply */
    bool pipelining, size, chunking;

    unsigned messages; /* accepted */
    unsigned recipients;
    unsigned attempts;
    uint64_t number;
    uint64_t body_at; /* BDAT: octets that were sent, label included */
    const char *login, *password;
    bool ended_by_server; /* done, but not by us: slow, flood */
    uint64_t wrong;       /* makes each wrong password another */

    char out[LOAD_OUT_MAX]; /* backs spans */
    size_t out_len;
    struct load_span spans[4];
    unsigned spans_first, spans_count;

    char what[LOAD_WHAT_MAX]; /* failed: the reason; where is `step` */
};

/* login and password may be NULL when the work does not log in, and must outlive the talk. `wrong`
 * is a number that no other operation has. */
void load_talk_init(struct load_talk *t, const struct load_script *script, const char *login,
                    const char *password, uint64_t wrong);

/* Under implicit TLS at once, under STARTTLS behind LOAD_TALK_TLS. */
void load_talk_secured(struct load_talk *t);

/* Takes what the server said. Bytes behind a reply that nothing was asked for are a failure. */
enum load_talk_status load_talk_take(struct load_talk *t, const void *in, size_t len);

/* The server ended the connection. */
enum load_talk_status load_talk_ended(struct load_talk *t);

/* Behind LOAD_MARK_NUMBER, before anything else. */
void load_talk_number(struct load_talk *t, uint64_t number);

/* NULL: nothing to send. Valid until load_talk_sent. */
const struct load_span *load_talk_next(const struct load_talk *t);
void load_talk_sent(struct load_talk *t, size_t len); /* of that span */

const char *load_step_name(enum load_step step);

#endif
