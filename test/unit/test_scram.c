#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <fcntl.h>
#include <gsasl.h>
#include <openssl/base64.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "auth/backend.h"
#include "auth/scram.h"
#include "auth/scram_secret.h"
#include "auth/scram_server.h"
#include "auth/users.h"
#include "test/unit/scram_client.h"

/* RFC 7677 3. */
#define SALT "W22ZaJ0SNY7soEsUEjb6gQ=="
#define STORED "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY="
#define SERVER "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
#define PENCIL SCRAM_SCHEME "4096," SALT "," STORED "," SERVER
#define RFC_NONCE "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
#define RFC_FIRST_BARE "n=user,r=rOprNGfwEbeRWgbNEkqO"
#define RFC_SERVER_FIRST "r=" RFC_NONCE ",s=" SALT ",i=4096"
#define RFC_FINAL_BARE "c=biws,r=" RFC_NONCE

static char folder[] = "/tmp/test_scram.XXXXXX";
static char users_path[64];

static int make_folder(void **state)
{
    (void)state;
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(users_path, sizeof users_path, "%s/users", folder);
    return 0;
}

static void remove_secret(void)
{
    char path[96];
    snprintf(path, sizeof path, "%s/scram.secret", folder);
    unlink(path);
}

static int remove_folder(void **state)
{
    (void)state;
    remove_secret();
    unlink(users_path);
    return rmdir(folder);
}

/* --- verifiers --- */

