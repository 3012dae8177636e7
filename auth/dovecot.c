#include "auth/dovecot.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/base64.h>
#include <openssl/mem.h>
#include <stdio.h>
#include <string.h>

#define ESCAPE '\001'

enum dovecot_status dovecot_read(struct dovecot_reader *r, const uint8_t **in, size_t *len)
{
    if (r->whole) {
        r->whole = false;
        r->len = 0;
    }
    while (*len > 0) {
        const char c = (char)**in;
        *in += 1;
        *len -= 1;
        if (c == '\n') {
            r->whole = true;
            return DOVECOT_LINE;
        }
        if (r->len == sizeof r->line - 1)
            return DOVECOT_BAD;
        r->line[r->len++] = c;
    }
    return DOVECOT_MORE;
}

/* --- words of a line
 * ---------------------------------------------------------------------------------------------- */

struct words {
    const char *at;
    const char *end;
    bool over;
};

struct word {
    const char *at;
    size_t len;
};

static bool next_word(struct words *w, struct word *out)
{
    const char *tab;

    if (w->over)
        return false;
    tab = memchr(w->at, '\t', (size_t)(w->end - w->at));
    out->at = w->at;
    out->len = (size_t)((tab != NULL ? tab : w->end) - w->at);
    w->over = tab == NULL;
    w->at = tab != NULL ? tab + 1 : w->end;
    return true;
}

static bool word_is(const struct word *w, const char *text)
{
    return w->len == strlen(text) && memcmp(w->at, text, w->len) == 0;
}

/* "name=value": the value. A name alone has none. */
static bool word_names(const struct word *w, const char *name, struct word *value)
{
    const size_t len = strlen(name);

    if (w->len < len || memcmp(w->at, name, len) != 0 || (w->len > len && w->at[len] != '='))
        return false;
    value->at = w->at + len + (w->len > len);
    value->len = w->len - len - (w->len > len);
    return true;
}

static bool next_number(struct words *w, uint32_t *out)
{
    struct word digits;
    uint64_t value = 0;

    if (!next_word(w, &digits) || digits.len == 0 || digits.len > 10)
        return false;
    for (size_t i = 0; i < digits.len; i++) {
        if (digits.at[i] < '0' || digits.at[i] > '9')
            return false;
        value = value * 10 + (uint64_t)(digits.at[i] - '0');
    }
    *out = (uint32_t)value;
    return value <= UINT32_MAX;
}

static char unescaped(char c)
{
    switch (c) {
    case '0':
        return '\0';
    case '1':
        return ESCAPE;
    case 't':
        return '\t';
    case 'r':
        return '\r';
    case 'n': /* its manual has had both */
    case 'l':
        return '\n';
    default:
        return c;
    }
}

static bool take_user(char out[SASL_LOGIN_MAX + 1], const struct word *value)
{
    size_t len = 0;

    for (size_t i = 0; i < value->len; i++) {
        char c = value->at[i];
        if (c == ESCAPE && ++i == value->len)
            return false;
        if (c == ESCAPE)
            c = unescaped(value->at[i]);
        if (len == SASL_LOGIN_MAX)
            return false;
        out[len++] = c;
    }
    out[len] = '\0';
    return sasl_login_fits(out, len);
}

/* --- kinds of lines
 * -----------------------------------------------------------------------------------------------
 */

static bool parse_version(struct dovecot_line *out, struct words *w)
{
    return next_number(w, &out->major) && next_number(w, &out->minor);
}

static bool parse_mech(struct dovecot_line *out, struct words *w)
{
    struct word name;
    struct word flag;

    if (!next_word(w, &name) || name.len == 0)
        return false;
    out->mechanisms = sasl_by_name(name.at, name.len);
    out->mechanisms &= ~((unsigned)SASL_BOUND | SASL_EXTERNAL | SASL_LOGIN);
    if (out->mechanisms == SASL_PLAIN)
        out->mechanisms |= SASL_LOGIN;
    while (next_word(w, &flag))
        if (word_is(&flag, "private") || word_is(&flag, "anonymous"))
            out->mechanisms = 0;
    return true;
}

static bool parse_ok(struct dovecot_line *out, struct words *w)
{
    struct word word;
    struct word value;

    if (!next_number(w, &out->id))
        return false;
    while (next_word(w, &word)) {
        if (word_names(&word, "nologin", &value) || word_names(&word, "proxy", &value) ||
            word_names(&word, "proxy_maybe", &value))
            out->no_login = true;
        else if (word_names(&word, "user", &value) && !take_user(out->user, &value))
            return false;
    }
    return true;
}

