"""Mechanisms as clients see them: what is offered where, and whole conversations between a client and whoever keeps the
verifier. A scripted store stands in for that; the real ones are in test_backends.py."""

import base64
import contextlib
import hashlib
import hmac

import pytest

import canary as canary_module
import client
import cred
import proc
import vestibule as program
from client import b64, plain
from cred import base

OPEN = {"auth": {"cache": "0", "failure_delay": "0", "lockout": "off", "max_failures": 20}}
ALL = ["SCRAM-SHA-256", "SCRAM-SHA-1", "GSSAPI", "GSS-SPNEGO", "OAUTHBEARER", "XOAUTH2", "OTP", "DIGEST-MD5", "CRAM-MD5",
       "NTLM", "PLAIN", "LOGIN"]  # strongest first, without those that need a certificate or a bound channel

BOTH = pytest.mark.parametrize("tls", ["implicit", "starttls"])


@pytest.fixture
def tls():
    """Where TLS begins makes no difference to most of these."""
    return "implicit"


def refuse(mechanism, messages):
    return "FAIL"


class Oracle(base.Fake):
    """Dovecot's auth-client protocol, and answers from a script: script(mechanism, messages so far) gives "OK login",
    "FAIL", or the octets of a challenge; None is silence. All that it was told is in `heard`."""

    def __init__(self, path, mechanisms, script=refuse):
        self.mechanisms = mechanisms
        self.begin(script)
        super().__init__(path, self.talk)

    def begin(self, script):
        self.script, self.heard = script, []

    def talk(self, connection):
        greeting = ["VERSION\t1\t2", *(f"MECH\t{name}" for name in self.mechanisms), "SPID\t1", "CUID\t1",
                    "COOKIE\t" + "0" * 32, "DONE"]
        connection.sendall("".join(line + "\n" for line in greeting).encode())
        exchanges = {}
        with connection.makefile("rb") as lines:
            for line in lines:
                self.hear(connection, exchanges, line.decode().rstrip("\n").split("\t"))

    def hear(self, connection, exchanges, words):
        self.heard.append(words)
        if words[0] == "AUTH":
            response = [word[5:] for word in words if word.startswith("resp=")]
            exchanges[words[1]] = (words[2], [base64.b64decode(response[0])] if response else [])
        elif words[0] == "CONT":
            exchanges[words[1]][1].append(base64.b64decode(words[2]))
        else:
            return
        answer = self.script(*exchanges[words[1]])
        if isinstance(answer, bytes):
            connection.sendall(f"CONT\t{words[1]}\t{base64.b64encode(answer).decode()}\n".encode())
        elif answer == "FAIL":
            connection.sendall(f"FAIL\t{words[1]}\n".encode())
        elif answer is not None:
            connection.sendall(f"OK\t{words[1]}\tuser={answer[3:]}\n".encode())

    def told(self, verb):
        return [words for words in self.heard if words[0] == verb]


@contextlib.contextmanager
def stopping(oracle):
    yield oracle
    oracle.stop()


def settings(path, **auth):
    return {"auth": {**OPEN["auth"], "backend": f"dovecot:{path}", **auth}}


@pytest.fixture(scope="module")
def shared(workshop, pki):
    """For most tests one Vestibule will do, and one store that can do everything."""
    folder = workshop / "mechanisms"
    folder.mkdir()
    mta = canary_module.Canary().start()
    oracle = Oracle(folder / "oracle", ALL)
    with program.running(folder / "v", pki, mta.port, settings(oracle.address)) as vestibule:
        wait_offered(vestibule, ALL)
        yield vestibule, oracle
    oracle.stop()
    mta.stop()


@pytest.fixture
def vestibule(shared):
    return shared[0]


@pytest.fixture
def store(shared):
    shared[1].begin(refuse)
    return shared[1]


def mechanisms(session):
    """What EHLO lists."""
    lines = [line[4:] for line in session.ehlo().lines if line[4:].startswith("AUTH")]
    assert len(lines) <= 1
    return lines[0].split()[1:] if lines else []


def wait_offered(vestibule, offered):
    def is_offered():
        with vestibule.connect() as session:
            return set(mechanisms(session)) == set(offered)
    proc.wait_until(is_offered, 10, f"{offered} are offered")


def scram(mechanism, messages):
    """A server that takes anything for a proof, if it is the second message."""
    return (b"r=xy,s=c2FsdA==,i=4096", b"v=c2ln", "OK alice")[len(messages) - 1]


def talk(session, mechanism, *messages, initial=True):
    """The whole conversation; the last reply and the challenges."""
    challenges = []
    first = " " + (b64(messages[0]) or "=") if initial else ""
    reply = session.command(f"AUTH {mechanism}{first}")
    for message in messages[1 if initial else 0:]:
        if reply.code != 334:
            break
        challenges.append(base64.b64decode(reply.text[4:]))
        reply = session.command(b64(message))
    return reply, challenges


