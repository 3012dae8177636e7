"""What is Dovecot's own: mechanisms that it speaks through us, what it is told, what its answers mean."""

import base64
import hashlib
import hmac
import os
import re

import pytest

import client
import proc
from cred.base import USERS
from cred.dovecot import Dovecot
from client import b64
from test_backends import opened, try_login


ALL = {"SCRAM-SHA-256", "CRAM-MD5", "PLAIN", "LOGIN"}


def offered(vestibule):
    with vestibule.connect() as session:
        lines = session.ehlo().text.split("\n")
    return set(next(line[8:] for line in lines if line[4:].startswith("AUTH ")).split())


def knows(vestibule, mechanisms):
    proc.wait_until(lambda: offered(vestibule) == mechanisms, 10, f"{mechanisms} are offered")


@pytest.fixture(scope="module")
def store(workshop):
    made = Dovecot(workshop / "dovecot")
    with (made.folder / "users").open("a") as users:
        users.write("frank:{PLAIN}franks::::::user=frank@any.example\n"
                    "greta:{PLAIN}gretas::::::nologin=y\n"
                    "heidi:{PLAIN}::::::nopassword=y proxy=y host=192.0.2.1\n"
                    "ivan:{PLAIN}ivans::::::allow_nets=192.0.2.0/24\n"
                    "judy:{PLAIN}judys::::::allow_nets=127.0.0.0/8\n")
    made.start()
    yield made
    made.remove()


@pytest.fixture(scope="module")
def door(store, workshop, pki):
    with opened(store, workshop / "dovecot-door", pki, 1) as vestibule:
        knows(vestibule, ALL)
        yield vestibule


@pytest.fixture
def session(door):
    with door.connect() as session:
        session.ehlo()
        yield session


def decoded(reply):
    assert reply.code == 334, reply
    return base64.b64decode(reply.text[4:])


def cram_md5(session, login, password):
    challenge = decoded(session.command("AUTH CRAM-MD5"))
    assert re.fullmatch(rb"<.*>", challenge)
    return session.command(b64(f"{login} {hmac.new(password.encode(), challenge, 'md5').hexdigest()}"))


class Scram:
    """The client's half of RFC 5802 with SHA-256, without channel binding."""

    def __init__(self, login, password):
        self.password = password.encode()
        self.bare = f"n={login.replace('=', '=3D').replace(',', '=2C')},r={base64.b64encode(os.urandom(18)).decode()}"

    def first(self):
        return "n,," + self.bare

    def final(self, challenge):
        fields = dict(part.split("=", 1) for part in challenge.decode().split(","))
        salted = hashlib.pbkdf2_hmac("sha256", self.password, base64.b64decode(fields["s"]), int(fields["i"]))
        key = hmac.digest(salted, b"Client Key", "sha256")
        without = f"c=biws,r={fields['r']}"
        said = f"{self.bare},{challenge.decode()},{without}".encode()
        proof = bytes(a ^ b for a, b in zip(key, hmac.digest(hashlib.sha256(key).digest(), said, "sha256")))
        self.expected = b"v=" + base64.b64encode(hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), said, "sha256"))
        return f"{without},p={base64.b64encode(proof).decode()}"


def scram(session, login, password, initial=True):
    exchange = Scram(login, password)
    if initial:
        reply = session.command("AUTH SCRAM-SHA-256 " + b64(exchange.first()))
    else:
        assert session.command("AUTH SCRAM-SHA-256").text == "334 "
        reply = session.command(b64(exchange.first()))
    reply = session.command(b64(exchange.final(decoded(reply))))
    if reply.code == 334:
        assert decoded(reply) == exchange.expected, "the server knows the password as well"
        reply = session.command("")
    return reply


def test_cram_md5_goes_through(door, session):
    assert cram_md5(session, "bob", USERS["bob"]) == "235 2.7.0"
    session.quit()
    door.wait_logged("login=bob mechanism=CRAM-MD5")


