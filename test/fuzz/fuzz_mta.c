#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/data.h"
#include "proxy/smtp.h"

/* What the MTA says is the input; the client is logged in, well behaved, and sends the same few
 * messages whatever comes back. The first octet of the input chooses how, the rest is said as it
 * stands, but for: LF, which is CR LF; 1, which lets what was said arrive; 2, the MTA hangs up; 3,
 * a bare LF; 4, the wait for the MTA is over; 5, what a good MTA would say now; 6 and 7, the MTA
 * and the client stop taking octets, or begin again. After its end no MTA is there any more, and
 * the client must still get to its QUIT.
 *
 * The model knows the promises of smtp.h, not how they are kept. */

enum { MESSAGES = 3, RECIPIENTS = 2, TOLD_MAX = 256, CALLS_MAX = 64, BODY_MAX = 1 << 17 };

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t len);

/* One thing that the client or we have asked for: E(HLO), H(ELO), A(UTH), M(AIL), R(CPT), D(ATA),
 * B(DAT), `.` the message, S for RSET, N(OOP), Q(UIT), X(CLIENT). `id` is the message's number, and
 * for R also the recipient's. */
struct ask {
    char verb;
    unsigned id;
    unsigned code; /* of its reply; 0: not yet */
};

struct mta_model {
    bool connected, quit, in_data;
    bool spoke_unasked; /* and that was no hang-up and no refusal */
    unsigned first;     /* of its commands in `told` */
    unsigned replies;   /* whole ones, the banner included */
    unsigned message;   /* of the last MAIL */
    char line[1024];    /* told to it, not understood yet */
    size_t line_len;
    size_t body; /* octets of the message told to it */
    char said[4];
    size_t said_len; /* of the line under way */
};

struct client_model {
    struct ask owed[16];
    unsigned owed_count;
    unsigned next;    /* message to be sent */
    unsigned at;      /* its next command, when not pipelined */
    bool go;          /* 354 was said: the message itself comes next */
    unsigned code;    /* of the reply under way */
    char first[1024]; /* its first line */
    char line[1024];
    size_t line_len;
    bool greeted, asked_to_quit, quit;
};

struct fuzz {
    struct smtp_rules rules;
    struct smtp_peer peer;
    struct capabilities known;
    struct smtp *smtp;
    struct buf from_client, to_client, from_mta, to_mta, wire, saying;
    size_t grain, heard;
    bool pipelined, parameters, chunks, client_deaf, mta_deaf;
    bool connecting, over, aborted, desynchronised, no_mta;
    struct ask told[TOLD_MAX];
    unsigned told_count;
    bool said_code[600]; /* codes of whole replies */
    struct mta_model mta;
    struct client_model client;
    char body[MESSAGES + 1][BODY_MAX];
    size_t body_len[MESSAGES + 1];
};

static void expect(bool truth)
{
    if (!truth)
        abort();
}