# What is offered.


@BOTH
def test_the_store_decides_what_is_offered(vestibule, tls):
    with vestibule.connect(tls) as session:
        assert mechanisms(session) == ALL
        assert session.command("AUTH EXTERNAL =") == "504 5.5.4"
        assert session.command("AUTH ANONYMOUS") == "504 5.5.4"
        assert session.command("AUTH SCRAM-SHA-256-PLUS") == "504 5.5.4"


def test_nothing_is_offered_in_clear(vestibule, store):
    with vestibule.plaintext() as session:
        assert mechanisms(session) == []
        for mechanism in ALL[:4]:  # five blunders are one too many
            assert session.command(f"AUTH {mechanism}") == "530 5.7.0"
    assert not store.heard


def test_the_configuration_may_take_from_it(start, canary, shared):
    vestibule = start(canary.port, settings(shared[1].address, mechanisms="PLAIN CRAM-MD5 EXTERNAL"))
    wait_offered(vestibule, ["CRAM-MD5", "PLAIN"])
    with vestibule.connect() as session:
        session.ehlo()
        assert session.command("AUTH LOGIN") == "504 5.5.4"
        assert session.command("AUTH SCRAM-SHA-256") == "504 5.5.4"


def test_a_store_that_changes_is_followed_while_sessions_live(start, canary, folder):
    first = Oracle(folder / "oracle", ["PLAIN"])
    vestibule = start(canary.port, settings(first.address))
    wait_offered(vestibule, ["PLAIN", "LOGIN"])  # to the store they are one: it gets the password
    with vestibule.connect() as session:
        assert mechanisms(session) == ["PLAIN", "LOGIN"]
        first.stop()
        with stopping(Oracle(folder / "oracle", ["SCRAM-SHA-1", "CRAM-MD5"])):
            wait_offered(vestibule, ["SCRAM-SHA-1", "CRAM-MD5"])
            proc.wait_until(lambda: mechanisms(session) == ["SCRAM-SHA-1", "CRAM-MD5"], 5, "the session knows it too")
            assert session.command("AUTH PLAIN " + plain()) == "504 5.5.4"
            assert session.command("AUTH CRAM-MD5") == "535 5.7.8"


# Conversations.


@BOTH
def test_a_conversation_to_its_end(vestibule, store, tls):
    """Each message reaches the other side as it was, whatever octets it holds; the login is the store's word."""
    store.begin(scram)
    said = [b"n,,n=ALICE,r=x", b"c=biws\0\r\n\x1b\xff", b""]
    with vestibule.connect(tls) as session:
        session.ehlo()
        reply, challenges = talk(session, "SCRAM-SHA-256", *said)
        assert reply == "235 2.7.0"
        assert challenges == [b"r=xy,s=c2FsdA==,i=4096", b"v=c2ln"]
        assert session.deliver("r@any.example", b"Subject: t\r\n\r\nx\r\n").code == 250
        session.quit()
    heard = [base64.b64decode(word[5:]) for word in store.told("AUTH")[0] if word.startswith("resp=")]
    assert heard + [base64.b64decode(words[2]) for words in store.told("CONT")] == said
    assert "secured=tls" in store.told("AUTH")[0]
    vestibule.wait_logged("event=message ", "login=alice ", "outcome=delivered ")
    vestibule.wait_logged("event=session ", "login=alice ", "mechanism=SCRAM-SHA-256 ")


def test_a_conversation_in_one_flight(vestibule, store):
    store.begin(scram)
    with vestibule.connect() as session:
        session.ehlo()
        session.send("AUTH SCRAM-SHA-256\r\n" + b64("one") + "\r\n" + b64("two") + "\r\n\r\nNOOP\r\n")
        assert [session.reply().code for _ in range(5)] == [334, 334, 334, 235, 250]


def test_a_conversation_octet_by_octet(vestibule, store):
    store.begin(scram)
    with vestibule.connect() as session:
        session.ehlo()
        for line, code in (("AUTH SCRAM-SHA-256 " + b64("one"), 334), (b64("two"), 334), ("", 235)):
            session.send_slowly(line.encode() + b"\r\n")
            assert session.reply().code == code