static void the_vector_of_rfc_7677(void **state)
{
    (void)state;
    struct scram_verifier v = {.iterations = 4096, .salt_len = 16};
    struct scram_verifier known;
    char text[SCRAM_TEXT_MAX + 1];
    char proof_text[64], signature_text[64];
    uint8_t server_key[32], signature[32];
    assert_true(scram_read(&known, PENCIL));
    memcpy(v.salt, known.salt, 16);
    assert_true(scram_derive(&v, "pencil"));
    scram_write(text, &v);
    assert_string_equal(text, PENCIL);
    assert_true(scram_fits(&known, "pencil"));
    assert_false(scram_fits(&known, "pencil "));
    assert_false(scram_fits(&known, ""));
    /* the same keys make the messages of the RFC */
    static const char auth_message[] = RFC_FIRST_BARE "," RFC_SERVER_FIRST "," RFC_FINAL_BARE;
    proof(proof_text, server_key, "pencil", v.salt, 16, 4096, auth_message);
    assert_string_equal(proof_text, "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
    assert_memory_equal(server_key, v.server_key, 32);
    hmac(signature, v.server_key, auth_message);
    base64(signature_text, signature, 32);
    assert_string_equal(signature_text, "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
}

static void what_is_no_verifier_is_refused(void **state)
{
    (void)state;
    static const char *const none[] = {
        "",
        "{SCRAM-SHA-256",
        "{SCRAM-SHA-1}4096," SALT "," STORED "," SERVER,
        "{scram-sha-256}4096," SALT "," STORED "," SERVER,
        SCRAM_SCHEME,
        SCRAM_SCHEME "4096",
        SCRAM_SCHEME "4096,",
        SCRAM_SCHEME "4096," SALT,
        SCRAM_SCHEME "4096," SALT "," STORED,
        SCRAM_SCHEME "4096," SALT "," STORED ",",
        SCRAM_SCHEME "4096," SALT ",," SERVER,
        SCRAM_SCHEME "4096,," STORED "," SERVER,
        SCRAM_SCHEME "," SALT "," STORED "," SERVER,
        SCRAM_SCHEME "4095," SALT "," STORED "," SERVER,
        SCRAM_SCHEME "0," SALT "," STORED "," SERVER,
        SCRAM_SCHEME "04096," SALT "," STORED "," SERVER,
        SCRAM_SCHEME "+4096," SALT "," STORED "," SERVER,
        SCRAM_SCHEME " 4096," SALT "," STORED "," SERVER,
        SCRAM_SCHEME "10000001," SALT "," STORED "," SERVER,
        SCRAM_SCHEME "4294971392," SALT "," STORED "," SERVER, /* 2^32 + 4096 */
        SCRAM_SCHEME "99999999999999999999," SALT "," STORED "," SERVER,
        SCRAM_SCHEME "4096,W22ZaJ0SNY7soEsUEjb6gQ," STORED "," SERVER,   /* no padding */
        SCRAM_SCHEME "4096,W22ZaJ0SNY7soEsUEjb6gR==," STORED "," SERVER, /* bits behind the end */
        SCRAM_SCHEME "4096,W22ZaJ0SNY7soEsUEjb6g-==," STORED "," SERVER,
        SCRAM_SCHEME "4096,QUJDREVGRw==," STORED "," SERVER, /* seven octets */
        SCRAM_SCHEME "4096," SALT "," STORED "," SERVER ",",
        SCRAM_SCHEME "4096," SALT "," STORED "," SERVER "A===",
        SCRAM_SCHEME "4096," SALT "," STORED "," SALT,
        SCRAM_SCHEME "4096," SALT "," SALT "," SERVER,
        PENCIL " ",
    };
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        struct scram_verifier v;
        if (scram_fault(none[i]) == NULL || scram_read(&v, none[i]))
            fail_msg("taken: %s", none[i]);
    }
    assert_null(scram_fault(PENCIL));
    assert_null(scram_fault(SCRAM_SCHEME "10000000," SALT "," STORED "," SERVER));
    assert_null(scram_fault(SCRAM_SCHEME "4096,QUJDREVGR0g=," STORED "," SERVER));
    assert_non_null(
        strstr(scram_fault(SCRAM_SCHEME "1000," SALT "," STORED "," SERVER), "4096 to"));
    assert_non_null(strstr(scram_fault(SCRAM_SCHEME "4096,x," STORED "," SERVER), "salt"));
    assert_non_null(strstr(scram_fault(SCRAM_SCHEME "4096," SALT "," STORED ",x"), "ServerKey"));
}

static void a_salt_has_64_octets_at_most(void **state)
{
    (void)state;
    struct scram_verifier v = {.iterations = 10000000, .salt_len = 64}, again;
    char text[SCRAM_TEXT_MAX + 1], longer[SCRAM_TEXT_MAX + 32];
    memset(v.salt, 0xfb, 64);
    scram_write(text, &v);
    assert_true(scram_read(&again, text));
    assert_int_equal(again.salt_len, 64);
    assert_memory_equal(again.salt, v.salt, 64);
    snprintf(longer, sizeof longer, SCRAM_SCHEME "4096,%.84s+/v7," STORED "," SERVER,
             strchr(text, ',') + 1);
    assert_non_null(scram_fault(longer));
}

static void every_prefix_is_refused(void **state)
{
    (void)state;
    for (size_t n = 0; n < strlen(PENCIL); n++) {
        char *fit = strndup(PENCIL, n);
        assert_non_null(scram_fault(fit));
        free(fit);
    }
}

static void what_is_made_up_is_stable_and_tells_nothing(void **state)
{
    (void)state;
    static const uint8_t secret[32] = {1}, other[32] = {2};
    struct scram_verifier a = {.iterations = 15000, .salt_len = 16}, b = a, c = a, d = a;
    struct scram_verifier longest = {.iterations = 4096, .salt_len = 64};
    scram_pretend(&a, secret, "alice");
    scram_pretend(&b, secret, "alice");
    scram_pretend(&c, secret, "alicf");
    scram_pretend(&d, other, "alice");
    scram_pretend(&longest, secret, "alice");
    assert_memory_equal(&a, &b, sizeof a);
    assert_int_equal(a.iterations, 15000);
    assert_int_equal(a.salt_len, 16);
    assert_memory_not_equal(a.salt, c.salt, 16);
    assert_memory_not_equal(a.salt, d.salt, 16);
    assert_memory_not_equal(a.stored_key, a.server_key, 32);
    assert_memory_not_equal(longest.salt, longest.salt + 32, 32);
}

/* --- one exchange --- */

static const uint8_t binding[32] = "exactly thirty-two octets, these";
static const uint8_t other_binding[32] = "and these were made by a mitm...";

static bool find_pencil(void *owner, struct scram_verifier *v, char login[SASL_LOGIN_MAX + 1],
                        const char *name)
{
    static const uint8_t secret[32] = {3};
    snprintf(login, SASL_LOGIN_MAX + 1, "%s", name);
    if (owner != NULL)
        ++*(unsigned *)owner;
    assert_true(scram_read(v, PENCIL));
    if (strcmp(name, "user") == 0 || strcmp(name, "a,b=c") == 0 || strcmp(name, "\xc3\x85") == 0)
        return true;
    if (strcmp(name, "locked") != 0)
        scram_pretend(v, secret, name);
    return false;
}

static enum scram_status step(struct scram_server *s, const char *text)
{
    size_t len = strlen(text);
    uint8_t *fit = malloc(len > 0 ? len : 1);
    memcpy(fit, text, len);
    enum scram_status status = scram_server_step(s, fit, len);
    free(fit);
    return status;
}

static const char *said(const struct scram_server *s, char out[4096])
{
    size_t len;
    const uint8_t *message = scram_server_message(s, &len);
    assert_in_range(len, 0, 4095);
    if (len > 0)
        memcpy(out, message, len);
    out[len] = '\0';
    return out;
}

enum outcome { IN, OUT_AT_FIRST, OUT_AT_FINAL, OUT_AT_END };

static enum outcome talk(const struct scram_terms *terms, struct client *c)
{
    char message[4096], answer[4096];
    enum outcome outcome = OUT_AT_FIRST;
    struct scram_server *s = scram_server_new(terms);
    client_first(c, message);
    if (step(s, message) == SCRAM_CHALLENGE) {
        client_final(c, message, said(s, answer));
        outcome = OUT_AT_FINAL;
        if (step(s, message) == SCRAM_CHALLENGE) {
            assert_true(client_trusts(c, said(s, answer)));
            outcome = step(s, "") == SCRAM_ACCEPTED ? IN : OUT_AT_END;
        }
    }
    scram_server_free(s);
    return outcome;
}

static void the_right_password_alone_gets_in(void **state)
{
    (void)state;
    unsigned asked = 0;
    const struct scram_terms terms = {.find = find_pencil, .owner = &asked};
    assert_int_equal(talk(&terms, &(struct client){.login = "user", .password = "pencil"}), IN);
    assert_int_equal(asked, 1);
    static const char *const wrong[] = {"Pencil", "pencils", "", "pencil "};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(talk(&terms, &(struct client){.login = "user", .password = wrong[i]}),
                         OUT_AT_FINAL);
    assert_int_equal(talk(&terms, &(struct client){.login = "locked", .password = "pencil"}),
                     OUT_AT_FINAL);
    assert_int_equal(talk(&terms, &(struct client){.login = "nobody", .password = "pencil"}),
                     OUT_AT_FINAL);
}

static void an_empty_first_message_is_asked_for_once(void **state)
{
    (void)state;
    const struct scram_terms terms = {.find = find_pencil};
    char answer[4096];
    struct scram_server *s = scram_server_new(&terms);
    assert_int_equal(step(s, ""), SCRAM_CHALLENGE);
    assert_string_equal(said(s, answer), "");
    assert_int_equal(step(s, "n,,n=user,r=x"), SCRAM_CHALLENGE);
    scram_server_free(s);
    s = scram_server_new(&terms);
    assert_int_equal(step(s, ""), SCRAM_CHALLENGE);
    assert_int_equal(step(s, ""), SCRAM_REJECTED);
    assert_int_equal(step(s, "n,,n=user,r=x"), SCRAM_REJECTED); /* it is over */
    scram_server_free(s);
}

static void logins_are_unescaped_and_prepared(void **state)
{
    (void)state;
    const struct scram_terms terms = {.find = find_pencil};
    assert_int_equal(talk(&terms, &(struct client){.login = "a=2Cb=3Dc", .password = "pencil"}),
                     IN);
    struct scram_server *s = scram_server_new(&terms);
    assert_int_equal(step(s, "n,,n=A\xcc\x8a,r=x"), SCRAM_CHALLENGE);
    assert_string_equal(scram_server_login(s), "\xc3\x85");
    scram_server_free(s);
}

static void the_binding_must_be_the_same(void **state)
{
    (void)state;
    const struct scram_terms terms = {
        .plus = true, .offered = true, .binding = binding, .find = find_pencil};
    struct client c = {
        .login = "user", .password = "pencil", .flag = "p=tls-exporter", .binding = binding};
    assert_int_equal(talk(&terms, &c), IN);
    c.binding = other_binding; /* somebody ends TLS in between and has a channel of his own */
    assert_int_equal(talk(&terms, &c), OUT_AT_FINAL);
    c.binding = NULL;
    assert_int_equal(talk(&terms, &c), OUT_AT_FINAL);
    c.binding = binding;
    static const char *const flags[] = {"n",
                                        "y",
                                        "p=tls-unique",
                                        "p=tls-server-end-point",
                                        "p=",
                                        "p=tls-exporterx",
                                        "P=tls-exporter"};
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        c.flag = flags[i];
        assert_int_equal(talk(&terms, &c), OUT_AT_FIRST);
    }
    const struct scram_terms unbound = {.plus = true, .find = find_pencil};
    c.flag = "p=tls-exporter";
    assert_int_equal(talk(&unbound, &c), OUT_AT_FIRST);
}

