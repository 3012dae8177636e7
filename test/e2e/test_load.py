"""bench/load and bench/sink: what they do, that they count rightly, and that they notice what goes wrong."""

import contextlib
import json
import signal
import socket
import subprocess
import threading
import time

import pytest

import client
import pki as pki_module
import proc
import vestibule as program

BUILT = next((folder for folder in (program.BINARY.parent, program.BINARY.parents[1], program.BINARY.parents[1] / "build")
              if (folder / "load").exists() and (folder / "sink").exists()), None)
pytestmark = pytest.mark.skipif(BUILT is None, reason="make build/load build/sink comes first")

UNHINDERED = {"upstream": {"max_connections": "1000"},
              "auth": {"lockout": "1000/10m"},
              "policy": {"sessions_per_client": "100000", "connects_per_client": "off"}}
PHASES = {"connect", "tls", "greeting", "ehlo", "auth", "message"}


class Sink:
    def __init__(self, *options):
        self.process = subprocess.Popen([BUILT / "sink", "-q", "-c", "0", *options, "0"], stdout=subprocess.PIPE,
                                        text=True, env=program.environment())
        self.port, self.control = (int(self.process.stdout.readline().rsplit(":", 1)[1]) for _ in range(2))

    def ask(self, line):
        with socket.create_connection(("127.0.0.1", self.control), timeout=10) as control:
            control.sendall(line.encode() + b"\n")
            return json.loads(control.makefile().readline())

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            assert self.process.wait(10) == 0
        finally:
            self.process.kill()
            self.process.stdout.close()


@pytest.fixture
def sink():
    """sink(OPTION...) gives a running one."""
    with contextlib.ExitStack() as stack:
        def start(*options):
            started = Sink(*options)
            stack.callback(started.stop)
            return started
        yield start


@pytest.fixture
def users(folder):
    path = folder / "users.txt"
    path.write_text(f"{client.USER}:{client.PASSWORD}\n")
    return path


class Ran:
    def __init__(self, *arguments, seconds=30):
        ended = subprocess.run([BUILT / "load", "--json", *map(str, arguments)], capture_output=True, text=True,
                               timeout=seconds, env=program.environment())
        self.status, self.errors = ended.returncode, ended.stderr
        lines = [json.loads(line) for line in ended.stdout.splitlines()]
        self.events = [line for line in lines if "event" in line]
        self.report = lines[-1] if lines and "program" in lines[-1] else None

    def why(self):
        """For when something should have gone well."""
        return self.errors, [(work["label"], work["errors"]) for work in self.report["works"]], self.report["ledger"]

    @property
    def work(self):
        [only] = self.report["works"]
        return only

    @property
    def error(self):
        [only] = self.work["errors"]
        return only


def plausible(work):
    """What holds of the figures of any work."""
    assert set(work["phases"]) == PHASES
    for figures in (work["latency"], work["service"], *work["phases"].values()):
        if figures["count"] == 0:
            assert figures["p50"] is None and figures["max"] is None
        else:
            assert 0 <= figures["min"] <= figures["p50"] <= figures["p90"] <= figures["p95"] <= figures["p99"]
            assert figures["p99"] <= figures["p999"] <= figures["max"] < 20000
            assert figures["min"] <= figures["mean"] <= figures["max"]
    assert work["latency"]["count"] == work["service"]["count"] == work["ops"]


def delivered(report, messages, cut_short=0):
    ledger = report["ledger"]
    assert ledger["accepted"] == ledger["delivered"] == messages
    assert ledger["offered"] <= messages + cut_short
    assert not any(ledger[key] for key in ("lost", "twice", "altered", "unconfirmed", "example"))


@pytest.fixture
def bench(start, sink, pki, users):
    """Vestibule in front of a sink, and load with all that it needs for them: bench(ARGUMENT...)."""
    behind = sink()
    running = start(behind.port, UNHINDERED)

    def load(*arguments, **options):
        return Ran("--server", f"127.0.0.1:{running.implicit}", "--ca", pki.authority.certificate, "--users", users,
                   "--sink", f"127.0.0.1:{behind.control}", *arguments, **options)

    load.vestibule, load.sink = running, behind
    return load


