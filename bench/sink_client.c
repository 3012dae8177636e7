#include "bench/sink_client.h"

#include <stdlib.h>
#include <string.h>

#include "bench/sink_command.h"
#include "bench/sink_store.h"

enum { UNREAD_REPLIES_MAX = 65536 };

struct unsent {
    uv_write_t request;
    char text[];
};

static uv_stream_t *stream_of(struct sink_client *c)
{
    return (uv_stream_t *)&c->tcp;
}

void sink_client_note(const struct sink_client *c, const char *who, const char *text, size_t len)
{
    if (!c->sink->quiet)
        printf("#%llu %s %.*s\n", (unsigned long long)c->number, who, (int)len, text);
}

static void leave_list(struct sink_client *c)
{
    if (c->link == NULL)
        return;
    *c->link = c->next;
    if (c->next != NULL)
        c->next->link = c->link;
    c->link = NULL;
    c->sink->open--;
}

static void enter_list(struct sink_client *c)
{
    struct sink *s = c->sink;
    c->next = s->clients;
    c->link = &s->clients;
    if (c->next != NULL)
        c->next->link = &c->next;
    s->clients = c;
    s->open++;
    s->counts.open_max = s->open > s->counts.open_max ? s->open : s->counts.open_max;
}

static void on_closed(uv_handle_t *handle)
{
    struct sink_client *c = handle->data;
    free(c->held);
    free(c->preamble);
    free(c->line);
    free(c);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct sink_client *c = handle->data;
    uv_close((uv_handle_t *)&c->tcp, on_closed);
}

void sink_client_close(struct sink_client *c)
{
    if (c->link == NULL)
        return;
    leave_list(c);
    if (c->phase == SINK_MESSAGE || c->chunked)
        c->sink->counts.aborted++;
    sink_store_drop(c);
    c->over = true;
    if (c->has_timer)
        uv_close((uv_handle_t *)&c->timer, on_timer_closed);
    else
        uv_close((uv_handle_t *)&c->tcp, on_closed);
}

static bool all_sent(struct sink_client *c)
{
    return c->out_len == 0 && uv_stream_get_write_queue_size(stream_of(c)) == 0;
}

static void on_written(uv_write_t *request, int status)
{
    struct sink_client *c = request->handle->data;
    free(request);
    if (status == 0 && c->over && all_sent(c))
        sink_client_close(c);
}

static bool send_later(struct sink_client *c, const char *text, size_t len)
{
    if (uv_stream_get_write_queue_size(stream_of(c)) > UNREAD_REPLIES_MAX)
        return false;
    struct unsent *u = malloc(sizeof *u + len);
    if (u == NULL)
        return false;
    memcpy(u->text, text, len);
    uv_buf_t rest = uv_buf_init(u->text, (unsigned)len);
    if (uv_write(&u->request, stream_of(c), &rest, 1, on_written) == 0)
        return true;
    free(u);
    return false;
}

static void flush_out(struct sink_client *c)
{
    if (c->out_len == 0 || c->link == NULL)
        return;
    uv_buf_t all = uv_buf_init(c->out, (unsigned)c->out_len);
    int sent = uv_try_write(stream_of(c), &all, 1);
    size_t done = sent > 0 ? (size_t)sent : 0;
    bool good = sent >= 0 || sent == UV_EAGAIN;
    if (good && done < c->out_len)
        good = send_later(c, c->out + done, c->out_len - done);
    c->out_len = 0;
    if (!good)
        sink_client_close(c);
}

void sink_client_say(struct sink_client *c, const char *text)
{
    size_t len = strlen(text);
    sink_client_note(c, "S:", text, len);
    if (len + 2 > sizeof c->out - c->out_len)
        flush_out(c);
    if (len + 2 > sizeof c->out)
        return; /* no reply of ours is so long */
    memcpy(c->out + c->out_len, text, len);
    memcpy(c->out + c->out_len + len, "\r\n", 2);
    c->out_len += len + 2;
}

void sink_client_say_bye(struct sink_client *c, const char *text)
{
    c->over = true;
    sink_client_say(c, text);
}

static size_t take_preamble(struct sink_client *c, const uint8_t *in, size_t len)
{
    size_t taken;
    enum sink_preamble_status status = sink_preamble_take(c->preamble, &taken, in, len);
    if (status == SINK_PREAMBLE_BAD)
        sink_client_close(c);
    if (status != SINK_PREAMBLE_DONE)
        return taken;
    free(c->preamble);
    c->preamble = NULL;
    c->phase = SINK_COMMAND;
    sink_command_greet(c);
    return taken;
}

