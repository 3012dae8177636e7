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

/* RFC 7677 3, of "pencil". */
#define SALT "W22ZaJ0SNY7soEsUEjb6gQ=="
#define KEYS \
    "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=,wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
#define SCRAM "{SCRAM-SHA-256}4096," SALT "," KEYS
#define SCRAM_2 "{SCRAM-SHA-256}20000," SALT "," KEYS

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
    REFUSE("a:{PLAIN}secret\n", "only {SCRAM-SHA-256} is known");
    REFUSE("a:{SCRAM-SHA-1}4096," SALT "," KEYS "\n", "only {SCRAM-SHA-256} is known");
    REFUSE("a:{SCRAM-SHA-256\n", "only {SCRAM-SHA-256} is known");
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

static void verifiers_that_are_none_are_refused(void **state)
{
    (void)state;
    REFUSE("b:!\na:{SCRAM-SHA-256}4096,c2FsdA==:stored:server\n", "users:2: the line of \"a\"");
    REFUSE("a:{SCRAM-SHA-256}\n", "the verifier is not iterations,salt,StoredKey,ServerKey");
    REFUSE("a:{SCRAM-SHA-256}4095," SALT "," KEYS "\n", "4096 to 10000000");
    REFUSE("a:{SCRAM-SHA-256}4096,QUJD," KEYS "\n", "salt");
}

static void a_login_may_have_a_hash_and_a_verifier(void **state)
{
    (void)state;
    struct users *u = parse("a:" SCRAM "\nb:" DES "\na:" BCRYPT "\nc:" SCRAM "\n");
    assert_int_equal(users_count(u), 3);
    assert_string_equal(users_hash(u, "a"), BCRYPT);
    assert_string_equal(users_verifier(u, "a"), SCRAM);
    assert_string_equal(users_hash(u, "b"), DES);
    assert_null(users_verifier(u, "b"));
    assert_null(users_hash(u, "c"));
    assert_string_equal(users_verifier(u, "c"), SCRAM);
    assert_null(users_verifier(u, "d"));
    assert_true(users_knows(u, "a") && users_knows(u, "b") && users_knows(u, "c"));
    assert_false(users_knows(u, "d"));
    users_release(u);
}

static void twice_the_same_kind_is_an_error(void **state)
{
    (void)state;
    REFUSE("a:" SCRAM "\nb:!\na:" SCRAM_2 "\n", "users:3: the line of \"a\"");
    REFUSE("a:" SCRAM "\nb:!\na:" SCRAM_2 "\n", "line 1 already");
    REFUSE("a:" DES "\na:" SCRAM "\na:!\n", "users:3: the line of \"a\"");
    REFUSE("a:" DES "\na:" SCRAM "\na:!" SCRAM "\n", "line 2 already");
}

static void the_addresses_of_both_lines_count(void **state)
{
    (void)state;
    struct users *u = parse("a:" DES ":a@x.example\na:" SCRAM ":@y.example,b@x.example\n"
                            "b:" DES ":b@x.example\nb:" SCRAM "\n"
                            "c:" SCRAM ":\nc:" DES ":c@x.example\n");
    assert_string_equal(users_addresses(u, "a"), "a@x.example,@y.example,b@x.example");
    assert_string_equal(users_addresses(u, "b"), "b@x.example");
    assert_string_equal(users_addresses(u, "c"), "c@x.example");
    users_release(u);
    REFUSE("a:" DES "\na:" SCRAM ":x\n", "users:2: the line of \"a\"");
}

static void a_lock_on_either_line_locks_the_login(void **state)
{
    (void)state;
    struct users *u = parse("a:!" DES "\na:" SCRAM "\nb:" DES "\nb:!" SCRAM "\nc:*" SCRAM
                            "\nd:\nd:" SCRAM "\ne:" DES "\ne:" SCRAM "\nf:" SCRAM "\n");
    assert_true(users_locked(u, "a") && users_locked(u, "b") && users_locked(u, "c"));
    assert_true(users_locked(u, "d") && users_locked(u, "nobody"));
    assert_false(users_locked(u, "e") || users_locked(u, "f"));
    assert_true(users_knows(u, "a") && users_knows(u, "c"));
    assert_int_equal(users_verifiers(u), 2);
    assert_int_equal(users_without_verifier(u), 0);
    users_release(u);
}

