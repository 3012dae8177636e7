"""Logins: every lawful way in, every refusal, what it costs, and that a password is never written down."""

import statistics
import threading
import time

import pytest

import client
import vestibule as program
from client import b64, plain

MESSAGE = b"Subject: t\r\n\r\nx\r\n"


def try_plain(session, user=client.USER, password="wrong"):
    return session.command("AUTH PLAIN " + plain(user, password))


@pytest.fixture
def session(vestibule, tls):
    with vestibule.connect(tls) as opened:
        opened.ehlo()
        yield opened


# Ways in.


@pytest.mark.smoke
def test_plain_with_an_initial_response(session):
    assert session.command("AUTH PLAIN " + plain()) == "235 2.7.0"


def test_plain_without(session):
    assert session.command("AUTH PLAIN").text == "334 "
    assert session.command(plain()) == "235 2.7.0"


def test_login_step_by_step(session):
    assert session.command("AUTH LOGIN").text == "334 VXNlcm5hbWU6"
    assert session.command(b64(client.USER)).text == "334 UGFzc3dvcmQ6"
    assert session.command(b64(client.PASSWORD)) == "235 2.7.0"


def test_login_with_the_name_in_the_first_line(session):
    assert session.command("AUTH LOGIN " + b64(client.USER)).text == "334 UGFzc3dvcmQ6"
    assert session.command(b64(client.PASSWORD)) == "235 2.7.0"


def test_mechanisms_in_any_case(session):
    assert session.command("auth plain " + plain()) == "235 2.7.0"


def test_ones_own_name_as_authzid(session):
    assert session.command("AUTH PLAIN " + plain(authzid=client.USER)) == "235 2.7.0"


def test_login_pipelined_whole(session):
    """RFC 4954 does not ask for it, clients do it: each line is answered in its turn."""
    session.send(f"AUTH LOGIN\r\n{b64(client.USER)}\r\n{b64(client.PASSWORD)}\r\nNOOP\r\n")
    assert [session.reply().code for _ in range(4)] == [334, 334, 235, 250]


def test_a_transaction_pipelined_behind_a_good_login_happens_once(vestibule, canary, tls):
    with vestibule.connect(tls) as session:
        session.ehlo()
        session.send(f"AUTH PLAIN {plain()}\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\n")
        assert [session.reply().code for _ in range(4)] == [235, 250, 250, 354]
        session.send(MESSAGE + b".\r\n")
        assert session.reply().code == 250
    assert len(canary.messages) == 1


def test_all_in_single_octets(vestibule, canary, tls):
    with vestibule.connect(tls) as session:
        session.send_slowly(b"EHLO client.test\r\n")
        assert session.reply().code == 250
        session.send_slowly(f"AUTH PLAIN {plain()}\r\n".encode())
        assert session.reply() == "235 2.7.0"
        session.send_slowly(b"MAIL FROM:<a@b.test>\r\n")
        assert session.reply().code == 250


def test_a_user_who_is_added_can_log_in_without_a_restart(start, canary, folder, pki):
    users = folder / "users"
    users.write_text(pki.users.read_text())
    vestibule = start(canary.port, users=users)
    with vestibule.connect() as session:
        session.ehlo()
        assert try_plain(session, "dave", "bobs password").code == 535
        text = users.read_text()
        users.write_text(text + text.split("\n")[1].replace("bob:", "dave:") + "\n")
        time.sleep(0.05)
        assert try_plain(session, "dave", "bobs password").code == 235


# Refusals.


@pytest.mark.parametrize("lines, replies", [
    (["AUTH CRAM-MD5"], ["504 5.5.4"]),
    (["AUTH SCRAM-SHA-256"], ["504 5.5.4"]),
    (["AUTH EXTERNAL ="], ["504 5.5.4"]),
    (["AUTH"], ["501 5.5.4"]),
    (["AUTH PLAIN " + plain() + " more"], ["501 5.5.4"]),
    (["AUTH PLAIN", "*"], ["334", "501 5.7.0"]),
    (["AUTH LOGIN", "*"], ["334 VXNlcm5hbWU6", "501 5.7.0"]),
    (["AUTH LOGIN", b64("alice"), "*"], ["334 VXNlcm5hbWU6", "334 UGFzc3dvcmQ6", "501 5.7.0"]),
    (["AUTH PLAIN !"], ["501 5.5.2"]),
    (["AUTH PLAIN AAA"], ["501 5.5.2"]),
    (["AUTH PLAIN =AAA"], ["501 5.5.2"]),
    (["AUTH PLAIN A==="], ["501 5.5.2"]),
    (["AUTH PLAIN AA-_"], ["501 5.5.2"]),
    (["AUTH PLAIN", "AAAA BBBB"], ["334", "501 5.5.2"]),
    (["AUTH PLAIN ="], ["535 5.7.8"]),
    (["AUTH PLAIN " + b64("alice")], ["535 5.7.8"]),
    (["AUTH PLAIN " + b64("\0alice")], ["535 5.7.8"]),
    (["AUTH PLAIN " + b64("\0alice\0a\0b")], ["535 5.7.8"]),
    (["AUTH PLAIN " + b64("\0alice\0" + "x" * 2000)], ["535 5.7.8"]),
    (["AUTH PLAIN " + b64("\0" + "x" * 300 + "\0x")], ["535 5.7.8"]),
    (["AUTH PLAIN " + b64(b"\0alice\0\xff\xfe")], ["535 5.7.8"]),
    (["AUTH PLAIN " + plain(authzid="boss")], ["535 5.7.8"]),
    (["AUTH PLAIN", "A" * 12290], ["334", "500 5.5.6"]),
    (["AUTH PLAIN " + "A" * 12290], ["500 5.5.6"]),
], ids=lambda value: value[0][:24] if isinstance(value, list) and value[0][0] == "A" else "")
def test_a_login_is_refused_and_the_right_one_still_works(session, lines, replies):
    heard = [session.command(line) for line in lines]
    assert all(one.text.startswith(expected) for one, expected in zip(heard, replies)), heard
    assert session.command("NOOP").code == 250
    assert session.command("AUTH PLAIN " + plain()) == "235 2.7.0"


