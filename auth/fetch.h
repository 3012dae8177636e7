/* The one driver of libcurl: requests to other servers, on the loop, with an end in sight.
 *
 * The library (its GnuTLS flavour, libcurl-gnutls.so.4) is loaded when the first of these is made
 * and not before: a process that asks nobody does not carry it. No proxy, no netrc, no redirect, no
 * cookie, no environment is followed; certificates are verified; each request names the schemes
 * that it may speak. */
#ifndef VESTIBULE_AUTH_FETCH_H
#define VESTIBULE_AUTH_FETCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#define FETCH_ERROR_MAX 512
#define FETCH_CONNECT_MS 5000   /* not for connect_only, where it is all */
#define FETCH_HEADERS_MAX 32768 /* octets of an answer's header lines, or of a server's replies */
#define FETCH_AT_ONCE 64        /* connections; requests beyond that wait, within their own time */
#define FETCH_KEPT 16           /* of them kept for later */

enum fetch_outcome {
    FETCH_DONE,   /* an answer is here, whatever it says */
    FETCH_DENIED, /* the server did not take login and password, or offered no way to give them */
    FETCH_FAILED, /* no answer, a broken one, or too much of one */
};

enum fetch_tls {
    FETCH_TLS_BY_SCHEME, /* https, imaps, …: TLS from the first octet; the plain ones: none */
    FETCH_TLS_REQUIRED,  /* plain schemes: STARTTLS, or it fails */
};

/* Strings are borrowed for the call of fetch_begin alone; all may be NULL unless said. */
struct fetch_request {
    const char *url;     /* needed */
    const char *schemes; /* needed: "http,https" */
    enum fetch_tls tls;
    const char *ca;             /* a file of PEM certificates; NULL: the system's */
    const char *user;           /* with password; NULL: no login. HTTP: Basic */
    const char *password;       /* may be empty */
    const char *login_options;  /* CURLOPT_LOGIN_OPTIONS, as "AUTH=PLAIN" */
    const char *const *headers; /* HTTP: lines "Name: value" without CR, LF; ended by NULL */
    const char *body;           /* HTTP: to be POSTed as a form; NULL: GET */
    size_t body_len;
    bool connect_only;   /* up to where a request could be made (mail: logged in), then hang up */
    bool fresh;          /* on a connection that nobody used before nor will after */
    size_t max;          /* octets of the answer's body; more: FETCH_FAILED */
    uint32_t timeout_ms; /* needed: until `done`, waiting for a turn included */
};

/* Everything is borrowed for the call of `done`. */
struct fetch_result {
    enum fetch_outcome outcome;
    long status;      /* HTTP's or SMTP's last code; 0: none */
    const char *body; /* NUL behind it */
    size_t body_len;
    const char *headers; /* HTTP: status line and header lines of the last answer; mail: every line
                            that the server said, both with CR LF. NUL behind it */
    size_t headers_len;
    const char *until;    /* the certificate's last day, as "2026-12-31"; "": not known */
    const char *error;    /* not FETCH_DONE: what is wrong, without a full stop */
    bool certificate_bad; /* the reason is the server's certificate */
};

/* The caller's memory, zeroed and filled by it; it lives until `done` or fetch_drop. */
struct fetch_job {
    /* Called on the loop, exactly once, never from inside fetch_begin. */
    void (*done)(struct fetch_job *job, const struct fetch_result *result);
    /* Mail protocols: each line that is sent, for those who must know how far it came. It may hold
     * a password. NULL: not wanted. */
    void (*sent)(struct fetch_job *job, const char *octets, size_t len);
    /* Mail protocols: each line that the server says. False: it is nonsense, and that is the end.
     * NULL: not wanted. */
    bool (*heard)(struct fetch_job *job, const char *octets, size_t len);
    void *owner;
    struct fetch_transfer *transfer; /* fetch's */
    struct fetch_job *next;
};

struct fetch;

/* Is the library there? False with a sentence that says what to install. */
bool fetch_load(char error[FETCH_ERROR_MAX]);

/* With its own pool of connections. NULL with a sentence. */
struct fetch *fetch_new(uv_loop_t *loop, char error[FETCH_ERROR_MAX]);

void fetch_begin(struct fetch *f, struct fetch_job *job, const struct fetch_request *request);

/* Nobody waits any more: `done` is not called. */
void fetch_drop(struct fetch *f, struct fetch_job *job);

/* No job is open. Handles close on the loop, the last one's callback frees. */
void fetch_close(struct fetch *f);

#endif
