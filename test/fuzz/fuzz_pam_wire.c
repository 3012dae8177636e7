#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "auth/pam_wire.h"

static void require(int holds)
{
    if (!holds)
        abort();
}

static int ended(const char *text, size_t size, size_t min)
{
    return memchr(text, '\0', size) != NULL && strlen(text) >= min;
}

/* Whatever is taken is written again to the same octets. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t again[PAM_WIRE_MAX];
    struct pam_wire_question q;
    struct pam_wire_answer a;
    size_t len;

    if (pam_wire_asked(&q, data, size)) {
        require(ended(q.service, sizeof q.service, 1) && ended(q.login, sizeof q.login, 1));
        require(ended(q.host, sizeof q.host, 0) && ended(q.password, sizeof q.password, 0));
        pam_wire_ask(again, &len, &q);
        require(len == size && memcmp(again, data, size) == 0);
    }
    if (pam_wire_answered(&a, data, size)) {
        require((a.id == 0) == (a.word == PAM_WIRE_HELLO));
        pam_wire_answer(again, &len, &a);
        require(len == size && memcmp(again, data, size) == 0);
    }
    return 0;
}
