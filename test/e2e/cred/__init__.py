"""Real credential stores, private to the tests; each is one file that ends with its entry here."""

from cred.base import Store
from cred.file import File

# By name; each serves the logins of base.USERS. A module with a variant of itself has two entries.
ALL = {kind.name: kind for kind in (
    File,
)}

__all__ = ["ALL", "Store"]
