#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "auth/peer_certificate.h"
#include "auth/url_http.h"
#include "auth/url_mail.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(bool truth)
{
    if (!truth)
        abort();
}

static bool holds(const char *text, size_t len, const char *word)
{
    const size_t n = strlen(word);

    for (size_t i = 0; n <= len && i <= len - n; i++) {
        if (strncasecmp(text + i, word, n) == 0)
            return true;
    }
    return false;
}

static bool printable(const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text < 0x20 || *text > 0x7e)
            return false;
    }
    return true;
}

static void mail(enum url_protocol p, bool fine, const char *heard, size_t len)
{
    static const char *const yes[] = {"OK", "+OK", "235"};
    const enum url_mail_verdict v = url_mail_judge(p, true, fine, heard, len);
    char last[40];

    expect(url_mail_judge(p, false, fine, heard, len) == URL_MAIL_NO_WAY);
    /* POP3's mailbox that is open elsewhere is the one yes that the library takes for a no */
    if (v == URL_MAIL_ACCEPTED)
        expect(fine || p == URL_POP3);
    if (v == URL_MAIL_ACCEPTED && fine && p != URL_IMAP)
        expect(holds(heard, len, yes[p]));
    if (v == URL_MAIL_REJECTED)
        expect(!fine);
    /* what is not a whole line changes nothing */
    if (len > 0 && heard[len - 1] != '\n') {
        while (len > 0 && heard[len - 1] != '\n')
            len--;
        expect(url_mail_judge(p, true, fine, heard, len) == v);
    }
    url_mail_last(last, sizeof last, heard, len);
    expect(printable(last));
    url_mail_gives(p, heard, len);
    url_mail_greets(p, heard, len);
}

static void http(long status, const char *headers, size_t len)
{
    char login[SASL_LOGIN_MAX + 1];
    const enum url_http_verdict v = url_http_judge(login, status, headers, len);

    if (v == URL_HTTP_ACCEPTED)
        expect(status >= 200 && status < 300);
    if (v != URL_HTTP_ACCEPTED)
        expect(login[0] == '\0');
    if (login[0] != '\0')
        expect(sasl_login_fits(login, strlen(login)));
    if (status >= 500)
        expect(v == URL_HTTP_UNAVAILABLE);
}

static void certificate(const uint8_t *data, size_t size)
{
    char fault[PEER_CERTIFICATE_FAULT_MAX], until[PEER_CERTIFICATE_DATE_MAX];

    peer_certificate_fault(fault, data, size, "mail.example", 1700000000);
    expect(fault[0] != '\0' && printable(fault));
    peer_certificate_until(until, data, size);
    expect(printable(until));
}

/* First octet: which, and the status; the rest is the answer. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    const char *answer = (const char *)data + 1;
    for (int p = URL_IMAP; p <= URL_SMTP; p++)
        mail((enum url_protocol)p, data[0] & 1, answer, size - 1);
    http((data[0] >> 1) * 8L, answer, size - 1);
    certificate(data + 1, size - 1);
    return 0;
}
