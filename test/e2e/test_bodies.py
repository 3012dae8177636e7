"""Whatever the message, it arrives in an unmodified mail server as it was sent, byte for byte, over both ports."""

import random

import pytest

from mta import base

HEAD = (b"From: <alice@client.test>\r\nTo: <r@any.example>\r\nSubject: caf\xc3\xa9\r\nMessage-ID: <1@client.test>\r\n"
        b"Date: Tue, 24 Nov 2026 10:00:00 +0000\r\n\r\n")


def twenty_five_megabytes():
    """Lines of all lengths, dots at many starts, eight-bit octets, no CR, LF or NUL inside."""
    dice = random.Random(25)
    alphabet = bytes(octet for octet in range(1, 256) if octet not in b"\r\n")
    block = dice.choices(alphabet, k=1 << 20)
    text = bytearray()
    while len(text) < 1 << 20:
        text += dice.choice([b"", b"", b".", b".."]) + bytes(block[len(text):len(text) + dice.randrange(900)]) + b"\r\n"
    return HEAD + bytes(text) * (25 * (1 << 20) // len(text) + 1)


BODIES = {
    "one octet": HEAD + b"x\r\n",
    "lines of dots": HEAD + b".\r\n..\r\n...\r\n....\r\n.\r\n\r\n.\r\n" * 50,
    "leading dots": HEAD + b".leading\r\n..two\r\n.\tmore\r\nend\r\n",
    "a dot at the very start": b".: first\r\n" + HEAD + b"x\r\n",
    "eight bits": HEAD + bytes(octet for octet in range(1, 256) if octet not in b"\r\n") + b"\r\n",
    "998-character lines": HEAD + (b"0123456789" * 100)[:998] + b"\r\n" + (b"." * 998 + b"\r\n") * 20,
    "blank lines at the end": HEAD + b"text\r\n\r\n\r\n\r\n",
    "no line end but the dot's": HEAD + b"trailing space \r\n\t\r\n",
}


@pytest.mark.parametrize("message", BODIES.values(), ids=BODIES.keys())
def test_a_body_arrives_unchanged(start, mta, tls, recipient, message):
    vestibule = start(mta.port)
    with vestibule.connect(tls) as session:
        reply = session.login().deliver(recipient, message)
        assert reply.code == 250, reply
        session.quit()
    arrived, = mta.arrived(recipient)
    assert base.content(arrived, message) == message.replace(b"\r\n", b"\n")


@pytest.mark.parametrize("message", [b"", b"x\r\n"], ids=["nothing", "one octet"])
def test_a_message_without_headers_arrives(start, mta, tls, recipient, message):
    vestibule = start(mta.port)
    with vestibule.connect(tls) as session:
        reply = session.login().deliver(recipient, message)
        session.quit()
    if mta.name == "opensmtpd" and message:  # wants headers, and it is heard
        assert reply == "550 5.7.1" and not mta.arrived(recipient, count=0)
        return
    assert reply.code == 250, reply
    arrived, = mta.arrived(recipient)
    assert base.content(arrived, message) == message.replace(b"\r\n", b"\n")


def test_twenty_five_megabytes_arrive_unchanged(start, mta, tls, recipient):
    vestibule = start(mta.port)
    message = twenty_five_megabytes()
    with vestibule.connect(tls, timeout=60) as session:
        reply = session.login().deliver(recipient, message)
        assert reply.code == 250, reply
        session.quit()
    arrived, = mta.arrived(recipient)
    assert base.content(arrived, message) == message.replace(b"\r\n", b"\n")


@pytest.mark.smoke
def test_several_messages_go_through_one_session(start, mta, tls, recipient):
    vestibule = start(mta.port)
    messages = [HEAD + b"number %d\r\n" % number for number in range(5)]
    with vestibule.connect(tls) as session:
        session.login()
        for message in messages:
            assert session.deliver(recipient, message).code == 250
        session.quit()
    arrived = mta.arrived(recipient, count=5)
    assert sorted(base.content(one, HEAD + b"number 0\r\n")[-9:] for one in arrived) == [
        b"number %d\n" % number for number in range(5)]


@pytest.mark.parametrize("octets", [1, 3, 7, 4095])
def test_a_body_arrives_unchanged_in_whatever_pieces(vestibule, canary, tls, octets):
    """Pieces of this many octets, each a TLS record of its own: a dot may stand at any edge."""
    message = HEAD + b".\r\n..\r\n\r\n.x\r\n" * (40 if octets < 100 else 4000)
    wire = message.replace(b"\r\n.", b"\r\n..") + b".\r\n"
    with vestibule.connect(tls) as session:
        session.login().begin_data("r@any.example")
        for at in range(0, len(wire), octets):
            session.send(wire[at:at + octets])
        assert session.reply() == "250 2.0.0"
        session.quit()
    delivered, = canary.messages
    assert delivered.body == message
    assert not canary.violations


@pytest.mark.smoke
def test_the_trace_header_says_who_and_how(vestibule, canary, tls):
    with vestibule.connect(tls) as session:
        assert session.login().deliver("r@any.example", HEAD + b"x\r\n").code == 250
    delivered, = canary.messages
    header = delivered.received.decode().replace("\r\n", "").replace("\t", " ")
    assert header.startswith("Received: from client.test ([127.0.0.1])"), header
    assert " by mail.example.test with ESMTPSA (TLSv1.3 " in header, header
    assert vestibule.wait_logged("message", "outcome=delivered")


