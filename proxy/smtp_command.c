#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "proxy/smtp_core.h"

/* Without a handler a command is local and stateless: `reply` is its answer, and it may be read
 * ahead of a reply that is owed. */
struct smtp_command {
    const char *verb;
    const char *(*handle)(struct smtp *s, struct smtp_io *io, const struct smtp_line *line);
    const char *reply;
    unsigned flags;
};

void smtp_forget(struct smtp *s)
{
    free(s->helo);
    s->helo = NULL;
    s->hello = HELLO_NONE;
    s->offered = 0;
    s->listed = 0;
}

static bool smtp_greeted(struct smtp *s, const struct smtp_line *line, enum smtp_hello hello)
{
    char *name = strndup(line->args, line->len);

    if (name == NULL) {
        smtp_out_of_memory(s);
        return false;
    }
    free(s->helo);
    s->helo = name;
    s->hello = hello;
    s->offered = 0;
    s->listed = 0;
    if (hello == HELLO_EHLO) {
        s->offered = capabilities_offered(s->known, s->rules->hidden);
        s->listed = s->auth == AUTH_NONE ? smtp_auth_offer(s) : 0;
    }
    smtp_transaction_reset(s);
    return true;
}

/* Clients call themselves by all sorts of names; what is passed on is checked where it is used. */
static bool smtp_hello_name_ok(const struct smtp_line *line)
{
    return line->len > 0 && line->len <= COMMAND_DOMAIN_MAX &&
           memchr(line->args, ' ', line->len) == NULL;
}

static const char *smtp_do_ehlo(struct smtp *s, struct smtp_io *io, const struct smtp_line *line)
{
    if (!smtp_hello_name_ok(line))
        return SAY_HELLO_NAME;
    if (smtp_greeted(s, line, HELLO_EHLO))
        smtp_say_offer(s, io);
    return NULL;
}

static const char *smtp_do_helo(struct smtp *s, struct smtp_io *io, const struct smtp_line *line)
{
    if (!smtp_hello_name_ok(line))
        return SAY_HELLO_NAME;
    if (smtp_greeted(s, line, HELLO_HELO))
        smtp_say(s, io, "250 %s", s->rules->hostname);
    return NULL;
}

static const char *smtp_do_starttls(struct smtp *s, struct smtp_io *io,
                                    const struct smtp_line *line)
{
    (void)io, (void)line;
    if (s->link == LINK_TLS)
        return SAY_TLS_ALREADY;
    if (!s->rules->starttls)
        return SAY_TLS_NEVER;
    if (s->message != NULL)
        return SAY_TLS_IN_MAIL;
    smtp_cut(s);
    smtp_forget(s);
    smtp_link_enter(s, LINK_STARTTLS);
    return SAY_STARTTLS;
}

static const char *smtp_do_quit(struct smtp *s, struct smtp_io *io, const struct smtp_line *line)
{
    (void)io, (void)line;
    smtp_finish(s, SMTP_END_QUIT);
    return SAY_BYE;
}

static const struct smtp_command commands[] = {
    {"EHLO", smtp_do_ehlo, NULL, BEFORE_TLS | BEFORE_AUTH | JUNK},
    {"HELO", smtp_do_helo, NULL, BEFORE_TLS | BEFORE_AUTH | JUNK},
    {"STARTTLS", smtp_do_starttls, NULL, BEFORE_TLS | BEFORE_AUTH | LAST | BARE},
    {"AUTH", smtp_do_auth, NULL, BEFORE_TLS | BEFORE_AUTH},
    {"MAIL", smtp_do_mail, NULL, UTF8},
    {"RCPT", smtp_do_rcpt, NULL, UTF8},
    {"DATA", smtp_do_data, NULL, LAST | BARE},
    {"BDAT", smtp_do_bdat, NULL, BEFORE_TLS | BEFORE_AUTH}, /* refused when its chunk was read */
    {"RSET", smtp_do_rset, NULL, BEFORE_AUTH | BARE | JUNK},
    {"QUIT", smtp_do_quit, NULL, BEFORE_TLS | BEFORE_AUTH | BARE},
    {"NOOP", NULL, SAY_OK, BEFORE_TLS | BEFORE_AUTH | JUNK},
    {"VRFY", NULL, SAY_VRFY, BEFORE_AUTH | JUNK},
    {"HELP", NULL, SAY_HELP, BEFORE_AUTH | JUNK},
    {"EXPN", NULL, SAY_NOT_HERE, BEFORE_AUTH},
    {"ETRN", NULL, SAY_NOT_HERE, BEFORE_AUTH},
    {"TURN", NULL, SAY_NOT_HERE, BEFORE_AUTH},
    {"ATRN", NULL, SAY_NOT_HERE, BEFORE_AUTH},
    {"XCLIENT", NULL, SAY_NOT_HERE, BEFORE_AUTH},
    {"XFORWARD", NULL, SAY_NOT_HERE, BEFORE_AUTH},
    {"BURL", NULL, SAY_NOT_HERE, BEFORE_AUTH},
};

