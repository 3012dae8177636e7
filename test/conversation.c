/* Runs conversations over the pure session core: `build/conversation FILE...`.
 *
 * A file is a dialogue of client, server and MTA. Every line is one step:
 *   # text            comment; the first one says what the file shows
 *   ! key value       an option, before the first step (see options below)
 *   @ name            the steps of name.part in the same folder
 *   C: line           the client sends the line and CR LF; consecutive lines are one flight
 *   C- octets         the client sends exactly this: \r \n \t \0 \\ \xHH, and \{N}c is N times c
 *   S: line           the server says exactly this line; `...` at the end: it begins so
 *   S~ code           the server says a whole reply, of any number of lines, with this code
 *   U> line, U- octets     what goes to the MTA
 *   U~ octets         no more than the beginning of this went to it: the rest may have been cut off
 *   U< line, U= octets     what the MTA says
 *   E: event          something happens, or is to have happened (see events and expectations below)
 *   C*N: S*N: U*N>         the same, N times
 * Nothing may come that is not expected: before anything else happens, and at the end, everything
 * that was said must have been named. Each file is run with the input in whole flights, octet by
 * octet, and (short ones) cut at every position; `! whole` keeps to the first where a boundary
 * rightly matters. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/buf.h"
#include "proxy/smtp.h"

enum {
    SOURCE_MAX = 8192,
    LINE_MAX_LEN = 1 << 18,
    STEPS_MAX = 4096,
    STREAM_MAX = 1 << 22,
    CUT_MAX = 1200
};

struct step {
    char file[256];
    unsigned line;
    char who; /* C S U E ! */
    char how; /* : - ~ > < = */
    unsigned times;
    char *text;
    size_t len;
};

struct script {
    struct step *step;
    size_t count;
    bool whole_only;
    size_t client_octets;
};

enum mode { WHOLE, OCTETS, CUT };

struct run {
    const struct script *script;
    enum mode mode;
    size_t cut;
    size_t fed; /* octets of the client's that went in */

    struct smtp_rules rules;
    char hostname[64];
    struct smtp_peer peer;
    uint32_t mechanisms;
    struct smtp_tls_info tls;
    struct smtp_gate gate;
    const char *domain[8];
    char domains[512];
    struct capabilities known;
    struct smtp *smtp;
    struct buf from_client, to_client, from_mta, to_mta;

    struct buf wire;     /* sent by the client, not read yet */
    struct buf mta_wire; /* by the MTA */
    struct buf said;     /* to the client, not expected yet */
    struct buf told;     /* to the MTA */
    struct buf todos;    /* lines */
    bool client_deaf, mta_deaf;
    bool over;
    char why[2048];
};

