"""Slow clients, crowds and leavers: whoever drips is sent away in time, whoever is honest is served meanwhile, and
nothing is left behind. Each test says how long it takes; the whole file takes more than a minute."""

import collections
import hashlib
import os
import random
import socket
import ssl
import statistics
import struct
import subprocess
import threading
import time

import pytest

import client
import proc
import vestibule as program

HEAD = b"From: <alice@client.test>\r\nTo: <r@any.example>\r\nSubject: t\r\n"
ROOM = {"upstream": {"max_connections": 200, "queue_timeout": "10s"}}  # no login may hold more than a third


def in_threads(work, arguments, timeout):
    """work(argument) for all at the same time; their results in order. What one raises is raised here."""
    results = [None] * len(arguments)

    def run(index, argument):
        try:
            results[index] = work(argument)
        except BaseException as error:  # told below
            results[index] = error

    threads = [threading.Thread(target=run, args=pair, daemon=True) for pair in enumerate(arguments)]
    until = time.monotonic() + timeout
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0, until - time.monotonic()))
        assert not thread.is_alive(), f"not done within {timeout} s"
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results


def cpu_seconds(pid):
    """Of all its threads."""
    fields = open(f"/proc/{pid}/stat", encoding="ascii").read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def client_hello(context):
    """The octets with which a handshake begins."""
    outgoing = ssl.MemoryBIO()
    try:
        context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="mail.example.test").do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


# Time runs out.


def drip(octets):
    """One octet each second."""

    def feed(session):
        for octet in octets:
            session.send(bytes([octet]))
            yield

    return feed


def silence(session):
    while True:
        yield


def noop_after_noop(session):
    while True:
        session.send(b"NOOP\r\n")
        yield


def log_in_halfway(session):
    session.ehlo()
    assert session.command("AUTH LOGIN").code == 334
    yield from silence(session)


def until_sent_away(session, feed):
    """Feeds once a second until the server ends it; gives back the seconds it took and the last word."""
    started = time.monotonic()
    steps = feed(session)
    octets = b""
    try:
        while time.monotonic() - started < 75:
            next(steps, None)
            session.sock.settimeout(1)
            until = time.monotonic() + 1
            try:
                while time.monotonic() < until:
                    octets += session.receive()
            except TimeoutError:
                pass
        raise AssertionError("never sent away")
    except (client.Closed, OSError):
        pass
    last = (session.buffer + octets).splitlines()[-1:] or [b""]
    return time.monotonic() - started, last[0][:3].decode("latin-1")


def test_whoever_drips_is_sent_away_in_time(start, canary):
    """SLOW, about a minute: a deadline counts from where its unit began, however many octets came since. Ten seconds
    for a handshake, sixty for a login and for a command; and where SMTP was spoken there is a last word."""
    vestibule = start(canary.port, {"tls": {"handshake_timeout": "10s"}})
    hello = client_hello(client.trusting(vestibule.ca))

    def bare():
        return vestibule.plaintext("implicit", greet=False)

    clients = {
        # who: (begins, says, seconds, last word)
        "silent behind the banner": (vestibule.plaintext, silence, 60, "421"),
        "EHLO in drips": (vestibule.plaintext, drip(b"EHLO " + b"x" * 100), 60, "421"),
        "NOOP, never a login": (vestibule.plaintext, noop_after_noop, 60, "421"),
        "silent behind TLS": (vestibule.connect, silence, 60, "421"),
        "silent in place of TLS": (bare, silence, 10, ""),
        "a ClientHello in drips": (bare, drip(hello), 10, ""),
        "AUTH without an end": (vestibule.connect, log_in_halfway, 60, "421"),
        "a command in drips, logged in": (lambda: vestibule.connect().login(), drip(b"MAIL FROM:<" + b"x" * 100), 60,
                                          "421"),
    }
    over = threading.Event()
    served = []

    def serve_the_honest():
        while not over.is_set():
            began = time.monotonic()
            with vestibule.connect("implicit" if len(served) % 2 else "starttls") as session:
                assert session.login().deliver("r@any.example", HEAD + b"\r\nx\r\n").code == 250
                session.quit()
            served.append(time.monotonic() - began)
            over.wait(0.5)

    def one(who):
        if who is None:
            return serve_the_honest()
        begin, feed, _, _ = clients[who]
        with begin() as session:
            try:
                return until_sent_away(session, feed)
            except AssertionError as error:
                raise AssertionError(f"{who}: {error}") from None

    def all_slow(_):
        try:
            return in_threads(one, list(clients), 80)
        finally:
            over.set()

    results = in_threads(lambda work: work(None), [all_slow, lambda _: serve_the_honest()], 90)[0]
    for who, (seconds, word) in zip(clients, results):
        _, _, due, last_word = clients[who]
        assert due - 2 < seconds < due + 5, f"{who}: sent away after {seconds:.1f} s, not after {due} s"
        assert word == last_word, f"{who}: the last word was {word!r}"
    assert len(served) > 50 and max(served) < 2 and statistics.median(served) < 0.5


