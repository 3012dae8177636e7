#include <string.h>
#include <strings.h>

#include "conf/conf_type.h"
#include "conf/conf_value.h"

#define NONE "none"
#define ANY "any"
#define OFF "off"

/* Calls `add` for each word of a list. */
typedef bool add_word(const struct conf_target *to, const struct conf_key *key, const char *word,
                      char *why);

static bool each_word(const struct conf_target *to, const struct conf_key *key, add_word *add,
                      const char *value, char *why)
{
    char text[CONF_TYPE_WORD_MAX];
    const char *word, *cursor = value;
    size_t len, words = 0;
    for (; conf_value_word(&word, &len, &cursor, CONF_VALUE_SEPARATORS); words++) {
        if (!conf_type_fits(key, len, why))
            return false;
        memcpy(text, word, len);
        text[len] = '\0';
        if (!add(to, key, text, why))
            return false;
    }
    return words > 0 ||
           conf_type_wrong(why, "names nothing; remove the line to get the default, %s",
                           key->fallback);
}

/* Networks. */

static bool add_network(const struct conf_target *to, const struct conf_key *key, const char *word,
                        char *why)
{
    struct conf_networks *list = conf_type_field(to->record, key);
    struct conf_network network;
    const char *reason;
    if (strcasecmp(word, NONE) == 0)
        return list->count == 0 ||
               conf_type_wrong(why, "has none beside networks; keep one or the other");
    if (!conf_value_network(network.address, &network.bits, &reason, word))
        return conf_type_wrong(why, "\"%.100s\" %s", word, reason);
    if (conf_value_network_wide(network.address, network.bits))
        return conf_type_wrong(why,
                               "%.100s holds too much of the internet to be trusted; name networks "
                               "of your own, /8 at most (IPv6: /7)",
                               word);
    if (list->count == CONF_NETWORKS_MAX)
        return conf_type_wrong(why, "has more than %d networks; name fewer", CONF_NETWORKS_MAX);
    list->at[list->count++] = network;
    return true;
}

static bool set_networks(const struct conf_target *to, const struct conf_key *key,
                         const char *value, char *why)
{
    return each_word(to, key, add_network, value, why);
}

static void clear_networks(const struct conf_target *to, const struct conf_key *key)
{
    struct conf_networks *list = conf_type_field(to->record, key);
    list->count = 0;
}

static bool write_networks(FILE *out, const struct conf *c, const void *record,
                           const struct conf_key *key)
{
    (void)c;
    const struct conf_networks *list = conf_type_field(record, key);
    if (list->count == 0)
        fprintf(out, "%s = %s\n", key->name, NONE);
    for (size_t i = 0; i < list->count; i++) {
        char text[CONF_VALUE_NETWORK_MAX];
        conf_value_network_text(text, list->at[i].address, list->at[i].bits);
        fprintf(out, "%s = %s\n", key->name, text);
    }
    return true;
}

const struct conf_type conf_type_networks = {set_networks, clear_networks, write_networks};

/* Domains. */

static bool add_domain(const struct conf_target *to, const struct conf_key *key, const char *word,
                       char *why)
{
    struct conf_domains *list = conf_type_field(to->record, key);
    char domain[CONF_VALUE_HOST_MAX + 1];
    bool any = strcasecmp(word, ANY) == 0;
    if ((any && list->count > 0) || (!any && list->any))
        return conf_type_wrong(why, "has any beside domains; keep one or the other");
    if (any) {
        list->any = true;
        return true;
    }
    if (!conf_value_domain(domain, word))
        return conf_type_wrong(
            why, "\"%.100s\" is not a domain; use letters, digits, hyphens and dots: example.com",
            word);
    if (list->count == CONF_DOMAINS_MAX)
        return conf_type_wrong(why, "has more than %d domains; name fewer", CONF_DOMAINS_MAX);
    list->at[list->count] = conf_type_copy(to, domain, strlen(domain), why);
    return list->at[list->count++] != NULL;
}

static bool set_domains(const struct conf_target *to, const struct conf_key *key, const char *value,
                        char *why)
{
    return each_word(to, key, add_domain, value, why);
}

static void clear_domains(const struct conf_target *to, const struct conf_key *key)
{
    struct conf_domains *list = conf_type_field(to->record, key);
    list->any = false;
    list->count = 0;
}

static bool write_domains(FILE *out, const struct conf *c, const void *record,
                          const struct conf_key *key)
{
    (void)c;
    const struct conf_domains *list = conf_type_field(record, key);
    if (list->any)
        fprintf(out, "%s = %s\n", key->name, ANY);
    for (size_t i = 0; i < list->count; i++)
        fprintf(out, "%s = %s\n", key->name, list->at[i]);
    return list->any || list->count > 0;
}

const struct conf_type conf_type_domains = {set_domains, clear_domains, write_domains};

/* Rates. */

#define RATE_COUNT_MAX 1000000

static bool set_rate(const struct conf_target *to, const struct conf_key *key, const char *value,
                     char *why)
{
    struct conf_rate *rate = conf_type_field(to->record, key), read;
    if (strcasecmp(value, OFF) == 0) {
        *rate = (struct conf_rate){0};
        return true;
    }
    if (!conf_value_rate(&read.count, &read.period_ms, value))
        return conf_type_wrong(
            why, "\"%.100s\" is not a rate; write a number, / and a time: 200/1h, or off", value);
    if (read.count > RATE_COUNT_MAX)
        return conf_type_wrong(why, "%.40s is out of range; use 1 to %d, or off", value,
                               RATE_COUNT_MAX);
    if (read.period_ms < key->least || read.period_ms > key->most) {
        char least[CONF_VALUE_TEXT_MAX], most[CONF_VALUE_TEXT_MAX];
        conf_value_time_text(least, key->least);
        conf_value_time_text(most, key->most);
        return conf_type_wrong(why, "%.40s is out of range; use a time of %s to %s", value, least,
                               most);
    }
    *rate = read;
    return true;
}

static bool write_rate(FILE *out, const struct conf *c, const void *record,
                       const struct conf_key *key)
{
    (void)c;
    const struct conf_rate *rate = conf_type_field(record, key);
    char period[CONF_VALUE_TEXT_MAX];
    conf_value_time_text(period, rate->period_ms);
    if (rate->count == 0)
        fprintf(out, "%s = %s\n", key->name, OFF);
    else
        fprintf(out, "%s = %u/%s\n", key->name, rate->count, period);
    return true;
}

const struct conf_type conf_type_rate = {set_rate, NULL, write_rate};
