#include "bench/sink_command.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "bench/sink_store.h"

enum { RECIPIENTS_MAX = 1000 };

static void say(struct sink_client *c, const char *text)
{
    sink_client_say(c, text);
}

/* What the faults ask for instead of a good answer: done, and true; or false. */
static bool spoiled(struct sink_client *c, enum sink_verb verb)
{
    const char *reply = sink_faults_reply(&c->sink->faults, verb);
    if (reply == NULL)
        return false;
    if (strcmp(reply, "close") == 0)
        sink_client_close(c);
    else if (strcmp(reply, "silence") == 0)
        c->phase = SINK_DEAF;
    else if (strncmp(reply, "421", 3) == 0)
        sink_client_say_bye(c, reply);
    else
        say(c, reply);
    return true;
}

/* At once, or after the delay that the faults ask for. */
static void in_time(struct sink_client *c, enum sink_verb verb, void (*then)(struct sink_client *c))
{
    uint64_t delay = c->sink->faults.of[verb].delay_ms;
    if (delay > 0)
        sink_client_wait(c, delay, then);
    else
        then(c);
}

static void forget_transaction(struct sink_client *c)
{
    sink_store_drop(c);
    c->mail = false;
    c->recipients = 0;
    c->chunked = false;
    c->chunk_refused = false;
}

static void greet(struct sink_client *c)
{
    if (!spoiled(c, SINK_CONNECT))
        say(c, "220 sink.example ESMTP");
}

void sink_command_greet(struct sink_client *c)
{
    in_time(c, SINK_CONNECT, greet);
}

/* "FROM:<...> parameters": what follows the path, or NULL when this is not one. */
static const char *after_path(const char *args, const char *keyword, bool may_be_empty)
{
    size_t n = strlen(keyword);
    if (strncasecmp(args, keyword, n) != 0 || args[n] != '<')
        return NULL;
    const char *end = strchr(args + n, '>');
    if (end == NULL || (end == args + n + 1 && !may_be_empty))
        return NULL;
    return end[1] == '\0' || end[1] == ' ' ? end + 1 : NULL;
}

static const char *size_fault(const struct sink_client *c, const char *number)
{
    char *end;
    unsigned long long size = strtoull(number, &end, 10);
    if (!isdigit((unsigned char)*number) || *end != '\0')
        return "501 5.5.4 SIZE is no number";
    return size > c->sink->size_max ? "552 5.3.4 Message too big" : NULL;
}

/* SIZE and BODY, each well formed; anything else is unknown. NULL: fine. */
static const char *mail_parameters_fault(const struct sink_client *c, const char *parameters)
{
    char copy[SINK_LINE_MAX + 1];
    char *rest = copy, *word;
    const char *fault = NULL;
    snprintf(copy, sizeof copy, "%s", parameters);
    while (fault == NULL && (word = strsep(&rest, " ")) != NULL) {
        if (strncasecmp(word, "SIZE=", 5) == 0)
            fault = size_fault(c, word + 5);
        else if (*word != '\0' && strcasecmp(word, "BODY=7BIT") != 0 &&
                 strcasecmp(word, "BODY=8BITMIME") != 0)
            fault = "555 5.5.4 Parameter not recognized";
    }
    return fault;
}

static void do_ehlo(struct sink_client *c, const char *args)
{
    char size[64];
    forget_transaction(c);
    c->greeted = *args != '\0';
    if (!c->greeted) {
        say(c, "501 5.5.4 EHLO needs a name");
        return;
    }
    say(c, "250-sink.example");
    say(c, "250-PIPELINING");
    if (c->sink->auth)
        say(c, "250-AUTH PLAIN LOGIN");
    if (c->sink->xclient)
        say(c, "250-XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT");
    if (c->sink->chunking)
        say(c, "250-CHUNKING");
    snprintf(size, sizeof size, "250-SIZE %llu", (unsigned long long)c->sink->size_max);
    say(c, size);
    say(c, "250 8BITMIME");
}

static void do_helo(struct sink_client *c, const char *args)
{
    forget_transaction(c);
    c->greeted = *args != '\0';
    say(c, c->greeted ? "250 sink.example" : "501 5.5.4 HELO needs a name");
}

static void go_on_with_auth(struct sink_client *c)
{
    say(c, c->awaits > 0 ? "334 " : "235 2.7.0 Taken");
}

