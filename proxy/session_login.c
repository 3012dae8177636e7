#include "proxy/session_state.h"

#include <stdio.h>
#include <string.h>

static void copy_printable(char *out, size_t cap, const char *text)
{
    size_t n = 0;
    for (; text[n] != '\0' && n < cap - 1; n++)
        out[n] = text[n] >= 0x20 && text[n] < 0x7f ? text[n] : '?';
    out[n] = '\0';
}

static void describe_client(struct session *s, struct auth_client *c)
{
    address_octets(c->address, &s->from);
    c->port = address_port(&s->from);
    address_octets(c->local, &s->to);
    c->local_port = address_port(&s->to);
    c->attempt = ++s->attempt;
    c->offered = smtp_listed(s->smtp);
    c->bound = s->tls != NULL && tls_engine_binding(s->tls, c->binding);
    copy_printable(c->session, sizeof c->session, s->id);
    if (smtp_helo(s->smtp) != NULL)
        copy_printable(c->helo, sizeof c->helo, smtp_helo(s->smtp));
    if (s->tls != NULL) {
        copy_printable(c->tls_version, sizeof c->tls_version, tls_engine_version(s->tls));
        copy_printable(c->tls_cipher, sizeof c->tls_cipher, tls_engine_cipher(s->tls));
    }
}

static void ask_first(struct session *s, const struct sasl_credential *c)
{
    struct channel_frame ask = {.type = CHANNEL_VERIFY,
                                .number = session_question(s),
                                .as.verify = {.listener = s->port->index,
                                              .mechanism = c->mechanism,
                                              .login = c->login,
                                              .login_len = c->login_len,
                                              .secret = c->secret,
                                              .secret_len = c->secret_len}};
    describe_client(s, &ask.as.verify.client);
    link_send(s->worker->link, &ask);
}

static void ask_on(struct session *s, const struct sasl_credential *c)
{
    s->asked = true;
    link_send(s->worker->link,
              &(struct channel_frame){
                  .type = CHANNEL_RESPOND,
                  .number = s->question,
                  .as.message = {.octets = (const uint8_t *)c->secret, .len = c->secret_len}});
}

bool session_ask_verdict(struct session *s)
{
    if (s->asked)
        return false;
    if (s->worker->link == NULL) {
        smtp_verdict(s->smtp, SMTP_UNAVAILABLE, NULL);
        return true;
    }
    if (s->exchange)
        ask_on(s, smtp_credential(s->smtp));
    else
        ask_first(s, smtp_credential(s->smtp));
    return false;
}

void session_take_challenge(struct session *s, const struct channel_frame *frame)
{
    s->exchange = true;
    smtp_challenged(s->smtp, frame->as.message.octets, frame->as.message.len);
}

static enum smtp_verdict verdict_of(enum channel_verdict v)
{
    switch (v) {
    case CHANNEL_ACCEPTED:
        return SMTP_ACCEPTED;
    case CHANNEL_REJECTED:
        return SMTP_REJECTED;
    case CHANNEL_LIMITED:
        return SMTP_LIMITED;
    case CHANNEL_UNAVAILABLE:
        break;
    }
    return SMTP_UNAVAILABLE;
}

void session_take_verdict(struct session *s, const struct channel_frame *frame)
{
    enum channel_verdict word = frame->as.verdict.word;
    if (word == CHANNEL_REJECTED)
        session_log_refused_login(s, "wrong login or password");
    else if (word != CHANNEL_ACCEPTED)
        session_log_refused_login(
            s, word == CHANNEL_LIMITED ? "over the limit" : "the backend cannot answer");
    char login[SASL_LOGIN_MAX + 1];
    snprintf(login, sizeof login, "%.*s", (int)frame->as.verdict.login_len,
             frame->as.verdict.login_len > 0 ? frame->as.verdict.login : "");
    s->exchange = false;
    smtp_verdict(s->smtp, verdict_of(word), login);
    if (word == CHANNEL_ACCEPTED && s->tls != NULL)
        tls_engine_no_secrets(s->tls); /* there is no second login */
}

/* The client cancelled it, or its next message could not be taken: the vault is not left waiting.
 */
void session_end_exchange(struct session *s)
{
    if (s->exchange && !smtp_exchanges(s->smtp))
        session_withdraw(s);
}
