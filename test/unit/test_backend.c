#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <crypt.h>
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "auth/backend.h"

static const struct backend_settings no_settings;

static char folder[] = "/tmp/test_backend.XXXXXX";
static char path[64];
static char spec[80];

static int make_folder(void **state)
{
    (void)state;
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(path, sizeof path, "%s/users", folder);
    snprintf(spec, sizeof spec, "file:%s", path);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(folder);
}

/* Put in place as editors and `vestibule passwd` do, so that a change is seen whatever the clock's
 * grain. */
static void write_file(const char *text, mode_t mode)
{
    char fresh[80];
    snprintf(fresh, sizeof fresh, "%s.new", path);
    FILE *f = fopen(fresh, "w");
    fputs(text, f);
    fclose(f);
    chmod(fresh, mode);
    rename(fresh, path);
}

static const char *hash_of(const char *password, const char *setting)
{
    static struct crypt_data data;
    memset(&data, 0, sizeof data);
    const char *hash = crypt_rn(password, setting, &data, sizeof data);
    assert_non_null(hash);
    return hash;
}

#define CHEAP "$6$rounds=1000$salt$"

static void write_user(const char *login, const char *password)
{
    char text[512];
    snprintf(text, sizeof text, "%s:%s\n", login, hash_of(password, CHEAP));
    write_file(text, 0640);
}

static enum backend_verdict verify(struct backend *b, const char *login, const char *password)
{
    struct sasl_credential c = {.mechanism = SASL_PLAIN};
    c.login_len = (size_t)snprintf(c.login, sizeof c.login, "%s", login);
    c.secret_len = (size_t)snprintf(c.secret, sizeof c.secret, "%s", password);
    return b->ops->verify(b, &c);
}

static struct backend *open_backend(void)
{
    char error[BACKEND_ERROR_MAX] = "";
    struct backend *b = backend_open(spec, &no_settings, error);
    if (b == NULL)
        fail_msg("%s", error);
    return b;
}

static void the_right_password_alone_is_accepted(void **state)
{
    (void)state;
    write_user("alice", "secret");
    struct backend *b = open_backend();
    assert_int_equal(verify(b, "alice", "secret"), BACKEND_ACCEPTED);
    assert_int_equal(verify(b, "alice", "Secret"), BACKEND_REJECTED);
    assert_int_equal(verify(b, "alice", "secre"), BACKEND_REJECTED);
    assert_int_equal(verify(b, "alice", "secrets"), BACKEND_REJECTED);
    assert_int_equal(verify(b, "alice", ""), BACKEND_REJECTED);
    assert_int_equal(verify(b, "Alice", "secret"), BACKEND_REJECTED);
    assert_int_equal(verify(b, "bob", "secret"), BACKEND_REJECTED);
    backend_close(b);
}

static void every_kind_of_hash_is_checked(void **state)
{
    (void)state;
    static const char *const settings[] = {
        "$y$j75$k2XAnEHBqQ1Ct2aMXFKNa/",
        "$2b$04$abcdefghijklmnopqrstuu",
        "$6$rounds=1000$salt$",
        "$5$rounds=1000$salt$",
        "$1$salt$",
        "ab",
    };
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        char text[512];
        snprintf(text, sizeof text, "alice:%s\n", hash_of("secret", settings[i]));
        write_file(text, 0640);
        struct backend *b = open_backend();
        assert_int_equal(verify(b, "alice", "secret"), BACKEND_ACCEPTED);
        assert_int_equal(verify(b, "alice", "wrong"), BACKEND_REJECTED);
        backend_close(b);
    }
}

static void locked_and_empty_hashes_let_nobody_in(void **state)
{
    (void)state;
    char text[1024];
    const char *hash = hash_of("secret", CHEAP);
    snprintf(text, sizeof text, "empty:\nbang:!\nstar:*\noff:!%s\nno:*0\nhigh:*1\nalice:%s\n", hash,
             hash);
    write_file(text, 0640);
    struct backend *b = open_backend();
    static const char *const logins[] = {"empty", "bang", "star", "off", "no", "high"};
    for (size_t i = 0; i < sizeof logins / sizeof *logins; i++) {
        assert_int_equal(verify(b, logins[i], "secret"), BACKEND_REJECTED);
        assert_int_equal(verify(b, logins[i], ""), BACKEND_REJECTED);
        assert_int_equal(verify(b, logins[i], "!"), BACKEND_REJECTED);
        assert_int_equal(verify(b, logins[i], "*"), BACKEND_REJECTED);
        assert_int_equal(verify(b, logins[i], "*0"), BACKEND_REJECTED);
        assert_int_equal(verify(b, logins[i], text), BACKEND_REJECTED);
    }
    assert_int_equal(verify(b, "alice", "secret"), BACKEND_ACCEPTED);
    backend_close(b);
}

