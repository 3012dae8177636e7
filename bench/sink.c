/* A stand-in for an old MTA: plain SMTP on loopback, for the demo, the container test and load
 * runs.
 *
 * usage: sink [-q] [-d DIR] PORT      PORT 0 is any free one; the first line printed tells which.
 *
 * It keeps each message as DIR/N.eml, octet for octet as RFC 5321 4.5.2 decodes it, and prints the
 * conversation unless -q. It is as strict as the RFC lets a server be, so that whatever comes in
 * front of it cannot get away with much: commands out of order, unknown parameters and bare CR or
 * LF are errors. SIGTERM ends it. */
#include <ctype.h>
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>
#include <uv.h>

#define LINE_MAX_OCTETS 2048
#define RECIPIENTS_MAX 1000
#define SIZE_MAX_OCTETS (50UL * 1024 * 1024)
#define UNREAD_REPLIES_MAX 65536
#define PATH_OCTETS 1024

enum data_state { LINE_START, DOT, DOT_CR, TEXT, CR };

struct sink {
    const char *directory; /* NULL: messages are counted, not kept */
    bool quiet;
    unsigned long clients;
    unsigned long messages;
    uv_loop_t loop;
    uv_tcp_t listener;
    uv_signal_t signals[2];
    char block[65536];
};

struct client {
    uv_tcp_t tcp;
    struct sink *sink;
    unsigned long number;
    char line[LINE_MAX_OCTETS + 2];
    size_t len;
    bool over; /* nothing more is read */
    bool greeted;
    bool mail;
    unsigned recipients;
    bool in_data;
    enum data_state state;
    bool bare; /* a bare CR or LF was in the message */
    unsigned long octets;
    unsigned long message; /* N of the file's name */
    FILE *file;
};

struct reply {
    uv_write_t request;
    char text[512];
};

static void note(const struct client *c, const char *who, const char *text, size_t len)
{
    if (!c->sink->quiet)
        printf("#%lu %s %.*s\n", c->number, who, (int)len, text);
}

static void file_path(char path[PATH_OCTETS], const struct client *c, const char *suffix)
{
    snprintf(path, PATH_OCTETS, "%s/%lu.eml%s", c->sink->directory, c->message, suffix);
}

static void drop_message(struct client *c)
{
    char path[PATH_OCTETS];
    if (c->file == NULL)
        return;
    fclose(c->file);
    c->file = NULL;
    file_path(path, c, ".part");
    unlink(path);
}

static void on_closed(uv_handle_t *handle)
{
    struct client *c = handle->data;
    drop_message(c);
    free(c);
}

static void close_client(struct client *c)
{
    if (!uv_is_closing((uv_handle_t *)&c->tcp))
        uv_close((uv_handle_t *)&c->tcp, on_closed);
}

static void on_written(uv_write_t *request, int status)
{
    struct client *c = request->handle->data;
    free(request);
    if (status == 0 && c->over && uv_stream_get_write_queue_size((uv_stream_t *)&c->tcp) == 0)
        close_client(c);
}

static void say(struct client *c, const char *text)
{
    struct reply *r = malloc(sizeof *r);
    if (r == NULL || uv_stream_get_write_queue_size((uv_stream_t *)&c->tcp) > UNREAD_REPLIES_MAX) {
        free(r);
        close_client(c);
        return;
    }
    int len = snprintf(r->text, sizeof r->text, "%s\r\n", text);
    uv_buf_t out = uv_buf_init(r->text, (unsigned)len);
    note(c, "S:", text, strlen(text));
    if (uv_write(&r->request, (uv_stream_t *)&c->tcp, &out, 1, on_written) != 0) {
        free(r);
        close_client(c);
    }
}

/* The last reply; the connection closes behind it. */
static void say_bye(struct client *c, const char *text)
{
    uv_read_stop((uv_stream_t *)&c->tcp);
    c->over = true;
    say(c, text);
}

