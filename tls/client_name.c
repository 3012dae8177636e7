#include <openssl/asn1.h>
#include <openssl/err.h>
#include <openssl/mem.h>
#include <openssl/nid.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "tls/client_ca_parts.h"

/* CVE-2019-3814: a certificate without the field must be nobody, not whoever the client says. */

static bool mailbox_octet(uint8_t octet)
{
    return octet > ' ' && octet < 0x7f;
}

static bool take_mailbox(char out[CLIENT_CA_LOGIN_MAX + 1], const ASN1_IA5STRING *mailbox)
{
    const uint8_t *octets = ASN1_STRING_get0_data(mailbox);
    const int len = ASN1_STRING_length(mailbox);

    if (len <= 0 || len > CLIENT_CA_LOGIN_MAX)
        return false;
    for (int i = 0; i < len; i++)
        if (!mailbox_octet(octets[i]))
            return false;
    memcpy(out, octets, (size_t)len);
    out[len] = '\0';
    return true;
}

/* UTF-8 is sound already: no NUL, C0, DEL or C1 may be in it. */
static bool text_calm(const uint8_t *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (text[i] < ' ' || text[i] == 0x7f)
            return false;
        if (text[i] == 0xc2 && i + 1 < len && text[i + 1] < 0xa0)
            return false;
    }
    return true;
}

static bool take_text(char out[CLIENT_CA_LOGIN_MAX + 1], const ASN1_STRING *value)
{
    uint8_t *text = NULL;
    const int len = ASN1_STRING_to_UTF8(&text, value);
    const bool good = len > 0 && len <= CLIENT_CA_LOGIN_MAX && text_calm(text, (size_t)len);

    if (good) {
        memcpy(out, text, (size_t)len);
        out[len] = '\0';
    }
    OPENSSL_free(text);
    return good;
}

static bool take_common_name(char out[CLIENT_CA_LOGIN_MAX + 1], const X509 *leaf)
{
    const X509_NAME *subject = X509_get_subject_name(leaf);
    const int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);

    if (at < 0 || X509_NAME_get_index_by_NID(subject, NID_commonName, at) >= 0)
        return false;
    return take_text(out, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
}

static const GENERAL_NAME *first_mailbox(const GENERAL_NAMES *names)
{
    for (size_t i = 0; i < sk_GENERAL_NAME_num(names); i++)
        if (sk_GENERAL_NAME_value(names, i)->type == GEN_EMAIL)
            return sk_GENERAL_NAME_value(names, i);
    return NULL;
}

bool client_name(char out[CLIENT_CA_LOGIN_MAX + 1], const X509 *leaf)
{
    int critical = 0;
    GENERAL_NAMES *names = X509_get_ext_d2i(leaf, NID_subject_alt_name, &critical, NULL);
    const GENERAL_NAME *mailbox = names != NULL ? first_mailbox(names) : NULL;
    bool good;

    /* -1: there are no alternative names. Damaged ones, or two sets of them, are not passed over.
     * Nor is a mailbox that cannot be a login: the subject would say something else. */
    if (names == NULL && critical != -1)
        good = false;
    else if (mailbox != NULL)
        good = take_mailbox(out, mailbox->d.rfc822Name);
    else
        good = take_common_name(out, leaf);
    GENERAL_NAMES_free(names);
    ERR_clear_error();
    return good;
}