static void the_hash_itself_is_no_password(void **state)
{
    (void)state;
    write_user("alice", "secret");
    struct backend *b = open_backend();
    assert_int_equal(verify(b, "alice", hash_of("secret", CHEAP)), BACKEND_REJECTED);
    backend_close(b);
}

static void a_password_longer_than_crypt_takes_is_rejected(void **state)
{
    (void)state;
    char longest[SASL_PASSWORD_MAX + 1];
    write_user("alice", "secret");
    struct backend *b = open_backend();
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    assert_int_equal(verify(b, "alice", longest), BACKEND_REJECTED);
    assert_int_equal(verify(b, "nobody", longest), BACKEND_REJECTED);
    backend_close(b);
}

static void impostor_logins_find_nobody(void **state)
{
    (void)state;
    static const char *const logins[] = {"alice:",   "alice\n",    "alice:x", "%u",
                                         "*)(uid=*", "' OR 1=1--", "../../x", "${run{id}}",
                                         "#alice",   "alice "};
    write_user("alice", "secret");
    struct backend *b = open_backend();
    for (size_t i = 0; i < sizeof logins / sizeof *logins; i++)
        assert_int_equal(verify(b, logins[i], "secret"), BACKEND_REJECTED);
    backend_close(b);
}

static void specs_that_cannot_be_opened_get_a_sentence(void **state)
{
    (void)state;
    char error[BACKEND_ERROR_MAX] = "";
    unlink(path);
    assert_null(backend_open(spec, &no_settings, error));
    assert_non_null(strstr(error, "vestibule passwd USER"));
    assert_null(backend_open("dovecot", &no_settings, error));
    assert_non_null(strstr(error, "no credential backend \"dovecot\""));
    assert_null(backend_open("ldaps://host/", &no_settings, error));
    assert_non_null(strstr(error, "has no %u in it"));
    assert_null(backend_open("fiel:/etc/users", &no_settings, error));
    assert_non_null(strstr(error, "no credential backend \"fiel\""));
    assert_null(backend_open("file", &no_settings, error));
    assert_null(backend_open("", &no_settings, error));
    write_file("alice:plain\n", 0640);
    assert_null(backend_open(spec, &no_settings, error));
    assert_non_null(strstr(error, ":1:"));
}

static void a_change_is_taken_over_and_a_bad_one_is_not(void **state)
{
    (void)state;
    char error[BACKEND_ERROR_MAX] = "";
    write_user("alice", "secret");
    struct backend *b = open_backend();
    assert_true(b->ops->refresh(b, error));
    write_user("alice", "changed");
    assert_int_equal(verify(b, "alice", "secret"), BACKEND_ACCEPTED); /* not looked yet */
    assert_true(b->ops->refresh(b, error));
    assert_int_equal(verify(b, "alice", "secret"), BACKEND_REJECTED);
    assert_int_equal(verify(b, "alice", "changed"), BACKEND_ACCEPTED);
    write_file("alice:plain\n", 0640);
    assert_false(b->ops->refresh(b, error));
    assert_non_null(strstr(error, "alice"));
    assert_true(b->ops->refresh(b, error)); /* said once */
    assert_int_equal(verify(b, "alice", "changed"), BACKEND_ACCEPTED);
    unlink(path);
    assert_false(b->ops->refresh(b, error));
    assert_non_null(strstr(error, "is not there"));
    assert_true(b->ops->refresh(b, error));
    assert_int_equal(verify(b, "alice", "changed"), BACKEND_ACCEPTED);
    write_user("bob", "his");
    assert_true(b->ops->refresh(b, error));
    assert_int_equal(verify(b, "alice", "changed"), BACKEND_REJECTED);
    assert_int_equal(verify(b, "bob", "his"), BACKEND_ACCEPTED);
    backend_close(b);
}

