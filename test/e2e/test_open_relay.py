"""All the ways to get mail relayed without a login, on either port: refused, and the mail server saw nobody.

Each row is a conversation that an impostor tries; what it tells is only how it goes about it. The judgement is always
the same: no 354, no 2yz to MAIL, RCPT or DATA, no 235, and not one connection to the mail server."""

import pytest

import canary as canary_module
import client
import vestibule as program

MAIL = b"MAIL FROM:<spam@client.test>\r\n"
RCPT = b"RCPT TO:<victim@any.example>\r\n"
BODY = b"Subject: spam\r\n\r\nspam\r\n.\r\n"
LETTER = MAIL + RCPT + b"DATA\r\n" + BODY
GOOD = client.plain().encode()


def auth_plain(text):
    return b"AUTH PLAIN " + client.b64(text).encode() + b"\r\n"


# Under TLS, without a login: parts of the row are sent one after the other, each when the server has answered or fallen
# silent.
UNDER_TLS = {
    "MAIL before EHLO": [LETTER],
    "MAIL after EHLO": [b"EHLO a\r\n", MAIL, RCPT, b"DATA\r\n", BODY],
    "MAIL after HELO": [b"HELO a\r\n", MAIL, RCPT, b"DATA\r\n", BODY],
    "RCPT first": [b"EHLO a\r\n", RCPT, b"DATA\r\n", BODY],
    "DATA first": [b"EHLO a\r\n", b"DATA\r\n", BODY],
    "lower case": [b"ehlo a\r\n", LETTER.lower()],
    "mixed case": [b"EhLo a\r\n", b"mAiL fRoM:<a@b.test>\r\n", b"rCpT tO:<c@d.test>\r\n", b"dAtA\r\n", BODY],
    "a leading blank": [b"EHLO a\r\n", b" " + MAIL, b" " + RCPT, b" DATA\r\n", BODY],
    "a leading tab": [b"EHLO a\r\n", b"\t" + MAIL, b"\t" + RCPT, b"\tDATA\r\n", BODY],
    "a tab for a blank": [b"EHLO a\r\n", b"MAIL\tFROM:<a@b.test>\r\n", b"RCPT\tTO:<c@d.test>\r\n", b"DATA\r\n", BODY],
    "a leading NUL": [b"EHLO a\r\n", b"\0" + MAIL, b"\0" + RCPT, b"\0DATA\r\n", BODY],
    "a NUL behind": [b"EHLO a\r\n", b"NOOP\0\r\n" + LETTER],
    "everything in one segment": [b"EHLO a\r\n" + LETTER + b"QUIT\r\n"],
    "pipelined behind a bad AUTH": [b"EHLO a\r\n", auth_plain("\0alice\0wrong") + LETTER],
    "behind an AUTH LOGIN that fails": [b"EHLO a\r\n", b"AUTH LOGIN\r\n", b"YWxpY2U=\r\n", b"d3Jvbmc=\r\n", LETTER],
    "pipelined behind an AUTH LOGIN that fails": [b"EHLO a\r\nAUTH LOGIN\r\nYWxpY2U=\r\nd3Jvbmc=\r\n" + LETTER],
    "two failures, then MAIL": [b"EHLO a\r\n", auth_plain("\0alice\0wrong"), auth_plain("\0alice\0"), LETTER],
    "AUTH cancelled": [b"EHLO a\r\n", b"AUTH LOGIN\r\n", b"*\r\n", LETTER],
    "AUTH cancelled halfway": [b"EHLO a\r\n", b"AUTH LOGIN\r\n", b"YWxpY2U=\r\n", b"*\r\n", LETTER],
    "MAIL in place of an AUTH response": [b"EHLO a\r\n", b"AUTH PLAIN\r\n", LETTER],
    "AUTH that is not base64": [b"EHLO a\r\n", b"AUTH PLAIN !!!!\r\n", LETTER],
    "AUTH with the right password and a character too many": [b"EHLO a\r\n", b"AUTH PLAIN " + GOOD + b"*\r\n", LETTER],
    "the right password in two halves of base64": [b"EHLO a\r\n", b"AUTH PLAIN " + GOOD[:8] + b" " + GOOD[8:] + b"\r\n", LETTER],
    "another's authzid with the right password": [b"EHLO a\r\n", auth_plain(f"boss\0alice\0{client.PASSWORD}"), LETTER],
    "the right password with a NUL behind": [b"EHLO a\r\n", auth_plain(f"\0alice\0{client.PASSWORD}\0"), LETTER],
    "the right password of another user": [b"EHLO a\r\n", auth_plain(f"\0bob\0{client.PASSWORD}"), LETTER],
    "the right login with a NUL inside": [b"EHLO a\r\n", b"AUTH LOGIN\r\n", client.b64(b"alice\0x").encode() + b"\r\n",
                                          client.b64(client.PASSWORD).encode() + b"\r\n", LETTER],
    "a line end in the login": [b"EHLO a\r\n", auth_plain(f"\0alice\n\0{client.PASSWORD}"), LETTER],
    "upper-case login": [b"EHLO a\r\n", auth_plain(f"\0ALICE\0{client.PASSWORD}"), LETTER],
    "an empty password": [b"EHLO a\r\n", auth_plain("\0alice\0"), LETTER],
    "an empty login": [b"EHLO a\r\n", auth_plain(f"\0\0{client.PASSWORD}"), LETTER],
    "an empty response": [b"EHLO a\r\n", b"AUTH PLAIN =\r\n", LETTER],
    "an unknown user": [b"EHLO a\r\n", auth_plain("\0mallory\0x"), LETTER],
    "an unknown user with a known password": [b"EHLO a\r\n", auth_plain(f"\0mallory\0{client.PASSWORD}"), LETTER],
    "a locked user with the password under the lock": [b"EHLO a\r\n", auth_plain("\0locked\0locked"), LETTER],
    "a locked user with the lock as password": [b"EHLO a\r\n", auth_plain("\0locked\0!"), LETTER],
    "a user whose hash is a star": [b"EHLO a\r\n", auth_plain("\0star\0*"), LETTER],
    "a user whose hash is empty": [b"EHLO a\r\n", auth_plain("\0empty\0x"), LETTER],
    "a user whose hash is empty, and no password": [b"EHLO a\r\n", auth_plain("\0empty\0"), LETTER],
    "AUTH CRAM-MD5": [b"EHLO a\r\n", b"AUTH CRAM-MD5\r\n", b"YWxpY2UgMDAwMA==\r\n", LETTER],
    "AUTH EXTERNAL": [b"EHLO a\r\n", b"AUTH EXTERNAL YWxpY2U=\r\n", LETTER],
    "AUTH ANONYMOUS": [b"EHLO a\r\n", b"AUTH ANONYMOUS YQ==\r\n", LETTER],
    "AUTH GSSAPI and NTLM": [b"EHLO a\r\n", b"AUTH GSSAPI\r\n", b"AUTH NTLM\r\n", LETTER],
    "AUTH without a mechanism": [b"EHLO a\r\n", b"AUTH\r\n", LETTER],
    "AUTH= on MAIL": [b"EHLO a\r\n", b"MAIL FROM:<a@b.test> AUTH=alice\r\n", RCPT, b"DATA\r\n", BODY],
    "RSET": [b"EHLO a\r\n", b"RSET\r\n", LETTER],
    "a second EHLO": [b"EHLO a\r\n", b"EHLO b\r\n", LETTER],
    "EHLO, HELO, RSET in turn": [b"EHLO a\r\nHELO b\r\nRSET\r\nEHLO c\r\n", LETTER],
    "a bare LF between commands": [b"EHLO a\r\n", b"NOOP x\n" + LETTER.replace(b"\r\n", b"\n")],
    "a bare LF within a command": [b"EHLO a\r\n", b"NOOP x\nMAIL FROM:<a@b.test>\nRCPT TO:<c@d.test>\nDATA\r\n", BODY],
    "a bare CR between commands": [b"EHLO a\r\n", b"NOOP x\r" + LETTER.replace(b"\r\n", b"\r") + b"\r\n"],
    "a command longer than 16 KiB": [b"EHLO a\r\n", b"NOOP " + b"x" * 16379 + MAIL, RCPT, b"DATA\r\n", BODY],
    "a command of 32 KiB with MAIL at the fold": [b"EHLO a\r\n", b"NOOP " + b"x" * 32763 + LETTER],
    "a name that holds a command": [b"EHLO a\nMAIL FROM:<a@b.test>\r\n", RCPT, b"DATA\r\n", BODY],
    "XCLIENT": [b"EHLO a\r\n", b"XCLIENT ADDR=127.0.0.1 LOGIN=alice\r\n", b"EHLO b\r\n", LETTER],
    "XFORWARD": [b"EHLO a\r\n", b"XFORWARD ADDR=127.0.0.1 SOURCE=LOCAL\r\n", LETTER],
    "a PROXY header": [b"PROXY TCP4 127.0.0.1 127.0.0.1 1 25\r\n", b"EHLO a\r\n", LETTER],
    "BDAT": [b"EHLO a\r\n", MAIL, RCPT, b"BDAT 23 LAST\r\n" + BODY],
    "MAIL in a BDAT chunk": [b"EHLO a\r\n", b"BDAT 10 LAST\r\n" + LETTER],
    "ETRN": [b"EHLO a\r\n", b"ETRN any.example\r\n", LETTER],
    "TURN and ATRN": [b"EHLO a\r\n", b"TURN\r\n", b"ATRN any.example\r\n", LETTER],
    "SEND, SOML, SAML": [b"EHLO a\r\n", b"SEND FROM:<a@b.test>\r\n", b"SOML FROM:<a@b.test>\r\n", b"SAML FROM:<a@b.test>\r\n", RCPT],
    "BURL": [b"EHLO a\r\n", b"BURL imap://mail/INBOX LAST\r\n", RCPT],
    "VRFY and EXPN": [b"EHLO a\r\n", b"VRFY root\r\n", b"EXPN all\r\n", LETTER],
    "a web browser": [b"POST / HTTP/1.1\r\nHost: mail.example.test\r\n\r\nEHLO a\r\n" + LETTER],
    "STARTTLS within TLS": [b"EHLO a\r\n", b"STARTTLS\r\n", LETTER],
    "MAIL of the null sender": [b"EHLO a\r\n", b"MAIL FROM:<>\r\n", b"RCPT TO:<postmaster>\r\n", b"DATA\r\n", BODY],
    "one octet at a time": [b"EHLO a\r\n", *(bytes([octet]) for octet in MAIL + RCPT)],
}