@pytest.mark.parametrize("steps", [1, 2])
def test_a_client_may_cancel_at_each_step(vestibule, store, steps):
    """The store is told, and the next login is not taken for the old one."""
    store.begin(lambda mechanism, messages: f"OK bob{steps}" if mechanism == "PLAIN" else scram(mechanism, messages))
    with vestibule.connect() as session:
        session.ehlo()
        for _ in range(3):
            assert talk(session, "SCRAM-SHA-256", *[b"x"] * steps)[0].code == 334
            assert session.command("*") == "501 5.7.0"
        assert session.command("AUTH PLAIN " + plain("bob", "x")) == "235 2.7.0"
    proc.wait_until(lambda: len(store.told("CANCEL")) == 3, 5, f"the store is told: {store.heard}")
    vestibule.wait_logged("event=session ", f"login=bob{steps} ", "mechanism=PLAIN ")


@BOTH
@pytest.mark.parametrize("leave", ["fin", "reset", "half a line", "nonsense"])
def test_a_client_may_leave_in_the_middle(vestibule, store, tls, leave):
    store.begin(scram)
    with vestibule.connect(tls) as session:
        session.ehlo()
        assert talk(session, "SCRAM-SHA-256", b"x")[0].code == 334
        if leave == "reset":
            session.reset()
        elif leave == "half a line":
            session.send(b64("half")[:3])
        elif leave == "nonsense":
            assert session.command("QUIT!") == "501 5.5.2"
    proc.wait_until(lambda: store.told("CANCEL"), 5, f"the store is told: {store.heard}")
    with vestibule.connect(tls) as session:
        session.ehlo()
        assert talk(session, "SCRAM-SHA-256", b"x", b"y", b"")[0].code == 235


def test_each_client_has_its_own_conversation(vestibule, store):
    """Many at once, turn by turn: none gets another's challenge."""
    store.begin(lambda mechanism, messages:
                b"again " + messages[-1] if len(messages) < 4 else "OK " + messages[-1].decode())
    sessions = [vestibule.connect() for _ in range(12)]
    for session in sessions:
        session.ehlo()
    for i, session in enumerate(sessions):
        session.send(f"AUTH SCRAM-SHA-256 {b64(f'user{i}')}\r\n")
    for _ in range(3):
        for i, session in reversed(list(enumerate(sessions))):
            assert session.reply().text == "334 " + b64(f"again user{i}")
            session.send(b64(f"user{i}") + "\r\n")
    for i, session in enumerate(sessions):
        assert session.reply() == "235 2.7.0"
        session.quit()
        vestibule.wait_logged("event=session ", f"login=user{i} ")


def test_a_conversation_without_end_is_ended(vestibule, store):
    store.begin(lambda mechanism, messages: b"and again")
    with vestibule.connect() as session:
        session.ehlo()
        reply, challenges = talk(session, "CRAM-MD5", *[b"x"] * 40, initial=False)
        assert reply.code in (454, 535) and len(challenges) <= 16
        assert session.command("MAIL FROM:<a@b.example>") == "530 5.7.0"


def test_wrong_at_each_step_is_refused_alike(vestibule, store):
    """However far it came, the client hears the same."""
    heard = set()
    with vestibule.connect() as session:
        session.ehlo()
        for step in (1, 2, 3):
            store.begin(lambda mechanism, messages: "FAIL" if len(messages) == step else scram(mechanism, messages))
            heard.add(talk(session, "SCRAM-SHA-256", b"x", b"y", b"")[0].text)
    assert heard == {"535 5.7.8 Authentication credentials invalid"}


def test_reload_in_the_middle(start, canary, shared, store):
    """Who is in a conversation goes on with it in the old front."""
    store.begin(scram)
    vestibule = start(canary.port, settings(store.address))
    wait_offered(vestibule, ALL)
    with vestibule.connect() as session:
        session.ehlo()
        assert talk(session, "SCRAM-SHA-256", b"x")[0].code == 334
        vestibule.reload()
        assert session.command(b64("y")).code == 334
        assert session.command("") == "235 2.7.0"


def test_a_store_that_dies_in_the_middle(start, canary, folder):
    """454, never 535; and it is found again."""
    first = Oracle(folder / "oracle", ["SCRAM-SHA-256"], scram)
    vestibule = start(canary.port, settings(first.address))
    wait_offered(vestibule, ["SCRAM-SHA-256"])
    with vestibule.connect() as session:
        session.ehlo()
        assert talk(session, "SCRAM-SHA-256", b"x")[0].code == 334
        first.stop()
        assert session.command(b64("y")) == "454 4.7.0"
        with stopping(Oracle(folder / "oracle", ["SCRAM-SHA-256"], scram)):
            proc.wait_until(lambda: talk(session, "SCRAM-SHA-256", b"x", b"y", b"")[0].code == 235, 10,
                            "it is asked again")


# Tokens.


def bearer(token, name=""):
    return f"n,{f'a={name}' if name else ''},\x01auth=Bearer {token}\x01\x01"


def xoauth2(token, name=client.USER):
    return f"user={name}\x01auth=Bearer {token}\x01\x01"


