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
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "auth/hash_kind.h"
#include "auth/users.h"

/* crypt("pw") of each kind. */
#define DES "abzlUXK5ed5rs"
#define MD5 "$1$abc$Kb85XxsXB.VXinPhbS4431"
#define BCRYPT "$2b$05$abcdefghijklmnopqrstuuHIrMEWpUCQe2YqFR3sXwQ75u4od..9q"
#define SHA256 "$5$abc$/LKlXd6vuvdFX3oWbf2vGk3DgflzzsvOtMZsiOxqqY5"
#define YESCRYPT "$y$j9T$$35/RtcSpQnsp9pKBilplwTCR/Z6e.uNV.3aZKZzHYd6"

static char folder[] = "/tmp/test_users.XXXXXX";
static char path[64];

static int make_folder(void **state)
{
    (void)state;
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(path, sizeof path, "%s/users", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    DIR *d = opendir(folder);
    for (struct dirent *e; (e = readdir(d)) != NULL;)
        unlinkat(dirfd(d), e->d_name, 0);
    closedir(d);
    return rmdir(folder);
}

static struct users *parse(const char *text)
{
    char error[USERS_ERROR_MAX] = "";
    size_t len = strlen(text);
    char *fit = malloc(len > 0 ? len : 1);
    memcpy(fit, text, len);
    struct users *u = users_parse(fit, len, "users", error);
    free(fit);
    if (u == NULL)
        fail_msg("%s", error);
    return u;
}

static void refuse(const char *text, size_t len, const char *expected)
{
    char error[USERS_ERROR_MAX] = "";
    struct users *u = users_parse(text, len, "users", error);
    if (u != NULL)
        fail_msg("taken: %s", text);
    if (strstr(error, expected) == NULL)
        fail_msg("\"%s\" is not in: %s", expected, error);
    assert_null(strchr(error, '\n'));
}

#define REFUSE(literal, expected) refuse((literal), sizeof(literal) - 1, (expected))

static void lines_become_users(void **state)
{
    (void)state;
    struct users *u = parse("# staff\n\nzoe:" BCRYPT "\nalice:" SHA256 "\nmary jane:" DES
                            "\n#off:x\nuser@example.org:" YESCRYPT "\n");
    assert_int_equal(users_count(u), 4);
    assert_string_equal(users_hash(u, "alice"), SHA256);
    assert_string_equal(users_hash(u, "zoe"), BCRYPT);
    assert_string_equal(users_hash(u, "mary jane"), DES);
    assert_string_equal(users_hash(u, "user@example.org"), YESCRYPT);
    assert_null(users_hash(u, "Alice"));
    assert_null(users_hash(u, "alic"));
    assert_null(users_hash(u, "alicea"));
    assert_null(users_hash(u, ""));
    assert_null(users_hash(u, "#off"));
    users_release(u);
}

static void the_last_line_needs_no_newline(void **state)
{
    (void)state;
    struct users *u = parse("a:" DES "\nb:" DES);
    assert_string_equal(users_hash(u, "b"), DES);
    users_release(u);
}

static void an_empty_file_has_a_decoy_all_the_same(void **state)
{
    (void)state;
    struct users *u = parse("");
    assert_int_equal(users_count(u), 0);
    assert_null(users_hash(u, "alice"));
    assert_memory_equal(users_decoy(u), "$y$j9T$", 7);
    assert_null(hash_fault(users_decoy(u)));
    struct crypt_data *data = calloc(1, sizeof *data);
    const char *result = crypt_rn("secret", users_decoy(u), data, sizeof *data);
    assert_non_null(result); /* the whole work is done */
    assert_int_equal(strlen(result), strlen(users_decoy(u)));
    assert_string_not_equal(result, users_decoy(u));
    free(data);
    users_release(u);
}

static void the_decoy_is_of_the_most_common_kind_and_cost(void **state)
{
    (void)state;
    struct users *u =
        parse("a:" DES "\nb:" BCRYPT "\nc:" BCRYPT "\nd:!" SHA256 "\ne:*" SHA256 "\nf:!\ng:\n");
    assert_memory_equal(users_decoy(u), "$2b$05$", 7);
    assert_string_not_equal(users_decoy(u), BCRYPT);
    assert_int_equal(strlen(users_decoy(u)), strlen(BCRYPT));
    users_release(u);
}

static void the_decoy_does_not_fit_the_password_it_was_made_from(void **state)
{
    (void)state;
    static const char *const hashes[] = {DES, MD5, BCRYPT, SHA256, YESCRYPT};
    struct crypt_data *data = calloc(1, sizeof *data);
    for (size_t i = 0; i < sizeof hashes / sizeof *hashes; i++) {
        char text[256];
        snprintf(text, sizeof text, "a:%s\n", hashes[i]);
        struct users *u = parse(text);
        assert_string_equal(crypt_rn("pw", hashes[i], data, sizeof *data), hashes[i]);
        const char *result = crypt_rn("pw", users_decoy(u), data, sizeof *data);
        assert_non_null(result);
        assert_string_not_equal(result, users_decoy(u));
        users_release(u);
    }
    free(data);
}

static void a_cost_is_told_from_another(void **state)
{
    (void)state;
    assert_int_equal(hash_cost_len("$2b$05$abc"), 7);
    assert_int_equal(hash_cost_len("$y$j9T$salt$x"), 7);
    assert_int_equal(hash_cost_len("$6$salt$x"), 3);
    assert_int_equal(hash_cost_len("$6$rounds=1000$salt$x"), 15);
    assert_int_equal(hash_cost_len("$7$CU..../....salt$x"), 14);
    assert_int_equal(hash_cost_len("_J9..rasm"), 5);
    assert_int_equal(hash_cost_len(DES), 0);
}

static void weak_kinds_are_counted(void **state)
{
    (void)state;
    struct users *u = parse("a:" DES "\nb:" MD5 "\nc:" BCRYPT "\nd:!" DES "\ne:" YESCRYPT "\n");
    assert_int_equal(users_weak(u), 2);
    users_release(u);
}

static void locked_and_empty_hashes_are_users_too(void **state)
{
    (void)state;
    struct users *u = parse("a:\nb:!\nc:*\nd:!" DES "\n");
    assert_int_equal(users_count(u), 4);
    assert_string_equal(users_hash(u, "a"), "");
    assert_string_equal(users_hash(u, "d"), "!" DES);
    assert_true(hash_locked(users_hash(u, "a")) && hash_locked(users_hash(u, "b")));
    assert_true(hash_locked(users_hash(u, "c")) && hash_locked(users_hash(u, "d")));
    assert_false(hash_locked(DES));
    users_release(u);
}

static void a_bad_line_is_named(void **state)
{
    (void)state;
    REFUSE("a:" DES "\nbob\n", "users:2: no colon");
    REFUSE(":" DES "\n", "users:1: the login is empty");
    REFUSE("a\tb:" DES "\n", "users:1: a control character");
    REFUSE("a:" DES "\r\n", "users:1: a carriage return");
    REFUSE("a\0b:" DES "\n", "users:1: a control character");
    REFUSE("a:" DES "\0\n", "users:1: a control character");
    REFUSE("\x7f:" DES "\n", "users:1: a control character");
    REFUSE("\xff:" DES "\n", "users:1: the login is not UTF-8");
    REFUSE(" a:" DES "\n", "blank");
    REFUSE("a :" DES "\n", "blank");
}

static void a_login_twice_names_both_lines(void **state)
{
    (void)state;
    REFUSE("b:" DES "\na:" DES "\n#\nb:" MD5 "\nc:" DES "\n", "users:4: the line of \"b\"");
    REFUSE("b:" DES "\na:" DES "\n#\nb:" MD5 "\n", "line 1 already");
}

static void hashes_that_crypt_cannot_check_are_refused(void **state)
{
    (void)state;
    REFUSE("a:secret\n", "does not know");
    REFUSE("a:$argon2id$v=19$m=65536,t=3,p=4$c2FsdA$aGFzaA\n", "does not know");
    REFUSE("a:{PLAIN}secret\n", "not supported yet");
    REFUSE("a:{SCRAM-SHA-256}4096,c2FsdA==:stored:server\n", "verifiers");
    REFUSE("a:$6$salt\n", "cut short");
    REFUSE("a:$6$salt$\n", "cut short");
    REFUSE("a:$sha1\n", "cut short");
    REFUSE("a:$md5aaaaaaaaaaaaaaaaaaa\n", "cut short");
    REFUSE("a:$y$j9T$salt$short\n", "cut short");
    REFUSE("a:" BCRYPT "x\n", "cut short or has something behind it");
    REFUSE("a:" DES "x\n", "does not know");
    REFUSE("a:" DES " \n", "characters");
    REFUSE("a:$6$sa\xc3\xa9t$x\n", "characters");
}

static void the_third_field_lists_addresses(void **state)
{
    (void)state;
    struct users *u = parse("a:" DES ":a@example.org,@example.net\nb:" MD5 "\nc:!:\nd::*\n"
                            "e:" DES ": x@y.example z@[IPv6:::1]\n");
    assert_string_equal(users_hash(u, "a"), DES);
    assert_string_equal(users_addresses(u, "a"), "a@example.org,@example.net");
    assert_string_equal(users_hash(u, "b"), MD5);
    assert_string_equal(users_addresses(u, "b"), "");
    assert_string_equal(users_hash(u, "c"), "!");
    assert_string_equal(users_addresses(u, "c"), "");
    assert_string_equal(users_hash(u, "d"), "");
    assert_string_equal(users_addresses(u, "d"), "*");
    assert_string_equal(users_addresses(u, "e"), " x@y.example z@[IPv6:::1]");
    assert_null(users_addresses(u, "f"));
    users_release(u);
}

static void a_bad_address_is_refused_with_its_line(void **state)
{
    (void)state;
    REFUSE("b:!\na:" DES ":a@example.org,b\n", "users:2: the line of \"a\": an address holds no @");
    REFUSE("a:!:x\n", "holds no @");
    REFUSE("a:!:a@example.org:b\n", "no sound domain");
    REFUSE("a:!:*@example.org\n", "write @domain for everyone");
}

static void a_login_may_have_255_octets(void **state)
{
    (void)state;
    char text[400];
    memset(text, 'x', 255);
    strcpy(text + 255, ":" DES "\n");
    struct users *u = parse(text);
    assert_int_equal(users_count(u), 1);
    users_release(u);
    memset(text, 'x', 256);
    strcpy(text + 256, ":" DES "\n");
    refuse(text, strlen(text), "longer than 255");
}

static void every_prefix_of_a_file_is_taken_or_refused_with_a_sentence(void **state)
{
    (void)state;
    static const char text[] = "# c\nalice:" SHA256 "\nbob:!\n\ncarol:" BCRYPT "\n";
    for (size_t n = 0; n < sizeof text; n++) {
        char error[USERS_ERROR_MAX] = "";
        char *fit = malloc(n > 0 ? n : 1);
        memcpy(fit, text, n);
        struct users *u = users_parse(fit, n, "users", error);
        assert_true((u == NULL) == (error[0] != '\0'));
        users_release(u);
        free(fit);
    }
}

static void holds_keep_a_snapshot(void **state)
{
    (void)state;
    struct users *u = parse("a:" DES "\n");
    struct users *held = users_hold(u);
    users_release(u);
    assert_string_equal(users_hash(held, "a"), DES);
    users_release(held);
}

static void a_million_users_load_in_seconds(void **state)
{
    (void)state;
    enum { MANY = 1000000 };
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    for (unsigned i = 0; i < MANY; i++)
        fprintf(f, "user%u@example.org:" SHA256 "\n", i * 2654435761u);
    fclose(f);
    struct timespec from, to;
    clock_gettime(CLOCK_MONOTONIC, &from);
    struct users *u = parse(text);
    clock_gettime(CLOCK_MONOTONIC, &to);
    assert_int_equal(users_count(u), MANY);
    char login[64];
    snprintf(login, sizeof login, "user%u@example.org", 77777u * 2654435761u);
    assert_non_null(users_hash(u, login));
    assert_in_range(to.tv_sec - from.tv_sec, 0, 19);
    users_release(u);
    free(text);
}

/* Files */

static void write_file(const char *text, mode_t mode)
{
    FILE *f = fopen(path, "w");
    fputs(text, f);
    fclose(f);
    chmod(path, mode);
}

static char *read_file(char *out, size_t cap)
{
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    size_t n = fread(out, 1, cap - 1, f);
    out[n] = '\0';
    fclose(f);
    return out;
}

static size_t count_files(void)
{
    size_t n = 0;
    DIR *d = opendir(folder);
    for (struct dirent *e; (e = readdir(d)) != NULL;)
        n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

static bool fits(const char *login, const char *password)
{
    char error[USERS_ERROR_MAX];
    struct users *u = users_load(path, error);
    assert_non_null(u);
    const char *hash = users_hash(u, login);
    struct crypt_data *data = calloc(1, sizeof *data);
    bool ok = hash != NULL && strcmp(crypt_r(password, hash, data), hash) == 0;
    free(data);
    users_release(u);
    return ok;
}

static void a_missing_file_names_the_remedy(void **state)
{
    (void)state;
    char error[USERS_ERROR_MAX] = "";
    unlink(path);
    assert_null(users_load(path, error));
    assert_non_null(strstr(error, path));
    assert_non_null(strstr(error, "vestibule passwd USER"));
}

static void what_is_no_file_does_not_load(void **state)
{
    (void)state;
    char error[USERS_ERROR_MAX] = "";
    assert_null(users_load(folder, error));
    assert_non_null(strstr(error, "not a plain file"));
    unlink(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    alarm(10); /* a FIFO must not hold it up */
    assert_null(users_load(path, error));
    alarm(0);
    unlink(path);
}

static void the_first_password_makes_the_file(void **state)
{
    (void)state;
    char error[USERS_ERROR_MAX] = "";
    bool added = false;
    struct stat st;
    unlink(path);
    mode_t old = umask(077);
    assert_true(users_set_password(path, "alice", "secret", &added, error));
    umask(old);
    assert_true(added);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0640);
    assert_true(fits("alice", "secret"));
    assert_false(fits("alice", "Secret"));
    char text[512];
    assert_memory_equal(read_file(text, sizeof text), "alice:$y$", 9);
}

static void a_change_keeps_all_else(void **state)
{
    (void)state;
    char error[USERS_ERROR_MAX] = "";
    char text[1024];
    bool added = true;
    struct stat st;
    write_file("# top\nbob2:!\nbob:" DES "\n\n# alice:x\nzoe:" BCRYPT, 0604);
    if (geteuid() == 0)
        assert_int_equal(chown(path, 65534, 12345), 0);
    assert_true(users_set_password(path, "bob", "new", &added, error));
    assert_false(added);
    read_file(text, sizeof text);
    assert_memory_equal(text, "# top\nbob2:!\nbob:$y$", 20);
    assert_string_equal(strchr(strstr(text, "$y$"), '\n'), "\n\n# alice:x\nzoe:" BCRYPT);
    assert_true(fits("bob", "new"));
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0604);
    if (geteuid() == 0) {
        assert_int_equal(st.st_uid, 65534);
        assert_int_equal(st.st_gid, 12345);
    }
    assert_true(users_set_password(path, "alice", "hers", &added, error));
    assert_true(added);
    read_file(text, sizeof text);
    assert_non_null(strstr(text, "\nzoe:" BCRYPT "\nalice:$y$"));
    assert_true(fits("alice", "hers"));
    assert_true(fits("bob", "new"));
    assert_int_equal(count_files(), 1); /* nothing is left beside it */
}

static void a_broken_line_of_the_user_can_be_mended(void **state)
{
    (void)state;
    char error[USERS_ERROR_MAX] = "";
    bool added = true;
    write_file("bob:plaintext\n", 0640);
    assert_null(users_load(path, error));
    assert_true(users_set_password(path, "bob", "new", &added, error));
    assert_false(added);
    assert_true(fits("bob", "new"));
}

static void a_link_is_followed_not_replaced(void **state)
{
    (void)state;
    char error[USERS_ERROR_MAX] = "";
    char real[96];
    bool added;
    struct stat st;
    unlink(path);
    snprintf(real, sizeof real, "%s/real", folder);
    FILE *f = fopen(real, "w");
    fclose(f);
    assert_int_equal(symlink("real", path), 0);
    assert_true(users_set_password(path, "alice", "secret", &added, error));
    assert_int_equal(lstat(path, &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    assert_true(fits("alice", "secret"));
    unlink(path);
    unlink(real);
}

static void what_could_not_be_a_login_or_password_changes_nothing(void **state)
{
    (void)state;
    char error[USERS_ERROR_MAX] = "";
    char text[64];
    char longer[600];
    bool added;
    write_file("a:!\n", 0640);
    memset(longer, 'x', sizeof longer);
    longer[512] = '\0';
    assert_false(users_set_password(path, "a:b", "secret", &added, error));
    assert_false(users_set_password(path, "", "secret", &added, error));
    assert_false(users_set_password(path, "#a", "secret", &added, error));
    assert_false(users_set_password(path, "a\nroot", "secret", &added, error));
    assert_false(users_set_password(path, "a", "", &added, error));
    assert_false(users_set_password(path, "a", "x\ny", &added, error));
    assert_false(users_set_password(path, "a", "\xff", &added, error));
    assert_false(users_set_password(path, "a", longer, &added, error));
    assert_non_null(strstr(error, "longer than 511"));
    assert_string_equal(read_file(text, sizeof text), "a:!\n");
    longer[511] = '\0';
    assert_true(users_set_password(path, "a", longer, &added, error));
    assert_true(fits("a", longer));
}

static void *add_some(void *prefix)
{
    for (int i = 0; i < 5; i++) {
        char error[USERS_ERROR_MAX];
        char login[32];
        bool added = false;
        snprintf(login, sizeof login, "%s%d", (const char *)prefix, i);
        if (!users_set_password(path, login, "p", &added, error) || !added)
            return (void *)1;
    }
    return NULL;
}

static void two_at_once_lose_nothing(void **state)
{
    (void)state;
    char error[USERS_ERROR_MAX];
    pthread_t threads[2];
    void *failed;
    unlink(path);
    pthread_create(&threads[0], NULL, add_some, "left");
    pthread_create(&threads[1], NULL, add_some, "right");
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    struct users *u = users_load(path, error);
    assert_non_null(u);
    assert_int_equal(users_count(u), 10);
    users_release(u);
}

static void a_folder_that_is_not_there_is_named(void **state)
{
    (void)state;
    char error[USERS_ERROR_MAX] = "";
    bool added;
    assert_false(users_set_password("/nonexistent/users", "a", "p", &added, error));
    assert_non_null(strstr(error, "/nonexistent/users"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_become_users),
        cmocka_unit_test(the_last_line_needs_no_newline),
        cmocka_unit_test(an_empty_file_has_a_decoy_all_the_same),
        cmocka_unit_test(the_decoy_is_of_the_most_common_kind_and_cost),
        cmocka_unit_test(the_decoy_does_not_fit_the_password_it_was_made_from),
        cmocka_unit_test(a_cost_is_told_from_another),
        cmocka_unit_test(weak_kinds_are_counted),
        cmocka_unit_test(locked_and_empty_hashes_are_users_too),
        cmocka_unit_test(a_bad_line_is_named),
        cmocka_unit_test(a_login_twice_names_both_lines),
        cmocka_unit_test(hashes_that_crypt_cannot_check_are_refused),
        cmocka_unit_test(the_third_field_lists_addresses),
        cmocka_unit_test(a_bad_address_is_refused_with_its_line),
        cmocka_unit_test(a_login_may_have_255_octets),
        cmocka_unit_test(every_prefix_of_a_file_is_taken_or_refused_with_a_sentence),
        cmocka_unit_test(holds_keep_a_snapshot),
        cmocka_unit_test(a_million_users_load_in_seconds),
        cmocka_unit_test(a_missing_file_names_the_remedy),
        cmocka_unit_test(what_is_no_file_does_not_load),
        cmocka_unit_test(the_first_password_makes_the_file),
        cmocka_unit_test(a_change_keeps_all_else),
        cmocka_unit_test(a_broken_line_of_the_user_can_be_mended),
        cmocka_unit_test(a_link_is_followed_not_replaced),
        cmocka_unit_test(what_could_not_be_a_login_or_password_changes_nothing),
        cmocka_unit_test(two_at_once_lose_nothing),
        cmocka_unit_test(a_folder_that_is_not_there_is_named),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
