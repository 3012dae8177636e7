#include "auth/sasl.h"

#include <openssl/base64.h>
#include <openssl/mem.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "auth/sasl_token.h"
#include "auth/utf8.h"

enum { SASL_DECODED_MAX = SASL_SECRET_MAX };

struct sasl_decoded {
    size_t len;
    uint8_t octets[SASL_DECODED_MAX];
};

/* Strongest first. */
static const struct {
    enum sasl_mechanism mechanism;
    const char *name;
} sasl_names[] = {
    {SASL_EXTERNAL, "EXTERNAL"},
    {SASL_SCRAM_SHA_256_PLUS, "SCRAM-SHA-256-PLUS"},
    {SASL_SCRAM_SHA_1_PLUS, "SCRAM-SHA-1-PLUS"},
    {SASL_SCRAM_SHA_256, "SCRAM-SHA-256"},
    {SASL_SCRAM_SHA_1, "SCRAM-SHA-1"},
    {SASL_GSSAPI, "GSSAPI"},
    {SASL_GSS_SPNEGO, "GSS-SPNEGO"},
    {SASL_OAUTHBEARER, "OAUTHBEARER"},
    {SASL_XOAUTH2, "XOAUTH2"},
    {SASL_OTP, "OTP"},
    {SASL_DIGEST_MD5, "DIGEST-MD5"},
    {SASL_CRAM_MD5, "CRAM-MD5"},
    {SASL_NTLM, "NTLM"},
    {SASL_PLAIN, "PLAIN"},
    {SASL_LOGIN, "LOGIN"},
};

enum { SASL_NAMES = sizeof sasl_names / sizeof sasl_names[0] };

enum sasl_mechanism sasl_by_name(const char *name, size_t len)
{
    for (size_t i = 0; i < SASL_NAMES; i++) {
        if (len == strlen(sasl_names[i].name) && strncasecmp(name, sasl_names[i].name, len) == 0)
            return sasl_names[i].mechanism;
    }
    return (enum sasl_mechanism)0;
}

const char *sasl_name(enum sasl_mechanism mechanism)
{
    for (size_t i = 0; i < SASL_NAMES; i++) {
        if (mechanism == sasl_names[i].mechanism)
            return sasl_names[i].name;
    }
    return "";
}

enum sasl_kind sasl_kind(enum sasl_mechanism mechanism)
{
    switch ((unsigned)mechanism) {
    case SASL_PLAIN:
    case SASL_LOGIN:
        return SASL_KIND_PASSWORD;
    case SASL_OAUTHBEARER:
    case SASL_XOAUTH2:
        return SASL_KIND_TOKEN;
    case SASL_EXTERNAL:
        return SASL_KIND_EXTERNAL;
    default:
        return SASL_KIND_EXCHANGE;
    }
}

void sasl_list(char *out, size_t cap, unsigned mechanisms)
{
    size_t used = 0;

    if (cap > 0)
        out[0] = '\0';
    for (size_t i = 0; i < SASL_NAMES; i++) {
        const size_t len = strlen(sasl_names[i].name);
        const size_t blank = used > 0 ? 1 : 0;
        if (!(mechanisms & (unsigned)sasl_names[i].mechanism) || blank + len >= cap - used)
            continue;
        memcpy(out + used, " ", blank);
        memcpy(out + used + blank, sasl_names[i].name, len + 1);
        used += blank + len;
    }
}

/* The library lets the unused bits of the last character be anything; then one credential would
 * have several spellings. */
static bool sasl_canonical(const struct sasl_decoded *d, const char *text, size_t len)
{
    const size_t tail = d->len % 3;
    uint8_t again[5];
    bool same;

    if (tail == 0)
        return true;
    EVP_EncodeBlock(again, d->octets + d->len - tail, tail);
    same = memcmp(again, text + len - 4, 4) == 0;
    OPENSSL_cleanse(again, sizeof again);
    return same;
}

static bool sasl_decode(struct sasl_decoded *out, const char *text, size_t len)
{
    out->len = 0;
    return EVP_DecodeBase64(out->octets, &out->len, sizeof out->octets, (const uint8_t *)text,
                            len) == 1 &&
           sasl_canonical(out, text, len);
}

