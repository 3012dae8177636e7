"""A stand-in for the mail server that records every octet with its time and misbehaves when told to.

What it does at a given point is an action: a function of (connection, line) that may send, wait, or hang up. Actions
are put in place by point, at any time: `canary.on["MAIL"] = reply("451 4.3.0 later")`. The points are `banner`, the
verbs, `data` (behind the 354, before any message data is read) and `.` (the end of data has been read)."""

import re
import socket
import struct
import threading
import time

import net


class Gone(Exception):
    """The connection ended, by the peer or by an action."""


# Actions.


def reply(text):
    """Answers with one or more lines, the code in front of each: reply("250-a\\n250 b")."""
    octets = "".join(line + "\r\n" for line in text.split("\n")).encode()
    return lambda connection, line: connection.send(octets)


def raw(octets):
    return lambda connection, line: connection.send(octets)


def trickle(text, pause=0.002):
    """An answer that arrives octet by octet."""

    def action(connection, line):
        for octet in (text + "\r\n").encode():
            connection.send(bytes([octet]))
            time.sleep(pause)

    return action


def after(seconds, action):
    def wait_then(connection, line):
        connection.sleep(seconds)
        action(connection, line)

    return wait_then


def when(event, action):
    """Waits for a threading.Event first."""

    def wait_then(connection, line):
        if not event.wait(60):
            raise Gone
        action(connection, line)

    return wait_then


def both(*actions):
    def one_after_the_other(connection, line):
        for action in actions:
            action(connection, line)

    return one_after_the_other


def hang_up(connection, line):
    connection.close()
    raise Gone


def reset(connection, line):
    connection.reset()
    raise Gone


def silence(connection, line):
    """No answer, for as long as the peer stays."""
    while True:
        connection.fill()


def endless(text):
    """A multi-line answer without an end."""

    def action(connection, line):
        octets = f"{text[:3]}-{text[4:]}\r\n".encode() * 64
        while True:
            connection.send(octets)

    return action


def in_turn(*actions):
    """The first time the first, then the next; the last one stays."""
    left = list(actions)
    lock = threading.Lock()

    def action(connection, line):
        with lock:
            now = left.pop(0) if len(left) > 1 else left[0]
        now(connection, line)

    return action


EHLO = "250-legacy.test Hello\n250-PIPELINING\n250-SIZE 52428800\n250-8BITMIME\n250-ENHANCEDSTATUSCODES\n250-SMTPUTF8\n" \
       "250-DSN\n250-STARTTLS\n250-AUTH PLAIN\n250-XCLIENT NAME ADDR\n250-ETRN\n250-CHUNKING\n250 HELP"


def ordinary():
    return {
        "banner": reply("220 legacy.test ESMTP canary"),
        "EHLO": reply(EHLO),
        "HELO": reply("250 legacy.test"),
        "MAIL": reply("250 2.1.0 Ok"),
        "RCPT": reply("250 2.1.5 Ok"),
        "DATA": reply("354 End data with <CR><LF>.<CR><LF>"),
        "data": lambda connection, line: None,
        ".": reply("250 2.0.0 Ok: queued as CANARY"),
        "RSET": reply("250 2.0.0 Ok"),
        "NOOP": reply("250 2.0.0 Ok"),
        "QUIT": both(reply("221 2.0.0 Bye"), hang_up),
        "otherwise": reply("500 5.5.2 What?"),
    }


class Message:
    def __init__(self, mail, rcpt, wire, complete):
        self.mail = mail
        self.rcpt = rcpt
        self.wire = wire  # as it came, dots stuffed, without the final dot
        self.complete = complete

    @property
    def text(self):
        """As it was meant: dots unstuffed."""
        return re.sub(rb"(?m)^\.", b"", self.wire)

    @property
    def body(self):
        """Without the one header that Vestibule adds."""
        assert self.text.startswith(b"Received: "), self.text[:200]
        return re.sub(rb"\AReceived: [^\r]*\r\n([ \t][^\r]*\r\n)*", b"", self.text)

    @property
    def received(self):
        return self.text[: len(self.text) - len(self.body)]


