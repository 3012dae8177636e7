#include <string.h>
#include <strings.h>

#include "proxy/smtp_core.h"

/* RFC 3030 2: `chunk-size [SP "LAST"]`, the size 1*20DIGIT. */
static bool smtp_chunk_parse(struct smtp_chunk *out, const struct smtp_line *line)
{
    size_t digits = 0;
    uint64_t size = 0;

    for (; digits < line->len && line->args[digits] >= '0' && line->args[digits] <= '9'; digits++) {
        uint64_t digit = (uint64_t)(line->args[digits] - '0');

        if (size > (UINT64_MAX - digit) / 10)
            return false;
        size = size * 10 + digit;
    }
    *out = (struct smtp_chunk){.open = true, .size = size, .left = size};
    out->last = line->len == digits + 5 && strncasecmp(line->args + digits, " LAST", 5) == 0;
    return digits > 0 && digits <= 20 && (digits == line->len || out->last);
}

/* Many tiny chunks cost us a command each and the client nothing. */
static bool smtp_chunks_are_crumbs(const struct smtp_message *m)
{
    return m->chunks > LIMIT_CHUNKS_SMALL && m->in / m->chunks < LIMIT_CHUNK_AVERAGE;
}

static const char *smtp_chunk_refusal(const struct smtp *s)
{
    const char *early = smtp_too_early(s, 0);

    if (early != NULL)
        return early;
    if (s->hello == HELLO_NONE)
        return SAY_NEED_HELLO;
    if ((s->offered & EXTENSION_CHUNKING) == 0)
        return SAY_NOT_HERE;
    if (s->stage == STAGE_CHUNK)
        return NULL;
    if (s->stage != STAGE_OPEN)
        return SAY_NEED_MAIL;
    if (s->message->lost)
        return SAY_MTA_LOST;
    return s->message->accepted == 0 ? SAY_NEED_RCPT : NULL;
}

/* The first chunk: BDAT becomes DATA; the chunk is not looked at before the MTA's 354. */
static void smtp_chunk_first(struct smtp *s, struct smtp_io *io)
{
    struct smtp_message *m = s->message;
    struct buf *to = smtp_to_mta(s, io);

    if (to == NULL)
        return;
    m->chunked = true;
    data_init_chunked(&m->scan, s->rules->newline,
                      capabilities_size(&s->mta.capabilities, s->rules->max_size));
    smtp_stage_enter(s, STAGE_DATA);
    (void)smtp_wrote(s, mta_data(&s->mta, to));
}

static void smtp_chunk_accept(struct smtp *s, struct smtp_io *io)
{
    struct smtp_message *m = s->message;

    m->chunks++;
    fifo_wait(&s->fifo);
    if (s->stage == STAGE_OPEN)
        smtp_chunk_first(s, io);
    else
        smtp_stage_enter(s, m->lost ? STAGE_DRAIN : STAGE_BODY);
}

/* What a stranger sends is thrown away for him, but not without end. */
static bool smtp_chunk_too_long(const struct smtp *s)
{
    return !smtp_may_forward(s) && s->chunk.left > capabilities_size(s->known, s->rules->max_size);
}

const char *smtp_do_bdat(struct smtp *s, struct smtp_io *io, const struct smtp_line *line)
{
    /* What follows a size that is none, or too much, must not be read as commands. */
    if (!smtp_chunk_parse(&s->chunk, line) || smtp_chunk_too_long(s)) {
        smtp_finish(s, SMTP_END_BDAT);
        return NULL;
    }
    s->chunk.refusal = smtp_chunk_refusal(s);
    if (s->chunk.refusal != NULL)
        return NULL;
    if (smtp_chunks_are_crumbs(s->message))
        smtp_finish(s, SMTP_END_ERRORS);
    else
        smtp_chunk_accept(s, io);
    return NULL;
}

bool smtp_chunk_refused(struct smtp *s, struct smtp_io *io)
{
    struct smtp_chunk *c = &s->chunk;
    size_t have = buf_len(io->from_client);
    const char *refusal;

    if (!c->open || c->refusal == NULL || (c->left > 0 && have == 0))
        return false;
    if (have > c->left)
        have = (size_t)c->left;
    buf_consume(io->from_client, have);
    c->left -= have;
    if (c->left > 0)
        return true;
    refusal = c->refusal;
    *c = (struct smtp_chunk){0};
    if (s->stage == STAGE_OPEN && s->message->lost) {
        refusal = SAY_MTA_LOST;
        smtp_conclude(s, NULL);
    }
    smtp_reply(s, refusal);
    return true;
}

/* The MTA's answer to a message without an end is not awaited for a chunk: this 250 is for octets
 * taken, not for a message. */
static bool smtp_chunk_between(struct smtp *s)
{
    s->chunk.open = false;
    fifo_answer(&s->fifo, SAY_OK);
    smtp_stage_enter(s, STAGE_CHUNK);
    return true;
}

bool smtp_chunk_end(struct smtp *s, struct smtp_io *io)
{
    struct buf *to;
    uint8_t *space;
    size_t out = 0;

    if (!s->chunk.last)
        return smtp_chunk_between(s);
    if (buf_room(io->to_mta) < DATA_GROWTH || buf_len(io->from_mta) > 0)
        return false;
    if (!smtp_body_trace(s, io))
        return true;
    to = smtp_to_mta(s, io);
    if (to == NULL)
        return true;
    space = buf_reserve(to, DATA_GROWTH);
    if (space == NULL)
        return smtp_wrote(s, false);
    data_end_chunked(&s->message->scan, space, &out);
    buf_commit(to, out);
    s->message->out += out;
    s->chunk.open = false;
    smtp_body_scanned(s, io, 0);
    return true;
}