static void describe_tells_what_stands_there(void **state)
{
    (void)state;
    char text[BACKEND_ERROR_MAX] = "";
    char file[256];
    snprintf(file, sizeof file, "a:%s\nb:!\n", hash_of("x", "ab"));
    write_file(file, 0640);
    struct backend *b = open_backend();
    assert_true(b->ops->describe(b, text));
    assert_non_null(strstr(text, "2 users, 1 with an old DES, MD5 or NT hash"));
    assert_null(strstr(text, "readable"));
    write_file(file, 0644);
    assert_true(b->ops->describe(b, text));
    assert_non_null(strstr(text, "readable by every user of this machine (mode 0644)"));
    write_file("# nobody\n", 0640);
    assert_false(b->ops->describe(b, text));
    assert_non_null(strstr(text, "vestibule passwd USER"));
    write_file("nonsense\n", 0640);
    assert_false(b->ops->describe(b, text));
    assert_non_null(strstr(text, "no colon"));
    backend_close(b);
}

struct busy {
    struct backend *backend;
    atomic_bool stop;
    atomic_uint wrong;
};

static void *keep_asking(void *argument)
{
    struct busy *busy = argument;
    while (!atomic_load(&busy->stop)) {
        if (verify(busy->backend, "alice", "secret") != BACKEND_ACCEPTED ||
            verify(busy->backend, "alice", "wrong") != BACKEND_REJECTED)
            atomic_fetch_add(&busy->wrong, 1);
    }
    return NULL;
}

static void threads_verify_while_the_file_changes(void **state)
{
    (void)state;
    char error[BACKEND_ERROR_MAX];
    struct busy busy = {.wrong = 0};
    pthread_t threads[4];
    write_user("alice", "secret");
    busy.backend = open_backend();
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, keep_asking, &busy);
    for (int i = 0; i < 100; i++) {
        write_user("alice", "secret");
        assert_true(busy.backend->ops->refresh(busy.backend, error));
    }
    atomic_store(&busy.stop, true);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(busy.wrong, 0);
    backend_close(busy.backend);
}

static double thread_us(struct backend *b, const char *login)
{
    struct timespec from, to;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
    assert_int_equal(verify(b, login, "wrong"), BACKEND_REJECTED);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
    return (double)(to.tv_sec - from.tv_sec) * 1e6 + (double)(to.tv_nsec - from.tv_nsec) / 1e3;
}

static int by_value(const void *a, const void *b)
{
    return (*(const double *)a > *(const double *)b) - (*(const double *)a < *(const double *)b);
}

static void unknown_and_locked_logins_take_as_long_as_known_ones(void **state)
{
    (void)state;
    enum { ROUNDS = 61, KINDS = 3 };
    static const char *const logins[KINDS] = {"known", "unknown", "locked"};
    double us[KINDS][ROUNDS];
    char text[512];
    int len = snprintf(text, sizeof text, "known:%s\nlocked:!\n",
                       hash_of("secret", "$6$rounds=20000$salt$"));
    assert_in_range(len, 1, sizeof text - 1);
    write_file(text, 0640);
    struct backend *b = open_backend();
    for (int i = 0; i < ROUNDS; i++) {
        for (int k = 0; k < KINDS; k++)
            us[k][i] = thread_us(b, logins[k]);
    }
    for (int k = 0; k < KINDS; k++)
        qsort(us[k], ROUNDS, sizeof us[k][0], by_value);
    for (int k = 1; k < KINDS; k++) {
        double ratio = us[k][ROUNDS / 2] / us[0][ROUNDS / 2];
        if (ratio < 0.8 || ratio > 1.2)
            fail_msg("%s takes %.0f us, known %.0f us", logins[k], us[k][ROUNDS / 2],
                     us[0][ROUNDS / 2]);
    }
    backend_close(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_right_password_alone_is_accepted),
        cmocka_unit_test(every_kind_of_hash_is_checked),
        cmocka_unit_test(locked_and_empty_hashes_let_nobody_in),
        cmocka_unit_test(the_hash_itself_is_no_password),
        cmocka_unit_test(a_password_longer_than_crypt_takes_is_rejected),
        cmocka_unit_test(impostor_logins_find_nobody),
        cmocka_unit_test(specs_that_cannot_be_opened_get_a_sentence),
        cmocka_unit_test(a_change_is_taken_over_and_a_bad_one_is_not),
        cmocka_unit_test(describe_tells_what_stands_there),
        cmocka_unit_test(threads_verify_while_the_file_changes),
        cmocka_unit_test(unknown_and_locked_logins_take_as_long_as_known_ones),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
