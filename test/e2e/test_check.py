"""`vestibule check` as the doctor: in front of the running program, of servers with one flaw each, and of an open MTA."""

import collections
import contextlib
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import threading

import pytest

import vestibule as program

RELAYS = re.compile(r"problem +listener \w+: 127\.0\.0\.1:\d+ relays without a password: (.*); stop it, ")


def check(path, seconds=90):
    """Its status and its lines; each is whole."""
    done = program.run("check", "-c", path, timeout=seconds)
    assert not program.SANITIZER_REPORT.search(done.stderr) and not done.stderr, done.stderr
    lines = done.stdout.strip().splitlines()
    assert all(re.match(r"(ok     |warning|problem) [\w ]+: \S", line) for line in lines), lines
    return done.returncode, lines


def found(lines, *patterns):
    return [line for line in lines if all(re.search(pattern, line) for pattern in patterns)]


# The program itself


def test_the_running_program_is_found_fine(vestibule, canary):
    status, lines = check(vestibule.path)
    assert status == 0 and not found(lines, "^problem"), lines
    for listener in ("submissions", "submission"):
        about = f"^ok +listener {listener}: "
        ways = found(lines, about, r"\d+ ways to relay without a password are refused")
        assert len(ways) == 1 and int(re.search(r"(\d+) ways", ways[0]).group(1)) >= 25, lines
        assert found(lines, about, r"TLS below 1\.2 is refused"), lines
        assert found(lines, about, "another protocol", "refused"), lines
    assert found(lines, "^ok +listener submission: ", "behind STARTTLS is refused"), lines
    assert found(lines, "^ok +listener submission: ", "AUTH in clear is refused"), lines
    assert not found(lines, "none answers"), lines
    assert not canary.visitors, "nothing of it reaches the mail server"
    assert len(vestibule.log_lines("event=login_refused")) == 2, "one wrong password a listener"
    assert not found(lines, vestibule.log_lines("event=login_refused")[0].split("login=")[1].split()[0])


def test_it_can_be_asked_twice_within_a_minute(vestibule):
    for _ in range(2):
        status, lines = check(vestibule.path)
        assert status == 0 and len(found(lines, "ways to relay without a password are refused")) == 2, lines


def test_the_delay_of_refused_passwords_is_waited_for(start, canary):
    vestibule = start(canary.port, {"auth": {"failure_delay": "1s"}})
    status, lines = check(vestibule.path)
    assert status == 0 and len(found(lines, "ways to relay without a password are refused")) == 2, lines


def test_what_was_left_out_is_told_while_nothing_runs(folder, pki, canary):
    stopped = program.Vestibule(folder / "stopped", pki.certificates, pki.users, canary.port)
    stopped.configure()
    status, lines = check(stopped.path)
    assert status == 0
    assert len(found(lines, "^warning listeners: none answers", "start the service and run vestibule check again")) == 1, lines
    assert not found(lines, "ways to relay"), lines


# Servers that have one flaw


class Session:
    """What a server with flaws remembers of a client."""

    def __init__(self, tls):
        self.tls = tls
        self.hello = None
        self.mail = False
        self.line = b""
        self.before = b""  # the command before
        self.bare = False  # the line ended in a bare LF
        self.vouched = self.refused = self.cancelled = False
        self.pipelined = False  # more was there when AUTH was refused


