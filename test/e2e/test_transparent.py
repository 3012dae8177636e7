"""identity = transparent: the mail server's peer is the client itself. In two network namespaces of the test's own, one
for clients, one for Vestibule and the mail server, whose answers are led back as vestibule.conf(5) says."""

import contextlib
import ctypes
import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import threading
import types

import pytest

import canary as canary_module
import client
import mta as mta_module
import net
import proc
import vestibule as program

MESSAGE = b"Subject: t\r\n\r\nx\r\n"
HERE, THERE, THERE_TOO = "10.99.0.1", "10.99.0.2", "10.99.0.3"
HERE6, THERE6 = "fd99::1", "fd99::2"
CAP_NET_RAW = 1 << 13
NEW_NETWORK = 0x40000000

numbers = itertools.count(1)
libc = ctypes.CDLL(None, use_errno=True)


def enter(path):
    with open(path, "rb") as file:
        assert libc.setns(file.fileno(), NEW_NETWORK) == 0, os.strerror(ctypes.get_errno())


@contextlib.contextmanager
def inside(name):
    """What this thread opens and starts meanwhile belongs to that network."""
    own = f"/proc/self/task/{threading.get_native_id()}/ns/net"
    with open(own, "rb") as back:
        enter(f"/run/netns/{name}")
        try:
            yield
        finally:
            assert libc.setns(back.fileno(), NEW_NETWORK) == 0


def ip(*words):
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=20)


def lead_back(network):
    """The lines of the manual."""
    for family, local, everything in (("-4", "127.0.0.1/8", "0.0.0.0/0"), ("-6", "::1/128", "::/0")):
        ip("-n", network, family, "rule", "add", "from", local, "iif", "lo", "table", "123")
        ip("-n", network, family, "route", "add", "local", everything, "dev", "lo", "table", "123")


@pytest.fixture(scope="module")
def networks():
    assert os.geteuid() == 0, "only root makes networks: run the end to end tests as root"
    there, here = (f"vestibule-{os.getpid()}-{side}" for side in ("there", "here"))
    try:
        for name in (there, here):
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        ip("-n", there, "link", "add", "v0", "type", "veth", "peer", "name", "v1", "netns", here)
        for name, device, addresses in ((there, "v0", (THERE, THERE_TOO, THERE6)), (here, "v1", (HERE, HERE6))):
            for address in addresses:
                six = ":" in address
                ip("-n", name, "addr", "add", f"{address}/{64 if six else 24}", "dev", device, *(["nodad"] if six else []))
            ip("-n", name, "link", "set", device, "up")
        lead_back(here)
        yield types.SimpleNamespace(there=there, here=here)
    finally:
        for name in (there, here):
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False, timeout=20)


class Observer(canary_module.Canary):
    """Remembers where its visitors came from."""

    def __init__(self, host):
        super().__init__()
        self.host = host
        greet = self.on["banner"]

        def look(connection, line):
            connection.peer = connection.sock.getpeername()[0]
            greet(connection, line)

        self.on["banner"] = look

    def start(self):
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        self.listener = socket.create_server((self.host, self.port), family=family)
        threading.Thread(target=self._accept, args=(self.listener,), daemon=True).start()
        return self

    @property
    def peers(self):
        return [connection.peer for connection in self.visitors]


class Visitor(client.Client):
    """A client in the other network, from one of its addresses."""

    def __init__(self, networks, vestibule, source=THERE, first=b""):
        target = HERE6 if ":" in source else HERE
        with inside(networks.there):
            self.sock = socket.create_connection((target, vestibule.outside), timeout=15, source_address=(source, 0))
        self.sock.sendall(first)
        self.buffer = b""
        self.context = client.trusting(vestibule.ca)
        self.name = "mail.example.test"
        self.wrap()
        self.greeting = self.reply()


@pytest.fixture
def observer(networks):
    with inside(networks.here):
        stand_in = Observer("127.0.0.1").start()
    yield stand_in
    stand_in.stop()


@pytest.fixture
def start_here(networks, start):
    """As `start`, in the mail server's network, with a listener that the other network reaches."""

    def start_one(upstream, changes=None, **options):
        with inside(networks.here):
            port = net.free_port()
            base = {"upstream": {"identity": "transparent"},
                    "listener outside": {"address": f"*:{port}", "tls": "implicit"}}
            vestibule = start(upstream, program.merge(base, changes or {}), **options)
        vestibule.outside = port
        return vestibule

    return start_one


