#include "auth/scram_server.h"

#include <gsasl.h>
#include <openssl/base64.h>
#include <openssl/mem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum scram_stage { SCRAM_NEW, SCRAM_EMPTY, SCRAM_FIRST, SCRAM_FINAL, SCRAM_SIGNED, SCRAM_OVER };

struct scram_server {
    struct scram_terms terms;
    enum scram_stage stage;
    Gsasl *library;
    Gsasl_session *session;
    bool found;   /* the verifier was asked for */
    bool genuine; /* and a proof of it lets somebody in */
    bool foreign; /* an authzid that is not the login */
    struct scram_verifier verifier;
    char login[SASL_LOGIN_MAX + 1];
    char *message; /* GNU SASL's memory */
    size_t message_len;
};

/* RFC 5802 7: the authzid as the client wrote it, "=2C" and "=3D" undone by GNU SASL. */
static bool scram_same_name(const struct scram_server *s, const char *authzid, const char *name)
{
    char prepared[SASL_LOGIN_MAX + 1];

    return strcmp(authzid, name) == 0 ||
           (scram_prepare(prepared, sizeof prepared, authzid, false) &&
            (strcmp(prepared, name) == 0 || strcmp(prepared, s->login) == 0));
}

static int scram_find(struct scram_server *s)
{
    const char *said = gsasl_property_fast(s->session, GSASL_AUTHID);
    const char *authzid = gsasl_property_fast(s->session, GSASL_AUTHZID);
    char name[SASL_LOGIN_MAX + 1];

    if (said == NULL || !scram_prepare(name, sizeof name, said, false) ||
        !sasl_login_fits(name, strlen(name)))
        return GSASL_AUTHENTICATION_ERROR;
    s->found = true;
    s->genuine = s->terms.find(s->terms.owner, &s->verifier, s->login, name);
    s->foreign = authzid != NULL && authzid[0] != '\0' && !scram_same_name(s, authzid, name);
    return GSASL_OK;
}

static int scram_set(struct scram_server *s, Gsasl_property property, const uint8_t *octets,
                     size_t len)
{
    char text[(SCRAM_SALT_MAX + 2) / 3 * 4 + 1];
    int rc;

    EVP_EncodeBlock((uint8_t *)text, octets, len);
    rc = gsasl_property_set(s->session, property, text);
    OPENSSL_cleanse(text, sizeof text);
    return rc;
}

static int scram_set_iterations(struct scram_server *s)
{
    char text[16];

    snprintf(text, sizeof text, "%u", s->verifier.iterations);
    return gsasl_property_set(s->session, GSASL_SCRAM_ITER, text);
}

static int scram_give(struct scram_server *s, Gsasl_property property)
{
    const struct scram_verifier *v = &s->verifier;
    int rc;

    if (property == GSASL_CB_TLS_EXPORTER)
        return s->terms.plus ? scram_set(s, property, s->terms.binding, AUTH_BINDING_LEN)
                             : GSASL_NO_CB_TLS_EXPORTER;
    if (!s->found && (rc = scram_find(s)) != GSASL_OK)
        return rc;
    switch (property) {
    case GSASL_SCRAM_ITER:
        return scram_set_iterations(s);
    case GSASL_SCRAM_SALT:
        return scram_set(s, property, v->salt, v->salt_len);
    case GSASL_SCRAM_STOREDKEY:
        return scram_set(s, property, v->stored_key, sizeof v->stored_key);
    case GSASL_SCRAM_SERVERKEY:
        return scram_set(s, property, v->server_key, sizeof v->server_key);
    default:
        return GSASL_NO_CALLBACK;
    }
}

static int on_property(Gsasl *library, Gsasl_session *session, Gsasl_property property)
{
    struct scram_server *s = gsasl_session_hook_get(session);

    (void)library;
    switch (property) {
    case GSASL_CB_TLS_EXPORTER:
    case GSASL_SCRAM_ITER:
    case GSASL_SCRAM_SALT:
    case GSASL_SCRAM_STOREDKEY:
    case GSASL_SCRAM_SERVERKEY:
        return scram_give(s, property);
    default:
        return GSASL_NO_CALLBACK;
    }
}

struct scram_server *scram_server_new(const struct scram_terms *terms)
{
    struct scram_server *s = calloc(1, sizeof *s);

    if (s == NULL)
        return NULL;
    s->terms = *terms;
    if (gsasl_init(&s->library) != GSASL_OK) {
        free(s);
        return NULL;
    }
    gsasl_callback_set(s->library, on_property);
    if (gsasl_server_start(s->library, terms->plus ? "SCRAM-SHA-256-PLUS" : "SCRAM-SHA-256",
                           &s->session) != GSASL_OK) {
        scram_server_free(s);
        return NULL;
    }
    gsasl_session_hook_set(s->session, s);
    return s;
}

void scram_server_free(struct scram_server *s)
{
    if (s == NULL)
        return;
    if (s->session != NULL)
        gsasl_finish(s->session);
    gsasl_done(s->library);
    gsasl_free(s->message);
    OPENSSL_cleanse(s, sizeof *s);
    free(s);
}

/* RFC 5802 5.1: no "=" but in "=2C" and "=3D". Up to a comma or the end. */
static bool scram_escaped(const char *name)
{
    for (; *name != ',' && *name != '\0'; name++) {
        if (*name == '=' && strncmp(name, "=2C", 3) != 0 && strncmp(name, "=3D", 3) != 0)
            return false;
    }
    return true;
}

