"""Another submission server, which takes logins for a relay that is not there."""

from cred.imap import Mailboxes


class Smtp(Mailboxes):
    name = "smtp"
    needs = ("dovecot-core", "dovecot-submissiond")
    scheme_tls = "smtps"
    service = plain = "submission"
    extra = "submission_relay_host = 127.0.0.1\nsubmission_relay_port = 1\n"
