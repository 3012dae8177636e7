#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "proxy/data.h"
#include "proxy/smtp.h"

/* The whole session from its first octet. The input is a script of lines: the first octet says who
 * does what, the rest is what is said; octet 1 stands for LF, 2 for CR, 3 for NUL. Beside it runs a
 * model that knows the promises of smtp.h and nothing of how they are kept. */

enum { FUZZ_CALLS_MAX = 64, FUZZ_WIRE_MAX = 1 << 18, FUZZ_REPLIES_MAX = 4096 };

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t len);

/* What the MTA would see. */
struct mta_model {
    bool connected;
    bool quit;
    bool in_data;
    unsigned commands;               /* EHLO is the first; the final dot is one */
    unsigned replies;                /* whole ones said, the banner is the first */
    unsigned code[FUZZ_REPLIES_MAX]; /* of each */
    bool line_began;                 /* of the reply that is being said */
    unsigned mail,
        rcpts; /* command numbers of MAIL and of each RCPT, as bits of acceptance below */
    bool rcpt_ok;
    bool xclient; /* was its second command */
    unsigned last_rcpt;
    unsigned dot;    /* command number of the last final dot */
    char line[4096]; /* what it was told and has not understood yet */
    size_t len;
    char said[1 << 16]; /* what it says and has not finished */
    size_t said_len;
};

/* What the client would see, and what it has sent. */
struct client_model {
    char taken[64]; /* of the line being taken, its beginning */
    size_t taken_len;
    unsigned auth_lines; /* so many of the next may be answers to a challenge */
    bool fog;            /* such an answer that looks like BDAT: what was it? */
    uint64_t chunk_left;
    bool chunk_last;
    char line[4096];
    size_t len;
    unsigned replies;
    unsigned commands; /* lines that were taken */
    unsigned bodies;   /* ends of data that were taken */
    char code[4];      /* of a reply under way */
    bool in_body;
    bool body_whole, body_bad;
    unsigned char match; /* how much of CR LF . CR LF was seen */
    uint8_t last;
    bool gone;
    bool gone_late; /* when the final dot was in to_mta already */
};

struct fuzz {
    struct smtp_rules rules;
    struct smtp_peer peer;
    uint32_t mechanisms; /* that the vault can have checked */
    uint32_t ever;       /* and could at some time */
    struct smtp_tls_info channel;
    struct capabilities known;
    struct smtp *smtp;
    struct buf from_client, to_client, from_mta, to_mta, wire, mta_wire;
    size_t grain;
    size_t heard; /* of to_client, by a client that is too deaf to take it */
    bool client_deaf, mta_deaf;
    bool verify, accepted, connect, starttls, tls, over;
    enum sasl_mechanism exchange; /* that the vault is in the middle of; 0: none */
    bool permit;                  /* the vault's word is awaited */
    char permitted[2][512];       /* the last sender and recipient that it allowed; "?": none */
    unsigned delivered;
    struct mta_model mta;
    struct client_model client;
};

static void expect(bool truth)
{
    if (!truth)
        abort();
}

/* May anything go to the MTA? Who did not log in needs a gate, and the TLS that the rules ask for.
 */
static bool allowed(const struct fuzz *f)
{
    bool gate = f->rules.gate != NULL && f->rules.auth != SMTP_AUTH_REQUIRED;

    return f->accepted || (gate && (f->tls || !f->rules.require_tls));
}

/* --- what the MTA is told -------------------------------------------------------------------- */

static bool starts(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

static bool all_of(const char *text, size_t len, const char *allowed)
{
    return len > 0 && strspn(text, allowed) >= len;
}

static bool printable(const char *text, size_t len, bool utf8)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];

        if (c < 0x21 || c == 0x7f || (!utf8 && c > 0x7f))
            return false;
    }
    return len > 0;
}

static bool parameter_ok(const char *p, size_t len)
{
    if (starts(p, "SIZE="))
        return len > 5 && strspn(p + 5, "0123456789") >= len - 5;
    if (starts(p, "RET=FULL") || starts(p, "RET=HDRS"))
        return len == 8;
    if (starts(p, "BODY=7BIT"))
        return len == 9;
    if (starts(p, "BODY=8BITMIME"))
        return len == 13;
    if (starts(p, "SMTPUTF8"))
        return len == 8;
    if (starts(p, "NOTIFY="))
        return all_of(p + 7, len - 7, "NEVERSUCCESSFAILUREDELAY,");
    if (starts(p, "ENVID=") || starts(p, "ORCPT="))
        return len <= 506 && printable(p, len, false);
    return false;
}