@pytest.mark.smoke
@pytest.mark.parametrize("tls", ["implicit", "starttls"])
def test_each_session_is_whole_and_each_message_arrives(bench, tls):
    server = f"tls={tls},server=127.0.0.1:{bench.vestibule.port(tls)}"
    ran = bench("--concurrency", 4, "--count", 60, f"session,{server},label=one",
                f"session,{server},messages=3,recipients=4,size=20k,pipelining=no,resume=yes,label=three",
                f"session,{server},size=100k,body=bdat,chunk=30k,label=chunks")
    assert ran.status == 0, ran.why()
    one, three, chunks = ran.report["works"]
    for work in ran.report["works"]:
        plausible(work)
        assert work["loop"] == "closed" and work["concurrency"] == 4 and work["rate"] is None
        assert work["failed"] == work["unfinished"] == 0 and work["errors"] == []
        assert work["phases"]["auth"]["count"] == work["ops"] == work["ended"] > 5
    assert sum(work["ops"] for work in ran.report["works"]) == ran.report["ops"] == 60
    assert three["messages"] == 3 * three["ops"] and three["octets"] == three["messages"] * 20480
    assert 0 < three["resumed"] <= three["ops"] and one["resumed"] == 0
    delivered(ran.report, one["messages"] + three["messages"] + chunks["messages"])
    count = bench.sink.ask("count")
    assert count["messages"] == ran.report["ledger"]["accepted"]
    assert count["unlisted"] == 0 and count["runs"] == 1 and count["aborted"] == 0
    # Vestibule puts a header on top of what was sent.
    assert count["octets"] > one["octets"] + three["octets"] + chunks["octets"]


def test_handshakes_full_and_resumed(bench):
    starttls = f"tls=starttls,server=127.0.0.1:{bench.vestibule.starttls}"
    ran = bench("--concurrency", 4, "--warmup", 0.2, "--duration", 1, "handshake", "handshake,quit=yes", "resume",
                f"resume,{starttls}", f"handshake,greeting=no,{starttls}")
    assert ran.status == 0, ran.why()
    for work in ran.report["works"]:
        plausible(work)
        assert work["ops"] > 5 and abs(work["ops_per_s"] - work["ended"] / ran.report["measured_s"]) < 0.01
        assert work["phases"]["tls"]["count"] >= work["ops"] and work["messages"] == 0
    full, quits, resumed, resumed_starttls, _ = ran.report["works"]
    assert full["resumed"] == quits["resumed"] == 0
    assert resumed["resumed"] >= resumed["ops"] and resumed_starttls["resumed"] >= resumed_starttls["ops"]
    assert ran.report["open_max"] <= 4 and 0.99 < ran.report["measured_s"] < 1.5
    assert 0 < ran.report["cpu_s"] < 1.5


def test_a_mix_of_sessions_uploads_flood_and_slow_clients(bench):
    ran = bench("--rate", 40, "--arrivals", "fixed", "--duration", 1.5, "--timeout", 10, "session",
                "bulk,concurrency=1,size=3M", "flood,rate=10", "slow,concurrency=2,interval=100ms,octets=30",
                "slow,concurrency=1,part=handshake,interval=100ms,octets=300,label=shy",
                "slow,concurrency=1,part=data,interval=100ms,octets=2000,label=dictated")
    assert ran.status == 0, ran.why()
    session, bulk, flood, slow, shy, dictated = ran.report["works"]
    assert session["loop"] == "open" and session["rate"] == 40 and 55 <= session["ops"] <= 61
    assert bulk["ops"] > 0 and bulk["octets"] % (3 << 20) == 0
    assert flood["replies"] == {"535": flood["ops"]} and flood["ops"] > 3
    assert all(work["ops"] > 0 for work in (slow, shy, dictated))
    assert slow["latency"]["min"] > 300  # EHLO, AUTH, MAIL, RCPT, DATA and QUIT are more than 150 octets
    delivered(ran.report, ran.report["ledger"]["accepted"], cut_short=1)  # of what is dictated when all is over


def test_idle_sessions_are_held_and_told_of(bench):
    ran = bench("--events", "idle,concurrency=40,stage=auth,hold=300ms")
    assert ran.status == 0, ran.why()
    assert [event["event"] for event in ran.events] == ["holding", "measuring", "measured", "released"]
    assert ran.events[0]["sessions"] == 40
    assert 0.29 < ran.events[2]["at"] - ran.events[1]["at"] < 1
    assert ran.work["ops"] == 40 and ran.report["open_max"] == 40