static bool fail(struct run *r, const struct step *at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static bool fail(struct run *r, const struct step *at, const char *format, ...)
{
    static const char *const modes[] = {"whole", "octet by octet", "cut"};
    va_list arguments;
    int n = snprintf(r->why, sizeof(r->why), "%s:%u (%s", at->file, at->line, modes[r->mode]);

    if (r->mode == CUT)
        n += snprintf(r->why + n, sizeof(r->why) - (size_t)n, " at %zu", r->cut);
    n += snprintf(r->why + n, sizeof(r->why) - (size_t)n, "): ");
    va_start(arguments, format);
    vsnprintf(r->why + n, sizeof(r->why) - (size_t)n, format, arguments);
    va_end(arguments);
    return false;
}

/* --- reading the file ------------------------------------------------------------------------ */

static void die(const char *file, unsigned line, const char *what)
{
    fprintf(stderr, "%s:%u: %s\n", file, line, what);
    exit(2);
}

static int hex(char c)
{
    const char *digits = "0123456789abcdef", *at = c != '\0' ? strchr(digits, c | 0x20) : NULL;

    return at != NULL ? (int)(at - digits) : 0;
}

static size_t unescape(char *out, const char *in, const char *file, unsigned line)
{
    size_t n = 0;

    for (; *in != '\0'; in++) {
        unsigned long times = 1;

        if (in[0] == '\\' && in[1] == '{') {
            char *end;

            times = strtoul(in + 2, &end, 10);
            if (*end != '}' || end[1] == '\0')
                die(file, line, "\\{N}c expected");
            in = end + 1;
        }
        char c = *in;
        if (c == '\\') {
            c = *++in;
            if (c == 'x') {
                c = (char)(hex(in[1]) << 4 | hex(in[2]));
                in += 2;
            } else if (c != '\\') {
                const char *at = c != '\0' ? strchr("r\rn\nt\t0", c) : NULL;

                if (at == NULL)
                    die(file, line, "unknown escape");
                c = c == '0' ? '\0' : at[1];
            }
        }
        if (n + times >= LINE_MAX_LEN)
            die(file, line, "too long");
        memset(out + n, c, times);
        n += times;
    }
    return n;
}

static void add_step(struct script *script, const char *file, unsigned line, char *text)
{
    static char scratch[LINE_MAX_LEN];
    struct step *s = &script->step[script->count++];
    char *at = text + 1;

    *s = (struct step){.line = line, .who = text[0], .times = 1};
    snprintf(s->file, sizeof(s->file), "%s", file);
    if (*at == '*') {
        s->times = (unsigned)strtoul(at + 1, &at, 10);
        if (s->times == 0)
            die(file, line, "how often?");
    }
    s->how = s->who == '!' ? ' ' : *at++;
    if (strchr("CSUE!", s->who) == NULL || strchr(" :-~><=", s->how) == NULL ||
        (*at != ' ' && *at != '\0'))
        die(file, line, "not a step");
    if (*at == ' ')
        at++;
    if (s->how == '-' || s->how == '=' || (s->who == 'U' && s->how == '~')) {
        s->len = unescape(scratch, at, file, line);
    } else {
        s->len = (size_t)snprintf(scratch, sizeof(scratch), "%s", at);
        if (s->how == '<' || (s->who == 'C' && s->how == ':'))
            s->len += (size_t)snprintf(scratch + s->len, sizeof(scratch) - s->len, "\r\n");
    }
    s->text = malloc(s->len + 1);
    memcpy(s->text, scratch, s->len);
    s->text[s->len] = '\0';
    if (s->who == 'C')
        script->client_octets += s->len * s->times;
    if (s->who == '!' && strcmp(s->text, "whole") == 0)
        script->whole_only = true;
}

static void read_file(struct script *script, const char *path)
{
    static unsigned depth;
    char line[SOURCE_MAX], part[512];
    const char *slash = strrchr(path, '/');
    FILE *f = fopen(path, "r");

    if (f == NULL || ++depth > 8)
        die(path, 0, "cannot be read");
    for (unsigned n = 1; fgets(line, sizeof(line), f) != NULL; n++) {
        line[strcspn(line, "\n")] = '\0';
        if (line[0] == '\0' || line[0] == '#')
            continue;
        if (script->count == STEPS_MAX)
            die(path, n, "too many steps");
        if (line[0] != '@') {
            add_step(script, path, n, line);
            continue;
        }
        snprintf(part, sizeof(part), "%.*s%s.part", slash != NULL ? (int)(slash + 1 - path) : 0,
                 path, line + 1 + strspn(line + 1, " "));
        read_file(script, part);
    }
    depth--;
    fclose(f);
}

/* --- options --------------------------------------------------------------------------------- */

static unsigned extensions(const char *words)
{
    static const struct {
        const char *name;
        unsigned bit;
    } all[] = {{"SIZE", EXTENSION_SIZE},         {"8BITMIME", EXTENSION_8BITMIME},
               {"SMTPUTF8", EXTENSION_SMTPUTF8}, {"DSN", EXTENSION_DSN},
               {"CHUNKING", EXTENSION_CHUNKING}, {"PIPELINING", EXTENSION_PIPELINING}};
    unsigned bits = 0;

    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        bits |= strstr(words, all[i].name) != NULL ? all[i].bit : 0;
    return bits;
}

static void option_mta(struct run *r, const char *value)
{
    const char *size = strstr(value, "SIZE=");

    r->known = (struct capabilities){.known = true, .extensions = extensions(value)};
    if (size != NULL)
        r->known.size = strtoull(size + 5, NULL, 10);
}

static void option_gate(struct run *r, const char *value)
{
    snprintf(r->domains, sizeof(r->domains), "%s", value);
    r->gate.domains = r->domain;
    for (char *word = strtok(r->domains, " "); word != NULL && r->gate.count < 8;
         word = strtok(NULL, " "))
        r->domain[r->gate.count++] = word;
    r->rules.gate = &r->gate;
}

static uint32_t mechanisms(const char *words)
{
    uint32_t bits = 0;

    while (*(words += strspn(words, " ")) != '\0') {
        size_t len = strcspn(words, " ");

        bits |= (uint32_t)sasl_by_name(words, len);
        words += len;
    }
    return bits;
}

/* Who may do without AUTH, and what the vault and the MTA are told. */
static bool option_policy(struct run *r, const char *key, const char *value, bool yes)
{
    if (strcmp(key, "auth") == 0)
        r->rules.auth = strcmp(value, "none") == 0       ? SMTP_AUTH_NONE
                        : strcmp(value, "optional") == 0 ? SMTP_AUTH_OPTIONAL
                                                         : SMTP_AUTH_REQUIRED;
    else if (strcmp(key, "gate") == 0)
        option_gate(r, value);
    else if (strcmp(key, "tls_never") == 0)
        r->rules.tls_never = yes;
    else if (strcmp(key, "trusted") == 0)
        r->peer.trusted = yes;
    else if (strcmp(key, "permit_sender") == 0)
        r->rules.permit_sender = yes;
    else if (strcmp(key, "permit_recipient") == 0)
        r->rules.permit_recipient = yes;
    else if (strcmp(key, "xclient") == 0)
        r->rules.xclient = yes;
    else if (strcmp(key, "address") == 0)
        r->peer.address = value;
    else if (strcmp(key, "messages_per_connection") == 0)
        r->rules.messages_per_connection = (unsigned)strtoul(value, NULL, 10);
    else
        return false;
    return true;
}

static bool option(struct run *r, const struct step *at)
{
    char key[64] = "";
    const char *value = "";

    sscanf(at->text, "%63s", key);
    if (at->text[strlen(key)] == ' ')
        value = at->text + strlen(key) + 1;
    bool yes = strcmp(value, "yes") == 0;
    if (strcmp(key, "starttls") == 0)
        r->rules.starttls = yes;
    else if (strcmp(key, "require_tls") == 0)
        r->rules.require_tls = yes;
    else if (strcmp(key, "mechanisms") == 0)
        r->mechanisms = mechanisms(value);
    else if (strcmp(key, "bound") == 0)
        r->tls.bound = yes;
    else if (strcmp(key, "external") == 0)
        r->tls.external = value;
    else if (strcmp(key, "hide") == 0)
        r->rules.hidden = extensions(value);
    else if (strcmp(key, "helo") == 0)
        r->rules.helo_proxy = strcmp(value, "proxy") == 0;
    else if (strcmp(key, "size") == 0)
        r->rules.max_size = strtoull(value, NULL, 10);
    else if (strcmp(key, "max_failures") == 0)
        r->rules.max_failures = (unsigned)strtoul(value, NULL, 10);
    else if (strcmp(key, "newline") == 0)
        r->rules.newline = strcmp(value, "reject") == 0 ? DATA_REJECT : DATA_NORMALIZE;
    else if (strcmp(key, "trace") == 0)
        r->rules.trace = strcmp(value, "full") == 0 ? TRACE_FULL : TRACE_NO_IP;
    else if (strcmp(key, "mta") == 0)
        option_mta(r, value);
    else if (!option_policy(r, key, value, yes) && strcmp(key, "whole") != 0)
        return fail(r, at, "unknown option: %s", key);
    return r->smtp == NULL || fail(r, at, "options come before the first step");
}

/* --- moving octets --------------------------------------------------------------------------- */

static struct smtp_io io_of(struct run *r)
{
    return (struct smtp_io){.from_client = &r->from_client,
                            .to_client = &r->to_client,
                            .from_mta = &r->from_mta,
                            .to_mta = &r->to_mta,
                            .now = 1000000000};
}

static void move(struct buf *to, struct buf *from, size_t most)
{
    size_t n = buf_len(from);

    if (n > most)
        n = most;
    if (n > buf_room(to))
        n = buf_room(to);
    if (n > 0 && buf_append(to, buf_data(from), n))
        buf_consume(from, n);
}

static void write_note(struct run *r)
{
    const struct smtp_note *n = smtp_note(r->smtp);

    switch (n->kind) {
    case SMTP_NOTE_MESSAGE:
        buf_printf(&r->todos, "note %s from=<%s> recipients=%u refused=%u octets=%llu%s: %s\n",
                   n->delivered ? "delivered" : "not delivered", n->sender, n->recipients,
                   n->refused, (unsigned long long)n->octets, n->client_gone ? " client gone" : "",
                   n->reply);
        break;
    case SMTP_NOTE_CLEAR_AUTH:
        buf_text(&r->todos, "note clear auth\n");
        break;
    case SMTP_NOTE_DESYNC:
        buf_text(&r->todos, "note desync\n");
        break;
    case SMTP_NOTE_INJECTION:
        buf_text(&r->todos, "note injection\n");
        break;
    case SMTP_NOTE_NO_XCLIENT:
        buf_text(&r->todos, "note no xclient\n");
        break;
    }
}

/* What the vault gets of a login: the mechanism, the login where the mechanism has one, and the
 * rest with what is not printable as \xHH. */
static void write_credential(struct run *r, const struct sasl_credential *c)
{
    buf_printf(&r->todos, "%s %s", smtp_exchanges(r->smtp) ? "respond" : "verify",
               sasl_name(c->mechanism));
    if (c->login_len > 0)
        buf_printf(&r->todos, " %s", c->login);
    buf_text(&r->todos, c->secret_len > 0 ? " " : "");
    for (size_t i = 0; i < c->secret_len; i++)
        buf_printf(&r->todos, (unsigned char)c->secret[i] < 0x20 ? "\\x%02x" : "%c",
                   (unsigned char)c->secret[i]);
    buf_text(&r->todos, "\n");
}

static void write_todo(struct run *r, enum smtp_todo todo)
{
    switch (todo) {
    case SMTP_WAIT:
        break;
    case SMTP_STARTTLS:
        buf_text(&r->todos, "starttls\n");
        break;
    case SMTP_VERIFY:
        write_credential(r, smtp_credential(r->smtp));
        break;
    case SMTP_PERMIT:
        buf_printf(&r->todos, "permit %s <%s>\n",
                   smtp_permit(r->smtp)->what == SMTP_PERMIT_SENDER ? "sender" : "recipient",
                   smtp_permit(r->smtp)->address);
        break;
    case SMTP_CONNECT:
        buf_text(&r->todos, "connect\n");
        break;
    case SMTP_LEAVE: /* what the MTA has not got by then it will not get */
        buf_text(&r->todos, smtp_mta_idles(r->smtp) ? "leave, and stay\n" : "leave\n");
        move(&r->told, &r->to_mta, STREAM_MAX);
        buf_clear(&r->mta_wire);
        break;
    case SMTP_CUT:
        buf_text(&r->todos, buf_len(&r->to_mta) == 0 ? "cut\n" : "cut, with octets left to send\n");
        break;
    case SMTP_NOTE:
        write_note(r);
        break;
    case SMTP_CLOSE:
        buf_text(&r->todos, "close\n");
        r->over = true;
        break;
    case SMTP_ABORT:
        buf_text(&r->todos, "abort\n");
        r->over = true;
        break;
    }
}

static void advance(struct run *r)
{
    struct smtp_io io = io_of(r);
    struct capabilities learnt;
    enum smtp_todo todo = SMTP_NOTE;

    while (!r->over && todo != SMTP_WAIT) {
        todo = smtp_advance(r->smtp, &io);
        write_todo(r, todo);
        if (todo == SMTP_ABORT) {
            buf_clear(&r->to_client);
            buf_clear(&r->to_mta);
        }
        if (smtp_learnt(r->smtp, &learnt))
            r->known = learnt;
        if (!r->client_deaf)
            move(&r->said, &r->to_client, STREAM_MAX);
        if (!r->mta_deaf)
            move(&r->told, &r->to_mta, STREAM_MAX);
    }
}

static size_t portion(const struct run *r)
{
    if (r->mode == OCTETS)
        return 1;
    if (r->mode == CUT && r->fed < r->cut)
        return r->cut - r->fed;
    return STREAM_MAX;
}

/* Until nothing moves: what the client sent goes in as far as the core reads it. */
static void pump(struct run *r)
{
    for (;;) {
        size_t before = buf_len(&r->wire) + buf_len(&r->mta_wire);
        struct smtp_io io = io_of(r);
        bool moved;

        advance(r);
        if (r->over)
            return;
        if (buf_len(&r->mta_wire) > 0) {
            move(&r->from_mta, &r->mta_wire, r->mode == OCTETS ? 1 : STREAM_MAX);
        } else if (buf_len(&r->wire) > 0 && smtp_reads_client(r->smtp, &io)) {
            size_t left = buf_len(&r->wire);

            move(&r->from_client, &r->wire, portion(r));
            r->fed += left - buf_len(&r->wire);
        }
        moved = buf_len(&r->wire) + buf_len(&r->mta_wire) != before;
        if (!moved)
            return;
    }
}

/* --- events ---------------------------------------------------------------------------------- */

static bool event_verdict(struct run *r, const struct step *at, const char *words)
{
    char verdict[32] = "", login[256] = "";

    sscanf(words, "%31s %255s", verdict, login);
    if (strcmp(verdict, "accepted") == 0)
        smtp_verdict(r->smtp, SMTP_ACCEPTED, login[0] != '\0' ? login : NULL);
    else if (strcmp(verdict, "rejected") == 0)
        smtp_verdict(r->smtp, SMTP_REJECTED, NULL);
    else if (strcmp(verdict, "unavailable") == 0)
        smtp_verdict(r->smtp, SMTP_UNAVAILABLE, NULL);
    else if (strcmp(verdict, "limited") == 0)
        smtp_verdict(r->smtp, SMTP_LIMITED, NULL);
    else
        return fail(r, at, "unknown verdict: %s", verdict);
    return true;
}

static bool event_permitted(struct run *r, const struct step *at, const char *word)
{
    static const char *const words[] = {"allowed", "not owned", "over quota", "unavailable"};

    for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcmp(word, words[i]) == 0) {
            smtp_permitted(r->smtp, (enum smtp_permission)i);
            return true;
        }
    }
    return fail(r, at, "unknown permission: %s", word);
}

