#include "proxy/check_mta.h"

#include <string.h>

#include "proxy/address.h"
#include "proxy/capabilities.h"
#include "proxy/check_talk.h"
#include "proxy/proxy_header.h"
#include "proxy/reply.h"

/* Somebody sits before the screen; an MTA that first looks up a name answers within this. */
#define PATIENCE_MS 30000
#define OFFERED_MAX 512

/* Keywords and their arguments as the MTA gave them, a comma and a blank between. */
static void list_offered(char out[OFFERED_MAX], const struct reply *reply)
{
    const char *text;
    size_t len, used = 0;
    out[0] = '\0';
    for (unsigned i = 1; reply_line(reply, i, &text, &len); i++) {
        if (used + len + 3 > OFFERED_MAX)
            break;
        if (used > 0) {
            out[used++] = ',';
            out[used++] = ' ';
        }
        for (size_t k = 0; k < len; k++)
            out[used++] = text[k] >= ' ' && text[k] <= '~' ? text[k] : '?';
        out[used] = '\0';
    }
}

/* An MTA that expects a PROXY header says nothing before it. */
static bool announce(struct check_talk *t, const struct conf_upstream *u)
{
    uint8_t header[PROXY_HEADER_WRITE_MAX];
    if (u->identity != CONF_IDENTITY_PROXY_V1 && u->identity != CONF_IDENTITY_PROXY_V2)
        return true;
    size_t len = proxy_header_write_local(
        header, u->identity == CONF_IDENTITY_PROXY_V1 ? PROXY_V1 : PROXY_V2);
    return check_talk_send(t, header, len);
}

/* An MTA that knows only HELO is fine. */
static bool greet(struct check_talk *t, struct capabilities *learnt, char offered[OFFERED_MAX],
                  const char *hostname)
{
    struct reply reply;
    offered[0] = '\0';
    if (!check_talk_expect(t, &reply, 220) || !check_talk_say(t, "EHLO", hostname) ||
        !check_talk_reply(t, &reply))
        return false;
    if (reply.code == 250) {
        capabilities_learn(learnt, &reply, true);
        list_offered(offered, &reply);
        return true;
    }
    if (!check_talk_say(t, "HELO", hostname) || !check_talk_expect(t, &reply, 250))
        return false;
    capabilities_learn(learnt, &reply, false);
    return true;
}

static void tell(struct check_report *r, const struct conf *conf, const char *about,
                 const struct conf_upstream *u, const char *where,
                 const struct capabilities *learnt, const char *offered)
{
    if (offered[0] != '\0')
        check_say(r, CHECK_OK, about, "%s answers and offers %s", where, offered);
    else
        check_say(r, CHECK_OK, about, "%s answers and offers no extensions", where);
    if (learnt->size > 0 && conf->max_size > learnt->size)
        check_say(r, CHECK_WARNING, about,
                  "%s takes messages of %llu octets only; lower max_size in [message] or raise the "
                  "mail server's limit",
                  where, (unsigned long long)learnt->size);
    if (u->identity == CONF_IDENTITY_XCLIENT && strstr(offered, "XCLIENT") == NULL)
        check_say(r, CHECK_WARNING, about,
                  "%s does not offer XCLIENT to this host, so it does not learn who the client is; "
                  "allow it there or set another identity in [upstream %s]",
                  where, u->name);
}

static bool visit(struct check_report *r, char why[CHECK_WHY_MAX], const struct conf *conf,
                  const struct conf_upstream *u, const char *about, const struct address *at)
{
    struct check_talk t;
    struct capabilities learnt = {0};
    char offered[OFFERED_MAX], where[ADDRESS_TEXT_MAX];
    check_talk_init(&t, u->reply_timeout < PATIENCE_MS ? u->reply_timeout : PATIENCE_MS);
    bool fine = check_talk_dial(&t, at, u->connect_timeout) && announce(&t, u) &&
                greet(&t, &learnt, offered, conf->hostname);
    address_text(where, at);
    if (fine)
        tell(r, conf, about, u, where, &learnt, offered);
    else
        snprintf(why, CHECK_WHY_MAX, "%s", t.why);
    check_talk_end(&t, fine);
    return fine;
}

/* A name may have several addresses, of which the service takes the first that answers. */
static void check_one(struct check_report *r, const struct conf *conf,
                      const struct conf_upstream *u, const char *about,
                      const struct conf_address *address)
{
    struct address found[CONF_ADDRESSES_MAX];
    char where[ADDRESS_TEXT_MAX], why[CHECK_WHY_MAX];
    const char *reason = "";
    size_t count =
        address_resolve(found, CONF_ADDRESSES_MAX, address->host, address->port, &reason);
    if (count == 0)
        check_say(r, CHECK_PROBLEM, about,
                  "%s cannot be found: %s; correct the name or give a numeric address",
                  address->host, reason);
    for (size_t i = 0; i < count; i++) {
        if (visit(r, why, conf, u, about, &found[i]))
            return;
        address_text(where, &found[i]);
        check_say(r, i + 1 < count ? CHECK_WARNING : CHECK_PROBLEM, about,
                  "%s does not serve: %s; start the mail server or correct address in "
                  "[upstream %s]",
                  where, why, u->name);
    }
}

void check_mta(struct check_report *r, const struct conf *conf, const struct conf_upstream *u)
{
    char about[64];
    snprintf(about, sizeof about, "upstream %s", u->name);
    for (size_t i = 0; i < u->address.count; i++)
        check_one(r, conf, u, about, &u->address.at[i]);
}
