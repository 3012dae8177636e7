/* Every number that a peer can push against and that is not a configuration key, each with its
 * reason. */
#ifndef VESTIBULE_PROXY_LIMITS_H
#define VESTIBULE_PROXY_LIMITS_H

/* Buffers, octets. */
#define LIMIT_CLIENT_IN                                                      \
    16384 /* the longest AUTH line (12,288) fits, and so does one TLS record \
           */
#define LIMIT_CLIENT_OUT \
    32768 /* two whole MTA replies; a client that reads no replies is not read either */
#define LIMIT_MTA_IN 16384    /* REPLY_TOTAL_MAX */
#define LIMIT_MTA_OUT 65536   /* message data on its way; a slow MTA stops the client */
#define LIMIT_CIPHER_IN 66560 /* four TLS records with their overhead, of a client in full flow */
#define LIMIT_CIPHER_OUT \
    65536 /* records on their way to the client, a certificate flight included */

/* Counts. */
#define LIMIT_REPLIES_PENDING \
    16 /* commands read ahead of a reply that is owed (RFC 2920: bounded) */
#define LIMIT_NULL_RECIPIENTS \
    2 /* of the null sender: a notice goes back to one, backscatter to many */
#define LIMIT_RECIPIENTS \
    1000 /* per message; RFC 5321 4.5.3.1.8 asks for 100; Postfix takes 1,000 */
#define LIMIT_ERRORS_BEFORE 5 /* bad commands before AUTH, then 421: no client needs more */
#define LIMIT_ERRORS_AFTER 20 /* and after it: a long session may stumble */
#define LIMIT_CHUNKS_SMALL                                                    \
    100 /* BDATs of a message that may be of any size; from then on they must \
           bring, on average, */
#define LIMIT_CHUNK_AVERAGE 64 /* octets: each costs us a command */
#define LIMIT_JUNK \
    100 /* NOOP, RSET, EHLO, VRFY and the like in a row that move no mail (Postfix: the same) */

/* Times, milliseconds. */
#define LIMIT_LOGIN_MS 60000   /* from connect to AUTH, absolute: a stranger gets a minute */
#define LIMIT_PROXY_MS 5000    /* for a PROXY header: the proxy is near and sends it first */
#define LIMIT_MTA_IDLE_MS 5000 /* an MTA connection is kept so long for a client's next message */
#define LIMIT_DRAIN_IDLE_MS                                                                     \
    1000                       /* while draining: whoever says nothing for so long is sent away \
                                */
#define LIMIT_COMMAND_MS 60000 /* from a command's first octet to its last */
#define LIMIT_DATA_MS 180000   /* for each LIMIT_DATA_UNIT of message data, RFC 5321 4.5.3.2.5 */
#define LIMIT_DATA_UNIT \
    16384 /* octets: with the time above, a client must bring about 91 octets a second */
#define LIMIT_WRITE_MS 60000   /* a client that reads nothing */
#define LIMIT_VERDICT_MS 60000 /* longest wait for the vault's word on a login */
#define LIMIT_CLOSE_MS 5000    /* to get the last reply out and see the peer's close */

#endif
