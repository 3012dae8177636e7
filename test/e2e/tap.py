"""Stands between Vestibule and a real mail server, passes on what each says, and writes it down."""

import re
import socket
import threading

import net


class Talk:
    def __init__(self):
        self.to_mta = b""
        self.from_mta = b""
        self.over = threading.Event()

    @property
    def commands(self):
        """Whole lines to the mail server, without CR LF."""
        return self.to_mta.split(b"\r\n")[:-1]

    @property
    def replies(self):
        """Last lines of what the mail server answered, the banner included."""
        return re.findall(rb"(?m)^[2-5][0-9][0-9](?: [^\r\n]*)?\r\n", self.from_mta)


class Tap:
    """One mail server's own; `with` closes it."""

    def __init__(self, mta_port):
        self.mta_port = mta_port
        self.port = net.free_port()
        self.talks = []
        self.listener = socket.create_server(("127.0.0.1", self.port), backlog=64)
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # A thread that waits in accept keeps a socket alive that is only closed.
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            talk = Talk()
            self.talks.append(talk)
            mta = socket.create_connection(("127.0.0.1", self.mta_port))
            threading.Thread(target=self._pass, args=(talk, "to_mta", client, mta), daemon=True).start()
            threading.Thread(target=self._pass, args=(talk, "from_mta", mta, client), daemon=True).start()

    @staticmethod
    def _pass(talk, way, source, sink):
        try:
            while octets := source.recv(65536):
                setattr(talk, way, getattr(talk, way) + octets)
                sink.sendall(octets)
        except OSError:
            pass
        for sock in (source, sink):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        talk.over.set()