/* `<path>` and parameters, one blank before each. */
static bool path_line_ok(const char *p)
{
    bool quoted = false;

    if (*p++ != '<')
        return false;
    for (; *p != '\0' && (quoted || *p != '>'); p++) {
        if ((unsigned char)*p < 0x20 || *p == 0x7f || (*p == ' ' && !quoted))
            return false;
        if (quoted && *p == '\\' && p[1] != '\0')
            p++;
        else if (*p == '"')
            quoted = !quoted;
    }
    if (*p++ != '>')
        return false;
    while (*p == ' ') {
        size_t len = strcspn(++p, " ");

        if (!parameter_ok(p, len))
            return false;
        p += len;
    }
    return *p == '\0';
}

static bool accepted_reply(const struct mta_model *m, unsigned command)
{
    return command > 0 && command < m->replies && m->code[command] / 100 == 2;
}

static void model_rcpt_answer(struct mta_model *m)
{
    if (m->last_rcpt != 0 && accepted_reply(m, m->last_rcpt))
        m->rcpt_ok = true;
    m->last_rcpt = 0;
}

static void model_transaction_over(struct mta_model *m)
{
    m->mail = 0;
    m->last_rcpt = 0;
    m->rcpt_ok = false;
}

/* XCLIENT and words of the form NAME=xtext. */
static bool xclient_ok(const char *p)
{
    while (*p == ' ') {
        size_t name = strspn(++p, "ABCDEFGHIJKLMNOPQRSTUVWXYZ");
        size_t value = name > 0 && p[name] == '=' ? strcspn(p + name + 1, " =") : 0;

        if (value == 0 || !printable(p, name + 1 + value, false))
            return false;
        p += name + 1 + value;
    }
    return *p == '\0';
}

/* Where a stranger's mail may go: a plain dot-atom at the gate's domain. */
static void model_gate(const char *p)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "#'*+-=?^_~.";
    size_t local = strspn(p, plain);

    if (starts(p, "postmaster>"))
        return;
    expect(local > 0 && p[0] != '-');
    expect(strncasecmp(p + local, "@example.com>", 13) == 0);
}

/* With the vault's word on this very address, and one word for one RCPT. */
static void model_permitted(char *word, const char *p)
{
    size_t len = strlen(word);

    expect(starts(p, word) && p[len] == '>');
}

static void model_path(struct fuzz *f, const char *line)
{
    bool mail = line[0] == 'M';
    const char *p = strchr(line, '<') + 1;

    if (!mail && !f->accepted)
        model_gate(p);
    if (f->accepted && (mail ? f->rules.permit_sender : f->rules.permit_recipient))
        model_permitted(f->permitted[mail ? 0 : 1], p);
    if (!mail)
        strcpy(f->permitted[1], "?");
}

static void model_hello(const struct mta_model *m, const char *line)
{
    unsigned first = m->xclient ? 3 : 1;

    expect(printable(line + 5, strlen(line + 5), false) && strpbrk(line + 5, "<>()\"\\") == NULL);
    expect(m->commands == (line[0] == 'E' ? first : first + 1));
}

static void model_command(struct fuzz *f, struct mta_model *m, const char *line)
{
    m->commands++;
    expect(m->commands <= m->replies); /* lock step */
    expect(!m->quit);
    model_rcpt_answer(m);
    if (starts(line, "EHLO ") || starts(line, "HELO ")) {
        model_hello(m, line);
    } else if (starts(line, "XCLIENT ")) {
        expect(f->rules.xclient && m->commands == 2 && xclient_ok(line + 7));
        m->xclient = true;
    } else if (starts(line, "MAIL FROM:")) {
        expect(path_line_ok(line + 10));
        expect(m->commands > (m->xclient ? 3U : 1U) && !accepted_reply(m, m->mail));
        model_path(f, line);
        model_transaction_over(m);
        m->mail = m->commands;
    } else if (starts(line, "RCPT TO:")) {
        expect(path_line_ok(line + 8));
        expect(accepted_reply(m, m->mail));
        model_path(f, line);
        m->last_rcpt = m->commands;
    } else if (strcmp(line, "DATA") == 0) {
        expect(accepted_reply(m, m->mail) && m->rcpt_ok);
        m->in_data = true; /* if its reply is 354: see model_line */
        f->client.last = '\n';
        f->client.body_bad = false;
    } else if (strcmp(line, "RSET") == 0) {
        model_transaction_over(m);
    } else if (strcmp(line, "QUIT") == 0) {
        m->quit = true;
    } else {
        abort();
    }
}

