#include <ctype.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "bench/sink_client.h"
#include "bench/sink_control.h"
#include "bench/sink_server.h"

enum { BACKLOG = 4096 };

static void on_connection(uv_stream_t *listener, int status)
{
    if (status == 0)
        sink_client_accept(listener->data);
}

static void on_question(uv_stream_t *listener, int status)
{
    if (status == 0)
        sink_control_accept(listener->data);
}

static void close_plain(uv_handle_t *handle, void *arg)
{
    (void)arg;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

static void end(struct sink *s)
{
    while (s->clients != NULL)
        sink_client_close(s->clients);
    while (s->askers != NULL)
        sink_control_close(s->askers);
    uv_walk(&s->loop, close_plain, NULL);
}

static void on_signal(uv_signal_t *handle, int number)
{
    if (number == SIGUSR1)
        sink_control_count(handle->data, stdout);
    else
        end(handle->data);
}

static void await_signals(struct sink *s)
{
    static const int numbers[] = {SIGTERM, SIGINT, SIGUSR1};
    for (size_t i = 0; i < 3; i++) {
        uv_signal_init(&s->loop, &s->signals[i]);
        s->signals[i].data = s;
        uv_signal_start(&s->signals[i], on_signal, numbers[i]);
    }
}

/* The bound port, or a negative libuv error. */
static int listen_on(struct sink *s, uv_tcp_t *listener, int port, uv_connection_cb callback)
{
    struct sockaddr_in address;
    int len = sizeof address;
    uv_tcp_init(&s->loop, listener);
    listener->data = s;
    uv_ip4_addr("127.0.0.1", port, &address);
    int error = uv_tcp_bind(listener, (const struct sockaddr *)&address, 0);
    if (error == 0)
        error = uv_listen((uv_stream_t *)listener, BACKLOG, callback);
    if (error == 0)
        error = uv_tcp_getsockname(listener, (struct sockaddr *)&address, &len);
    return error != 0 ? error : ntohs(address.sin_port);
}

static bool start(struct sink *s, uv_tcp_t *listener, const char *what, int port,
                  uv_connection_cb callback)
{
    int bound = listen_on(s, listener, port, callback);
    if (bound < 0)
        fprintf(stderr, "sink: cannot listen on 127.0.0.1:%d: %s\n", port, uv_strerror(bound));
    else
        printf("sink: %s on 127.0.0.1:%d\n", what, bound);
    return bound >= 0;
}

static int port_of(const char *text)
{
    char *rest;
    unsigned long port = strtoul(text, &rest, 10);
    return isdigit((unsigned char)*text) && *rest == '\0' && port <= 65535 ? (int)port : -1;
}

static bool size_of(uint64_t *size, const char *text)
{
    static const char units[] = "kMG";
    char *rest;
    unsigned long long number = strtoull(text, &rest, 10);
    const char *unit = *rest != '\0' ? strchr(units, *rest) : NULL;
    unsigned shift = unit != NULL ? 10 * (unsigned)(unit - units + 1) : 0;
    if (!isdigit((unsigned char)*text) || number == 0 || number > UINT64_C(1) << 40 ||
        (*rest != '\0' && (unit == NULL || rest[1] != '\0')))
        return false;
    *size = (uint64_t)number << shift;
    return true;
}

static const struct option options[] = {
    {"quiet", no_argument, NULL, 'q'},
    {"directory", required_argument, NULL, 'd'},
    {"control", required_argument, NULL, 'c'},
    {"auth", no_argument, NULL, 'a'},
    {"xclient", no_argument, NULL, 'x'},
    {"proxy", no_argument, NULL, 'p'},
    {"chunking", no_argument, NULL, 'b'},
    {"size", required_argument, NULL, 's'},
    {"delay", required_argument, NULL, 'y'},
    {"fail", required_argument, NULL, 'f'},
    {NULL, 0, NULL, 0},
};

/* False: the option or its value makes no sense. */
static bool take_option(struct sink *s, int *control, int option, const char *value)
{
    switch (option) {
    case 'q':
        return s->quiet = true;
    case 'd':
        s->directory = value;
        return true;
    case 'c':
        *control = port_of(value);
        return *control >= 0;
    case 'a':
        return s->auth = true;
    case 'x':
        return s->xclient = true;
    case 'p':
        return s->proxy = true;
    case 'b':
        return s->chunking = true;
    case 's':
        return size_of(&s->size_max, value);
    case 'y':
        return sink_faults_delay_option(&s->faults, value);
    case 'f':
        return sink_faults_fail_option(&s->faults, value);
    default:
        return false;
    }
}

static int usage(void)
{
    fputs("usage: sink [-q] [-d DIR] [-c PORT] [--auth] [--xclient] [--proxy] [--chunking] "
          "[--size N] [--delay VERB=TIME]... [--fail VERB[/N]=REPLY]... PORT\n",
          stderr);
    return 2;
}

static void allow_many_connections(void)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
}

static int run(struct sink *s, int port, int control)
{
    uv_loop_init(&s->loop);
    await_signals(s);
    if (!start(s, &s->listener, "listening", port, on_connection) ||
        (control >= 0 && !start(s, &s->control, "control", control, on_question)))
        return 1;
    uv_run(&s->loop, UV_RUN_DEFAULT);
    uv_loop_close(&s->loop);
    sink_ledger_clear(&s->ledger);
    return 0;
}

int main(int argc, char **argv)
{
    static struct sink s = {.size_max = UINT64_C(50) * 1024 * 1024};
    int option, control = -1;
    while ((option = getopt_long(argc, argv, "qd:c:", options, NULL)) != -1)
        if (!take_option(&s, &control, option, optarg)) {
            if (optarg != NULL && option != '?')
                fprintf(stderr, "sink: \"%s\" is not understood.\n", optarg);
            return usage();
        }
    int port = optind == argc - 1 ? port_of(argv[optind]) : -1;
    if (port < 0)
        return usage();
    signal(SIGPIPE, SIG_IGN);
    setvbuf(stdout, NULL, _IOLBF, 0);
    allow_many_connections();
    return run(&s, port, control);
}