static bool starts(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

/* --- what the MTA is told -------------------------------------------------------------------- */

static void told(struct fuzz *f, char verb, unsigned id)
{
    const struct mta_model *m = &f->mta;

    /* Lock step: everything before it has its answer. */
    expect(m->replies == f->told_count - m->first + 1);
    expect(f->told_count < TOLD_MAX);
    f->told[f->told_count++] = (struct ask){verb, id, 0};
}

static const struct ask *last_told(const struct fuzz *f, char verb, unsigned id)
{
    for (unsigned i = f->told_count; i-- > 0;) {
        if (f->told[i].verb == verb && f->told[i].id == id)
            return &f->told[i];
    }
    return NULL;
}

/* The last one told to this MTA; NUL: none. */
static char last_verb(const struct fuzz *f)
{
    return f->told_count > f->mta.first ? f->told[f->told_count - 1].verb : '\0';
}

static void told_mail(struct fuzz *f, const char *line)
{
    unsigned id;

    expect(sscanf(line, "MAIL FROM:<m%u@example.org>", &id) == 1 && id >= 1 && id <= MESSAGES);
    f->mta.message = id;
    told(f, 'M', id);
}

static void told_rcpt(struct fuzz *f, const char *line)
{
    const struct ask *mail = last_told(f, 'M', f->mta.message);
    unsigned id;

    expect(sscanf(line, "RCPT TO:<r%u@example.net>", &id) == 1);
    expect(id / 10 == f->mta.message && mail != NULL && mail->code / 100 == 2);
    told(f, 'R', id);
}

static bool any_recipient(const struct fuzz *f)
{
    for (unsigned i = f->told_count; i-- > f->mta.first && f->told[i].verb != 'M';) {
        if (f->told[i].verb == 'R' && f->told[i].code / 100 == 2)
            return true;
    }
    return false;
}

static void told_line(struct fuzz *f, const char *line)
{
    struct mta_model *m = &f->mta;
    char last = last_verb(f);

    if (starts(line, "EHLO ")) {
        expect(last == '\0' || last == 'X');
        told(f, 'E', 0);
    } else if (starts(line, "HELO ")) {
        expect(last == 'E');
        told(f, 'H', 0);
    } else if (starts(line, "XCLIENT ")) {
        expect(last == 'E' && f->rules.xclient);
        told(f, 'X', 0);
    } else if (starts(line, "MAIL ")) {
        told_mail(f, line);
    } else if (starts(line, "RCPT ")) {
        told_rcpt(f, line);
    } else if (strcmp(line, "DATA") == 0) {
        expect(any_recipient(f));
        told(f, 'D', m->message);
        m->body = 0;
    } else if (strcmp(line, "RSET") == 0) {
        told(f, 'S', 0);
    } else {
        expect(strcmp(line, "QUIT") == 0);
        told(f, 'Q', 0);
        m->quit = true;
    }
}

/* The message just as the client sent it, and the dot only behind the whole of it. */
static void told_body(struct fuzz *f, uint8_t octet)
{
    struct mta_model *m = &f->mta;
    const char *body = f->body[m->message];
    size_t len = f->body_len[m->message];

    expect(m->body < len && octet == (uint8_t)body[m->body]);
    if (++m->body < len)
        return;
    m->in_data = false;
    told(f, '.', m->message);
}

static void tell(struct fuzz *f)
{
    struct mta_model *m = &f->mta;

    for (size_t i = 0; i < buf_len(&f->to_mta); i++) {
        uint8_t octet = buf_data(&f->to_mta)[i];

        expect(m->connected && !m->quit && !m->spoke_unasked && !f->desynchronised);
        if (m->in_data) {
            told_body(f, octet);
            continue;
        }
        expect(octet != '\0' && m->line_len < sizeof(m->line) - 1);
        m->line[m->line_len++] = (char)octet;
        if (octet != '\n')
            continue;
        expect(m->line_len >= 2 && m->line[m->line_len - 2] == '\r');
        m->line[m->line_len - 2] = '\0';
        told_line(f, m->line);
        m->line_len = 0;
    }
    buf_clear(&f->to_mta);
}

/* --- what the MTA says ----------------------------------------------------------------------- */

/* An octet while no reply is owed. What comes while the last command is still on its way is told
 * apart by whole replies; so is the greeting. */
static void unasked(struct fuzz *f, char first)
{
    struct mta_model *m = &f->mta;
    if (first != '4' && !(m->in_data && first == '5'))
        m->spoke_unasked = true;
}

static void said_reply(struct fuzz *f)
{
    struct mta_model *m = &f->mta;
    unsigned code = (unsigned)strtoul(m->said, NULL, 10);
    unsigned command = m->first + m->replies - 1;

    if (code >= 200 && code < 600)
        f->said_code[code] = true;
    if (m->replies > 0 && command < f->told_count) {
        f->told[command].code = code;
        m->in_data = f->told[command].verb == 'D' && code == 354;
    }
    m->replies++;
}

/* Replies are counted without the grammar under test. */
static void said(struct fuzz *f, const uint8_t *octets, size_t len)
{
    struct mta_model *m = &f->mta;

    for (size_t i = 0; i < len; i++) {
        char c = (char)octets[i];

        if (m->said_len == 0 && m->replies > f->told_count - m->first)
            unasked(f, c);
        if (c != '\n') {
            if (m->said_len < sizeof(m->said) && c != '\r')
                m->said[m->said_len++] = c;
            continue;
        }
        if (m->said_len < 4 || m->said[3] != '-') {
            char last = m->said[3];

            m->said[3] = '\0';
            if (m->said_len < 3)
                m->said[m->said_len] = '\0';
            said_reply(f);
            m->said[3] = last;
        }
        m->said_len = 0;
    }
}

/* --- what the client hears ------------------------------------------------------------------- */

static bool ours(const char *line)
{
    return starts(line, "552 5.3.4 Message too big") || starts(line, "503 5.5.1 ") ||
           starts(line, "555 5.5.4 ");
}

/* A verdict on a sender, a recipient or a message. A yes is the MTA's own, about this very one; so
 * is a no for good, but for what is found out here. */
static void heard_verdict(const struct fuzz *f, const struct ask *a, unsigned code)
{
    const struct ask *asked = last_told(f, a->verb, a->id);

    if (code / 100 == 2)
        expect(asked != NULL && asked->code == code);
    else if (code / 100 == 5)
        expect(ours(f->client.first) || f->said_code[code]);
    else
        expect(code / 100 == 4);
}

/* A chunk but the last is taken from here, once the MTA has said 354. */
static void heard_chunk(const struct fuzz *f, const struct ask *a, unsigned code)
{
    const struct ask *data = last_told(f, 'D', a->id);

    if (code == 250)
        expect(data != NULL && data->code == 354);
    else
        expect(code / 100 == 4 || ours(f->client.first) || f->said_code[code]);
}

static void heard_reply(struct fuzz *f, unsigned code)
{
    struct client_model *c = &f->client;
    struct ask a = c->owed[0];

    if (!c->greeted) {
        expect(code == 220);
        c->greeted = true;
        return;
    }
    expect(c->owed_count > 0 && code != 421);
    memmove(c->owed, c->owed + 1, --c->owed_count * sizeof(c->owed[0]));
    switch (a.verb) {
    case 'A':
        expect(code == 235);
        break;
    case 'E':
    case 'N':
    case 'S':
        expect(code == 250);
        break;
    case 'Q':
        expect(code == 221);
        c->quit = true;
        break;
    case 'B':
        heard_chunk(f, &a, code);
        break;
    case 'D':
        c->go = code == 354;
        expect(c->go || code / 100 == 4 || code / 100 == 5);
        break;
    default:
        heard_verdict(f, &a, code);
    }
}

/* RFC 2034: every line but the banner's and EHLO's carries a code of its own class; 3yz carries
 * none. */
static void heard_enhanced(const struct client_model *c, const char *line)
{
    unsigned class, subject, detail;

    if (!c->greeted || line[0] == '3' || c->owed[0].verb == 'E')
        return;
    expect(sscanf(line + 4, "%u.%u.%u", &class, &subject, &detail) == 3);
    expect(class == (unsigned)(line[0] - '0') && subject < 1000 && detail < 1000);
}

static void heard_line(struct fuzz *f, const char *line, size_t len)
{
    struct client_model *c = &f->client;
    unsigned code = (unsigned)strtoul(line, NULL, 10);

    expect(len >= 4 && len <= 510 && strspn(line, "0123456789") == 3);
    expect(code >= 200 && code < 600 && (line[3] == ' ' || line[3] == '-'));
    for (size_t i = 4; i < len; i++)
        expect(line[i] >= 0x20 && line[i] < 0x7f);
    expect(c->code == 0 || c->code == code);
    heard_enhanced(c, line);
    if (c->code == 0)
        memcpy(c->first, line, len + 1);
    c->code = code;
    if (line[3] == '-')
        return;
    c->code = 0;
    heard_reply(f, code);
}

static void hear(struct fuzz *f)
{
    struct client_model *c = &f->client;

    for (; f->heard < buf_len(&f->to_client); f->heard++) {
        uint8_t octet = buf_data(&f->to_client)[f->heard];

        expect(octet != '\0' && c->line_len < sizeof(c->line) - 1);
        c->line[c->line_len++] = (char)octet;
        if (octet != '\n')
            continue;
        expect(c->line_len >= 2 && c->line[c->line_len - 2] == '\r');
        c->line[c->line_len - 2] = '\0';
        heard_line(f, c->line, c->line_len - 2);
        c->line_len = 0;
    }
    if (f->client_deaf)
        return;
    buf_clear(&f->to_client);
    f->heard = 0;
}

/* --- the caller ------------------------------------------------------------------------------ */

static struct smtp_io io_of(struct fuzz *f)
{
    return (struct smtp_io){&f->from_client, &f->to_client, &f->from_mta, &f->to_mta, 1000000000};
}

static void hang_up(struct fuzz *f)
{
    f->mta.connected = f->connecting = false;
    buf_clear(&f->saying);
    buf_clear(&f->from_mta);
    buf_clear(&f->to_mta);
}

static void obey(struct fuzz *f, enum smtp_todo todo)
{
    static const struct smtp_tls_info tls = {.version = "TLSv1.3",
                                             .cipher = "TLS_AES_128_GCM_SHA256"};

    switch (todo) {
    case SMTP_WAIT:
        break;
    case SMTP_STARTTLS:
        smtp_tls_started(f->smtp, &tls);
        break;
    case SMTP_VERIFY:
        smtp_verdict(f->smtp, SMTP_ACCEPTED, smtp_credential(f->smtp)->login);
        break;
    case SMTP_PERMIT:
        smtp_permitted(f->smtp, SMTP_PERMIT_ALLOWED);
        break;
    case SMTP_LEAVE:
        expect(f->mta.connected && (f->mta.quit || f->mta_deaf));
        hang_up(f);
        break;
    case SMTP_CONNECT:
        expect(!f->mta.connected && !f->connecting);
        f->connecting = true;
        break;
    case SMTP_CUT:
        expect((f->mta.connected || f->connecting) && buf_len(&f->to_mta) == 0);
        hang_up(f);
        break;
    case SMTP_NOTE:
        f->desynchronised = f->desynchronised || smtp_note(f->smtp)->kind == SMTP_NOTE_DESYNC;
        break;
    case SMTP_CLOSE:
    case SMTP_ABORT:
        f->over = true;
        f->aborted = todo == SMTP_ABORT;
        expect(smtp_end(f->smtp) == (f->aborted ? SMTP_END_DESYNC : SMTP_END_QUIT));
        break;
    }
}

static void expect_bounds(const struct fuzz *f)
{
    expect(buf_len(&f->from_client) <= LIMIT_CLIENT_IN &&
           buf_len(&f->to_client) <= LIMIT_CLIENT_OUT);
    expect(buf_len(&f->from_mta) <= LIMIT_MTA_IN && buf_len(&f->to_mta) <= LIMIT_MTA_OUT);
}

static void advance(struct fuzz *f)
{
    enum smtp_todo todo = SMTP_NOTE;

    for (unsigned calls = 0; !f->over && todo != SMTP_WAIT; calls++) {
        struct smtp_io io = io_of(f);

        expect(calls < CALLS_MAX);
        todo = smtp_advance(f->smtp, &io);
        expect_bounds(f);
        (void)smtp_learnt(f->smtp, &f->known);
        if (todo == SMTP_ABORT) {
            buf_clear(&f->to_mta);
            buf_clear(&f->to_client);
            f->heard = 0;
        }
        hear(f);
        if (!f->mta_deaf)
            tell(f);
        obey(f, todo);
    }
}

static bool feed(struct buf *to, struct buf *from, size_t most)
{
    size_t n = buf_len(from) < most ? buf_len(from) : most;

    if (n > buf_room(to))
        n = buf_room(to);
    if (n == 0)
        return false;
    expect(buf_append(to, buf_data(from), n));
    buf_consume(from, n);
    return true;
}

/* --- the client ------------------------------------------------------------------------------ */

static void ask(struct fuzz *f, char verb, unsigned id, const char *line)
{
    struct client_model *c = &f->client;

    expect(c->owed_count < sizeof(c->owed) / sizeof(c->owed[0]));
    c->owed[c->owed_count++] = (struct ask){verb, id, 0};
    expect(buf_text(&f->wire, line) && buf_text(&f->wire, "\r\n"));
}

/* The message in two chunks, in which a dot means nothing. */
static void ask_chunks(struct fuzz *f, unsigned message)
{
    static char text[BODY_MAX];
    const char *body = f->body[message];
    size_t n = 0;
    char line[64];

    for (size_t i = 0; i < f->body_len[message] - DATA_TAIL; i++) {
        if (body[i] != '.' || (i > 0 && body[i - 1] != '\n'))
            text[n++] = body[i];
    }
    snprintf(line, sizeof(line), "BDAT %zu", n / 2);
    ask(f, 'B', message, line);
    expect(buf_append(&f->wire, text, n / 2));
    snprintf(line, sizeof(line), "BDAT %zu LAST", n - n / 2);
    ask(f, '.', message, line);
    expect(buf_append(&f->wire, text + n / 2, n - n / 2));
}

static void ask_step(struct fuzz *f, unsigned message, unsigned step)
{
    char line[128];

    if (step == 0) {
        snprintf(line, sizeof(line), "MAIL FROM:<m%u@example.org> SIZE=%zu%s", message,
                 f->body_len[message], f->parameters ? " BODY=8BITMIME RET=HDRS" : "");
        ask(f, 'M', message, line);
    } else if (step <= RECIPIENTS) {
        snprintf(line, sizeof(line), "RCPT TO:<r%u@example.net>%s", message * 10 + step,
                 f->parameters ? " NOTIFY=FAILURE" : "");
        ask(f, 'R', message * 10 + step, line);
        if (step == 1)
            ask(f, 'N', 0, "NOOP");
    } else if (f->chunks) {
        ask_chunks(f, message);
    } else {
        ask(f, 'D', message, "DATA");
    }
}

/* The next group of commands, once everything before it was answered. */
static bool speak(struct fuzz *f)
{
    struct client_model *c = &f->client;
    const unsigned steps = RECIPIENTS + 2;

    if (c->owed_count > 0 || !c->greeted || c->asked_to_quit)
        return false;
    if (c->go) {
        c->go = false;
        c->owed[c->owed_count++] = (struct ask){'.', c->next, 0};
        return buf_append(&f->wire, f->body[c->next], f->body_len[c->next]);
    }
    if (c->at == steps) { /* the message is over, one way or the other */
        c->at = 0;
        ask(f, 'S', 0, "RSET");
        c->next++;
        return true;
    }
    if (c->next > MESSAGES) {
        c->asked_to_quit = true;
        ask(f, 'Q', 0, "QUIT");
        return true;
    }
    do
        ask_step(f, c->next, c->at++);
    while (f->pipelined && c->at < steps);
    return true;
}

/* --- everything together --------------------------------------------------------------------- */

static void connect_or_not(struct fuzz *f)
{
    f->connecting = false;
    if (f->no_mta) {
        smtp_mta_lost(f->smtp);
        return;
    }
    f->mta = (struct mta_model){.connected = true, .first = f->told_count};
    smtp_mta_connected(f->smtp);
}

static bool arrive(struct fuzz *f)
{
    size_t had = buf_len(&f->from_mta);

    if (!f->mta.connected || !feed(&f->from_mta, &f->saying, f->grain))
        return false;
    said(f, buf_data(&f->from_mta) + had, buf_len(&f->from_mta) - had);
    return true;
}

static void pump(struct fuzz *f)
{
    bool moved = true;

    advance(f);
    while (moved && !f->over) {
        struct smtp_io io = io_of(f);

        moved = arrive(f);
        if (!moved && f->connecting) {
            connect_or_not(f);
            moved = true;
        }
        if (!moved)
            moved = speak(f);
        if (!moved && smtp_reads_client(f->smtp, &io))
            moved = feed(&f->from_client, &f->wire, f->grain);
        advance(f);
    }
}

static void lose_mta(struct fuzz *f)
{
    if (!f->mta.connected)
        return;
    hang_up(f);
    smtp_mta_lost(f->smtp);
}

static void time_out(struct fuzz *f)
{
    struct smtp_io io = io_of(f);
    enum smtp_waiting_for what = smtp_waiting(f->smtp, &io).what;

    if (what == SMTP_FOR_CONNECT || what == SMTP_FOR_REPLY || what == SMTP_FOR_BLOCK ||
        what == SMTP_FOR_END)
        smtp_timed_out(f->smtp);
}

static void say(struct fuzz *f, const char *text)
{
    if (f->mta.connected && buf_room(&f->saying) > strlen(text))
        expect(buf_text(&f->saying, text));
}

static void say_well(struct fuzz *f)
{
    const struct mta_model *m = &f->mta;
    char last = last_verb(f);

    if (m->replies > f->told_count - m->first)
        return;
    if (m->replies == 0 || last == 'X')
        say(f, "220 old.example ESMTP\r\n");
    else if (last == 'E')
        say(f, "250-old.example\r\n250-8BITMIME\r\n250-DSN\r\n250-XCLIENT ADDR\r\n250 SIZE\r\n");
    else
        say(f, last == 'D' ? "354 go\r\n" : "250 2.0.0 ok\r\n");
}

static void act(struct fuzz *f, uint8_t octet)
{
    const char one[2] = {(char)octet, '\0'};

    switch (octet) {
    case '\n':
        say(f, "\r\n");
        return;
    case 1:
        break;
    case 2:
        lose_mta(f);
        break;
    case 3:
        say(f, "\n");
        return;
    case 4:
        time_out(f);
        break;
    case 5:
        say_well(f);
        break;
    case 6:
        f->mta_deaf = !f->mta_deaf;
        break;
    case 7:
        f->client_deaf = !f->client_deaf;
        break;
    case '\0':
        if (f->mta.connected && buf_room(&f->saying) > 0)
            expect(buf_append(&f->saying, "", 1));
        return;
    default:
        say(f, one);
        return;
    }
    pump(f);
}

static void write_bodies(struct fuzz *f, bool large)
{
    for (unsigned id = 1; id <= MESSAGES; id++) {
        char *body = f->body[id];
        size_t n = (size_t)snprintf(body, BODY_MAX, "Subject: message %u\r\n\r\n..dots\r\n", id);

        if (large && id == 2) {
            memset(body + n, 'x', 70000);
            n += 70000;
            n += (size_t)snprintf(body + n, BODY_MAX - n, "\r\n");
        }
        n += (size_t)snprintf(body + n, BODY_MAX - n, "end\r\n.\r\n");
        f->body_len[id] = n;
    }
}

static void begin(struct fuzz *f, uint8_t how)
{
    static const uint32_t mechanisms = SASL_PLAIN;

    f->rules = (struct smtp_rules){
        .hostname = "mail.example",
        .require_tls = true,
        .helo_proxy = (how & 1) != 0,
        .max_failures = 3,
        .permit_sender = (how & 64) != 0,
        .permit_recipient = (how & 64) != 0,
        .xclient = (how & 64) != 0,
        .messages_per_connection = (how & 64) != 0 ? 1 : 0,
        .trace = TRACE_NONE,
    };
    f->peer =
        (struct smtp_peer){.address = "192.0.2.1", .session = "fuzz", .mechanisms = &mechanisms};
    f->pipelined = (how & 2) != 0;
    f->parameters = (how & 4) != 0;
    f->grain = (how & 24) == 8 ? 1 : SIZE_MAX;
    f->chunks = (how & 32) != 0;
    write_bodies(f, (how & 16) != 0);
    if (f->parameters)
        f->known =
            (struct capabilities){.known = true, .extensions = EXTENSION_8BITMIME | EXTENSION_DSN};
    f->client.next = 1;
    struct buf *all[] = {&f->from_client, &f->to_client, &f->from_mta,
                         &f->to_mta,      &f->wire,      &f->saying};
    const size_t max[] = {LIMIT_CLIENT_IN, LIMIT_CLIENT_OUT, LIMIT_MTA_IN,
                          LIMIT_MTA_OUT,   BODY_MAX + 4096,  1 << 16};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        buf_init(all[i], max[i]);
}

static void log_in(struct fuzz *f)
{
    static const struct smtp_tls_info tls = {.version = "TLSv1.3",
                                             .cipher = "TLS_AES_128_GCM_SHA256"};

    smtp_tls_started(f->smtp, &tls);
    ask(f, 'E', 0, "EHLO client.example");
    ask(f, 'A', 0, "AUTH PLAIN AGFsaWNlAHNlY3JldA==");
    pump(f);
}

/* The MTA is gone for good: every command left is answered all the same, and the session ends well.
 */
static void end(struct fuzz *f)
{
    f->no_mta = true;
    f->client_deaf = f->mta_deaf = false;
    if (!f->over) {
        pump(f);
        lose_mta(f);
        pump(f);
    }
    expect(f->over);
    if (f->aborted)
        expect(f->desynchronised);
    else
        expect(f->client.quit && f->client.owed_count == 0 && f->client.next == MESSAGES + 1);
    smtp_free(f->smtp);
    struct buf *all[] = {&f->from_client, &f->to_client, &f->from_mta,
                         &f->to_mta,      &f->wire,      &f->saying};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        buf_clear(all[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t len)
{
    static struct fuzz f;

    if (len < 1 || len > 8192)
        return 0;
    memset(&f, 0, offsetof(struct fuzz, body));
    begin(&f, in[0]);
    f.smtp = smtp_new(&f.rules, &f.peer, &f.known);
    expect(f.smtp != NULL);
    log_in(&f);
    for (size_t i = 1; i < len && !f.over && f.told_count < TOLD_MAX - 32; i++)
        act(&f, in[i]);
    end(&f);
    return 0;
}