def own_files(folder, pki, account="nobody"):
    """Certificates and users that this account can read, and nobody else."""
    who, own = pwd.getpwnam(account), folder / f"own{next(numbers)}"
    own.mkdir()
    for path in [pki.users, pki.ecdsa.chain, pki.ecdsa.key]:
        shutil.copy(path, own)
    for path in [own, *own.iterdir()]:
        path.chmod(0o700 if path.is_dir() else 0o600)
        os.chown(path, who.pw_uid, who.pw_gid)
    return {"certificates": [f"{own}/ecdsa.pem {own}/ecdsa.key"], "users": own / "users"}


def deliver(session):
    assert session.login().deliver("r@any.example", MESSAGE).code == 250


def test_the_mta_sees_the_clients_address(networks, start_here, observer):
    vestibule = start_here(observer.port)
    for source in (THERE, THERE_TOO):
        with Visitor(networks, vestibule, source) as session:
            deliver(session)
            session.quit()
    assert observer.peers == [THERE, THERE_TOO]
    message, _ = observer.messages
    assert f"[{THERE}]".encode() in message.wire, "the Received header stays"


def test_likewise_over_ipv6(networks, start_here):
    with inside(networks.here):
        six = Observer("::1").start()
    try:
        vestibule = start_here(six.port, {"upstream": {"address": f"[::1]:{six.port}"}})
        with Visitor(networks, vestibule, THERE6) as session:
            deliver(session)
        six.wait_until_left()
        assert six.peers == [THERE6]
    finally:
        six.stop()


def test_of_several_addresses_that_of_the_clients_family_is_taken(networks, start_here, observer):
    with inside(networks.here):
        six = Observer("::1").start()
    try:
        vestibule = start_here(observer.port, {"upstream": {"address": f"127.0.0.1:{observer.port} [::1]:{six.port}"}})
        for source in (THERE6, THERE):
            with Visitor(networks, vestibule, source) as session:
                deliver(session)
        assert (observer.peers, six.peers) == ([THERE], [THERE6])
    finally:
        six.stop()


def test_a_client_of_the_other_family_is_told_to_come_later(networks, start_here, observer):
    """Never shown as Vestibule's own address instead, which the mail server trusts."""
    vestibule = start_here(observer.port)
    with Visitor(networks, vestibule, THERE6) as session:
        reply = session.login().command("MAIL FROM:<alice@client.test>")
        assert reply == "451 4.3.0", reply
        assert session.command("NOOP").code == 250
    line, = vestibule.wait_logged("event=no_family", THERE6)
    assert "no IPv6 address" in line
    assert observer.peers == []


def test_the_address_of_a_proxy_header_counts(networks, start_here, observer):
    vestibule = start_here(observer.port, {"listener outside": {"proxy_protocol": THERE}})
    with Visitor(networks, vestibule, first=f"PROXY TCP4 203.0.113.77 {HERE} 5555 465\r\n".encode()) as session:
        deliver(session)
    assert observer.peers == ["203.0.113.77"]


def test_who_waited_in_line_comes_from_its_own_address(networks, start_here, observer):
    vestibule = start_here(observer.port, {"upstream": {"max_connections": "1", "queue_timeout": "20s"}})
    with Visitor(networks, vestibule, THERE) as first, Visitor(networks, vestibule, THERE_TOO) as second:
        first.login().envelope("r@any.example")
        second.login().send("MAIL FROM:<alice@client.test>\r\n")
        assert second.quiet(0.3)
        first.quit()
        assert second.reply().code == 250
        assert observer.peers == [THERE, THERE_TOO]
        second.quit()


def test_who_left_the_line_leaves_no_address_behind(networks, start_here, observer):
    vestibule = start_here(observer.port, {"upstream": {"max_connections": "1", "queue_timeout": "20s"}})
    before = len(proc.descriptors(vestibule.pid))
    with Visitor(networks, vestibule, THERE) as first:
        first.login().envelope("r@any.example")
        for _ in range(5):
            with Visitor(networks, vestibule, THERE_TOO) as second:
                second.login().send("MAIL FROM:<alice@client.test>\r\n")
                assert second.quiet(0.05)
        first.quit()
    with Visitor(networks, vestibule, THERE) as third:
        deliver(third)
        third.quit()
    assert THERE in observer.peers
    proc.wait_until(lambda: len(proc.descriptors(vestibule.pid)) <= before, 5, "the vault keeps no socket")


