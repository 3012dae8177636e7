#include "conf/conf_type.h"

#include <stdarg.h>
#include <string.h>
#include <strings.h>

#include "conf/conf_ini.h"
#include "conf/conf_strings.h"
#include "conf/conf_value.h"

#define WORD_MAX CONF_TYPE_WORD_MAX
#define JOINED_MAX 4096

bool conf_type_wrong(char *why, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(why, CONF_WHY_MAX, format, args);
    va_end(args);
    return false;
}

void *conf_type_field(const void *record, const struct conf_key *key)
{
    return (char *)(uintptr_t)record + key->offset;
}

/* Numbers of several widths are kept through their octets; all hosts that Debian runs on with this
 * program's libraries are fine with one value per width. */
static void store(void *at, size_t size, uint64_t value)
{
    if (size == sizeof(uint64_t)) {
        memcpy(at, &value, size);
    } else if (size == sizeof(uint32_t)) {
        uint32_t narrow = (uint32_t)value;
        memcpy(at, &narrow, size);
    } else if (size == sizeof(uint16_t)) {
        uint16_t narrow = (uint16_t)value;
        memcpy(at, &narrow, size);
    } else if (size == sizeof(bool)) {
        bool narrow = value != 0;
        memcpy(at, &narrow, size);
    }
}

static uint64_t fetch(const void *at, size_t size)
{
    uint64_t wide = 0;
    uint32_t middle = 0;
    uint16_t narrow = 0;
    bool bit = false;
    if (size == sizeof wide)
        memcpy(&wide, at, size);
    else if (size == sizeof middle)
        memcpy(&middle, at, size);
    else if (size == sizeof narrow)
        memcpy(&narrow, at, size);
    else if (size == sizeof bit)
        memcpy(&bit, at, size);
    return wide | middle | narrow | bit;
}

bool conf_type_fits(const struct conf_key *key, size_t item_len, char *why)
{
    size_t room = CONF_LINE_MAX - strlen(key->name) - strlen(" = ");
    return item_len <= room ||
           conf_type_wrong(why, "has a value of %zu octets, more than %zu; make it shorter",
                           item_len, room);
}

const char *conf_type_copy(const struct conf_target *to, const char *text, size_t len, char *why)
{
    const char *kept = conf_strings_add(to->conf, text, len);
    if (kept == NULL)
        conf_type_wrong(why, "cannot be kept: out of memory");
    return kept;
}

/* One string, checked. */

static bool set_text(const struct conf_target *to, const struct conf_key *key, const char *value,
                     bool ok, const char *expects, char *why)
{
    if (!conf_type_fits(key, strlen(value), why))
        return false;
    if (!ok)
        return conf_type_wrong(why, "\"%.100s\" is not %s", value, expects);
    const char *kept = conf_type_copy(to, value, strlen(value), why);
    memcpy(conf_type_field(to->record, key), &kept, sizeof kept);
    return kept != NULL;
}

static const char *text_of(const void *record, const struct conf_key *key)
{
    const char *text;
    memcpy(&text, conf_type_field(record, key), sizeof text);
    return text;
}

static bool write_text(FILE *out, const struct conf *c, const void *record,
                       const struct conf_key *key)
{
    (void)c;
    const char *text = text_of(record, key);
    if (text != NULL)
        fprintf(out, "%s = %s\n", key->name, text);
    return text != NULL;
}

static bool set_hostname(const struct conf_target *to, const struct conf_key *key,
                         const char *value, char *why)
{
    return set_text(to, key, value, conf_value_hostname(value),
                    "a host name; use letters, digits, hyphens and dots: mail.example.com", why);
}

static bool set_account(const struct conf_target *to, const struct conf_key *key, const char *value,
                        char *why)
{
    return set_text(to, key, value, conf_value_account(value), "the name of an account", why);
}

static bool set_path(const struct conf_target *to, const struct conf_key *key, const char *value,
                     char *why)
{
    return set_text(to, key, value, conf_value_path(value),
                    "a path; it starts with / and holds no blank and no comma", why);
}

static bool set_plain(const struct conf_target *to, const struct conf_key *key, const char *value,
                      char *why)
{
    return set_text(to, key, value, true, "text", why);
}

const struct conf_type conf_type_hostname = {set_hostname, NULL, write_text};
const struct conf_type conf_type_account = {set_account, NULL, write_text};
const struct conf_type conf_type_path = {set_path, NULL, write_text};
const struct conf_type conf_type_plain = {set_plain, NULL, write_text};

/* Numbers. */

typedef void number_text(char out[CONF_VALUE_TEXT_MAX], uint64_t number);

