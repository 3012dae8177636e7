#include <openssl/base64.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "auth/sasl.h"

/* First octet: bit 0 LOGIN instead of PLAIN; bit 1 an initial response; bit 2 the responses are
 * given as base64 of what stands here, so that the mechanism behind it is reached. Then the
 * responses, 0x0a between. */
enum { USE_LOGIN = 1, USE_INITIAL = 2, USE_ENCODED = 4, EXCHANGE_MAX = 20000 };

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

static void check_credential(const struct sasl *s)
{
    const struct sasl_credential *c = &s->credential;

    require(c->mechanism == s->mechanism);
    require(c->login_len > 0 && c->login_len <= SASL_LOGIN_MAX);
    require(c->secret_len > 0 && c->secret_len <= SASL_PASSWORD_MAX);
    require(strlen(c->login) == c->login_len && strlen(c->secret) == c->secret_len);
    for (size_t i = 0; i < c->login_len; i++)
        require(!is_control((unsigned char)c->login[i]));
    require(strpbrk(c->secret, "\r\n") == NULL);
}

/* A credential says the same again when it is sent as PLAIN. */
static void check_again(const struct sasl_credential *c)
{
    uint8_t message[1 + SASL_LOGIN_MAX + 1 + SASL_PASSWORD_MAX] = {0};
    uint8_t text[sizeof message / 3 * 4 + 8];
    struct sasl s;
    size_t len;

    memcpy(message + 1, c->login, c->login_len);
    memcpy(message + 1 + c->login_len + 1, c->secret, c->secret_len);
    len = EVP_EncodeBlock(text, message, 2 + c->login_len + c->secret_len);
    require(sasl_start(&s, SASL_PLAIN, "", (const char *)text, len) == SASL_CREDENTIAL);
    require(s.credential.login_len == c->login_len && s.credential.secret_len == c->secret_len);
    require(memcmp(s.credential.login, c->login, sizeof c->login) == 0);
    require(memcmp(s.credential.secret, c->secret, sizeof c->secret) == 0);
    sasl_wipe(&s);
}

static enum sasl_status respond(struct sasl *s, int start, uint8_t flags, const uint8_t *data,
                                size_t len)
{
    char *text = malloc(len / 3 * 4 + 8);
    enum sasl_status status;

    if (flags & USE_ENCODED)
        len = EVP_EncodeBlock((uint8_t *)text, data, len);
    else if (len > 0)
        memcpy(text, data, len);
    if (start)
        status = sasl_start(s, flags & USE_LOGIN ? SASL_LOGIN : SASL_PLAIN, "", text, len);
    else
        status = sasl_step(s, text, len);
    free(text);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sasl s;
    enum sasl_status status = SASL_CHALLENGE;
    uint8_t flags;
    int steps = 0;

    if (size == 0 || size > EXCHANGE_MAX)
        return 0;
    flags = *data++;
    size--;
    if (!(flags & USE_INITIAL))
        status = sasl_start(&s, flags & USE_LOGIN ? SASL_LOGIN : SASL_PLAIN, "", NULL, 0);
    while (status == SASL_CHALLENGE) {
        const uint8_t *end = size > 0 ? memchr(data, '\n', size) : NULL;
        size_t len = end != NULL ? (size_t)(end - data) : size;
        status = respond(&s, (flags & USE_INITIAL) && steps == 0, flags, data, len);
        require(memchr(s.challenge, '\0', sizeof s.challenge) != NULL);
        require(++steps <= 2);
        data += len + (end != NULL);
        size -= len + (end != NULL);
    }
    if (status == SASL_CREDENTIAL) {
        check_credential(&s);
        check_again(&s.credential);
        sasl_wipe(&s);
    }
    check_wiped(&s);
    return 0;
}
