#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "auth/saslauthd.h"

static void require(int holds)
{
    if (!holds)
        abort();
}

static enum saslauthd_status hear(const uint8_t *data, size_t size, size_t piece)
{
    struct saslauthd_reader r = {.len = 0};
    enum saslauthd_status status = SASLAUTHD_MORE;

    while (size > 0 && status == SASLAUTHD_MORE) {
        const size_t len = piece < size ? piece : size;
        status = saslauthd_read(&r, data, len);
        require(r.len <= sizeof r.in);
        data += len;
        size -= len;
    }
    return status;
}

/* What comes behind an answer is seen only when it comes with it. */
static void check_answer(const uint8_t *data, size_t size)
{
    const enum saslauthd_status whole = hear(data, size, size);
    const enum saslauthd_status trickle = hear(data, size, 1);

    if (whole != SASLAUTHD_BAD)
        require(whole == trickle && whole == hear(data, size, size / 2 + 1));
    if (whole == SASLAUTHD_OK)
        require(size >= 4 && memcmp(data + 2, "OK", 2) == 0);
    if (whole == SASLAUTHD_NO || whole == SASLAUTHD_TROUBLE)
        require(size >= 4 && memcmp(data + 2, "NO", 2) == 0);
}

/* What is written is read back as four strings and nothing else. */
static void check_question(const uint8_t *data, size_t size)
{
    static struct sasl_credential c;
    uint8_t out[SASLAUTHD_ASK_MAX];
    size_t len, at = 0;

    if (size < 2)
        return;
    c.login_len = data[0] < size - 1 ? data[0] : size - 1;
    memcpy(c.login, data + 1, c.login_len);
    c.secret_len = size < 300 ? size : 300;
    memcpy(c.secret, data, c.secret_len);
    if (!saslauthd_ask(out, &len, &c)) {
        require(c.secret_len > SASLAUTHD_STRING_MAX);
        return;
    }
    require(len <= sizeof out);
    for (int i = 0; i < 4; i++) {
        require(at + 2 <= len);
        at += 2 + ((size_t)out[at] << 8 | out[at + 1]);
    }
    require(at == len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_answer(data, size);
    check_question(data, size);
    return 0;
}
