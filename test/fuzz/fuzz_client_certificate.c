#include <openssl/pool.h>
#include <openssl/x509.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tls/client_ca_parts.h"

/* The first octet says what the rest is: a client's certificate, or a file of authorities. */

static void require(int holds)
{
    if (!holds)
        abort();
}

/* Whoever it is, a log line and a protocol line can hold him. */
static void fuzz_name(const uint8_t *der, size_t len)
{
    char name[CLIENT_CA_LOGIN_MAX + 1];
    const uint8_t *at = der;
    X509 *x = d2i_X509(NULL, &at, (long)len);

    memset(name, 'x', sizeof name);
    if (x != NULL && client_name(name, x)) {
        const size_t name_len = strnlen(name, sizeof name);
        require(name_len > 0 && name_len <= CLIENT_CA_LOGIN_MAX);
        for (size_t i = 0; i < name_len; i++)
            require((uint8_t)name[i] >= ' ' && name[i] != 0x7f);
    }
    X509_free(x);
}

/* Authorities that were taken stay themselves, and nobody is let in who only looks like signed. */
static void fuzz_file(const uint8_t *data, size_t len)
{
    char error[CERTIFICATE_ERROR_MAX] = "";
    struct client_ca *ca = client_ca_from_pem((const char *)data, len, "file", error);
    const uint8_t *der[CLIENT_CA_MAX];
    size_t der_len[CLIENT_CA_MAX];

    require((ca == NULL) == (error[0] != '\0'));
    if (ca == NULL)
        return;
    const size_t count = client_ca_count(ca);
    require(count > 0 && count <= CLIENT_CA_MAX);
    for (size_t i = 0; i < count; i++)
        der[i] = client_ca_der(ca, i, &der_len[i]);
    struct client_ca *copy = client_ca_from_der(der, der_len, count);
    require(copy != NULL && client_ca_count(copy) == count);
    STACK_OF(CRYPTO_BUFFER) *names = client_ca_names(ca);
    require(names != NULL && sk_CRYPTO_BUFFER_num(names) == count);
    sk_CRYPTO_BUFFER_pop_free(names, CRYPTO_BUFFER_free);
    client_ca_free(copy);
    client_ca_free(ca);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || size > 65536)
        return 0;
    if (data[0] == 'f')
        fuzz_file(data + 1, size - 1);
    else
        fuzz_name(data + 1, size - 1);
    return 0;
}
