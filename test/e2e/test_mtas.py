"""What each real mail server does with a client that is in a hurry: not a message is lost, none comes twice.

OpenSMTPD offers no PIPELINING and drops the message of whoever says more behind the final dot; what clients do to
Vestibule it never sees."""

import threading

import pytest

import client
from client import Closed, stuffed
from endings import HEAD

MESSAGE = HEAD + b"text\r\n.dot\r\n" + b"0123456789" * 50 + b"\r\n"
WIRE = stuffed(MESSAGE) + b".\r\n"


@pytest.mark.parametrize("leave", ["close", "reset", "quit in the same flight"])
def test_a_client_that_vanishes_behind_the_dot_has_sent_one_message(start, mta, tls, recipient, leave):
    vestibule = start(mta.port)
    with vestibule.connect(tls) as session:
        session.login().begin_data(recipient)
        if leave == "quit in the same flight":
            session.send(WIRE + b"QUIT\r\n")
            session.close()
        else:
            session.send(WIRE)
            getattr(session, leave)()
    arrived, = mta.arrived(recipient)
    assert MESSAGE.replace(b"\r\n", b"\n") in arrived
    vestibule.wait_logged("event=message", "outcome=delivered")


@pytest.mark.parametrize("octets", [1, 7, 600], ids="{} octets before the dot".format)
@pytest.mark.parametrize("leave", ["close", "reset"])
def test_a_client_that_vanishes_before_the_dot_has_sent_nothing(start, mta, recipient, octets, leave):
    """One octet short of the end, in the middle of it, and in the middle of the text."""
    vestibule = start(mta.port)
    with vestibule.connect("implicit") as session:
        session.login().begin_data(recipient)
        session.send(WIRE[:-octets])
        getattr(session, leave)()
    vestibule.wait_logged("event=session", "login=alice")
    assert not mta.arrived(recipient, count=0)


def test_a_client_that_pipelines_all_it_may_delivers_all(start, mta, tls, recipient):
    """Each flight is as long as RFC 2920 lets it be: behind a dot the whole next transaction up to its DATA."""
    count = 5
    vestibule = start(mta.port)
    transaction = f"MAIL FROM:<alice@client.test>\r\nRCPT TO:<{recipient}>\r\nRCPT TO:<other@any.example>\r\nDATA\r\n".encode()
    with vestibule.connect(tls) as session:
        session.login()
        session.send(b"RSET\r\n" + transaction)
        heard = []
        for number in range(count):
            while not heard or heard[-1].code != 354:
                heard.append(session.reply())
            session.send(WIRE + (transaction if number < count - 1 else b"QUIT\r\n"))
            heard.append(session.reply())
        heard.append(session.reply())
        assert session.closed() != "rst"
    assert [reply.code for reply in heard] == [250] + [250, 250, 250, 354, 250] * count + [221]
    assert all(MESSAGE.replace(b"\r\n", b"\n") in one for one in mta.arrived(recipient, count=count))


def test_twenty_clients_at_once_are_all_served(start, mta, recipient):
    """More than its share of connections for one login, so that some wait."""
    vestibule = start(mta.port, {"upstream": {"queue_timeout": "20s"}})
    codes = []

    def one():
        with vestibule.connect("implicit", timeout=30) as session:
            codes.append(session.login().deliver(recipient, MESSAGE).code)
            session.quit()

    clients = [threading.Thread(target=one) for _ in range(20)]
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join()
    assert codes == [250] * 20
    mta.arrived(recipient, count=20)


def test_more_behind_the_dot_makes_opensmtpd_lose_the_message(opensmtpd, recipient):
    """The control: what it does to a client of its own."""
    with client.Client(opensmtpd.port, tls=None) as session:
        session.ehlo()
        session.begin_data(recipient)
        session.send(WIRE + b"QUIT\r\n")
        try:
            session.reply()
        except Closed:
            pass
    assert not opensmtpd.arrived(recipient, count=0)