static void plain_text(char out[CONF_VALUE_TEXT_MAX], uint64_t number)
{
    snprintf(out, CONF_VALUE_TEXT_MAX, "%llu", (unsigned long long)number);
}

static bool set_in_range(const struct conf_target *to, const struct conf_key *key, uint64_t number,
                         const char *value, number_text *as_text, char *why)
{
    if (number < key->least || number > key->most) {
        char least[CONF_VALUE_TEXT_MAX], most[CONF_VALUE_TEXT_MAX];
        as_text(least, key->least);
        as_text(most, key->most);
        return conf_type_wrong(why, "%.40s is out of range; use %s to %s", value, least, most);
    }
    store(conf_type_field(to->record, key), key->size, number);
    return true;
}

static bool set_number(const struct conf_target *to, const struct conf_key *key, const char *value,
                       char *why)
{
    uint64_t number;
    if (!conf_value_number(&number, value))
        return conf_type_wrong(why, "\"%.100s\" is not a number; write digits only", value);
    return set_in_range(to, key, number, value, plain_text, why);
}

static bool set_size(const struct conf_target *to, const struct conf_key *key, const char *value,
                     char *why)
{
    uint64_t number;
    if (!conf_value_size(&number, value))
        return conf_type_wrong(
            why, "\"%.100s\" is not a size; write a number of octets, or one with k, M or G: 50M",
            value);
    return set_in_range(to, key, number, value, conf_value_size_text, why);
}

static bool set_time(const struct conf_target *to, const struct conf_key *key, const char *value,
                     char *why)
{
    uint64_t number;
    if (!conf_value_time(&number, value))
        return conf_type_wrong(
            why, "\"%.100s\" is not a time; write a number with ms, s, m, h or d: 30s", value);
    return set_in_range(to, key, number, value, conf_value_time_text, why);
}

static bool write_number_as(FILE *out, const void *record, const struct conf_key *key,
                            number_text *as_text)
{
    char text[CONF_VALUE_TEXT_MAX];
    uint64_t number = fetch(conf_type_field(record, key), key->size);
    if (number == 0 && key->absent != NULL)
        return false;
    as_text(text, number);
    fprintf(out, "%s = %s\n", key->name, text);
    return true;
}

static bool write_number(FILE *out, const struct conf *c, const void *record,
                         const struct conf_key *key)
{
    (void)c;
    return write_number_as(out, record, key, plain_text);
}

static bool write_size(FILE *out, const struct conf *c, const void *record,
                       const struct conf_key *key)
{
    (void)c;
    return write_number_as(out, record, key, conf_value_size_text);
}

static bool write_time(FILE *out, const struct conf *c, const void *record,
                       const struct conf_key *key)
{
    (void)c;
    return write_number_as(out, record, key, conf_value_time_text);
}

const struct conf_type conf_type_number = {set_number, NULL, write_number};
const struct conf_type conf_type_size = {set_size, NULL, write_size};
const struct conf_type conf_type_time = {set_time, NULL, write_time};

/* Words out of a list of choices. */

static void list_choices(char *out, size_t cap, const struct conf_choice *choices)
{
    size_t used = 0;
    out[0] = '\0';
    for (; choices->word != NULL; choices++) {
        if (choices->value == CONF_NOT_YET)
            continue;
        int n = snprintf(out + used, cap - used, "%s%s", used > 0 ? ", " : "", choices->word);
        if (n > 0 && (size_t)n < cap - used)
            used += (size_t)n;
    }
}

static bool choose(int *value, const struct conf_key *key, const char *word, size_t len, char *why)
{
    char known[256];
    list_choices(known, sizeof known, key->choices);
    for (const struct conf_choice *c = key->choices; c->word != NULL; c++) {
        if (strlen(c->word) != len || strncasecmp(c->word, word, len) != 0)
            continue;
        *value = c->value;
        return c->value != CONF_NOT_YET ||
               conf_type_wrong(why, "%s is not supported yet; what there is: %s", c->word, known);
    }
    return conf_type_wrong(why, "\"%.*s\" is unknown; what there is: %s",
                           (int)(len < 100 ? len : 100), word, known);
}

static bool set_choice(const struct conf_target *to, const struct conf_key *key, const char *value,
                       char *why)
{
    int chosen;
    if (!choose(&chosen, key, value, strlen(value), why))
        return false;
    store(conf_type_field(to->record, key), key->size, (uint64_t)chosen);
    return true;
}

