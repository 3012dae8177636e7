#include "proxy/smtp_core.h"

static void smtp_asking_enter(struct smtp *s, enum smtp_asking asking)
{
    s->asking = asking;
}

void smtp_permit_ask(struct smtp *s, enum smtp_permit_what what, const char *address)
{
    bool wanted = what == SMTP_PERMIT_SENDER ? s->rules->permit_sender : s->rules->permit_recipient;

    if (!wanted || s->auth != AUTH_DONE)
        return;
    s->permit = (struct smtp_permit){.what = what, .address = address};
    smtp_asking_enter(s, ASKING_DUE);
}

void smtp_permit_asked(struct smtp *s)
{
    smtp_asking_enter(s, ASKING_VERDICT);
}

void smtp_permit_stop(struct smtp *s)
{
    s->permit = (struct smtp_permit){0};
    smtp_asking_enter(s, ASKING_NOT);
}

static const char *smtp_permit_refusal(const struct smtp_permit *permit,
                                       enum smtp_permission permission)
{
    switch (permission) {
    case SMTP_PERMIT_ALLOWED:
        return NULL;
    case SMTP_PERMIT_NOT_OWNED:
        return permit->what == SMTP_PERMIT_SENDER ? SAY_NOT_YOURS : SAY_NOT_ALLOWED;
    case SMTP_PERMIT_OVER_QUOTA:
        return SAY_OVER_QUOTA;
    case SMTP_PERMIT_UNAVAILABLE:
        break;
    }
    return SAY_NO_VERDICT;
}

void smtp_permitted(struct smtp *s, enum smtp_permission permission)
{
    const char *refusal;

    if (s->asking != ASKING_VERDICT)
        return;
    refusal = smtp_permit_refusal(&s->permit, permission);
    smtp_permit_stop(s);
    if (s->stage == STAGE_RCPT && s->message->lost && refusal == NULL)
        refusal = SAY_MTA_LOST;
    if (refusal == NULL)
        return;
    if (s->stage == STAGE_MAIL)
        smtp_answer_and_conclude(s, refusal);
    else
        smtp_rcpt_refuse(s, refusal);
}

const struct smtp_permit *smtp_permit(const struct smtp *s)
{
    return s->asking != ASKING_NOT ? &s->permit : NULL;
}
