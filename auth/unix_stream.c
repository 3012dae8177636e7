#include "auth/unix_stream.h"

#include <openssl/mem.h>
#include <stdlib.h>
#include <string.h>

struct unix_stream {
    uv_pipe_t pipe;
    uv_connect_t connect;
    const struct unix_stream_events *events;
    void *owner;
    bool over; /* nobody is told anything any more */
    uint8_t in[4096];
};

struct unix_stream_message {
    uv_write_t write;
    size_t len;
    uint8_t data[];
};

static void stream_free(uv_handle_t *handle)
{
    struct unix_stream *s = handle->data;

    OPENSSL_cleanse(s->in, sizeof s->in);
    free(s);
}

void unix_stream_close(struct unix_stream *s)
{
    if (s == NULL || s->over)
        return;
    s->over = true;
    uv_close((uv_handle_t *)&s->pipe, stream_free);
}

static void stream_end(struct unix_stream *s, int why)
{
    if (s->over)
        return;
    unix_stream_close(s);
    s->events->closed(s->owner, why);
}

static void stream_room(uv_handle_t *handle, size_t wanted, uv_buf_t *room)
{
    struct unix_stream *s = handle->data;

    (void)wanted;
    *room = uv_buf_init((char *)s->in, sizeof s->in);
}

static void stream_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *room)
{
    struct unix_stream *s = stream->data;

    (void)room;
    if (len < 0)
        stream_end(s, (int)len);
    else if (len > 0)
        s->events->data(s->owner, s->in, (size_t)len);
}

static void stream_connected(uv_connect_t *connect, int status)
{
    struct unix_stream *s = connect->data;

    if (status == 0)
        status = uv_read_start((uv_stream_t *)&s->pipe, stream_room, stream_read);
    if (status != 0)
        stream_end(s, status);
    else if (!s->over)
        s->events->connected(s->owner);
}

struct unix_stream *unix_stream_open(uv_loop_t *loop, const char *path,
                                     const struct unix_stream_events *events, void *owner)
{
    struct unix_stream *s;

    if (strlen(path) > UNIX_STREAM_PATH_MAX || (s = calloc(1, sizeof *s)) == NULL)
        return NULL;
    s->events = events;
    s->owner = owner;
    if (uv_pipe_init(loop, &s->pipe, 0) != 0) {
        free(s);
        return NULL;
    }
    s->pipe.data = s;
    s->connect.data = s;
    uv_pipe_connect(&s->connect, &s->pipe, path, stream_connected);
    return s;
}

static void stream_written(uv_write_t *write, int status)
{
    struct unix_stream_message *m = write->data;
    struct unix_stream *s = write->handle->data;

    OPENSSL_cleanse(m->data, m->len);
    free(m);
    if (status != 0)
        stream_end(s, status);
}

bool unix_stream_write(struct unix_stream *s, const void *data, size_t len)
{
    struct unix_stream_message *m;
    uv_buf_t bytes;

    if (uv_stream_get_write_queue_size((uv_stream_t *)&s->pipe) + len > UNIX_STREAM_UNSENT_MAX ||
        (m = malloc(sizeof *m + len)) == NULL)
        return false;
    m->len = len;
    memcpy(m->data, data, len);
    m->write.data = m;
    bytes = uv_buf_init((char *)m->data, (unsigned)len);
    if (uv_write(&m->write, (uv_stream_t *)&s->pipe, &bytes, 1, stream_written) != 0) {
        OPENSSL_cleanse(m->data, m->len);
        free(m);
        return false;
    }
    return true;
}
