"""One contract for every credential store, each with its real server: who is right gets in, who is wrong does not, and
when the store cannot say, nobody does but nobody is told that his password is wrong either."""

import concurrent.futures
import contextlib
import time

import pytest

import client
import cred
import proc
import vestibule as program
from client import b64, plain
from cred.base import USERS

REMOTE = [name for name, kind in cred.ALL.items() if kind.remote]
PATIENCE = 25  # seconds: BACKEND_REPLY_MS and some

# The store alone is asked: nothing is remembered, nobody is locked out or turned away for trying often.
OPEN = {
    "auth": {"cache": "0", "failure_delay": "0", "lockout": "off"},
    "policy": {"connects_per_client": "off", "sessions_per_client": "0"},
    "log": {"level": "debug"},
}

IMPOSTORS = [
    (client.USER, "wrong"),
    (client.USER, client.PASSWORD + " "),
    (client.USER, " " + client.PASSWORD),
    (client.USER, client.PASSWORD[:-1]),
    (client.USER, client.PASSWORD.upper()),
    (client.USER, ""),
    (client.USER, "*"),
    (client.USER, USERS["bob"]),
    ("bob", client.PASSWORD),
    ("", client.PASSWORD),
    ("nobody", client.PASSWORD),
    ("nosuchuser", client.PASSWORD),
    ("nosuchuser@any.example", "x"),
    ("b" * 255, client.PASSWORD),
    ("b" * 256, client.PASSWORD),
    (client.USER, "p" * 1024),
    (client.USER, "p" * 1025),
    ("jürgen", client.PASSWORD),
    ("алиса", client.PASSWORD),
    # What means something to somebody: a users file, LDAP, SQL, a path, a mail server's expansion, a line protocol, a URL.
    ("alice:x", client.PASSWORD),
    (":alice", client.PASSWORD),
    ("%u", client.PASSWORD),
    ("%{user}", client.PASSWORD),
    ("*", client.PASSWORD),
    ("a*", client.PASSWORD),
    ("*)(uid=*", client.PASSWORD),
    ("alice)(|(uid=*", client.PASSWORD),
    ("alice,ou=people", client.PASSWORD),
    ("alice\\2c", client.PASSWORD),
    ("' OR 1=1--", client.PASSWORD),
    ("alice'--", client.PASSWORD),
    ("../../x", client.PASSWORD),
    ("../alice", client.PASSWORD),
    ("/etc/passwd", client.PASSWORD),
    ("${run{id}}", client.PASSWORD),
    ("$(id)", client.PASSWORD),
    ("alice;id", client.PASSWORD),
    ("alice@other@any.example", client.PASSWORD),
    ("alice/bob", client.PASSWORD),
    ("alice?x=y#z", client.PASSWORD),
    ('"alice"', client.PASSWORD),
    ("alice ", client.PASSWORD),
    (" alice", client.PASSWORD),
    ("-alice", client.PASSWORD),
    ("alice {10}", client.PASSWORD),
    # Never let through to any of them.
    ("a\tfoo=1", client.PASSWORD),
    ("alice\tresp=x", client.PASSWORD),
    ("alice\r\nbob", client.PASSWORD),
    ("alice\n", client.PASSWORD),
    ("alice\x01", client.PASSWORD),
    ("alice\x7f", client.PASSWORD),
    ("alice\0", client.PASSWORD),
    (client.USER, client.PASSWORD + "\0"),
    (client.USER, client.PASSWORD + "\r\n"),
    (client.USER, client.PASSWORD + "\n"),
]


@contextlib.contextmanager
def opened(store, folder, pki, upstream):
    """Vestibule, told what the store's page says."""
    changes = program.merge(OPEN, store.changes())
    with program.running(folder, pki, upstream, changes, prefix=store.prefix) as vestibule:
        yield vestibule


def try_login(vestibule, login, password, mechanism="PLAIN", seconds=PATIENCE):
    with vestibule.connect(timeout=seconds) as session:
        session.ehlo()
        if mechanism == "PLAIN":
            return session.command("AUTH PLAIN " + plain(login, password))
        for said in ("AUTH LOGIN", b64(login)):
            reply = session.command(said)
            if reply.code != 334:
                return reply
        return session.command(b64(password))


def at_once(calls, most=16):
    """Their results, in order."""
    with concurrent.futures.ThreadPoolExecutor(most) as pool:
        return [future.result() for future in [pool.submit(*call) for call in calls]]


def gets_in(vestibule, login=client.USER):
    return try_login(vestibule, login, USERS[login]) == "235 2.7.0"


@pytest.fixture(scope="module", params=cred.ALL)
def store(request, workshop):
    """Started once, for all that does not disturb it."""
    made = cred.ALL[request.param](workshop / f"store-{request.param}")
    try:
        made.start()
        yield made
    finally:
        made.remove()


@pytest.fixture(scope="module")
def door(store, workshop, pki):
    """A Vestibule in front of it."""
    with opened(store, workshop / f"door-{store.name}", pki, 1) as vestibule:
        yield vestibule


@pytest.fixture(params=REMOTE)
def other(request, folder):
    """A store to be stopped and spoilt."""
    made = cred.ALL[request.param](folder / "store")
    yield made
    made.remove()


# Right and wrong.


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_who_is_right_gets_in(door, mechanism):
    replies = at_once([(try_login, door, login, password, mechanism) for login, password in USERS.items()])
    assert dict(zip(USERS, replies)) == dict.fromkeys(USERS, "235 2.7.0")


