#include "bench/load_plan.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/load_talk.h"
#include "bench/load_value.h"

enum { USERS_MAX = 100000 };

const char load_plan_usage[] =
    "usage: load [OPTION]... WORK[,KEY=VALUE]...\n"
    "\n"
    "Works: handshake resume session bulk idle slow flood; bench/README.md says what each does.\n"
    "\n"
    "  --server HOST:PORT      127.0.0.1:465; a numeric address or localhost\n"
    "  --ca FILE               certificates to trust; or --insecure\n"
    "  --name NAME             what the certificate must say: localhost\n"
    "  --tls-max 1.2|1.3\n"
    "  --users FILE            lines login:password\n"
    "  --source FIRST[-LAST]   client addresses\n"
    "  --proxy v1|v2           PROXY headers\n"
    "  --concurrency N         closed loop (1)\n"
    "  --rate R                open loop, R a second; --arrivals poisson|fixed, --max-open N\n"
    "  --opening N             ungreeted connections at a time (256)\n"
    "  --warmup T, --duration T (10), --count N, --timeout T (30), --seed N\n"
    "  --sink HOST:PORT        control port of bench/sink: were all messages delivered?\n"
    "  --ledger FILE           a line for each message\n"
    "  --json, --events, --quiet\n";

enum option_id {
    SERVER = 1,
    CA,
    NAME,
    INSECURE,
    TLS_MAX,
    USERS,
    SOURCE,
    PROXY,
    CONCURRENCY,
    RATE,
    ARRIVALS,
    MAX_OPEN,
    OPENING,
    WARMUP,
    DURATION,
    COUNT,
    TIMEOUT,
    SEED,
    SINK,
    LEDGER,
    JSON,
    EVENTS,
    QUIET,
    HELP,
};

static const struct option options[] = {
    {"server", required_argument, NULL, SERVER},
    {"ca", required_argument, NULL, CA},
    {"name", required_argument, NULL, NAME},
    {"insecure", no_argument, NULL, INSECURE},
    {"tls-max", required_argument, NULL, TLS_MAX},
    {"users", required_argument, NULL, USERS},
    {"source", required_argument, NULL, SOURCE},
    {"proxy", required_argument, NULL, PROXY},
    {"concurrency", required_argument, NULL, CONCURRENCY},
    {"rate", required_argument, NULL, RATE},
    {"arrivals", required_argument, NULL, ARRIVALS},
    {"max-open", required_argument, NULL, MAX_OPEN},
    {"opening", required_argument, NULL, OPENING},
    {"warmup", required_argument, NULL, WARMUP},
    {"duration", required_argument, NULL, DURATION},
    {"count", required_argument, NULL, COUNT},
    {"timeout", required_argument, NULL, TIMEOUT},
    {"seed", required_argument, NULL, SEED},
    {"sink", required_argument, NULL, SINK},
    {"ledger", required_argument, NULL, LEDGER},
    {"json", no_argument, NULL, JSON},
    {"events", no_argument, NULL, EVENTS},
    {"quiet", no_argument, NULL, QUIET},
    {"help", no_argument, NULL, HELP},
    {NULL, 0, NULL, 0},
};

static bool complain(char error[LOAD_ERROR_MAX], const char *what, const char *value)
{
    snprintf(error, LOAD_ERROR_MAX, what, value);
    return false;
}

static bool add_user(struct load_plan *p, char *line)
{
    char *password = line;
    const char *login = strsep(&password, ":");
    if (password == NULL || *login == '\0' || strlen(login) >= LOAD_SECRET_MAX ||
        strlen(password) >= LOAD_SECRET_MAX || p->users_count == USERS_MAX)
        return false;
    struct load_user *grown = realloc(p->users, (p->users_count + 1) * sizeof *grown);
    if (grown == NULL)
        return false;
    p->users = grown;
    p->users[p->users_count++] = (struct load_user){strdup(login), strdup(password)};
    return true;
}

static bool read_users(struct load_plan *p, char error[LOAD_ERROR_MAX], const char *path)
{
    char *line = NULL;
    size_t cap = 0;
    ssize_t len;
    bool good = true;
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return complain(error, "The users file %s cannot be opened.", path);
    while (good && (len = getline(&line, &cap, file)) > 0) {
        if (line[len - 1] == '\n')
            line[len - 1] = '\0';
        good = *line == '\0' || add_user(p, line);
    }
    free(line);
    fclose(file);
    if (!good || p->users_count == 0)
        return complain(error, "The users file %s must hold lines login:password.", path);
    return true;
}

static bool set_server(struct load_plan *p, const char *value)
{
    snprintf(p->server_text, sizeof p->server_text, "%s", value);
    return load_value_server(&p->server, value);
}

static bool set_tls_max(struct load_plan *p, const char *value)
{
    bool is_1_2 = strcmp(value, "1.2") == 0;
    p->tls_max = is_1_2 ? 0x0303 : 0x0304;
    return is_1_2 || strcmp(value, "1.3") == 0;
}

static bool set_proxy(struct load_plan *p, const char *value)
{
    p->proxy = strcmp(value, "v1") == 0 ? LOAD_PROXY_V1 : LOAD_PROXY_V2;
    return p->proxy == LOAD_PROXY_V1 || strcmp(value, "v2") == 0;
}