/* RFC 5802 7: printable, without a comma. */
static bool scram_nonce_fits(const char *nonce)
{
    const size_t len = strcspn(nonce, ",");

    for (size_t i = 0; i < len; i++) {
        if (nonce[i] <= ' ' || nonce[i] > '~')
            return false;
    }
    return len <= SCRAM_NONCE_MAX;
}

/* Something must be left of it after SASLprep: GNU SASL 2.2 loses memory over a name of which
 * nothing is. */
static bool scram_name_fits(const char *name)
{
    char escaped[3 * SASL_LOGIN_MAX + 1];
    char prepared[3 * SASL_LOGIN_MAX + 1];
    const size_t len = strcspn(name, ",");

    if (len >= sizeof escaped || !scram_escaped(name))
        return false;
    memcpy(escaped, name, len);
    escaped[len] = '\0';
    return scram_prepare(prepared, sizeof prepared, escaped, false);
}

static bool scram_flag_fits(const struct scram_terms *terms, const char *text)
{
    static const char exporter[] = "p=tls-exporter,";

    if (terms->plus)
        return terms->binding != NULL && strncmp(text, exporter, sizeof exporter - 1) == 0;
    return strncmp(text, "n,", 2) == 0 || (strncmp(text, "y,", 2) == 0 && !terms->offered);
}

/* RFC 5802 7: gs2-header, then the login without "m=" in front, the nonce, and what is optional. */
static bool scram_first_fits(const struct scram_terms *terms, const char *text)
{
    const char *authzid = strchr(text, ',');
    const char *login = authzid != NULL ? strchr(authzid + 1, ',') : NULL;
    const char *nonce = login != NULL ? strchr(login + 1, ',') : NULL;

    return nonce != NULL && scram_flag_fits(terms, text) &&
           (authzid + 1 == login ||
            (strncmp(authzid, ",a=", 3) == 0 && scram_name_fits(authzid + 3))) &&
           strncmp(login, ",n=", 3) == 0 && scram_name_fits(login + 3) &&
           strncmp(nonce, ",r=", 3) == 0 && scram_nonce_fits(nonce + 3);
}

/* What GNU SASL answers, in `message`. */
static int scram_library(struct scram_server *s, const uint8_t *message, size_t len)
{
    char text[SCRAM_MESSAGE_MAX + 1];

    gsasl_free(s->message);
    s->message = NULL;
    s->message_len = 0;
    if (len == 0 || len > SCRAM_MESSAGE_MAX || memchr(message, '\0', len) != NULL)
        return GSASL_MECHANISM_PARSE_ERROR;
    memcpy(text, message, len);
    text[len] = '\0';
    if (s->stage == SCRAM_FIRST && !scram_first_fits(&s->terms, text))
        return GSASL_AUTHENTICATION_ERROR;
    return gsasl_step(s->session, text, len, &s->message, &s->message_len);
}

static enum scram_status scram_first(struct scram_server *s, const uint8_t *message, size_t len)
{
    int rc;

    s->stage = SCRAM_FIRST;
    rc = scram_library(s, message, len);
    if (rc == GSASL_MALLOC_ERROR)
        return SCRAM_FAILED;
    if (rc != GSASL_NEEDS_MORE || !s->found || s->foreign)
        return SCRAM_REJECTED;
    s->stage = SCRAM_FINAL;
    return SCRAM_CHALLENGE;
}

/* The proof is right only with keys that are somebody's; what was made up lets nobody in whatever
 * the library says. */
static enum scram_status scram_final(struct scram_server *s, const uint8_t *message, size_t len)
{
    const int rc = scram_library(s, message, len);

    if (rc == GSASL_MALLOC_ERROR)
        return SCRAM_FAILED;
    if (rc != GSASL_OK || !s->genuine)
        return SCRAM_REJECTED;
    s->stage = SCRAM_SIGNED;
    return SCRAM_CHALLENGE;
}

static enum scram_status scram_step(struct scram_server *s, const uint8_t *message, size_t len)
{
    switch (s->stage) {
    case SCRAM_NEW:
        if (len == 0) {
            s->stage = SCRAM_EMPTY;
            return SCRAM_CHALLENGE;
        }
        return scram_first(s, message, len);
    case SCRAM_EMPTY:
        return scram_first(s, message, len);
    case SCRAM_FINAL:
        return scram_final(s, message, len);
    case SCRAM_SIGNED: /* RFC 4954 4: success has no data of its own, the client answers once more
                        */
        return len == 0 ? SCRAM_ACCEPTED : SCRAM_REJECTED;
    case SCRAM_FIRST:
    case SCRAM_OVER:
        break;
    }
    return SCRAM_REJECTED;
}

enum scram_status scram_server_step(struct scram_server *s, const uint8_t *message, size_t len)
{
    const enum scram_status status = scram_step(s, message, len);

    if (status != SCRAM_CHALLENGE)
        s->stage = SCRAM_OVER;
    return status;
}

const uint8_t *scram_server_message(const struct scram_server *s, size_t *len)
{
    *len = s->message_len;
    return (const uint8_t *)s->message;
}

const char *scram_server_login(const struct scram_server *s)
{
    return s->login;
}