class Flawed:
    """A server on one port that asks for AUTH, except where its flaw says otherwise."""

    def __init__(self, certificate, implicit=False, opens=lambda s: False, takes=lambda s: True, ends=b"\r\n", injectable=False,
                 clear_auth=b"530 no", least=ssl.TLSVersion.TLSv1_2, header=None):
        self.opens, self.takes, self.ends, self.injectable = opens, takes, ends, injectable
        self.implicit, self.clear_auth, self.header = implicit, clear_auth, header
        self.heard = []  # all lines
        self.accepted = collections.Counter()  # verbs behind an accepted RCPT
        self.headers = []
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate.chain, certificate.key)
        self.context.set_ciphers("DEFAULT@SECLEVEL=0")
        self.context.minimum_version = least
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                sock = self.listening.accept()[0]
                threading.Thread(target=self.serve, args=(sock,), daemon=True).start()

    def stop(self):
        self.listening.close()

    def serve(self, sock):
        sock.settimeout(20)
        with contextlib.suppress(OSError, ssl.SSLError, ConnectionError):
            if self.header:
                end = sock.recv(107, socket.MSG_PEEK).find(b"\n") + 1
                self.headers.append(sock.recv(end))
                if not self.header.fullmatch(self.headers[-1]):
                    return sock.close()
            if self.implicit:
                sock = self.context.wrap_socket(sock, server_side=True)
            sock.sendall(b"220 flawed\r\n")
            self.converse(sock, Session(self.implicit))
        sock.close()

    def converse(self, sock, session):
        rest, rcpt = b"", False
        while True:
            while self.ends not in rest:
                octets = sock.recv(4096)
                if not octets:
                    return
                rest += octets
                if self.ends == b"\r\n" and re.search(rb"(?<!\r)\n|\r(?!\n)", rest):
                    return sock.sendall(b"500 no such line ends\r\n")
            line, rest = rest.split(self.ends, 1)
            session.bare_before, session.bare = session.bare, self.ends == b"\n" and not line.endswith(b"\r")
            line = line.rstrip(b"\r").lstrip(b"\n")
            self.heard.append(line)
            if rcpt:
                self.accepted[line.strip().upper()[:4]] += 1
            session.pipelined_now = bool(rest)
            session.before, session.line = session.line, line
            reply = self.answer(session)
            rcpt = reply.startswith(b"250") and line.strip().upper().startswith(b"RCPT")
            sock.sendall(reply + b"\r\n")
            if reply.startswith(b"221"):
                return
            if line.upper() == b"STARTTLS":
                sock = self.context.wrap_socket(sock, server_side=True)
                session = Session(True)
                rest = rest if self.injectable else b""

    def answer(self, s):
        verb = s.line.strip(b" \t\0").upper()[:4]
        if verb in (b"EHLO", b"HELO"):
            s.hello, s.mail = s.line[:4], False
            return b"250-flawed\r\n250 STARTTLS" if verb == b"EHLO" else b"250 flawed"
        if verb == b"STAR":
            return b"220 go"
        if verb == b"AUTH":
            if s.line.upper() == b"AUTH PLAIN":
                return b"334 " if s.tls else self.clear_auth
            s.refused, s.pipelined = True, s.pipelined_now
            return b"535 no" if s.tls else self.clear_auth
        if verb == b"*":
            s.cancelled = True
            return b"501 well"
        if verb in (b"XCLI", b"XFOR", b"PROX"):
            s.vouched = True
            return b"220 so you are"
        if verb == b"MAIL" or s.line.upper().startswith(b"SAML"):
            s.mail = bool(self.opens(s))
            return b"250 ok" if s.mail else b"530 no"
        if verb == b"RCPT":
            return b"250 ok" if s.mail and self.takes(s) else b"550 no"
        if verb == b"RSET":
            s.mail = False
        return b"221 bye" if verb == b"QUIT" else b"250 ok" if verb in (b"NOOP", b"RSET") else b"500 what?"


@pytest.fixture
def examine(folder, pki, canary):
    """examine(server, {key: value} of its listener): status and lines for a configuration with that one listener."""
    with contextlib.ExitStack() as stack:

        def examine_one(server, changes=None):
            stack.callback(server.stop)
            settings = {"address": f"127.0.0.1:{server.port}", "tls": "implicit" if server.implicit else "starttls"}
            here = program.Vestibule(folder / "flawed", pki.certificates, pki.users, canary.port,
                                     {"listener door": {**settings, **(changes or {})}})
            del here.settings["listener submissions"], here.settings["listener submission"]
            here.configure()
            return check(here.path)

        yield examine_one