static void model_dot(struct fuzz *f)
{
    const struct client_model *c = &f->client;

    expect(c->fog || (c->body_whole && !c->body_bad));
    expect(!c->gone || c->gone_late);
    f->mta.in_data = false;
    f->mta.dot = ++f->mta.commands;
    expect(f->mta.commands <= f->mta.replies);
    model_transaction_over(&f->mta);
}

static void model_line(struct fuzz *f, const char *line, size_t len)
{
    struct mta_model *m = &f->mta;

    expect(memchr(line, '\0', len) == NULL && memchr(line, '\r', len) == NULL);
    expect(m->replies > m->commands); /* nothing while a reply is owed */
    if (m->in_data && m->code[m->commands] != 354)
        m->in_data = false;
    if (!m->in_data) {
        expect(len < 2000);
        model_command(f, m, line);
    } else if (len == 1 && line[0] == '.') {
        model_dot(f);
    } else {
        expect(line[0] != '.' || line[1] == '.');
    }
}

static void model_told(struct fuzz *f, const uint8_t *octets, size_t len)
{
    struct mta_model *m = &f->mta;

    expect(len == 0 || (allowed(f) && m->connected));
    for (size_t i = 0; i < len; i++) {
        char c = (char)octets[i];

        if (c == '\n') {
            expect(m->len > 0 && m->line[m->len - 1] == '\r');
            m->line[--m->len] = '\0';
            model_line(f, m->line, m->len);
            m->len = 0;
            continue;
        }
        if (m->len == sizeof(m->line) - 2) { /* only message data is that long */
            expect(m->in_data && c != '\0');
            expect(memchr(m->line, '\r', m->len - 1) == NULL);
            m->line[0] = 'x';
            m->line[1] = m->line[m->len - 1];
            m->len = 2;
        }
        m->line[m->len++] = c;
    }
}

/* What it says, taken apart without the grammar under test: whole replies are counted. */
static void model_says(struct mta_model *m, const uint8_t *octets, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (octets[i] != '\n') {
            if (m->said_len < sizeof(m->said) - 1)
                m->said[m->said_len++] = (char)octets[i];
            continue;
        }
        m->said[m->said_len] = '\0';
        if (m->said_len < 4 || m->said[3] != '-') {
            if (m->replies < FUZZ_REPLIES_MAX)
                m->code[m->replies++] = (unsigned)atoi(m->said);
        }
        m->said_len = 0;
    }
}

/* --- what the client hears and has sent ------------------------------------------------------ */

static void model_reply_line(struct client_model *c, const char *line, size_t len)
{
    expect(len >= 4 && len <= 510 && strspn(line, "0123456789") >= 3);
    expect(line[0] >= '2' && line[0] <= '5' && (line[3] == ' ' || line[3] == '-'));
    for (size_t i = 4; i < len; i++)
        expect(line[i] >= 0x20 && line[i] < 0x7f);
    expect(c->code[0] == '\0' || memcmp(c->code, line, 3) == 0);
    memcpy(c->code, line, 3);
    if (line[3] == '-')
        return;
    c->code[0] = '\0';
    c->replies++;
    if (starts(line, "354 ")) {
        c->in_body = true;
        c->body_whole = c->body_bad = false;
        c->match = 2;
        c->last = '\n';
    }
}

static void model_hears(struct client_model *c, const uint8_t *octets, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        expect(octets[i] != '\0' && c->len < sizeof(c->line) - 1);
        if (octets[i] != '\n') {
            c->line[c->len++] = (char)octets[i];
            continue;
        }
        expect(c->len > 0 && c->line[c->len - 1] == '\r');
        c->line[--c->len] = '\0';
        expect(memchr(c->line, '\r', c->len) == NULL);
        model_reply_line(c, c->line, c->len);
        c->len = 0;
    }
}