static bool write_choice(FILE *out, const struct conf *c, const void *record,
                         const struct conf_key *key)
{
    (void)c;
    uint64_t value = fetch(conf_type_field(record, key), key->size);
    for (const struct conf_choice *choice = key->choices; choice->word != NULL; choice++) {
        if (choice->value >= 0 && (uint64_t)choice->value == value) {
            fprintf(out, "%s = %s\n", key->name, choice->word);
            return true;
        }
    }
    return false;
}

static bool set_set(const struct conf_target *to, const struct conf_key *key, const char *value,
                    char *why)
{
    const char *word, *cursor = value;
    size_t len, words = 0;
    bool none = false;
    uint64_t bits = fetch(conf_type_field(to->record, key), key->size);
    while (conf_value_word(&word, &len, &cursor, CONF_VALUE_SEPARATORS)) {
        int bit;
        if (!choose(&bit, key, word, len, why))
            return false;
        bits |= (uint64_t)bit;
        none = none || bit == 0;
        words++;
    }
    if (words == 0)
        return conf_type_wrong(why, "names nothing; remove the line to get the default");
    if (none && bits != 0)
        return conf_type_wrong(why, "has none beside other words; keep one or the other");
    store(conf_type_field(to->record, key), key->size, bits);
    return true;
}

static void clear_set(const struct conf_target *to, const struct conf_key *key)
{
    store(conf_type_field(to->record, key), key->size, 0);
}

static bool write_set(FILE *out, const struct conf *c, const void *record,
                      const struct conf_key *key)
{
    (void)c;
    uint64_t bits = fetch(conf_type_field(record, key), key->size);
    fprintf(out, "%s =", key->name);
    for (const struct conf_choice *choice = key->choices; choice->word != NULL; choice++) {
        bool in = choice->value > 0 && (bits & (uint64_t)choice->value) != 0;
        if (in || (choice->value == 0 && bits == 0))
            fprintf(out, " %s", choice->word);
    }
    fprintf(out, "\n");
    return true;
}

const struct conf_type conf_type_choice = {set_choice, NULL, write_choice};
const struct conf_type conf_type_set = {set_set, clear_set, write_set};

/* A list for BoringSSL: words with colons between. */

static bool joined_word_ok(const char *word, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        bool letter = (word[i] >= 'a' && word[i] <= 'z') || (word[i] >= 'A' && word[i] <= 'Z') ||
                      (word[i] >= '0' && word[i] <= '9');
        if (!letter && (word[i] == '\0' || strchr("_-.+!@|=[]", word[i]) == NULL))
            return false;
    }
    return true;
}

#define JOINED_SEPARATORS CONF_VALUE_SEPARATORS ":"

static bool set_joined(const struct conf_target *to, const struct conf_key *key, const char *value,
                       char *why)
{
    char joined[JOINED_MAX] = "";
    const char *word, *cursor = value, *before = text_of(to->record, key);
    size_t len, used = before != NULL ? strlen(before) : 0;
    memcpy(joined, before != NULL ? before : "", used);
    while (conf_value_word(&word, &len, &cursor, JOINED_SEPARATORS)) {
        if (!conf_type_fits(key, len, why))
            return false;
        if (!joined_word_ok(word, len))
            return conf_type_wrong(why, "\"%.*s\" is not a name that the TLS library could know",
                                   (int)len, word);
        if (used + 1 + len >= sizeof joined)
            return conf_type_wrong(why, "has more than 4,095 octets in all; name fewer");
        if (used > 0)
            joined[used++] = ':';
        memcpy(joined + used, word, len);
        used += len;
    }
    if (used == 0)
        return conf_type_wrong(why, "names nothing; remove the line to get the default");
    const char *kept = conf_type_copy(to, joined, used, why);
    memcpy(conf_type_field(to->record, key), &kept, sizeof kept);
    return kept != NULL;
}

static void clear_joined(const struct conf_target *to, const struct conf_key *key)
{
    const char *nothing = NULL;
    memcpy(conf_type_field(to->record, key), &nothing, sizeof nothing);
}

static bool write_joined(FILE *out, const struct conf *c, const void *record,
                         const struct conf_key *key)
{
    (void)c;
    const char *word, *cursor = text_of(record, key);
    size_t len;
    if (cursor == NULL)
        return false;
    while (conf_value_word(&word, &len, &cursor, JOINED_SEPARATORS))
        fprintf(out, "%s = %.*s\n", key->name, (int)len, word);
    return true;
}

const struct conf_type conf_type_joined = {set_joined, clear_joined, write_joined};

/* Addresses. */