static bool expect_waiting(struct run *r, const struct step *at, const char *what)
{
    static const char *const names[] = {"command", "line",  "data",  "verdict", "connect", "banner",
                                        "reply",   "start", "block", "end",     "write"};
    struct smtp_io io = io_of(r);
    const char *is = names[smtp_waiting(r->smtp, &io).what];

    /* "reply" is any but the one to the final dot. */
    if (strcmp(what, "reply") == 0 && (strcmp(is, "banner") == 0 || strcmp(is, "start") == 0))
        return true;
    return strcmp(is, what) == 0 || fail(r, at, "waits for %s, not for %s", is, what);
}

static bool expect_end(struct run *r, const struct step *at, const char *what)
{
    const char *is = smtp_end_name(smtp_end(r->smtp));

    return strcmp(is, what) == 0 || fail(r, at, "the session's end is %s, not %s", is, what);
}

enum known { UNKNOWN, HAPPENED, BROKEN };

static void tls_started(struct run *r)
{
    snprintf(r->tls.version, sizeof(r->tls.version), "TLSv1.3");
    snprintf(r->tls.cipher, sizeof(r->tls.cipher), "TLS_AES_128_GCM_SHA256");
    smtp_tls_started(r->smtp, &r->tls);
}

/* The vault's message for the client; octets as in `C-`. */
static void challenge(struct run *r, const struct step *at)
{
    static char message[LINE_MAX_LEN];
    const char *text = at->text + strlen("challenge");

    if (*text == ' ')
        text++;
    smtp_challenged(r->smtp, (uint8_t *)message, unescape(message, text, at->file, at->line));
}

