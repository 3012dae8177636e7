"""Real credential stores, private to the tests; each is one file that ends with its entry here."""

from cred.base import Store
from cred.dovecot import Dovecot
from cred.file import File
from cred.http import Http, HttpScript
from cred.imap import Imap
from cred.ldap import Ldap, LdapNames
from cred.pam import Pam
from cred.pop3 import Pop3
from cred.saslauthd import Saslauthd
from cred.smtp import Smtp

# By name; each serves the logins of base.USERS. A module with a variant of itself has two entries.
ALL = {kind.name: kind for kind in (
    File,
    Dovecot,
    Saslauthd,
    Pam,
    Imap,
    Pop3,
    Smtp,
    Ldap,
    LdapNames,
    Http,
    HttpScript,
)}

__all__ = ["ALL", "Store"]