static void who_could_bind_and_was_told_we_cannot_is_refused(void **state)
{
    (void)state;
    const struct scram_terms offered = {.offered = true, .binding = binding, .find = find_pencil};
    const struct scram_terms masked = {.binding = binding, .find = find_pencil};
    struct client c = {.login = "user", .password = "pencil", .flag = "y"};
    assert_int_equal(talk(&offered, &c), OUT_AT_FIRST);
    assert_int_equal(talk(&masked, &c), IN); /* then he was told the truth */
    c.flag = "n";
    assert_int_equal(talk(&offered, &c), IN);
    c.flag = "p=tls-exporter";
    c.binding = binding;
    assert_int_equal(talk(&offered, &c), OUT_AT_FIRST); /* not with the mechanism without -PLUS */
}

static void nobody_acts_for_somebody_else(void **state)
{
    (void)state;
    const struct scram_terms terms = {.find = find_pencil};
    struct client c = {.login = "user", .password = "pencil", .authzid = "a=user"};
    assert_int_equal(talk(&terms, &c), IN);
    c.authzid = "a=admin";
    assert_int_equal(talk(&terms, &c), OUT_AT_FIRST);
    c.authzid = "a=User";
    assert_int_equal(talk(&terms, &c), OUT_AT_FIRST);
    c.authzid = "user";
    assert_int_equal(talk(&terms, &c), OUT_AT_FIRST);
}

static void first_messages_out_of_shape_are_rejected(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "n,,n=us=er,r=x",    /* "=" without 2C or 3D */
        "n,,n=us=2cer,r=x",  /* in lower case */
        "n,,n=user=,r=x",    /**/
        "n,,m=x,n=user,r=x", /* a mandatory extension */
        "m=x,n,,n=user,r=x", /**/
        "x,,n=user,r=x",     /* no such flag */
        "n,n=user,r=x",      /* half a header */
        "n=user,r=x",        /* none */
        ",,n=user,r=x",      /**/
        "n,,r=x,n=user",     /* in another order */
        "n,,n=,r=x",         /* nobody */
        "n,,n=user",         /* no nonce */
        "n,,n=user,r=",      /* an empty one */
        "n,,n=user,r=a\x7f"
        "b", /* not printable */
        "n,,n=us\xc3"
        "r,r=x",             /* not UTF-8 */
        "n,,n=us\ner,r=x",   /* control */
        "n,,n=\xc2\xad,r=x", /* nothing is left of it */
        "n,,n=user,,r=x",    /**/
        " n,,n=user,r=x",    /**/
        "c=biws,r=x,p=AAAA", /* out of turn */
        "\r\n",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const struct scram_terms terms = {.find = find_pencil};
        struct scram_server *s = scram_server_new(&terms);
        if (step(s, bad[i]) != SCRAM_REJECTED)
            fail_msg("taken: %s", bad[i]);
        assert_int_equal(step(s, "n,,n=user,r=x"), SCRAM_REJECTED);
        scram_server_free(s);
    }
}

static void lengths_are_bounded(void **state)
{
    (void)state;
    const struct scram_terms terms = {.find = find_pencil};
    for (size_t n = 511; n <= 513; n++) {
        char text[1024] = "n,,n=user,r=";
        memset(text + strlen(text), 'x', n);
        struct scram_server *s = scram_server_new(&terms);
        assert_int_equal(step(s, text), n <= 512 ? SCRAM_CHALLENGE : SCRAM_REJECTED);
        scram_server_free(s);
    }
    for (size_t n = 255; n <= 256; n++) {
        char text[1024] = "n,,n=";
        memset(text + strlen(text), 'x', n);
        strcat(text, ",r=x");
        struct scram_server *s = scram_server_new(&terms);
        assert_int_equal(step(s, text), n <= 255 ? SCRAM_CHALLENGE : SCRAM_REJECTED);
        scram_server_free(s);
    }
    for (size_t n = 2048; n <= 2049; n++) {
        char text[4096] = "n,,n=user,r=x,x=";
        memset(text + strlen(text), 'y', n - strlen(text));
        struct scram_server *s = scram_server_new(&terms);
        assert_int_equal(step(s, text), n <= 2048 ? SCRAM_CHALLENGE : SCRAM_REJECTED);
        scram_server_free(s);
    }
    struct scram_server *s = scram_server_new(&terms);
    assert_int_equal(scram_server_step(s, (const uint8_t *)"n,,n=user\0,r=x", 14), SCRAM_REJECTED);
    scram_server_free(s);
}

