"""An SMTP client without manners: says any octets at any time, hears one reply at a time, leaves in any way."""

import base64
import re
import select
import socket
import ssl
import struct
import time

USER, PASSWORD = "alice", "correct horse battery staple"


class Reply:
    def __init__(self, lines):
        self.lines = [line.decode("latin-1") for line in lines]
        self.code = int(self.lines[-1][:3])

    @property
    def text(self):
        return "\n".join(self.lines)

    def __eq__(self, other):
        """A reply equals its text, or the beginning of it up to a word's end: reply == "535 5.7.8"."""
        return self.text == other or self.text.startswith(other + " ")

    def __repr__(self):
        return repr(self.text)


class Closed(Exception):
    """The server ended the connection where a reply was awaited. `how` is "close_notify", "fin" or "rst"."""

    def __init__(self, how):
        super().__init__(how)
        self.how = how


def plain(user=USER, password=PASSWORD, authzid=""):
    return base64.b64encode(f"{authzid}\0{user}\0{password}".encode()).decode()


def b64(text):
    return base64.b64encode(text if isinstance(text, bytes) else text.encode()).decode()


def trusting(ca, **options):
    context = ssl.create_default_context(cafile=str(ca))
    for name, value in options.items():
        setattr(context, name, value)
    return context


class Client:
    """`tls` is "implicit", "starttls" or None. With "starttls" the greeting and EHLO before it are done here."""

    def __init__(self, port, tls="implicit", ca=None, context=None, name="mail.example.test", timeout=15, greet=True,
                 session=None, first=()):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in first:  # before anything of TLS or SMTP, as a load balancer does
            self.sock.sendall(piece)
            time.sleep(0.01 if len(first) > 1 else 0)
        self.buffer = b""
        self.context = context or (trusting(ca) if ca else None)
        self.name = name
        self.greeting = None
        if tls == "starttls":
            self.reply()
            assert self.command("EHLO client.test").code == 250
            assert self.command("STARTTLS").code == 220
        if tls is not None:
            self.wrap(session)
        if tls != "starttls" and greet:
            self.greeting = self.reply()

    def wrap(self, session=None):
        assert not self.buffer, f"plaintext where TLS must begin: {self.buffer!r}"
        self.sock = self.context.wrap_socket(self.sock, server_hostname=self.name, session=session,
                                             suppress_ragged_eofs=False)

    # Octets.

    def send(self, octets):
        self.sock.sendall(octets if isinstance(octets, bytes) else octets.encode())

    def send_slowly(self, octets, pause=0.001):
        """One octet a segment, and under TLS one a record."""
        for octet in octets:
            self.send(bytes([octet]))
            time.sleep(pause)

    def receive(self):
        """Some octets; Closed when there are no more."""
        try:
            octets = self.sock.recv(65536)
        except ssl.SSLZeroReturnError:
            raise Closed("close_notify") from None
        except ssl.SSLEOFError:
            raise Closed("fin") from None
        except (ConnectionResetError, BrokenPipeError):
            raise Closed("rst") from None
        if not octets:
            raise Closed("close_notify" if isinstance(self.sock, ssl.SSLSocket) else "fin")
        return octets

    def line(self):
        while b"\n" not in self.buffer:
            self.buffer += self.receive()
        line, _, self.buffer = self.buffer.partition(b"\n")
        assert line.endswith(b"\r"), f"a reply line without CR: {line!r}"
        return line[:-1]

    def reply(self):
        lines = [self.line()]
        while lines[-1][3:4] == b"-":
            lines.append(self.line())
        for line in lines:
            assert re.fullmatch(rb"[2-5][0-9][0-9]([ -][ -~]*)?", line) and len(line) <= 510, f"not a reply: {line!r}"
        assert len({line[:3] for line in lines}) == 1, f"codes differ: {lines}"
        return Reply(lines)

    def replies(self):
        """All that come until the server closes; and how it did."""
        heard = []
        try:
            while True:
                heard.append(self.reply())
        except Closed as end:
            return heard, end.how

    def closed(self, seconds=10):
        """How the server ended it; fails when it says anything more, or stays."""
        self.sock.settimeout(seconds)
        try:
            more = self.buffer + self.receive()
        except Closed as end:
            return end.how
        raise AssertionError(f"more was said: {more!r}")

    def quiet(self, seconds):
        """Does the server say nothing for that long, without leaving?"""
        if self.buffer or (isinstance(self.sock, ssl.SSLSocket) and self.sock.pending()):
            return False
        readable, _, _ = select.select([self.sock], [], [], seconds)
        if readable and isinstance(self.sock, ssl.SSLSocket):  # a session ticket is not a word
            self.sock.settimeout(seconds)
            try:
                self.buffer += self.receive()
            except TimeoutError:
                return True
            except Closed:
                return False
            return False
        return not readable

    # Words.

    def command(self, line):
        self.send(line if isinstance(line, bytes) else line.encode())
        self.send(b"\r\n")
        return self.reply()

    def ehlo(self, name="client.test"):
        reply = self.command(f"EHLO {name}")
        assert reply.code == 250, reply
        return reply

    def login(self, user=USER, password=PASSWORD):
        self.ehlo()
        reply = self.command("AUTH PLAIN " + plain(user, password))
        assert reply == "235 2.7.0", reply
        return self

    def envelope(self, recipient, sender="alice@client.test", parameters=""):
        reply = self.command(f"MAIL FROM:<{sender}>{parameters}")
        assert reply.code == 250, reply
        reply = self.command(f"RCPT TO:<{recipient}>")
        assert reply.code == 250, reply
        return self

    def begin_data(self, recipient, sender="alice@client.test"):
        self.envelope(recipient, sender)
        reply = self.command("DATA")
        assert reply.code == 354, reply
        return self

    def deliver(self, recipient, message, parameters=""):
        """One whole transaction; the reply to its end."""
        self.envelope(recipient, parameters=parameters)
        reply = self.command("DATA")
        assert reply.code == 354, reply
        self.send(stuffed(message) + b".\r\n")
        return self.reply()

    # Leaving.

    def quit(self):
        reply = self.command("QUIT")
        assert reply.code == 221, reply
        assert self.closed() != "rst"
        self.sock.close()

    def close(self):
        """Without a word; under TLS without close_notify as well."""
        self.sock.close()

    def reset(self):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()


def stuffed(message):
    return re.sub(rb"(?m)^\.", b"..", message)
