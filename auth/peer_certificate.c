#include "auth/peer_certificate.h"

#include <arpa/inet.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static void peer_date(char out[PEER_CERTIFICATE_DATE_MAX], const ASN1_TIME *t)
{
    ASN1_GENERALIZEDTIME *g = ASN1_TIME_to_generalizedtime(t, NULL);
    const char *d = g != NULL ? (const char *)ASN1_STRING_get0_data(g) : "";

    out[0] = '\0';
    if (strspn(d, "0123456789") >= 8)
        snprintf(out, PEER_CERTIFICATE_DATE_MAX, "%.4s-%.2s-%.2s", d, d + 4, d + 6);
    ASN1_GENERALIZEDTIME_free(g);
}

static bool peer_names(X509 *x, const char *host)
{
    unsigned char address[16];

    if (inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1)
        return X509_check_ip_asc(x, host, 0) == 1;
    return X509_check_host(x, host, strlen(host), 0, NULL) == 1;
}

static void peer_name(char *out, size_t cap, X509_NAME *name)
{
    if (name == NULL || X509_NAME_get_text_by_NID(name, NID_commonName, out, (int)cap) < 0)
        snprintf(out, cap, "(no name)");
    for (char *c = out; *c != '\0'; c++) {
        if (*c < 0x20 || *c > 0x7e)
            *c = '?';
    }
}

static X509 *peer_read(const uint8_t *der, size_t len)
{
    return len > 0 && len <= 65536 ? d2i_X509(NULL, &der, (long)len) : NULL;
}

void peer_certificate_fault(char out[PEER_CERTIFICATE_FAULT_MAX], const uint8_t *der, size_t len,
                            const char *host, time_t now)
{
    X509 *x = peer_read(der, len);
    char date[PEER_CERTIFICATE_DATE_MAX], name[100];

    if (x == NULL) {
        snprintf(out, PEER_CERTIFICATE_FAULT_MAX, "its certificate cannot be read");
        return;
    }
    if (X509_cmp_time(X509_get0_notAfter(x), &now) < 0) {
        peer_date(date, X509_get0_notAfter(x));
        snprintf(out, PEER_CERTIFICATE_FAULT_MAX, "its certificate expired on %s; renew it", date);
    } else if (X509_cmp_time(X509_get0_notBefore(x), &now) > 0) {
        peer_date(date, X509_get0_notBefore(x));
        snprintf(out, PEER_CERTIFICATE_FAULT_MAX,
                 "its certificate begins to hold on %s; look at both clocks", date);
    } else if (!peer_names(x, host)) {
        peer_name(name, sizeof name, X509_get_subject_name(x));
        snprintf(
            out, PEER_CERTIFICATE_FAULT_MAX,
            "its certificate, for %s, does not name %.200s; call the server by a name that its "
            "certificate has",
            name, host);
    } else {
        peer_name(name, sizeof name, X509_get_issuer_name(x));
        snprintf(out, PEER_CERTIFICATE_FAULT_MAX,
                 "its certificate was issued by %s, which is no authority that is trusted here; "
                 "name a file with the right one as [auth] ca",
                 name);
    }
    X509_free(x);
}

void peer_certificate_until(char out[PEER_CERTIFICATE_DATE_MAX], const uint8_t *der, size_t len)
{
    X509 *x = peer_read(der, len);

    out[0] = '\0';
    if (x != NULL)
        peer_date(out, X509_get0_notAfter(x));
    X509_free(x);
}