static void forget_transaction(struct client *c)
{
    c->mail = false;
    c->recipients = 0;
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

/* SIZE and BODY, each well formed; anything else is unknown. NULL: fine. */
static const char *mail_parameters_fault(const char *parameters)
{
    char copy[LINE_MAX_OCTETS + 2];
    char *rest = copy, *word;
    snprintf(copy, sizeof copy, "%s", parameters);
    while ((word = strsep(&rest, " ")) != NULL) {
        if (*word == '\0' || strcasecmp(word, "BODY=7BIT") == 0 ||
            strcasecmp(word, "BODY=8BITMIME") == 0)
            continue;
        if (strncasecmp(word, "SIZE=", 5) != 0)
            return "555 5.5.4 Parameter not recognized";
        char *end;
        unsigned long size = strtoul(word + 5, &end, 10);
        if (!isdigit((unsigned char)word[5]) || *end != '\0')
            return "501 5.5.4 SIZE is no number";
        if (size > SIZE_MAX_OCTETS)
            return "552 5.3.4 Message too big";
    }
    return NULL;
}

static void do_ehlo(struct client *c, const char *args)
{
    forget_transaction(c);
    c->greeted = *args != '\0';
    if (!c->greeted) {
        say(c, "501 5.5.4 EHLO needs a name");
        return;
    }
    say(c, "250-sink.example");
    say(c, "250-PIPELINING");
    say(c, "250-SIZE 52428800");
    say(c, "250 8BITMIME");
}

static void do_helo(struct client *c, const char *args)
{
    forget_transaction(c);
    c->greeted = *args != '\0';
    say(c, c->greeted ? "250 sink.example" : "501 5.5.4 HELO needs a name");
}

static void do_mail(struct client *c, const char *args)
{
    const char *parameters = after_path(args, "FROM:", true);
    if (!c->greeted || c->mail)
        say(c, c->mail ? "503 5.5.1 Nested MAIL" : "503 5.5.1 EHLO first");
    else if (parameters == NULL)
        say(c, "501 5.5.4 MAIL FROM:<address>");
    else if (mail_parameters_fault(parameters) != NULL)
        say(c, mail_parameters_fault(parameters));
    else {
        c->mail = true;
        say(c, "250 2.1.0 Ok");
    }
}

static void do_rcpt(struct client *c, const char *args)
{
    const char *parameters = after_path(args, "TO:", false);
    if (!c->mail)
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

static void do_data(struct client *c, const char *args)
{
    char path[PATH_OCTETS];
    if (*args != '\0' || c->recipients == 0) {
        say(c, *args != '\0' ? "501 5.5.4 DATA takes no argument" : "503 5.5.1 RCPT first");
        return;
    }
    c->message = ++c->sink->messages;
    if (c->sink->directory != NULL) {
        file_path(path, c, ".part");
        c->file = fopen(path, "wx");
        if (c->file == NULL) {
            say(c, "452 4.3.1 Cannot keep the message");
            return;
        }
    }
    c->in_data = true;
    c->state = LINE_START;
    c->bare = false;
    c->octets = 0;
    say(c, "354 End with a line that holds one dot");
}

static void do_rset(struct client *c, const char *args)
{
    forget_transaction(c);
    say(c, *args == '\0' ? "250 2.0.0 Ok" : "501 5.5.4 RSET takes no argument");
}

static void do_noop(struct client *c, const char *args)
{
    (void)args; /* RFC 5321 4.1.1.9: a parameter is ignored */
    say(c, "250 2.0.0 Ok");
}

static void do_quit(struct client *c, const char *args)
{
    (void)args;
    say_bye(c, "221 2.0.0 Bye");
}

static const struct {
    const char *verb;
    void (*handle)(struct client *c, const char *args);
} commands[] = {{"EHLO", do_ehlo}, {"HELO", do_helo}, {"MAIL", do_mail}, {"RCPT", do_rcpt},
                {"DATA", do_data}, {"RSET", do_rset}, {"NOOP", do_noop}, {"QUIT", do_quit}};

static void run_command(struct client *c)
{
    note(c, "C:", c->line, c->len);
    if (strlen(c->line) != c->len || strpbrk(c->line, "\r\n") != NULL) {
        say(c, "500 5.5.2 NUL, bare CR or bare LF");
        return;
    }
    size_t verb = strcspn(c->line, " ");
    const char *args = c->line + verb + (c->line[verb] == ' ');
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (verb == 4 && strncasecmp(c->line, commands[i].verb, verb) == 0) {
            commands[i].handle(c, args);
            return;
        }
    say(c, "500 5.5.2 Not known here");
}

static void keep(struct client *c, char octet)
{
    c->octets++;
    if (c->file != NULL)
        putc_unlocked(octet, c->file);
}

static bool keep_file(struct client *c)
{
    char part[PATH_OCTETS], path[PATH_OCTETS];
    if (c->file == NULL)
        return true;
    bool good = !ferror(c->file);
    good = fclose(c->file) == 0 && good;
    c->file = NULL;
    file_path(part, c, ".part");
    file_path(path, c, "");
    return rename(part, path) == 0 && good;
}

static void end_message(struct client *c)
{
    char text[64];
    snprintf(text, sizeof text, "(a message of %lu octets)", c->octets);
    note(c, "C:", text, strlen(text));
    c->in_data = false;
    forget_transaction(c);
    if (c->bare || c->octets > SIZE_MAX_OCTETS) {
        drop_message(c);
        say(c, c->bare ? "550 5.6.0 Bare CR or LF" : "552 5.3.4 Message too big");
        return;
    }
    snprintf(text, sizeof text, "250 2.0.0 Ok: message %lu", c->message);
    say(c, keep_file(c) ? text : "452 4.3.1 Cannot keep the message");
}

static void data_octet(struct client *c, char octet)
{
    enum data_state before = c->state;
    if (octet == '\n' && before == DOT_CR) {
        end_message(c);
        return;
    }
    if (octet == '\n' && before == CR) {
        keep(c, '\r');
        keep(c, '\n');
        c->state = LINE_START;
        return;
    }
    c->bare = c->bare || octet == '\n' || before == CR || before == DOT_CR;
    if (octet == '.' && before == LINE_START)
        c->state = DOT; /* a stuffed dot, or the end */
    else if (octet == '\r')
        c->state = before == DOT ? DOT_CR : CR;
    else {
        keep(c, octet);
        c->state = TEXT;
    }
}

static void command_octet(struct client *c, char octet)
{
    c->line[c->len++] = octet;
    if (c->len >= 2 && octet == '\n' && c->line[c->len - 2] == '\r') {
        c->len -= 2;
        c->line[c->len] = '\0';
        run_command(c);
        c->len = 0;
    } else if (c->len == sizeof c->line) {
        say_bye(c, "500 5.5.2 Line too long");
    }
}

static void on_read(uv_stream_t *stream, ssize_t got, const uv_buf_t *block)
{
    struct client *c = stream->data;
    if (got < 0) {
        close_client(c);
        return;
    }
    for (ssize_t i = 0; i < got && !c->over && !uv_is_closing((uv_handle_t *)stream); i++)
        (c->in_data ? data_octet : command_octet)(c, block->base[i]);
}

static void on_block(uv_handle_t *handle, size_t suggested, uv_buf_t *block)
{
    struct client *c = handle->data;
    (void)suggested;
    *block = uv_buf_init(c->sink->block, sizeof c->sink->block); /* used up within on_read */
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct sink *s = listener->data;
    struct client *c = status == 0 ? calloc(1, sizeof *c) : NULL;
    if (c == NULL)
        return;
    c->sink = s;
    c->number = ++s->clients;
    uv_tcp_init(&s->loop, &c->tcp);
    c->tcp.data = c;
    if (uv_accept(listener, (uv_stream_t *)&c->tcp) != 0) {
        close_client(c);
        return;
    }
    uv_tcp_nodelay(&c->tcp, 1);
    say(c, "220 sink.example ESMTP");
    uv_read_start((uv_stream_t *)&c->tcp, on_block, on_read);
}

static void close_each(uv_handle_t *handle, void *arg)
{
    struct sink *s = arg;
    if (handle->type == UV_TCP && handle != (uv_handle_t *)&s->listener)
        close_client(handle->data);
    else if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

static void on_signal(uv_signal_t *handle, int number)
{
    (void)number;
    uv_walk(handle->loop, close_each, handle->data);
}

/* The bound port, or a negative libuv error. */
static int start(struct sink *s, int port)
{
    static const int numbers[] = {SIGTERM, SIGINT};
    struct sockaddr_in address;
    int len = sizeof address;
    uv_loop_init(&s->loop);
    for (size_t i = 0; i < 2; i++) {
        uv_signal_init(&s->loop, &s->signals[i]);
        s->signals[i].data = s;
        uv_signal_start(&s->signals[i], on_signal, numbers[i]);
    }
    uv_tcp_init(&s->loop, &s->listener);
    s->listener.data = s;
    uv_ip4_addr("127.0.0.1", port, &address);
    int error = uv_tcp_bind(&s->listener, (const struct sockaddr *)&address, 0);
    if (error == 0)
        error = uv_listen((uv_stream_t *)&s->listener, 128, on_connection);
    if (error == 0)
        error = uv_tcp_getsockname(&s->listener, (struct sockaddr *)&address, &len);
    return error != 0 ? error : ntohs(address.sin_port);
}

static int usage(void)
{
    fputs("usage: sink [-q] [-d DIR] PORT\n", stderr);
    return 2;
}

int main(int argc, char **argv)
{
    static struct sink s;
    int option;
    while ((option = getopt(argc, argv, "qd:")) != -1) {
        if (option == '?')
            return usage();
        if (option == 'q')
            s.quiet = true;
        else
            s.directory = optarg;
    }
    char *end = NULL;
    long port = optind == argc - 1 ? strtol(argv[optind], &end, 10) : -1;
    if (port < 0 || port > 65535 || end == argv[optind] || *end != '\0')
        return usage();
    signal(SIGPIPE, SIG_IGN);
    setvbuf(stdout, NULL, _IOLBF, 0);
    int bound = start(&s, (int)port);
    if (bound < 0) {
        fprintf(stderr, "sink: cannot listen on 127.0.0.1:%ld: %s\n", port, uv_strerror(bound));
        return 1;
    }
    printf("sink: listening on 127.0.0.1:%d\n", bound);
    uv_run(&s.loop, UV_RUN_DEFAULT);
    uv_loop_close(&s.loop);
    return 0;
}
