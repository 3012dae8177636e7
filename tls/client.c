#include "tls/client.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

static bool read_line(SSL *ssl, char *line, size_t cap)
{
    size_t len = 0;
    while (len + 1 < cap && SSL_read(ssl, line + len, 1) == 1) {
        if (line[len] == '\n') {
            line[len > 0 && line[len - 1] == '\r' ? len - 1 : len] = '\0';
            return true;
        }
        len++;
    }
    return false;
}

bool tls_client_first_line(int fd, char *line, size_t cap)
{
    ERR_clear_error();
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    SSL *ssl = context != NULL ? SSL_new(context) : NULL;
    bool good = ssl != NULL && SSL_set_fd(ssl, fd) == 1 && SSL_connect(ssl) == 1 &&
                read_line(ssl, line, cap);
    if (good)
        SSL_shutdown(ssl);
    SSL_free(ssl);
    SSL_CTX_free(context);
    return good;
}