/* Any password will do; who checks stands in front. */
static void do_auth(struct sink_client *c, const char *args)
{
    size_t mechanism = strcspn(args, " ");
    bool initial = args[mechanism] == ' ';
    bool plain = mechanism == 5 && strncasecmp(args, "PLAIN", 5) == 0;
    bool login = mechanism == 5 && strncasecmp(args, "LOGIN", 5) == 0;
    if (!c->sink->auth || !c->greeted || c->mail)
        say(c, c->sink->auth ? "503 5.5.1 Not now" : "502 5.5.1 AUTH is not offered");
    else if (!plain && !login)
        say(c, "504 5.5.4 Mechanism not known");
    else {
        c->awaits = (login ? 2u : 1u) - (initial ? 1u : 0u);
        go_on_with_auth(c);
    }
}

static void do_auth_line(struct sink_client *c)
{
    if (strcmp(c->line, "*") == 0) {
        c->awaits = 0;
        say(c, "501 5.7.0 Cancelled");
    } else {
        c->awaits--;
        go_on_with_auth(c);
    }
}

static void do_xclient(struct sink_client *c, const char *args)
{
    if (!c->sink->xclient || c->mail) {
        say(c, c->sink->xclient ? "503 5.5.1 Not in a transaction"
                                : "502 5.5.1 XCLIENT is not offered");
    } else if (strchr(args, '=') == NULL) {
        say(c, "501 5.5.4 NAME=VALUE is wanted");
    } else {
        c->greeted = false; /* the session begins anew */
        c->sink->counts.xclient++;
        say(c, "220 sink.example ESMTP");
    }
}

static void do_mail(struct sink_client *c, const char *args)
{
    const char *parameters = after_path(args, "FROM:", true);
    if (!c->greeted || c->mail)
        say(c, c->mail ? "503 5.5.1 Nested MAIL" : "503 5.5.1 EHLO first");
    else if (parameters == NULL)
        say(c, "501 5.5.4 MAIL FROM:<address>");
    else if (mail_parameters_fault(c, parameters) != NULL)
        say(c, mail_parameters_fault(c, parameters));
    else {
        c->mail = true;
        say(c, "250 2.1.0 Ok");
    }
}

static void do_rcpt(struct sink_client *c, const char *args)
{
    const char *parameters = after_path(args, "TO:", false);
    if (!c->mail || c->chunked)
        say(c, "503 5.5.1 MAIL first");
    else if (parameters == NULL)
        say(c, "501 5.5.4 RCPT TO:<address>");
    else if (*parameters != '\0')
        say(c, "555 5.5.4 Parameter not recognized");
    else if (c->recipients == RECIPIENTS_MAX)
        say(c, "452 4.5.3 Too many recipients");
    else {
        c->recipients++;
        say(c, "250 2.1.5 Ok");
    }
}

static void do_data(struct sink_client *c, const char *args)
{
    if (*args != '\0')
        say(c, "501 5.5.4 DATA takes no argument");
    else if (c->recipients == 0 || c->chunked)
        say(c, c->chunked ? "503 5.5.1 BDAT has begun" : "503 5.5.1 RCPT first");
    else if (!sink_store_begin(c))
        say(c, "452 4.3.1 Cannot keep the message");
    else {
        sink_data_init(&c->data);
        c->phase = SINK_MESSAGE;
        say(c, "354 End with a line that holds one dot");
    }
}

/* RFC 3030 2: the octets follow whatever the answer will be. */
static void do_bdat(struct sink_client *c, const char *args)
{
    char *end;
    unsigned long long size = strtoull(args, &end, 10);
    bool last = strcasecmp(end, " LAST") == 0;
    if (!c->sink->chunking || !isdigit((unsigned char)*args) || (!last && *end != '\0') ||
        size > c->sink->size_max) {
        sink_client_say_bye(c, "501 5.5.4 No chunk that can be taken");
        return;
    }
    if (!c->chunked)
        c->chunk_refused = c->recipients == 0 || !sink_store_begin(c);
    c->chunked = true;
    c->chunk_left = size;
    c->chunk_is_last = last;
    c->phase = SINK_CHUNK;
    if (size == 0)
        sink_command_chunk(c, NULL, 0);
}

static void do_rset(struct sink_client *c, const char *args)
{
    forget_transaction(c);
    say(c, *args == '\0' ? "250 2.0.0 Ok" : "501 5.5.4 RSET takes no argument");
}

static void do_noop(struct sink_client *c, const char *args)
{
    (void)args; /* RFC 5321 4.1.1.9: a parameter is ignored */
    say(c, "250 2.0.0 Ok");
}

