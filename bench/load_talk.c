#include "bench/load_talk.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char *const step_names[LOAD_STEPS] = {
    "greeting", "EHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "message", "QUIT",
};

const char *load_step_name(enum load_step step)
{
    return step_names[step];
}

bool load_envelope_make(struct load_envelope *e, const struct load_work *w)
{
    FILE *rest = open_memstream(&e->rest, &e->len);
    snprintf(e->mail[0], sizeof e->mail[0], "MAIL FROM:<load@load.example>\r\n");
    snprintf(e->mail[1], sizeof e->mail[1], "MAIL FROM:<load@load.example> SIZE=%llu\r\n",
             (unsigned long long)w->size);
    if (rest == NULL)
        return false;
    for (unsigned i = 0; i < w->recipients; i++)
        fprintf(rest, "RCPT TO:<r%u@load.example>\r\n", i);
    if (!w->chunked)
        fputs("DATA\r\n", rest);
    return fclose(rest) == 0;
}

void load_envelope_free(struct load_envelope *e)
{
    free(e->rest);
    *e = (struct load_envelope){0};
}

static const struct load_work *work_of(const struct load_talk *t)
{
    return t->script->work;
}

static void fail(struct load_talk *t, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void fail(struct load_talk *t, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(t->what, sizeof t->what, format, args);
    va_end(args);
    t->status = LOAD_TALK_FAILED;
    t->spans_count = 0;
}

static void push(struct load_talk *t, const void *at, size_t len, bool is_body)
{
    if (t->spans_count == 0)
        t->spans_first = 0;
    t->spans[t->spans_first + t->spans_count++] = (struct load_span){at, len, is_body};
}

/* Commands wait in one piece, whatever was sent of what came before. */
static void say(struct load_talk *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void say(struct load_talk *t, const char *format, ...)
{
    va_list args;
    size_t from = t->spans_count == 0 ? 0 : t->out_len;
    va_start(args, format);
    int n = vsnprintf(t->out + from, sizeof t->out - from, format, args);
    va_end(args);
    t->out_len = from + (size_t)n;
    push(t, t->out + from, (size_t)n, false);
}

static void go(struct load_talk *t, enum load_step step, const char *command)
{
    t->step = step;
    say(t, "%s\r\n", command);
}

/* RFC 4648 4. */
static size_t base64(char *out, const uint8_t *in, size_t len)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *at = out;
    for (size_t i = 0; i < len; i += 3) {
        size_t n = len - i < 3 ? len - i : 3;
        uint32_t bits = (uint32_t)in[i] << 16 | (n > 1 ? (uint32_t)in[i + 1] << 8 : 0) |
                        (n > 2 ? (uint32_t)in[i + 2] : 0);
        for (size_t k = 0; k < 4; k++)
            *at++ = k <= n ? letters[bits >> (18 - 6 * k) & 63] : '=';
    }
    *at = '\0';
    return (size_t)(at - out);
}

/* RFC 4616 2. */
static void say_auth(struct load_talk *t)
{
    char plain[3 + 2 * LOAD_SECRET_MAX], coded[sizeof plain / 3 * 4 + 8];
    char wrong[40];
    const char *password = t->password;
    if (work_of(t)->kind == LOAD_FLOOD) {
        snprintf(wrong, sizeof wrong, "wrong-%llx-%x", (unsigned long long)t->wrong, t->attempts);
        password = wrong;
    }
    int len = snprintf(plain, sizeof plain, "%c%s%c%s", 0, t->login, 0, password);
    base64(coded, (const uint8_t *)plain, (size_t)len);
    t->step = LOAD_STEP_AUTH;
    say(t, "AUTH PLAIN %s\r\n", coded);
}

static bool goes_on_early(const struct load_talk *t)
{
    return t->pipelining && work_of(t)->pipelining;
}

/* The next line of the envelope, or all that is left of it. */
static void say_rest(struct load_talk *t)
{
    const struct load_envelope *e = t->script->envelope;
    unsigned line = t->recipients;
    const char *at = e->rest;
    while (line-- > 0)
        at = strchr(at, '\n') + 1;
    size_t left = e->len - (size_t)(at - e->rest);
    const char *end = goes_on_early(t) ? NULL : memchr(at, '\n', left);
    size_t len = end != NULL ? (size_t)(end - at) + 1 : left;
    if (len > 0)
        push(t, at, len, false);
}

static void say_chunk(struct load_talk *t)
{
    const struct load_work *w = work_of(t);
    const struct load_form *form = load_messages_form(t->script->messages, t->number);
    uint64_t left = w->size - t->body_at, n = left < w->chunk ? left : w->chunk;
    bool first = t->body_at == 0;
    t->step = LOAD_STEP_BODY;
    t->marks |= first ? LOAD_MARK_OFFERED : 0;
    say(t, n == left ? "BDAT %llu LAST\r\n" : "BDAT %llu\r\n", (unsigned long long)n);
    uint64_t label = first ? SINK_LABEL_OCTETS : 0;
    if (first)
        say(t, SINK_LABEL_FORMAT, (unsigned long long)t->script->run,
            (unsigned long long)t->number);
    push(t, form->wire + (first ? 0 : t->body_at - SINK_LABEL_OCTETS), (size_t)(n - label), true);
    t->body_at += n;
}

static void say_body(struct load_talk *t)
{
    const struct load_form *form = load_messages_form(t->script->messages, t->number);
    t->step = LOAD_STEP_BODY;
    t->marks |= LOAD_MARK_OFFERED;
    say(t, SINK_LABEL_FORMAT, (unsigned long long)t->script->run, (unsigned long long)t->number);
    push(t, form->wire, form->len, true);
}

static void say_mail(struct load_talk *t)
{
    const char *mail = t->script->envelope->mail[t->size];
    t->step = LOAD_STEP_MAIL;
    t->marks |= LOAD_MARK_NUMBER;
    t->recipients = 0;
    t->body_at = 0;
    push(t, mail, strlen(mail), false);
    if (goes_on_early(t))
        say_rest(t);
}

static void after_messages(struct load_talk *t)
{
    if (load_work_sends(work_of(t)) && t->messages < work_of(t)->messages)
        say_mail(t);
    else
        go(t, LOAD_STEP_QUIT, "QUIT");
}

static void after_hello(struct load_talk *t)
{
    const struct load_work *w = work_of(t);
    bool bare = w->kind == LOAD_HANDSHAKE || w->kind == LOAD_RESUME;
    if (w->security == LOAD_STARTTLS && !t->secure)
        go(t, LOAD_STEP_STARTTLS, "STARTTLS");
    else if (bare && w->quit)
        go(t, LOAD_STEP_QUIT, "QUIT");
    else if (bare)
        t->status = LOAD_TALK_DONE;
    else if (load_work_logs_in(w))
        say_auth(t);
    else if (w->kind == LOAD_IDLE)
        t->status = LOAD_TALK_HOLD;
    else if (w->chunked && !t->chunking)
        fail(t, "CHUNKING is not offered");
    else
        after_messages(t);
}

static void on_greeting(struct load_talk *t)
{
    const struct load_work *w = work_of(t);
    bool bare = w->kind == LOAD_HANDSHAKE || w->kind == LOAD_RESUME;
    t->marks |= LOAD_MARK_GREETING;
    if (t->secure && bare)
        after_hello(t);
    else if (w->kind == LOAD_IDLE && w->stage == LOAD_AT_GREETING &&
             (t->secure || w->security == LOAD_PLAINTEXT))
        t->status = LOAD_TALK_HOLD;
    else
        go(t, LOAD_STEP_EHLO, "EHLO load.example");
}

static void on_ehlo(struct load_talk *t)
{
    const struct load_work *w = work_of(t);
    t->marks |= LOAD_MARK_EHLO;
    if (t->secure && w->kind == LOAD_IDLE && w->stage != LOAD_AT_AUTH)
        t->status = LOAD_TALK_HOLD;
    else
        after_hello(t);
}

static void on_auth(struct load_talk *t)
{
    const struct load_work *w = work_of(t);
    t->marks |= LOAD_MARK_AUTH;
    if (w->kind == LOAD_IDLE)
        t->status = LOAD_TALK_HOLD;
    else if (w->chunked && !t->chunking)
        fail(t, "CHUNKING is not offered");
    else
        after_messages(t);
}

/* These provoke it. */
static bool may_be_ended(const struct load_talk *t)
{
    return work_of(t)->kind == LOAD_FLOOD || work_of(t)->kind == LOAD_SLOW;
}

static void end_early(struct load_talk *t)
{
    t->ended_by_server = true;
    t->status = LOAD_TALK_DONE;
    t->spans_count = 0;
}

/* As it should be: a wrong password is refused. */
static void on_refusal(struct load_talk *t)
{
    t->attempts++;
    if (t->attempts < work_of(t)->attempts)
        say_auth(t);
    else
        go(t, LOAD_STEP_QUIT, "QUIT");
}

static void on_envelope(struct load_talk *t)
{
    const struct load_work *w = work_of(t);
    if (t->step == LOAD_STEP_RCPT)
        t->recipients++;
    t->step = t->recipients < w->recipients ? LOAD_STEP_RCPT : LOAD_STEP_DATA;
    if (t->step == LOAD_STEP_DATA && w->chunked)
        say_chunk(t);
    else if (!goes_on_early(t))
        say_rest(t);
}

static void on_body(struct load_talk *t)
{
    if (work_of(t)->chunked && t->body_at < work_of(t)->size) {
        say_chunk(t);
        return;
    }
    t->marks |= LOAD_MARK_MESSAGE;
    t->messages++;
    after_messages(t);
}

/* The code that goes on, for each step. */
static const unsigned good_codes[LOAD_STEPS] = {220, 250, 220, 235, 250, 250, 354, 250, 221};

static void on_good_reply(struct load_talk *t)
{
    switch (t->step) {
    case LOAD_STEP_GREETING:
        on_greeting(t);
        break;
    case LOAD_STEP_EHLO:
        on_ehlo(t);
        break;
    case LOAD_STEP_STARTTLS:
        t->status = LOAD_TALK_TLS;
        break;
    case LOAD_STEP_AUTH:
        on_auth(t);
        break;
    case LOAD_STEP_MAIL:
    case LOAD_STEP_RCPT:
        on_envelope(t);
        break;
    case LOAD_STEP_DATA:
        say_body(t);
        break;
    case LOAD_STEP_BODY:
        on_body(t);
        break;
    default:
        t->status = LOAD_TALK_DONE;
    }
}

/* Replies to the first commands of an envelope may come while the rest is still on its way. */
static bool is_too_early(const struct load_talk *t)
{
    const struct load_work *w = work_of(t);
    bool chunk_is_next = w->chunked && t->recipients + 1 >= w->recipients;
    bool first_ones = t->step == LOAD_STEP_MAIL || (t->step == LOAD_STEP_RCPT && !chunk_is_next);
    return t->spans_count > 0 && !(goes_on_early(t) && first_ones);
}

static void on_reply(struct load_talk *t)
{
    bool flood = work_of(t)->kind == LOAD_FLOOD && t->step == LOAD_STEP_AUTH;
    t->marks |= flood ? LOAD_MARK_REPLY : 0;
    if (t->code == 421 && may_be_ended(t))
        end_early(t);
    else if (flood && (t->code == 535 || t->code == 454))
        on_refusal(t);
    else if (flood || t->code != good_codes[t->step])
        fail(t, "%.*s", (int)t->line_len, t->line);
    else if (is_too_early(t))
        fail(t, "the server answered before all was said");
    else
        on_good_reply(t);
}

static void note_keyword(struct load_talk *t)
{
    static const char *const words[] = {"PIPELINING", "SIZE", "CHUNKING"};
    bool *const offers[] = {&t->pipelining, &t->size, &t->chunking};
    for (size_t i = 0; i < 3; i++) {
        size_t len = strlen(words[i]);
        if (t->line_len >= 4 + len && strncasecmp(t->line + 4, words[i], len) == 0 &&
            (t->line_len == 4 + len || t->line[4 + len] == ' '))
            *offers[i] = true;
    }
}

/* RFC 5321 4.2. */
static void on_line(struct load_talk *t)
{
    bool code = t->line_len >= 3 && t->line[0] >= '2' && t->line[0] <= '5' &&
                isdigit((unsigned char)t->line[1]) && isdigit((unsigned char)t->line[2]);
    bool last = t->line_len == 3 || (t->line_len > 3 && t->line[3] == ' ');
    if (!code || (!last && t->line[3] != '-')) {
        fail(t, "no SMTP reply: %.*s", (int)t->line_len, t->line);
        return;
    }
    t->code = (unsigned)(t->line[0] - '0') * 100 + (unsigned)(t->line[1] - '0') * 10 +
              (unsigned)(t->line[2] - '0');
    if (t->step == LOAD_STEP_EHLO)
        note_keyword(t);
    if (last)
        on_reply(t);
}

void load_talk_init(struct load_talk *t, const struct load_script *script, const char *login,
                    const char *password, uint64_t wrong)
{
    *t = (struct load_talk){.script = script,
                            .step = LOAD_STEP_GREETING,
                            .login = login,
                            .password = password,
                            .wrong = wrong};
}

void load_talk_secured(struct load_talk *t)
{
    const struct load_work *w = work_of(t);
    bool bare = w->kind == LOAD_HANDSHAKE || w->kind == LOAD_RESUME;
    t->secure = true;
    t->status = LOAD_TALK_MORE;
    if (bare && !w->greeting)
        t->status = LOAD_TALK_DONE;
    else if (w->security == LOAD_STARTTLS) {
        t->pipelining = t->size = t->chunking = false; /* RFC 3207 4.2 */
        go(t, LOAD_STEP_EHLO, "EHLO load.example");
    }
}

static void take_octet(struct load_talk *t, char octet)
{
    if (octet != '\n' && t->line_len == sizeof t->line) {
        fail(t, "a reply line of more than 512 octets");
    } else if (octet != '\n') {
        t->line[t->line_len++] = octet;
    } else {
        t->line_len -= t->line_len > 0 && t->line[t->line_len - 1] == '\r';
        on_line(t);
        t->line_len = 0;
    }
}

static size_t line_length(const char *text, size_t len)
{
    size_t n = 0;
    while (n < len && text[n] != '\r' && text[n] != '\n')
        n++;
    return n;
}

enum load_talk_status load_talk_take(struct load_talk *t, const void *in, size_t len)
{
    const char *at = in;
    size_t i = 0;
    while (i < len && t->status == LOAD_TALK_MORE)
        take_octet(t, at[i++]);
    if (i < len && (t->status == LOAD_TALK_HOLD || t->status == LOAD_TALK_TLS))
        fail(t, "unasked: %.*s", (int)line_length(at + i, len - i), at + i);
    return t->status;
}

enum load_talk_status load_talk_ended(struct load_talk *t)
{
    if (t->status == LOAD_TALK_DONE || t->status == LOAD_TALK_FAILED)
        return t->status;
    if (may_be_ended(t))
        end_early(t);
    else
        fail(t, "the server ended the connection");
    return t->status;
}

void load_talk_number(struct load_talk *t, uint64_t number)
{
    t->number = number;
}

const struct load_span *load_talk_next(const struct load_talk *t)
{
    return t->spans_count > 0 ? &t->spans[t->spans_first] : NULL;
}

void load_talk_sent(struct load_talk *t, size_t len)
{
    struct load_span *s = &t->spans[t->spans_first];
    s->at += len;
    s->len -= len;
    if (s->len == 0) {
        t->spans_first++;
        t->spans_count--;
    }
}
