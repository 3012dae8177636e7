"""A password that was checked is nowhere any more: not in the front's memory, not in the vault's, not in the log."""

import base64
import secrets

import pytest

import client
import memory
import vestibule as program
from client import b64, plain

pytestmark = pytest.mark.skipif(program.SANITIZED, reason="a sanitizer keeps what was freed, and the memory is its own")


def traces(word):
    """A word as it is, and what of it can be read in base64 wherever it stands there."""
    found = [word.encode()]
    for before in range(3):
        text = base64.b64encode(b"\0" * before + word.encode())
        found.append(text[4 if before else 0:-4])
    return found


def assert_nowhere(vestibule, words):
    wanted = [trace for word in words for trace in traces(word)]
    assert min(map(len, wanted)) >= 8, "so short a word may stand there by chance"
    for name, pid in (("front", vestibule.front), ("vault", vestibule.pid)):
        assert not (found := memory.findings(pid, wanted)), f"in the {name}: {found}"
    log = vestibule.log()
    assert not [trace for trace in wanted if trace.decode() in log], log


def secret():
    """Never the same, so that no test finds what another left behind."""
    return "Zitrone-" + secrets.token_hex(8)


@pytest.fixture
def vestibule(start, canary):
    return start(canary.port, {"server": {"workers": 1}, "log": {"level": "debug"},
                               "auth": {"max_failures": 100, "lockout": "off"}})


@pytest.fixture
def session(vestibule, tls):
    with vestibule.connect(tls) as opened:
        opened.ehlo()
        yield opened


def test_memory_is_searched(vestibule, session):
    """What is there is found."""
    session.command("EHLO parsley.client.test")
    assert memory.findings(vestibule.front, [b"parsley.client.test"])
    assert memory.findings(vestibule.pid, [b"mail.example.test"])


@pytest.mark.smoke
def test_after_a_login(vestibule, session):
    assert session.command("AUTH PLAIN " + plain()) == "235 2.7.0"
    assert_nowhere(vestibule, [client.PASSWORD])


def test_after_login_step_by_step(vestibule, session):
    assert session.command("AUTH LOGIN").code == 334
    assert session.command(b64(client.USER)).code == 334
    assert session.command(b64(client.PASSWORD)) == "235 2.7.0"
    assert_nowhere(vestibule, [client.PASSWORD])


def test_after_wrong_passwords(vestibule, session):
    words = [secret() for _ in range(4)]
    assert session.command("AUTH PLAIN " + plain(password=words[0])) == "535 5.7.8"
    assert session.command("AUTH PLAIN").code == 334
    assert session.command(plain("nobody", words[1])) == "535 5.7.8"
    assert session.command("AUTH LOGIN " + b64(client.USER)).code == 334
    assert session.command(b64(words[2])) == "535 5.7.8"
    assert session.command("AUTH PLAIN " + plain(authzid=words[3])) == "535 5.7.8"
    assert_nowhere(vestibule, words)


def test_after_passwords_of_every_length(vestibule, session):
    """Long ones are in other blocks of memory than short ones."""
    words = []
    for repeated in (1, 4, 12, 40, 120, 300):  # from 24 octets to 7,200: more than a password may have
        words.append(secret())
        assert session.command("AUTH PLAIN " + plain(password=words[-1] * repeated)) == "535 5.7.8"
    assert_nowhere(vestibule, words)


def test_after_a_password_in_pieces(vestibule, session):
    """Octet by octet, and in one record with what stands before and behind it."""
    words = [secret() for _ in range(3)]
    session.send_slowly(f"AUTH PLAIN {plain(password=words[0])}\r\n".encode())
    assert session.reply() == "535 5.7.8"
    session.send(f"NOOP\r\nAUTH PLAIN {plain(password=words[1])}\r\n" + "NOOP\r\n" * 40)
    assert [session.reply().code for _ in range(42)] == [250, 535] + [250] * 40
    session.send(f"AUTH LOGIN\r\n{b64(client.USER)}\r\n{b64(words[2])}\r\nNOOP\r\n")
    assert [session.reply().code for _ in range(4)] == [334, 334, 535, 250]
    assert_nowhere(vestibule, words)


def test_after_what_came_at_the_wrong_time(vestibule, tls):
    """Behind a mechanism that is not there, as a command, without its beginning."""
    words = [secret() for _ in range(7)]
    lines = ["AUTH NONSENSE " + b64(words[0]), "AUTH OAUTHBEARER " + b64(f"n,,\x01auth=Bearer {words[1]}\x01\x01"),
             plain(password=words[2]), "PASS " + words[3], "AUTH PLAIN " + plain(password=words[4]) + "!",
             f"AUTH LOGIN\r\n{b64(client.USER)}{b64(words[5])}", "AUTH PLAIN " + b64(words[6] * 600)]
    for line in lines:
        with vestibule.connect(tls) as session:
            session.ehlo()
            session.send(line + "\r\nNOOP\r\n")
            while (code := session.reply().code) != 250:
                assert code in (334, 500, 501, 504, 535), code
    assert_nowhere(vestibule, words)


def test_after_clients_that_went_away(vestibule, tls):
    """In the middle of the line, and while the password was being checked."""
    words = [secret(), secret()]
    for word, end in zip(words, ("", "\r\n")):
        with vestibule.connect(tls) as session:
            session.ehlo()
            session.send("AUTH PLAIN " + plain(password=word) + end)
    vestibule.wait_logged("event=session", count=2)
    vestibule.wait_logged("event=login_(refused|abandoned)")
    assert_nowhere(vestibule, words)


def test_after_a_password_in_clear(vestibule):
    word = secret()
    with vestibule.plaintext() as session:
        session.ehlo()
        assert session.command("AUTH PLAIN " + plain(password=word)) == "530 5.7.0"
        assert_nowhere(vestibule, [word])