bool sasl_login_fits(const void *text, size_t len)
{
    const uint8_t *login = text;

    if (len == 0 || len > SASL_LOGIN_MAX)
        return false;
    for (size_t i = 0; i < len; i++) {
        if (login[i] < 0x20 || login[i] == 0x7f)
            return false;
    }
    return utf8_ok(login, len);
}

bool sasl_password_fits(const void *text, size_t len)
{
    const uint8_t *password = text;

    if (len == 0 || len > SASL_PASSWORD_MAX)
        return false;
    for (size_t i = 0; i < len; i++) {
        if (password[i] == '\0' || password[i] == '\r' || password[i] == '\n')
            return false;
    }
    return utf8_ok(password, len);
}

static bool sasl_set_login(struct sasl *s, const void *login, size_t len)
{
    if (!sasl_login_fits(login, len))
        return false;
    memcpy(s->credential.login, login, len);
    s->credential.login[len] = '\0';
    s->credential.login_len = len;
    return true;
}

static void sasl_set_secret(struct sasl *s, const uint8_t *secret, size_t len)
{
    OPENSSL_cleanse(s->credential.secret, sizeof s->credential.secret);
    if (len > 0)
        memcpy(s->credential.secret, secret, len);
    s->credential.secret_len = len;
}

static bool sasl_set_password(struct sasl *s, const uint8_t *password, size_t len)
{
    if (!sasl_password_fits(password, len))
        return false;
    sasl_set_secret(s, password, len);
    return true;
}

static enum sasl_status sasl_ask(struct sasl *s, const void *challenge, size_t len)
{
    if (s->step == SASL_STEPS_MAX)
        return SASL_REFUSED;
    EVP_EncodeBlock((uint8_t *)s->challenge, challenge, len);
    s->step++;
    return SASL_CHALLENGE;
}

static enum sasl_status sasl_ask_text(struct sasl *s, const char *challenge)
{
    return sasl_ask(s, challenge, strlen(challenge));
}

static enum sasl_status sasl_whole(struct sasl *s)
{
    s->credential.mechanism = s->mechanism;
    return SASL_CREDENTIAL;
}

/* RFC 4616 2: [authzid] NUL authcid NUL passwd. */
static enum sasl_status sasl_plain(struct sasl *s, const struct sasl_decoded *d)
{
    const uint8_t *const end = d->octets + d->len;
    const uint8_t *const first = memchr(d->octets, '\0', d->len);
    const uint8_t *const login = first != NULL ? first + 1 : NULL;
    const uint8_t *const second = login != NULL ? memchr(login, '\0', (size_t)(end - login)) : NULL;
    size_t authzid_len;
    size_t login_len;

    if (second == NULL)
        return SASL_REFUSED;
    authzid_len = (size_t)(first - d->octets);
    login_len = (size_t)(second - login);
    if (authzid_len > 0 && (authzid_len != login_len || memcmp(d->octets, login, login_len) != 0))
        return SASL_REFUSED;
    /* a third NUL would stand in the password, which must hold none */
    if (!sasl_set_login(s, login, login_len) ||
        !sasl_set_password(s, second + 1, (size_t)(end - second - 1)))
        return SASL_REFUSED;
    return sasl_whole(s);
}

/* draft-murchison-sasl-login: the name, then the password. */
static enum sasl_status sasl_login(struct sasl *s, const struct sasl_decoded *d)
{
    if (s->step == 1)
        return sasl_set_login(s, d->octets, d->len) ? sasl_ask_text(s, "Password:") : SASL_REFUSED;
    if (!sasl_set_password(s, d->octets, d->len))
        return SASL_REFUSED;
    return sasl_whole(s);
}

static enum sasl_status sasl_bearer(struct sasl *s, const struct sasl_decoded *d)
{
    struct sasl_token t;
    const bool ok = s->mechanism == SASL_XOAUTH2 ? sasl_token_xoauth2(&t, d->octets, d->len)
                                                 : sasl_token_oauthbearer(&t, d->octets, d->len);

    if (!ok || (t.login_len > 0 && !sasl_set_login(s, t.login, t.login_len)))
        return SASL_REFUSED;
    sasl_set_secret(s, t.token, t.token_len);
    return sasl_whole(s);
}

/* RFC 4422 A: whom the certificate stands for, and nobody else. */
static enum sasl_status sasl_external(struct sasl *s, const struct sasl_decoded *d)
{
    const size_t len = strlen(s->external);