static enum known happen(struct run *r, const struct step *at)
{
    if (strcmp(at->text, "tls") == 0)
        tls_started(r);
    else if (strncmp(at->text, "verdict ", 8) == 0)
        return event_verdict(r, at, at->text + 8) ? HAPPENED : BROKEN;
    else if (strncmp(at->text, "challenge", 9) == 0)
        challenge(r, at);
    else if (strncmp(at->text, "vault offers", 12) == 0)
        r->mechanisms = mechanisms(at->text + 12);
    else if (strcmp(at->text, "connected") == 0)
        smtp_mta_connected(r->smtp);
    else if (strncmp(at->text, "permitted ", 10) == 0)
        return event_permitted(r, at, at->text + 10) ? HAPPENED : BROKEN;
    else if (strcmp(at->text, "mta lost") == 0)
        smtp_mta_lost(r->smtp);
    else if (strcmp(at->text, "mta busy") == 0)
        smtp_mta_busy(r->smtp);
    else if (strcmp(at->text, "mta idle out") == 0)
        smtp_mta_idle_out(r->smtp);
    else if (strcmp(at->text, "client gone") == 0)
        smtp_client_gone(r->smtp);
    else if (strcmp(at->text, "timeout") == 0)
        smtp_timed_out(r->smtp);
    else if (strcmp(at->text, "drain") == 0)
        smtp_drain(r->smtp);
    else if (strcmp(at->text, "apart") == 0)
        return HAPPENED; /* a boundary between flights */
    else if (strcmp(at->text, "client deaf") == 0)
        r->client_deaf = true;
    else if (strcmp(at->text, "client listens") == 0)
        r->client_deaf = false;
    else if (strcmp(at->text, "mta deaf") == 0)
        r->mta_deaf = true;
    else if (strcmp(at->text, "mta listens") == 0)
        r->mta_deaf = false;
    else
        return UNKNOWN;
    return HAPPENED;
}

