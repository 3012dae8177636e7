#include <stdlib.h>
#include <string.h>

#include "proxy/command.h"

#define EVERYTHING (~0U)

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t len);

static void expect(bool truth)
{
    if (!truth)
        abort();
}

/* One line, ended by the only CR LF in it, no control, no octet above 127 that was not asked for.
 */
static void expect_line(const struct buf *b, const char *prefix, bool utf8)
{
    const uint8_t *line = buf_data(b);
    size_t len = buf_len(b);

    expect(len > 2 && len < COMMAND_LINE_MAX && memcmp(line + len - 2, "\r\n", 2) == 0);
    expect(command_line_clean((const char *)line, len - 2));
    expect(memcmp(line, prefix, strlen(prefix)) == 0);
    for (size_t i = 0; i < len; i++)
        expect(utf8 || line[i] < 0x80);
}

/* What was written, read and written again, is the same line. */
static void expect_same(const struct buf *a, const struct buf *b)
{
    expect(buf_len(a) == buf_len(b) && memcmp(buf_data(a), buf_data(b), buf_len(a)) == 0);
}

static void read_mail(const char *args, size_t len)
{
    static struct command_mail mail, again;
    struct buf first, second;

    if (command_parse_mail(&mail, args, len) != COMMAND_OK)
        return;
    expect(!mail.path.utf8 || mail.smtputf8);
    buf_init(&first, COMMAND_LINE_MAX);
    buf_init(&second, COMMAND_LINE_MAX);
    expect(command_write_mail(&first, &mail, EVERYTHING));
    expect_line(&first, "MAIL FROM:<", mail.path.utf8);
    expect(memmem(buf_data(&first), buf_len(&first), "> AUTH=", 7) == NULL || mail.path.quoted);
    expect(command_parse_mail(&again, (const char *)buf_data(&first) + 5, buf_len(&first) - 7) ==
           COMMAND_OK);
    expect(again.extensions == mail.extensions);
    expect(command_write_mail(&second, &again, EVERYTHING));
    expect_same(&first, &second);
    buf_clear(&first);
    buf_clear(&second);
}

static void read_rcpt(const char *args, size_t len)
{
    static struct command_rcpt rcpt, again;
    struct buf first, second;

    if (command_parse_rcpt(&rcpt, args, len) != COMMAND_OK)
        return;
    expect(rcpt.path.text[0] != '\0');
    buf_init(&first, COMMAND_LINE_MAX);
    buf_init(&second, COMMAND_LINE_MAX);
    expect(command_write_rcpt(&first, &rcpt, EVERYTHING));
    expect_line(&first, "RCPT TO:<", rcpt.path.utf8);
    expect(command_parse_rcpt(&again, (const char *)buf_data(&first) + 5, buf_len(&first) - 7) ==
           COMMAND_OK);
    expect(again.extensions == rcpt.extensions && again.notify == rcpt.notify);
    expect(command_write_rcpt(&second, &again, EVERYTHING));
    expect_same(&first, &second);
    buf_clear(&first);
    buf_clear(&second);
}

static void read_auth(const char *args, size_t len)
{
    struct command_auth auth;

    if (command_parse_auth(&auth, args, len) != COMMAND_OK)
        return;
    expect(auth.mechanism >= args && auth.mechanism + auth.mechanism_len <= args + len);
    expect(auth.mechanism_len > 0);
    if (auth.initial_given)
        expect(auth.initial_len > 0 && auth.initial + auth.initial_len <= args + len);
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t len)
{
    const char *line = (const char *)in;
    const char *args;
    size_t args_len;
    size_t verb;

    if (len > COMMAND_LINE_MAX)
        return 0;
    command_line_clean(line, len);
    command_foreign(line, len);
    verb = command_verb(line, len, &args, &args_len);
    expect(verb <= len && args >= line && args + args_len <= line + len);
    expect(args_len == 0 || args[args_len - 1] != ' ');
    if (verb == 4 && command_foreign(line, len))
        expect(strncasecmp(line, "MAIL", 4) != 0 && strncasecmp(line, "RCPT", 4) != 0);
    read_mail(args, args_len);
    read_rcpt(args, args_len);
    read_auth(args, args_len);
    return 0;
}
