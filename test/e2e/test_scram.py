"""SCRAM from the users file: with real clients, bound to the TLS channel and not, and what it must not give away."""

import re
import statistics
import subprocess
import time

import pytest
from OpenSSL import SSL

import client
import proc
import scram
import vestibule as program
from client import b64
from cred import base
from test_clients import program as installed

QUICK = {"auth": {"failure_delay": "0", "lockout": "off", "max_failures": 20}}
ODD = "пароль ☃, =x"
BOUND, UNBOUND = "SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"


def set_password(users, login, password):
    """As an administrator does it."""
    path = users.parent / f"{users.name}.conf"
    path.write_text(f"[auth]\nbackend = file:{users}\n")
    done = program.run("passwd", "-c", path, login, stdin=password + "\n")
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def users(workshop):
    made = workshop / "scram-users"
    set_password(made, client.USER, client.PASSWORD)
    set_password(made, "a,b=c", ODD)
    with made.open("a") as file:
        file.write(f"locked:!{scram.verifier('locked')}\nstar:*\n")
    made.chmod(0o644)
    return made


@pytest.fixture(scope="module")
def door(workshop, pki, users):
    with program.running(workshop / "scram", pki, 9, QUICK, users=users) as running:
        yield running


def offered(session):
    return [line[9:].split() for line in session.ehlo().lines if line[4:].startswith("AUTH ")][0]


def test_the_strongest_is_offered_first(door):
    with door.connect() as session:
        assert offered(session) == [BOUND, UNBOUND, "PLAIN", "LOGIN"]


@pytest.mark.parametrize("initial", [True, False])
def test_the_right_password_gets_in(door, tls, initial):
    with door.connect(tls) as session:
        session.ehlo()
        assert scram.log_in(session, client.USER, client.PASSWORD, initial=initial) == "235 2.7.0"
        session.quit()
    door.wait_logged("event=session", f"login={client.USER} mechanism=SCRAM-SHA-256 ")
    assert client.PASSWORD not in door.log()


def test_odd_names_and_passwords(door):
    with door.connect() as session:
        session.ehlo()
        assert scram.log_in(session, "a,b=c", ODD) == "235 2.7.0"
    with door.connect() as session:
        session.ehlo()
        assert session.command("AUTH PLAIN " + client.plain("a,b=c", ODD)) == "235 2.7.0"


@pytest.mark.parametrize("version", [SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION], ids=["1.2", "1.3"])
def test_a_login_is_bound_to_its_channel(door, tls, version):
    with scram.Bindable(door.port(tls), tls, version) as session:
        assert BOUND in offered(session)
        assert scram.log_in(session, client.USER, "wrong", BOUND, binding=session.binding()) == "535 5.7.8"
        assert scram.log_in(session, client.USER, client.PASSWORD, BOUND, binding=bytes(32)) == "535 5.7.8"
        assert scram.log_in(session, client.USER, client.PASSWORD, BOUND, binding=session.binding()) == "235 2.7.0"
        session.command("QUIT")
    door.wait_logged(f"login={client.USER} mechanism=SCRAM-SHA-256-PLUS ")


def test_the_binding_of_another_connection_is_no_use(door):
    with scram.Bindable(door.implicit) as one, scram.Bindable(door.implicit) as other:
        one.ehlo()
        assert scram.log_in(one, client.USER, client.PASSWORD, BOUND, binding=other.binding()) == "535 5.7.8"


def test_who_ends_tls_in_between_gets_nowhere(door, pki):
    """He has a certificate that the client believes, and hands on all that is said."""
    with scram.in_between(door.implicit, pki.ecdsa, door.ca) as port, scram.Bindable(port) as victim:
        assert BOUND in offered(victim)
        reply = scram.log_in(victim, client.USER, client.PASSWORD, BOUND, binding=victim.binding())
        assert reply == "535 5.7.8"
        # without a binding he would have been in: that is what it is for
        assert scram.log_in(victim, client.USER, client.PASSWORD) == "235 2.7.0"


@pytest.mark.parametrize("flag, mechanism", [("y", UNBOUND), ("p=tls-exporter", UNBOUND), ("n", BOUND), ("y", BOUND),
                                             ("p=tls-unique", BOUND)])
def test_a_header_that_does_not_fit_is_refused(door, flag, mechanism):
    with scram.Bindable(door.implicit) as session:
        session.ehlo()
        binding = session.binding() if flag.startswith("p") else None
        reply = scram.log_in(session, client.USER, client.PASSWORD, mechanism, binding=binding, flag=flag)
        assert reply == "535 5.7.8"


def test_y_is_the_truth_where_no_binding_is_offered(start, users):
    vestibule = start(9, {"auth": {"mechanisms": "SCRAM-SHA-256 PLAIN"}}, users=users)
    with vestibule.connect() as session:
        assert offered(session) == [UNBOUND, "PLAIN"]
        assert scram.log_in(session, client.USER, client.PASSWORD, flag="y") == "235 2.7.0"