/* `change` turns the right final message into another; false: it does not apply. */
static bool final_is_rejected(void (*change)(char *text, const struct client *c))
{
    const struct scram_terms terms = {.find = find_pencil};
    struct client c = {.login = "user", .password = "pencil"};
    char message[4096], answer[4096];
    struct scram_server *s = scram_server_new(&terms);
    client_first(&c, message);
    assert_int_equal(step(s, message), SCRAM_CHALLENGE);
    client_final(&c, message, said(s, answer));
    change(message, &c);
    bool rejected = step(s, message) == SCRAM_REJECTED && step(s, "") == SCRAM_REJECTED;
    scram_server_free(s);
    return rejected;
}

static void keep(char *text, const struct client *c)
{
    (void)text, (void)c;
}

static void only_the_clients_nonce(char *text, const struct client *c)
{
    (void)c;
    char *end = strstr(text, ",p=");
    memmove(strstr(text, ",r=") + 3 + 24, end, strlen(end) + 1);
}

static void one_more_in_the_nonce(char *text, const struct client *c)
{
    (void)c;
    char *end = strstr(text, ",p=");
    memmove(end + 1, end, strlen(end) + 1);
    *end = 'A';
}

static void another_nonce(char *text, const struct client *c)
{
    (void)c;
    char *last = strstr(text, ",p=") - 1;
    *last = *last == 'A' ? 'B' : 'A';
}

static void another_header(char *text, const struct client *c)
{
    (void)c;
    memcpy(text, "c=eSws", 6); /* y,, */
}

static void a_binding_that_was_not_announced(char *text, const struct client *c)
{
    (void)c;
    char rest[4096];
    strcpy(rest, text + 6);
    sprintf(text, "c=biwsQUFB%s", rest);
}

static void no_header(char *text, const struct client *c)
{
    (void)c;
    memmove(text, text + 7, strlen(text + 7) + 1);
}

static void an_empty_header(char *text, const struct client *c)
{
    (void)c;
    memmove(text + 2, text + 6, strlen(text + 6) + 1);
}

static void no_proof(char *text, const struct client *c)
{
    (void)c;
    *strstr(text, ",p=") = '\0';
}

static void an_empty_proof(char *text, const struct client *c)
{
    (void)c;
    strstr(text, ",p=")[3] = '\0';
}

static void another_proof(char *text, const struct client *c)
{
    (void)c;
    char *p = strstr(text, ",p=") + 3;
    *p = *p == 'A' ? 'B' : 'A';
}

static void a_shorter_proof(char *text, const struct client *c)
{
    (void)c;
    text[strlen(text) - 4] = '\0';
}

static void a_longer_proof(char *text, const struct client *c)
{
    (void)c;
    text[strlen(text) - 1] = 'A';
    strcat(text, "QUJD");
}

static void something_behind_the_proof(char *text, const struct client *c)
{
    (void)c;
    strcat(text, ",x=y");
}

static void a_mandatory_extension(char *text, const struct client *c)
{
    (void)c;
    char rest[4096];
    strcpy(rest, text);
    sprintf(text, "m=x,%s", rest);
}

static void the_servers_signature_for_a_proof(char *text, const struct client *c)
{
    uint8_t signature[32];
    hmac(signature, c->server_key, c->auth_message);
    base64(strstr(text, ",p=") + 3, signature, 32);
}

static void nothing(char *text, const struct client *c)
{
    (void)c;
    *text = '\0';
}

static void final_messages_that_were_changed_are_rejected(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        void (*change)(char *text, const struct client *c);
    } changes[] = {
        {"only the client's nonce", only_the_clients_nonce},
        {"one more in the nonce", one_more_in_the_nonce},
        {"another nonce", another_nonce},
        {"another header", another_header},
        {"a binding that was not announced", a_binding_that_was_not_announced},
        {"no header", no_header},
        {"an empty header", an_empty_header},
        {"no proof", no_proof},
        {"an empty proof", an_empty_proof},
        {"another proof", another_proof},
        {"a shorter proof", a_shorter_proof},
        {"a longer proof", a_longer_proof},
        {"something behind the proof", something_behind_the_proof},
        {"a mandatory extension", a_mandatory_extension},
        {"the server's signature for a proof", the_servers_signature_for_a_proof},
        {"nothing", nothing},
    };
    assert_false(final_is_rejected(keep));
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        if (!final_is_rejected(changes[i].change))
            fail_msg("taken: %s", changes[i].name);
    }
}

static void what_was_said_once_is_no_use_again(void **state)
{
    (void)state;
    const struct scram_terms terms = {.find = find_pencil};
    struct client c = {.login = "user", .password = "pencil"};
    char first[4096], final[4096], answer[4096], again[4096];
    struct scram_server *s = scram_server_new(&terms);
    client_first(&c, first);
    assert_int_equal(step(s, first), SCRAM_CHALLENGE);
    client_final(&c, final, said(s, answer));
    assert_int_equal(step(s, final), SCRAM_CHALLENGE);
    assert_int_equal(step(s, "x"), SCRAM_REJECTED); /* the last word is an empty one */
    assert_int_equal(step(s, ""), SCRAM_REJECTED);
    scram_server_free(s);
    s = scram_server_new(&terms);
    assert_int_equal(step(s, first), SCRAM_CHALLENGE);
    assert_string_not_equal(said(s, again), answer);
    assert_int_equal(step(s, final), SCRAM_REJECTED);
    scram_server_free(s);
}

