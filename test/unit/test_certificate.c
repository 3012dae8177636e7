#include "tls/certificate.h"

#include <fcntl.h>
#include <openssl/ssl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "tls_make.h"

static char dir[] = "/tmp/vestibule-certificate-XXXXXX";
static struct made ecdsa, ecdsa384, rsa;

static int make_all(void **state)
{
    (void)state;
    if (mkdtemp(dir) == NULL)
        return -1;
    ecdsa = make_certificate(make_ec_key(NID_X9_62_prime256v1),
                             "DNS:mail.example.org,DNS:*.wild.example,IP:192.0.2.1,IP:2001:db8::1");
    ecdsa384 = make_certificate(make_ec_key(NID_secp384r1), "DNS:mail.example.org");
    rsa = make_certificate(make_rsa_key(2048), "DNS:mail.example.org");
    return 0;
}

static int free_all(void **state)
{
    (void)state;
    made_free(&ecdsa);
    made_free(&ecdsa384);
    made_free(&rsa);
    char command[300];
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    return system(command);
}

static struct certificate *load(const struct made *m, char path[256])
{
    char error[CERTIFICATE_ERROR_MAX] = "";
    make_path(path, dir, "chain.pem");
    write_pem(path, &m->x, 1, NULL, NULL);
    struct certificate *c = certificate_load(path, error);
    assert_string_equal(error, "");
    assert_non_null(c);
    return c;
}

