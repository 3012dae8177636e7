/* TLS for the load: one context, many connections, each a transformer of bytes that the caller
 * reads and writes. Certificates are verified against the authority and the name; a chain that was
 * found good is not looked at again as long as it is the same, octet for octet. */
#ifndef VESTIBULE_BENCH_LOAD_TLS_H
#define VESTIBULE_BENCH_LOAD_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct load_tls_context;
struct load_tls;

enum load_tls_status {
    LOAD_TLS_OK,
    LOAD_TLS_MORE,  /* wants input */
    LOAD_TLS_ENDED, /* close_notify */
    LOAD_TLS_FAILED,
};

enum {
    LOAD_TLS_SHELVES = 16, /* servers whose tickets are kept apart */
    LOAD_TLS_REASON_MAX = 160,
    LOAD_TLS_RECORD = 16384,
    LOAD_TLS_OVERHEAD = 512
};

struct load_tls_settings {
    const char *ca;   /* PEM file; NULL: any certificate will do */
    const char *name; /* host name or address */
    uint16_t max_version;
};

/* Bytes on their way; the caller's. */
struct load_wire {
    const uint8_t *in;
    size_t in_len; /* what is not yet used */
    uint8_t *out;
    size_t out_len;
    size_t out_cap;
};

/* NULL: reason is one sentence. */
struct load_tls_context *load_tls_context_new(char reason[LOAD_TLS_REASON_MAX],
                                              const struct load_tls_settings *settings);
void load_tls_context_free(struct load_tls_context *c);

/* Whether a ticket of that server is there for the next connection that wants to resume. */
bool load_tls_has_ticket(const struct load_tls_context *c, unsigned shelf);

/* NULL: short of memory. shelf < LOAD_TLS_SHELVES. */
struct load_tls *load_tls_new(struct load_tls_context *c, unsigned shelf, bool resume);
void load_tls_free(struct load_tls *t);

/* Each uses w->in and appends to w->out, which has to have room for a record and
 * LOAD_TLS_OVERHEAD. */
enum load_tls_status load_tls_handshake(struct load_tls *t, struct load_wire *w);
enum load_tls_status load_tls_read(struct load_tls *t, void *out, size_t *got, size_t cap,
                                   struct load_wire *w);
/* len at most LOAD_TLS_RECORD. */
enum load_tls_status load_tls_write(struct load_tls *t, const void *in, size_t len,
                                    struct load_wire *w);
void load_tls_close(struct load_tls *t, struct load_wire *w); /* says close_notify */

bool load_tls_resumed(const struct load_tls *t);
/* Why it failed, without the final stop. */
const char *load_tls_reason(const struct load_tls *t);

#endif