def test_a_hundred_slow_clients_slow_nobody_down(start, canary):
    """SLOW, 4 s: they drip in handshakes, in commands and in messages; twenty honest sessions take less than a second
    each."""
    vestibule = start(canary.port, ROOM)
    hello = client_hello(client.trusting(vestibule.ca))
    slow = [(vestibule.plaintext("implicit", greet=False), hello) for _ in range(34)]
    slow += [(vestibule.plaintext(), b"EHLO " + b"x" * 100) for _ in range(33)]
    slow += [(vestibule.connect().login().begin_data("r@any.example"), HEAD) for _ in range(33)]
    over = threading.Event()
    dripped = [0]

    def drip_all(_):
        while not over.wait(1):
            for session, octets in slow:
                session.send(octets[dripped[0]:dripped[0] + 1])
            dripped[0] += 1

    def twenty_messages(_):
        took = []
        try:
            for number in range(20):
                began = time.monotonic()
                with vestibule.connect("implicit" if number % 2 else "starttls") as session:
                    session.login("bob", "bobs password")
                    assert session.deliver("r@any.example", HEAD + b"\r\nhonest\r\n").code == 250
                took.append(time.monotonic() - began)
                time.sleep(0.15)
        finally:
            over.set()
        return took

    took = in_threads(lambda work: work(None), [drip_all, twenty_messages], 40)[1]
    assert max(took) < 1
    assert dripped[0] >= 2 and len(canary.messages) == 20
    for session, _ in slow:
        session.close()
    canary.wait_until_left()
    assert len(canary.messages) == 20 and len(canary.cut_off) == 33


# Too many at once.


