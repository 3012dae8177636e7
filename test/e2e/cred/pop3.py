"""The same mailboxes by POP3."""

from cred.imap import Mailboxes


class Pop3(Mailboxes):
    name = "pop3"
    needs = ("dovecot-core", "dovecot-pop3d")
    scheme_tls = "pop3s"
    service = plain = "pop3"
