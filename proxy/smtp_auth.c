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

/* Where the reply waits for more than this. */
static const char *smtp_auth_wait(struct smtp *s, enum smtp_auth auth)
{
    smtp_auth_enter(s, auth);
    fifo_wait(&s->fifo);
    return NULL;
}

static const char *smtp_auth_step(struct smtp *s, enum sasl_status status)
{
    switch (status) {
    case SASL_CHALLENGE:
        return smtp_auth_wait(s, AUTH_CHALLENGE);
    case SASL_CREDENTIAL:
        return smtp_auth_wait(s, AUTH_ASK);
    case SASL_CANCELLED:
        smtp_auth_stop(s);
        return SAY_AUTH_CANCELLED;
    case SASL_BASE64:
        smtp_auth_stop(s);
        return SAY_AUTH_BASE64;
    case SASL_UNASKED:
        smtp_auth_stop(s);
        return SAY_AUTH_UNASKED;
    case SASL_REFUSED:
        break;
    }
    smtp_auth_stop(s);
    return smtp_login_failed(s);
}

static const char *smtp_external(const struct smtp *s)
{
    return s->tls.external != NULL ? s->tls.external : "";
}

unsigned smtp_auth_offer(const struct smtp *s)
{
    unsigned offer = *s->peer->mechanisms;

    if (s->link != LINK_TLS || s->rules->auth == SMTP_AUTH_NONE)
        return 0;
    if (!s->tls.bound)
        offer &= ~(unsigned)SASL_BOUND;
    if (smtp_external(s)[0] == '\0')
        offer &= ~(unsigned)SASL_EXTERNAL;
    return offer;
}

bool smtp_auth_challenge(struct smtp *s, struct smtp_io *io)
{
    if (s->auth != AUTH_CHALLENGE || !smtp_can_say(s, io))
        return false;
    smtp_auth_enter(s, AUTH_EXCHANGE);
    fifo_given(&s->fifo);
    smtp_say_challenge(s, io, s->sasl->challenge);
    return true;
}

static const char *smtp_auth_begin(struct smtp *s, const struct command_auth *auth)
{
    enum sasl_mechanism mechanism = sasl_by_name(auth->mechanism, auth->mechanism_len);

    if (((unsigned)mechanism & smtp_auth_offer(s)) == 0)
        return SAY_AUTH_MECHANISM;
    s->sasl = calloc(1, sizeof(*s->sasl));
    if (s->sasl == NULL) {
        smtp_out_of_memory(s);
        return NULL;
    }
    return smtp_auth_step(
        s, sasl_start(s->sasl, mechanism, smtp_external(s), auth->initial, auth->initial_len));
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

    (void)io;
    if (s->link != LINK_TLS)
        return smtp_refuse_clear(s, line);
    if (s->auth != AUTH_DONE && smtp_auth_offer(s) == 0)
        return SAY_AUTH_OFF;
    if (s->auth == AUTH_DONE)
        return SAY_AUTH_ALREADY;
    if (s->message != NULL) /* RFC 4954 4 */
        return SAY_AUTH_IN_MAIL;
    if (s->hello != HELLO_EHLO)
        return SAY_NEED_EHLO;
    if (command_parse_auth(&auth, line->args, line->len) != COMMAND_OK)
        return SAY_ARGUMENT;
    return smtp_auth_begin(s, &auth);
}

const char *smtp_auth_response(struct smtp *s, const char *text, size_t len)
{
    return smtp_auth_step(s, sasl_step(s->sasl, text, len));
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

/* The reply that was waited for; NULL: the session ends with another. */
static void smtp_auth_conclude(struct smtp *s, const char *reply)
{
    smtp_auth_stop(s);
    if (reply != NULL)
        fifo_answer(&s->fifo, reply);
    else
        fifo_given(&s->fifo);
}

void smtp_challenged(struct smtp *s, const uint8_t *message, size_t len)
{
    if (s->auth != AUTH_VERDICT)
        return;
    if (sasl_challenged(s->sasl, message, len) == SASL_CHALLENGE)
        smtp_auth_enter(s, AUTH_CHALLENGE);
    else
        smtp_auth_conclude(s, smtp_login_failed(s));
}

void smtp_verdict(struct smtp *s, enum smtp_verdict verdict, const char *login)
{
    if (s->auth != AUTH_VERDICT)
        return;
    if (verdict == SMTP_ACCEPTED && login != NULL && login[0] != '\0')
        smtp_auth_conclude(s, smtp_accept_login(s, login));
    else if (verdict == SMTP_REJECTED && sasl_refused(s->sasl) == SASL_CHALLENGE)
        smtp_auth_enter(s, AUTH_CHALLENGE); /* and 535 to whatever the client says to that */
    else
        smtp_auth_conclude(s, smtp_refuse_login(s, verdict));
}

bool smtp_exchanges(const struct smtp *s)
{
    return s->sasl != NULL && s->sasl->asked_before;
}

unsigned smtp_listed(const struct smtp *s)
{
    return s->listed;
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