/* --- expectations ---------------------------------------------------------------------------- */

static bool take_text(struct buf *from, char *out, size_t cap, const char *eol)
{
    const uint8_t *at = memchr(buf_data(from), '\n', buf_len(from));
    size_t len, end = strlen(eol);

    if (at == NULL)
        return false;
    len = (size_t)(at + 1 - buf_data(from));
    if (len < end || memcmp(at + 1 - end, eol, end) != 0 || len - end >= cap)
        return false;
    memcpy(out, buf_data(from), len - end);
    out[len - end] = '\0';
    buf_consume(from, len);
    return true;
}

static bool matches(const char *expected, const char *is)
{
    size_t len = strlen(expected);

    if (len >= 3 && strcmp(expected + len - 3, "...") == 0)
        return strncmp(expected, is, len - 3) == 0;
    return strcmp(expected, is) == 0;
}

static bool expect_line(struct run *r, const struct step *at, struct buf *from, const char *eol)
{
    static char line[LINE_MAX_LEN];

    if (!take_text(from, line, sizeof(line), eol))
        return fail(r, at, "expected `%s`, nothing came (waiting: %.*s%.*s)", at->text,
                    (int)buf_len(from), buf_data(from), (int)buf_len(&r->todos),
                    buf_data(&r->todos));
    return matches(at->text, line) || fail(r, at, "expected `%s`, got `%.900s`", at->text, line);
}