static void do_quit(struct sink_client *c, const char *args)
{
    (void)args;
    sink_client_say_bye(c, "221 2.0.0 Bye");
}

struct command {
    const char *verb;
    enum sink_verb fault;
    void (*handle)(struct sink_client *c, const char *args);
};

static const struct command commands[] = {
    {"EHLO", SINK_EHLO, do_ehlo}, {"HELO", SINK_EHLO, do_helo},
    {"AUTH", SINK_AUTH, do_auth}, {"XCLIENT", SINK_XCLIENT, do_xclient},
    {"MAIL", SINK_MAIL, do_mail}, {"RCPT", SINK_RCPT, do_rcpt},
    {"DATA", SINK_DATA, do_data}, {"BDAT", SINK_DATA, do_bdat},
    {"RSET", SINK_RSET, do_rset}, {"NOOP", SINK_NOOP, do_noop},
    {"QUIT", SINK_QUIT, do_quit},
};

static const struct command *command_of(const char *line, size_t verb)
{
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (strlen(commands[i].verb) == verb && strncasecmp(line, commands[i].verb, verb) == 0)
            return &commands[i];
    return NULL;
}

static void end_line(struct sink_client *c)
{
    free(c->line);
    c->line = NULL;
    c->line_len = 0;
}

static void obey(struct sink_client *c)
{
    size_t verb = strcspn(c->line, " ");
    const struct command *command = command_of(c->line, verb);
    if (!spoiled(c, command->fault))
        command->handle(c, c->line + verb + (c->line[verb] == ' '));
    end_line(c);
}

void sink_command_run(struct sink_client *c)
{
    const struct command *command = command_of(c->line, strcspn(c->line, " "));
    c->sink->counts.commands++;
    sink_client_note(c, "C:", c->line, c->line_len);
    if (strlen(c->line) != c->line_len || strpbrk(c->line, "\r\n") != NULL)
        say(c, "500 5.5.2 NUL, bare CR or bare LF");
    else if (c->awaits > 0)
        do_auth_line(c);
    else if (command == NULL)
        say(c, "500 5.5.2 Not known here");
    else {
        in_time(c, command->fault, obey);
        return;
    }
    end_line(c);
}

static void refuse(struct sink_client *c, const char *text)
{
    c->sink->counts.rejected++;
    sink_store_drop(c);
    if (text != NULL)
        say(c, text);
}

static void end_message(struct sink_client *c)
{
    char text[64];
    snprintf(text, sizeof text, "(a message of %llu octets)", (unsigned long long)c->octets);
    sink_client_note(c, "C:", text, strlen(text));
    c->phase = SINK_COMMAND;
    c->chunked = false;
    snprintf(text, sizeof text, "250 2.0.0 Ok: message %llu", (unsigned long long)c->message);
    if (spoiled(c, SINK_BODY))
        refuse(c, NULL);
    else if (c->data.bare)
        refuse(c, "550 5.6.0 Bare CR or LF");
    else if (c->octets > c->sink->size_max)
        refuse(c, "552 5.3.4 Message too big");
    else if (!sink_store_end(c))
        refuse(c, "452 4.3.1 Cannot keep the message");
    else
        say(c, text);
    forget_transaction(c);
}

size_t sink_command_message(struct sink_client *c, const uint8_t *in, size_t len)
{
    const uint8_t *text;
    size_t text_len, taken = sink_data_next(&c->data, &text, &text_len, in, len);
    if (text_len > 0)
        sink_store_add(c, text, text_len);
    if (c->data.state == SINK_ENDED)
        in_time(c, SINK_BODY, end_message);
    return taken;
}

static void end_chunk(struct sink_client *c)
{
    c->phase = SINK_COMMAND;
    if (c->chunk_refused) {
        say(c, "503 5.5.1 RCPT first");
        if (c->chunk_is_last)
            forget_transaction(c);
    } else if (c->chunk_is_last) {
        c->data.bare = false; /* chunks may hold anything */
        in_time(c, SINK_BODY, end_message);
    } else {
        say(c, "250 2.0.0 Chunk taken");
    }
}

size_t sink_command_chunk(struct sink_client *c, const uint8_t *in, size_t len)
{
    size_t n = len < c->chunk_left ? len : (size_t)c->chunk_left;
    c->chunk_left -= n;
    if (n > 0 && !c->chunk_refused)
        sink_store_add(c, in, n);
    if (c->chunk_left == 0)
        end_chunk(c);
    return n;
}