def test_who_is_wrong_does_not(door):
    """Logins and passwords that only look like ones, and those that mean something to a database or a protocol."""
    replies = at_once([(try_login, door, *impostor) for impostor in IMPOSTORS], most=len(IMPOSTORS))
    strange = [(impostor, reply) for impostor, reply in zip(IMPOSTORS, replies) if reply != "535 5.7.8"]
    assert not strange, f"{strange}\n{door.log()[-4000:]}"


def test_login_refuses_as_plain_does(door):
    wrong = [(client.USER, "wrong"), ("nosuchuser", "wrong"), ("*)(uid=*", "x"), ("alice\tresp=x", "x")]
    replies = at_once([(try_login, door, *impostor, "LOGIN") for impostor in wrong])
    assert replies == ["535 5.7.8"] * len(wrong)


def test_one_users_success_helps_nobody_else(door):
    """Connections to a store are kept and used again: for each login anew."""
    for _ in range(2):
        assert gets_in(door, "bob")
        assert try_login(door, client.USER, USERS["bob"]) == "535 5.7.8"
        assert gets_in(door)
        assert try_login(door, "bob", client.PASSWORD) == "535 5.7.8"


def test_in_a_crowd_each_hears_his_own_answer(door):
    logins = [*USERS, *USERS, *USERS, *USERS]
    asked = [(login, USERS[login], "235 2.7.0") for login in logins]
    asked += [(login, f"wrong {number}", "535 5.7.8") for number, login in enumerate([*USERS, *USERS])]
    asked = asked[::3] + asked[1::3] + asked[2::3]
    replies = at_once([(try_login, door, login, password) for login, password, _ in asked], most=len(asked))
    assert [(login, password, reply.text[:9]) for (login, password, _), reply in zip(asked, replies)] == asked


def test_clients_that_leave_while_they_are_checked_harm_nobody(door):
    sessions = [door.connect() for _ in range(10)]
    for number, session in enumerate(sessions):
        session.ehlo()
        session.send(f"AUTH PLAIN {plain(client.USER, f'wrong {number}')}\r\n")
        session.close()
    assert gets_in(door)


def test_no_password_is_in_the_log(door):
    """At debug level, after all of the above."""
    log = door.log()
    assert "login_refused" in log
    for password in [*USERS.values(), *(password for _, password in IMPOSTORS if len(password) > 8)]:
        assert password not in log
        assert b64(password).rstrip("=") not in log
    for login, password in USERS.items():
        assert plain(login, password).rstrip("=") not in log


# Stores that cannot say.


def recovers(vestibule, seconds=15):
    proc.wait_until(lambda: gets_in(vestibule), seconds, f"logins work again\n{vestibule.log()[-4000:]}")


def test_away_when_vestibule_starts(other, folder, pki):
    with opened(other, folder / "v", pki, 1) as vestibule:
        reply = try_login(vestibule, client.USER, client.PASSWORD)
        assert reply == "454 4.7.0", f"{reply}\n{vestibule.log()}"
        other.start()
        recovers(vestibule)


def test_stopped_and_started_again(other, folder, pki):
    other.start()
    with opened(other, folder / "v", pki, 1) as vestibule:
        recovers(vestibule, 5)
        other.stop()
        for _ in range(3):
            reply = try_login(vestibule, client.USER, client.PASSWORD)
            assert reply == "454 4.7.0", f"{reply}\n{vestibule.log()}"
        assert len(vestibule.wait_logged("event=backend_unavailable message=")) < 3, "once, not for each login"
        other.start()
        recovers(vestibule)
        assert try_login(vestibule, client.USER, "wrong") == "535 5.7.8"


def test_nonsense_for_an_answer(other, folder, pki):
    other.garbage()
    with opened(other, folder / "v", pki, 1) as vestibule:
        begun = time.monotonic()
        replies = at_once([(try_login, vestibule, login, password) for login, password in USERS.items()])
        assert replies == ["454 4.7.0"] * len(USERS), f"{replies}\n{vestibule.log()}"
        assert time.monotonic() - begun < 10, "what is no answer is seen to be none at once"
        other.stop()
        other.start()
        recovers(vestibule)


def test_no_answer_at_all(workshop, pki):
    """All in one test, because it lasts as long as a store's answer may. One who leaves meanwhile is forgotten."""

    def wait(vestibule):
        with vestibule.connect() as leaver:
            leaver.ehlo()
            leaver.send(f"AUTH PLAIN {plain('bob', USERS['bob'])}\r\n")
        begun = time.monotonic()
        reply = try_login(vestibule, client.USER, client.PASSWORD, seconds=PATIENCE + 5)
        return reply, time.monotonic() - begun

    with contextlib.ExitStack() as stack:
        doors = {}
        for name in REMOTE:
            made = cred.ALL[name](workshop / f"silent-{name}")
            stack.callback(made.remove)
            made.hang()
            doors[name] = stack.enter_context(opened(made, workshop / f"waiting-{name}", pki, 1))
        answers = dict(zip(doors, at_once([(wait, vestibule) for vestibule in doors.values()])))
    for name, (reply, seconds) in answers.items():
        assert reply == "454 4.7.0", f"{name} answers {reply}\n{doors[name].log()}"
        assert seconds < PATIENCE, f"{name} takes {seconds:.1f} s"