static bool expect_octets(struct run *r, const struct step *at, struct buf *from)
{
    if (buf_len(from) < at->len || memcmp(buf_data(from), at->text, at->len) != 0)
        return fail(r, at, "expected %zu octets, got `%.*s`", at->len, (int)buf_len(from),
                    buf_data(from));
    buf_consume(from, at->len);
    return true;
}

static bool expect_beginning(struct run *r, const struct step *at)
{
    size_t len = buf_len(&r->told);

    if (len > at->len || memcmp(buf_data(&r->told), at->text, len) != 0)
        return fail(r, at, "the MTA was told `%.*s`", (int)len, buf_data(&r->told));
    buf_clear(&r->told);
    return true;
}

static bool expect_reply(struct run *r, const struct step *at)
{
    char line[1024];

    do {
        if (!take_text(&r->said, line, sizeof(line), "\r\n"))
            return fail(r, at, "expected a reply %s, nothing came", at->text);
        if (strncmp(line, at->text, 3) != 0)
            return fail(r, at, "expected a reply %s, got `%s`", at->text, line);
    } while (line[3] == '-');
    return true;
}

static bool quiet(struct run *r, const struct step *at)
{
    if (buf_len(&r->said) > 0)
        return fail(r, at, "the server also said `%.*s`", (int)buf_len(&r->said),
                    buf_data(&r->said));
    if (buf_len(&r->told) > 0)
        return fail(r, at, "the MTA was also told `%.*s`", (int)buf_len(&r->told),
                    buf_data(&r->told));
    if (buf_len(&r->todos) > 0)
        return fail(r, at, "also happened: %.*s", (int)buf_len(&r->todos), buf_data(&r->todos));
    return true;
}

