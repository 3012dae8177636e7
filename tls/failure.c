#include <openssl/err.h>
#include <string.h>

#include "tls/engine_parts.h"

static const struct {
    int reason;
    const char *phrase;
} failures[] = {
    {SSL_R_UNSUPPORTED_PROTOCOL, "unsupported protocol version"},
    {SSL_R_WRONG_VERSION_NUMBER, "no TLS: plaintext on a TLS port?"},
    {SSL_R_HTTP_REQUEST, "an HTTP request on a TLS port"},
    {SSL_R_HTTPS_PROXY_REQUEST, "an HTTP request on a TLS port"},
    {SSL_R_UNKNOWN_PROTOCOL, "no TLS: plaintext on a TLS port?"},
    {SSL_R_NO_SHARED_CIPHER, "no cipher in common"},
    {SSL_R_NO_CIPHERS_PASSED, "no cipher in common"},
    {SSL_R_NO_SHARED_GROUP, "no group in common"},
    {SSL_R_NO_COMMON_SIGNATURE_ALGORITHMS, "no signature algorithm in common"},
    {SSL_R_NO_APPLICATION_PROTOCOL, "no application protocol in common"},
    {SSL_R_INAPPROPRIATE_FALLBACK, "the client fell back to an older version"},
    {SSL_R_NO_RENEGOTIATION, "the client asked for a renegotiation"},
    {SSL_R_PRIVATE_KEY_OPERATION_FAILED, "the signature was refused"},
    {SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC, "a record does not decrypt"},
    {SSL_R_TOO_MANY_KEY_UPDATES, "too many key updates"},
    {SSL_R_TOO_MANY_EMPTY_FRAGMENTS, "too many empty records"},
    {SSL_R_TOO_MANY_WARNING_ALERTS, "too many warning alerts"},
    {SSL_R_TLSV1_ALERT_UNKNOWN_CA, "the client does not trust our certificate (alert unknown_ca)"},
    {SSL_R_SSLV3_ALERT_BAD_CERTIFICATE,
     "the client does not trust our certificate (alert bad_certificate)"},
    {SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN,
     "the client does not trust our certificate (alert certificate_unknown)"},
    {SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED,
     "the client does not trust our certificate (alert certificate_expired)"},
    {SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED,
     "the client does not trust our certificate (alert certificate_revoked)"},
    {SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE,
     "the client does not trust our certificate (alert unsupported_certificate)"},
    {SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE, "the client found nothing in common (alert)"},
    {SSL_R_TLSV1_ALERT_PROTOCOL_VERSION, "the client refused the protocol version (alert)"},
    {SSL_R_TLSV1_ALERT_INSUFFICIENT_SECURITY, "the client wants stronger ciphers (alert)"},
    {SSL_R_TLSV1_ALERT_INTERNAL_ERROR, "the client had an internal error (alert)"},
    {SSL_R_TLSV1_ALERT_USER_CANCELLED, "the client's user cancelled (alert)"},
};

static const char *known_phrase(uint32_t error)
{
    if (ERR_GET_LIB(error) == ERR_LIB_SSL)
        for (size_t i = 0; i < sizeof failures / sizeof failures[0]; i++)
            if (failures[i].reason == ERR_GET_REASON(error))
                return failures[i].phrase;
    return NULL;
}

/* One mistake may leave several entries, cause first, and any of them may be the one that says it
 * best. */
const char *failure_phrase(void)
{
    const char *phrase = NULL, *first = NULL;
    uint32_t error;

    while ((error = ERR_get_error()) != 0) {
        if (phrase == NULL)
            phrase = known_phrase(error);
        if (first == NULL)
            first = ERR_reason_error_string(error);
    }
    if (phrase != NULL)
        return phrase;
    return first != NULL && strcmp(first, "unknown error") != 0 ? first : "TLS failed";
}