# On the STARTTLS port, before TLS.
IN_CLEAR = {
    "MAIL before TLS": [b"EHLO a\r\n", LETTER],
    "everything in one segment": [b"EHLO a\r\n" + LETTER],
    "before the banner": [LETTER],
    "AUTH in clear with the right password": [b"EHLO a\r\n", b"AUTH PLAIN " + GOOD + b"\r\n", LETTER],
    "AUTH LOGIN in clear with the right password": [b"EHLO a\r\n", b"AUTH LOGIN\r\n", client.b64("alice").encode() + b"\r\n",
                                                    client.b64(client.PASSWORD).encode() + b"\r\n", LETTER],
    "AUTH in clear and MAIL in one segment": [b"EHLO a\r\nAUTH PLAIN " + GOOD + b"\r\n" + LETTER],
    "STARTTLS, then no TLS but MAIL": [b"EHLO a\r\n", b"STARTTLS\r\n", LETTER],
    "STARTTLS and MAIL in one segment": [b"EHLO a\r\n", b"STARTTLS\r\n" + LETTER],
    "STARTTLS with an argument": [b"EHLO a\r\n", b"STARTTLS now\r\n", LETTER],
    "HELO": [b"HELO a\r\n", LETTER],
    "a leading blank": [b"EHLO a\r\n", b" " + LETTER],
    "a bare LF": [b"EHLO a\r\n", b"NOOP\n" + LETTER.replace(b"\r\n", b"\n")],
    "XCLIENT": [b"EHLO a\r\n", b"XCLIENT ADDR=127.0.0.1 LOGIN=alice PROTO=ESMTP\r\n", LETTER],
    "a PROXY header": [b"PROXY TCP4 127.0.0.1 127.0.0.1 1 25\r\nEHLO a\r\n" + LETTER],
    "a long command": [b"EHLO a\r\n", b"NOOP " + b"x" * 16379 + LETTER],
    "a web browser": [b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 999\r\n\r\n" + LETTER],
    "RSET": [b"RSET\r\n", LETTER],
}


@pytest.fixture(scope="module")
def door(workshop, pki):
    """One server for the whole table, so that what one row leaves behind would meet the next."""
    canary = canary_module.Canary().start()
    with program.running(workshop / "relay", pki, canary.port, {"auth": {"failure_delay": "0"}}) as vestibule:
        yield vestibule, canary
        canary.stop()


def listen(session, seconds):
    """All that the server says within that time, or until it closes."""
    heard = b""
    while session.quiet(seconds) is False:
        try:
            heard += session.buffer or session.receive()
        except (client.Closed, OSError):
            return heard + session.buffer, False
        session.buffer = b""
        seconds = 0.02
    return heard, True


def try_to_relay(session, parts):
    """Says the parts; gives all that the server said."""
    heard = b""
    for part in parts:
        try:
            session.send(part)
        except OSError:
            break  # it has hung up on us
        said, there = listen(session, 0.002 if len(part) == 1 else 0.15)
        heard += said
        if not there:
            break
    return heard


def judge(heard, canary, vestibule):
    for line in heard.split(b"\r\n"):
        assert not line.startswith((b"354", b"235")), f"let in: {heard!r}"
        assert not line.startswith((b"250 2.1.0", b"250 2.1.5", b"250 2.0.0 Ok: queued")), f"let in: {heard!r}"
    assert not canary.visitors, f"the mail server was asked {[one.octets for one in canary.visitors]}"
    assert client.PASSWORD not in vestibule.log() and GOOD.decode() not in vestibule.log()


@pytest.mark.parametrize("parts", UNDER_TLS.values(), ids=UNDER_TLS.keys())
def test_nobody_relays_under_tls(door, tls, parts):
    vestibule, canary = door
    with vestibule.connect(tls) as session:
        judge(try_to_relay(session, parts), canary, vestibule)


@pytest.mark.parametrize("parts", IN_CLEAR.values(), ids=IN_CLEAR.keys())
def test_nobody_relays_in_clear(door, parts):
    vestibule, canary = door
    with vestibule.plaintext(greet=parts[0] != LETTER) as session:
        judge(try_to_relay(session, parts), canary, vestibule)


@pytest.mark.parametrize("parts", IN_CLEAR.values(), ids=IN_CLEAR.keys())
def test_nobody_relays_in_clear_on_the_tls_port(door, parts):
    vestibule, canary = door
    with vestibule.plaintext("implicit", greet=False) as session:
        assert b"250" not in try_to_relay(session, parts)
    assert not canary.visitors


def test_what_was_said_before_tls_counts_for_nothing_under_it(door):
    """EHLO and HELO before STARTTLS open nothing: MAIL right after the handshake is refused."""
    vestibule, canary = door
    with vestibule.connect("starttls") as session:
        judge(try_to_relay(session, [LETTER]), canary, vestibule)


def test_a_command_begun_in_clear_does_not_end_under_tls(door):
    vestibule, canary = door
    with vestibule.plaintext() as session:
        session.ehlo()
        session.send(b"STARTTLS\r\nMAIL FROM:<a@")
        heard, there = listen(session, 0.5)
        assert not there, f"plaintext behind STARTTLS was borne: {heard!r}"
        assert b"220" not in heard
    assert not canary.visitors
    assert vestibule.wait_logged("injection")


@pytest.mark.smoke
def test_the_door_does_open_for_who_has_the_key(start, canary, tls):
    """The judgement above is worth something only if the same words pass after a login."""
    vestibule = start(canary.port)
    with vestibule.connect(tls) as session:
        session.login()
        heard = try_to_relay(session, [MAIL, RCPT, b"DATA\r\n", BODY])
    assert b"250 2.1.0" in heard and b"354" in heard
    assert len(canary.messages) == 1
