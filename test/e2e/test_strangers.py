"""Listeners that do not ask everybody for a password: port 25 with a gate, printers in a trusted network."""

import pytest

import client
import net
import test_arrival

HELLO = b"Subject: x\r\n\r\nhello\r\n"

# On its own port, beside the two of every test.
MX = {"tls": "starttls", "require_tls": "no", "auth": "none", "recipients": "lab.test, other.lab.test"}

# What looks like a recipient of lab.test and is sent elsewhere by some mail server when localhost asks, or is refused for
# being elsewhere.
RELAYING = ["user@remote.test", "user%remote.test@lab.test", '"user@remote.test"@lab.test', '"user%remote.test"@lab.test',
            "remote.test!user@lab.test", '"remote.test!user"@lab.test', "user@remote.test@lab.test", "user\\@remote.test@lab.test",
            '"user\\@remote.test"@lab.test', "user%remote.test@[127.0.0.1]", "user@[127.0.0.1]", "user@[IPv6:::1]",
            "user@remote.test(c)@lab.test", "user(@lab.test)@remote.test", "@lab.test:user@remote.test", "remote.test!user",
            "user%remote.test", '"user@remote.test"', "user@lab.test,user2@remote.test", "<user@remote.test>", "|cmd@lab.test",
            "a/b@lab.test", "a:b@lab.test", "-f@lab.test", "${run{id}}@lab.test", "user@lab.test.remote.test", "user@sub.lab.test",
            "user@lab", "user@localhost", "postmaster@remote.test", "caf\u00e9@lab.test", ""]


@pytest.fixture
def mx(start, canary):
    port = net.free_port()
    vestibule = start(canary.port, {"listener mx": {"address": f"127.0.0.1:{port}", **MX}})
    vestibule.mx = port
    return vestibule


@pytest.fixture(params=["plaintext", "tls"])
def stranger(request, mx):
    with client.Client(mx.mx, "starttls" if request.param == "tls" else None, context=client.trusting(mx.ca)) as session:
        session.ehlo()
        yield session


def test_mail_for_the_domains_of_the_house_is_taken(stranger, canary):
    assert stranger.deliver("user@lab.test", HELLO).code == 250
    assert stranger.deliver("user@OTHER.lab.test", HELLO).code == 250
    message, _ = canary.messages
    assert b"with ESMTP" in message.received and b"ESMTPA" not in message.received and b"ESMTPSA" not in message.received


@pytest.mark.parametrize("recipient", RELAYING)
def test_nothing_is_relayed(stranger, canary, recipient):
    assert stranger.command("MAIL FROM:<a@client.test>").code == 250
    assert stranger.command(f"RCPT TO:<{recipient}>").code in (500, 501, 550, 553)
    assert stranger.command("DATA").code in (503, 554)
    assert not [line for connection in canary.visitors for line in connection.commands if line.startswith(b"RCPT")]


def test_postmaster_is_reached(stranger, canary):
    assert stranger.deliver("Postmaster", HELLO).code == 250


def test_nobody_logs_in_there(stranger):
    assert b"AUTH" not in stranger.ehlo().text.encode()
    assert stranger.command("AUTH PLAIN " + client.plain()).code in (503, 530)


def test_a_gate_does_not_open_the_other_doors(mx, canary, tls):
    with mx.connect(tls) as session:
        session.ehlo()
        assert session.command("MAIL FROM:<a@client.test>").code == 530


def printers(**more):
    return {"listener submission": {"proxy_protocol": "127.0.0.1", "auth": "optional", "require_tls": "no", "trusted": "192.0.2.0/24",
                                    **more}}


@pytest.mark.parametrize("address,welcome", [("192.0.2.7", True), ("192.0.3.7", False)])
def test_a_printer_needs_no_password_in_its_own_network_only(start, canary, address, welcome):
    vestibule = start(canary.port, printers())
    with client.Client(vestibule.starttls, None, first=[test_arrival.v1(address)]) as session:
        session.ehlo()
        reply = session.command("MAIL FROM:<printer@client.test>")
        assert reply.code == (250 if welcome else 530)
        if welcome:
            session.command("RSET")
            assert session.deliver("anyone@remote.test", HELLO).code == 250


def test_who_is_not_trusted_may_still_log_in(start, canary):
    vestibule = start(canary.port, printers())
    with client.Client(vestibule.starttls, "starttls", context=client.trusting(vestibule.ca),
                       first=[test_arrival.v1("198.51.100.7")]) as session:
        session.login()
        assert session.deliver("anyone@remote.test", HELLO).code == 250
    message, = canary.messages
    assert b"with ESMTPSA" in message.received


def test_a_listener_without_tls_serves_trusted_networks_only(start, canary):
    vestibule = start(canary.port, {"listener submission": {"proxy_protocol": "127.0.0.1", "tls": "none", "auth": "none",
                                                            "trusted": "192.0.2.0/24"}})
    for address, code in (("192.0.2.7", 250), ("198.51.100.7", 530)):
        with client.Client(vestibule.starttls, None, first=[test_arrival.v1(address)]) as session:
            assert "STARTTLS" not in session.ehlo().text
            assert session.command("STARTTLS").code in (502, 503, 454, 500)
            assert session.command("MAIL FROM:<printer@client.test>").code == code
