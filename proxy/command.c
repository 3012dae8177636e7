#include "proxy/command.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "auth/utf8.h"

enum { COMMAND_MECHANISM_MAX = 20 /* RFC 4422 3.1 */, COMMAND_AUTH_PARAMETER_MAX = 500 };

/* What is still to be read. */
struct command_input {
    const char *at;
    size_t left;
};

struct command_word {
    const char *text;
    size_t len;
};

/* KEY or KEY=VALUE */
struct command_parameter {
    struct command_word key;
    struct command_word value;
    bool value_given;
};

/* What may stand behind a path, and who checks its value. `extension` 0: it needs none of the
 * MTA's. */
struct command_rule {
    const char *key;
    unsigned extension;
    enum command_status (*parse)(void *out, const struct command_parameter *parameter);
};

static bool command_letter(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

static bool command_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool command_key_char(char c)
{
    return command_letter(c) || command_digit(c) || c == '-';
}

/* esmtp-value: anything printable but space and `=` */
static bool command_value_char(char c)
{
    return c > 0x20 && c < 0x7f && c != '=';
}

static bool command_word_is(struct command_word word, const char *text)
{
    return word.len == strlen(text) && strncasecmp(word.text, text, word.len) == 0;
}

static void command_skip(struct command_input *in, size_t n)
{
    in->at += n;
    in->left -= n;
}

static struct command_word command_take(struct command_input *in, bool (*belongs)(char))
{
    struct command_word word = {in->at, 0};

    while (in->left > 0 && belongs(in->at[0])) {
        command_skip(in, 1);
        word.len++;
    }
    return word;
}

/* Drops spaces; false when there was none. */
static bool command_gap(struct command_input *in)
{
    size_t before = in->left;

    while (in->left > 0 && in->at[0] == ' ')
        command_skip(in, 1);
    return in->left < before;
}

static void command_trim(struct command_input *in)
{
    while (in->left > 0 && in->at[in->left - 1] == ' ')
        in->left--;
}

bool command_line_clean(const char *line, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)line[i];

        if (c < 0x20 || c == 0x7f)
            return false;
    }
    return true;
}

size_t command_verb(const char *line, size_t len, const char **args, size_t *args_len)
{
    struct command_input in = {line, len};
    size_t verb;

    command_trim(&in);
    verb = command_take(&in, command_letter).len;
    if (in.left > 0) {
        if (in.at[0] != ' ')
            verb = 0;
        command_skip(&in, 1);
    }
    *args = in.at;
    *args_len = in.left;
    return verb;
}

static bool command_token_char(char c)
{
    return command_key_char(c) || c == '_';
}

bool command_foreign(const char *line, size_t len)
{
    static const char *const methods[] = {"GET",     "POST",   "PUT",   "HEAD", "CONNECT",
                                          "OPTIONS", "DELETE", "PATCH", "PRI",  "TRACE"};
    struct command_input in = {line, len};
    struct command_word token = command_take(&in, command_token_char);

    if (token.len == 0 || in.left == 0)
        return false;
    if (in.at[0] == ':')
        return true;
    if (in.at[0] != ' ')
        return false;
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        if (command_word_is(token, methods[i]))
            return true;
    }
    return false;
}

