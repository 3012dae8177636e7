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
#include "proxy/check_outside.h"
#include "proxy/check_ways.h"
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
    expect_line(
        output,
        "users: 1 user, SCRAM is not offered as 1 of them has no verifier (the first is alice)\n");
    expect_line(output, "ok      listener in: 127.0.0.1:24650 is free\n");
    expect_line(output, "warning listeners: none answers");
    expect_line(output, "above 1023, so any user of this host can listen there");
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

static void xclient_that_is_not_offered_is_a_warning(void **state)
{
    (void)state;
    static const struct {
        const char *says[4];
        bool warned;
    } rows[] = {{{"220 mta\r\n", "250-mta\r\n250 DSN\r\n", "221 bye\r\n", NULL}, true},
                {{"220 mta\r\n", "250-mta\r\n250 XCLIENT ADDR\r\n", "221 bye\r\n", NULL}, false}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[256], *output;
        unsigned port;
        int fd = listening(&port);
        pid_t pid = stand_in(fd, rows[i].says);
        snprintf(text, sizeof text,
                 "[upstream]\naddress = 127.0.0.1:%u\nidentity = xclient\n"
                 "[listener x]\naddress = 127.0.0.1:24650\ntls = implicit\n",
                 port);
        run(&output, text);
        assert_int_equal(strstr(output, " does not offer XCLIENT ") != NULL, rows[i].warned);
        free(output);
        close(fd);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
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

static void address_in_use_by_something_else_is_a_problem(void **state)
{
    (void)state;
    static const char *const says[] = {"220 mta\r\n", "250 mta\r\n", "221 bye\r\n", NULL};
    static const char *const no_tls[] = {"220 this is no TLS\r\n", NULL};
    unsigned port, taken;
    int fd = listening(&port), other = listening(&taken);
    pid_t pid = stand_in(fd, says), squatter = stand_in(other, no_tls);
    char listen[64], *output;
    snprintf(listen, sizeof listen, "127.0.0.1:%u", taken);
    assert_int_equal(run_with(&output, port, place.chain, place.key, place.users, listen), 1);
    expect_line(output, "problem listener in: 127.0.0.1:");
    expect_line(output, " is in use, but does not greet as this listener does: TLS failed; ");
    expect_line(output, "warning listeners: none answers");
    free(output);
    close(fd);
    close(other);
    kill(pid, SIGKILL);
    kill(squatter, SIGKILL);
    waitpid(pid, NULL, 0);
    waitpid(squatter, NULL, 0);
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

/* The ways to relay, as data. */

static bool holds_verb(const char *flight, const char *verb)
{
    for (const char *at = flight; (at = strcasestr(at, verb)) != NULL; at++)
        if (at == flight || at[-1] == '\n' || at[-1] == '\r' || at[-1] == ' ' || at[-1] == '\t')
            return true;
    return false;
}

static void ways_are_many_and_each_ends_with_a_recipient_elsewhere(void **state)
{
    (void)state;
    static const struct check_words words = {.domain = "mail.example.org", .login = "AGEAYg=="};
    size_t in_clear = 0, logins = 0;
    for (size_t i = 0; i < check_ways_count; i++) {
        const struct check_way *w = &check_ways[i];
        const char *last = NULL;
        char octets[CHECK_FLIGHT_MAX];
        for (size_t k = 0; k < CHECK_FLIGHTS_MAX && w->flight[k] != NULL; k++) {
            last = w->flight[k];
            size_t len = check_flight_write(octets, last, &words);
            assert_true(len > 2);
            assert_int_equal(octets[len - 1], '\n');
            assert_null(memchr(octets, '$', len));
            assert_false(holds_verb(last, "DATA"));
            assert_false(holds_verb(last, "BDAT"));
        }
        assert_non_null(last);
        assert_non_null(strcasestr(last, "rcpt to"));
        size_t len = check_flight_write(octets, last, &words);
        assert_non_null(memmem(octets, len, "example.com", 11));
        in_clear += w->in_clear;
        logins += w->login;
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(check_ways[k].name, w->name);
        assert_true(!w->continues || check_ways[i - 1].login || check_ways[i - 1].continues);
    }
    assert_true(check_ways_count >= 25);
    assert_true(in_clear >= 10);
    assert_in_range(logins, 1, 2);
}

static void flight_says_what_stands_for_what(void **state)
{
    (void)state;
    static const struct check_words words = {.domain = "here.example", .login = "xyz"};
    static const char expected[] =
        "\0AUTH PLAIN xyz\r\nRCPT TO:<vestibule-check%example.com@here.example>\r\n";
    char octets[CHECK_FLIGHT_MAX], flight[CHECK_FLIGHT_MAX + 2];
    size_t len = check_flight_write(octets, "$0AUTH PLAIN $B\r\nRCPT TO:<$U%$D@$H>\r\n", &words);
    assert_int_equal(len, sizeof expected - 1);
    assert_memory_equal(octets, expected, len);

    memset(flight, 'x', sizeof flight);
    flight[CHECK_FLIGHT_MAX] = '\0';
    assert_int_equal(check_flight_write(octets, flight, &words), CHECK_FLIGHT_MAX);
    flight[CHECK_FLIGHT_MAX] = 'x';
    flight[CHECK_FLIGHT_MAX + 1] = '\0';
    assert_int_equal(check_flight_write(octets, flight, &words), 0);
}

static void flight_is_loose_where_a_cr_or_lf_stands_alone(void **state)
{
    (void)state;
    static const struct {
        const char *flight;
        size_t commands;
        bool loose;
    } rows[] = {
        {"A\r\n", 1, false}, {"A\r\nB\r\n", 2, false}, {"A\nB\r\n", 2, true}, {"A\n", 1, true},
        {"\n", 1, true},     {"A\rB\r\n", 1, true},    {"A\r", 0, true},      {"", 0, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(check_flight_commands(rows[i].flight), rows[i].commands);
        assert_int_equal(check_flight_loose(rows[i].flight), rows[i].loose);
    }
}

/* Addresses from which the MTA must not be reached. */

static struct address numeric(const char *host, uint16_t port)
{
    struct address a;
    const char *why;
    assert_int_equal(address_resolve(&a, 1, host, port, &why), 1);
    return a;
}

static void outside_are_the_addresses_that_are_not_loopback(void **state)
{
    (void)state;
    const struct address own[] = {numeric("127.0.0.1", 0),   numeric("127.0.0.2", 0),
                                  numeric("192.0.2.7", 0),   numeric("2001:db8::7", 0),
                                  numeric("::1", 0),         numeric("192.0.2.7", 9),
                                  numeric("198.51.100.1", 0)};
    struct address out[CHECK_OUTSIDE_MAX];
    char text[ADDRESS_TEXT_MAX];
    assert_int_equal(check_outside_choose(out, CHECK_OUTSIDE_MAX, 25, own, 7, NULL, 0), 3);
    address_text(text, &out[0]);
    assert_string_equal(text, "192.0.2.7:25");
    address_text(text, &out[1]);
    assert_string_equal(text, "[2001:db8::7]:25");
    address_text(text, &out[2]);
    assert_string_equal(text, "198.51.100.1:25");
    assert_int_equal(check_outside_choose(out, 1, 25, own, 7, NULL, 0), 1);
}

static void outside_leaves_out_where_we_listen_ourselves(void **state)
{
    (void)state;
    const struct address own[] = {numeric("192.0.2.7", 0), numeric("2001:db8::7", 0)};
    struct address out[CHECK_OUTSIDE_MAX];
    static const struct {
        const char *host;
        uint16_t port;
        size_t left;
    } rows[] = {{"192.0.2.7", 25, 1}, {"192.0.2.7", 587, 2}, {"192.0.2.8", 25, 2},
                {"0.0.0.0", 25, 1},   {"::", 25, 1},         {"0.0.0.0", 465, 2}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct address ours = numeric(rows[i].host, rows[i].port);
        assert_int_equal(check_outside_choose(out, CHECK_OUTSIDE_MAX, 25, own, 2, &ours, 1),
                         rows[i].left);
    }
}

static void mta_is_local_at_loopback_and_at_our_own_addresses(void **state)
{
    (void)state;
    const struct address own[] = {numeric("127.0.0.1", 0), numeric("192.0.2.7", 0)};
    static const struct {
        const char *host;
        bool local;
    } rows[] = {{"127.0.0.1", true}, {"127.9.9.9", true},  {"::1", true},
                {"192.0.2.7", true}, {"192.0.2.8", false}, {"2001:db8::1", false}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct address mta = numeric(rows[i].host, 25);
        assert_int_equal(check_outside_local(&mta, own, 2), rows[i].local);
    }
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_well_is_status_0_and_shows_what_the_mta_offers),
        cmocka_unit_test(mta_that_knows_only_helo_is_fine),
        cmocka_unit_test(xclient_that_is_not_offered_is_a_warning),
        cmocka_unit_test(mta_that_does_not_serve_is_a_problem),
        cmocka_unit_test(mta_that_is_away_is_a_problem),
        cmocka_unit_test(address_in_use_by_something_else_is_a_problem),
        cmocka_unit_test(missing_or_foreign_key_missing_users_are_problems),
        cmocka_unit_test(certificate_dates_decide),
        cmocka_unit_test(key_that_everybody_can_read_is_a_warning),
        cmocka_unit_test(no_certificate_is_a_warning),
        cmocka_unit_test(ways_are_many_and_each_ends_with_a_recipient_elsewhere),
        cmocka_unit_test(flight_says_what_stands_for_what),
        cmocka_unit_test(flight_is_loose_where_a_cr_or_lf_stands_alone),
        cmocka_unit_test(outside_are_the_addresses_that_are_not_loopback),
        cmocka_unit_test(outside_leaves_out_where_we_listen_ourselves),
        cmocka_unit_test(mta_is_local_at_loopback_and_at_our_own_addresses),
    };
    return cmocka_run_group_tests(tests, make_place, remove_place);
}