    if (d->len > 0 && (d->len != len || memcmp(d->octets, s->external, len) != 0))
        return SASL_REFUSED;
    return sasl_set_login(s, s->external, len) ? sasl_whole(s) : SASL_REFUSED;
}

static enum sasl_status sasl_message(struct sasl *s, const struct sasl_decoded *d)
{
    sasl_set_secret(s, d->octets, d->len);
    return sasl_whole(s);
}

static enum sasl_status sasl_take(struct sasl *s, const struct sasl_decoded *d)
{
    switch (sasl_kind(s->mechanism)) {
    case SASL_KIND_PASSWORD:
        return s->mechanism == SASL_PLAIN ? sasl_plain(s, d) : sasl_login(s, d);
    case SASL_KIND_TOKEN:
        return sasl_bearer(s, d);
    case SASL_KIND_EXTERNAL:
        return sasl_external(s, d);
    case SASL_KIND_EXCHANGE:
        return sasl_message(s, d);
    }
    return SASL_REFUSED;
}

static enum sasl_status sasl_answer(struct sasl *s, const char *text, size_t len)
{
    struct sasl_decoded d;
    enum sasl_status status;

    /* nothing was started; the vault said no; no such message could be taken */
    if (s->mechanism == 0 || s->refused || len > SASL_RESPONSE_MAX)
        return SASL_REFUSED;
    status = sasl_decode(&d, text, len) ? sasl_take(s, &d) : SASL_BASE64;
    OPENSSL_cleanse(&d, sizeof d);
    return status;
}

/* What ends without a credential leaves none behind, not even half of one. */
static enum sasl_status sasl_settle(struct sasl *s, enum sasl_status status)
{
    if (status != SASL_CHALLENGE && status != SASL_CREDENTIAL)
        sasl_wipe(s);
    return status;
}

enum sasl_status sasl_step(struct sasl *s, const char *response, size_t len)
{
    if (len == 1 && response[0] == '*' && !s->refused)
        return sasl_settle(s, SASL_CANCELLED);
    return sasl_settle(s, sasl_answer(s, response, len));
}

static bool sasl_server_first(enum sasl_mechanism mechanism)
{
    return mechanism == SASL_CRAM_MD5 || mechanism == SASL_DIGEST_MD5;
}

static enum sasl_status sasl_begin(struct sasl *s, const char *initial, size_t len)
{
    if (sasl_server_first(s->mechanism))
        return initial == NULL ? sasl_whole(s) : SASL_UNASKED;
    if (initial == NULL)
        return sasl_ask_text(s, s->mechanism == SASL_LOGIN ? "Username:" : "");
    s->step = 1;
    /* RFC 4954 4: "=" stands for an initial response of no octets */
    if (len == 1 && initial[0] == '=')
        len = 0;
    return sasl_answer(s, initial, len);
}

enum sasl_status sasl_start(struct sasl *s, enum sasl_mechanism mechanism, const char *external,
                            const char *initial, size_t len)
{
    sasl_wipe(s);
    s->mechanism = mechanism;
    if (strlen(external) <= SASL_LOGIN_MAX)
        memcpy(s->external, external, strlen(external));
    return sasl_settle(s, sasl_begin(s, initial, len));
}

enum sasl_status sasl_challenged(struct sasl *s, const uint8_t *message, size_t len)
{
    if (s->mechanism == 0 || sasl_kind(s->mechanism) != SASL_KIND_EXCHANGE ||
        len > SASL_CHALLENGE_MAX)
        return sasl_settle(s, SASL_REFUSED);
    s->asked_before = true;
    return sasl_settle(s, sasl_ask(s, message, len));
}

/* RFC 7628 3.2.2; XOAUTH2 has words of its own. */
enum sasl_status sasl_refused(struct sasl *s)
{
    if (s->mechanism == 0 || sasl_kind(s->mechanism) != SASL_KIND_TOKEN || s->refused)
        return sasl_settle(s, SASL_REFUSED);
    OPENSSL_cleanse(&s->credential, sizeof s->credential);
    s->refused = true;
    return sasl_ask_text(s, s->mechanism == SASL_XOAUTH2
                                ? "{\"status\":\"401\",\"schemes\":\"bearer\"}"
                                : "{\"status\":\"invalid_token\"}");
}

void sasl_wipe(struct sasl *s)
{
    OPENSSL_cleanse(s, sizeof *s);
    s->mechanism = (enum sasl_mechanism)0;
}