class Connection:
    def __init__(self, canary, sock):
        self.canary = canary
        self.sock = sock
        self.opened = time.monotonic()
        self.ended = None  # when
        self.how = None  # "fin" or "rst": how the other side ended it; None: it did not
        self.received = []  # (time, octets)
        self.sent = []
        self.commands = []  # lines without CR LF
        self.messages = []
        self.violations = []  # of lock step and of line ends
        self.buffer = b""
        self.mail = None
        self.rcpt = []

    @property
    def octets(self):
        return b"".join(octets for _, octets in self.received)

    @property
    def is_probe(self):
        """Vestibule itself, asking what the server offers: nothing of a client's is in there."""
        return all(re.fullmatch(rb"(EHLO|HELO) mail\.example\.test|QUIT|RSET|NOOP", command)
                   for command in self.commands) and not self.buffer

    def send(self, octets):
        try:
            self.sock.sendall(octets)
            self.sent.append((time.monotonic(), octets))
        except OSError as error:
            self._gone(error)

    def fill(self):
        try:
            octets = self.sock.recv(65536)
        except OSError as error:
            self._gone(error)
        if not octets:
            self._gone(None)
        self.received.append((time.monotonic(), octets))
        self.buffer += octets

    def _gone(self, error):
        if self.how is None:
            self.how = "rst" if isinstance(error, ConnectionResetError) else "fin"
        raise Gone

    def sleep(self, seconds):
        """Waits, and notices whether the peer stayed that long."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self.sock.settimeout(left)
            try:
                peeked = self.sock.recv(1, socket.MSG_PEEK)
            except TimeoutError:
                break
            except OSError as error:
                self._gone(error)
            if not peeked:
                self._gone(None)
            time.sleep(min(left, 0.02))
        self.sock.settimeout(None)

    def close(self):
        self.sock.close()

    def reset(self):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    # The conversation.

    def serve(self):
        self.act("banner", b"")
        while True:
            while b"\r\n" not in self.buffer:
                self.fill()
            line, _, self.buffer = self.buffer.partition(b"\r\n")
            if self.buffer:
                self.violations.append(f"more behind {line!r}: {self.buffer[:80]!r}")
            if re.search(rb"[\x00-\x1f\x7f]", line):
                self.violations.append(f"a control character in {line!r}")
            self.commands.append(line)
            self.obey(line)

    def obey(self, line):
        verb = line.split(b" ")[0].upper().decode("ascii", "replace")
        if verb not in self.canary.on:
            verb = "otherwise"
        before = len(self.sent)
        self.act(verb, line)
        said = b"".join(octets for _, octets in self.sent[before:])
        if verb == "MAIL":
            self.mail, self.rcpt = line, []
        elif verb == "RCPT" and said.startswith(b"2"):
            self.rcpt.append(line)
        elif verb in ("RSET", "EHLO", "HELO"):
            self.mail, self.rcpt = None, []
        elif verb == "DATA" and said.startswith(b"354"):
            self.read_message()

    def act(self, point, line):
        self.canary.on[point](self, line)

    def read_message(self):
        message = Message(self.mail, self.rcpt, b"", False)
        self.messages.append(message)
        self.act("data", b"")
        parts = [self.buffer]
        tail = b"\r\n" + self.buffer[-8:]
        self.buffer = b""
        while b"\r\n.\r\n" not in tail:
            try:
                self.fill()
            except Gone:
                message.wire = b"".join(parts)
                raise
            parts.append(self.buffer)
            tail = tail[-8:] + self.buffer
            self.buffer = b""
        wire, _, rest = (b"\r\n" + b"".join(parts)).partition(b"\r\n.\r\n")
        message.wire = (wire + b"\r\n")[2:]
        message.complete = True
        self.buffer = rest
        if rest:
            self.violations.append(f"more behind the final dot: {rest[:80]!r}")
        if re.search(rb"\x00|\r(?!\n)|(?<!\r)\n", message.wire):
            self.violations.append("a bare CR, a bare LF or a NUL in the message")
        self.mail, self.rcpt = None, []
        self.act(".", b".")


class Canary:
    def __init__(self, port=None):
        self.port = port or net.free_port()
        self.on = ordinary()
        self.connections = []
        self.listener = None

    def start(self):
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", self.port))
        self.listener.listen(128)
        threading.Thread(target=self._accept, args=(self.listener,), daemon=True).start()
        return self

    def stop(self):
        """Away: nobody listens, and who was connected is cut off."""
        if self.listener is not None:
            # A thread that waits in accept keeps a socket alive that is only closed.
            self.listener.shutdown(socket.SHUT_RDWR)
            self.listener.close()
            self.listener = None
        for connection in list(self.connections):
            if connection.ended is None:
                try:
                    connection.sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def _accept(self, listener):
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            connection = Connection(self, sock)
            self.connections.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        try:
            connection.serve()
        except Gone:
            pass
        finally:
            connection.ended = time.monotonic()
            connection.sock.close()

    # Questions.

    @property
    def visitors(self):
        """Connections on behalf of clients."""
        return [connection for connection in list(self.connections) if not connection.is_probe]

    @property
    def messages(self):
        """That were ended by a dot."""
        return [message for connection in self.visitors for message in connection.messages if message.complete]

    @property
    def cut_off(self):
        """Messages that began and never ended."""
        return [message for connection in self.visitors for message in connection.messages if not message.complete]

    @property
    def violations(self):
        return [violation for connection in self.visitors for violation in connection.violations]

    def wait_for(self, condition, seconds=10, what="the expected"):
        """Until condition(self) holds; gives its value back."""
        deadline = time.monotonic() + seconds
        while not (value := condition(self)):
            assert time.monotonic() < deadline, f"the MTA never saw {what}; it saw {[c.commands for c in self.visitors]}"
            time.sleep(0.01)
        return value

    def wait_until_left(self, seconds=10):
        """Until nobody is connected for a client any more."""
        self.wait_for(lambda canary: all(c.ended for c in canary.visitors), seconds, "the client's connection end")
