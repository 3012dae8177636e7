"""TLS as DESIGN demands it, seen by OpenSSL's own client and by Python's."""

import pathlib
import re
import socket
import ssl
import subprocess
import tempfile
import time

import pytest

import client
import proc


def s_client(vestibule, tls, *options, said="QUIT\r\n", after="", seconds=20):
    """openssl s_client: its exit status and all that it printed. It is told nothing before it has printed `after`."""
    starttls = ["-starttls", "smtp"] if tls == "starttls" else []
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{vestibule.port(tls)}", *starttls, "-CAfile", str(vestibule.ca)]
    with tempfile.NamedTemporaryFile() as output:
        def printed():
            return pathlib.Path(output.name).read_text(errors="replace")

        with subprocess.Popen([*command, *options], stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT,
                              text=True) as done:
            try:
                proc.wait_until(lambda: after in printed(), seconds, f"s_client prints {after}")
                done.communicate(said, timeout=seconds)
            finally:
                done.kill()
        return done.returncode, printed()


def negotiated(printed):
    return re.search(r"(?:New|Reused), (TLSv[\d.]+), Cipher is (\S+)", printed).groups()


@pytest.mark.parametrize("option, version", [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")])
def test_versions_that_are_spoken(vestibule, tls, option, version):
    status, printed = s_client(vestibule, tls, option, "-verify_return_error")
    assert status == 0 and f"Protocol  : {version}" in printed or f"New, {version}" in printed, printed
    assert "Verify return code: 0 (ok)" in printed or "Verification: OK" in printed


@pytest.mark.parametrize("option", ["-tls1", "-tls1_1"])
def test_versions_that_are_not(vestibule, tls, option):
    status, printed = s_client(vestibule, tls, option, "-cipher", "DEFAULT@SECLEVEL=0")
    assert status != 0 and re.search(r"alert protocol version|alert number 70", printed), printed
    line = vestibule.wait_logged("tls_failed")[0]
    assert "version" in line or "protocol" in line


@pytest.mark.parametrize("cipher", ["AES128-SHA", "AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA", "ECDHE-RSA-AES128-SHA"])
def test_weak_suites_are_not_spoken(vestibule, tls, cipher):
    status, printed = s_client(vestibule, tls, "-tls1_2", "-cipher", f"{cipher}@SECLEVEL=0")
    assert status != 0 and "Cipher is (NONE)" in printed, printed


@pytest.mark.parametrize("offer, chosen", [("smtp", "smtp"), ("esmtp", "esmtp"), ("submission", "submission"),
                                           ("h2,smtp", "smtp"), (None, None)])
def test_application_protocols_that_are_ours(vestibule, tls, offer, chosen):
    status, printed = s_client(vestibule, tls, *(["-alpn", offer] if offer else []))
    assert status == 0
    assert (f"ALPN protocol: {chosen}" if chosen else "No ALPN negotiated") in printed, printed


@pytest.mark.parametrize("offer", ["http/1.1", "h2", "imap", "ftp,h2"])
def test_any_other_application_protocol_is_alert_120(vestibule, tls, offer):
    status, printed = s_client(vestibule, tls, "-alpn", offer)
    assert status != 0 and "alert number 120" in printed, printed
    assert vestibule.wait_logged("tls_failed", "application protocol")


@pytest.mark.parametrize("name, subject", [("mail.example.test", "ecdsa"), ("smtp.other.test", "other"),
                                           ("a.wild.test", "other"), ("SMTP.OTHER.TEST", "other"),
                                           ("nobody.knows.test", "ecdsa"), ("a.b.wild.test", "ecdsa")])
def test_the_name_asked_for_chooses_the_certificate(vestibule, tls, name, subject):
    _, printed = s_client(vestibule, tls, "-servername", name)
    assert re.search(rf"subject=CN ?= ?{subject}\b", printed), printed


def test_without_a_name_it_is_the_first(vestibule, tls):
    _, printed = s_client(vestibule, tls, "-noservername")
    assert re.search(r"subject=CN ?= ?ecdsa\b", printed), printed


@pytest.mark.parametrize("options, subject", [
    ([], "ecdsa"), (["-sigalgs", "RSA-PSS+SHA256"], "rsa"), (["-tls1_2", "-sigalgs", "RSA-PSS+SHA256"], "rsa"),
    (["-tls1_2", "-sigalgs", "RSA+SHA256"], "rsa"), (["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"], "rsa"),
    (["-tls1_2", "-sigalgs", "ECDSA+SHA256"], "ecdsa")], ids=lambda value: "-".join(value) if isinstance(value, list) else value)
def test_ecdsa_for_who_can_and_rsa_for_the_others(vestibule, tls, options, subject):
    status, printed = s_client(vestibule, tls, "-servername", "mail.example.test", *options)
    assert status == 0 and re.search(rf"subject=CN ?= ?{subject}\b", printed), printed


def test_no_renegotiation(vestibule, tls):
    """s_client renegotiates when a line begins with R; a banner that comes then would be an error of its own."""
    status, printed = s_client(vestibule, tls, "-tls1_2", said="R\n", after="220 " if tls == "implicit" else "")
    assert re.search(r"no renegotiation|no_renegotiation|alert|errno|unexpected message", printed), printed


def resume(vestibule, tls, session, context):
    with vestibule.connect(tls, context=context, session=session) as again:
        again.login()
        return again.sock.session_reused


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def test_a_ticket_is_good_on_its_own_listener_only(vestibule, canary, version):
    context = client.trusting(vestibule.ca, minimum_version=version, maximum_version=version)
    with vestibule.connect("implicit", context=context) as first:
        first.login()
        ticket = first.sock.session
        first.quit()
    assert ticket.has_ticket
    assert resume(vestibule, "implicit", ticket, context)
    assert not resume(vestibule, "starttls", ticket, context)
    assert vestibule.wait_logged("event=session", "resumed=yes")


def test_a_ticket_carries_no_login(vestibule, canary):
    context = client.trusting(vestibule.ca)
    with vestibule.connect(context=context) as first:
        first.login()
        ticket = first.sock.session
        first.quit()
    with vestibule.connect(context=context, session=ticket) as again:
        assert again.sock.session_reused
        again.ehlo()
        assert again.command("MAIL FROM:<a@b.test>") == "530 5.7.0"
    assert not canary.visitors


def test_tickets_outlive_a_reload(vestibule):
    context = client.trusting(vestibule.ca)
    with vestibule.connect(context=context) as first:
        first.login()
        ticket = first.sock.session
        first.quit()
    vestibule.reload()
    assert resume(vestibule, "implicit", ticket, context)


def test_a_handshake_that_does_not_end_is_closed(start, canary):
    vestibule = start(canary.port, {"tls": {"handshake_timeout": "500ms"}})
    begun = time.monotonic()
    silent = vestibule.plaintext("implicit", greet=False)
    slow = vestibule.plaintext("implicit", greet=False)
    halfway = vestibule.plaintext()
    halfway.ehlo()
    assert halfway.command("STARTTLS").code == 220
    for octet in b"\x16\x03\x01\x02\x00\x01":
        slow.send(bytes([octet]))
        time.sleep(0.05)
    for session in (silent, slow, halfway):
        session.closed()
    assert 0.4 < time.monotonic() - begun < 3
    assert vestibule.wait_logged("handshake_timeout", count=3)


def test_plaintext_on_the_tls_port_is_closed_at_once_with_one_sentence(vestibule):
    for octets in (b"EHLO client.test\r\n", b"GET / HTTP/1.1\r\n\r\n"):
        session = vestibule.plaintext("implicit", greet=False)
        session.send(octets)
        begun = time.monotonic()
        try:
            while session.receive():
                pass
        except client.Closed:
            pass
        assert time.monotonic() - begun < 1
    lines = vestibule.wait_logged("level=(info|warning)", "plaintext|STARTTLS|HTTP", count=2)
    assert len(lines) >= 2


def test_tls_on_the_plaintext_port_is_closed_at_once_with_one_sentence(vestibule):
    begun = time.monotonic()
    with pytest.raises((ssl.SSLError, ConnectionError)):
        client.Client(vestibule.starttls, "implicit", vestibule.ca)
    assert time.monotonic() - begun < 1
    assert len(vestibule.wait_logged("tls_on_plaintext_port", "STARTTLS")) == 1


def test_http_under_tls_is_closed_without_an_echo(vestibule, canary, tls):
    with vestibule.connect(tls) as session:
        session.send(b"POST /EvilEcho HTTP/1.1\r\nHost: evil.test\r\n\r\nMAIL FROM:<a@b.test>\r\n")
        replies, _ = session.replies()
    assert not any("Evil" in reply.text or "evil" in reply.text or reply.code < 400 for reply in replies), replies
    assert not canary.visitors


def test_the_server_says_goodbye_in_tls(vestibule, tls):
    with vestibule.connect(tls) as session:
        session.ehlo()
        assert session.command("QUIT").code == 221
        assert session.closed() == "close_notify"


def test_starttls_forgets_what_was_said_before(vestibule, tls):
    with vestibule.connect("starttls") as session:
        assert session.command("MAIL FROM:<a@b.test>").code in (503, 530)
        shown = session.ehlo().text
        assert "STARTTLS" not in shown and "AUTH PLAIN LOGIN" in shown
        assert session.command("STARTTLS") == "503 5.5.1"


def test_before_tls_nothing_but_the_way_to_it_is_offered(vestibule):
    with vestibule.plaintext() as session:
        shown = session.ehlo().text
        assert "STARTTLS" in shown and "AUTH" not in shown
        for line in ("MAIL FROM:<a@b.test>", "AUTH PLAIN " + client.plain(), "RSET", "VRFY a"):
            assert session.command(line).text == "530 5.7.0 Must issue a STARTTLS command first", line
        assert session.command("NOOP").code == 250
        assert session.command("STARTTLS now") == "501 5.5.4"
    assert vestibule.wait_logged("clear_auth")


def test_the_server_stays_silent_after_starttls_until_it_is_asked(vestibule):
    with vestibule.connect("starttls") as session:
        assert session.quiet(1)
        assert session.ehlo().code == 250


def test_no_early_data_is_offered(vestibule, tls, folder):
    ticket = folder / "ticket"
    status, printed = s_client(vestibule, tls, "-tls1_3", "-sess_out", str(ticket), "-ign_eof", said="EHLO a\r\nQUIT\r\n")
    assert status == 0 and ticket.exists(), printed
    shown = subprocess.run(["openssl", "sess_id", "-in", ticket, "-noout", "-text"], capture_output=True, text=True,
                           timeout=10).stdout
    assert "Max Early Data: 0" in shown, shown


@pytest.mark.parametrize("pieces", [1, 5, 100])
def test_records_in_pieces_make_the_same_conversation(vestibule, canary, tls, pieces):
    """The cipher text arrives a few octets a segment: handshake, commands and message alike."""
    inner = vestibule.plaintext(tls, greet=False)
    if tls == "starttls":
        inner.reply()
        inner.ehlo()
        assert inner.command("STARTTLS").code == 220
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    secure = client.trusting(vestibule.ca).wrap_bio(incoming, outgoing, server_hostname="mail.example.test")

    def move(act):
        while True:
            try:
                result = act()
            except ssl.SSLWantReadError:
                result = None
            wire = outgoing.read()
            for at in range(0, len(wire), pieces):
                inner.sock.sendall(wire[at:at + pieces])
            if result is not None:
                return result
            incoming.write(inner.sock.recv(65536))

    def hear(code):
        text = b""
        while not re.search(rb"(?m)^\d\d\d [^\n]*\r\n\Z", text):
            text += move(lambda: secure.read(4096))
        assert re.search(rb"(?m)^%d " % code, text), text

    def say(words, code):
        move(lambda: secure.write(words))
        hear(code)

    move(lambda: secure.do_handshake() or True)
    if tls == "implicit":
        hear(220)
    say(b"EHLO client.test\r\n", 250)
    say(b"AUTH PLAIN " + client.plain().encode() + b"\r\n", 235)
    say(b"MAIL FROM:<a@b.test>\r\n", 250)
    say(b"RCPT TO:<c@d.test>\r\n", 250)
    say(b"DATA\r\n", 354)
    say(b"Subject: t\r\n\r\n..\r\n.\r\n", 250)
    inner.close()
    assert canary.messages[0].body == b"Subject: t\r\n\r\n.\r\n"


def test_garbage_in_a_record_ends_the_session_with_an_alert_and_no_message(vestibule, canary, tls):
    with vestibule.connect(tls) as session:
        session.login().begin_data("r@any.example")
        session.send(b"Subject: t\r\n\r\nhalf\r\n")
        raw = socket.socket(fileno=session.sock.detach())
        raw.sendall(b"\x17\x03\x03\x00\x20" + b"\0" * 32)
        raw.settimeout(5)
        raw.recv(4096)
        raw.close()
    canary.wait_until_left()
    assert not canary.messages


def test_a_stream_cut_in_mid_message_never_ends_it(start, mta, tls, recipient):
    """TCP ends without close_notify right behind what would be the last line."""
    vestibule = start(mta.port)
    with vestibule.connect(tls) as session:
        session.login().begin_data(recipient)
        session.send(b"Subject: t\r\n\r\nall of it\r\n.\r")
        session.sock.shutdown(socket.SHUT_WR)
        time.sleep(0.2)
    vestibule.wait_logged("event=session")
    assert mta.arrived(recipient, count=0, seconds=0) == []
