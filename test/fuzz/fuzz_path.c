#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/utf8.h"
#include "proxy/path.h"

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t len);

static void expect(bool truth)
{
    if (!truth)
        abort();
}

/* The position of the only `@` outside quotes. */
static size_t only_at(const char *text)
{
    bool quoted = false;
    size_t at = 0;
    unsigned count = 0;

    for (size_t i = 0; text[i] != '\0'; i++) {
        if (quoted && text[i] == '\\')
            i++;
        else if (text[i] == '"')
            quoted = !quoted;
        else if (!quoted && text[i] == '@') {
            at = i;
            count++;
        }
    }
    expect(count == 1 && !quoted);
    return at;
}

static void expect_sound(const struct path *path, enum path_kind kind)
{
    char wrapped[PATH_TEXT_MAX + 3];
    struct path again;
    bool beyond = false;
    size_t used;

    expect(strlen(path->text) <= PATH_TEXT_MAX);
    for (const char *c = path->text; *c != '\0'; c++) {
        unsigned char octet = (unsigned char)*c;

        expect(octet >= 0x20 && octet != 0x7f);
        beyond = beyond || octet > 0x7f;
    }
    expect(beyond == path->utf8 && utf8_ok(path->text, strlen(path->text)));
    expect(path->quoted == (path->text[0] == '"'));
    if (path->text[0] == '\0') {
        expect(kind == PATH_REVERSE && path->local_len == 0);
    } else if (strcmp(path->text, "postmaster") == 0) {
        expect(kind == PATH_FORWARD && path->local_len == strlen(path->text));
    } else {
        const char *domain = path->text + path->local_len + 1;

        expect(only_at(path->text) == path->local_len && path->local_len > 0);
        expect(path->literal == (domain[0] == '['));
        expect(strlen(domain) <= PATH_DOMAIN_MAX);
        expect(beyond || path_domain_ok(domain, strlen(domain)));
    }
    snprintf(wrapped, sizeof(wrapped), "<%s>", path->text);
    expect(path_parse(&again, &used, wrapped, strlen(wrapped), kind) == PATH_OK);
    expect(used == strlen(wrapped) && strcmp(again.text, path->text) == 0);
    expect(again.local_len == path->local_len && again.quoted == path->quoted);
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t len)
{
    const char *text = (const char *)in;

    for (int kind = PATH_REVERSE; kind <= PATH_FORWARD; kind++) {
        struct path path, shorter;
        size_t used, less;

        if (path_parse(&path, &used, text, len, (enum path_kind)kind) != PATH_OK) {
            expect(used == 0);
            continue;
        }
        expect(used >= 2 && used <= len && text[0] == '<' && text[used - 1] == '>');
        expect_sound(&path, (enum path_kind)kind);
        expect(path_parse(&shorter, &less, text, used, (enum path_kind)kind) == PATH_OK);
        expect(strcmp(shorter.text, path.text) == 0);
        expect(path_parse(&shorter, &less, text, used - 1, (enum path_kind)kind) != PATH_OK);
    }
    if (path_domain_ok(text, len))
        expect(len > 0 && len <= PATH_DOMAIN_MAX && memchr(text, '@', len) == NULL);
    return 0;
}
