"""Who a client is before it has said a word: PROXY headers, limits for each address; and what the mail server is told of
it."""

import socket
import struct
import time

import pytest

import canary as canary_module
import client

V2 = b"\r\n\r\n\0\r\nQUIT\n"


def v1(source="192.0.2.7", port=4711):
    return f"PROXY TCP4 {source} 192.0.2.1 {port} 465\r\n".encode()


def v2(source="192.0.2.7", port=4711):
    return V2 + struct.pack("!BBH4s4sHH", 0x21, 0x11, 12, socket.inet_aton(source), socket.inet_aton("192.0.2.1"), port, 465)


def v2_six(source="2001:db8::7"):
    return V2 + struct.pack("!BBH16s16sHH", 0x21, 0x21, 36, socket.inet_pton(socket.AF_INET6, source),
                            socket.inet_pton(socket.AF_INET6, "2001:db8::1"), 4711, 465)


BEHIND_A_PROXY = {"listener submissions": {"proxy_protocol": "127.0.0.1"},
                  "listener submission": {"proxy_protocol": "127.0.0.1"}}


def introduced(vestibule, tls, *header):
    """A client whose connection begins with a PROXY header, in so many pieces."""
    return vestibule.connect(tls, first=header)


def send(session):
    session.login()
    assert session.deliver("b@any.example", b"Subject: x\r\n\r\nhello\r\n").code == 250
    session.command("QUIT")


@pytest.mark.parametrize("header,seen", [(v1(), "[192.0.2.7]"), (v2(), "[192.0.2.7]"), (v2_six(), "[IPv6:2001:db8::7]")],
                         ids=["v1", "v2", "v2 with IPv6"])
def test_the_header_says_who_the_client_is(start, canary, tls, header, seen):
    vestibule = start(canary.port, BEHIND_A_PROXY)
    send(introduced(vestibule, tls, header))
    message, = canary.messages
    assert seen in message.received.decode()
    assert vestibule.wait_logged("event=session", "client=(192.0.2.7|2001:db8::7)", "messages=1")


@pytest.mark.parametrize("header", [v1(), v2()], ids=["v1", "v2"])
def test_the_header_may_come_in_two_pieces(start, canary, tls, header):
    vestibule = start(canary.port, BEHIND_A_PROXY)
    for cut in range(1, len(header)):
        with introduced(vestibule, tls, header[:cut], header[cut:]) as session:
            assert session.command("NOOP").code in (250, 530)


@pytest.mark.parametrize("start_of_it", [b"EHLO client.test\r\n", b"PROXY TCP4 192.0.2.7\r\n", b"PROXY TCP4 1.2.3.4 1.2.3.4 0 1\r\n",
                                         b"PROXY TCP4 192.0.2.7 192.0.2.1 65536 1\r\n", V2 + b"\x21\x11\xff\xff",
                                         b"\x16\x03\x01\x02\x00", b"\r\n\r\n\0\r\nQUIX"])
def test_without_a_right_header_nothing_is_said(start, canary, start_of_it):
    vestibule = start(canary.port, BEHIND_A_PROXY)
    for port in (vestibule.implicit, vestibule.starttls):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
            sock.sendall(start_of_it)
            try:
                assert sock.recv(100) == b""
            except ConnectionResetError:
                pass
    assert len(vestibule.wait_logged("event=proxy_header", "did not begin with a PROXY header", count=2)) == 2


def test_from_elsewhere_a_header_is_not_even_read(start, canary, tls):
    vestibule = start(canary.port, {"listener submissions": {"proxy_protocol": "192.0.2.0/24"},
                                    "listener submission": {"proxy_protocol": "192.0.2.0/24"}})
    with socket.create_connection(("127.0.0.1", vestibule.port(tls)), timeout=10) as sock:
        try:
            sock.sendall(v1())
            assert sock.recv(100) == b""
        except (ConnectionResetError, BrokenPipeError):
            pass
    assert vestibule.wait_logged("event=proxy_header", "came from elsewhere")


