#include "auth/pam_check.h"

#include <openssl/mem.h>
#include <security/pam_appl.h>
#include <stdlib.h>
#include <string.h>

static void wipe_answers(struct pam_response *answers, int count)
{
    for (int i = 0; i < count; i++) {
        if (answers[i].resp != NULL)
            OPENSSL_cleanse(answers[i].resp, strlen(answers[i].resp));
        free(answers[i].resp);
    }
    free(answers);
}

static bool answer_one(struct pam_response *out, const struct pam_message *m, const char *password)
{
    if (m->msg_style == PAM_ERROR_MSG || m->msg_style == PAM_TEXT_INFO)
        return true;
    if (m->msg_style != PAM_PROMPT_ECHO_OFF)
        return false;
    out->resp = strdup(password);
    return out->resp != NULL;
}

static int converse(int count, const struct pam_message **messages, struct pam_response **out,
                    void *password)
{
    struct pam_response *answers;

    if (count <= 0 || count > PAM_MAX_NUM_MSG)
        return PAM_CONV_ERR;
    answers = calloc((size_t)count, sizeof *answers);
    if (answers == NULL)
        return PAM_BUF_ERR;
    for (int i = 0; i < count; i++) {
        if (!answer_one(&answers[i], messages[i], password)) {
            wipe_answers(answers, count);
            return PAM_CONV_ERR;
        }
    }
    *out = answers;
    return PAM_SUCCESS;
}

static void no_delay(int status, unsigned microseconds, void *password)
{
    (void)status, (void)microseconds, (void)password;
}

/* What is no word on this login and this password is trouble. */
static enum pam_wire_word word_of(int status)
{
    switch (status) {
    case PAM_SUCCESS:
        return PAM_WIRE_ACCEPTED;
    case PAM_AUTH_ERR:
    case PAM_USER_UNKNOWN:
    case PAM_MAXTRIES:
    case PAM_PERM_DENIED:
    case PAM_ACCT_EXPIRED:
    case PAM_CRED_EXPIRED:
    case PAM_NEW_AUTHTOK_REQD:
    case PAM_AUTHTOK_EXPIRED:
        return PAM_WIRE_REJECTED;
    default:
        return PAM_WIRE_UNAVAILABLE;
    }
}

enum pam_wire_word pam_check(const struct pam_wire_question *q)
{
    const union {
        const char *constant;
        void *data;
    } password = {.constant = q->password};
    const union {
        void (*function)(int, unsigned, void *);
        void *item;
    } delay = {.function = no_delay};
    const struct pam_conv conversation = {converse, password.data};
    pam_handle_t *pam = NULL;
    int status = pam_start(q->service, q->login, &conversation, &pam);

    if (status != PAM_SUCCESS)
        return PAM_WIRE_UNAVAILABLE;
    if (q->host[0] != '\0')
        status = pam_set_item(pam, PAM_RHOST, q->host);
    if (status == PAM_SUCCESS)
        status = pam_set_item(pam, PAM_FAIL_DELAY, delay.item);
    if (status == PAM_SUCCESS)
        status = pam_authenticate(pam, PAM_SILENT | PAM_DISALLOW_NULL_AUTHTOK);
    if (status == PAM_SUCCESS)
        status = pam_acct_mgmt(pam, PAM_SILENT | PAM_DISALLOW_NULL_AUTHTOK);
    pam_end(pam, status);
    return word_of(status);
}