static int client_property(Gsasl *library, Gsasl_session *session, Gsasl_property property)
{
    const bool *plus = gsasl_callback_hook_get(library);
    char text[64];
    if (property == GSASL_CB_TLS_EXPORTER && !*plus)
        return GSASL_NO_CALLBACK;
    switch (property) {
    case GSASL_AUTHID:
        return gsasl_property_set(session, property, "user");
    case GSASL_PASSWORD:
        return gsasl_property_set(session, property, "pencil");
    case GSASL_CB_TLS_EXPORTER:
        base64(text, binding, 32);
        return gsasl_property_set(session, property, text);
    default:
        return GSASL_NO_CALLBACK;
    }
}

static void another_clients_code_gets_in(void **state)
{
    (void)state;
    for (int plus = 0; plus < 2; plus++) {
        const struct scram_terms terms = {
            .plus = plus != 0, .binding = binding, .find = find_pencil};
        struct scram_server *s = scram_server_new(&terms);
        Gsasl *library;
        Gsasl_session *session;
        bool bound = plus != 0;
        char answer[4096] = "", *out;
        size_t len;
        enum scram_status status = SCRAM_CHALLENGE;
        assert_int_equal(gsasl_init(&library), GSASL_OK);
        gsasl_callback_set(library, client_property);
        gsasl_callback_hook_set(library, &bound);
        assert_int_equal(
            gsasl_client_start(library, plus ? "SCRAM-SHA-256-PLUS" : "SCRAM-SHA-256", &session),
            GSASL_OK);
        for (int i = 0; i < 3; i++) {
            int rc = gsasl_step(session, answer, strlen(answer), &out, &len);
            if (rc != GSASL_OK && rc != GSASL_NEEDS_MORE)
                fail_msg("plus %d, step %d: %s", plus, i, gsasl_strerror(rc));
            status = scram_server_step(s, (uint8_t *)out, len);
            gsasl_free(out);
            if (status == SCRAM_CHALLENGE)
                said(s, answer);
        }
        assert_int_equal(status, SCRAM_ACCEPTED);
        assert_string_equal(scram_server_login(s), "user");
        gsasl_finish(session);
        gsasl_done(library);
        scram_server_free(s);
    }
}

/* --- the secret --- */

static void the_secret_outlives_the_process(void **state)
{
    (void)state;
    uint8_t first[32], second[32];
    char error[SCRAM_SECRET_ERROR_MAX] = "", path[96];
    struct stat st;
    remove_secret();
    assert_true(scram_secret_load(first, folder, error));
    assert_true(scram_secret_load(second, folder, error));
    assert_memory_equal(first, second, 32);
    snprintf(path, sizeof path, "%s/scram.secret", folder);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(st.st_size, 32);
    remove_secret();
    assert_true(scram_secret_load(second, folder, error));
    assert_memory_not_equal(first, second, 32);
    assert_int_equal(truncate(path, 31), 0);
    assert_false(scram_secret_load(first, folder, error));
    assert_non_null(strstr(error, "not of 32 octets"));
    assert_false(scram_secret_load(first, "/nonexistent", error));
    assert_non_null(strstr(error, "/nonexistent/scram.secret"));
    assert_false(scram_secret_load(second, NULL, error));
    assert_memory_not_equal(first, second, 32); /* random all the same */
    remove_secret();
}

/* --- the users file's backend --- */

#define DES "abzlUXK5ed5rs" /* "pw" */

static uv_loop_t loop;
static char last_event[32];
static char last_sentence[BACKEND_ERROR_MAX];
static unsigned times_said;

static void say(const char *event, const char *sentence)
{
    snprintf(last_event, sizeof last_event, "%s", event);
    snprintf(last_sentence, sizeof last_sentence, "%s", sentence);
    times_said++;
}

static const struct backend_settings settings = {.state_dir = folder, .say = say};

static void write_users(const char *text)
{
    char fresh[80];
    snprintf(fresh, sizeof fresh, "%s.new", users_path);
    FILE *f = fopen(fresh, "w");
    fputs(text, f);
    fclose(f);
    rename(fresh, users_path);
}

static struct backend *open_with(const struct backend_settings *with)
{
    char error[BACKEND_ERROR_MAX] = "", spec[80];
    snprintf(spec, sizeof spec, "file:%s", users_path);
    struct backend *b = backend_open(spec, with, error);
    if (b == NULL)
        fail_msg("%s", error);
    return b;
}

static struct backend *started_with(const struct backend_settings *with)
{
    char error[BACKEND_ERROR_MAX] = "";
    struct backend *b = open_with(with);
    uv_loop_init(&loop);
    assert_true(b->ops->start(b, &loop, error));
    return b;
}

static void stop(struct backend *b)
{
    backend_close(b);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
}

struct asking {
    struct backend_question q;
    struct sasl_credential credential;
    struct auth_client client;
    unsigned answers;
    enum backend_verdict verdict;
    char login[SASL_LOGIN_MAX + 1];
    char message[4096];
    struct backend *leave; /* another question to leave from inside the answer */
    struct asking *other;
};

static void on_answered(struct backend_question *q, enum backend_verdict verdict, const char *login,
                        const uint8_t *message, size_t len)
{
    struct asking *a = q->owner;
    a->answers++;
    a->verdict = verdict;
    snprintf(a->login, sizeof a->login, "%s", login != NULL ? login : "(none)");
    assert_in_range(len, 0, sizeof a->message - 1);
    if (len > 0)
        memcpy(a->message, message, len);
    a->message[len] = '\0';
    if (a->leave != NULL)
        a->leave->ops->leave(a->leave, &a->other->q);
}

