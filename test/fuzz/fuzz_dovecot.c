#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "auth/dovecot.h"

static void require(int holds)
{
    if (!holds)
        abort();
}

struct heard {
    size_t lines;
    uint64_t sum; /* over all that was understood */
    enum dovecot_status end;
};

static uint64_t add(uint64_t sum, const void *octets, size_t len)
{
    for (size_t i = 0; i < len; i++)
        sum = (sum ^ ((const uint8_t *)octets)[i]) * 1099511628211u;
    return sum;
}

static void check(const struct dovecot_line *line)
{
    const unsigned never = (unsigned)SASL_BOUND | SASL_EXTERNAL;

    require(line->message_len <= sizeof line->message);
    require((line->mechanisms & never) == 0 && (line->mechanisms & ~SASL_ALL) == 0);
    require(!(line->mechanisms & SASL_LOGIN) == !(line->mechanisms & SASL_PLAIN));
    require(memchr(line->user, '\0', sizeof line->user) != NULL);
    require(line->user[0] == '\0' || sasl_login_fits(line->user, strlen(line->user)));
    require(line->type == DOVECOT_MECH || line->mechanisms == 0);
    require(line->type == DOVECOT_OK || (!line->no_login && line->user[0] == '\0'));
    require(line->type == DOVECOT_FAIL || !line->temporary);
    require(line->type == DOVECOT_CONT || line->message_len == 0);
}

static struct heard hear(const uint8_t *data, size_t size, size_t piece)
{
    static struct dovecot_reader reader;
    struct heard h = {.end = DOVECOT_MORE};
    struct dovecot_line line;

    memset(&reader, 0, sizeof reader);
    while (size > 0 && h.end == DOVECOT_MORE) {
        size_t len = piece < size ? piece : size;
        const uint8_t *at = data;
        data += len;
        size -= len;
        while ((h.end = dovecot_read(&reader, &at, &len)) == DOVECOT_LINE) {
            require(memchr(reader.line, '\n', reader.len) == NULL);
            if (!dovecot_parse(&line, reader.line, reader.len)) {
                h.end = DOVECOT_BAD;
                break;
            }
            check(&line);
            h.lines++;
            h.sum = add(h.sum, &line, sizeof line);
        }
    }
    return h;
}

/* A question is one line, whatever stands in it. */
static void ask(const uint8_t *data, size_t size)
{
    static struct sasl_credential c;
    static struct auth_client client;
    static char out[DOVECOT_LINE_MAX];
    size_t len;

    memset(&c, 0, sizeof c);
    memset(&client, 0, sizeof client);
    if (size < sizeof client.address + 2)
        return;
    c.mechanism = (enum sasl_mechanism)(1u << data[0] % 15);
    if (c.mechanism == SASL_EXTERNAL)
        return;
    c.login_len = data[1] < size - 2 ? data[1] : size - 2;
    memcpy(c.login, data + 2, c.login_len);
    c.secret_len = size < sizeof c.secret ? size : sizeof c.secret - 1;
    memcpy(c.secret, data, c.secret_len);
    memcpy(client.address, data, sizeof client.address);
    client.port = data[1];
    strncpy(client.session, (const char *)data + 1,
            size - 1 < sizeof client.session ? size - 1 : sizeof client.session - 1);
    if (!dovecot_ask(out, &len, data[0] % 2 ? sizeof out : size, 1, &c, &client)) {
        require(len == 0);
        return;
    }
    require(len > 0 && len <= sizeof out && memchr(out, '\n', len) == out + len - 1);
    require(memchr(out, '\0', len) == NULL && memchr(out, '\r', len) == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct heard whole = hear(data, size, size);
    const struct heard trickle = hear(data, size, 1);
    const struct heard pieces = hear(data, size, size / 2 + 1);

    require(whole.lines == trickle.lines && whole.sum == trickle.sum && whole.end == trickle.end);
    require(whole.lines == pieces.lines && whole.sum == pieces.sum && whole.end == pieces.end);
    ask(data, size);
    return 0;
}