static void refused(const char *path, const char *why)
{
    char error[CERTIFICATE_ERROR_MAX] = "";
    assert_null(certificate_load(path, error));
    assert_non_null(strstr(error, path));
    if (strstr(error, why) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", error, why);
}

static void key_refused(const char *path, const struct certificate *c, const char *why)
{
    char error[CERTIFICATE_ERROR_MAX] = "";
    assert_null(tls_key_load(path, c, error));
    assert_non_null(strstr(error, path));
    if (strstr(error, why) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", error, why);
}

static void put_text(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    fputs(text, f);
    fclose(f);
}

static void what_a_certificate_says_of_itself(void **state)
{
    (void)state;
    char path[256], names[256], small[30];
    struct certificate *c = load(&ecdsa, path);

    assert_int_equal(certificate_kind(c), CERTIFICATE_ECDSA);
    assert_int_equal(certificate_chain_len(c), 1);
    assert_in_range(certificate_not_before(c), time(NULL) - MAKE_DAY - 60, time(NULL) - MAKE_DAY);
    assert_in_range(certificate_not_after(c), time(NULL) + 90 * MAKE_DAY - 60,
                    time(NULL) + 90 * MAKE_DAY);
    certificate_names(c, names, sizeof names);
    assert_string_equal(names, "mail.example.org, *.wild.example, 192.0.2.1, 2001:db8::1");
    certificate_names(c, small, sizeof small);
    assert_string_equal(small, "mail.example.org");
    certificate_names(c, small, 1);
    assert_string_equal(small, "");
    certificate_free(c);
    c = load(&rsa, path);
    assert_int_equal(certificate_kind(c), CERTIFICATE_RSA);
    certificate_free(c);
}

static void names_match_by_san_alone(void **state)
{
    (void)state;
    char path[256];
    struct certificate *c = load(&ecdsa, path);
    assert_true(certificate_matches(c, "mail.example.org"));
    assert_true(certificate_matches(c, "MAIL.Example.ORG"));
    assert_true(certificate_matches(c, "mail.example.org."));
    assert_true(certificate_matches(c, "a.wild.example"));
    assert_true(certificate_matches(c, "192.0.2.1"));
    assert_true(certificate_matches(c, "2001:db8::1"));
    assert_false(certificate_matches(c, "a.b.wild.example"));
    assert_false(certificate_matches(c, "wild.example"));
    assert_false(certificate_matches(c, "example.org"));
    assert_false(certificate_matches(c, ".example.org"));
    assert_false(certificate_matches(c, ".wild.example"));
    assert_false(certificate_matches(c, "subject.example"));
    assert_false(certificate_matches(c, "192.0.2.2"));
    assert_false(certificate_matches(c, ""));
    certificate_free(c);
}

static void a_chain_keeps_its_order_and_survives_der(void **state)
{
    (void)state;
    char path[256], error[CERTIFICATE_ERROR_MAX] = "";
    X509 *chain[] = {ecdsa.x, rsa.x, ecdsa384.x};
    const uint8_t *der[3];
    size_t len[3];

    make_path(path, dir, "three.pem");
    write_pem(path, chain, 3, ecdsa.key, NULL);
    struct certificate *c = certificate_load(path, error);
    assert_non_null(c);
    assert_int_equal(certificate_chain_len(c), 3);
    for (size_t i = 0; i < 3; i++)
        der[i] = certificate_der(c, i, &len[i]);
    struct certificate *copy = certificate_from_der(der, len, 3);
    assert_non_null(copy);
    for (size_t i = 0; i < 3; i++) {
        uint8_t *expected = NULL;
        int expected_len = i2d_X509(chain[i], &expected);
        size_t copy_len;
        const uint8_t *got = certificate_der(copy, i, &copy_len);
        assert_int_equal(copy_len, expected_len);
        assert_memory_equal(got, expected, copy_len);
        OPENSSL_free(expected);
    }
    assert_null(certificate_der(copy, 3, &len[0]));
    certificate_free(copy);
    /* The key may stand in the same file. */
    struct tls_key *k = tls_key_load(path, c, error);
    assert_non_null(k);
    tls_key_free(k);
    certificate_free(c);
}

static void der_that_is_no_certificate_is_refused_at_every_cut(void **state)
{
    (void)state;
    char path[256];
    struct certificate *c = load(&ecdsa, path);
    size_t len;
    const uint8_t *der = certificate_der(c, 0, &len);
    for (size_t cut = 0; cut < len; cut++)
        assert_null(certificate_from_der(&der, &cut, 1));
    assert_null(certificate_from_der(&der, &len, 0));
    certificate_free(c);
}

static void files_that_hold_no_usable_certificate(void **state)
{
    (void)state;
    char path[256];
    X509 *many[CERTIFICATE_CHAIN_MAX + 1];

    make_path(path, dir, "bad.pem");
    unlink(path);
    refused(path, "No such file");
    refused(dir, "cannot be read");
    put_text(path, "");
    refused(path, "no certificate in PEM");
    put_text(path, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    refused(path, "does not parse");
    put_text(path, "-----BEGIN CERTIFICATE-----\n?!\n-----END CERTIFICATE-----\n");
    refused(path, "damaged");
    write_pem(path, NULL, 0, ecdsa.key, NULL);
    refused(path, "no certificate in PEM");
    for (size_t i = 0; i <= CERTIFICATE_CHAIN_MAX; i++)
        many[i] = ecdsa.x;
    write_pem(path, many, CERTIFICATE_CHAIN_MAX + 1, NULL, NULL);
    refused(path, "more than 10");
    assert_int_equal(truncate(path, 300), 0);
    refused(path, "damaged");
    assert_int_equal(truncate(path, 300 * 1024), 0);
    refused(path, "too large");
}

static void keys_of_kinds_that_we_do_not_use(void **state)
{
    (void)state;
    char path[256];
    struct made weak = make_certificate(make_rsa_key(1024), "DNS:a.example");
    struct made odd = make_certificate(make_ec_key(NID_secp521r1), "DNS:a.example");
    struct made usage = make_certificate_for(make_ec_key(NID_X9_62_prime256v1), "DNS:a.example", 0,
                                             MAKE_DAY, "critical,keyAgreement");
    make_path(path, dir, "odd.pem");
    write_pem(path, &weak.x, 1, NULL, NULL);
    refused(path, "2048 to 4096");
    write_pem(path, &odd.x, 1, NULL, NULL);
    refused(path, "P-256");
    write_pem(path, &usage.x, 1, NULL, NULL);
    refused(path, "key usage");
    made_free(&weak);
    made_free(&odd);
    made_free(&usage);
}

static void an_expired_certificate_loads_and_says_when(void **state)
{
    (void)state;
    char path[256];
    struct made old = make_certificate_for(make_ec_key(NID_X9_62_prime256v1), "DNS:a.example",
                                           -20 * MAKE_DAY, -10 * MAKE_DAY, NULL);
    struct certificate *c = load(&old, path);
    assert_true(certificate_not_after(c) < time(NULL) - 9 * MAKE_DAY);
    assert_true(certificate_not_after(c) > time(NULL) - 11 * MAKE_DAY);
    certificate_free(c);
    made_free(&old);
}

static void keys_that_cannot_be_used(void **state)
{
    (void)state;
    char path[256], key[256];
    struct certificate *c = load(&ecdsa, path);

    make_path(key, dir, "key.pem");
    unlink(key);
    key_refused(key, c, "No such file");
    write_pem(key, NULL, 0, ecdsa.key, "secret");
    key_refused(key, c, "encrypted");
    put_text(key, "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n"
                  "DEK-Info: AES-128-CBC,00112233445566778899AABBCCDDEEFF\n\n"
                  "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n-----END EC PRIVATE KEY-----\n");
    key_refused(key, c, "encrypted");
    put_text(key, "not a key\n");
    key_refused(key, c, "no private key");
    write_pem(key, NULL, 0, rsa.key, NULL);
    key_refused(key, c, path);
    write_pem(key, NULL, 0, ecdsa384.key, NULL);
    key_refused(key, c, path);
    certificate_free(c);
}

static void a_key_that_others_may_read_is_told(void **state)
{
    (void)state;
    char key[256];
    make_path(key, dir, "mode.pem");
    write_pem(key, NULL, 0, ecdsa.key, NULL);
    chmod(key, 0640);
    assert_false(tls_key_exposed(key));
    chmod(key, 0644);
    assert_true(tls_key_exposed(key));
}

static bool verifies(EVP_PKEY *key, uint16_t algorithm, const uint8_t *in, size_t len,
                     const uint8_t *signature, size_t signature_len)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *pkey_ctx;
    EVP_DigestVerifyInit(ctx, &pkey_ctx, SSL_get_signature_algorithm_digest(algorithm), NULL, key);
    if (SSL_is_signature_algorithm_rsa_pss(algorithm)) {
        EVP_PKEY_CTX_set_rsa_padding(pkey_ctx, RSA_PKCS1_PSS_PADDING);
        EVP_PKEY_CTX_set_rsa_pss_saltlen(pkey_ctx, -1);
    }
    bool good = EVP_DigestVerify(ctx, signature, signature_len, in, len) == 1;
    EVP_MD_CTX_free(ctx);
    return good;
}

static void signatures_by(const struct made *m, const uint16_t *good, const uint16_t *bad,
                          bool slow)
{
    char path[256], key[256], error[CERTIFICATE_ERROR_MAX];
    uint8_t in[TLS_SIGN_INPUT_MAX + 1] = "what a handshake signs", out[TLS_SIGNATURE_MAX];
    size_t len;
    struct certificate *c = load(m, path);

    make_path(key, dir, "sign.pem");
    write_pem(key, NULL, 0, m->key, NULL);
    struct tls_key *k = tls_key_load(key, c, error);
    assert_non_null(k);
    assert_int_equal(tls_key_slow(k), slow);
    for (; *good != 0; good++) {
        assert_true(tls_key_sign(k, *good, in, 200, out, &len));
        assert_true(verifies(m->key, *good, in, 200, out, len));
        assert_false(verifies(m->key, *good, in, 199, out, len));
    }
    for (; *bad != 0; bad++) {
        assert_false(tls_key_sign(k, *bad, in, 200, out, &len));
        assert_int_equal(len, 0);
    }
    assert_false(tls_key_sign(k, good[-1], in, sizeof in, out, &len));
    tls_key_free(k);
    certificate_free(c);
}

static void signing_fits_the_key_or_is_refused(void **state)
{
    (void)state;
    const uint16_t for_rsa[] = {SSL_SIGN_RSA_PSS_RSAE_SHA256,
                                SSL_SIGN_RSA_PSS_RSAE_SHA384,
                                SSL_SIGN_RSA_PSS_RSAE_SHA512,
                                SSL_SIGN_RSA_PKCS1_SHA256,
                                SSL_SIGN_RSA_PKCS1_SHA384,
                                SSL_SIGN_RSA_PKCS1_MD5_SHA1,
                                0};
    const uint16_t for_ecdsa[] = {SSL_SIGN_ECDSA_SECP256R1_SHA256, SSL_SIGN_ECDSA_SECP384R1_SHA384,
                                  0};
    const uint16_t no_rsa[] = {SSL_SIGN_ECDSA_SECP256R1_SHA256, SSL_SIGN_ED25519, 0x1234, 0};
    const uint16_t no_ecdsa[] = {SSL_SIGN_RSA_PSS_RSAE_SHA256, SSL_SIGN_RSA_PKCS1_SHA256,
                                 SSL_SIGN_ED25519, 0x1234, 0};
    signatures_by(&rsa, for_rsa, no_rsa, true);
    signatures_by(&ecdsa, for_ecdsa, no_ecdsa, false);
    signatures_by(&ecdsa384, for_ecdsa, no_ecdsa, false);
}

static void read_file(const char *path, char *out, size_t cap)
{
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    size_t n = fread(out, 1, cap - 1, f);
    out[n] = '\0';
    fclose(f);
}

static void self_signed_is_made_once_and_again_when_it_must(void **state)
{
    (void)state;
    char chain[256], key[256], error[CERTIFICATE_ERROR_MAX] = "", first[4096], second[4096];
    bool made;
    struct stat status;

    make_path(chain, dir, "self.pem");
    make_path(key, dir, "self.key");
    assert_true(certificate_self_signed(chain, key, "mail.example.net", &made, error));
    assert_true(made);
    assert_int_equal(stat(key, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0600);
    read_file(chain, first, sizeof first);

    assert_true(certificate_self_signed(chain, key, "mail.example.net", &made, error));
    assert_false(made);
    read_file(chain, second, sizeof second);
    assert_string_equal(first, second);

    struct certificate *c = certificate_load(chain, error);
    struct tls_key *k = tls_key_load(key, c, error);
    assert_non_null(k);
    assert_true(certificate_matches(c, "mail.example.net"));
    assert_int_equal(certificate_kind(c), CERTIFICATE_ECDSA);
    assert_true(certificate_not_after(c) > time(NULL) + 3600 * MAKE_DAY);
    assert_true(certificate_not_before(c) < time(NULL));
    tls_key_free(k);
    certificate_free(c);

    assert_true(certificate_self_signed(chain, key, "other.example.net", &made, error));
    assert_true(made);
    unlink(key);
    assert_true(certificate_self_signed(chain, key, "other.example.net", &made, error));
    assert_true(made);
    struct made old = make_certificate_for(make_ec_key(NID_X9_62_prime256v1),
                                           "DNS:other.example.net", -MAKE_DAY, MAKE_DAY, NULL);
    write_pem(chain, &old.x, 1, NULL, NULL);
    write_pem(key, NULL, 0, old.key, NULL);
    assert_true(certificate_self_signed(chain, key, "other.example.net", &made, error));
    assert_true(made);
    made_free(&old);
}

static void self_signed_for_an_address_and_for_a_long_name(void **state)
{
    (void)state;
    char chain[256], key[256], error[CERTIFICATE_ERROR_MAX] = "";
    const char *const hosts[] = {
        "192.0.2.7", "2001:db8::7", "localhost",
        "a-very-long-label-of-a-host-name.that-goes-beyond.the-64-octets.of-a-common-name.example"};
    make_path(chain, dir, "host.pem");
    make_path(key, dir, "host.key");
    for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++) {
        bool made = false;
        assert_true(certificate_self_signed(chain, key, hosts[i], &made, error));
        assert_true(made);
        struct certificate *c = certificate_load(chain, error);
        assert_true(certificate_matches(c, hosts[i]));
        certificate_free(c);
    }
}

static void self_signed_leaves_both_files_or_neither(void **state)
{
    (void)state;
    char chain[256], key[256], error[CERTIFICATE_ERROR_MAX] = "";
    bool made;

    make_path(chain, dir, "nowhere/self.pem");
    make_path(key, dir, "lonely.key");
    assert_false(certificate_self_signed(chain, key, "mail.example.net", &made, error));
    assert_false(made);
    assert_non_null(strstr(error, chain));
    assert_int_equal(access(key, F_OK), -1);
    make_path(chain, dir, "lonely.key.new");
    assert_int_equal(access(chain, F_OK), -1);

    /* A folder is in the chain's place: the rename fails after the key's. */
    make_path(chain, dir, "taken");
    mkdir(chain, 0700);
    assert_false(certificate_self_signed(chain, key, "mail.example.net", &made, error));
    assert_int_equal(access(key, F_OK), -1);

    make_path(chain, dir, "x.pem");
    assert_false(certificate_self_signed(chain, key, "not a name", &made, error));
    assert_non_null(strstr(error, "not a name"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_certificate_says_of_itself),
        cmocka_unit_test(names_match_by_san_alone),
        cmocka_unit_test(a_chain_keeps_its_order_and_survives_der),
        cmocka_unit_test(der_that_is_no_certificate_is_refused_at_every_cut),
        cmocka_unit_test(files_that_hold_no_usable_certificate),
        cmocka_unit_test(keys_of_kinds_that_we_do_not_use),
        cmocka_unit_test(an_expired_certificate_loads_and_says_when),
        cmocka_unit_test(keys_that_cannot_be_used),
        cmocka_unit_test(a_key_that_others_may_read_is_told),
        cmocka_unit_test(signing_fits_the_key_or_is_refused),
        cmocka_unit_test(self_signed_is_made_once_and_again_when_it_must),
        cmocka_unit_test(self_signed_for_an_address_and_for_a_long_name),
        cmocka_unit_test(self_signed_leaves_both_files_or_neither),
    };
    return cmocka_run_group_tests(tests, make_all, free_all);
}
