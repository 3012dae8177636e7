#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "auth/pam_helper.h"
#include "conf/conf.h"
#include "proxy/ask.h"
#include "proxy/check.h"
#include "proxy/front.h"
#include "proxy/health.h"
#include "proxy/passwd.h"
#include "proxy/vault.h"

enum { EXIT_FINE = 0, EXIT_WANTING = 1, EXIT_USAGE = 2 };

static const char usage_text[] =
    "usage: vestibule [-c FILE]              run in the foreground\n"
    "       vestibule check [-c FILE]        look at everything, and try to relay\n"
    "       vestibule passwd [-c FILE] USER  add a user or change a password\n"
    "       vestibule config [-c FILE]       print the configuration in force\n"
    "       vestibule status [-c FILE] [--json | --lift NAME]\n"
    "                                        how the running service does; end a lock-out\n"
    "       vestibule health [-c FILE]       ask the running service whether it answers\n"
    "       vestibule --help | --version\n"
    "Without -c the file is " CONF_DEFAULT_PATH
    ", if it is there. Manuals: vestibule(8), vestibule.conf(5).\n";

struct arguments {
    const char *conf_path; /* NULL: the default */
    const char *operand;   /* NULL: none */
    bool json;
    const char *lift; /* NULL: not asked for */
};

static int usage(const char *complaint, const char *what)
{
    fprintf(stderr, "vestibule: %s%s; see vestibule --help\n", complaint, what);
    return EXIT_USAGE;
}

/* Options and at most one operand, in any order. */
static bool parse_arguments(struct arguments *out, int argc, char **argv)
{
    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "-c") == 0 && i + 1 < argc && out->conf_path == NULL)
            out->conf_path = argv[++i];
        else if (strcmp(argv[i], "--lift") == 0 && i + 1 < argc && out->lift == NULL)
            out->lift = argv[++i];
        else if (strcmp(argv[i], "--json") == 0 && !out->json)
            out->json = true;
        else if (argv[i][0] != '-' && out->operand == NULL)
            out->operand = argv[i];
        else
            return false;
    }
    return true;
}

static struct conf *load(const struct arguments *a)
{
    struct conf_errors *errors = calloc(1, sizeof *errors);
    if (errors == NULL)
        return NULL;
    struct conf *conf = conf_load(a->conf_path, environ, errors);
    if (conf == NULL)
        fputs(errors->text, stderr);
    free(errors);
    return conf;
}

static int on_conf(const struct arguments *a, int (*act)(const struct conf *conf, FILE *out))
{
    struct conf *conf = load(a);
    if (conf == NULL)
        return EXIT_USAGE;
    int status = act(conf, stdout);
    conf_free(conf);
    return fflush(stdout) == 0 ? status : EXIT_WANTING;
}

static int print_config(const struct conf *conf, FILE *out)
{
    return conf_write(out, conf) ? EXIT_FINE : EXIT_WANTING;
}

static int run(const struct arguments *a)
{
    return vault_run(a->conf_path);
}

static int check(const struct arguments *a)
{
    return on_conf(a, check_run);
}

static int config(const struct arguments *a)
{
    return on_conf(a, print_config);
}

static int health(const struct arguments *a)
{
    return on_conf(a, health_run);
}

static int status(const struct arguments *a)
{
    struct conf *conf = load(a);
    if (conf == NULL)
        return EXIT_USAGE;
    int found =
        a->lift != NULL ? ask_lift(conf, a->lift, stdout) : ask_status(conf, a->json, stdout);
    conf_free(conf);
    return fflush(stdout) == 0 ? found : EXIT_WANTING;
}

static int passwd(const struct arguments *a)
{
    static const char scheme[] = "file:";
    struct conf *conf = load(a);
    if (conf == NULL)
        return EXIT_USAGE;
    const char *path = NULL;
    for (size_t i = 0; i < conf->backend_count && path == NULL; i++)
        if (strncmp(conf->backend[i], scheme, sizeof scheme - 1) == 0)
            path = conf->backend[i] + sizeof scheme - 1;
    int status = path != NULL
                     ? passwd_run(path, a->operand)
                     : usage("[auth] backend names no users file, so there is none to change", "");
    conf_free(conf);
    return status;
}

static int unsupported(const struct arguments *a)
{
    (void)a;
    return usage("this command is not supported yet", "");
}

static const struct command_line {
    const char *name;
    bool operand; /* takes exactly one */
    int (*act)(const struct arguments *a);
} commands[] = {{"check", false, check},   {"passwd", true, passwd},  {"config", false, config},
                {"health", false, health}, {"status", false, status}, {"guide", true, unsupported}};

static int dispatch(const struct command_line *c, int argc, char **argv)
{
    struct arguments a = {0};
    if (!parse_arguments(&a, argc, argv))
        return usage("wrong options", "");
    if ((a.json || a.lift != NULL) && (c->act != status || (a.json && a.lift != NULL)))
        return usage("wrong options", "");
    if (a.operand != NULL && !c->operand)
        return usage("unexpected argument: ", a.operand);
    if (a.operand == NULL && c->operand && c->act != unsupported)
        return usage("an argument is missing for ", c->name);
    return c->act(&a);
}

int main(int argc, char **argv)
{
    static const struct command_line run_command = {"run", false, run};
    if (argc == 2 && strcmp(argv[1], "--help") == 0)
        return fputs(usage_text, stdout) < 0;
    if (argc == 2 && strcmp(argv[1], "--version") == 0)
        return puts("vestibule " VESTIBULE_VERSION) < 0;
    if (argc == 2 && strcmp(argv[1], "front") == 0)
        return front_run();
    if (argc == 2 && strcmp(argv[1], PAM_HELPER_ARGUMENT) == 0)
        return pam_helper_run();
    if (argc < 2 || argv[1][0] == '-')
        return dispatch(&run_command, argc - 1, argv + 1);
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (strcmp(argv[1], commands[i].name) == 0)
            return dispatch(&commands[i], argc - 2, argv + 2);
    return usage("unknown command: ", argv[1]);
}