static void who_lacks_a_verifier_is_counted_and_named(void **state)
{
    (void)state;
    struct users *u = parse("off:!" DES "\nzoe:" DES "\nann:" DES "\nbob:" DES "\nbob:" SCRAM "\n");
    assert_int_equal(users_verifiers(u), 1);
    assert_int_equal(users_without_verifier(u), 2);
    assert_string_equal(users_first_without_verifier(u), "zoe"); /* as the file has them */
    users_release(u);
    u = parse("off:!" DES "\nbob:" SCRAM "\n");
    assert_int_equal(users_without_verifier(u), 0);
    assert_null(users_first_without_verifier(u));
    users_release(u);
}

static void the_decoy_may_be_a_verifier(void **state)
{
    (void)state;
    struct scram_verifier v;
    struct users *u = parse("a:" SCRAM_2 "\nb:" SCRAM "\nc:" SCRAM_2 "\nd:" DES "\n");
    assert_memory_equal(users_decoy(u), "{SCRAM-SHA-256}20000,", 21);
    assert_true(scram_read(&v, users_decoy(u)));
    users_release(u);
    u = parse("a:" SCRAM "\n");
    assert_true(scram_read(&v, SCRAM) && scram_fits(&v, "pencil"));
    assert_true(scram_read(&v, users_decoy(u)));
    assert_false(scram_fits(&v, "pencil"));
    users_release(u);
    /* a password is checked by the hash where both are there */
    u = parse("a:" SCRAM "\na:" BCRYPT "\nb:" SCRAM "\nb:" BCRYPT "\nc:" SCRAM "\n");
    assert_memory_equal(users_decoy(u), "$2b$05$", 7);
    users_release(u);
}