static void model_body_judge(const struct fuzz *f, struct client_model *c, uint8_t o)
{
    if (o == '\0' || (c->last == '\r' && o != '\n'))
        c->body_bad = true;
    if (o == '\n' && c->last != '\r' && f->rules.newline == DATA_REJECT)
        c->body_bad = true;
    c->last = o;
}

static void model_body_octet(const struct fuzz *f, struct client_model *c, uint8_t o)
{
    static const char end[] = "\r\n.\r\n";

    model_body_judge(f, c, o);
    if (o == (uint8_t)end[c->match])
        c->match++;
    else
        c->match = o == '\r' ? 1 : 0;
    if (c->match < 5)
        return;
    c->in_body = false;
    c->body_whole = true;
    c->bodies++;
}

static void model_chunk_over(struct client_model *c)
{
    c->body_whole = c->chunk_last;
    if (c->chunk_last && c->last == '\r')
        c->body_bad = true;
}

/* Whatever becomes of it: what BDAT announced is no command. */
static void model_bdat(struct client_model *c)
{
    size_t digits = strspn(c->taken + 5, "0123456789");
    const char *end = c->taken + 5 + digits;
    size_t word = strcspn(end, "\r");

    while (word > 0 && end[word - 1] == ' ')
        word--;
    c->chunk_last = word == 5 && strncasecmp(end, " LAST", 5) == 0;
    if (digits == 0 || digits > 20 || (word != 0 && !c->chunk_last))
        return;
    c->chunk_left = strtoull(c->taken + 5, NULL, 10);
    c->body_whole = false;
    if (c->chunk_left == 0)
        model_chunk_over(c);
}

static void model_line_taken(struct client_model *c)
{
    bool bdat;

    c->taken[c->taken_len] = '\0';
    bdat = strncasecmp(c->taken, "BDAT ", 5) == 0;
    c->commands++;
    if (bdat && c->auth_lines > 0)
        c->fog = true;
    else if (bdat)
        model_bdat(c);
    if (strncasecmp(c->taken, "AUTH ", 5) == 0)
        c->auth_lines = SASL_STEPS_MAX + 1;
    else if (c->auth_lines > 0)
        c->auth_lines--;
    c->taken_len = 0;
}

static void model_taken(struct fuzz *f, const uint8_t *octets, size_t len)
{
    struct client_model *c = &f->client;

    for (size_t i = 0; i < len; i++) {
        if (c->chunk_left > 0) {
            model_body_judge(f, c, octets[i]);
            if (--c->chunk_left == 0)
                model_chunk_over(c);
        } else if (c->in_body) {
            model_body_octet(f, c, octets[i]);
        } else if (octets[i] == '\n') {
            model_line_taken(c);
        } else if (c->taken_len < sizeof(c->taken) - 1) {
            c->taken[c->taken_len++] = (char)octets[i];
        }
    }
}

/* --- the caller ------------------------------------------------------------------------------ */

static struct smtp_io io_of(struct fuzz *f)
{
    return (struct smtp_io){&f->from_client, &f->to_client, &f->from_mta, &f->to_mta, 1000000000};
}

static void move_out(struct fuzz *f)
{
    model_hears(&f->client, buf_data(&f->to_client) + f->heard, buf_len(&f->to_client) - f->heard);
    f->heard = buf_len(&f->to_client);
    if (!f->client_deaf) {
        buf_clear(&f->to_client);
        f->heard = 0;
    }
    if (!f->mta_deaf) {
        model_told(f, buf_data(&f->to_mta), buf_len(&f->to_mta));
        buf_clear(&f->to_mta);
    }
}

static void hang_up(struct fuzz *f)
{
    f->mta.connected = f->connect = false;
    buf_clear(&f->mta_wire);
    buf_clear(&f->from_mta);
    buf_clear(&f->to_mta);
}

