"""A slow side stops the other one, and what waits in between has its bounds."""

import threading
import time

import pytest

import canary as canary_module
import client
import proc
import vestibule as program

MEGABYTE = 1 << 20
plain_build = pytest.mark.skipif(program.SANITIZED, reason="a sanitizer's own memory hides the program's")


def push(session, octets, total, done):
    """Sends in a thread until told to end, the connection breaks or it is all gone; counts."""
    counted = [0]

    def run():
        try:
            while counted[0] < total and not done.is_set():
                session.send(octets)
                counted[0] += len(octets)
        except OSError:
            pass

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, counted


def wait_until_stuck(counted):
    """Until nothing more is taken for a while."""
    before = -1
    while before != counted[0]:
        before = counted[0]
        time.sleep(0.7)


@plain_build
def test_a_mail_server_that_stops_reading_stops_the_client(vestibule, canary, tls):
    """100 MB are offered; next to nothing of it is stored, and it goes on when the server does."""
    go_on = threading.Event()
    canary.on["data"] = canary_module.when(go_on, lambda connection, line: None)
    with vestibule.connect(tls, timeout=60) as session:
        session.login().begin_data("r@any.example")
        before = proc.resident(vestibule.front)
        session.send(b"Subject: t\r\n\r\n")
        total = 100 * MEGABYTE
        line = b"x" * 76 + b"\r\n"
        thread, counted = push(session, line * 1000, total, threading.Event())
        wait_until_stuck(counted)
        assert 0 < counted[0] < 30 * MEGABYTE, "the client was not stopped"
        assert proc.resident(vestibule.front) - before < 20 * MEGABYTE
        assert session.quiet(0.1)
        go_on.set()
        thread.join(60)
        assert counted[0] >= total
        assert proc.resident(vestibule.front) - before < 20 * MEGABYTE
        session.send(b".\r\n")
        assert session.reply().code in (250, 552)


@plain_build
def test_a_client_that_reads_no_replies_is_read_no_more(vestibule, canary, tls):
    with vestibule.connect(tls, timeout=60) as session:
        session.login()
        before = proc.resident(vestibule.front)
        done = threading.Event()
        thread, counted = push(session, b"NOOP\r\n" * 5000, 200 * MEGABYTE, done)
        time.sleep(2)
        done.set()
        assert proc.resident(vestibule.front) - before < 20 * MEGABYTE
        session.sock.close()
        thread.join(10)
    with vestibule.connect(tls) as session:
        session.login().quit()


@plain_build
def test_a_line_without_an_end_takes_no_memory(start, canary, tls):
    vestibule = start(canary.port, {"message": {"max_size": "200M"}})
    with vestibule.connect(tls, timeout=60) as session:
        session.login().begin_data("r@any.example")
        before = proc.resident(vestibule.front)
        for _ in range(60):
            session.send(b"x" * MEGABYTE)
        assert proc.resident(vestibule.front) - before < 20 * MEGABYTE
        session.send(b"\r\n.\r\n")
        assert session.reply().code in (250, 552)


@plain_build
def test_idle_sessions_cost_little(vestibule, canary):
    """After a login and a message: no buffer is kept for a session that says nothing."""
    sessions = [vestibule.connect().login() for _ in range(20)]
    before = proc.resident(vestibule.front)
    sessions += [vestibule.connect().login() for _ in range(200)]
    for session in sessions:
        assert session.command("NOOP").code == 250
    assert proc.resident(vestibule.front) - before < 200 * 48 * 1024
    for session in sessions:
        session.close()


@pytest.mark.smoke
def test_pipelined_commands_are_answered_in_order_however_many(vestibule, canary, tls):
    with vestibule.connect(tls) as session:
        session.login()
        session.send(b"MAIL FROM:<a@b.test>\r\n" + b"".join(b"RCPT TO:<r%d@any.example>\r\n" % n for n in range(300)) +
                     b"DATA\r\n")
        assert [session.reply().code for _ in range(302)] == [250] * 301 + [354]
        session.send(b"Subject: t\r\n\r\nx\r\n.\r\n")
        assert session.reply().code == 250
    assert len(canary.messages[0].rcpt) == 300
    assert not canary.violations


def test_too_many_recipients_are_a_452_and_the_others_get_the_mail(vestibule, canary):
    with vestibule.connect(timeout=60) as session:
        session.login()
        session.send(b"MAIL FROM:<a@b.test>\r\n")
        session.send(b"".join(b"RCPT TO:<r%d@any.example>\r\n" % n for n in range(1002)))
        codes = [session.reply().code for _ in range(1003)]
        assert codes == [250] * 1001 + [452, 452]
        assert session.command("DATA").code == 354
        session.send(b"Subject: t\r\n\r\nx\r\n.\r\n")
        assert session.reply().code == 250
    assert len(canary.messages[0].rcpt) == 1000


@pytest.mark.parametrize("excess, code", [(0, 250), (1, 552)])
def test_the_size_limit_is_exact(start, canary, tls, excess, code):
    vestibule = start(canary.port, {"message": {"max_size": "10k"}})
    message = b"Subject: t\r\n\r\n" + b".\r\n" * 100
    message += b"x" * (10240 + excess - len(message) - 2) + b"\r\n"
    assert len(message) == 10240 + excess
    with vestibule.connect(tls) as session:
        assert "SIZE 10240" in session.ehlo().text
        session.login()
        assert session.command("MAIL FROM:<a@b.test> SIZE=10241") == "552 5.3.4"
        assert session.deliver("r@any.example", message).code == code
        assert session.deliver("r@any.example", b"Subject: t\r\n\r\nsmall\r\n").code == 250
    assert len(canary.messages) == (2 if code == 250 else 1)


def test_more_sessions_than_allowed_are_told_so(start, canary):
    vestibule = start(canary.port, {"server": {"max_sessions": 3}})
    sessions = [vestibule.connect() for _ in range(3)]
    refused = vestibule.plaintext()
    assert refused.greeting == "421 4.3.2" and refused.closed() != "rst"
    assert vestibule.wait_logged("max_sessions")
    sessions.pop().close()

    def free_again():
        return vestibule.plaintext().greeting.code == 220

    proc.wait_until(free_again, 3, "a place is free again")
    for session in sessions:
        session.close()


def test_junk_and_errors_have_an_end(vestibule, canary, tls):
    """Nobody may keep a session busy with commands that move no mail."""
    with vestibule.connect(tls) as session:
        session.ehlo()
        replies = []
        try:
            for _ in range(50):
                replies.append(session.command("FOO").code)
        except (client.Closed, OSError):
            pass
        assert replies[-1] == 421 and set(replies[:-1]) == {500} and len(replies) <= 10
    with vestibule.connect(tls) as session:
        session.login()
        replies = []
        try:
            for _ in range(500):
                replies.append(session.command("NOOP").code)
        except (client.Closed, OSError):
            pass
        assert replies[-1] == 421 and 50 < len(replies) <= 150


def test_a_thousand_connections_come_and_go(vestibule, canary):
    """None is refused, none is left behind."""
    for _ in range(20):
        opened = [vestibule.plaintext() for _ in range(50)]
        for session in opened:
            session.close()
    front = vestibule.front
    proc.wait_until(lambda: len(proc.descriptors(front)) < 60, 5, "the descriptors are given back")