static bool expect_event(struct run *r, const struct step *at)
{
    if (strcmp(at->text, "nothing") == 0)
        return quiet(r, at);
    if (strncmp(at->text, "waiting ", 8) == 0)
        return expect_waiting(r, at, at->text + 8);
    if (strncmp(at->text, "end ", 4) == 0)
        return expect_end(r, at, at->text + 4);
    return expect_line(r, at, &r->todos, "\n");
}

/* --- running --------------------------------------------------------------------------------- */

static bool is_input(const struct step *s)
{
    return s->who == 'C' || (s->who == 'U' && (s->how == '<' || s->how == '='));
}

static bool input(struct run *r, const struct step *at, const struct step *before)
{
    bool flight = before != NULL && before->who == at->who && is_input(before);

    if (r->over)
        return fail(r, at, "the session is over");
    if (!flight)
        pump(r);
    if (!flight && !quiet(r, at))
        return false;
    for (unsigned i = 0; i < at->times; i++)
        buf_append(at->who == 'C' ? &r->wire : &r->mta_wire, at->text, at->len);
    return true;
}

static bool expectation(struct run *r, const struct step *at)
{
    if (at->who == 'S')
        return at->how == '~' ? expect_reply(r, at) : expect_line(r, at, &r->said, "\r\n");
    if (at->who == 'U' && at->how == '~')
        return expect_beginning(r, at);
    if (at->who == 'U')
        return at->how == '-' ? expect_octets(r, at, &r->told)
                              : expect_line(r, at, &r->told, "\r\n");
    return expect_event(r, at);
}

static bool do_event(struct run *r, const struct step *at)
{
    enum known known;

    if (strcmp(at->text, "apart") != 0 && strncmp(at->text, "mta ", 4) != 0 &&
        strncmp(at->text, "client ", 7) != 0 && strncmp(at->text, "verdict", 7) != 0 &&
        strncmp(at->text, "challenge", 9) != 0 && strncmp(at->text, "vault ", 6) != 0 &&
        strncmp(at->text, "permitted", 9) != 0 && strcmp(at->text, "tls") != 0 &&
        strcmp(at->text, "connected") != 0 && strcmp(at->text, "timeout") != 0 &&
        strcmp(at->text, "drain") != 0)
        return expectation(r, at);
    if (strcmp(at->text, "apart") != 0 && !quiet(r, at))
        return false;
    known = happen(r, at);
    if (known == BROKEN)
        return false;
    if (known == UNKNOWN)
        return fail(r, at, "unknown event: %s", at->text);
    pump(r);
    return true;
}

static bool start(struct run *r)
{
    if (r->smtp != NULL)
        return true;
    r->smtp = smtp_new(&r->rules, &r->peer, &r->known);
    if (r->smtp != NULL)
        pump(r);
    return r->smtp != NULL;
}

