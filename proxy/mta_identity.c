#include "proxy/mta_identity.h"

#include <stdio.h>
#include <string.h>

#include "proxy/capabilities.h"
#include "proxy/command.h"

/* The command under construction. */
struct identity_line {
    char text[COMMAND_LINE_MAX + 1];
    size_t len;
    bool full;
};

static void identity_add(struct identity_line *line, const char *text, size_t len)
{
    if (line->full || len > COMMAND_LINE_MAX - line->len) {
        line->full = true;
        return;
    }
    memcpy(line->text + line->len, text, len);
    line->len += len;
}

static void identity_xtext(struct identity_line *line, const char *value)
{
    for (; *value != '\0'; value++) {
        unsigned char c = (unsigned char)*value;
        char code[4];

        if (c > 0x20 && c < 0x7f && c != '+' && c != '=') {
            identity_add(line, value, 1);
            continue;
        }
        snprintf(code, sizeof(code), "+%02X", c);
        identity_add(line, code, 3);
    }
}

static void identity_attribute(struct identity_line *line, const char *name, const char *prefix,
                               const char *value)
{
    identity_add(line, " ", 1);
    identity_add(line, name, strlen(name));
    identity_add(line, "=", 1);
    if (value == NULL) {
        identity_add(line, "[UNAVAILABLE]", 13);
        return;
    }
    identity_add(line, prefix, strlen(prefix));
    identity_xtext(line, value);
}

static void identity_address(struct identity_line *line, const char *name, const char *address)
{
    bool six = address != NULL && strchr(address, ':') != NULL;

    identity_attribute(line, name, six ? "IPV6:" : "", address);
}

bool mta_identity_write(struct buf *to, const struct mta_identity *identity, unsigned attributes)
{
    struct identity_line line = {.len = 0};
    char port[8];

    snprintf(port, sizeof(port), "%u", (unsigned)identity->port);
    identity_add(&line, "XCLIENT", 7);
    if ((attributes & XCLIENT_NAME) != 0)
        identity_attribute(&line, "NAME", "", NULL); /* names from the DNS prove nothing */
    if ((attributes & XCLIENT_ADDR) != 0)
        identity_address(&line, "ADDR", identity->address);
    if ((attributes & XCLIENT_PORT) != 0)
        identity_attribute(&line, "PORT", "", identity->port != 0 ? port : NULL);
    if ((attributes & XCLIENT_PROTO) != 0)
        identity_attribute(&line, "PROTO", "", identity->esmtp ? "ESMTP" : "SMTP");
    if ((attributes & XCLIENT_HELO) != 0)
        identity_attribute(&line, "HELO", "", identity->helo);
    if ((attributes & XCLIENT_LOGIN) != 0)
        identity_attribute(&line, "LOGIN", "", identity->login);
    if ((attributes & XCLIENT_DESTADDR) != 0)
        identity_address(&line, "DESTADDR", identity->local);
    return !line.full && buf_append(to, line.text, line.len) && buf_text(to, "\r\n");
}
