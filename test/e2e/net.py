"""Ports of our own on loopback, and waiting for what listens there."""

import random
import socket
import time


def free_port():
    """A port that nothing listens on, below the range that outgoing connections take theirs from."""
    for _ in range(1000):
        port = random.randrange(15000, 32000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no free port between 15000 and 32000")


def wait_for_banner(port, what, log=lambda: "", alive=lambda: True, seconds=15):
    """Until a plaintext SMTP port greets; the log goes into the message when it does not."""
    deadline = time.monotonic() + seconds
    last = "nothing listens"
    while time.monotonic() < deadline and alive():
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=2) as sock:
                sock.settimeout(max(0.1, deadline - time.monotonic()))
                greeting = sock.recv(512)
                if greeting.startswith(b"220"):
                    sock.sendall(b"QUIT\r\n")
                    sock.recv(512)
                    return
                last = f"it said {greeting!r}"
        except OSError as error:
            last = str(error)
        time.sleep(0.02)
    raise AssertionError(f"{what} does not greet on port {port}: {last}\n{log()}")


def wait_until_closed(port, seconds=10):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except ConnectionRefusedError:
            return
        time.sleep(0.02)
    raise AssertionError(f"port {port} is still open after {seconds} s")
