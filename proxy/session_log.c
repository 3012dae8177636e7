#include "proxy/session_state.h"

#include "proxy/log.h"

static void log_who(struct log_line *l, const struct session *s)
{
    log_string(l, "session", s->id);
    log_string(l, "listener", s->port->conf->name);
    log_string(l, "client", s->address);
}

static void log_tls(struct log_line *l, const struct session *s)
{
    if (s->tls == NULL)
        return;
    log_string(l, "tls", tls_engine_version(s->tls));
    log_string(l, "cipher", tls_engine_cipher(s->tls));
    log_string(l, "group", tls_engine_group(s->tls));
    log_string(l, "sni", tls_engine_sni(s->tls));
    log_string(l, "resumed", tls_engine_resumed(s->tls) ? "yes" : "no");
}

void session_log_event(const struct session *s, enum log_level level, const char *event,
                       const char *message)
{
    struct log_line l;
    log_begin(&l, level, event);
    log_who(&l, s);
    log_string(&l, "message", message);
    log_end(&l);
}

static void log_login(const struct session *s, const char *event, const char *reason)
{
    struct log_line l;
    log_begin(&l, LOG_LEVEL_WARNING, event);
    log_who(&l, s);
    const struct sasl_credential *c = smtp_credential(s->smtp);
    if (c != NULL) {
        if (c->login_len > 0)
            log_string(&l, "login", c->login);
        log_string(&l, "mechanism", sasl_name(c->mechanism));
    }
    log_string(&l, "reason", reason);
    log_end(&l);
}

void session_log_refused_login(const struct session *s, const char *reason)
{
    log_login(s, "login_refused", reason);
}

void session_log_abandoned_login(const struct session *s)
{
    log_login(s, "login_abandoned", "the client did not wait for the answer");
}

static void log_message(const struct session *s, const struct smtp_note *n)
{
    struct log_line l;
    log_begin(&l, LOG_LEVEL_INFO, "message");
    log_who(&l, s);
    log_string(&l, "login", smtp_login(s->smtp));
    log_string(&l, "outcome", n->delivered ? "delivered" : "refused");
    log_string(&l, "sender", n->sender != NULL && n->sender[0] != '\0' ? n->sender : "<>");
    log_number(&l, "recipients", n->recipients);
    log_number(&l, "recipients_refused", n->refused);
    log_number(&l, "size", n->octets);
    log_string(&l, "reply", n->reply);
    if (n->client_gone)
        log_string(&l, "client_gone", "yes");
    log_end(&l);
}

void session_log_note(const struct session *s)
{
    const struct smtp_note *n = smtp_note(s->smtp);
    switch (n->kind) {
    case SMTP_NOTE_MESSAGE:
        log_message(s, n);
        break;
    case SMTP_NOTE_CLEAR_AUTH:
        session_log_event(
            s, LOG_LEVEL_WARNING, "clear_auth",
            "a password went over the wire in clear and was not looked at; set the client to STARTTLS");
        break;
    case SMTP_NOTE_DESYNC:
        session_log_event(s, LOG_LEVEL_ERROR, "desync",
                          "the MTA spoke when no reply was owed; both sides are closed");
        break;
    case SMTP_NOTE_INJECTION:
        session_log_event(s, LOG_LEVEL_WARNING, "injection",
                          "octets came where none may come; closed as an attack");
        break;
    case SMTP_NOTE_NO_XCLIENT:
        session_log_event(
            s, LOG_LEVEL_WARNING, "no_xclient",
            "the MTA does not offer XCLIENT and takes the client for us; allow it there, or choose another identity");
        break;
    }
}

void session_log_end(const struct session *s)
{
    struct log_line l;
    log_begin(&l, LOG_LEVEL_INFO, "session");
    log_who(&l, s);
    log_tls(&l, s);
    if (s->smtp != NULL) {
        log_string(&l, "helo", smtp_helo(s->smtp));
        log_string(&l, "login", smtp_login(s->smtp));
        log_string(&l, "mechanism", smtp_mechanism(s->smtp));
        log_number(&l, "messages", smtp_messages(s->smtp));
    }
    log_number(&l, "octets_in", s->octets_in);
    log_number(&l, "octets_out", s->octets_out);
    log_number(&l, "duration_ms", uv_now(&s->worker->loop) - s->opened);
    log_string(&l, "end",
               s->failure[0] != '\0' ? s->failure
               : s->smtp != NULL     ? smtp_end_name(smtp_end(s->smtp))
                                     : "client gone");
    log_end(&l);
}
