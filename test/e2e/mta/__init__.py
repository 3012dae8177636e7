"""Real mail servers, unmodified and private to the tests: unpacked, never installed, on ports of their own."""

from mta.base import Mta
from mta.exim import Exim
from mta.opensmtpd import OpenSMTPD
from mta.postfix import Postfix
from mta.sendmail import Sendmail

# By the name of the fixture that starts them.
ALL = {kind.name: kind for kind in (Postfix, Exim, Sendmail, OpenSMTPD)}

__all__ = ["ALL", "Exim", "Mta", "OpenSMTPD", "Postfix", "Sendmail"]
