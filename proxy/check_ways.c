#include "proxy/check_ways.h"

#include <string.h>

#define EHLO "EHLO $C\r\n"
#define MAIL "MAIL FROM:<$S>\r\n"
#define RCPT "RCPT TO:<$R>\r\n"
#define TO(address)                             \
    {                                           \
        EHLO, MAIL, "RCPT TO:<" address ">\r\n" \
    }

const struct check_way check_ways[] = {
    /* Who never said who they are. */
    {.name = "MAIL without AUTH", .flight = {EHLO, MAIL, RCPT}, .in_clear = true},
    {.name = "a null sender", .flight = {EHLO, "MAIL FROM:<>\r\n", RCPT}, .in_clear = true},
    {.name = "RCPT behind a refused MAIL",
     .flight = {EHLO, MAIL, RCPT},
     .in_clear = true,
     .insist = true},
    {.name = "RCPT without MAIL", .flight = {EHLO, RCPT}, .in_clear = true},
    {.name = "no EHLO at all", .flight = {MAIL, RCPT}, .in_clear = true, .fresh = true},
    {.name = "HELO instead of EHLO", .flight = {"HELO $C\r\n", MAIL, RCPT}, .in_clear = true},
    {.name = "the name localhost", .flight = {"EHLO localhost\r\n", MAIL, RCPT}},
    {.name = "the server's own name", .flight = {"EHLO $H\r\n", MAIL, RCPT}},
    {.name = "a sender of this host", .flight = {EHLO, "MAIL FROM:<postmaster@$H>\r\n", RCPT}},
    {.name = "a sender at localhost", .flight = {EHLO, "MAIL FROM:<root@localhost>\r\n", RCPT}},
    {.name = "MAIL with AUTH=", .flight = {EHLO, "MAIL FROM:<$S> AUTH=$S\r\n", RCPT}},
    {.name = "two MAIL commands", .flight = {EHLO, MAIL, MAIL, RCPT}, .insist = true},

    /* Commands that are not quite commands. */
    {.name = "lower case",
     .flight = {"ehlo $C\r\n", "mail from:<$S>\r\n", "rcpt to:<$R>\r\n"},
     .in_clear = true},
    {.name = "a blank in front", .flight = {EHLO, " " MAIL, " " RCPT}, .in_clear = true},
    {.name = "a tab in front", .flight = {EHLO, "\t" MAIL, "\t" RCPT}},
    {.name = "a blank before the colon",
     .flight = {EHLO, "MAIL FROM :<$S>\r\n", "RCPT TO :<$R>\r\n"}},
    {.name = "no angle brackets", .flight = {EHLO, "MAIL FROM: $S\r\n", "RCPT TO: $R\r\n"}},
    {.name = "SAML instead of MAIL", .flight = {EHLO, "SAML FROM:<$S>\r\n", RCPT}},
    {.name = "all commands in one segment", .flight = {EHLO MAIL RCPT}, .in_clear = true},
    {.name = "MAIL behind a bare LF",
     .flight = {"EHLO $C\n" MAIL, RCPT},
     .in_clear = true,
     .fresh = true},
    {.name = "lines that end in a bare LF",
     .flight = {"EHLO $C\n", "MAIL FROM:<$S>\n", "RCPT TO:<$R>\n"},
     .fresh = true},
    {.name = "MAIL behind a bare CR", .flight = {EHLO, "NOOP\r" MAIL, RCPT}, .fresh = true},
    {.name = "MAIL behind a NUL", .flight = {EHLO, "$0" MAIL, RCPT}},

    /* Who says that somebody else has vouched for them. */
    {.name = "XCLIENT",
     .flight = {EHLO, "XCLIENT ADDR=127.0.0.1 NAME=localhost LOGIN=$U\r\n", EHLO, MAIL, RCPT},
     .in_clear = true},
    {.name = "XFORWARD",
     .flight = {EHLO, "XFORWARD ADDR=127.0.0.1 NAME=localhost\r\n", MAIL, RCPT},
     .in_clear = true},
    {.name = "a PROXY header",
     .first = "PROXY TCP4 127.0.0.1 127.0.0.1 40000 25\r\n",
     .flight = {EHLO, MAIL, RCPT},
     .in_clear = true,
     .fresh = true},
    {.name = "PROXY as a command",
     .flight = {"PROXY TCP4 127.0.0.1 127.0.0.1 40000 25\r\n", EHLO, MAIL, RCPT},
     .fresh = true},
    {.name = "AUTH ANONYMOUS", .flight = {EHLO, "AUTH ANONYMOUS Y2hlY2s=\r\n", MAIL, RCPT}},
    {.name = "AUTH EXTERNAL", .flight = {EHLO, "AUTH EXTERNAL =\r\n", MAIL, RCPT}},
    {.name = "MAIL behind a cancelled AUTH",
     .flight = {EHLO, "AUTH PLAIN\r\n", "*\r\n", MAIL, RCPT},
     .insist = true},
    {.name = "MAIL behind a refused AUTH in one segment",
     .flight = {EHLO, "AUTH PLAIN $B\r\n" MAIL RCPT},
     .insist = true,
     .fresh = true,
     .login = true},
    {.name = "MAIL behind a refused AUTH and RSET",
     .flight = {"RSET\r\n", MAIL, RCPT},
     .continues = true},
    {.name = "MAIL behind a refused AUTH and EHLO",
     .flight = {EHLO, MAIL, RCPT},
     .continues = true},

    /* Recipients that look like ours. */
    {.name = "user%remote@local", .flight = TO("$U%$D@$H")},
    {.name = "\"user%remote\"@local", .flight = TO("\"$U%$D\"@$H")},
    {.name = "\"user@remote\"@local", .flight = TO("\"$R\"@$H")},
    {.name = "user@remote@local", .flight = TO("$R@$H")},
    {.name = "remote!user@local", .flight = TO("$D!$U@$H")},
    {.name = "remote!user", .flight = TO("$D!$U")},
    {.name = "user%remote", .flight = TO("$U%$D")},
    {.name = "user%remote@[127.0.0.1]", .flight = TO("$U%$D@[127.0.0.1]")},
    {.name = "user%remote@localhost", .flight = TO("$U%$D@localhost")},
    {.name = "the source route @local:user@remote", .flight = TO("@$H:$R")},
    {.name = "the source route @local,@remote:user@remote", .flight = TO("@$H,@$D:$R")},
};

