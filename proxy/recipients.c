#include "proxy/recipients.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

/* Routes, pipes and files for old MTAs; expansions and shells behind them (Exim's `${run{...}}`).
 */
static const char recipients_refused[] = "%!@:|/\\\"$&{}`()<>,;[] ";

static bool recipients_plain(const struct path *path)
{
    if (path->text[0] == '-')
        return false;
    for (size_t i = 0; i < path->local_len; i++) {
        const unsigned char c = (unsigned char)path->text[i];

        if (c <= ' ' || c >= 0x7f || strchr(recipients_refused, c) != NULL)
            return false;
    }
    return path->local_len > 0;
}

static size_t recipients_domain_len(const char *domain)
{
    const size_t len = strlen(domain);

    return len > 0 && domain[len - 1] == '.' ? len - 1 : len;
}

static bool recipients_listed(const char *domain, const char *const *domains, size_t count)
{
    const size_t len = recipients_domain_len(domain);

    for (size_t i = 0; i < count; i++) {
        if (recipients_domain_len(domains[i]) == len && strncasecmp(domains[i], domain, len) == 0)
            return true;
    }
    return false;
}

enum recipients_verdict recipients_judge(const struct path *path, const char *const *domains,
                                         size_t count)
{
    if (strcmp(path->text, "postmaster") == 0)
        return RECIPIENTS_OK;
    if (path->text[path->local_len] != '@' || path->literal ||
        !recipients_listed(path->text + path->local_len + 1, domains, count))
        return RECIPIENTS_RELAY;
    return recipients_plain(path) ? RECIPIENTS_OK : RECIPIENTS_SYNTAX;
}