def first_answer(vestibule, login):
    """What the server says of a login before any proof: its salt and iterations."""
    with vestibule.connect() as session:
        session.ehlo()
        exchange = scram.Exchange(login, "x")
        challenge = scram.decoded(session.command(f"AUTH SCRAM-SHA-256 {b64(exchange.first())}")).decode()
        assert session.command(b64(exchange.final(challenge.encode()))) == "535 5.7.8"
    return re.fullmatch(r"r=[!-+\--~]{20,200},(s=[A-Za-z0-9+/=]{24},i=15000)", challenge).group(1)


def test_who_is_not_there_looks_like_who_is_and_stays_the_same(start, users):
    vestibule = start(9, QUICK, users=users)
    told = {login: first_answer(vestibule, login) for login in (client.USER, "nobody", "star", "nobody2")}
    assert len(set(told.values())) == 4
    vestibule.reload()
    assert {login: first_answer(vestibule, login) for login in told} == told
    vestibule.stop()
    vestibule.start()
    assert {login: first_answer(vestibule, login) for login in told} == told
    assert (vestibule.state / "scram.secret").stat().st_mode & 0o777 == 0o600


def test_nobody_who_is_locked_gets_in(door):
    with door.connect() as session:
        session.ehlo()
        assert scram.log_in(session, "locked", "locked") == "535 5.7.8"
        assert session.command("AUTH PLAIN " + client.plain("locked", "locked")) == "535 5.7.8"


def proof(session, login):
    challenge = scram.decoded(session.command(f"AUTH SCRAM-SHA-256 {b64((exchange := scram.Exchange(login, 'x')).first())}"))
    return b64(exchange.final(challenge))


def test_wrong_unknown_and_locked_take_as_long(door):
    """With PLAIN: test_guessing.py."""
    logins = [client.USER, "nobody", "locked"]
    taken = {login: [] for login in logins}
    for _ in range(6):
        with door.connect() as session:
            session.ehlo()
            for _ in range(6):
                for login in logins:
                    line = proof(session, login)
                    begin = time.perf_counter()
                    assert session.command(line) == "535 5.7.8"
                    taken[login].append((time.perf_counter() - begin) * 1000)
    medians = {login: statistics.median(taken[login]) for login in logins}
    assert max(medians.values()) - min(medians.values()) < 2, medians


def test_it_is_offered_as_long_as_everyone_has_a_verifier(start, folder):
    users = folder / "users"
    set_password(users, client.USER, client.PASSWORD)
    vestibule = start(9, QUICK, users=users)
    with vestibule.connect() as session:
        assert UNBOUND in offered(session)
        with users.open("a") as file:
            file.write(f"bob:{base.crypt_hash('bobs')}\n")
        proc.wait_until(lambda: offered(session) == ["PLAIN", "LOGIN"], 10, "who has no verifier is not led astray")
    checked = program.run("check", "-c", vestibule.path)
    assert "SCRAM is not offered as 1 of them has no verifier (the first is bob)" in checked.stdout + checked.stderr
    set_password(users, "bob", "bobs")
    with vestibule.connect() as session:
        proc.wait_until(lambda: UNBOUND in offered(session), 10, "now all have one")
        assert scram.log_in(session, "bob", "bobs") == "235 2.7.0"


def test_old_hashes_are_logged_once(start, folder):
    users = folder / "users"
    made = subprocess.run(["openssl", "passwd", "-1", "-stdin"], input="old", capture_output=True, text=True, check=True)
    users.write_text(f"old:{made.stdout}{client.USER}:{base.crypt_hash(client.PASSWORD)}\n")
    vestibule = start(9, QUICK, users=users)
    vestibule.wait_logged("level=warning", "event=users", "1 of 2 logins")
    with vestibule.connect() as session:
        session.login("old", "old")
    assert len(vestibule.log_lines("event=users")) == 1


def gsasl(port, mechanism, ca, *options):
    return subprocess.run([installed("gsasl", "gsasl"), "--smtp", "--starttls", f"--connect=localhost:{port}", "-m", mechanism,
                           "-a", client.USER, "-p", client.PASSWORD, f"--x509-ca-file={ca}", *options],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("mechanism, options", [(UNBOUND, ["--no-cb"]), (BOUND, [])])
def test_gsasl_logs_in(door, mechanism, options):
    done = gsasl(door.starttls, mechanism, door.ca, *options)
    assert done.returncode == 0 and "235 2.7.0" in done.stdout, done.stdout + done.stderr
    door.wait_logged(f"login={client.USER} mechanism={mechanism} ")


def test_msmtp_delivers(start, canary, users, tls, folder):
    vestibule = start(canary.port, QUICK, users=users)
    (folder / "password").write_text(client.PASSWORD)
    done = subprocess.run(
        [installed("msmtp", "msmtp"), "--file=/dev/null", "--host=localhost", f"--port={vestibule.port(tls)}", "--tls=on",
         f"--tls-starttls={'off' if tls == 'implicit' else 'on'}", f"--tls-trust-file={vestibule.ca}",
         "--auth=scram-sha-256", f"--user={client.USER}", f"--passwordeval=cat {folder}/password",
         "-f", "alice@client.test", "r@any.example"], input=b"Subject: x\n\nx\n", capture_output=True, timeout=60)
    assert done.returncode == 0, done
    vestibule.wait_logged("event=session", "mechanism=SCRAM-SHA-256 ", "messages=1")
