#include <stdlib.h>
#include <string.h>

#include "proxy/smtp_core.h"

static void smtp_auth_enter(struct smtp *s, enum smtp_auth auth)
{
    s->auth = auth;
}

/* The one place where what an exchange has gathered goes away, whatever ended it. */
static void smtp_forget_exchange(struct smtp *s)
{
    if (s->sasl == NULL)
        return;
    sasl_wipe(s->sasl);
    free(s->sasl);
    s->sasl = NULL;
}

void smtp_auth_stop(struct smtp *s)
{
    smtp_forget_exchange(s);
    if (s->auth != AUTH_DONE)
        smtp_auth_enter(s, AUTH_NONE);
}

void smtp_auth_asked(struct smtp *s)
{
    smtp_auth_enter(s, AUTH_VERDICT);
}

/* RFC 4954 9: not before the third. */
static const char *smtp_login_failed(struct smtp *s)
{
    s->failures++;
    if (s->rules->max_failures == 0 || s->failures < s->rules->max_failures)
        return SAY_AUTH_WRONG;
    smtp_finish(s, SMTP_END_AUTH_FAILURES);
    return NULL;
}

static const char *smtp_auth_step(struct smtp *s, struct smtp_io *io, enum sasl_status status)
{
    switch (status) {
    case SASL_CHALLENGE:
        smtp_auth_enter(s, AUTH_EXCHANGE);
        smtp_say(s, io, "334 %s", s->sasl->challenge);
        return NULL;
    case SASL_CREDENTIAL:
        smtp_auth_enter(s, AUTH_ASK);
        fifo_wait(&s->fifo);
        return NULL;
    case SASL_CANCELLED:
        smtp_auth_stop(s);
        return SAY_AUTH_CANCELLED;
    case SASL_BASE64:
        smtp_auth_stop(s);
        return SAY_AUTH_BASE64;
    case SASL_REFUSED:
        break;
    }
    smtp_auth_stop(s);
    return smtp_login_failed(s);
}

static const char *smtp_auth_begin(struct smtp *s, struct smtp_io *io,
                                   const struct command_auth *auth)
{
    enum sasl_mechanism mechanism = sasl_by_name(auth->mechanism, auth->mechanism_len);

    if (((unsigned)mechanism & s->rules->mechanisms) == 0)
        return SAY_AUTH_MECHANISM;
    s->sasl = calloc(1, sizeof(*s->sasl));
    if (s->sasl == NULL) {
        smtp_out_of_memory(s);
        return NULL;
    }
    return smtp_auth_step(s, io, sasl_start(s->sasl, mechanism, "", auth->initial, auth->initial_len));
}

/* In clear nothing is looked at, so that nobody in between can try passwords through us. */
static const char *smtp_refuse_clear(struct smtp *s, const struct smtp_line *line)
{
    if (memchr(line->args, ' ', line->len) != NULL)
        s->notes |= 1U << SMTP_NOTE_CLEAR_AUTH;
    return s->rules->tls_never ? SAY_AUTH_OFF : SAY_NEED_STARTTLS;
}

const char *smtp_do_auth(struct smtp *s, struct smtp_io *io, const struct smtp_line *line)
{
    struct command_auth auth;

    if (s->link != LINK_TLS)
        return smtp_refuse_clear(s, line);
    if (s->rules->mechanisms == 0 || s->rules->auth == SMTP_AUTH_NONE)
        return SAY_AUTH_OFF;
    if (s->auth == AUTH_DONE)
        return SAY_AUTH_ALREADY;
    if (s->message != NULL) /* RFC 4954 4 */
        return SAY_AUTH_IN_MAIL;
    if (s->hello != HELLO_EHLO)
        return SAY_NEED_EHLO;
    if (command_parse_auth(&auth, line->args, line->len) != COMMAND_OK)
        return SAY_ARGUMENT;
    return smtp_auth_begin(s, io, &auth);
}

const char *smtp_auth_response(struct smtp *s, struct smtp_io *io, const char *text, size_t len)
{
    return smtp_auth_step(s, io, sasl_step(s->sasl, text, len));
}

static const char *smtp_accept_login(struct smtp *s, const char *login)
{
    s->login = strdup(login);
    if (s->login == NULL) {
        smtp_out_of_memory(s);
        return NULL;
    }
    s->mechanism = s->sasl->mechanism;
    smtp_auth_enter(s, AUTH_DONE);
    s->mta.leave = true; /* the MTA knew a stranger */
    return SAY_AUTH_OK;
}

static const char *smtp_refuse_login(struct smtp *s, enum smtp_verdict verdict)
{
    switch (verdict) {
    case SMTP_REJECTED:
        return smtp_login_failed(s);
    case SMTP_LIMITED:
        smtp_finish(s, SMTP_END_LIMITED);
        return NULL;
    case SMTP_ACCEPTED:
    case SMTP_UNAVAILABLE:
        break;
    }
    return SAY_AUTH_UNAVAILABLE;
}

void smtp_verdict(struct smtp *s, enum smtp_verdict verdict, const char *login)
{
    const char *reply;

    if (s->auth != AUTH_VERDICT)
        return;
    if (verdict == SMTP_ACCEPTED && login != NULL && login[0] != '\0')
        reply = smtp_accept_login(s, login);
    else
        reply = smtp_refuse_login(s, verdict);
    smtp_auth_stop(s);
    if (reply != NULL)
        fifo_answer(&s->fifo, reply);
    else
        fifo_given(&s->fifo);
}

const struct sasl_credential *smtp_credential(const struct smtp *s)
{
    return s->auth == AUTH_ASK || s->auth == AUTH_VERDICT ? &s->sasl->credential : NULL;
}

const char *smtp_login(const struct smtp *s)
{
    return s->login;
}

const char *smtp_mechanism(const struct smtp *s)
{
    return s->login != NULL ? sasl_name(s->mechanism) : NULL;
}