static bool line_has_room(struct sink_client *c, size_t len)
{
    if (c->line == NULL)
        c->line = malloc(SINK_LINE_MAX + 1);
    if (c->line != NULL && c->line_len + len <= SINK_LINE_MAX)
        return true;
    sink_client_say_bye(c, "500 5.5.2 Line too long");
    return false;
}

static size_t take_command(struct sink_client *c, const uint8_t *in, size_t len)
{
    const uint8_t *lf = memchr(in, '\n', len);
    size_t n = lf != NULL ? (size_t)(lf - in) + 1 : len;
    if (!line_has_room(c, n))
        return len;
    memcpy(c->line + c->line_len, in, n);
    c->line_len += n;
    if (lf != NULL && c->line_len >= 2 && c->line[c->line_len - 2] == '\r') {
        c->line_len -= 2;
        c->line[c->line_len] = '\0';
        sink_command_run(c);
    }
    return n;
}

static size_t take_some(struct sink_client *c, const uint8_t *in, size_t len)
{
    switch (c->phase) {
    case SINK_PREAMBLE:
        return take_preamble(c, in, len);
    case SINK_COMMAND:
        return take_command(c, in, len);
    case SINK_MESSAGE:
        return sink_command_message(c, in, len);
    case SINK_CHUNK:
        return sink_command_chunk(c, in, len);
    case SINK_DEAF:
        break;
    }
    return len;
}

static bool hold(struct sink_client *c, const uint8_t *in, size_t len)
{
    c->held = malloc(len);
    if (c->held == NULL)
        return false;
    memcpy(c->held, in, len);
    c->held_len = len;
    return true;
}

static void take(struct sink_client *c, const uint8_t *in, size_t len)
{
    size_t used = 0;
    while (used < len && !c->over && c->waiting == NULL)
        used += take_some(c, in + used, len - used);
    if (used < len && c->waiting != NULL && !c->over && !hold(c, in + used, len - used))
        sink_client_close(c);
    flush_out(c);
    if (c->over && c->link != NULL) {
        uv_read_stop(stream_of(c));
        if (all_sent(c))
            sink_client_close(c);
    }
}

static void on_read(uv_stream_t *stream, ssize_t got, const uv_buf_t *block)
{
    struct sink_client *c = stream->data;
    if (got < 0)
        sink_client_close(c);
    else if (got > 0)
        take(c, (const uint8_t *)block->base, (size_t)got);
}

static void on_block(uv_handle_t *handle, size_t suggested, uv_buf_t *block)
{
    struct sink_client *c = handle->data;
    (void)suggested;
    *block = uv_buf_init((char *)c->sink->block, sizeof c->sink->block);
}

static void on_waited(uv_timer_t *timer)
{
    struct sink_client *c = timer->data;
    void (*then)(struct sink_client *) = c->waiting;
    uint8_t *held = c->held;
    size_t len = c->held_len;
    c->waiting = NULL;
    c->held = NULL;
    c->held_len = 0;
    then(c);
    take(c, held, len);
    free(held);
    if (!c->over && c->waiting == NULL)
        uv_read_start(stream_of(c), on_block, on_read);
}

void sink_client_wait(struct sink_client *c, uint64_t ms, void (*then)(struct sink_client *c))
{
    if (!c->has_timer) {
        uv_timer_init(&c->sink->loop, &c->timer);
        c->timer.data = c;
        c->has_timer = true;
    }
    c->waiting = then;
    uv_read_stop(stream_of(c));
    uv_timer_start(&c->timer, on_waited, ms, 0);
}

static void begin(struct sink_client *c)
{
    enter_list(c);
    uv_tcp_nodelay(&c->tcp, 1);
    uv_read_start(stream_of(c), on_block, on_read);
    c->phase = c->preamble != NULL ? SINK_PREAMBLE : SINK_COMMAND;
    if (c->preamble == NULL)
        sink_command_greet(c);
    take(c, NULL, 0);
}

void sink_client_accept(struct sink *s)
{
    struct sink_client *c = calloc(1, sizeof *c);
    if (c == NULL)
        return;
    c->sink = s;
    c->number = ++s->numbers;
    s->counts.sessions++;
    c->preamble = s->proxy ? calloc(1, sizeof *c->preamble) : NULL;
    uv_tcp_init(&s->loop, &c->tcp);
    c->tcp.data = c;
    if (uv_accept((uv_stream_t *)&s->listener, stream_of(c)) != 0 ||
        (s->proxy && c->preamble == NULL))
        uv_close((uv_handle_t *)&c->tcp, on_closed);
    else
        begin(c);
}