def test_an_idle_session_that_the_server_ends_is_a_failure(sink):
    behind = sink()
    running = subprocess.Popen([BUILT / "load", "--json", "--events", "--server", f"127.0.0.1:{behind.port}",
                                "idle,tls=none,concurrency=3,hold=20"], stdout=subprocess.PIPE, text=True)
    try:
        assert json.loads(running.stdout.readline())["sessions"] == 3
        behind.process.send_signal(signal.SIGTERM)
        behind.process.wait(10)
        time.sleep(0.2)
        running.send_signal(signal.SIGTERM)
        rest, _ = running.communicate(timeout=10)
    finally:
        running.kill()
    [work] = json.loads(rest.splitlines()[-1])["works"]
    assert running.returncode == 1 and work["failed"] == 3
    assert work["errors"] == [{"where": "idle", "what": "the server ended the connection", "count": 3}]


def test_latency_counts_from_when_an_operation_should_have_started(sink):
    behind = sink("--delay", "BODY=50ms")
    ran = Ran("--server", f"127.0.0.1:{behind.port}", "--rate", 100, "--arrivals", "fixed", "--max-open", 1,
              "--duration", 1, "--timeout", 20, "session,tls=none,auth=no,size=600")
    work = ran.work
    assert work["loop"] == "open" and work["late"] > 50
    assert work["ops"] + work["unfinished"] >= 95  # each that was due is accounted for
    assert work["service"]["p50"] < 500 < work["latency"]["max"] and work["service"]["min"] > 45


def test_a_certificate_of_another_name_or_authority_is_no_good(bench, pki, folder):
    ran = bench("--count", 3, "--name", "elsewhere.test", "session")
    assert ran.status == 1 and ran.work["ops"] == 0 and ran.work["failed"] == 3
    assert ran.error["where"] == "tls" and ran.error["what"].startswith("certificate: ")
    other = folder / "other"
    other.mkdir()
    ran = bench("--count", 3, "--ca", pki_module.Authority(other).certificate, "handshake")
    assert ran.status == 1 and ran.work["ops"] == 0 and ran.error["what"].startswith("certificate: ")
    ran = bench("--count", 3, "--ca", pki.authority.certificate, "--name", "127.0.0.1", "handshake")
    assert ran.status == 0
    ran = bench("--count", 3, "--name", "elsewhere.test", "--insecure", "handshake")
    assert ran.status == 0


def test_a_message_that_was_accepted_and_is_nowhere_is_lost(sink, start, canary, pki, users, folder):
    """The mail server says 250, but the messages never come to where they are looked for."""
    running = start(canary.port, UNHINDERED)
    ran = Ran("--server", f"127.0.0.1:{running.implicit}", "--ca", pki.authority.certificate, "--users", users,
              "--sink", f"127.0.0.1:{sink().control}", "--ledger", folder / "ledger", "--count", 3, "session")
    ledger = ran.report["ledger"]
    assert ran.status == 1 and ran.work["failed"] == 0
    assert ledger["accepted"] == ledger["lost"] == 3 and ledger["delivered"] == 0
    lines = [line.split() for line in (folder / "ledger").read_text().splitlines()]
    assert [line[0] for line in lines] == [f"{ran.report['run']}-{number:012x}" for number in range(3)]
    assert ledger["example"] == lines[0][0] and all(line[1:3] == ["accepted", "4096"] for line in lines)


