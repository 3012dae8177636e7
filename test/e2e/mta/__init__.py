"""Real mail servers, unmodified and private to the tests: unpacked, never installed, on ports of their own."""

from mta.base import Mta
from mta.exim import Exim
from mta.postfix import Postfix

__all__ = ["Exim", "Mta", "Postfix"]