static int command_hex(char c)
{
    if (command_digit(c))
        return c - '0';
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* xtext (RFC 3461 4) whose every octet, decoded, is in `low` to 0x7e. */
static bool command_xtext_ok(struct command_word word, int low)
{
    for (size_t i = 0; i < word.len; i++) {
        int c = (unsigned char)word.text[i];

        if (c == '+') {
            if (word.len - i < 3 || command_hex(word.text[i + 1]) < 0 ||
                command_hex(word.text[i + 2]) < 0)
                return false;
            c = command_hex(word.text[i + 1]) * 16 + command_hex(word.text[i + 2]);
            i += 2;
        } else if (!command_value_char((char)c)) {
            return false;
        }
        if (c < low || c > 0x7e)
            return false;
    }
    return word.len > 0;
}

static enum command_status command_parse_size(void *out, const struct command_parameter *parameter)
{
    struct command_mail *mail = out;
    struct command_word digits = parameter->value;

    if (digits.len == 0 || digits.len > 20)
        return COMMAND_SYNTAX;
    for (size_t i = 0; i < digits.len; i++) {
        uint64_t digit = (uint64_t)(digits.text[i] - '0');

        if (!command_digit(digits.text[i]))
            return COMMAND_SYNTAX;
        /* more than 64 bits hold is well formed, and as much as anybody could mean */
        mail->size = mail->size > (UINT64_MAX - digit) / 10 ? UINT64_MAX : mail->size * 10 + digit;
    }
    mail->size_given = true;
    return COMMAND_OK;
}

static enum command_status command_parse_body(void *out, const struct command_parameter *parameter)
{
    struct command_mail *mail = out;

    if (command_word_is(parameter->value, "7BIT"))
        mail->body = COMMAND_BODY_7BIT;
    else if (command_word_is(parameter->value, "8BITMIME"))
        mail->body = COMMAND_BODY_8BITMIME;
    else if (command_word_is(parameter->value, "BINARYMIME"))
        return COMMAND_UNKNOWN_PARAMETER;
    else
        return COMMAND_SYNTAX;
    return COMMAND_OK;
}

static enum command_status command_parse_smtputf8(void *out,
                                                  const struct command_parameter *parameter)
{
    struct command_mail *mail = out;

    mail->smtputf8 = true;
    return parameter->value_given ? COMMAND_SYNTAX : COMMAND_OK;
}

static enum command_status command_parse_ret(void *out, const struct command_parameter *parameter)
{
    struct command_mail *mail = out;

    if (command_word_is(parameter->value, "FULL"))
        memcpy(mail->ret, "FULL", sizeof("FULL"));
    else if (command_word_is(parameter->value, "HDRS"))
        memcpy(mail->ret, "HDRS", sizeof("HDRS"));
    else
        return COMMAND_SYNTAX;
    return COMMAND_OK;
}

static enum command_status command_parse_envid(void *out, const struct command_parameter *parameter)
{
    struct command_mail *mail = out;
    struct command_word value = parameter->value;

    if (value.len > COMMAND_ENVID_MAX || !command_xtext_ok(value, 0x21))
        return COMMAND_SYNTAX;
    memcpy(mail->envid, value.text, value.len);
    return COMMAND_OK;
}

/* Checked and dropped: no client is trusted to speak for another (RFC 4954 5). */
static enum command_status command_parse_identity(void *out,
                                                  const struct command_parameter *parameter)
{
    struct command_word value = parameter->value;

    (void)out;
    if (value.len > COMMAND_AUTH_PARAMETER_MAX || !command_xtext_ok(value, 0x20))
        return COMMAND_SYNTAX;
    return COMMAND_OK;
}

static unsigned command_notify_word(struct command_word word)
{
    if (command_word_is(word, "NEVER"))
        return COMMAND_NOTIFY_NEVER;
    if (command_word_is(word, "SUCCESS"))
        return COMMAND_NOTIFY_SUCCESS;
    if (command_word_is(word, "FAILURE"))
        return COMMAND_NOTIFY_FAILURE;
    return command_word_is(word, "DELAY") ? COMMAND_NOTIFY_DELAY : 0;
}

static enum command_status command_parse_notify(void *out,
                                                const struct command_parameter *parameter)
{
    struct command_rcpt *rcpt = out;
    struct command_input in = {parameter->value.text, parameter->value.len};

    for (;;) {
        unsigned bit = command_notify_word(command_take(&in, command_letter));

        if (bit == 0)
            return COMMAND_SYNTAX;
        rcpt->notify |= bit;
        if (in.left == 0)
            break;
        if (in.at[0] != ',')
            return COMMAND_SYNTAX;
        command_skip(&in, 1);
    }
    if ((rcpt->notify & COMMAND_NOTIFY_NEVER) != 0 && rcpt->notify != COMMAND_NOTIFY_NEVER)
        return COMMAND_SYNTAX;
    return COMMAND_OK;
}

/* The inside of RFC 6533's \x{HEXPOINT}: no control, no surrogate, nothing that is not a code
 * point. */
static bool command_hexpoint_ok(struct command_input *in)
{
    uint32_t point = 0;
    size_t digits = 0;

    for (; in->left > 0 && digits < 6 && command_hex(in->at[0]) >= 0; digits++) {
        point = point * 16 + (uint32_t)command_hex(in->at[0]);
        command_skip(in, 1);
    }
    if (in->left == 0 || in->at[0] != '}')
        return false;
    return point >= 0x21 && !(point >= 0x7f && point <= 0x9f) &&
           !(point >= 0xd800 && point <= 0xdfff) && point <= 0x10ffff;
}

/* utf-8-addr-xtext: a backslash begins \x{HEXPOINT} and nothing else. */
static bool command_utf8_address_ok(struct command_input in)
{
    while (in.left > 0) {
        bool escape = in.at[0] == '\\';

        command_skip(&in, 1);
        if (!escape)
            continue;
        if (in.left < 2 || in.at[0] != 'x' || in.at[1] != '{')
            return false;
        command_skip(&in, 2);
        if (!command_hexpoint_ok(&in))
            return false;
    }
    return true;
}

static enum command_status command_parse_orcpt(void *out, const struct command_parameter *parameter)
{
    struct command_rcpt *rcpt = out;
    struct command_word value = parameter->value;
    struct command_input in = {value.text, value.len};
    struct command_word type = command_take(&in, command_key_char);

    if (value.len > COMMAND_ORCPT_MAX || type.len == 0 || in.left == 0 || in.at[0] != ';')
        return COMMAND_SYNTAX;
    command_skip(&in, 1);
    if (!command_xtext_ok((struct command_word){in.at, in.left}, 0x21))
        return COMMAND_SYNTAX;
    if (command_word_is(type, "utf-8") && !command_utf8_address_ok(in))
        return COMMAND_SYNTAX;
    memcpy(rcpt->orcpt, value.text, value.len);
    return COMMAND_OK;
}

static const struct command_rule command_mail_rules[] = {
    {"SIZE", EXTENSION_SIZE, command_parse_size},
    {"BODY", EXTENSION_8BITMIME, command_parse_body},
    {"SMTPUTF8", EXTENSION_SMTPUTF8, command_parse_smtputf8},
    {"RET", EXTENSION_DSN, command_parse_ret},
    {"ENVID", EXTENSION_DSN, command_parse_envid},
    {"AUTH", 0, command_parse_identity},
    {NULL, 0, NULL},
};

static const struct command_rule command_rcpt_rules[] = {
    {"NOTIFY", EXTENSION_DSN, command_parse_notify},
    {"ORCPT", EXTENSION_DSN, command_parse_orcpt},
    {NULL, 0, NULL},
};

/* One parameter, up to a space or the end. */
static bool command_read_parameter(struct command_parameter *out, struct command_input *in)
{
    *out = (struct command_parameter){.key = command_take(in, command_key_char)};
    if (out->key.len == 0 || out->key.text[0] == '-')
        return false;
    if (in->left > 0 && in->at[0] == '=') {
        command_skip(in, 1);
        out->value_given = true;
        out->value = command_take(in, command_value_char);
    }
    return in->left == 0 || in->at[0] == ' ';
}

/* All of them, by the rules. A malformed line is malformed whatever it also holds, so that is told
 * first. */
static enum command_status command_read_parameters(void *out, unsigned *extensions,
                                                   const struct command_rule *rules,
                                                   struct command_input in)
{
    enum command_status status = COMMAND_OK;
    struct command_parameter parameter;
    unsigned seen = 0;

    while (command_gap(&in)) {
        enum command_status one = COMMAND_UNKNOWN_PARAMETER;

        if (!command_read_parameter(&parameter, &in))
            return COMMAND_SYNTAX;
        for (unsigned i = 0; rules[i].key != NULL; i++) {
            if (!command_word_is(parameter.key, rules[i].key))
                continue;
            if ((seen & 1U << i) != 0)
                return COMMAND_SYNTAX;
            seen |= 1U << i;
            *extensions |= rules[i].extension;
            one = rules[i].parse(out, &parameter);
        }
        if (one == COMMAND_SYNTAX)
            return COMMAND_SYNTAX;
        if (status == COMMAND_OK)
            status = one;
    }
    return in.left == 0 ? status : COMMAND_SYNTAX;
}

/* `FROM:` or `TO:`, at most one space (a common client's slip), and the path. */
static enum command_status command_read_path(struct path *out, struct command_input *in,
                                             const char *keyword, enum path_kind kind)
{
    size_t len = strlen(keyword);
    size_t used;

    if (in->left < len || strncasecmp(in->at, keyword, len) != 0)
        return COMMAND_SYNTAX;
    command_skip(in, len);
    if (in->left > 0 && in->at[0] == ' ')
        command_skip(in, 1);
    if (!utf8_ok(in->at, in->left))
        return COMMAND_NOT_UTF8;
    if (path_parse(out, &used, in->at, in->left, kind) != PATH_OK)
        return COMMAND_BAD_PATH;
    command_skip(in, used);
    return COMMAND_OK;
}

enum command_status command_parse_mail(struct command_mail *out, const char *args, size_t len)
{
    struct command_input in = {args, len};
    enum command_status status;

    *out = (struct command_mail){.size = 0};
    command_trim(&in);
    status = command_read_path(&out->path, &in, "FROM:", PATH_REVERSE);
    if (status != COMMAND_OK)
        return status;
    status = command_read_parameters(out, &out->extensions, command_mail_rules, in);
    if (status == COMMAND_OK && out->path.utf8 && !out->smtputf8)
        return COMMAND_NEEDS_SMTPUTF8;
    return status;
}

enum command_status command_parse_rcpt(struct command_rcpt *out, const char *args, size_t len)
{
    struct command_input in = {args, len};
    enum command_status status;

    *out = (struct command_rcpt){.notify = 0};
    command_trim(&in);
    status = command_read_path(&out->path, &in, "TO:", PATH_FORWARD);
    if (status != COMMAND_OK)
        return status;
    if (out->path.utf8)
        out->extensions |= EXTENSION_SMTPUTF8;
    return command_read_parameters(out, &out->extensions, command_rcpt_rules, in);
}

static bool command_initial_char(char c)
{
    return c > 0x20 && c < 0x7f;
}

enum command_status command_parse_auth(struct command_auth *out, const char *args, size_t len)
{
    struct command_input in = {args, len};
    struct command_word word;

    *out = (struct command_auth){.mechanism = args};
    command_trim(&in);
    word = command_take(&in, command_token_char);
    if (word.len == 0 || word.len > COMMAND_MECHANISM_MAX)
        return COMMAND_SYNTAX;
    out->mechanism = word.text;
    out->mechanism_len = word.len;
    if (in.left == 0)
        return COMMAND_OK;
    if (!command_gap(&in))
        return COMMAND_SYNTAX;
    word = command_take(&in, command_initial_char);
    out->initial_given = true;
    out->initial = word.text;
    out->initial_len = word.len;
    return in.left == 0 ? COMMAND_OK : COMMAND_SYNTAX;
}

/* A line under construction; its size is bounded by the sizes of what goes into it. */
struct command_line {
    char text[COMMAND_LINE_MAX];
    size_t len;
};

static void command_add(struct command_line *line, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void command_add(struct command_line *line, const char *format, ...)
{
    size_t room = sizeof(line->text) - line->len;
    va_list arguments;
    int len;

    va_start(arguments, format);
    len = vsnprintf(line->text + line->len, room, format, arguments);
    va_end(arguments);
    if (len > 0)
        line->len += (size_t)len < room ? (size_t)len : room - 1;
}

static bool command_write(struct buf *out, struct command_line *line)
{
    command_add(line, "\r\n");
    return buf_append(out, line->text, line->len);
}

bool command_write_mail(struct buf *out, const struct command_mail *mail, unsigned offered)
{
    static const char *const bodies[] = {"", " BODY=7BIT", " BODY=8BITMIME"};
    struct command_line line = {.len = 0};

    if ((mail->path.utf8 || mail->smtputf8) && (offered & EXTENSION_SMTPUTF8) == 0)
        return false;
    command_add(&line, "MAIL FROM:<%s>", mail->path.text);
    if (mail->size_given && (offered & EXTENSION_SIZE) != 0)
        command_add(&line, " SIZE=%" PRIu64, mail->size);
    if ((offered & EXTENSION_8BITMIME) != 0)
        command_add(&line, "%s", bodies[mail->body]);
    if (mail->smtputf8)
        command_add(&line, " SMTPUTF8");
    if (mail->ret[0] != '\0' && (offered & EXTENSION_DSN) != 0)
        command_add(&line, " RET=%s", mail->ret);
    if (mail->envid[0] != '\0' && (offered & EXTENSION_DSN) != 0)
        command_add(&line, " ENVID=%s", mail->envid);
    return command_write(out, &line);
}

static void command_add_notify(struct command_line *line, unsigned notify)
{
    static const char *const words[] = {"NEVER", "SUCCESS", "FAILURE", "DELAY"};
    const char *before = " NOTIFY=";

    for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if ((notify & 1U << i) == 0)
            continue;
        command_add(line, "%s%s", before, words[i]);
        before = ",";
    }
}

bool command_write_rcpt(struct buf *out, const struct command_rcpt *rcpt, unsigned offered)
{
    struct command_line line = {.len = 0};

    if (rcpt->path.utf8 && (offered & EXTENSION_SMTPUTF8) == 0)
        return false;
    command_add(&line, "RCPT TO:<%s>", rcpt->path.text);
    if ((offered & EXTENSION_DSN) != 0) {
        command_add_notify(&line, rcpt->notify);
        if (rcpt->orcpt[0] != '\0')
            command_add(&line, " ORCPT=%s", rcpt->orcpt);
    }
    return command_write(out, &line);
}