@contextlib.contextmanager
def tampering(port, before, after):
    """A relay that changes what clients send on."""
    listener = socket.create_server(("127.0.0.1", 0))

    def carry(source, to, change):
        with contextlib.suppress(OSError):
            while octets := source.recv(1 << 20):
                to.sendall(octets.replace(before, after) if change else octets)
        with contextlib.suppress(OSError):
            to.shutdown(socket.SHUT_WR)

    def serve():
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.create_connection(("127.0.0.1", port))
                for pair in ((near, far, True), (far, near, False)):
                    threading.Thread(target=carry, args=pair, daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def test_a_message_with_one_octet_changed_is_noticed(sink):
    behind = sink()
    with tampering(behind.port, b"measurement", b"measuremenT") as port:
        ran = Ran("--server", f"127.0.0.1:{port}", "--sink", f"127.0.0.1:{behind.control}", "--count", 4,
                  "session,tls=none,auth=no")
    assert ran.status == 1 and ran.work["failed"] == 0
    assert ran.report["ledger"]["altered"] == 4 and ran.report["ledger"]["lost"] == 0


def test_the_sink_fails_and_waits_as_it_is_told(sink):
    behind = sink("--fail", "RCPT/2=450 4.2.0 Try later", "--delay", "MAIL=30ms", "--chunking")
    to = ("--server", f"127.0.0.1:{behind.port}", "--sink", f"127.0.0.1:{behind.control}")
    ran = Ran(*to, "--count", 6, "session,tls=none,auth=no,body=bdat")
    assert ran.status == 1 and ran.work["ops"] == ran.work["failed"] == 3
    assert ran.error == {"where": "RCPT", "what": "450 4.2.0 Try later", "count": 3}
    assert ran.work["phases"]["message"]["min"] >= 29
    delivered(ran.report, 3)
    assert behind.ask("fail RCPT 0") == behind.ask("delay MAIL 0") == {"ok": True}
    assert "error" in behind.ask("fail RCPT 1 hello")
    assert behind.ask("fail BODY 1 close") == {"ok": True}
    ran = Ran(*to, "--count", 2, "session,tls=none,auth=no")
    assert ran.error == {"where": "message", "what": "the server ended the connection", "count": 2}
    assert ran.report["ledger"]["offered"] == 2 and ran.report["ledger"]["accepted"] == 0
    assert behind.ask("forget")["forgotten"] == 3 and behind.ask("count")["sessions"] == 0
    assert behind.ask("fail BODY 0") == behind.ask("fail EHLO 1 silence") == {"ok": True}
    began = time.monotonic()
    ran = Ran(*to, "--count", 2, "--concurrency", 2, "--timeout", 0.5, "session,tls=none,auth=no")
    assert time.monotonic() - began < 5 and ran.work["failed"] == 2
    assert ran.error["where"] == "EHLO"


def test_the_sink_counts_on_a_signal(sink):
    behind = sink()
    Ran("--server", f"127.0.0.1:{behind.port}", "--count", 2, "session,tls=none,auth=no")
    proc.wait_until(lambda: behind.ask("count")["open"] == 0, 2, "its connections end")
    behind.process.send_signal(signal.SIGUSR1)
    count = json.loads(behind.process.stdout.readline())
    assert count == behind.ask("count") and count["messages"] == 2 and count["sessions"] == 2


def test_a_server_that_takes_any_password_fails_the_flood(sink, users):
    behind = sink("--auth")
    ran = Ran("--server", f"127.0.0.1:{behind.port}", "--users", users, "--count", 2, "flood,tls=none")
    assert ran.status == 1 and ran.error["where"] == "AUTH" and ran.work["replies"] == {"235": 2}


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_proxy_headers_and_source_addresses(sink, version):
    behind = sink("--proxy", "--xclient")
    to = ("--server", f"127.0.0.1:{behind.port}", "--source", "127.0.3.1-127.0.3.4", "--count", 8)
    assert Ran(*to, "--proxy", version, "session,tls=none,auth=no").work["ops"] == 8
    ran = Ran(*to, "session,tls=none,auth=no", "--timeout", 0.1)
    assert ran.status == 1 and ran.work["ops"] == 0


def test_what_it_is_told_wrongly_is_said_in_one_sentence(folder):
    for arguments in ((), ("bogus",), ("handshake",), ("--insecure", "session"), ("--rate", "fast", "handshake"),
                      ("--users", folder / "none", "session"), ("--nonsense", "handshake"),
                      ("--insecure", "handshake,size=4k"), ("--source", "::1", "handshake")):
        ran = Ran(*arguments)
        assert ran.status == 2 and ran.report is None, arguments
        assert ran.errors.startswith("load: ") and ran.errors.endswith(".\n") and ran.errors.count("\n") == 1
    for arguments in ((), ("-c", "x", "0"), ("70000",), ("--fail", "RCPT=hello", "0"), ("--delay", "RCPT", "0")):
        ended = subprocess.run([BUILT / "sink", *arguments], capture_output=True, text=True, timeout=10, check=False)
        assert ended.returncode == 2 and "usage: sink" in ended.stderr, arguments


def test_nobody_there(folder):
    ran = Ran("--server", "127.0.0.1:1", "--insecure", "--duration", 0.5, "--concurrency", 5, "handshake")
    assert ran.status == 1 and ran.work["ops"] == 0 and 0 < ran.work["failed"] < 60  # and not as fast as it can
    assert ran.error["where"] == "connect" and ran.error["what"] == "connection refused"