static void ask(struct backend *b, struct asking *a, const char *first)
{
    a->credential.mechanism = a->client.bound ? SASL_SCRAM_SHA_256_PLUS : SASL_SCRAM_SHA_256;
    a->credential.secret_len = strlen(first);
    strcpy(a->credential.secret, first);
    a->q = (struct backend_question){
        .credential = &a->credential, .client = &a->client, .answered = on_answered, .owner = a};
    a->answers = 0;
    b->ops->ask(b, &a->q);
    assert_int_equal(a->answers, 0); /* never from inside */
}

static void wait_for(struct asking *a, unsigned answers)
{
    while (a->answers < answers)
        uv_run(&loop, UV_RUN_ONCE);
    assert_int_equal(a->answers, answers);
}

static enum backend_verdict log_in(struct backend *b, struct asking *a, struct client *c)
{
    char message[4096];
    client_first(c, message);
    ask(b, a, message);
    wait_for(a, 1);
    if (a->verdict != BACKEND_CHALLENGE)
        return a->verdict;
    client_final(c, message, a->message);
    b->ops->respond(b, &a->q, (uint8_t *)message, strlen(message));
    assert_int_equal(a->answers, 1);
    wait_for(a, 2);
    if (a->verdict != BACKEND_CHALLENGE)
        return a->verdict;
    assert_true(client_trusts(c, a->message));
    b->ops->respond(b, &a->q, (const uint8_t *)"", 0);
    wait_for(a, 3);
    return a->verdict;
}

static void the_backend_lets_in_who_proves_it(void **state)
{
    (void)state;
    struct asking a = {.answers = 0};
    write_users("user:" PENCIL "\nlocked:!" PENCIL "\noff:!\n");
    struct backend *b = started_with(&settings);
    assert_int_equal(b->ops->mechanisms(b),
                     SASL_PLAIN | SASL_LOGIN | SASL_SCRAM_SHA_256 | SASL_SCRAM_SHA_256_PLUS);
    assert_int_equal(log_in(b, &a, &(struct client){.login = "user", .password = "pencil"}),
                     BACKEND_ACCEPTED);
    assert_string_equal(a.login, "user");
    assert_null(a.q.state);
    static const char *const logins[] = {"user", "locked", "off", "nobody"};
    for (size_t i = 0; i < sizeof logins / sizeof *logins; i++) {
        struct client c = {.login = logins[i], .password = i == 0 ? "wrong" : "pencil"};
        assert_int_equal(log_in(b, &a, &c), BACKEND_REJECTED);
        assert_int_equal(a.answers, 2); /* at the proof, each of them */
        assert_string_equal(a.login, logins[i]);
        assert_null(a.q.state);
    }
    ask(b, &a, "nonsense");
    wait_for(&a, 1);
    assert_int_equal(a.verdict, BACKEND_REJECTED);
    assert_string_equal(a.login, "(none)");
    stop(b);
}

static void the_backend_knows_its_channel(void **state)
{
    (void)state;
    struct asking a = {.client = {.bound = true, .offered = SASL_ALL}};
    struct client c = {
        .login = "user", .password = "pencil", .flag = "p=tls-exporter", .binding = binding};
    memcpy(a.client.binding, binding, 32);
    write_users("user:" PENCIL "\n");
    struct backend *b = started_with(&settings);
    assert_int_equal(log_in(b, &a, &c), BACKEND_ACCEPTED);
    a.client.binding[31] ^= 1;
    assert_int_equal(log_in(b, &a, &c), BACKEND_REJECTED);
    stop(b);
}

static void the_realm_rule_holds_inside_an_exchange(void **state)
{
    (void)state;
    struct asking a = {.answers = 0};
    struct backend_settings with = settings;
    with.realm =
        (struct realm_rule){.default_realm = "example.org", .domain = REALM_STRIP, .lower = true};
    write_users("user:" PENCIL "\n");
    struct backend *b = started_with(&with);
    struct client c = {.login = "USER@example.org", .password = "pencil"};
    assert_int_equal(log_in(b, &a, &c), BACKEND_ACCEPTED);
    assert_string_equal(a.login, "user");
    c.login = "user@elsewhere.example";
    assert_int_equal(log_in(b, &a, &c), BACKEND_REJECTED);
    assert_int_equal(a.answers, 2);
    stop(b);
}

/* The server's first message without its nonce. */
static const char *shape_of(struct backend *b, const char *login)
{
    static char shape[4096];
    struct asking a = {.answers = 0};
    char first[1024];
    snprintf(first, sizeof first, "n,,n=%s,r=x", login);
    ask(b, &a, first);
    wait_for(&a, 1);
    assert_int_equal(a.verdict, BACKEND_CHALLENGE);
    snprintf(shape, sizeof shape, "%zu%s", strcspn(a.message, ","), strchr(a.message, ','));
    b->ops->leave(b, &a.q);
    assert_null(a.q.state);
    return shape;
}

static void a_login_that_is_not_there_looks_like_one_that_is(void **state)
{
    (void)state;
    char known[256], unknown[256];
    remove_secret();
    write_users("user:" PENCIL "\nlocked:!" PENCIL "\n");
    struct backend *b = started_with(&settings);
    strcpy(known, shape_of(b, "user"));
    strcpy(unknown, shape_of(b, "nobody"));
    assert_string_not_equal(known, unknown);
    assert_int_equal(strlen(known), strlen(unknown));
    assert_non_null(strstr(unknown, ",i=4096"));
    assert_string_equal(shape_of(b, "locked"), known); /* his own salt, as before he was locked */
    assert_string_equal(shape_of(b, "nobody"), unknown);
    assert_string_not_equal(shape_of(b, "nobody2"), unknown);
    /* a user more does not change it, nor does a restart */
    write_users("user:" PENCIL "\nmore:" PENCIL "\n");
    char error[BACKEND_ERROR_MAX];
    assert_true(b->ops->refresh(b, error));
    assert_string_equal(shape_of(b, "nobody"), unknown);
    stop(b);
    b = started_with(&settings);
    assert_string_equal(shape_of(b, "nobody"), unknown);
    stop(b);
}