static bool do_step(struct run *r, const struct step *at, const struct step *before)
{
    if (at->who == '!')
        return option(r, at);
    if (!start(r))
        return fail(r, at, "out of memory");
    if (is_input(at))
        return input(r, at, before);
    pump(r);
    for (unsigned i = 0; i < at->times; i++) {
        if (!(at->who == 'E' ? do_event(r, at) : expectation(r, at)))
            return false;
    }
    return true;
}

static bool finish(struct run *r, const struct step *last)
{
    pump(r);
    if (!quiet(r, last))
        return false;
    return r->over || buf_len(&r->wire) == 0 ||
           fail(r, last, "the client's last words went unread");
}

static void init(struct run *r, const struct script *script, enum mode mode, size_t cut)
{
    *r = (struct run){.script = script, .mode = mode, .cut = cut};
    r->rules = (struct smtp_rules){
        .hostname = "mail.example", .require_tls = true, .max_failures = 3, .trace = TRACE_NONE};
    r->peer = (struct smtp_peer){
        .address = "192.0.2.1", .session = "test", .port = 4321, .local = "198.51.100.1"};
    r->mechanisms = SASL_PLAIN | SASL_LOGIN;
    r->peer.mechanisms = &r->mechanisms;
    buf_init(&r->from_client, LIMIT_CLIENT_IN);
    buf_init(&r->to_client, LIMIT_CLIENT_OUT);
    buf_init(&r->from_mta, LIMIT_MTA_IN);
    buf_init(&r->to_mta, LIMIT_MTA_OUT);
    struct buf *streams[] = {&r->wire, &r->mta_wire, &r->said, &r->told, &r->todos};
    for (size_t i = 0; i < sizeof(streams) / sizeof(streams[0]); i++)
        buf_init(streams[i], STREAM_MAX);
}

static bool run(struct run *r, const struct script *script, enum mode mode, size_t cut)
{
    const struct step *before = NULL;
    bool ok = true;

    init(r, script, mode, cut);
    for (size_t i = 0; ok && i < script->count; i++) {
        ok = do_step(r, &script->step[i], before);
        before = &script->step[i];
    }
    ok = ok && before != NULL && finish(r, before);
    smtp_free(r->smtp);
    struct buf *all[] = {&r->from_client, &r->to_client, &r->from_mta, &r->to_mta, &r->wire,
                         &r->mta_wire,    &r->said,      &r->told,     &r->todos};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        buf_clear(all[i]);
    return ok;
}

static bool run_all(struct run *r, const struct script *script)
{
    if (!run(r, script, WHOLE, 0))
        return false;
    if (script->whole_only)
        return true;
    if (!run(r, script, OCTETS, 0))
        return false;
    for (size_t cut = 1; script->client_octets <= CUT_MAX && cut < script->client_octets; cut++) {
        if (!run(r, script, CUT, cut))
            return false;
    }
    return true;
}

static bool converse(const char *path)
{
    static struct run r;
    struct script script = {.step = calloc(STEPS_MAX, sizeof(struct step))};
    const char *slash = strrchr(path, '/'), *name = slash != NULL ? slash + 1 : path;
    size_t len = strcspn(name, ".");
    bool ok;

    if (script.step == NULL)
        die(path, 0, "out of memory");
    read_file(&script, path);
    if (script.count == 0)
        die(path, 0, "holds no step");
    ok = run_all(&r, &script);
    if (ok)
        printf("ok %.*s\n", (int)len, name);
    else
        printf("not ok %.*s: %s\n", (int)len, name, r.why);
    for (size_t i = 0; i < script.count; i++)
        free(script.step[i].text);
    free(script.step);
    return ok;
}

int main(int argc, char **argv)
{
    unsigned passed = 0, failed = 0;

    for (int i = 1; i < argc; i++)
        converse(argv[i]) ? passed++ : failed++;
    printf("%u passed, %u failed\n", passed, failed);
    return failed > 0 || passed == 0 ? 1 : 0;
}