def test_an_mta_that_is_away_is_said_at_once(networks, start_here, observer):
    vestibule = start_here(observer.port, {"upstream": {"queue_timeout": "60s"}})
    with Visitor(networks, vestibule) as session:
        session.login()
        observer.stop()
        reply = session.command("MAIL FROM:<alice@client.test>")
        assert reply == "451 4.4.1", reply
        with inside(networks.here):
            observer.start()
        session.envelope("r@any.example")
        session.quit()
    assert observer.peers == [THERE]


def test_the_vault_keeps_one_right_more_and_the_front_none(networks, start_here, observer, folder, pki):
    vestibule = start_here(observer.port, {"server": {"user": "nobody"}}, **own_files(folder, pki))
    assert int(proc.status(vestibule.pid)["CapEff"], 16) & CAP_NET_RAW
    status = proc.status(vestibule.front)
    assert {status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {"0" * 16}
    with Visitor(networks, vestibule) as session:
        deliver(session)
    assert observer.peers == [THERE]
    with inside(networks.here):
        vestibule.reload()
    vestibule.wait_logged("event=reloaded")
    with Visitor(networks, vestibule, THERE_TOO) as session:
        deliver(session)
    assert observer.peers == [THERE, THERE_TOO]


def test_a_reload_cannot_regain_the_right(networks, start_here, observer, folder, pki):
    vestibule = start_here(observer.port, {"server": {"user": "nobody"}, "upstream": {"identity": "received"}},
                           **own_files(folder, pki))
    assert not int(proc.status(vestibule.pid)["CapEff"], 16) & CAP_NET_RAW
    front = vestibule.front
    vestibule.configure({"upstream": {"identity": "transparent"}})
    os.kill(vestibule.pid, signal.SIGHUP)
    line, = vestibule.wait_logged("event=reload_failed")
    assert "restart Vestibule so that it may keep CAP_NET_RAW" in line
    with Visitor(networks, vestibule) as session:
        deliver(session)
    assert observer.peers == ["127.0.0.1"]
    assert vestibule.front == front


def test_a_reload_of_root_turns_it_on(networks, start_here, observer):
    vestibule = start_here(observer.port, {"upstream": {"identity": "received"}})
    vestibule.configure({"upstream": {"identity": "transparent"}})
    with inside(networks.here):
        vestibule.reload()
    vestibule.wait_logged("event=reloaded")
    with Visitor(networks, vestibule) as session:
        deliver(session)
    assert observer.peers == [THERE]


@pytest.mark.parametrize("lowered", [
    ["setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups"],
    ["setpriv", "--bounding-set", "-net_raw,-net_admin"]], ids=["another user", "a root that lacks it"])
def test_without_the_right_it_does_not_start(folder, pki, observer, lowered):
    files = own_files(folder, pki)
    folder.chmod(0o755)
    vestibule = program.Vestibule(folder / "v", files["certificates"], files["users"], observer.port,
                                  {"upstream": {"identity": "transparent"}})
    os.chown(vestibule.state, pwd.getpwnam("nobody").pw_uid, -1)
    vestibule.configure()
    ended = subprocess.run([*lowered, program.BINARY, "-c", vestibule.path], capture_output=True, text=True, timeout=20,
                           env=program.environment(), check=False)
    assert ended.returncode == 1, ended.stderr
    assert "identity = transparent needs CAP_NET_RAW" in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1, ended.stderr


def test_exim_judges_the_client_itself(networks, start_here):
    """It relays for localhost; with `received` it takes everybody for that, now it knows better."""
    with inside(networks.here):
        exim = mta_module.Exim()
    try:
        with inside(networks.here):
            exim.start()
        vestibule = start_here(exim.port)
        with Visitor(networks, vestibule) as session:
            session.login()
            assert session.command("MAIL FROM:<alice@client.test>").code == 250
            assert session.command("RCPT TO:<r@any.example>").code == 550
        proc.wait_until(lambda: f"[{THERE}]" in exim.log(), 5, "Exim's log names the client")
    finally:
        with inside(networks.here):
            exim.remove()