static void take_note(struct fuzz *f)
{
    const struct smtp_note *n = smtp_note(f->smtp);

    if (n->kind != SMTP_NOTE_MESSAGE)
        return;
    expect(n->sender != NULL && n->reply != NULL && n->reply[0] != '\0');
    if (!n->delivered)
        return;
    f->delivered++;
    /* The MTA's own word, about this message, and it had all of it. */
    expect(buf_len(&f->to_mta) == 0 && accepted_reply(&f->mta, f->mta.dot));
}

static bool text_of(const char *text, size_t len, size_t max)
{
    return len <= max && strlen(text) == len;
}

/* What each kind of mechanism brings, and nothing else. */
static void model_credential(const struct fuzz *f, const struct sasl_credential *c)
{
    switch (sasl_kind(c->mechanism)) {
    case SASL_KIND_PASSWORD:
        expect(c->login_len > 0 && text_of(c->login, c->login_len, SASL_LOGIN_MAX));
        expect(c->secret_len > 0 && text_of(c->secret, c->secret_len, SASL_PASSWORD_MAX));
        break;
    case SASL_KIND_TOKEN:
        expect(text_of(c->login, c->login_len, SASL_LOGIN_MAX));
        expect(c->secret_len > 0 && text_of(c->secret, c->secret_len, SASL_SECRET_MAX));
        break;
    case SASL_KIND_EXTERNAL:
        expect(f->channel.external != NULL && strcmp(c->login, f->channel.external) == 0);
        expect(c->secret_len == 0);
        break;
    case SASL_KIND_EXCHANGE:
        expect(c->login_len == 0 && c->login[0] == '\0' && c->secret_len <= SASL_SECRET_MAX);
        break;
    }
}

/* Never in clear, and nothing that was not offered; a later message of an exchange belongs to it.
 */
static void model_verify(struct fuzz *f)
{
    const struct sasl_credential *c = smtp_credential(f->smtp);

    expect(!f->verify && !f->accepted && c != NULL && f->tls);
    expect(((uint32_t)c->mechanism & f->ever) != 0);
    expect(f->channel.bound || ((uint32_t)c->mechanism & SASL_BOUND) == 0);
    if (smtp_exchanges(f->smtp))
        expect(f->exchange == c->mechanism);
    model_credential(f, c);
    f->verify = true;
}

static void obey(struct fuzz *f, enum smtp_todo todo)
{
    switch (todo) {
    case SMTP_WAIT:
        break;
    case SMTP_STARTTLS:
        expect(f->rules.starttls && !f->starttls && buf_len(&f->from_client) == 0);
        f->starttls = true;
        break;
    case SMTP_VERIFY:
        model_verify(f);
        break;
    case SMTP_PERMIT:
        expect(f->accepted && !f->permit && smtp_permit(f->smtp) != NULL);
        expect(smtp_permit(f->smtp)->what == SMTP_PERMIT_SENDER ? f->rules.permit_sender
                                                                : f->rules.permit_recipient);
        f->permit = true;
        break;
    case SMTP_CONNECT:
        expect(allowed(f) && !f->mta.connected && !f->connect && smtp_may_forward(f->smtp));
        f->connect = true;
        break;
    case SMTP_LEAVE:
        expect(f->mta.connected && (f->mta.quit || f->mta_deaf));
        hang_up(f);
        break;
    case SMTP_CUT:
        expect(f->mta.connected || f->connect);
        expect(buf_len(&f->to_mta) == 0);
        hang_up(f);
        break;
    case SMTP_NOTE:
        take_note(f);
        break;
    case SMTP_CLOSE:
    case SMTP_ABORT:
        f->over = true;
        expect(smtp_end(f->smtp) != SMTP_END_NONE && smtp_end(f->smtp) != SMTP_END_GATE);
        break;
    }
}

static enum smtp_todo advance_once(struct fuzz *f)
{
    static uint8_t before[LIMIT_CLIENT_IN];
    struct smtp_io io = io_of(f);
    struct capabilities learnt;
    size_t had = buf_len(&f->from_client);
    enum smtp_todo todo;

    memcpy(before, buf_data(&f->from_client), had);
    todo = smtp_advance(f->smtp, &io);
    expect(buf_len(&f->from_client) <= had);
    model_taken(f, before, had - buf_len(&f->from_client));
    if (smtp_learnt(f->smtp, &learnt))
        f->known = learnt;
    if (todo == SMTP_ABORT) {
        buf_clear(&f->to_client);
        f->heard = 0;
        buf_clear(&f->to_mta);
    }
    move_out(f);
    obey(f, todo);
    return todo;
}

