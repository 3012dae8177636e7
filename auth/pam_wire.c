#include "auth/pam_wire.h"

#include <openssl/mem.h>
#include <string.h>

struct part {
    char *at;
    size_t max;
    size_t min;
};

enum { PARTS = 4 };

_Static_assert(sizeof(uint32_t) + PARTS * sizeof(uint16_t) + PAM_WIRE_SERVICE_MAX +
                       PAM_WIRE_HOST_MAX + SASL_LOGIN_MAX + SASL_PASSWORD_MAX <=
                   PAM_WIRE_MAX,
               "the longest question is one message");

static void put_string(uint8_t *out, size_t *len, const char *text)
{
    const uint16_t count = (uint16_t)strlen(text);

    memcpy(out + *len, &count, sizeof count);
    memcpy(out + *len + sizeof count, text, count);
    *len += sizeof count + count;
}

void pam_wire_ask(uint8_t out[PAM_WIRE_MAX], size_t *len, const struct pam_wire_question *q)
{
    memcpy(out, &q->id, sizeof q->id);
    *len = sizeof q->id;
    put_string(out, len, q->service);
    put_string(out, len, q->host);
    put_string(out, len, q->login);
    put_string(out, len, q->password);
}

static bool take_string(const struct part *to, const uint8_t **in, size_t *len)
{
    uint16_t count;

    if (*len < sizeof count)
        return false;
    memcpy(&count, *in, sizeof count);
    *in += sizeof count;
    *len -= sizeof count;
    if (count < to->min || count > to->max || count > *len || memchr(*in, '\0', count) != NULL)
        return false;
    memcpy(to->at, *in, count);
    to->at[count] = '\0';
    *in += count;
    *len -= count;
    return true;
}

bool pam_wire_asked(struct pam_wire_question *out, const uint8_t *in, size_t len)
{
    const struct part parts[PARTS] = {
        {out->service, PAM_WIRE_SERVICE_MAX, 1},
        {out->host, PAM_WIRE_HOST_MAX, 0},
        {out->login, SASL_LOGIN_MAX, 1},
        {out->password, SASL_PASSWORD_MAX, 0},
    };

    if (len < sizeof out->id)
        return false;
    memcpy(&out->id, in, sizeof out->id);
    in += sizeof out->id;
    len -= sizeof out->id;
    for (size_t i = 0; i < PARTS; i++) {
        if (!take_string(&parts[i], &in, &len)) {
            OPENSSL_cleanse(out, sizeof *out);
            return false;
        }
    }
    return len == 0;
}

void pam_wire_answer(uint8_t out[PAM_WIRE_MAX], size_t *len, const struct pam_wire_answer *a)
{
    memcpy(out, &a->id, sizeof a->id);
    out[sizeof a->id] = (uint8_t)a->word;
    *len = sizeof a->id + 1;
}

bool pam_wire_answered(struct pam_wire_answer *out, const uint8_t *in, size_t len)
{
    if (len != sizeof out->id + 1 || in[sizeof out->id] > PAM_WIRE_UNAVAILABLE)
        return false;
    memcpy(&out->id, in, sizeof out->id);
    out->word = (enum pam_wire_word)in[sizeof out->id];
    return (out->id == 0) == (out->word == PAM_WIRE_HELLO);
}