static void leaving_is_possible_at_any_time(void **state)
{
    (void)state;
    struct asking a = {.answers = 0}, other = {.answers = 0};
    struct client c = {.login = "user", .password = "pencil"};
    char message[4096];
    write_users("user:" PENCIL "\n");
    struct backend *b = started_with(&settings);
    client_first(&c, message);
    /* before the answer is there */
    ask(b, &a, message);
    b->ops->leave(b, &a.q);
    uv_run(&loop, UV_RUN_NOWAIT);
    assert_int_equal(a.answers, 0);
    /* behind the challenge, and while the next answer is on its way */
    ask(b, &a, message);
    wait_for(&a, 1);
    client_final(&c, message, a.message);
    b->ops->respond(b, &a.q, (uint8_t *)message, strlen(message));
    b->ops->leave(b, &a.q);
    uv_run(&loop, UV_RUN_NOWAIT);
    assert_int_equal(a.answers, 1);
    /* from inside the answer to another, whichever comes first */
    client_first(&c, message);
    for (int first = 0; first < 2; first++) {
        a.leave = b, a.other = &other;
        ask(b, first ? &a : &other, message);
        ask(b, first ? &other : &a, message);
        wait_for(&a, 1);
        assert_int_equal(other.answers, first ? 0 : 1);
        a.leave = NULL;
        b->ops->leave(b, &a.q);
    }
    stop(b);
}

static void many_at_once_do_not_mix(void **state)
{
    (void)state;
    enum { MANY = 200 };
    struct asking *all = calloc(MANY, sizeof *all);
    struct client *clients = calloc(MANY, sizeof *clients);
    char message[4096];
    write_users("user:" PENCIL "\n");
    struct backend *b = started_with(&settings);
    for (int i = 0; i < MANY; i++) {
        clients[i] = (struct client){.login = i % 3 == 2 ? "nobody" : "user",
                                     .password = i % 3 == 1 ? "wrong" : "pencil"};
        client_first(&clients[i], message);
        ask(b, &all[i], message);
    }
    for (int i = 0; i < MANY; i++) {
        wait_for(&all[i], 1);
        client_final(&clients[i], message, all[i].message);
        b->ops->respond(b, &all[i].q, (uint8_t *)message, strlen(message));
    }
    for (int i = 0; i < MANY; i++) {
        wait_for(&all[i], 2);
        assert_int_equal(all[i].verdict, i % 3 == 0 ? BACKEND_CHALLENGE : BACKEND_REJECTED);
        if (i % 3 == 0)
            b->ops->leave(b, &all[i].q);
    }
    stop(b);
    free(all);
    free(clients);
}

static void scram_is_offered_when_everyone_can_use_it(void **state)
{
    (void)state;
    const unsigned scram = SASL_SCRAM_SHA_256 | SASL_SCRAM_SHA_256_PLUS;
    char error[BACKEND_ERROR_MAX], text[BACKEND_ERROR_MAX];
    write_users("user:" PENCIL "\nbob:" DES "\n");
    struct backend *b = started_with(&settings);
    assert_int_equal(b->ops->mechanisms(b), SASL_PLAIN | SASL_LOGIN);
    assert_true(b->ops->describe(b, text));
    assert_non_null(strstr(text, "1 of them has no verifier (the first is bob)"));
    write_users("user:" PENCIL "\nbob:" DES "\nbob:" PENCIL "\ncarol:!" DES "\n");
    assert_true(b->ops->refresh(b, error));
    assert_int_equal(b->ops->mechanisms(b) & scram, scram);
    assert_true(b->ops->describe(b, text));
    assert_non_null(strstr(text, "3 users"));
    assert_non_null(strstr(text, "all with a SCRAM verifier"));
    write_users("carol:!" DES "\n");
    assert_true(b->ops->refresh(b, error));
    assert_int_equal(b->ops->mechanisms(b), SASL_PLAIN | SASL_LOGIN);
    stop(b);
}

static void old_hashes_are_told_of_once_per_load(void **state)
{
    (void)state;
    char error[BACKEND_ERROR_MAX];
    times_said = 0;
    write_users("user:" PENCIL "\nbob:" DES "\n");
    struct backend *b = open_with(&settings);
    assert_int_equal(times_said, 1);
    assert_string_equal(last_event, "users");
    assert_non_null(strstr(last_sentence, "1 of 2 logins"));
    assert_true(b->ops->refresh(b, error));
    assert_int_equal(times_said, 1);
    write_users("user:" DES "\nbob:" DES "\n");
    assert_true(b->ops->refresh(b, error));
    assert_int_equal(times_said, 2);
    assert_non_null(strstr(last_sentence, "2 of 2 logins"));
    write_users("user:" PENCIL "\n");
    assert_true(b->ops->refresh(b, error));
    assert_int_equal(times_said, 2);
    backend_close(b);
    struct backend_settings silent = {.say = NULL};
    write_users("bob:" DES "\n");
    backend_close(open_with(&silent));
}

