"""Real credential stores, private to the tests; each is one file that ends with its entry here."""

from cred.base import Store
from cred.dovecot import Dovecot
from cred.file import File
from cred.pam import Pam
from cred.saslauthd import Saslauthd

# By name; each serves the logins of base.USERS. A module with a variant of itself has two entries.
ALL = {kind.name: kind for kind in (
    File,
    Dovecot,
    Saslauthd,
    Pam,
)}

__all__ = ["ALL", "Store"]