static bool parse_fail(struct dovecot_line *out, struct words *w)
{
    struct word word;

    if (!next_number(w, &out->id))
        return false;
    while (next_word(w, &word))
        if (word_is(&word, "temp") || word_is(&word, "code=temp_fail"))
            out->temporary = true;
    return true;
}

static bool parse_cont(struct dovecot_line *out, struct words *w)
{
    struct word word = {NULL, 0};
    uint8_t octets[(SASL_CHALLENGE_MAX + 2) / 3 * 3];

    if (!next_number(w, &out->id))
        return false;
    next_word(w, &word);
    if (word.len == 0)
        return true;
    if (word.len > sizeof octets / 3 * 4 ||
        !EVP_DecodeBase64(octets, &out->message_len, sizeof octets, (const uint8_t *)word.at,
                          word.len) ||
        out->message_len > sizeof out->message)
        return false;
    memcpy(out->message, octets, out->message_len);
    return true;
}

static bool parse_nothing(struct dovecot_line *out, struct words *w)
{
    (void)out, (void)w;
    return true;
}

bool dovecot_parse(struct dovecot_line *out, const char *line, size_t len)
{
    static const struct {
        const char *name;
        enum dovecot_type type;
        bool (*parse)(struct dovecot_line *out, struct words *w);
    } kinds[] = {
        {"VERSION", DOVECOT_VERSION, parse_version}, {"MECH", DOVECOT_MECH, parse_mech},
        {"DONE", DOVECOT_DONE, parse_nothing},       {"OK", DOVECOT_OK, parse_ok},
        {"FAIL", DOVECOT_FAIL, parse_fail},          {"CONT", DOVECOT_CONT, parse_cont},
    };
    struct words w = {line, line + len, false};
    struct word verb;

    memset(out, 0, sizeof *out);
    out->type = DOVECOT_OTHER;
    if (!next_word(&w, &verb) || verb.len == 0)
        return false;
    for (size_t i = 0; i < verb.len; i++)
        if ((verb.at[i] < 'A' || verb.at[i] > 'Z') && verb.at[i] != '_')
            return false;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (word_is(&verb, kinds[i].name)) {
            out->type = kinds[i].type;
            return kinds[i].parse(out, &w);
        }
    }
    return true;
}

/* --- what is sent
 * -------------------------------------------------------------------------------------------------
 */

struct text {
    char *at;
    size_t len;
    size_t cap;
    bool full;
};

static void put(struct text *t, const void *octets, size_t len)
{
    if (t->full || len > t->cap - t->len) {
        t->full = true;
        return;
    }
    if (len > 0)
        memcpy(t->at + t->len, octets, len);
    t->len += len;
}

static void put_text(struct text *t, const char *text)
{
    put(t, text, strlen(text));
}

static void put_number(struct text *t, uint32_t number)
{
    char digits[11];

    put(t, digits, (size_t)snprintf(digits, sizeof digits, "%u", number));
}

static void put_escaped(struct text *t, const char *text)
{
    static const char plain[] = "\001\t\r\n";
    static const char letters[] = "1trn";

    for (; *text != '\0'; text++) {
        const char *special = strchr(plain, *text);
        if (special == NULL) {
            put(t, text, 1);
        } else {
            const char pair[2] = {ESCAPE, letters[special - plain]};
            put(t, pair, sizeof pair);
        }
    }
}

static void put_base64(struct text *t, const void *octets, size_t len)
{
    size_t wanted = (len + 2) / 3 * 4;

    /* the encoder ends it with a NUL, for which there must be room though it is not kept */
    if (t->full || wanted >= t->cap - t->len) {
        t->full = true;
        return;
    }
    EVP_EncodeBlock((uint8_t *)t->at + t->len, octets, len);
    t->len += wanted;
}

static bool put_end(struct text *t, size_t *len)
{
    put(t, "\n", 1);
    *len = t->full ? 0 : t->len;
    if (t->full)
        OPENSSL_cleanse(t->at, t->len);
    return !t->full;
}

static void put_parameter(struct text *t, const char *name, const char *value)
{
    if (value[0] == '\0')
        return;
    put_text(t, "\t");
    put_text(t, name);
    put_text(t, "=");
    put_escaped(t, value);
}