def by_token(mechanism, messages):
    return "OK alice" if b"Bearer good\x01" in messages[0] else "FAIL"


@pytest.mark.parametrize("mechanism, message", [("OAUTHBEARER", bearer), ("XOAUTH2", xoauth2)])
def test_tokens(vestibule, store, mechanism, message):
    """Who is refused is told why in JSON first, whatever it says to that."""
    store.begin(by_token)
    with vestibule.connect() as session:
        session.ehlo()
        for answer in ("AQ==", "", "*", "not base64"):
            reply = session.command(f"AUTH {mechanism} {b64(message('bad'))}")
            assert reply.code == 334 and b'"status":' in base64.b64decode(reply.text[4:])
            assert session.command(answer) == "535 5.7.8"
        assert session.command(f"AUTH {mechanism}").text == "334 "
        assert session.command(b64(message("good"))) == "235 2.7.0"
        session.quit()
    vestibule.wait_logged("event=session ", "login=alice ", f"mechanism={mechanism} ")
    assert "Bearer" not in vestibule.log()


def test_tokens_of_another_shape_reach_nobody(vestibule, store):
    store.begin(by_token)
    with vestibule.connect() as session:
        session.ehlo()
        for message in ("", "\x01", bearer("good") + "\x01", bearer("good")[:-1], bearer("go od"), bearer("good", "al=ice"),
                        bearer("good").replace("Bearer", "Basic"), xoauth2("good"), "\0alice\0good",
                        "n,,\x01auth=Bearer good\x01auth=Bearer good\x01\x01"):
            assert session.command("AUTH OAUTHBEARER " + (b64(message) or "=")) == "535 5.7.8", message
        assert not store.told("AUTH")
        assert session.command("AUTH OAUTHBEARER " + b64(bearer("good" * 4000))) == "500 5.5.6"
        assert session.command("AUTH OAUTHBEARER " + b64(bearer("good"))) == "235 2.7.0"


# With a real server behind them.


def salted(password, salt, rounds, digest="sha256"):
    return hashlib.pbkdf2_hmac(digest, password.encode(), salt, rounds)


def scram_client(session, login, password):
    """RFC 5802 as a client speaks it; the reply, and whether the server proved that it knows the password too."""
    nonce, bare = "rOprNGfwEbeRWgbNEkqO", f"n={login},r=rOprNGfwEbeRWgbNEkqO"
    reply = session.command("AUTH SCRAM-SHA-256 " + b64("n,," + bare))
    if reply.code != 334:
        return reply, False
    first = base64.b64decode(reply.text[4:]).decode()
    fields = dict(field.split("=", 1) for field in first.split(","))
    assert fields["r"].startswith(nonce) and len(fields["r"]) > len(nonce)
    secret = salted(password, base64.b64decode(fields["s"]), int(fields["i"]))
    final = f"c=biws,r={fields['r']}"
    whole = f"{bare},{first},{final}".encode()
    key = hmac.digest(secret, b"Client Key", "sha256")
    signature = hmac.digest(hashlib.sha256(key).digest(), whole, "sha256")
    proof = bytes(a ^ b for a, b in zip(key, signature))
    reply = session.command(b64(f"{final},p={base64.b64encode(proof).decode()}"))
    if reply.code != 334:
        return reply, False
    expected = hmac.digest(hmac.digest(secret, b"Server Key", "sha256"), whole, "sha256")
    proven = base64.b64decode(reply.text[4:]) == b"v=" + base64.b64encode(expected)
    return session.command(""), proven


def cram_client(session, login, password):
    reply = session.command("AUTH CRAM-MD5")
    assert reply.code == 334
    return session.command(b64(f"{login} {hmac.new(password.encode(), base64.b64decode(reply.text[4:]), 'md5').hexdigest()}"))


def test_dovecot_speaks_its_mechanisms_through_us(start, canary, folder, tls):
    store = cred.ALL["dovecot"](folder / "store")
    store.start()
    try:
        vestibule = start(canary.port, {**store.changes(), "auth": {**OPEN["auth"], **store.changes()["auth"]}})
        wait_offered(vestibule, ["SCRAM-SHA-256", "CRAM-MD5", "PLAIN", "LOGIN"])
        for speak in (lambda *who: scram_client(*who)[0], cram_client):
            with vestibule.connect(tls) as session:
                session.ehlo()
                assert speak(session, "bob", "wrong") == "535 5.7.8"
                assert speak(session, "nobody", base.USERS["bob"]) == "535 5.7.8"
                assert speak(session, "bob", base.USERS["bob"]) == "235 2.7.0"
        with vestibule.connect(tls) as session:
            session.ehlo()
            assert scram_client(session, "bob", base.USERS["bob"])[1], "the server did not prove itself"
    finally:
        store.remove()
