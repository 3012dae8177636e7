#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/control_request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(bool truth)
{
    if (!truth)
        abort();
}

/* Read at each length, as it comes over a socket: once it is whole or wrong the rest is not looked
 * at. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct control_request r = {.verb = CONTROL_STATUS}, whole;
    enum control_word at_once = control_request_read(&whole, data, size);
    enum control_word word = CONTROL_MORE;

    for (size_t len = 0; len <= size && word == CONTROL_MORE; len++) {
        word = control_request_read(&r, data, len);
        expect(word != CONTROL_MORE || len <= CONTROL_LINE_MAX);
        expect(word != CONTROL_WHOLE || data[len - 1] == '\n');
    }
    if (at_once == CONTROL_WHOLE) {
        expect(word == CONTROL_WHOLE && memcmp(&r, &whole, sizeof r) == 0);
        expect((r.verb == CONTROL_LIFT) == (r.name[0] != '\0'));
        expect(r.verb != CONTROL_LIFT || memmem(data, size, r.name, strlen(r.name)) != NULL);
        expect(strpbrk(r.name, "\r\n\t\x1b") == NULL);
    }
    expect(at_once != CONTROL_MORE || word == CONTROL_MORE);
    return 0;
}