const size_t check_ways_count = sizeof check_ways / sizeof check_ways[0];

/* Reserved for documentation, and a name that answers in DNS, so that a server that looks does not
 * refuse for that reason alone. */
static const char *word(char letter, const struct check_words *words)
{
    switch (letter) {
    case 'S':
        return "vestibule-check@example.org";
    case 'R':
        return "vestibule-check@example.com";
    case 'U':
        return "vestibule-check";
    case 'D':
        return "example.com";
    case 'C':
        return "vestibule-check.example.org";
    case 'H':
        return words->domain;
    case 'B':
        return words->login;
    default:
        return "";
    }
}

size_t check_flight_write(char out[CHECK_FLIGHT_MAX], const char *flight,
                          const struct check_words *words)
{
    size_t used = 0;
    for (; *flight != '\0'; flight++) {
        const char *from = flight;
        size_t len = 1;
        if (flight[0] == '$' && flight[1] != '\0') {
            flight++;
            from = *flight == '0' ? "" : word(*flight, words);
            len = *flight == '0' ? 1 : strlen(from); /* the NUL itself */
        }
        if (len > CHECK_FLIGHT_MAX - used)
            return 0;
        memcpy(out + used, from, len);
        used += len;
    }
    return used;
}

size_t check_flight_commands(const char *flight)
{
    size_t count = 0;
    for (; *flight != '\0'; flight++)
        count += *flight == '\n';
    return count;
}

bool check_flight_loose(const char *flight)
{
    for (size_t i = 0; flight[i] != '\0'; i++) {
        if (flight[i] == '\r' && flight[i + 1] != '\n')
            return true;
        if (flight[i] == '\n' && (i == 0 || flight[i - 1] != '\r'))
            return true;
    }
    return false;
}