def test_no_second_login_and_none_within_a_transaction(session):
    assert session.command("AUTH PLAIN " + plain()) == "235 2.7.0"
    assert session.command("AUTH PLAIN " + plain("bob", "bobs password")) == "503 5.5.1"
    assert session.command("MAIL FROM:<a@b.test>").code == 250
    assert session.command("AUTH PLAIN " + plain()) == "503 5.5.1"


def test_login_is_demanded(session):
    for line in ("MAIL FROM:<a@b.test>", "RCPT TO:<a@b.test>", "DATA"):
        assert session.command(line).text == "530 5.7.0 Authentication required"


def test_three_failures_and_out(vestibule, canary, tls):
    with vestibule.connect(tls) as session:
        session.ehlo()
        assert try_plain(session) == "535 5.7.8"
        assert try_plain(session, "mallory") == "535 5.7.8"
        last = try_plain(session)
        assert last == "421 4.7.0" or (last == "535 5.7.8" and session.reply() == "421 4.7.0"), last
        assert session.closed() == "close_notify"
    assert len(vestibule.wait_logged("login_refused", count=3)) == 3
    assert not canary.visitors


def test_refusals_do_not_tell_who_exists(session, vestibule, tls):
    known = try_plain(session).text
    assert try_plain(session, "mallory").text == known
    with vestibule.connect(tls) as another:
        another.ehlo()
        assert try_plain(another, "locked").text == try_plain(another, "empty").text == known


# Time.


def test_a_failure_waits_and_others_do_not(start, canary, tls):
    """The delay is a timer: while it runs, other sessions log in and send."""
    vestibule = start(canary.port, {"auth": {"failure_delay": "1s"}})
    with vestibule.connect(tls) as slow, vestibule.connect(tls) as quick:
        slow.ehlo()
        begun = time.monotonic()
        slow.send(f"AUTH PLAIN {plain(password='wrong')}\r\n")
        assert quick.login().deliver("r@any.example", MESSAGE).code == 250
        assert time.monotonic() - begun < (0.9 if not program.SANITIZED else 5)
        assert slow.reply() == "535 5.7.8"
        assert 0.9 < time.monotonic() - begun < 3


def test_the_delay_grows_with_failures_and_a_success_forgets(start, canary):
    vestibule = start(canary.port, {"auth": {"failure_delay": "200ms", "max_failures": 10}})
    with vestibule.connect() as session:
        session.ehlo()
        took = []
        for _ in range(3):
            begun = time.monotonic()
            assert try_plain(session).code == 535
            took.append(time.monotonic() - begun)
        assert 0.18 < took[0] < 0.4 < took[1] + 0.02 and took[1] * 1.5 < took[2]
    with vestibule.connect() as session:
        session.login()
    with vestibule.connect() as session:
        session.ehlo()
        begun = time.monotonic()
        assert try_plain(session).code == 535
        assert time.monotonic() - begun < 0.4


def test_a_client_that_does_not_wait_for_its_refusal_harms_nobody(start, canary):
    vestibule = start(canary.port, {"auth": {"failure_delay": "300ms"}, "server": {"drain_timeout": "500ms"}})
    for leave in ("close", "reset") * 5:
        session = vestibule.connect()
        session.ehlo()
        session.send(f"AUTH PLAIN {plain(password='wrong')}\r\n")
        getattr(session, leave)()
    with vestibule.connect() as session:
        session.login().quit()


def test_guessing_and_running_leaves_a_trace(start, canary):
    vestibule = start(canary.port, {"auth": {"failure_delay": "300ms"}})
    for leave in ("close", "reset"):
        session = vestibule.connect()
        session.ehlo()
        session.send(f"AUTH PLAIN {plain(password='wrong')}\r\n")
        time.sleep(0.1)
        getattr(session, leave)()
    assert vestibule.wait_logged("event=login_(refused|abandoned)", "login=alice", "client=127.0.0.1", count=2)


