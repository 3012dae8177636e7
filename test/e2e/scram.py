"""The client's half of RFC 5802 with SHA-256, bound to its channel or not, and verifiers for the users file."""

import base64
import contextlib
import hashlib
import hmac
import os
import select
import socket
import ssl
import threading

from OpenSSL import SSL

import client
from client import b64


def verifier(password, iterations=4096, salt=b"sixteen octets!!"):
    """As the users file has it."""
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    return f"{{SCRAM-SHA-256}}{iterations}," + ",".join(map(b64, (salt, stored, hmac.digest(salted, b"Server Key", "sha256"))))


class Exchange:
    def __init__(self, login, password, binding=None, flag=None):
        self.password = password.encode()
        self.header = (flag or ("n" if binding is None else "p=tls-exporter")) + ",,"
        self.bound = b64(self.header.encode() + (binding or b""))
        self.bare = f"n={login.replace('=', '=3D').replace(',', '=2C')},r={base64.b64encode(os.urandom(18)).decode()}"

    def first(self):
        return self.header + self.bare

    def final(self, challenge):
        fields = dict(part.split("=", 1) for part in challenge.decode().split(","))
        salted = hashlib.pbkdf2_hmac("sha256", self.password, base64.b64decode(fields["s"]), int(fields["i"]))
        key = hmac.digest(salted, b"Client Key", "sha256")
        without = f"c={self.bound},r={fields['r']}"
        said = f"{self.bare},{challenge.decode()},{without}".encode()
        proof = bytes(a ^ b for a, b in zip(key, hmac.digest(hashlib.sha256(key).digest(), said, "sha256")))
        self.expected = b"v=" + base64.b64encode(hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), said, "sha256"))
        return f"{without},p={base64.b64encode(proof).decode()}"


def decoded(reply):
    assert reply.code == 334, reply
    return base64.b64decode(reply.text[4:])


def log_in(session, login, password, mechanism="SCRAM-SHA-256", initial=True, **options):
    """The reply that ends it."""
    exchange = Exchange(login, password, **options)
    if initial:
        reply = session.command(f"AUTH {mechanism} {b64(exchange.first())}")
    else:
        assert session.command(f"AUTH {mechanism}").text == "334 "
        reply = session.command(b64(exchange.first()))
    if reply.code != 334:
        return reply
    reply = session.command(b64(exchange.final(decoded(reply))))
    if reply.code == 334:
        assert decoded(reply) == exchange.expected, "the server knows the password as well"
        reply = session.command("")
    return reply


class Bindable(client.Client):
    """A client that can tell what binds a login to its TLS channel, which Python's own TLS cannot."""

    def __init__(self, port, tls="implicit", version=SSL.TLS1_3_VERSION, **options):
        self.version = version
        super().__init__(port, tls, **options)

    def wrap(self, session=None):
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_min_proto_version(self.version)
        context.set_max_proto_version(self.version)
        self.tcp = self.sock
        self.tcp.setblocking(True)
        self.sock = SSL.Connection(context, self.tcp)
        self.sock.set_tlsext_host_name(self.name.encode())
        self.sock.set_connect_state()
        self.sock.do_handshake()

    def binding(self):
        """RFC 9266: a context that is there, and empty."""
        return self.sock.export_keying_material(b"EXPORTER-Channel-Binding", 32, b"")

    def receive(self):
        try:
            return self.sock.recv(65536)
        except (SSL.ZeroReturnError, SSL.SysCallError):
            raise client.Closed("close_notify") from None


@contextlib.contextmanager
def in_between(port, certificate, ca):
    """Somebody who ends TLS with a certificate that clients believe, and begins his own towards us: his port."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate.chain, certificate.key)

    def serve():
        with contextlib.suppress(OSError):
            near = server.wrap_socket(listener.accept()[0], server_side=True)
            far = client.trusting(ca).wrap_socket(socket.create_connection(("127.0.0.1", port)),
                                                  server_hostname="mail.example.test")
            pair = {near: far, far: near}
            for one in pair:
                one.settimeout(0.1)  # what is readable may be a session ticket
            with near, far:
                while True:
                    for one in select.select(list(pair), [], [])[0]:
                        with contextlib.suppress(TimeoutError):
                            octets = one.recv(65536)
                            if not octets:
                                return
                            pair[one].sendall(octets)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