static void put_endpoint(struct text *t, const char *ip, const char *port,
                         const uint8_t address[16], uint16_t number)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    static const uint8_t unknown[16];
    const bool v4 = memcmp(address, mapped, sizeof mapped) == 0;
    char name[INET6_ADDRSTRLEN] = "";

    if (memcmp(address, unknown, sizeof unknown) == 0)
        return;
    inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? address + 12 : address, name, sizeof name);
    put_parameter(t, ip, name);
    if (number == 0)
        return;
    put_text(t, "\t");
    put_text(t, port);
    put_text(t, "=");
    put_number(t, number);
}

/* Vestibule itself makes those wait who guess; and no one fetches more about the user later. */
static void put_client(struct text *t, const struct auth_client *client)
{
    put_text(t, "\tservice=smtp");
    if (client->tls_version[0] != '\0')
        put_text(t, "\tsecured=tls");
    put_text(t, "\tno-penalty\tnologin");
    put_parameter(t, "session", client->session);
    put_endpoint(t, "lip", "lport", client->local, client->local_port);
    put_endpoint(t, "rip", "rport", client->address, client->port);
    put_parameter(t, "tls_protocol", client->tls_version);
    put_parameter(t, "tls_cipher", client->tls_cipher);
}

/* RFC 4616. */
static void write_plain(struct text *t, const struct sasl_credential *c)
{
    put(t, "", 1);
    put(t, c->login, c->login_len);
    put(t, "", 1);
    put(t, c->secret, c->secret_len);
}

/* The name in RFC 5801's header: `,` and `=` are written in another way there. */
static void write_gs2_name(struct text *t, const struct sasl_credential *c)
{
    for (size_t i = 0; i < c->login_len; i++) {
        if (c->login[i] == ',')
            put_text(t, "=2C");
        else if (c->login[i] == '=')
            put_text(t, "=3D");
        else
            put(t, &c->login[i], 1);
    }
}

/* RFC 7628 3.1. */
static void write_oauthbearer(struct text *t, const struct sasl_credential *c)
{
    put_text(t, "n,");
    if (c->login_len > 0)
        put_text(t, "a=");
    write_gs2_name(t, c);
    put_text(t, ",\001auth=Bearer ");
    put(t, c->secret, c->secret_len);
    put_text(t, "\001\001");
}

static void write_xoauth2(struct text *t, const struct sasl_credential *c)
{
    put_text(t, "user=");
    put(t, c->login, c->login_len);
    put_text(t, "\001auth=Bearer ");
    put(t, c->secret, c->secret_len);
    put_text(t, "\001\001");
}

static void write_message(struct text *t, const struct sasl_credential *c)
{
    if (c->mechanism == SASL_OAUTHBEARER)
        write_oauthbearer(t, c);
    else if (c->mechanism == SASL_XOAUTH2)
        write_xoauth2(t, c);
    else if (sasl_kind(c->mechanism) == SASL_KIND_PASSWORD)
        write_plain(t, c);
    else
        put(t, c->secret, c->secret_len);
}

bool dovecot_hello(char *out, size_t *len, size_t cap, uint32_t peer)
{
    struct text t = {.at = out, .cap = cap};

    put_text(&t, "VERSION\t1\t2\nCPID\t");
    put_number(&t, peer);
    return put_end(&t, len);
}

bool dovecot_ask(char *out, size_t *len, size_t cap, uint32_t id,
                 const struct sasl_credential *credential, const struct auth_client *client)
{
    char message[DOVECOT_LINE_MAX];
    struct text m = {.at = message, .cap = sizeof message};
    struct text t = {.at = out, .cap = cap};
    const bool password = sasl_kind(credential->mechanism) == SASL_KIND_PASSWORD;

    put_text(&t, "AUTH\t");
    put_number(&t, id);
    put_text(&t, "\t");
    put_text(&t, sasl_name(password ? SASL_PLAIN : credential->mechanism));
    put_client(&t, client);
    write_message(&m, credential);
    if (m.len > 0) {
        put_text(&t, "\tresp=");
        put_base64(&t, m.at, m.len);
    }
    OPENSSL_cleanse(message, m.len);
    t.full = t.full || m.full;
    return put_end(&t, len);
}

bool dovecot_continue(char *out, size_t *len, size_t cap, uint32_t id, const uint8_t *message,
                      size_t message_len)
{
    struct text t = {.at = out, .cap = cap};

    put_text(&t, "CONT\t");
    put_number(&t, id);
    put_text(&t, "\t");
    if (message_len > 0)
        put_base64(&t, message, message_len);
    return put_end(&t, len);
}

bool dovecot_cancel(char *out, size_t *len, size_t cap, uint32_t id)
{
    struct text t = {.at = out, .cap = cap};

    put_text(&t, "CANCEL\t");
    put_number(&t, id);
    return put_end(&t, len);
}