static void a_changed_file_is_another_generation(void **state)
{
    (void)state;
    char error[BACKEND_ERROR_MAX];
    write_users("user:" PENCIL "\n");
    struct backend *b = open_with(&settings), *same = open_with(&settings);
    uint64_t before = b->ops->generation(b);
    assert_true(same->ops->generation(same) == before); /* another edition, the same file */
    assert_true(b->ops->refresh(b, error));
    assert_true(b->ops->generation(b) == before);
    write_users("nonsense\n");
    assert_false(b->ops->refresh(b, error));
    assert_true(b->ops->generation(b) == before); /* the old one is still in force */
    write_users("user:" PENCIL "\n# more\n");
    assert_true(b->ops->refresh(b, error));
    assert_false(b->ops->generation(b) == before);
    backend_close(b);
    backend_close(same);
}

static void it_knows_who_stands_in_the_file(void **state)
{
    (void)state;
    write_users("user:" PENCIL "\nbob:" DES "\ncert:!\nempty:\n");
    struct backend *b = open_with(&settings);
    assert_true(b->ops->knows(b, "user") && b->ops->knows(b, "bob"));
    assert_true(b->ops->knows(b, "cert") && b->ops->knows(b, "empty"));
    assert_false(b->ops->knows(b, "nobody") || b->ops->knows(b, ""));
    backend_close(b);
}

static enum backend_verdict verify(struct backend *b, const char *login, const char *password)
{
    struct sasl_credential c = {.mechanism = SASL_PLAIN};
    c.login_len = (size_t)snprintf(c.login, sizeof c.login, "%s", login);
    c.secret_len = (size_t)snprintf(c.secret, sizeof c.secret, "%s", password);
    return b->ops->verify(b, &c);
}

static void a_verifier_is_enough_for_plain(void **state)
{
    (void)state;
    write_users("user:" PENCIL "\nlocked:!" PENCIL "\nboth:" DES "\nboth:" PENCIL
                "\nhalf:!\nhalf:" PENCIL "\n");
    struct backend *b = open_with(&settings);
    assert_int_equal(verify(b, "user", "pencil"), BACKEND_ACCEPTED);
    assert_int_equal(verify(b, "user", "Pencil"), BACKEND_REJECTED);
    assert_int_equal(verify(b, "user", PENCIL), BACKEND_REJECTED);
    assert_int_equal(verify(b, "locked", "pencil"), BACKEND_REJECTED);
    assert_int_equal(verify(b, "half", "pencil"), BACKEND_REJECTED);
    assert_int_equal(verify(b, "nobody", "pencil"), BACKEND_REJECTED);
    assert_int_equal(verify(b, "both", "pw"), BACKEND_ACCEPTED); /* the hash is asked */
    assert_int_equal(verify(b, "both", "pencil"), BACKEND_REJECTED);
    backend_close(b);
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

static void unknown_and_locked_logins_take_as_long_with_verifiers_too(void **state)
{
    (void)state;
    enum { ROUNDS = 41, KINDS = 3 };
    static const char *const logins[KINDS] = {"known", "unknown", "locked"};
    double us[KINDS][ROUNDS];
    write_users("known:" SCRAM_SCHEME "15000," SALT "," STORED "," SERVER "\nlocked:!" PENCIL "\n");
    struct backend *b = open_with(&settings);
    for (int i = 0; i < ROUNDS; i++)
        for (int k = 0; k < KINDS; k++)
            us[k][i] = thread_us(b, logins[k]);
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

static void a_secret_that_cannot_be_kept_is_told_of(void **state)
{
    (void)state;
    struct backend_settings with = settings;
    with.state_dir = "/nonexistent";
    times_said = 0;
    write_users("user:" PENCIL "\n");
    struct backend *b = started_with(&with);
    assert_int_equal(times_said, 1);
    assert_string_equal(last_event, "scram");
    assert_non_null(strstr(last_sentence, "/nonexistent/scram.secret"));
    stop(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_vector_of_rfc_7677),
        cmocka_unit_test(what_is_no_verifier_is_refused),
        cmocka_unit_test(a_salt_has_64_octets_at_most),
        cmocka_unit_test(every_prefix_is_refused),
        cmocka_unit_test(what_is_made_up_is_stable_and_tells_nothing),
        cmocka_unit_test(the_right_password_alone_gets_in),
        cmocka_unit_test(an_empty_first_message_is_asked_for_once),
        cmocka_unit_test(logins_are_unescaped_and_prepared),
        cmocka_unit_test(the_binding_must_be_the_same),
        cmocka_unit_test(who_could_bind_and_was_told_we_cannot_is_refused),
        cmocka_unit_test(nobody_acts_for_somebody_else),
        cmocka_unit_test(first_messages_out_of_shape_are_rejected),
        cmocka_unit_test(lengths_are_bounded),
        cmocka_unit_test(final_messages_that_were_changed_are_rejected),
        cmocka_unit_test(what_was_said_once_is_no_use_again),
        cmocka_unit_test(another_clients_code_gets_in),
        cmocka_unit_test(the_secret_outlives_the_process),
        cmocka_unit_test(the_backend_lets_in_who_proves_it),
        cmocka_unit_test(the_backend_knows_its_channel),
        cmocka_unit_test(the_realm_rule_holds_inside_an_exchange),
        cmocka_unit_test(a_login_that_is_not_there_looks_like_one_that_is),
        cmocka_unit_test(leaving_is_possible_at_any_time),
        cmocka_unit_test(many_at_once_do_not_mix),
        cmocka_unit_test(scram_is_offered_when_everyone_can_use_it),
        cmocka_unit_test(old_hashes_are_told_of_once_per_load),
        cmocka_unit_test(a_changed_file_is_another_generation),
        cmocka_unit_test(it_knows_who_stands_in_the_file),
        cmocka_unit_test(a_verifier_is_enough_for_plain),
        cmocka_unit_test(unknown_and_locked_logins_take_as_long_with_verifiers_too),
        cmocka_unit_test(a_secret_that_cannot_be_kept_is_told_of),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
