#include <openssl/bytestring.h>
#include <openssl/nid.h>
#include <string.h>

#include "tls/certificate_parts.h"
#include "tls/engine_parts.h"

#define CHOOSE_NONE SIZE_MAX

bool sni_sound(const char *name)
{
    size_t len = strlen(name);
    return len > 0 && len <= 253 && name[0] != '.' &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._") == len;
}

/* Does the extension, a list of 16-bit numbers behind its length, hold the value? */
static bool hello_lists(const SSL_CLIENT_HELLO *hello, uint16_t extension, uint16_t value)
{
    const uint8_t *data;
    size_t len;
    CBS body, list;
    uint16_t item;

    if (SSL_early_callback_ctx_extension_get(hello, extension, &data, &len) != 1)
        return false;
    CBS_init(&body, data, len);
    /* supported_versions alone has a length of one octet (RFC 8446 4.2.1). */
    if ((extension == TLSEXT_TYPE_supported_versions
             ? CBS_get_u8_length_prefixed(&body, &list)
             : CBS_get_u16_length_prefixed(&body, &list)) != 1)
        return false;
    while (CBS_get_u16(&list, &item) == 1)
        if (item == value)
            return true;
    return false;
}

static bool hello_has_suite(const SSL_CLIENT_HELLO *hello, uint16_t value)
{
    CBS list;
    uint16_t item;
    CBS_init(&list, hello->cipher_suites, hello->cipher_suites_len);
    while (CBS_get_u16(&list, &item) == 1)
        if (item == value)
            return true;
    return false;
}

static bool hello_shares_ecdsa_suite(const SSL_CLIENT_HELLO *hello)
{
    const STACK_OF(SSL_CIPHER) *ours = SSL_get_ciphers(hello->ssl);
    for (size_t i = 0; i < sk_SSL_CIPHER_num(ours); i++) {
        const SSL_CIPHER *cipher = sk_SSL_CIPHER_value(ours, i);
        if (SSL_CIPHER_get_auth_nid(cipher) == NID_auth_ecdsa &&
            hello_has_suite(hello, SSL_CIPHER_get_protocol_id(cipher)))
            return true;
    }
    return false;
}

static bool can_verify(const SSL_CLIENT_HELLO *hello, uint16_t group)
{
    const uint16_t algorithm = group == SSL_CURVE_SECP384R1 ? SSL_SIGN_ECDSA_SECP384R1_SHA384
                                                            : SSL_SIGN_ECDSA_SECP256R1_SHA256;
    if (!hello_lists(hello, TLSEXT_TYPE_signature_algorithms, algorithm))
        return false;
    /* Below 1.3 the suite and the groups speak of the certificate, too (RFC 8422 2, 5.1). */
    return hello_lists(hello, TLSEXT_TYPE_supported_versions, TLS1_3_VERSION) ||
           (hello_shares_ecdsa_suite(hello) &&
            hello_lists(hello, TLSEXT_TYPE_supported_groups, group));
}

/* NULL: the names of the first certificate. */
static bool has_name(const struct tls_context *c, size_t index, const char *name)
{
    return name == NULL ? c->in_default_group[index]
                        : certificate_matches(c->certificates[index], name);
}

static size_t choose_named(const struct tls_context *c, const SSL_CLIENT_HELLO *hello,
                           const char *name)
{
    size_t rsa = CHOOSE_NONE, any = CHOOSE_NONE;

    for (size_t i = 0; i < c->certificate_count; i++) {
        if (!has_name(c, i, name))
            continue;
        if (any == CHOOSE_NONE)
            any = i;
        if (certificate_kind(c->certificates[i]) == CERTIFICATE_ECDSA) {
            if (can_verify(hello, certificate_group(c->certificates[i])))
                return i;
        } else if (rsa == CHOOSE_NONE) {
            rsa = i;
        }
    }
    /* None that it can verify: the handshake fails with the reason in the library's own words. */
    return rsa != CHOOSE_NONE ? rsa : any;
}

size_t choose_certificate(const struct tls_context *c, const SSL_CLIENT_HELLO *hello,
                          const char *sni)
{
    size_t index = CHOOSE_NONE;
    if (sni != NULL && sni_sound(sni))
        index = choose_named(c, hello, sni);
    return index != CHOOSE_NONE ? index : choose_named(c, hello, NULL);
}
