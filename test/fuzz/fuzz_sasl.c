#include <openssl/base64.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "auth/sasl.h"

/* First octet: its upper half is the mechanism's place in enum sasl_mechanism; bit 0 the client has
 * a certificate; bit 1 an initial response; bit 2 the responses are given as base64 of what stands
 * here, so that the mechanism behind it is reached; bit 3 the vault refuses what others would
 * accept. Then the responses, 0x0a between. The vault answers a message with the same message, cut
 * to what it may say. */
enum { USE_CERTIFICATE = 1, USE_INITIAL = 2, USE_ENCODED = 4, USE_REFUSAL = 8, INPUT_MAX = 20000 };

static const char certificate[] = "alice@example.org";

struct talk {
    struct sasl s;
    uint8_t flags;
    enum sasl_mechanism mechanism;
    const uint8_t *data;
    size_t size;
    unsigned challenges;
    unsigned credentials;
};

static void require(int holds)
{
    if (!holds)
        abort();
}

static int is_control(unsigned char c)
{
    return c < 0x20 || c == 0x7f;
}

static void check_wiped(const struct sasl *s)
{
    static const struct sasl zero;

    require(memcmp(s, &zero, sizeof zero) == 0);
}

static void check_login(const struct sasl_credential *c)
{
    require(c->login_len <= SASL_LOGIN_MAX && strlen(c->login) == c->login_len);
    for (size_t i = 0; i < c->login_len; i++)
        require(!is_control((unsigned char)c->login[i]));
}

static void check_text(const struct sasl_credential *c, size_t max)
{
    require(c->secret_len > 0 && c->secret_len <= max && strlen(c->secret) == c->secret_len);
    require(strpbrk(c->secret, "\r\n") == NULL);
}

/* The same credential, said in the plainest way, is the same credential. */
static void check_again(const struct sasl_credential *c, enum sasl_mechanism mechanism,
                        const uint8_t *message, size_t message_len)
{
    static struct sasl s;
    uint8_t *text = malloc(message_len / 3 * 4 + 8);
    size_t len = EVP_EncodeBlock(text, message, message_len);

    if (len <= SASL_RESPONSE_MAX) {
        require(sasl_start(&s, mechanism, "", (const char *)text, len) == SASL_CREDENTIAL);
        require(s.credential.login_len == c->login_len);
        require(s.credential.secret_len == c->secret_len);
        require(memcmp(s.credential.login, c->login, sizeof c->login) == 0);
        require(memcmp(s.credential.secret, c->secret, sizeof c->secret) == 0);
        sasl_wipe(&s);
    }
    free(text);
}

static void check_password(const struct sasl_credential *c)
{
    uint8_t message[1 + SASL_LOGIN_MAX + 1 + SASL_PASSWORD_MAX] = {0};

    require(c->login_len > 0);
    check_text(c, SASL_PASSWORD_MAX);
    memcpy(message + 1, c->login, c->login_len);
    memcpy(message + 1 + c->login_len + 1, c->secret, c->secret_len);
    check_again(c, SASL_PLAIN, message, 2 + c->login_len + c->secret_len);
}

static size_t put(uint8_t *to, size_t at, const void *octets, size_t len)
{
    memcpy(to + at, octets, len);
    return at + len;
}

static void check_token(const struct sasl_credential *c)
{
    uint8_t message[3 * SASL_LOGIN_MAX + SASL_SECRET_MAX + 64];
    size_t n = put(message, 0, "n,", 2);

    check_text(c, SASL_SECRET_MAX);
    require(strpbrk(c->secret, " ,\x01") == NULL);
    if (c->login_len > 0)
        n = put(message, n, "a=", 2);
    for (size_t i = 0; i < c->login_len; i++) {
        if (c->login[i] == ',' || c->login[i] == '=')
            n = put(message, n, c->login[i] == ',' ? "=2C" : "=3D", 3);
        else
            n = put(message, n, &c->login[i], 1);
    }
    n = put(message, n,
            ",\x01"
            "auth=Bearer ",
            14);
    n = put(message, n, c->secret, c->secret_len);
    n = put(message, n, "\x01\x01", 2);
    check_again(c, SASL_OAUTHBEARER, message, n);
}