@pytest.fixture
def few_descriptors(folder, monkeypatch):
    """The program may hold 64."""
    wrapper = folder / "with-64-descriptors"
    wrapper.write_text(f'#!/bin/sh\nulimit -n 64\nexec {program.BINARY} "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setattr(program, "BINARY", wrapper)


def knock(port):
    sock = socket.socket()
    sock.setblocking(False)
    sock.connect_ex(("127.0.0.1", port))
    return sock


def test_without_descriptors_it_waits_instead_of_spinning(few_descriptors, start, canary):
    """SLOW, 4 s: 200 connections where 64 descriptors are all there are. Who is inside is served, the log stays
    short, and when the crowd leaves all is well again."""
    vestibule = start(canary.port)
    front = vestibule.front
    with vestibule.connect() as inside:
        inside.login()
        crowd = [knock(vestibule.port(("implicit", "starttls")[number % 2])) for number in range(200)]
        time.sleep(0.5)
        before = cpu_seconds(front) + cpu_seconds(vestibule.pid)
        slowest = 0
        for _ in range(20):
            began = time.monotonic()
            assert inside.command("NOOP").code == 250
            slowest = max(slowest, time.monotonic() - began)
            time.sleep(0.1)
        used = cpu_seconds(front) + cpu_seconds(vestibule.pid) - before
        lines = vestibule.log_lines("level=(error|warning)", "accept_failed|max_sessions")
        assert used < 0.6 and slowest < 0.5
        assert 0 < len(lines) <= 20, f"{len(lines)} lines"
        assert inside.deliver("r@any.example", HEAD + b"\r\nx\r\n").code == 250
        for sock in crowd:
            sock.close()
        time.sleep(0.3)
        for tls in ("implicit", "starttls"):
            with vestibule.connect(tls) as session:
                assert session.login().deliver("r@any.example", HEAD + b"\r\nx\r\n").code == 250
    assert vestibule.front == front


@pytest.fixture
def costly(pki, folder):
    """A users file of one whose password takes more than a tenth of a second to check, and one whose takes no time."""
    made = subprocess.run(["openssl", "passwd", "-6", "-salt", "rounds=300000$vestibule", "-stdin"], input="costly",
                          capture_output=True, text=True, check=True, timeout=20).stdout.strip()
    users = folder / "users"
    users.write_text(pki.users.read_text() + f"carol:{made}\n")
    users.chmod(0o644)
    return users


def test_the_line_before_the_password_check_has_an_end(start, canary, costly):
    """SLOW, 7 s: of 150 logins at the same time those that find the line full get a 454 at once, nobody waits for long,
    some leave while they wait, and other sessions notice nothing."""
    vestibule = start(canary.port, {"auth": {"cache": "0", "lockout": "off"}}, users=costly)
    sessions = [vestibule.connect(timeout=60) for _ in range(150)]
    for session in sessions:
        session.ehlo()
    waits = []
    over = threading.Event()

    def log_in(number):
        session = sessions[number]
        password = "costly" if number % 3 else "wrong"
        began = time.monotonic()
        session.send(f"AUTH PLAIN {client.plain('carol', password)}\r\n")
        if number % 5 == 4:
            time.sleep(0.3)
            session.reset()
            return None
        return session.reply().text[:9], password, time.monotonic() - began

    def others():
        with vestibule.connect() as session:
            session.login()
            while not over.wait(0.05) and len(waits) < 90:
                began = time.monotonic()
                assert session.command("NOOP").code == 250
                waits.append(time.monotonic() - began)

    watcher = threading.Thread(target=others, daemon=True)
    watcher.start()
    proc.wait_until(lambda: waits, 5, "another session is at work")
    results = [result for result in in_threads(log_in, range(150), 60) if result]
    over.set()
    watcher.join(10)
    counted = collections.Counter((reply, password) for reply, password, _ in results)
    right, refused = ("235 2.7.0", "costly"), ("535 5.7.8", "wrong")
    full = ("454 4.7.0", "costly")
    assert set(counted) <= {right, refused, full, ("454 4.7.0", "wrong")}
    assert counted[right] and counted[refused] and counted[full], counted
    assert max(seconds for _, _, seconds in results) < (60 if program.SANITIZED else 12)
    assert statistics.median(seconds for reply, _, seconds in results if reply == "454 4.7.0") < 2
    assert len(waits) > 20 and statistics.median(waits) < 0.2 and max(waits) < 2
    for session in sessions:
        session.close()
    with vestibule.connect() as session:
        assert session.login("carol", "costly").deliver("r@any.example", HEAD + b"\r\nx\r\n").code == 250
    assert vestibule.log_lines("event=logins_waiting")


# They leave.


class Gone(Exception):
    """The client has said as many octets as it was to say."""


class Leaver:
    """A whole session from the banner to QUIT that is broken off behind a given number of octets on the wire."""

    def __init__(self, vestibule, context, mark, last=None):
        self.sock = socket.create_connection(("127.0.0.1", vestibule.starttls), timeout=15)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.context = context
        self.mark = mark
        self.left = last
        self.said = 0
        self.ends_message = False  # what is said now
        self.finished = False  # the message's last octet is out
        self.incoming = ssl.MemoryBIO()
        self.outgoing = ssl.MemoryBIO()
        self.tls = None

    def put(self, octets):
        if self.left is not None and len(octets) >= self.left:
            self.sock.sendall(octets[:self.left])
            self.said += self.left
            self.finished |= self.ends_message and self.left == len(octets)
            raise Gone
        self.sock.sendall(octets)
        self.said += len(octets)
        self.finished |= self.ends_message
        if self.left is not None:
            self.left -= len(octets)

    def take(self):
        octets = self.sock.recv(65536)
        if not octets:
            raise AssertionError("the server left first")
        return octets

    def handshake(self):
        self.tls = self.context.wrap_bio(self.incoming, self.outgoing, server_hostname="mail.example.test")
        while True:
            try:
                self.tls.do_handshake()
                self.put(self.outgoing.read())
                return
            except ssl.SSLWantReadError:
                if octets := self.outgoing.read():
                    self.put(octets)
                self.incoming.write(self.take())

    def reply(self):
        heard = b""
        while not heard.endswith(b"\r\n") or heard.splitlines()[-1][3:4] != b" ":
            if self.tls is None:
                heard += self.take()
                continue
            try:
                heard += self.tls.read(65536)
            except ssl.SSLWantReadError:
                self.incoming.write(self.take())
        return int(heard.splitlines()[-1][:3])

    def say(self, octets, code, ends_message=False):
        self.ends_message = ends_message
        if self.tls is not None:
            self.tls.write(octets)
            octets = self.outgoing.read()
        self.put(octets)
        self.ends_message = False
        assert (heard := self.reply()) == code, f"{octets!r}: {heard}"

    def talk(self):
        assert self.reply() == 220
        self.say(b"EHLO client.test\r\n", 250)
        self.say(b"STARTTLS\r\n", 220)
        self.handshake()
        self.say(b"EHLO client.test\r\n", 250)
        self.say(f"AUTH PLAIN {client.plain()}\r\n".encode(), 235)
        self.say(b"MAIL FROM:<alice@client.test>\r\n", 250)
        self.say(b"RCPT TO:<r@any.example>\r\n", 250)
        self.say(b"DATA\r\n", 354)
        self.say(HEAD + f"X-Mark: {self.mark:08}\r\n\r\nhalf\r\n..\r\n.\r\n".encode(), 250, ends_message=True)
        self.say(b"QUIT\r\n", 221)

    def leave(self, reset):
        if reset:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


def held_at_rest(pid):
    """How many descriptors a process has when it does nothing; a probe of the mail server may come between."""
    counts = []
    for _ in range(5):
        counts.append(len(proc.descriptors(pid)))
        time.sleep(0.1)
    return min(counts)


def marks(messages):
    return [int(message.text.partition(b"X-Mark: ")[2][:8]) for message in messages]


def test_a_client_may_leave_at_any_octet(vestibule, canary):
    """SLOW, 5 s: behind each octet of a session, by FIN and by RST. The service lives, all descriptors are given back,
    and no message is there whose end was not said."""
    context = client.trusting(vestibule.ca)
    whole = Leaver(vestibule, context, 0)
    whole.talk()
    whole.leave(False)
    front = vestibule.front
    canary.wait_until_left()
    proc.wait_until(lambda: len(vestibule.log_lines("event=session")) >= 1, 5, "its session ends")
    held = {pid: held_at_rest(pid) for pid in (front, vestibule.pid)}
    points = range(1, whole.said + 1)
    finished, unfinished = {0}, set()

    def leave_at(way):
        for number, (last, reset) in enumerate(((last, reset) for last in points for reset in (False, True)), 1):
            if number % 8 != way:
                continue
            session = Leaver(vestibule, context, number, last)
            try:
                session.talk()
            except Gone:
                pass
            session.leave(reset)
            (finished if session.finished else unfinished).add(number)

    in_threads(leave_at, range(8), 60)
    assert len(unfinished) > 200 and len(finished) > 10
    canary.wait_until_left()
    for pid, before in held.items():
        proc.wait_until(lambda: len(proc.descriptors(pid)) <= before, 10, f"{pid} gives all descriptors back")
    arrived = marks(canary.messages)
    assert len(arrived) == len(set(arrived)) and set(arrived) <= finished
    assert canary.cut_off and not canary.violations
    assert vestibule.fronts == [front]
    with vestibule.connect() as session:
        assert session.login().deliver("r@any.example", HEAD + b"X-Mark: 99999999\r\n\r\nx\r\n").code == 250
    assert not vestibule.log_lines("level=error")


# All at once.


def marked(mark, size):
    """A message that shows whether it is whole."""
    body = hashlib.shake_256(str(mark).encode()).hexdigest(size // 2).encode()
    lines = b"".join(body[start:start + 72] + b"\r\n" for start in range(0, len(body), 72))
    return HEAD + f"X-Mark: {mark:08}\r\n\r\n".encode() + lines


def test_fifty_sessions_at_once_mix_up_nothing(start, canary):
    """SLOW, 6 s: what was answered 250 is there exactly once and whole; what was broken off is not."""
    vestibule = start(canary.port, ROOM)
    until = time.monotonic() + 5
    sent, broken_off = {}, set()

    def keep_sending(way):
        chance = random.Random(way)
        number = 0
        while time.monotonic() < until:
            with vestibule.connect(("implicit", "starttls")[way % 2], timeout=30) as session:
                session.login()
                for _ in range(5):
                    number += 1
                    mark = way * 100000 + number
                    message = marked(mark, chance.choice((100, 3000, 40000)))
                    if chance.random() < 0.1:
                        session.begin_data("r@any.example")
                        session.send(message[:chance.randrange(len(message))])
                        broken_off.add(mark)
                        session.reset()
                        break
                    assert session.deliver("r@any.example", message).code == 250
                    sent[mark] = message

    in_threads(keep_sending, range(50), 60)
    canary.wait_until_left()
    arrived = {}
    for message, mark in zip(canary.messages, marks(canary.messages)):
        assert mark not in arrived, f"{mark} is there twice"
        arrived[mark] = message.body
    assert arrived == sent and len(sent) > 200
    assert len(broken_off) > 10 and not canary.violations
