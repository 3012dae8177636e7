#include "auth/dial.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "auth/peer_certificate.h"

_Static_assert(PEER_CERTIFICATE_DATE_MAX == DIAL_UNTIL_MAX, "dates are handed on");

static void dial_patience(int fd, uint32_t ms)
{
    const struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = (suseconds_t)(ms % 1000) * 1000};
    const int yes = 1;

    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof tv);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
}

static bool dial_try(int fd, const struct addrinfo *a, uint32_t ms)
{
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    int why = 0;
    socklen_t len = sizeof why;

    if (connect(fd, a->ai_addr, a->ai_addrlen) != 0) {
        if (errno != EINPROGRESS || poll(&p, 1, (int)ms) != 1 ||
            getsockopt(fd, SOL_SOCKET, SO_ERROR, &why, &len) != 0 || why != 0)
            return false;
    }
    return fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK) == 0;
}

int dial_connect(const char *host, uint16_t port, uint32_t connect_ms, uint32_t patience_ms,
                 char error[DIAL_ERROR_MAX])
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *all = NULL;
    char service[8];
    int fd = -1;

    snprintf(service, sizeof service, "%u", (unsigned)port);
    if (getaddrinfo(host, service, &hints, &all) != 0) {
        snprintf(error, DIAL_ERROR_MAX, "the name %.253s has no address that can be found", host);
        return -1;
    }
    for (const struct addrinfo *a = all; a != NULL && fd < 0; a = a->ai_next) {
        fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd >= 0 && !dial_try(fd, a, connect_ms)) {
            close(fd);
            fd = -1;
        }
    }
    freeaddrinfo(all);
    if (fd < 0)
        snprintf(error, DIAL_ERROR_MAX, "it cannot be reached: is it running there?");
    else
        dial_patience(fd, patience_ms);
    return fd;
}

static bool dial_expect(SSL *ssl, const char *host)
{
    X509_VERIFY_PARAM *p = SSL_get0_param(ssl);
    unsigned char address[16];

    if (inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1)
        return X509_VERIFY_PARAM_set1_ip_asc(p, host) == 1;
    return X509_VERIFY_PARAM_set1_host(p, host, strlen(host)) == 1 &&
           SSL_set_tlsext_host_name(ssl, host) == 1;
}

/* Whoever shows a certificate that is not right is looked at before he is left. */
struct dial_witness {
    const char *host;
    char fault[PEER_CERTIFICATE_FAULT_MAX];
};

static void dial_blame(struct dial_witness *w, X509 *leaf)
{
    uint8_t *der = NULL;
    const int len = leaf != NULL ? i2d_X509(leaf, &der) : 0;

    if (len > 0)
        peer_certificate_fault(w->fault, der, (size_t)len, w->host, time(NULL));
    OPENSSL_free(der);
}

static int dial_judge(X509_STORE_CTX *chain, void *witness)
{
    const int right = X509_verify_cert(chain);

    if (right != 1)
        dial_blame(witness, X509_STORE_CTX_get0_cert(chain));
    return right;
}

static bool dial_prepare(struct dial *d, int fd, struct dial_witness *w, const char *ca,
                         char error[DIAL_ERROR_MAX])
{
    d->context = SSL_CTX_new(TLS_method());
    if (d->context == NULL || !SSL_CTX_set_min_proto_version(d->context, TLS1_2_VERSION)) {
        snprintf(error, DIAL_ERROR_MAX, "out of memory");
        return false;
    }
    if (SSL_CTX_load_verify_locations(d->context, ca, NULL) != 1) {
        snprintf(error, DIAL_ERROR_MAX, "the authorities in %.300s cannot be read; see [auth] ca",
                 ca);
        return false;
    }
    SSL_CTX_set_verify(d->context, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_cert_verify_callback(d->context, dial_judge, w);
    d->ssl = SSL_new(d->context);
    if (d->ssl == NULL || SSL_set_fd(d->ssl, fd) != 1 || !dial_expect(d->ssl, w->host)) {
        snprintf(error, DIAL_ERROR_MAX, "out of memory");
        return false;
    }
    return true;
}

static void dial_note_until(char until[DIAL_UNTIL_MAX], SSL *ssl)
{
    X509 *leaf = SSL_get_peer_certificate(ssl);
    uint8_t *der = NULL;
    const int len = leaf != NULL ? i2d_X509(leaf, &der) : 0;

    peer_certificate_until(until, der, len > 0 ? (size_t)len : 0);
    OPENSSL_free(der);
    X509_free(leaf);
}

bool dial_secure(struct dial *d, int fd, const char *host, const char *ca,
                 char until[DIAL_UNTIL_MAX], char error[DIAL_ERROR_MAX])
{
    struct dial_witness w = {.host = host};
    bool secure;

    if (!dial_prepare(d, fd, &w, ca, error)) {
        dial_free(d);
        return false;
    }
    secure = SSL_connect(d->ssl) == 1 && SSL_get_verify_result(d->ssl) == X509_V_OK;
    if (secure) {
        dial_note_until(until, d->ssl);
    } else {
        snprintf(error, DIAL_ERROR_MAX, "%s",
                 w.fault[0] != '\0' ? w.fault : "the TLS handshake failed: is it the right port?");
        dial_free(d);
    }
    ERR_clear_error();
    if (secure) /* the witness was ours */
        SSL_CTX_set_cert_verify_callback(d->context, NULL, NULL);
    return secure;
}

static long dial_result(struct dial *d, int n)
{
    const int why = n > 0 ? SSL_ERROR_NONE : SSL_get_error(d->ssl, n);

    ERR_clear_error();
    if (why == SSL_ERROR_NONE)
        return n;
    if (why == SSL_ERROR_ZERO_RETURN)
        return 0;
    errno = why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? EAGAIN : EIO;
    return -1;
}

long dial_read(struct dial *d, void *octets, unsigned long len)
{
    return dial_result(d, SSL_read(d->ssl, octets, len < 65536 ? (int)len : 65536));
}

long dial_write(struct dial *d, const void *octets, unsigned long len)
{
    return dial_result(d, SSL_write(d->ssl, octets, len < 65536 ? (int)len : 65536));
}

bool dial_pending(const struct dial *d)
{
    return SSL_pending(d->ssl) > 0;
}

void dial_free(struct dial *d)
{
    SSL_free(d->ssl);
    SSL_CTX_free(d->context);
    *d = (struct dial){.ssl = NULL};
}