def test_a_listener_without_proxies_takes_a_header_for_nonsense(vestibule, canary):
    with vestibule.plaintext() as session:
        session.send(v1())
        assert session.reply().code in (500, 530)
    assert not canary.connections or all(connection.is_probe for connection in canary.connections)


def test_one_address_has_so_many_sessions_and_no_more(start, canary, tls):
    vestibule = start(canary.port, {**BEHIND_A_PROXY, "policy": {"sessions_per_client": "2", "connects_per_client": "off"}})
    held = [introduced(vestibule, tls, v1()) for _ in range(2)]
    with pytest.raises((AssertionError, client.Closed, OSError)):
        introduced(vestibule, tls, v1())
    assert vestibule.wait_logged("event=client_limit", "client=192.0.2.7", "sessions_per_client")
    with introduced(vestibule, tls, v1("192.0.2.8")) as other:
        assert other.command("NOOP").code == 250
    held.pop().close()
    vestibule.wait_logged("event=session", "client=192.0.2.7", "end=client_gone")
    with introduced(vestibule, tls, v1()) as again:
        assert again.command("NOOP").code == 250
    held.pop().close()


def test_one_address_connects_so_often_and_no_more(start, canary, tls):
    vestibule = start(canary.port, {**BEHIND_A_PROXY, "policy": {"connects_per_client": "3/1m"}})
    for _ in range(3):
        introduced(vestibule, tls, v1()).close()
    with pytest.raises((AssertionError, client.Closed, OSError)):
        introduced(vestibule, tls, v1())
    assert vestibule.wait_logged("event=client_limit", "client=192.0.2.7", "connects_per_client")
    with introduced(vestibule, tls, v1("192.0.2.8")) as other:
        assert other.command("NOOP").code == 250


@pytest.mark.parametrize("identity,first", [("proxy-v1", b"PROXY TCP4 127.0.0.1 127.0.0.1 "), ("proxy-v2", V2 + b"\x21\x11\x00\x0c")])
def test_the_mail_server_is_introduced_to_the_client(start, canary, tls, identity, first):
    def read_header(connection, line):
        while len(connection.buffer) < 28 or (identity == "proxy-v1" and b"\r\n" not in connection.buffer):
            connection.fill()
        end = connection.buffer.index(b"\r\n") + 2 if identity == "proxy-v1" else 28
        headers.append(connection.buffer[:end])
        connection.buffer = connection.buffer[end:]
        connection.send(b"220 legacy.test\r\n")

    headers = []
    canary.on["banner"] = read_header
    vestibule = start(canary.port, {"upstream": {"identity": identity}})
    with vestibule.connect(tls) as session:
        send(session)
    assert headers[-1].startswith(first)
    assert len(canary.messages) == 1


@pytest.mark.parametrize("identity,port", [("xclient", "xclient_port"), ("proxy-v1", "proxy_port"), ("proxy-v2", "proxy_port")])
def test_postfix_sees_the_client(postfix, start, tls, identity, port, recipient):
    vestibule = start(getattr(postfix, port), {"upstream": {"identity": identity}, **BEHIND_A_PROXY})
    with introduced(vestibule, tls, v1()) as session:
        session.login()
        assert session.deliver(recipient, b"Subject: x\r\n\r\nhello\r\n").code == 250
    message, = postfix.arrived(recipient)
    theirs = message.split(b"Received: ")[1]
    assert b"[192.0.2.7]" in theirs and b"by legacy.test" in theirs


def test_a_mail_server_without_xclient_is_used_without_and_the_log_says_so(start, canary, tls):
    canary.on["EHLO"] = canary_module.reply("250-legacy.test\n250 SIZE 1000000")
    vestibule = start(canary.port, {"upstream": {"identity": "xclient"}})
    with vestibule.connect(tls) as session:
        send(session)
    assert len(canary.messages) == 1
    assert vestibule.wait_logged("XCLIENT")