static bool add_address(const struct conf_target *to, const struct conf_key *key, const char *word,
                        size_t len, char *why)
{
    struct conf_addresses *list = conf_type_field(to->record, key);
    char text[WORD_MAX], host[CONF_VALUE_HOST_MAX + 1];
    const char *reason;
    uint16_t port;
    if (!conf_type_fits(key, len, why))
        return false;
    memcpy(text, word, len);
    text[len] = '\0';
    if (!conf_value_address(host, &port, &reason, text))
        return conf_type_wrong(why, "\"%.100s\" %s", text, reason);
    if (key->section == CONF_SECTION_UPSTREAM && strcmp(host, "*") == 0)
        return conf_type_wrong(why, "\"%s\" is no place to connect to; name the MTA's host", text);
    if (list->count == CONF_ADDRESSES_MAX)
        return conf_type_wrong(why, "has more than %d addresses; name fewer", CONF_ADDRESSES_MAX);
    list->at[list->count].host = conf_type_copy(to, host, strlen(host), why);
    list->at[list->count].port = port;
    return list->at[list->count++].host != NULL;
}

static bool set_addresses(const struct conf_target *to, const struct conf_key *key,
                          const char *value, char *why)
{
    const char *word, *cursor = value;
    size_t len, words = 0;
    for (; conf_value_word(&word, &len, &cursor, CONF_VALUE_SEPARATORS); words++) {
        if (!add_address(to, key, word, len, why))
            return false;
    }
    return words > 0 || conf_type_wrong(why, "names nothing; write host:port");
}

static void clear_addresses(const struct conf_target *to, const struct conf_key *key)
{
    struct conf_addresses *list = conf_type_field(to->record, key);
    list->count = 0;
}

static bool write_addresses(FILE *out, const struct conf *c, const void *record,
                            const struct conf_key *key)
{
    (void)c;
    const struct conf_addresses *list = conf_type_field(record, key);
    for (size_t i = 0; i < list->count; i++) {
        bool six = strchr(list->at[i].host, ':') != NULL;
        fprintf(out, "%s = %s%s%s:%u\n", key->name, six ? "[" : "", list->at[i].host,
                six ? "]" : "", list->at[i].port);
    }
    return list->count > 0;
}

const struct conf_type conf_type_addresses = {set_addresses, clear_addresses, write_addresses};

/* Certificates: commas between them, a blank between chain and key. */

static bool take_path(const char **path, const struct conf_target *to, const char *word, size_t len,
                      char *why)
{
    char text[WORD_MAX];
    memcpy(text, word, len);
    text[len] = '\0';
    if (!conf_value_path(text))
        return conf_type_wrong(why, "\"%.100s\" is not a path; it starts with /", text);
    *path = conf_type_copy(to, text, len, why);
    return *path != NULL;
}

static bool add_certificate(const struct conf_target *to, const struct conf_key *key,
                            const char *pair, size_t pair_len, char *why)
{
    struct conf *c = to->conf;
    char text[WORD_MAX];
    const char *word, *cursor = text;
    size_t len;
    if (!conf_type_fits(key, pair_len, why))
        return false;
    if (c->certificate_count == CONF_CERTIFICATES_MAX)
        return conf_type_wrong(why, "is given more than %d times; name fewer",
                               CONF_CERTIFICATES_MAX);
    struct conf_certificate *at = &c->certificate[c->certificate_count];
    memcpy(text, pair, pair_len);
    text[pair_len] = '\0';
    if (!conf_value_word(&word, &len, &cursor, " \t"))
        return conf_type_wrong(why, "has nothing between two commas; remove one");
    if (!take_path(&at->chain, to, word, len, why))
        return false;
    at->key = at->chain;
    if (conf_value_word(&word, &len, &cursor, " \t") && !take_path(&at->key, to, word, len, why))
        return false;
    if (conf_value_word(&word, &len, &cursor, " \t"))
        return conf_type_wrong(
            why, "has more than CHAIN.pem KEY.pem; give the key once for each certificate");
    c->certificate_count++;
    return true;
}

static bool set_certificates(const struct conf_target *to, const struct conf_key *key,
                             const char *value, char *why)
{
    const char *pair, *cursor = value;
    size_t len, pairs = 0;
    for (; conf_value_word(&pair, &len, &cursor, ","); pairs++) {
        if (!add_certificate(to, key, pair, len, why))
            return false;
    }
    return pairs > 0 || conf_type_wrong(why, "names nothing; write CHAIN.pem KEY.pem");
}

static void clear_certificates(const struct conf_target *to, const struct conf_key *key)
{
    (void)key;
    to->conf->certificate_count = 0;
}

static bool write_certificates(FILE *out, const struct conf *c, const void *record,
                               const struct conf_key *key)
{
    (void)record;
    for (size_t i = 0; i < c->certificate_count; i++) {
        bool both = strcmp(c->certificate[i].chain, c->certificate[i].key) == 0;
        fprintf(out, "%s = %s%s%s\n", key->name, c->certificate[i].chain, both ? "" : " ",
                both ? "" : c->certificate[i].key);
    }
    return c->certificate_count > 0;
}

