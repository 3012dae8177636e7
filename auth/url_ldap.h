/* What a login becomes on its way to an LDAP server: a name to bind as, or a search that finds it.
 *
 * Pure. `%u` is the login, `%n` its part before the last "@", `%d` the part behind it; each is
 * escaped as the place demands (RFC 4514 in names, RFC 4515 in filters), so that it stays a value
 * whatever it holds. Other octets may be written as % and two hex digits (RFC 3986).
 *
 * ldaps://HOST/uid=%u,ou=people,dc=example,dc=org          bind as that name
 * ldaps://HOST/BASE?ATTRIBUTE?SCOPE?FILTER (RFC 4516)      search, then bind as what was found;
 *     a filter without %u, %n, %d is joined with (ATTRIBUTE=%u) */
#ifndef VESTIBULE_AUTH_URL_LDAP_H
#define VESTIBULE_AUTH_URL_LDAP_H

#include <stdbool.h>

#include "auth/sasl.h"
#include "auth/url_spec.h"

#define URL_LDAP_TEMPLATE_MAX 512 /* with its NUL */
#define URL_LDAP_ATTRIBUTE_MAX 64

enum url_ldap_scope { URL_LDAP_BASE, URL_LDAP_ONE, URL_LDAP_SUB };

/* Templates hold octets, decoded; a placeholder is one octet of enum url_ldap_place. */
struct url_ldap {
    bool search;
    char name[URL_LDAP_TEMPLATE_MAX]; /* to bind as, or the base of the search */
    char filter[URL_LDAP_TEMPLATE_MAX];
    char attribute[URL_LDAP_ATTRIBUTE_MAX]; /* the found entry's own login; "uid" by default */
    enum url_ldap_scope scope;
};

/* `rest` of the URL. False with half a sentence, to be read behind the URL. */
bool url_ldap_parse(struct url_ldap *out, const char *rest, char error[URL_SPEC_ERROR_MAX]);

/* What can be a login at all where names are compared as RFC 4518 does: blanks at the ends or two
 * together count for nothing there, so that one user would have many names; `%d` needs a domain.
 * Where nothing tells the one right spelling (`told` false) it is ASCII alone. */
bool url_ldap_login_ok(const struct url_ldap *u, const char *login, bool told);

/* Freshly allocated; NULL: out of memory. */
char *url_ldap_name(const struct url_ldap *u, const char *login);
char *url_ldap_filter(const struct url_ldap *u, const char *login);

/* Has the base a placeholder? Then a login may have none. */
bool url_ldap_base_varies(const struct url_ldap *u);

#endif
