#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "auth/scram.h"
#include "auth/scram_server.h"
#include "test/unit/scram_client.h"

#define PENCIL                                                                                 \
    SCRAM_SCHEME "4096,W22ZaJ0SNY7soEsUEjb6gQ==,WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=," \
                 "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="

static const uint8_t binding[32] = "exactly thirty-two octets, these";
static unsigned found;

static bool find(void *owner, struct scram_verifier *v, char login[SASL_LOGIN_MAX + 1],
                 const char *name)
{
    (void)owner;
    found++;
    must(name[0] != '\0' && strlen(name) <= SASL_LOGIN_MAX && sasl_login_fits(name, strlen(name)));
    strcpy(login, name);
    must(scram_read(v, PENCIL));
    return true;
}

/* One verifier has one text. */
static void try_verifier(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    char again[SCRAM_TEXT_MAX + 1];
    struct scram_verifier v;

    memcpy(text, data, size);
    text[size] = '\0';
    must(scram_read(&v, text) == (scram_fault(text) == NULL));
    if (scram_read(&v, text)) {
        must(v.iterations >= SCRAM_ITERATIONS_MIN && v.iterations <= SCRAM_ITERATIONS_MAX);
        must(v.salt_len >= SCRAM_SALT_MIN && v.salt_len <= SCRAM_SALT_MAX);
        scram_write(again, &v);
        must(strcmp(again, text) == 0);
    }
    free(text);
}

/* Messages of a client that knows no password, each with two octets of length in front. */
static void try_messages(const struct scram_terms *terms, const uint8_t *data, size_t size)
{
    struct scram_server *s = scram_server_new(terms);
    enum scram_status status = SCRAM_CHALLENGE;
    unsigned challenges = 0;

    found = 0;
    while (status == SCRAM_CHALLENGE && size >= 2) {
        size_t len = (size_t)data[0] << 8 | data[1], answer_len;
        uint8_t *message;
        data += 2, size -= 2;
        len = len < size ? len : size;
        message = malloc(len > 0 ? len : 1);
        memcpy(message, data, len);
        status = scram_server_step(s, message, len);
        data += len, size -= len;
        must(status != SCRAM_ACCEPTED);
        if (status == SCRAM_CHALLENGE) {
            const uint8_t *answer = scram_server_message(s, &answer_len);
            must(answer_len <= SASL_CHALLENGE_MAX);
            /* the first with something in it is of this server; its proof nobody can know */
            must(answer_len == 0 ? len == 0 && challenges == 0 : memcmp(answer, "r=", 2) == 0);
            must(answer_len == 0 || (found == 1 && memchr(message, '\0', len) == NULL));
            must(answer_len == 0 || (terms->plus ? message[0] == 'p' : message[0] != 'p'));
            must(answer_len == 0 || !terms->offered || message[0] != 'y');
            must(scram_server_login(s)[0] != '\0' || answer_len == 0);
        }
        must(++challenges <= 3);
        free(message);
    }
    must(found <= 1);
    scram_server_free(s);
}

static size_t decoded(uint8_t *out, size_t cap, const char *text)
{
    size_t len = 0;
    return EVP_DecodeBase64(out, &len, cap, (const uint8_t *)text, strlen(text)) ? len : 0;
}

/* Is it the same but for bits of base64 that stand for nothing? */
static bool same_meaning(const char *a, const char *b)
{
    const char *at = strstr(a, ",r="), *bt = strstr(b, ",r=");
    const char *ap = strstr(a, ",p="), *bp = strstr(b, ",p=");
    uint8_t x[64], y[64];

    return at != NULL && bt != NULL && ap != NULL && bp != NULL && at - a == bt - b &&
           memcmp(a, b, (size_t)(ap - a)) == 0 && ap - a == bp - b &&
           decoded(x, sizeof x, ap + 3) == 32 && decoded(y, sizeof y, bp + 3) == 32 &&
           memcmp(x, y, 32) == 0;
}

/* The right last message with something cut out and something put in at one place. */
static void try_change(const struct scram_terms *terms, const uint8_t *data, size_t size)
{
    struct client c = {.login = "user", .password = "pencil"};
    char message[4096], right[4096], wrong[4096];
    struct scram_server *s = scram_server_new(terms);
    size_t len, from, cut, put;
    const uint8_t *answer;
    enum scram_status status;
    bool unchanged;

    if (terms->plus) {
        c.flag = "p=tls-exporter";
        c.binding = binding;
    }
    client_first(&c, message);
    must(scram_server_step(s, (uint8_t *)message, strlen(message)) == SCRAM_CHALLENGE);
    answer = scram_server_message(s, &len);
    memcpy(message, answer, len);
    message[len] = '\0';
    client_final(&c, right, message);
    from = data[0] % (strlen(right) + 1);
    cut = data[1] % (strlen(right) - from + 1);
    put = size - 2 < 1024 ? size - 2 : 1024;
    memcpy(wrong, right, from);
    memcpy(wrong + from, data + 2, put);
    strcpy(wrong + from + put, right + from + cut);
    len = from + put + strlen(right + from + cut);
    status = scram_server_step(s, (uint8_t *)wrong, len);
    unchanged = len == strlen(right) && memcmp(wrong, right, len) == 0;
    must(status == (unchanged || (strlen(wrong) == len && same_meaning(wrong, right))
                        ? SCRAM_CHALLENGE
                        : SCRAM_REJECTED));
    scram_server_free(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct scram_terms terms = {.find = find};

    if (size < 3)
        return 0;
    terms.plus = data[0] & 1;
    terms.offered = data[0] & 2;
    terms.binding = (data[0] & 4) ? binding : NULL;
    if (data[0] & 8) {
        try_verifier(data + 1, size - 1);
    } else if (data[0] & 16) {
        terms.binding = binding;
        try_change(&terms, data + 1, size - 1);
    } else {
        try_messages(&terms, data + 1, size - 1);
    }
    return 0;
}
