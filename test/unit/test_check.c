#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "conf/conf.h"
#include "proxy/check.h"
#include "test/unit/tls_make.h"
#include "tls/certificate.h"

/* A private folder with a certificate, its key and a user; a port for each test's stand-ins. */
struct place {
    char dir[64];
    char chain[96], key[96], users[96];
};

static struct place place;

static int make_place(void **state)
{
    (void)state;
    char error[CERTIFICATE_ERROR_MAX];
    bool made;
    snprintf(place.dir, sizeof place.dir, "/tmp/test_check.XXXXXX");
    if (mkdtemp(place.dir) == NULL)
        return -1;
    snprintf(place.chain, sizeof place.chain, "%s/chain.pem", place.dir);
    snprintf(place.key, sizeof place.key, "%s/key.pem", place.dir);
    snprintf(place.users, sizeof place.users, "%s/users", place.dir);
    FILE *users = fopen(place.users, "w");
    if (users == NULL)
        return -1;
    fputs("alice:$6$abcdefgh$yVfUwsw5T.JApa8POvClA1pQ5peiq97DUNyXCZN5IrF."
          "BMSkiaLQ5kvpuEm/VQ1Tvh/KV2TcaWh8qinoW5dhA1\n",
          users);
    fclose(users);
    chmod(place.users, 0600);
    return certificate_self_signed(place.chain, place.key, "mail.example.org", &made, error) ? 0
                                                                                             : -1;
}

static int remove_place(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -r '%s'", place.dir);
    return system(command);
}

static int listening(unsigned *port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(fd, 8), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    *port = ntohs(a.sin_port);
    return fd;
}

/* An MTA that says one line after another, each after it got something. */
static pid_t stand_in(int fd, const char *const *says)
{
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    int client = accept(fd, NULL, NULL);
    char heard[512];
    for (; *says != NULL; says++) {
        if (write(client, *says, strlen(*says)) < 0 || read(client, heard, sizeof heard) <= 0)
            break;
    }
    if (*says == NULL)
        pause(); /* it has nothing more to say, and does not go away */
    _exit(0);
}

static int run(char **output, const char *text)
{
    static struct conf_errors errors;
    size_t len;
    struct conf *conf = conf_parse(text, strlen(text), "f.conf", NULL, &errors);
    if (conf == NULL)
        fail_msg("%s", errors.text);
    FILE *out = open_memstream(output, &len);
    int status = check_run(conf, out);
    fclose(out);
    conf_free(conf);
    return status;
}

/* The usual configuration with the MTA at `port`, and more lines for [server]. */
static int run_with(char **output, unsigned port, const char *chain, const char *key,
                    const char *users, const char *listen)
{
    char text[2048];
    snprintf(text, sizeof text,
             "[server]\nhostname = mail.example.org\nuser = nobody\n"
             "[tls]\ncertificate = %s %s\n[auth]\nbackend = file:%s\n"
             "[listener in]\naddress = %s\ntls = implicit\n"
             "[upstream]\naddress = 127.0.0.1:%u\nconnect_timeout = 1s\nreply_timeout = 200ms\n",
             chain, key, users, listen, port);
    return run(output, text);
}

static void expect_line(const char *output, const char *line)
{
    if (strstr(output, line) == NULL)
        fail_msg("no line \"%s\" in:\n%s", line, output);
}

static int with_mta(char **output, const char *const *says)
{
    unsigned port;
    int fd = listening(&port);
    pid_t pid = stand_in(fd, says);
    int status = run_with(output, port, place.chain, place.key, place.users, "127.0.0.1:24650");
    close(fd);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    return status;
}

static void all_well_is_status_0_and_shows_what_the_mta_offers(void **state)
{
    (void)state;
    static const char *const says[] = {
        "220 mta ESMTP\r\n", "250-mta\r\n250-SIZE 1000\r\n250-8BIT\x07MIME\r\n250 DSN\r\n",
        "221 bye\r\n", NULL};
    char *output;
    int status = with_mta(&output, says);
    expect_line(output, "answers and offers SIZE 1000, 8BIT?MIME, DSN\n");
    expect_line(output, "for mail.example.org\n");
    expect_line(output, "users: 1 user\n");
    expect_line(output, "ok      listener in: 127.0.0.1:24650 is free\n");
    assert_null(strstr(output, "problem"));
    assert_int_equal(status, 0);
    free(output);
}

static void mta_that_knows_only_helo_is_fine(void **state)
{
    (void)state;
    static const char *const says[] = {"220 old\r\n", "500 what?\r\n", "250 hello\r\n",
                                       "221 bye\r\n", NULL};
    char *output;
    assert_int_equal(with_mta(&output, says), 0);
    expect_line(output, "answers and offers no extensions\n");
    free(output);
}

static void mta_that_does_not_serve_is_a_problem(void **state)
{
    (void)state;
    static const char *const refusing[] = {"554 go away\r\n", NULL};
    static const char *const foreign[] = {"HTTP/1.1 400 Bad Request\r\n\r\n", NULL};
    static const char *const mute[] = {NULL};
    static const struct {
        const char *const *says;
        const char *line;
    } rows[] = {
        {refusing, " does not serve: it answers 554 go away; "},
        {foreign, " does not serve: what answers there does not speak SMTP; "},
        {mute, " does not serve: no answer in time; "},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *output;
        assert_int_equal(with_mta(&output, rows[i].says), 1);
        expect_line(output, rows[i].line);
        expect_line(output, "problem upstream mta: 127.0.0.1:");
        free(output);
    }
}