def test_a_refusal_that_still_waits_does_not_hold_up_the_end(start, canary):
    """Neither for a client that is gone nor for one that is there: it hears its refusal or a 421."""
    vestibule = start(canary.port, {"auth": {"failure_delay": "16s"}, "server": {"drain_timeout": "500ms"}})
    gone = vestibule.connect()
    gone.ehlo()
    gone.send(f"AUTH PLAIN {plain(password='wrong')}\r\n")
    gone.close()
    with vestibule.connect() as session:
        session.ehlo()
        session.send(f"AUTH PLAIN {plain(password='wrong')}\r\n")
        time.sleep(0.2)
        begun = time.monotonic()
        vestibule.stop()
        assert time.monotonic() - begun < 4


@pytest.mark.skipif(program.SANITIZED, reason="sanitizers blur the time that a hash takes")
def test_an_unknown_login_costs_as_much_time_as_a_known_one(start, canary, folder):
    """The hash in the file takes some 20 ms; without a decoy an unknown login would answer in less than one."""
    users = folder / "users"
    vestibule = program.Vestibule(folder / "t", [], users, 1)
    vestibule.configure()
    users.write_text("")
    assert program.run("passwd", "-c", vestibule.path, "alice", stdin=client.PASSWORD).returncode == 0
    users.write_text(users.read_text() + "locked:!x\n")
    vestibule = start(canary.port, {"auth": {"max_failures": 100}}, users=users)
    took = {"alice": [], "mallory": [], "locked": []}
    with vestibule.connect() as session:
        session.ehlo()
        for _ in range(15):
            for user, times in took.items():
                begun = time.monotonic()
                assert try_plain(session, user).code == 535
                times.append(time.monotonic() - begun)
    medians = {user: statistics.median(times) for user, times in took.items()}
    assert medians["alice"] > 0.003, medians
    assert all(0.7 < medians[user] / medians["alice"] < 1.4 for user in took), medians


def test_many_logins_at_once_do_not_hold_up_other_sessions(start, canary, folder):
    """Hashing is done beside the loops: NOOP is answered meanwhile, and every login gets its answer."""
    users = folder / "users"
    users.write_text("")
    vestibule = start(canary.port, users=users)
    assert program.run("passwd", "-c", vestibule.path, "alice", stdin=client.PASSWORD).returncode == 0
    verdicts = []

    def log_in():
        with vestibule.connect(timeout=40) as session:
            session.ehlo()
            verdicts.append(session.command("AUTH PLAIN " + plain()).code)

    with vestibule.connect() as bystander:
        bystander.ehlo()
        threads = [threading.Thread(target=log_in) for _ in range(40)]
        for thread in threads:
            thread.start()
        slowest = 0
        while any(thread.is_alive() for thread in threads):
            begun = time.monotonic()
            assert bystander.command("EHLO client.test").code == 250
            slowest = max(slowest, time.monotonic() - begun)
            time.sleep(0.02)
    assert len(verdicts) == 40 and set(verdicts) <= {235, 454} and verdicts.count(235) > 10, verdicts
    assert slowest < (1 if not program.SANITIZED else 5)


# What is written down.


@pytest.mark.parametrize("format", ["logfmt", "json"])
def test_no_password_is_ever_logged(start, canary, tls, format):
    """At the loudest level, whatever goes wrong with it."""
    vestibule = start(canary.port, {"log": {"level": "debug", "format": format}, "auth": {"max_failures": 20}})
    wrong = "Tr0ub4dor&3"
    with vestibule.connect(tls) as session:
        session.ehlo()
        for line in ("AUTH PLAIN " + plain(password=wrong), "AUTH PLAIN " + plain(password=wrong) + "!",
                     "AUTH PLAIN " + b64(wrong), "AUTH FOO " + b64(wrong), "AUTH" + plain(password=wrong), b64(wrong),
                     "AUTH PLAIN " + plain("mallory", wrong), "AUTH PLAIN " + plain(authzid=wrong, password=wrong)):
            session.command(line)
    with vestibule.connect(tls) as session:
        session.login()
        assert session.deliver("r@any.example", b"Subject: t\r\n\r\nprivate words\r\n").code == 250
        session.quit()
    with vestibule.plaintext() as session:
        session.ehlo()
        session.command("AUTH PLAIN " + plain(password=wrong))
    vestibule.stop()
    log = vestibule.log()
    assert "alice" in log and log.count("login_refused") >= 2
    for secret in (wrong, client.PASSWORD, plain(), plain(password=wrong), b64(wrong), b64(client.PASSWORD), "private words"):
        assert secret not in log
        assert secret.rstrip("=") not in log


def test_what_a_client_says_cannot_break_a_log_line(start, canary, tls):
    vestibule = start(canary.port, {"log": {"format": "logfmt"}})
    with vestibule.connect(tls) as session:
        session.ehlo()
        try_plain(session, 'al"ice level=error \x1b[31m', "x")
        try_plain(session, "caf\u00e9", "x")
    vestibule.stop()
    for line in vestibule.log().splitlines():
        assert line.isascii() and line.isprintable(), line
        assert "event=" in line
    assert not vestibule.log_lines("^.*level=error")