def relaying(lines):
    """The ways that are told; [] is none."""
    told = found(lines, "relays without a password")
    assert len(told) <= 1, lines
    return RELAYS.match(told[0]).group(1).split("; ") if told else []


FLAWS = {
    "HELO instead of EHLO": dict(opens=lambda s: s.hello == b"HELO"),
    "no EHLO at all": dict(opens=lambda s: s.hello is None),
    "a null sender": dict(opens=lambda s: s.line == b"MAIL FROM:<>"),
    "a sender of this host": dict(opens=lambda s: b"@mail.example.test" in s.line and b"postmaster" in s.line),
    "a sender at localhost": dict(opens=lambda s: b"root@localhost" in s.line),
    "MAIL with AUTH=": dict(opens=lambda s: b" AUTH=" in s.line),
    "lower case": dict(opens=lambda s: s.line.startswith(b"mail")),
    "a blank in front": dict(opens=lambda s: s.line.startswith(b" ")),
    "a tab in front": dict(opens=lambda s: s.line.startswith(b"\t")),
    "SAML instead of MAIL": dict(opens=lambda s: s.line.startswith(b"SAML")),
    "two MAIL commands": dict(opens=lambda s: s.before.startswith(b"MAIL")),
    "MAIL behind a cancelled AUTH": dict(opens=lambda s: s.cancelled),
    "MAIL behind a refused AUTH in one segment": dict(opens=lambda s: s.pipelined and s.before.startswith(b"AUTH")),
    "MAIL behind a refused AUTH and RSET": dict(opens=lambda s: s.refused and s.before == b"RSET"),
    "MAIL behind a refused AUTH and EHLO": dict(opens=lambda s: s.refused and s.before.startswith(b"EHLO")),
    "all commands in one segment": dict(opens=lambda s: s.pipelined_now and s.before.startswith(b"EHLO")),
    "MAIL behind a bare LF": dict(opens=lambda s: s.bare_before and not s.bare, ends=b"\n"),
    "lines that end in a bare LF": dict(opens=lambda s: s.bare, ends=b"\n"),
    "MAIL behind a NUL": dict(opens=lambda s: s.line.startswith(b"\0")),
    "MAIL behind a bare CR": dict(opens=lambda s: s.line.startswith(b"MAIL") and s.before == b"NOOP", ends=b"\r"),
}


@pytest.mark.parametrize("way", FLAWS)
def test_a_server_with_one_flaw_is_told_with_that_way(examine, pki, way):
    server = Flawed(pki.ecdsa, implicit=True, **FLAWS[way])
    status, lines = examine(server)
    assert status == 1 and way in relaying(lines), lines
    assert "MAIL without AUTH" not in relaying(lines), lines


@pytest.mark.parametrize("flaw, ways", [
    (dict(opens=lambda s: s.vouched), ["XCLIENT", "XFORWARD", "PROXY as a command"]),
    (dict(opens=lambda s: s.vouched and not s.tls), ["XCLIENT", "XFORWARD", "a PROXY header"]),
    (dict(opens=lambda s: True), ["MAIL without AUTH", "a null sender", "RCPT behind a refused MAIL"]),
    (dict(opens=lambda s: True, takes=lambda s: s.line.endswith(b"@mail.example.test>")),
     ["user%remote@local", "\"user%remote\"@local", "\"user@remote\"@local"]),
], ids=["vouchers", "vouchers in clear", "everything", "recipients"])
def test_flaws_that_open_several_ways(examine, pki, flaw, ways):
    server = Flawed(pki.ecdsa, **flaw)
    status, lines = examine(server)
    told = relaying(lines)
    assert status == 1 and told[:3] == ways, lines
    assert not told[3:] or re.fullmatch(r"and \d+ more", told[3]), told