static bool set_arrivals(struct load_plan *p, const char *value)
{
    p->poisson = strcmp(value, "poisson") == 0;
    return p->poisson || strcmp(value, "fixed") == 0;
}

static bool set_sink(struct load_plan *p, const char *value)
{
    p->has_sink = true;
    return load_value_server(&p->sink, value);
}

static void set_plain(struct load_plan *p, int option, const char *value)
{
    switch (option) {
    case CA:
        p->ca = value;
        break;
    case NAME:
        p->name = value;
        break;
    case LEDGER:
        p->ledger = value;
        break;
    case INSECURE:
        p->insecure = true;
        break;
    case JSON:
        p->json = true;
        break;
    case EVENTS:
        p->events = true;
        break;
    default:
        p->quiet = true;
    }
}

static bool set(struct load_plan *p, int option, const char *value)
{
    switch (option) {
    case SERVER:
        return set_server(p, value);
    case TLS_MAX:
        return set_tls_max(p, value);
    case SOURCE:
        return load_value_range(&p->source_first, &p->source_last, value);
    case PROXY:
        return set_proxy(p, value);
    case CONCURRENCY:
        return load_value_count(&p->concurrency, value);
    case RATE:
        return load_value_rate(&p->rate, value);
    case ARRIVALS:
        return set_arrivals(p, value);
    case MAX_OPEN:
        return load_value_count(&p->max_open, value);
    case OPENING:
        return load_value_count(&p->opening, value);
    case WARMUP:
        return load_value_time(&p->warmup, value);
    case DURATION:
        return load_value_time(&p->duration, value);
    case COUNT:
        return load_value_count(&p->count, value);
    case TIMEOUT:
        return load_value_time(&p->timeout, value) && p->timeout > 0;
    case SEED:
        return load_value_count(&p->seed, value);
    case SINK:
        return set_sink(p, value);
    default:
        set_plain(p, option, value);
        return true;
    }
}

static const char *name_of(int option)
{
    for (size_t i = 0; options[i].name != NULL; i++)
        if (options[i].val == option)
            return options[i].name;
    return "?";
}

static enum load_plan_status read_options(struct load_plan *p, char error[LOAD_ERROR_MAX], int argc,
                                          char **argv)
{
    int option;
    opterr = 0;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == HELP)
            return LOAD_PLAN_HELP;
        if (option == '?') {
            complain(error, "\"%s\" is no option, or lacks its value: load --help lists them.",
                     argv[optind - 1]);
            return LOAD_PLAN_BAD;
        }
        if (option == USERS && !read_users(p, error, optarg))
            return LOAD_PLAN_BAD;
        if (option != USERS && !set(p, option, optarg)) {
            snprintf(error, LOAD_ERROR_MAX, "\"%s\" is no value for --%s.", optarg,
                     name_of(option));
            return LOAD_PLAN_BAD;
        }
    }
    return LOAD_PLAN_GOOD;
}

static bool read_works(struct load_plan *p, char error[LOAD_ERROR_MAX], int count, char **texts)
{
    if (count <= 0 || count > LOAD_LEDGER_WORKS)
        return complain(error, "One to sixteen works are wanted, for example \"%s\".", "session");
    for (int i = 0; i < count; i++)
        if (!load_work_parse(&p->works[p->works_count++], error, texts[i]))
            return false;
    return true;
}

static void fill_in_server(struct load_plan *p)
{
    for (unsigned i = 0; i < p->works_count; i++)
        if (p->works[i].server.ss_family == 0)
            p->works[i].server = p->server;
}

static bool fits(const struct load_plan *p, char error[LOAD_ERROR_MAX])
{
    for (unsigned i = 0; i < p->works_count; i++) {
        const struct load_work *w = &p->works[i];
        if (w->security != LOAD_PLAINTEXT && p->ca == NULL && !p->insecure)
            return complain(error, "The work \"%s\" needs --ca FILE, or --insecure.", w->label);
        if (load_work_logs_in(w) && p->users_count == 0)
            return complain(error, "The work \"%s\" needs --users FILE.", w->label);
        if (p->proxy != LOAD_PROXY_NONE && w->server.ss_family != AF_INET)
            return complain(error, "The server of \"%s\" must be an IPv4 one for --proxy.",
                            w->label);
    }
    return true;
}

enum load_plan_status load_plan_read(struct load_plan *p, char error[LOAD_ERROR_MAX], int argc,
                                     char **argv)
{
    *p = (struct load_plan){.name = "localhost",
                            .tls_max = 0x0304,
                            .concurrency = 1,
                            .poisson = true,
                            .max_open = 10000,
                            .opening = 256,
                            .duration = 10 * LOAD_SECOND,
                            .timeout = 30 * LOAD_SECOND,
                            .seed = 1};
    set_server(p, "127.0.0.1:465");
    enum load_plan_status status = read_options(p, error, argc, argv);
    if (status != LOAD_PLAN_GOOD)
        return status;
    if (!read_works(p, error, argc - optind, argv + optind))
        return LOAD_PLAN_BAD;
    fill_in_server(p);
    return fits(p, error) ? LOAD_PLAN_GOOD : LOAD_PLAN_BAD;
}

void load_plan_free(struct load_plan *p)
{
    for (unsigned i = 0; i < p->users_count; i++) {
        free(p->users[i].login);
        explicit_bzero(p->users[i].password, strlen(p->users[i].password));
        free(p->users[i].password);
    }
    free(p->users);
}