/* Every command has had its reply when the session waits for the next one. */
static void expect_replies(struct fuzz *f)
{
    struct smtp_io io = io_of(f);
    enum smtp_waiting_for what = smtp_waiting(f->smtp, &io).what;
    const struct client_model *c = &f->client;
    unsigned asked = c->commands + c->bodies + 1;

    if (c->gone || c->fog)
        return;
    expect(c->replies <= asked + 1);
    if (!f->over && c->replies > 0 && (what == SMTP_FOR_COMMAND || what == SMTP_FOR_LINE) &&
        smtp_reads_client(f->smtp, &io))
        expect(c->replies == asked);
    if (f->over && smtp_end(f->smtp) == SMTP_END_QUIT)
        expect(c->replies == asked);
}

static void advance(struct fuzz *f)
{
    enum smtp_todo todo = SMTP_NOTE;

    for (unsigned calls = 0; !f->over && todo != SMTP_WAIT; calls++) {
        expect(calls < FUZZ_CALLS_MAX);
        todo = advance_once(f);
    }
    expect_replies(f);
    expect(smtp_may_forward(f->smtp) == allowed(f));
    if (smtp_exchanges(f->smtp))
        expect(f->exchange != 0);
    else
        f->exchange = (enum sasl_mechanism)0;
    expect(f->over || f->permit == (smtp_permit(f->smtp) != NULL));
    expect(smtp_messages(f->smtp) >= f->delivered);
}

static bool feed(struct buf *to, struct buf *from, size_t most)
{
    size_t n = buf_len(from);

    if (n > most)
        n = most;
    if (n > buf_room(to))
        n = buf_room(to);
    if (n == 0 || !buf_append(to, buf_data(from), n))
        return false;
    buf_consume(from, n);
    return true;
}

static void pump(struct fuzz *f)
{
    bool moved = true;

    advance(f);
    while (moved && !f->over) {
        struct smtp_io io = io_of(f);
        size_t had = buf_len(&f->from_mta);

        moved = f->mta.connected && feed(&f->from_mta, &f->mta_wire, f->grain);
        if (moved)
            model_says(&f->mta, buf_data(&f->from_mta) + had, buf_len(&f->from_mta) - had);
        else if (!f->client.gone && smtp_reads_client(f->smtp, &io))
            moved = feed(&f->from_client, &f->wire, f->grain);
        advance(f);
    }
}

/* --- the script ------------------------------------------------------------------------------ */

static void say(struct buf *to, const uint8_t *text, size_t len, bool line)
{
    static const uint8_t control[] = {0, '\n', '\r', '\0'};
    uint8_t *at = len + 2 <= buf_room(to) ? buf_reserve(to, len + 2) : NULL;
    size_t n = 0;

    if (at == NULL)
        return;
    for (; n < len; n++)
        at[n] = text[n] >= 1 && text[n] <= 3 ? control[text[n]] : text[n];
    if (line) {
        at[n++] = '\r';
        at[n++] = '\n';
    }
    buf_commit(to, n);
}

static void verdict(struct fuzz *f, enum smtp_verdict v)
{
    bool asked = f->verify;

    if (asked && v == SMTP_ACCEPTED)
        f->accepted = true;
    f->verify = false;
    smtp_verdict(f->smtp, v, asked ? "alice" : "mallory");
    expect(smtp_login(f->smtp) == NULL || strcmp(smtp_login(f->smtp), "alice") == 0);
    expect(smtp_credential(f->smtp) == NULL);
}

static void challenge(struct fuzz *f, const uint8_t *message, size_t len)
{
    const struct sasl_credential *c = smtp_credential(f->smtp);

    if (f->verify)
        f->exchange = c->mechanism;
    f->verify = false;
    smtp_challenged(f->smtp, message, len);
}

static void vault_offers(struct fuzz *f, const uint8_t *text, size_t len)
{
    f->mechanisms = SASL_ALL;
    if (len >= 2)
        f->mechanisms &= (uint32_t)text[0] << 8 | text[1];
    f->ever |= f->mechanisms;
}

