"""TLS around what a Fake does."""

import contextlib
import ssl


def context(certificate):
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(certificate.chain, certificate.key)
    return made


def inside(certificate, act):
    """For Fake: does the same inside TLS. The Fake cuts the connection when it stops."""
    shared = context(certificate)

    def wrapped(connection):
        # The Fake keeps its own descriptor of the connection.
        with contextlib.suppress(OSError), shared.wrap_socket(connection.dup(), server_side=True) as secured:
            act(secured)
    return wrapped
