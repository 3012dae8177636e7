"""What the credential stores have in common here: the same users, a folder, a page that says how to use them, and
small servers that misbehave."""

import contextlib
import os
import pathlib
import shutil
import socket
import subprocess
import threading

import client
import pages
import proc

# Every store knows these, however it keeps them: blanks, quotes, backslashes, colons, other alphabets, a login with its
# domain.
USERS = {
    client.USER: client.PASSWORD,
    "bob": "bobs password",
    "carol": """q"u'o\\te:s;# %u$(id)`x`&<>{}=,""",
    "dora": "пароль ☃ café",
    "erin@any.example": "erins password",
}


def crypt_hash(password):
    """SHA-512: a millisecond, and every store can check it."""
    made = subprocess.run(["openssl", "passwd", "-6", "-stdin"], input=password, capture_output=True, text=True,
                          check=True, timeout=20)
    return made.stdout.strip()


class Store:
    """One kind of store. A subclass starts the real server on a socket or port of its own, chosen in __init__ and kept
    over stop and start, so that it can go away and come back under a running Vestibule."""

    name = "?"  # what the test is called
    page = "?"  # conf/backends/PAGE.md
    remote = True  # there is a server, which may be away, hang, or talk nonsense
    prefix = ()  # what Vestibule's own command line starts with, where it needs an environment of its own

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o755)
        self.fake = None

    def start(self):
        """The real server; returns when it answers."""
        raise NotImplementedError

    def stop(self):
        """Whatever was started, real or not; returns when nothing answers. May be called twice. A subclass calls this."""
        if self.fake is not None:
            self.fake.stop()
            self.fake = None

    def hang(self):
        """Something in the real server's place that takes connections and says nothing."""
        raise NotImplementedError

    def garbage(self):
        """Something in the real server's place that answers with what is no answer."""
        raise NotImplementedError

    def mapping(self):
        """{what the page says: what it is here}."""
        raise NotImplementedError

    def changes(self):
        """What the page's own block comes to: changes to the test's configuration."""
        return pages.settings(self.page, self.mapping())

    def remove(self):
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def wait_for_socket(self, path, seconds=10, log=lambda: ""):
        """Until something accepts there."""
        proc.wait_until(lambda: accepts(path), seconds, f"{self.name} listens on {path}\n{log()}")


def accepts(address):
    """Does anything listen at a path, or a port of loopback?"""
    with contextlib.closing(_socket(address)) as probe:
        probe.settimeout(2)
        try:
            probe.connect(_place(address))
        except OSError:
            return False
    return True


def _is_path(address):
    return not isinstance(address, int)


def _socket(address):
    return socket.socket(socket.AF_UNIX if _is_path(address) else socket.AF_INET)


def _place(address):
    return str(address) if _is_path(address) else ("127.0.0.1", address)


def silent(connection):
    """For Fake: reads all and says nothing."""
    while connection.recv(65536):
        pass


def saying(octets):
    """For Fake: says this at once, and again to all that comes."""
    def say(connection):
        connection.sendall(octets)
        while connection.recv(65536):
            connection.sendall(octets)
    return say


NOISE = bytes(range(256)) * 64 + b"\r\n\n" + b"999 what?\r\n* OK\r\nOK\tOK\nHTTP/9.9 700\r\n\r\n" + b"x" * 70000


class Fake:
    """A server on a path or a port of loopback that does the same with each connection."""

    def __init__(self, address, act):
        self.address, self.act = address, act
        self.open = []
        if _is_path(address):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(address)
        self.listener = _socket(address)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(_place(address))
        if _is_path(address):
            os.chmod(address, 0o666)
        self.listener.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                self.open.append(connection)
                threading.Thread(target=self._serve, args=[connection], daemon=True).start()

    def _serve(self, connection):
        with contextlib.suppress(OSError), connection:
            self.act(connection)

    def stop(self):
        """Connections are cut as well: a server that went away holds none."""
        for one in [self.listener, *self.open]:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        if _is_path(self.address):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.address)