static void permitted(struct fuzz *f, enum smtp_permission permission)
{
    const struct smtp_permit *p = smtp_permit(f->smtp);

    if (f->permit && permission == SMTP_PERMIT_ALLOWED)
        snprintf(f->permitted[p->what], sizeof(f->permitted[0]), "%s", p->address);
    f->permit = false;
    smtp_permitted(f->smtp, permission);
}

/* Its first one counts. */
static void tls(struct fuzz *f, unsigned how)
{
    struct smtp_tls_info info = {.version = "TLSv1.3",
                                 .cipher = "TLS_AES_128_GCM_SHA256",
                                 .bound = (how & 1) != 0,
                                 .external = (how & 2) != 0 ? "alice@example.org" : NULL};

    if (!f->tls)
        f->channel = info;
    f->tls = f->tls || !f->rules.starttls || f->starttls;
    smtp_tls_started(f->smtp, &info);
}

static void connected(struct fuzz *f)
{
    if (f->connect)
        f->mta = (struct mta_model){.connected = true};
    f->connect = false;
    smtp_mta_connected(f->smtp);
}

static void busy(struct fuzz *f)
{
    f->connect = false;
    smtp_mta_busy(f->smtp);
}

static void lost(struct fuzz *f)
{
    if (f->connect || f->mta.connected)
        hang_up(f);
    smtp_mta_lost(f->smtp);
}

static void client_gone(struct fuzz *f)
{
    struct smtp_io io = io_of(f);

    f->client.gone_late = smtp_waiting(f->smtp, &io).what == SMTP_FOR_END;
    f->client.gone = true;
    f->verify = f->permit = false;
    buf_clear(&f->wire);
    smtp_client_gone(f->smtp);
}

/* A verdict that does not come is one. */
static void timed_out(struct fuzz *f)
{
    struct smtp_io io = io_of(f);

    if (smtp_waiting(f->smtp, &io).what == SMTP_FOR_VERDICT)
        f->verify = f->permit = false;
    if (smtp_waiting(f->smtp, &io).what == SMTP_FOR_WRITE) {
        f->client.gone = true;
        f->verify = f->permit = false;
    }
    smtp_timed_out(f->smtp);
}

/* A line of message data that leaves so many octets of room towards the MTA. */
static void fill(struct fuzz *f, size_t left)
{
    static uint8_t line[LIMIT_MTA_OUT];
    size_t room = buf_room(&f->to_mta);

    if (room < left + 2)
        return;
    memset(line, 'x', sizeof(line));
    f->grain = FUZZ_WIRE_MAX; /* octet by octet it would take too long */
    say(&f->wire, line, room - left - 2, true);
}

/* The next thing that a well-behaved world would do. */
static void go_on(struct fuzz *f)
{
    struct smtp_io io = io_of(f);

    switch (smtp_waiting(f->smtp, &io).what) {
    case SMTP_FOR_VERDICT:
        if (f->permit)
            permitted(f, SMTP_PERMIT_ALLOWED);
        else
            verdict(f, SMTP_ACCEPTED);
        break;
    case SMTP_FOR_CONNECT:
        connected(f);
        break;
    case SMTP_FOR_BANNER:
    case SMTP_FOR_START:
    case SMTP_FOR_REPLY:
    case SMTP_FOR_END:
        if (f->mta.replies == 0)
            say(&f->mta_wire, (const uint8_t *)"220 old.example", 15, true);
        else if (f->mta.in_data && f->mta.replies == f->mta.commands)
            say(&f->mta_wire, (const uint8_t *)"354 go", 6, true);
        else
            say(&f->mta_wire, (const uint8_t *)"250 ok", 6, true);
        break;
    case SMTP_FOR_COMMAND:
    case SMTP_FOR_LINE:
    case SMTP_FOR_DATA:
    case SMTP_FOR_BLOCK:
    case SMTP_FOR_WRITE:
        break;
    }
}