def test_an_open_server_is_never_sent_a_message(examine, pki):
    server = Flawed(pki.ecdsa, opens=lambda s: True)
    examine(server)
    assert server.accepted[b"RSET"] > 25 and set(server.accepted) == {b"RSET"}, server.accepted
    assert not [line for line in server.heard if line.strip().upper().startswith((b"DATA", b"BDAT"))]


@pytest.mark.parametrize("implicit", [True, False], ids=["implicit", "starttls"])
def test_a_strict_server_is_told_so(examine, pki, implicit):
    server = Flawed(pki.ecdsa, implicit)
    _, lines = examine(server)
    assert not relaying(lines) and found(lines, "^ok .*ways to relay without a password are refused"), lines
    assert len([line for line in server.heard if line.startswith(b"AUTH PLAIN ")]) == (1 if implicit else 2)


def test_plaintext_that_counts_inside_tls_is_a_problem(examine, pki):
    status, lines = examine(Flawed(pki.ecdsa, injectable=True))
    # This server's TLS begins with what is behind STARTTLS still in its buffer, as the flawed ones had it.
    assert status == 1 and found(lines, "^problem listener door: plaintext behind STARTTLS is executed inside TLS"), lines
    _, lines = examine(Flawed(pki.ecdsa))
    assert found(lines, "^ok +listener door: plaintext behind STARTTLS is dropped"), lines


@pytest.mark.parametrize("answer, fine", [(b"535 wrong", False), (b"235 welcome", False), (b"454 later", False), (b"538 no", True)])
def test_auth_in_clear_must_be_refused_without_a_look(examine, pki, answer, fine):
    _, lines = examine(Flawed(pki.ecdsa, clear_auth=answer))
    assert found(lines, f"^{'ok ' if fine else 'problem'} +listener door: AUTH in clear"), lines


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1 is deprecated")
def test_old_versions_and_other_protocols_are_problems(examine, pki):
    status, lines = examine(Flawed(pki.ecdsa, implicit=True, least=ssl.TLSVersion.TLSv1))
    assert status == 1
    assert found(lines, r"^problem listener door: TLS below 1\.2 is taken"), lines
    assert found(lines, r"^problem listener door: TLS clients of another protocol \(ALPN http/1\.1\) are taken"), lines


def test_old_versions_that_were_asked_for_are_a_warning(start, canary):
    vestibule = start(canary.port, {"listener submission": {"min_version": "1.0"}})
    status, lines = check(vestibule.path)
    assert status == 0 and found(lines, "^warning listener submission: TLS 1.0 and 1.1 are taken", "min_version"), lines


def test_what_does_not_greet_is_a_problem(examine, pki):
    server = Flawed(pki.ecdsa)
    server.implicit = True  # so it is configured, but not so it behaves
    server.serve = lambda sock: sock.close()
    status, lines = examine(server)
    assert status == 1 and found(lines, "^problem listener door: ", "is in use, but does not greet"), lines


def test_who_is_trusted_is_not_called_a_relay(examine, pki):
    status, lines = examine(Flawed(pki.ecdsa, opens=lambda s: True), {"auth": "optional", "trusted": "127.0.0.0/8"})
    assert not relaying(lines) and found(lines, "^warning listener door: this host is trusted"), lines


def test_a_proxy_header_is_said_where_one_is_expected_and_names_a_stranger(examine, pki):
    header = re.compile(rb"PROXY TCP4 192\.0\.2\.1 127\.0\.0\.1 \d+ \d+\r\n")
    server = Flawed(pki.ecdsa, implicit=True, header=header, opens=lambda s: s.hello == b"HELO")
    _, lines = examine(server, {"proxy_protocol": "127.0.0.0/8", "auth": "optional", "trusted": "127.0.0.0/8"})
    assert relaying(lines) == ["HELO instead of EHLO"], (lines, server.headers)


# The MTA and the files


def in_namespace(*command):
    """With a loopback of its own, on which 192.0.2.7 is an address, too."""
    script = "ip link set lo up && ip addr add 192.0.2.7/32 dev lo && exec \"$@\""
    return ["unshare", "--net", "sh", "-c", script, "sh", *map(str, command)]


