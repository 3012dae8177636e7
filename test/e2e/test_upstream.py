"""Mail servers that move, restart or fail, and what they are told of the client."""

import socket
import ssl
import threading
import time

import pytest

import canary as canary_module
import net
import test_arrival

HELLO = b"Subject: x\r\n\r\nhello\r\n"


def test_the_next_address_is_tried_when_the_first_is_dead(start, canary, tls):
    dead = net.free_port()
    vestibule = start(canary.port, {"upstream": {"address": f"127.0.0.1:{dead}, 127.0.0.1:{canary.port}"}})
    with vestibule.connect(tls).login() as session:
        assert session.deliver("b@any.example", HELLO).code == 250
    assert len(canary.messages) == 1


def test_an_address_that_does_not_answer_costs_its_connect_timeout_only(start, canary):
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        port = full.getsockname()[1]
        stuck = [socket.socket() for _ in range(3)]  # its line is full: a connection hangs
        for one in stuck:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
        vestibule = start(canary.port, {"upstream": {"address": f"127.0.0.1:{port}, 127.0.0.1:{canary.port}",
                                                     "connect_timeout": "300ms", "queue_timeout": "5s"}})
        with vestibule.connect().login() as session:
            began = time.monotonic()
            assert session.deliver("b@any.example", HELLO).code == 250
            assert 0.2 < time.monotonic() - began < 3
        for one in stuck:
            one.close()


def test_a_message_waits_while_the_mail_server_restarts(start, tls):
    port = net.free_port()
    vestibule = start(port, {"upstream": {"queue_timeout": "15s"}})
    late = canary_module.Canary(port)
    with vestibule.connect(tls).login() as session:
        session.send(b"MAIL FROM:<alice@client.test>\r\n")
        session.quiet(1)
        late.start()
        try:
            assert session.reply().code == 250
        finally:
            session.close()
            late.stop()


@pytest.mark.parametrize("key,point,code", [("banner_timeout", "banner", 451), ("reply_timeout", "MAIL", 451),
                                            ("data_init_timeout", "DATA", 451), ("data_timeout", ".", 451)])
def test_each_wait_for_the_mail_server_has_its_own_end(start, canary, key, point, code):
    longer = {"banner_timeout": "20s", "reply_timeout": "20s", "data_init_timeout": "20s", "data_timeout": "20s"}
    vestibule = start(canary.port, {"upstream": {**longer, key: "1s"}})
    canary.on[point] = canary_module.silence
    with vestibule.connect().login() as session:
        began = time.monotonic()
        replies = [session.command("MAIL FROM:<alice@client.test>")]
        if point in ("DATA", "."):
            replies += [session.command("RCPT TO:<b@any.example>"), session.command("DATA")]
        if point == ".":
            session.send(HELLO + b".\r\n")
            replies.append(session.reply())
        assert replies[-1].code == code
        assert 0.8 < time.monotonic() - began < 6


def test_a_mail_server_that_takes_no_data_is_given_up(start, canary):
    release = threading.Event()
    canary.on["data"] = lambda connection, line: release.wait(20)
    vestibule = start(canary.port, {"upstream": {"block_timeout": "1s"}})
    with vestibule.connect().login() as session:
        session.begin_data("b@any.example")
        session.send((b"x" * 76 + b"\r\n") * 400000 + b".\r\n")
        assert session.reply().code == 451
    release.set()


def test_idle_timeout_is_the_listeners_own(start, canary):
    vestibule = start(canary.port, {"listener submissions": {"idle_timeout": "10s"}})
    with vestibule.connect().login() as session:
        began = time.monotonic()
        assert session.reply().code == 421
        assert 8 < time.monotonic() - began < 14


def test_a_proxy_header_may_be_glued_to_the_client_hello(start, canary, pki):
    """One segment with both, as a balancer on the same host sends it."""
    vestibule = start(canary.port, test_arrival.BEHIND_A_PROXY)
    context = ssl.create_default_context(cafile=pki.authority.certificate)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname="mail.example.test")
    with socket.create_connection(("127.0.0.1", vestibule.implicit), timeout=10) as sock:
        first = test_arrival.v2()
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                sock.sendall(first + outgoing.read())
                first = b""
                incoming.write(sock.recv(65536))
        sock.sendall(outgoing.read())
        line = b""
        while b"\r\n" not in line:
            try:
                line += tls.read(100)
            except ssl.SSLWantReadError:
                incoming.write(sock.recv(65536))
        assert line.startswith(b"220 ")
        sock.sendall(outgoing.read())