static void act(struct fuzz *f, uint8_t who, const uint8_t *text, size_t len)
{
    switch (who) {
    case 'c':
    case 'C':
        say(&f->wire, text, len, who == 'C');
        break;
    case 'm':
    case 'M':
        if (f->mta.connected)
            say(&f->mta_wire, text, len, who == 'M');
        break;
    case 'T':
        tls(f, len > 0 ? text[0] : 0);
        break;
    case 'A':
        verdict(f, SMTP_ACCEPTED);
        break;
    case 'R':
        verdict(f, SMTP_REJECTED);
        break;
    case 'U':
        verdict(f, SMTP_UNAVAILABLE);
        break;
    case 'L':
        verdict(f, SMTP_LIMITED);
        break;
    case 'H':
        challenge(f, text, len);
        break;
    case 'V':
        vault_offers(f, text, len);
        break;
    case 'P':
        permitted(f, (enum smtp_permission)(len > 0 ? text[0] % 4 : 0));
        break;
    case 'K':
        connected(f);
        break;
    case 'Y':
        busy(f);
        break;
    case 'I':
        smtp_mta_idle_out(f->smtp);
        break;
    case 'X':
        lost(f);
        break;
    case 'G':
        client_gone(f);
        break;
    case 'O':
        timed_out(f);
        break;
    case 'D':
        smtp_drain(f->smtp);
        break;
    case 'b':
    case 'B':
        f->client_deaf = who == 'b';
        break;
    case 'F':
        fill(f, len > 0 ? text[0] % 8 : 0);
        break;
    case 'n':
    case 'N':
        f->mta_deaf = who == 'n';
        break;
    case '1':
    case '9':
        f->grain = who == '1' ? 1 : FUZZ_WIRE_MAX;
        break;
    case '+':
        go_on(f);
        break;
    default:
        say(&f->wire, text, len, true);
    }
}

static void set_rules(struct fuzz *f, uint8_t how)
{
    static const char *const domains[] = {"example.com"};
    static const struct smtp_gate gate = {.domains = domains, .count = 1};
    bool policy = (how & 64) != 0;

    f->rules = (struct smtp_rules){
        .hostname = "mail.example",
        .starttls = (how & 1) != 0,
        .require_tls = (how & 2) != 0,
        .helo_proxy = (how & 4) != 0,
        .max_size = (how & 8) != 0 ? 100 : 0,
        .max_failures = 3,
        .newline = (how & 16) != 0 ? DATA_REJECT : DATA_NORMALIZE,
        .trace = (how & 32) != 0 ? TRACE_FULL : TRACE_NONE,
        .permit_sender = policy,
        .permit_recipient = policy,
        .xclient = policy,
        .messages_per_connection = policy ? 2 : 0,
        .auth = (how & 128) != 0 ? SMTP_AUTH_OPTIONAL : SMTP_AUTH_REQUIRED,
        .gate = (how & 128) != 0 ? &gate : NULL,
    };
    strcpy(f->permitted[0], "?");
    strcpy(f->permitted[1], "?");
    f->mechanisms = f->ever = SASL_PLAIN | SASL_LOGIN;
    f->peer = (struct smtp_peer){
        .address = "192.0.2.1", .session = "fuzz", .port = 4321, .mechanisms = &f->mechanisms};
    f->grain = FUZZ_WIRE_MAX;
}

static void each_buf(struct fuzz *f, bool begin)
{
    struct buf *all[] = {&f->from_client, &f->to_client, &f->from_mta,
                         &f->to_mta,      &f->wire,      &f->mta_wire};
    const size_t max[] = {LIMIT_CLIENT_IN, LIMIT_CLIENT_OUT, LIMIT_MTA_IN,
                          LIMIT_MTA_OUT,   FUZZ_WIRE_MAX,    FUZZ_WIRE_MAX};

    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        if (begin)
            buf_init(all[i], max[i]);
        else
            buf_clear(all[i]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t len)
{
    static struct fuzz f;

    if (len < 2)
        return 0;
    memset(&f, 0, sizeof(f));
    set_rules(&f, in[0]);
    each_buf(&f, true);
    f.smtp = smtp_new(&f.rules, &f.peer, &f.known);
    expect(f.smtp != NULL);
    pump(&f);
    for (size_t i = 1; i < len && !f.over;) {
        const uint8_t *end = memchr(in + i, '\n', len - i);
        size_t line = end != NULL ? (size_t)(end - in) - i : len - i;

        if (line > 0) {
            act(&f, in[i], in + i + 1, line - 1);
            pump(&f);
        }
        i += line + 1;
    }
    smtp_free(f.smtp);
    each_buf(&f, false);
    return 0;
}