/* Stands for every verb that is not in the table. */
static const struct smtp_command unknown = {"", NULL, SAY_UNKNOWN, BEFORE_AUTH};

static const struct smtp_command *smtp_command_find(const char *verb, size_t len)
{
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (strlen(commands[i].verb) == len && strncasecmp(commands[i].verb, verb, len) == 0)
            return &commands[i];
    }
    return &unknown;
}

const char *smtp_too_early(const struct smtp *s, unsigned flags)
{
    if (s->link == LINK_PLAIN && s->rules->require_tls && (flags & BEFORE_TLS) == 0)
        return SAY_NEED_STARTTLS;
    if (smtp_may_forward(s) || (flags & BEFORE_AUTH) != 0)
        return NULL;
    return s->link == LINK_PLAIN && s->rules->starttls ? SAY_NEED_STARTTLS : SAY_NEED_AUTH;
}

static bool smtp_eight_bit(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)text[i] > 0x7f)
            return true;
    }
    return false;
}

static void smtp_command_obey(struct smtp *s, struct smtp_io *io, const struct smtp_command *c,
                              const struct smtp_line *line)
{
    const char *reply = smtp_too_early(s, c->flags);

    if ((c->flags & LAST) != 0 && line->behind) {
        smtp_inject(s);
        return;
    }
    if ((c->flags & JUNK) != 0 && ++s->junk > LIMIT_JUNK) {
        smtp_finish(s, SMTP_END_ERRORS);
        return;
    }
    if (reply == NULL && (c->flags & BARE) != 0 && line->len > 0)
        reply = SAY_NO_ARGUMENT;
    if (reply == NULL)
        reply = c->handle != NULL ? c->handle(s, io, line) : c->reply;
    if (reply != NULL)
        smtp_reply(s, reply);
}

enum line_kind {
    LINE_NONE,
    LINE_WHOLE,
    LINE_BARE_LF,
    LINE_TOO_LONG,
    LINE_PIECE, /* of one that is too long */
};

struct line {
    enum line_kind kind;
    const char *text;
    size_t len;
    size_t total;                       /* with its CR LF */
    const struct smtp_command *command; /* of a whole line that is clean; NULL: it is not */
    const char *args;
    size_t args_len;
};

static bool smtp_is_auth(const struct smtp *s, const char *text, size_t len)
{
    return s->auth == AUTH_EXCHANGE || (len >= 5 && strncasecmp(text, "AUTH ", 5) == 0);
}

/* The result does not depend on how the octets came in pieces: a CR at the end is left for the LF
 * that may follow it. */
static void smtp_find_line(const struct smtp *s, struct line *out, const struct buf *from)
{
    const char *text = (const char *)buf_data(from);
    size_t have = buf_len(from);
    size_t max = smtp_is_auth(s, text, have) ? COMMAND_AUTH_MAX - 2 : COMMAND_LINE_MAX;
    const char *lf = memchr(text, '\n', have);

    *out = (struct line){.kind = LINE_NONE, .text = text};
    if (lf == NULL) {
        out->total = have > 0 && text[have - 1] == '\r' ? have - 1 : have;
        if ((s->discarding != NULL || out->total > max) && out->total > 0)
            out->kind = LINE_PIECE;
        return;
    }
    out->total = (size_t)(lf - text) + 1;
    if (out->total < 2 || lf[-1] != '\r') {
        out->kind = LINE_BARE_LF;
        return;
    }
    out->len = out->total - 2;
    out->kind = s->discarding != NULL || out->len > max ? LINE_TOO_LONG : LINE_WHOLE;
}