const struct conf_type conf_type_certificates = {set_certificates, clear_certificates,
                                                 write_certificates};

/* Backends. */

static bool is_word(const char *spec, size_t len, const char *word)
{
    return strlen(word) == len && strncmp(spec, word, len) == 0;
}

/* Whether there is such a file, socket, service or server is found out by whoever opens it. */
static bool backend_ok(const char *spec, char *why)
{
    static const char *const paths[] = {"file", "dovecot", "saslauthd"};
    static const char *const urls[] = {"imap",  "imaps", "pop3",  "pop3s", "smtp",
                                       "smtps", "ldap",  "ldaps", "http",  "https"};
    size_t scheme = strcspn(spec, ":");
    const char *behind = spec[scheme] == ':' ? spec + scheme + 1 : "";
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        if (is_word(spec, scheme, paths[i]))
            return conf_value_path(behind) ||
                   conf_type_wrong(
                       why, "\"%.100s\" names no path; write %s: and a path that starts with /",
                       spec, paths[i]);
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++)
        if (is_word(spec, scheme, urls[i]))
            return (strncmp(behind, "//", 2) == 0 && behind[2] != '\0' && behind[2] != '/') ||
                   conf_type_wrong(why, "\"%.100s\" names no server; write %s://HOST/", spec,
                                   urls[i]);
    if (strcmp(spec, "oauth:") == 0) /* [oauth]'s place in the order, or no passwords at all */
        return true;
    if (is_word(spec, scheme, "pam"))
        return conf_value_account(behind) ||
               conf_type_wrong(why,
                               "\"%.100s\" names no service; write pam: and the name of a file "
                               "in /etc/pam.d",
                               spec);
    return conf_type_wrong(why,
                           "\"%.100s\" is not a backend; write file:/etc/vestibule/users, or "
                           "dovecot:, saslauthd:, pam:, or a URL (imap, pop3, smtp, ldap, http)",
                           spec);
}

static bool add_backend(const struct conf_target *to, const struct conf_key *key, const char *word,
                        size_t len, char *why)
{
    struct conf *c = to->conf;
    char spec[WORD_MAX];
    if (!conf_type_fits(key, len, why))
        return false;
    memcpy(spec, word, len);
    spec[len] = '\0';
    if (!backend_ok(spec, why))
        return false;
    if (c->backend_count == CONF_BACKENDS_MAX)
        return conf_type_wrong(why, "names more than %d; name fewer", CONF_BACKENDS_MAX);
    c->backend[c->backend_count] = conf_type_copy(to, spec, len, why);
    return c->backend[c->backend_count++] != NULL;
}

static bool set_backends(const struct conf_target *to, const struct conf_key *key,
                         const char *value, char *why)
{
    const char *word, *cursor = value;
    size_t len, words = 0;
    /* the names of a directory hold commas, so only blanks separate */
    while (conf_value_word(&word, &len, &cursor, " \t")) {
        len -= len > 0 && word[len - 1] == ',';
        if (len == 0)
            continue;
        if (!add_backend(to, key, word, len, why))
            return false;
        words++;
    }
    return words > 0 || conf_type_wrong(why, "names nothing; write file:/etc/vestibule/users");
}

static void clear_backends(const struct conf_target *to, const struct conf_key *key)
{
    (void)key;
    to->conf->backend_count = 0;
}

static bool write_backends(FILE *out, const struct conf *c, const void *record,
                           const struct conf_key *key)
{
    (void)record;
    for (size_t i = 0; i < c->backend_count; i++)
        fprintf(out, "%s = %s\n", key->name, c->backend[i]);
    return c->backend_count > 0;
}

const struct conf_type conf_type_backends = {set_backends, clear_backends, write_backends};

/* The upstream of a listener, which may stand further down in the file. */

static bool set_upstream(const struct conf_target *to, const struct conf_key *key,
                         const char *value, char *why)
{
    if (!conf_type_fits(key, strlen(value), why))
        return false;
    *to->upstream_name = conf_type_copy(to, value, strlen(value), why);
    return *to->upstream_name != NULL;
}

static bool write_upstream(FILE *out, const struct conf *c, const void *record,
                           const struct conf_key *key)
{
    const struct conf_listener *l = record;
    fprintf(out, "%s = %s\n", key->name, c->upstream[l->upstream].name);
    return true;
}

const struct conf_type conf_type_upstream = {set_upstream, NULL, write_upstream};