OPEN_MTA = """
import socket, subprocess, sys, threading
sys.path.insert(0, sys.argv[1])
listening = socket.create_server((sys.argv[2], int(sys.argv[3])))
def serve():
    while True:
        sock = listening.accept()[0]
        sock.sendall(b"220 mta\\r\\n")
        try:
            while line := sock.recv(512):
                sock.sendall(b"221 bye\\r\\n" if line.startswith(b"QUIT") else b"250 mta\\r\\n")
        except OSError:
            pass
        sock.close()
threading.Thread(target=serve, daemon=True).start()
sys.exit(subprocess.run(sys.argv[4:]).returncode)
"""


@pytest.mark.parametrize("bound, port, exposed, low", [("0.0.0.0", 25, True, True), ("127.0.0.1", 25, False, True),
                                                       ("0.0.0.0", 2525, True, False), ("127.0.0.1", 2525, False, False)])
def test_an_mta_that_strangers_can_reach_is_a_warning(folder, pki, bound, port, exposed, low):
    if subprocess.run(in_namespace("true"), capture_output=True, check=False).returncode != 0:
        pytest.skip("network namespaces cannot be made here")
    here = program.Vestibule(folder / "exposed", pki.certificates, pki.users, port)
    here.configure()
    command = in_namespace(sys.executable, "-c", OPEN_MTA, os.path.dirname(__file__), bound, port, program.BINARY, "check", "-c",
                           here.path)
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=program.environment(), check=False)
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stdout + done.stderr
    told = found(lines, f"^warning upstream mta: port {port} also answers on 192\\.0\\.2\\.7, so clients can go round")
    assert len(told) == exposed, lines
    assert len(found(lines, f"^ok +upstream mta: port {port} answers on no other of this host's 1 address")) == (not exposed), lines
    assert len(found(lines, "^warning upstream mta: .*above 1023")) == (not low), lines


def without_reach(path):
    """As root of a container, who may not read everybody's files."""
    command = ["setpriv", "--bounding-set=-dac_read_search,-dac_override", "--inh-caps=-dac_read_search,-dac_override"]
    if shutil.which("setpriv") is None or os.geteuid() != 0:
        pytest.skip("needs root and setpriv")
    done = subprocess.run([*command, program.BINARY, "check", "-c", path], capture_output=True, text=True, timeout=60,
                          env=program.environment(), check=False)
    return done.returncode, done.stdout.splitlines()


def test_files_that_the_services_account_cannot_read_are_problems(folder, pki, canary):
    private = pki.authority.issue("private")
    private.key.chmod(0o600)
    here = program.Vestibule(folder / "account", [private], pki.users, canary.port, {"server": {"user": "nobody"}})
    here.configure()
    status, lines = without_reach(here.path)
    assert status == 1 and len(found(lines, "^problem files: ", str(private.key), "cannot be read by nobody")) == 1, lines
    private.key.chmod(0o644)
    _, lines = without_reach(here.path)
    assert found(lines, "^ok +files: .*can be read by nobody"), lines


def test_a_state_dir_that_the_services_account_cannot_write_is_a_problem(folder, pki, canary):
    if os.geteuid() != 0:
        pytest.skip("needs root")
    here = program.Vestibule(folder / "account", pki.certificates, pki.users, canary.port, {"server": {"user": "nobody"}})
    here.configure()
    _, lines = check(here.path)
    assert found(lines, "^ok +state_dir: .*will be made or taken over"), lines
    (here.state / "something").write_text("")
    status, lines = check(here.path)
    assert status == 1 and found(lines, f"^problem state_dir: {here.state} cannot be written by nobody"), lines
    shutil.chown(here.state, "nobody")
    status, lines = check(here.path)
    assert status == 0 and found(lines, "^ok +state_dir: .*can be written by nobody"), lines
