/* A connection as the parts of load_client see it: its life (load_client), what it sends
 * (load_client_send) and what it hears (load_client_take). */
#ifndef VESTIBULE_BENCH_LOAD_CLIENT_PARTS_H
#define VESTIBULE_BENCH_LOAD_CLIENT_PARTS_H

#include "bench/load_client.h"

enum load_client_phase {
    LOAD_CONNECTING,
    LOAD_HANDSHAKING,
    LOAD_TALKING,
    LOAD_HOLDING,
    LOAD_LEAVING,
    LOAD_CLOSED
};

struct load_client {
    uv_tcp_t tcp;
    uv_connect_t connect;
    uv_write_t write;
    struct load_stream *stream;
    struct load_job *job;
    struct load_client *next, **link;
    enum load_client_phase phase;
    bool greeted; /* counted among those that are */
    bool measured;
    bool primer; /* a full handshake for want of a ticket */
    bool failed;
    bool blocked; /* unsent octets are with the kernel */
    uint64_t intended;
    uint64_t started;
    uint64_t mark;     /* when the phase that is under way began */
    uint64_t deadline; /* unless something happens */
    uint64_t next_drip;
    size_t allowance; /* octets that a slow client may say now */
    struct load_tls *tls;
    uint8_t *unsent;
    uint8_t *dripping; /* a handshake's octets on their slow way */
    size_t dripping_at, dripping_len;
    struct load_talk talk;
};

static inline struct load_run *load_client_run(const struct load_client *c)
{
    return c->stream->run;
}

static inline const struct load_work *load_client_work(const struct load_client *c)
{
    return c->job->work;
}

static inline uv_stream_t *load_client_stream(struct load_client *c)
{
    return (uv_stream_t *)&c->tcp;
}

/* load_client. Of a client that is closed already nothing more happens. */
void load_client_close(struct load_client *c);
void load_client_fail(struct load_client *c, const char *where, const char *what);
const char *load_client_where(const struct load_client *c); /* it stands, for load_client_fail */
void load_client_progress(struct load_client *c);           /* renews the time it has */
void load_client_is_greeted(struct load_client *c);

/* load_client_send. */
/* Says what there is to say as long as the kernel takes it, and goes on by itself later. */
void load_client_pump(struct load_client *c);
/* All that stands in the staging area goes out, now or as soon as the kernel takes it. */
void load_client_flush(struct load_client *c);
bool load_client_drips_handshake(const struct load_client *c);
/* The handshake's octets in the staging area join those that wait for their slow way. */
void load_client_keep_for_dripping(struct load_client *c);
void load_client_drip(struct load_client *c);

/* load_client_take. */
void load_client_listen(struct load_client *c);
void load_client_begin_handshake(struct load_client *c);
void load_client_end_phase(struct load_client *c, enum load_phase phase);

#endif