static void smtp_read_verb(const struct smtp *s, struct line *line)
{
    size_t verb;

    if (line->kind != LINE_WHOLE || s->auth == AUTH_EXCHANGE ||
        !command_line_clean(line->text, line->len))
        return;
    verb = command_verb(line->text, line->len, &line->args, &line->args_len);
    line->command = smtp_command_find(line->text, verb);
    if ((line->command->flags & UTF8) == 0 && smtp_eight_bit(line->text, line->len))
        line->command = NULL;
}

/* While a reply is owed only what needs no state is read ahead of it, and not without end. */
static bool smtp_its_turn(const struct smtp *s, const struct smtp_io *io, const struct line *line)
{
    bool stateful = line->command != NULL && line->command->handle != NULL;

    if (line->kind == LINE_PIECE)
        return true;
    if (!fifo_room(&s->fifo))
        return false;
    if (!stateful)
        return true;
    return fifo_empty(&s->fifo) && !smtp_half_heard(s, io);
}

/* BDAT, but not one that could be understood: how long the chunk behind it is nobody knows. */
static bool smtp_bad_bdat(const struct smtp *s, const struct line *line)
{
    bool bdat = line->total >= 5 && strncasecmp(line->text, "BDAT", 4) == 0 &&
                !isalpha((unsigned char)line->text[4]);

    return bdat && s->auth != AUTH_EXCHANGE && s->discarding == NULL && line->command == NULL &&
           line->kind != LINE_BARE_LF;
}

static void smtp_take_too_long(struct smtp *s, const struct line *line)
{
    const char *reply = s->discarding;

    if (reply == NULL)
        reply = smtp_is_auth(s, line->text, line->len) ? SAY_AUTH_TOO_LONG : SAY_LINE_TOO_LONG;
    s->discarding = NULL;
    if (s->auth == AUTH_EXCHANGE)
        smtp_auth_stop(s);
    smtp_reply(s, reply);
}

static void smtp_take_whole(struct smtp *s, struct smtp_io *io, const struct line *line)
{
    struct smtp_line arguments = {
        .args = line->args,
        .len = line->args_len,
        .behind = buf_len(io->from_client) > line->total,
    };

    if (s->auth == AUTH_EXCHANGE) {
        const char *reply = smtp_auth_response(s, line->text, line->len);

        if (reply != NULL)
            smtp_reply(s, reply);
    } else if (line->command == NULL) {
        smtp_reply(s, SAY_LINE_UNCLEAN);
    } else if (line->command == &unknown && command_foreign(line->text, line->len)) {
        smtp_finish(s, SMTP_END_FOREIGN);
    } else {
        smtp_command_obey(s, io, line->command, &arguments);
    }
}

bool smtp_take_line(struct smtp *s, struct smtp_io *io)
{
    struct line line;

    smtp_find_line(s, &line, io->from_client);
    smtp_read_verb(s, &line);
    if (line.kind == LINE_NONE || !smtp_its_turn(s, io, &line))
        return false;
    if (smtp_bad_bdat(s, &line)) {
        smtp_finish(s, SMTP_END_BDAT);
        return true;
    }
    switch (line.kind) {
    case LINE_NONE:
        break;
    case LINE_PIECE:
        if (s->discarding == NULL)
            s->discarding =
                smtp_is_auth(s, line.text, line.total) ? SAY_AUTH_TOO_LONG : SAY_LINE_TOO_LONG;
        break;
    case LINE_BARE_LF:
        smtp_finish(s, SMTP_END_BARE_LF);
        break;
    case LINE_TOO_LONG:
        smtp_take_too_long(s, &line);
        break;
    case LINE_WHOLE:
        smtp_take_whole(s, io, &line);
        break;
    }
    if (line.kind != LINE_PIECE)
        s->progress++;
    /* Any line may be a password that came at the wrong time. */
    buf_consume_secret(io->from_client, line.total);
    return true;
}