def test_cram_md5_with_a_wrong_password(session):
    assert cram_md5(session, "bob", "wrong") == "535 5.7.8"
    assert cram_md5(session, "nobody", "wrong") == "535 5.7.8"
    assert cram_md5(session, "bob", USERS["bob"]) == "235 2.7.0"


@pytest.mark.parametrize("initial", [True, False])
def test_scram_goes_through(door, session, initial):
    assert scram(session, "dora", USERS["dora"], initial) == "235 2.7.0"
    session.quit()
    door.wait_logged("login=dora mechanism=SCRAM-SHA-256")


def test_scram_with_a_wrong_password(session):
    assert scram(session, "dora", "wrong") == "535 5.7.8"
    assert scram(session, "dora", USERS["dora"]) == "235 2.7.0"


def test_an_exchange_that_is_given_up(session):
    for _ in range(2):
        assert session.command("AUTH CRAM-MD5").code == 334
        assert session.command("*") == "501 5.7.0"
    assert cram_md5(session, "bob", USERS["bob"]) == "235 2.7.0"


def test_exchanges_side_by_side(door):
    with door.connect() as one, door.connect() as other:
        one.ehlo(), other.ehlo()
        challenges = [decoded(session.command("AUTH CRAM-MD5")) for session in (one, other)]
        assert challenges[0] != challenges[1]
        for session, login, challenge in ((other, "bob", challenges[1]), (one, client.USER, challenges[0])):
            answer = hmac.new(USERS[login].encode(), challenge, "md5").hexdigest()
            assert session.command(b64(f"{login} {answer}")) == "235 2.7.0"


def test_dovecot_hears_who_the_client_is(store, door):
    with door.connect() as session:
        port = session.sock.getsockname()[1]
        session.login("bob", USERS["bob"])
    proc.wait_until(lambda: f"rport={port}" in store.log(), 5, f"Dovecot's log has the client's port {port}")
    line = next(line for line in store.log().splitlines() if f"rport={port}" in line)
    for word in ("service=smtp", "secured", "nologin", "rip=127.0.0.1", f"lport={door.implicit}", "lip=127.0.0.1",
                 "session="):
        assert word in line
    assert USERS["bob"] not in store.log()


def test_dovecots_own_rules_see_the_client(door):
    assert try_login(door, "judy", "judys") == "235 2.7.0"
    assert try_login(door, "ivan", "ivans") == "535 5.7.8"


def test_the_name_is_dovecots(door):
    assert try_login(door, "frank", "franks") == "235 2.7.0"
    door.wait_logged("login=frank@any.example")


def test_whom_dovecot_lets_not_log_in_may_not_send(door):
    assert try_login(door, "greta", "gretas") == "535 5.7.8"


def test_a_success_that_another_server_is_to_check_is_none(door):
    assert try_login(door, "heidi", "anything") == "535 5.7.8"


def test_its_own_failure_is_no_refusal(folder, pki):
    store = Dovecot(folder / "store")
    store.configure("away", "plain")
    try:
        store.start()
        with opened(store, folder / "v", pki, 1) as vestibule:
            assert try_login(vestibule, client.USER, client.PASSWORD) == "454 4.7.0"
            vestibule.wait_logged("event=backend_unavailable", "its log says more")
    finally:
        store.remove()


def test_a_restart_in_the_middle_and_another_list_after_it(folder, pki):
    store = Dovecot(folder / "store")
    try:
        store.start()
        with opened(store, folder / "v", pki, 1) as vestibule, vestibule.connect() as session:
            knows(vestibule, ALL)
            session.ehlo()
            assert session.command("AUTH CRAM-MD5").code == 334
            store.stop()
            assert session.command(b64("bob 0123")) == "454 4.7.0"
            assert offered(vestibule) == ALL, "the last list stands while it is away"
            store.configure(mechanisms="plain scram-sha-256")
            store.start()
            knows(vestibule, {"SCRAM-SHA-256", "PLAIN", "LOGIN"})
            assert scram(session, "bob", USERS["bob"]) == "235 2.7.0"
    finally:
        store.remove()