static void made_up_verifiers_have_the_usual_shape(void **state)
{
    (void)state;
    struct users *u =
        parse("a:" SCRAM_2 "\nb:" SCRAM "\nc:" SCRAM_2
              "\nd:{SCRAM-SHA-256}20000,QSXCR+Q6sek8bf92," KEYS "\ne:!" SCRAM "\nf:!" SCRAM "\n");
    struct scram_verifier v = users_shape(u);
    assert_int_equal(v.iterations, 20000);
    assert_int_equal(v.salt_len, 16);
    for (size_t i = 0; i < sizeof v.stored_key; i++)
        assert_int_equal(v.stored_key[i] | v.server_key[i] | v.salt[i], 0);
    users_release(u);
    u = parse("a:{SCRAM-SHA-256}4096,QSXCR+Q6sek8bf92," KEYS "\n");
    v = users_shape(u);
    assert_int_equal(v.iterations, 4096);
    assert_int_equal(v.salt_len, 12);
    users_release(u);
    u = parse("a:" DES "\n");
    v = users_shape(u);
    assert_int_equal(v.iterations, USERS_ITERATIONS);
    assert_int_equal(v.salt_len, USERS_SALT_LEN);
    users_release(u);
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
    static const char text[] =
        "# c\nalice:" SHA256 "\nbob:!\nalice:" SCRAM ":a@x.example\n\ncarol:" BCRYPT "\n";
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

/* Both lines are asked, and must agree. */
static bool fits(const char *login, const char *password)
{
    char error[USERS_ERROR_MAX] = "";
    struct users *u = users_load(path, error);
    if (u == NULL)
        fail_msg("%s", error);
    const char *hash = users_hash(u, login);
    const char *verifier = users_verifier(u, login);
    struct scram_verifier v;
    struct crypt_data *data = calloc(1, sizeof *data);
    bool ok = hash != NULL && strcmp(crypt_r(password, hash, data), hash) == 0;
    assert_true(verifier != NULL && scram_read(&v, verifier));
    assert_int_equal(v.iterations, USERS_ITERATIONS);
    assert_int_equal(v.salt_len, 16);
    assert_int_equal(scram_fits(&v, password), ok);
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
    assert_memory_equal(strchr(text, '\n'), "\nalice:{SCRAM-SHA-256}15000,", 28);
}

static void a_change_keeps_all_else(void **state)
{
    (void)state;
    char error[USERS_ERROR_MAX] = "";
    char text[2048];
    bool added = true;
    struct stat st;
    write_file("# top\nbob2:!\nbob:" DES "\n\n# alice:x\nzoe:" BCRYPT, 0604);
    if (geteuid() == 0)
        assert_int_equal(chown(path, 65534, 12345), 0);
    assert_true(users_set_password(path, "bob", "new", &added, error));
    assert_false(added);
    read_file(text, sizeof text);
    assert_memory_equal(text, "# top\nbob2:!\nbob:$y$", 20);
    const char *beside = strchr(text + 17, '\n');
    assert_memory_equal(beside, "\nbob:{SCRAM-SHA-256}15000,", 26);
    assert_string_equal(strchr(beside + 1, '\n'), "\n\n# alice:x\nzoe:" BCRYPT);
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

static char *line_of(char *text, size_t number)
{
    while (number-- > 1)
        text = strchr(text, '\n') + 1;
    return text;
}

static void both_lines_change_where_they_stand(void **state)
{
    (void)state;
    char error[USERS_ERROR_MAX] = "";
    char text[2048];
    bool added = true;
    write_file("a:" SCRAM ":s@x.example\nb:" DES "\na:!" DES ":h@x.example\n# end\n", 0640);
    assert_true(users_set_password(path, "a", "new", &added, error));
    assert_false(added);
    assert_true(fits("a", "new"));
    read_file(text, sizeof text);
    assert_memory_equal(line_of(text, 1), "a:{SCRAM-SHA-256}15000,", 23);
    assert_non_null(strstr(line_of(text, 1), "=:s@x.example\nb:" DES "\na:$y$"));
    assert_non_null(strstr(line_of(text, 3), ":h@x.example\n# end\n"));
    assert_string_equal(line_of(text, 4), "# end\n");
    /* and again: nothing is added any more */
    assert_true(users_set_password(path, "a", "newer", &added, error));
    assert_true(fits("a", "newer"));
    assert_string_equal(line_of(read_file(text, sizeof text), 4), "# end\n");
}

static void a_missing_hash_goes_beside_the_verifier(void **state)
{
    (void)state;
    char error[USERS_ERROR_MAX] = "";
    char text[2048];
    bool added = true;
    write_file("a:!" SCRAM ":s@x.example\nb:!", 0640);
    assert_true(users_set_password(path, "a", "new", &added, error));
    assert_false(added);
    assert_true(fits("a", "new"));
    read_file(text, sizeof text);
    assert_memory_equal(line_of(text, 1), "a:{SCRAM-SHA-256}15000,", 23);
    assert_non_null(strstr(line_of(text, 1), "=:s@x.example\na:$y$"));
    assert_string_equal(line_of(text, 3), "b:!");
    /* the last line without its end */
    write_file("b:!\na:" DES ":s@x.example", 0640);
    assert_true(users_set_password(path, "a", "new", &added, error));
    assert_true(fits("a", "new"));
    assert_non_null(strstr(read_file(text, sizeof text), ":s@x.example\na:{SCRAM-SHA-256}15000,"));
}

static void passwords_go_through_saslprep(void **state)
{
    (void)state;
    char error[USERS_ERROR_MAX] = "";
    bool added;
    unlink(path);
    /* U+00C5, and A with a combining ring: the same password to a client */
    assert_true(users_set_password(path, "a", "\xc3\x85", &added, error));
    struct users *u = users_load(path, error);
    struct scram_verifier v;
    assert_true(scram_read(&v, users_verifier(u, "a")));
    assert_true(scram_fits(&v, "A\xcc\x8a"));
    assert_true(scram_fits(&v, "\xc3\x85"));
    assert_false(scram_fits(&v, "A"));
    users_release(u);
    static const char *const impossible[] = {
        "\xf0\x9f\x98\x80x", /* U+1F600: Unicode 3.2 does not know it */
        "\xc2\xad",          /* a soft hyphen alone: nothing is left */
        "\xee\x80\x80",      /* private use */
        "\xd8\xa7"
        "1", /* right to left, and ends otherwise */
    };
    for (size_t i = 0; i < sizeof impossible / sizeof *impossible; i++) {
        assert_false(users_set_password(path, "a", impossible[i], &added, error));
        if (strstr(error, "SASLprep") == NULL)
            fail_msg("%zu: %s", i, error);
    }
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
        cmocka_unit_test(verifiers_that_are_none_are_refused),
        cmocka_unit_test(a_login_may_have_a_hash_and_a_verifier),
        cmocka_unit_test(twice_the_same_kind_is_an_error),
        cmocka_unit_test(the_addresses_of_both_lines_count),
        cmocka_unit_test(a_lock_on_either_line_locks_the_login),
        cmocka_unit_test(who_lacks_a_verifier_is_counted_and_named),
        cmocka_unit_test(the_decoy_may_be_a_verifier),
        cmocka_unit_test(made_up_verifiers_have_the_usual_shape),
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
        cmocka_unit_test(both_lines_change_where_they_stand),
        cmocka_unit_test(a_missing_hash_goes_beside_the_verifier),
        cmocka_unit_test(passwords_go_through_saslprep),
        cmocka_unit_test(a_broken_line_of_the_user_can_be_mended),
        cmocka_unit_test(a_link_is_followed_not_replaced),
        cmocka_unit_test(what_could_not_be_a_login_or_password_changes_nothing),
        cmocka_unit_test(two_at_once_lose_nothing),
        cmocka_unit_test(a_folder_that_is_not_there_is_named),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