static void check_credential(const struct talk *t)
{
    const struct sasl_credential *c = &t->s.credential;

    require(c->mechanism == t->mechanism && t->s.mechanism == t->mechanism);
    check_login(c);
    switch (sasl_kind(t->mechanism)) {
    case SASL_KIND_PASSWORD:
        check_password(c);
        break;
    case SASL_KIND_TOKEN:
        check_token(c);
        break;
    case SASL_KIND_EXTERNAL:
        require((t->flags & USE_CERTIFICATE) && strcmp(c->login, certificate) == 0);
        require(c->secret_len == 0 && c->secret[0] == '\0');
        break;
    case SASL_KIND_EXCHANGE:
        require(c->login_len == 0 && c->secret_len <= SASL_SECRET_MAX);
        require(c->secret[c->secret_len] == '\0');
        require(t->s.asked_before == (t->credentials > 1));
        break;
    }
}

/* What goes into the 334 is what the vault said. */
static enum sasl_status echo(struct talk *t)
{
    static uint8_t said[SASL_CHALLENGE_MAX];
    static uint8_t heard[SASL_CHALLENGE_MAX + 3];
    size_t len = t->s.credential.secret_len, got = 0;
    enum sasl_status status;

    if (len > sizeof said)
        len = sizeof said;
    memcpy(said, t->s.credential.secret, len);
    status = sasl_challenged(&t->s, said, len);
    if (status != SASL_CHALLENGE) {
        require(status == SASL_REFUSED);
        return status;
    }
    require(EVP_DecodeBase64(heard, &got, sizeof heard, (const uint8_t *)t->s.challenge,
                             strlen(t->s.challenge)) == 1);
    require(got == len && memcmp(heard, said, len) == 0);
    return status;
}

static enum sasl_status vault(struct talk *t)
{
    t->credentials++;
    check_credential(t);
    if (sasl_kind(t->mechanism) == SASL_KIND_EXCHANGE && !(t->flags & USE_REFUSAL))
        return echo(t);
    if (t->flags & USE_REFUSAL)
        return sasl_refused(&t->s);
    sasl_wipe(&t->s);
    return SASL_CREDENTIAL;
}

static enum sasl_status respond(struct talk *t, int start)
{
    const uint8_t *end = t->size > 0 ? memchr(t->data, '\n', t->size) : NULL;
    size_t len = end != NULL ? (size_t)(end - t->data) : t->size;
    char *text = malloc(len / 3 * 4 + 8);
    const char *external = t->flags & USE_CERTIFICATE ? certificate : "";
    enum sasl_status status;
    size_t text_len = len;

    if (t->flags & USE_ENCODED)
        text_len = EVP_EncodeBlock((uint8_t *)text, t->data, len);
    else if (len > 0)
        memcpy(text, t->data, len);
    if (start)
        status = sasl_start(&t->s, t->mechanism, external, text, text_len);
    else
        status = sasl_step(&t->s, text, text_len);
    free(text);
    t->data += len + (end != NULL);
    t->size -= len + (end != NULL);
    return status;
}

static void converse(struct talk *t)
{
    const char *external = t->flags & USE_CERTIFICATE ? certificate : "";
    enum sasl_status status;
    int refused = 0;

    if (t->flags & USE_INITIAL)
        status = respond(t, 1);
    else
        status = sasl_start(&t->s, t->mechanism, external, NULL, 0);
    while (status == SASL_CHALLENGE || status == SASL_CREDENTIAL) {
        if (status == SASL_CREDENTIAL) {
            status = vault(t);
            refused = status == SASL_CHALLENGE && sasl_kind(t->mechanism) == SASL_KIND_TOKEN;
            if (status != SASL_CHALLENGE)
                break;
        }
        require(memchr(t->s.challenge, '\0', sizeof t->s.challenge) != NULL);
        require(++t->challenges <= SASL_STEPS_MAX);
        status = respond(t, 0);
        require(!refused || status == SASL_REFUSED);
    }
    check_wiped(&t->s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct talk t;

    if (size == 0 || size > INPUT_MAX || data[0] >> 4 > 14)
        return 0;
    t = (struct talk){.flags = data[0] & 15,
                      .mechanism = (enum sasl_mechanism)(1u << (data[0] >> 4)),
                      .data = data + 1,
                      .size = size - 1};
    converse(&t);
    return 0;
}