static void mta_that_is_away_is_a_problem(void **state)
{
    (void)state;
    unsigned port;
    close(listening(&port));
    char *output;
    assert_int_equal(
        run_with(&output, port, place.chain, place.key, place.users, "127.0.0.1:24650"), 1);
    expect_line(output, "does not serve: Connection refused; start the mail server");
    free(output);
}

static void address_in_use_is_a_warning_since_it_may_be_ours(void **state)
{
    (void)state;
    static const char *const says[] = {"220 mta\r\n", "250 mta\r\n", "221 bye\r\n", NULL};
    unsigned port, taken;
    int fd = listening(&port), other = listening(&taken);
    pid_t pid = stand_in(fd, says);
    char listen[64], *output;
    snprintf(listen, sizeof listen, "127.0.0.1:%u", taken);
    assert_int_equal(run_with(&output, port, place.chain, place.key, place.users, listen), 0);
    expect_line(output, "is in use: fine if that is the running service");
    expect_line(output, "warning listener in: ");
    free(output);
    close(fd);
    close(other);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

static void missing_or_foreign_key_missing_users_are_problems(void **state)
{
    (void)state;
    char chain[96], key[96], nobody[96], error[CERTIFICATE_ERROR_MAX], *output;
    bool made;
    snprintf(chain, sizeof chain, "%s/other.pem", place.dir);
    snprintf(key, sizeof key, "%s/other.key", place.dir);
    snprintf(nobody, sizeof nobody, "%s/nobody", place.dir);
    assert_true(certificate_self_signed(chain, key, "other.example", &made, error));
    unsigned port;
    close(listening(&port));
    assert_int_equal(run_with(&output, port, place.chain, key, nobody, "127.0.0.1:24650"), 1);
    expect_line(output, "problem certificate: ");
    expect_line(output, key);
    expect_line(output, "problem backend: ");
    expect_line(output, nobody);
    free(output);

    assert_int_equal(run_with(&output, port, chain, key, place.users, "127.0.0.1:24650"), 1);
    expect_line(output, "warning certificate: none is for mail.example.org");
    assert_null(strstr(output, "problem certificate"));
    free(output);
}

static void certificate_dates_decide(void **state)
{
    (void)state;
    static const struct {
        long from, to; /* seconds from now */
        const char *line;
    } rows[] = {
        {-9 * MAKE_DAY, -60, "problem certificate: "},
        {60, 9 * MAKE_DAY, "problem certificate: "},
        {-9 * MAKE_DAY, 13 * MAKE_DAY, "warning certificate: "},
        {-9 * MAKE_DAY, 15 * MAKE_DAY, "ok      certificate: "},
    };
    char chain[256];
    unsigned port;
    make_path(chain, place.dir, "dated.pem");
    close(listening(&port));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct made m =
            make_certificate_for(make_ec_key(NID_X9_62_prime256v1), "DNS:mail.example.org",
                                 rows[i].from, rows[i].to, NULL);
        char line[320], *output;
        write_pem(chain, &m.x, 1, m.key, NULL);
        chmod(chain, 0600);
        run_with(&output, port, chain, chain, place.users, "127.0.0.1:24650");
        snprintf(line, sizeof line, "%s%s", rows[i].line, chain);
        expect_line(output, line);
        free(output);
        made_free(&m);
    }
}

static void key_that_everybody_can_read_is_a_warning(void **state)
{
    (void)state;
    unsigned port;
    char *output;
    close(listening(&port));
    chmod(place.key, 0644);
    run_with(&output, port, place.chain, place.key, place.users, "127.0.0.1:24650");
    chmod(place.key, 0600);
    expect_line(output, "warning certificate: every user of this machine can get at the key ");
    free(output);
}

static void no_certificate_is_a_warning(void **state)
{
    (void)state;
    char *output;
    run(&output, "[upstream]\naddress = 127.0.0.1:9\nconnect_timeout = 10ms\n"
                 "[listener x]\naddress = 127.0.0.1:24650\ntls = implicit\n");
    expect_line(output, "warning certificate: none is named, so a self-signed one");
    free(output);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_well_is_status_0_and_shows_what_the_mta_offers),
        cmocka_unit_test(mta_that_knows_only_helo_is_fine),
        cmocka_unit_test(mta_that_does_not_serve_is_a_problem),
        cmocka_unit_test(mta_that_is_away_is_a_problem),
        cmocka_unit_test(address_in_use_is_a_warning_since_it_may_be_ours),
        cmocka_unit_test(missing_or_foreign_key_missing_users_are_problems),
        cmocka_unit_test(certificate_dates_decide),
        cmocka_unit_test(key_that_everybody_can_read_is_a_warning),
        cmocka_unit_test(no_certificate_is_a_warning),
    };
    return cmocka_run_group_tests(tests, make_place, remove_place);
}
