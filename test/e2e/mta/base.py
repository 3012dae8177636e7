"""What the mail servers have in common here: a folder, a port, a Maildir, and libraries found beside the program."""

import grp
import gzip
import os
import pathlib
import pwd
import re
import shutil
import subprocess
import tempfile
import time

import net

REPOSITORY = pathlib.Path(__file__).resolve().parents[3]
UNPACKED = REPOSITORY / "build" / "unpacked"

# Headers that a mail server puts on top of what it was given, and that it adds where a message has none.
TRACE = {b"return-path", b"x-original-to", b"delivered-to", b"envelope-to", b"received", b"delivery-date"}
ADDED = {b"message-id", b"date", b"from", b"to"}


def unpacked(package):
    """The folder of a package's files; test/install puts it there before a whole test run."""
    folder = UNPACKED / package
    if folder.is_dir():
        return folder
    UNPACKED.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=UNPACKED) as work:
        subprocess.run(["apt-get", "download", "-q", "-o", "APT::Sandbox::User=root", package], cwd=work,
                       check=True, capture_output=True, timeout=120)
        deb = next(pathlib.Path(work).glob("*.deb"))
        subprocess.run(["dpkg", "-x", deb, f"{work}/files"], check=True, timeout=60)
        os.chmod(f"{work}/files", 0o755)
        os.rename(f"{work}/files", folder)
    return folder


def library_path(package, programs):
    """Where the programs find libraries that the machine itself may lack."""
    root = unpacked(package)
    folders = {str(found.parent) for found in root.rglob("*.so*")}
    if _missing(programs, folders):
        for dependency in _library_packages(package):
            folders |= {str(found.parent) for found in unpacked(dependency).rglob("*.so*")}
    still = _missing(programs, folders)
    assert not still, f"{package} needs libraries that were not found: {', '.join(sorted(still))}"
    return ":".join(sorted(folders))


def _missing(programs, folders):
    environment = dict(os.environ, LD_LIBRARY_PATH=":".join(folders))
    missing = set()
    for program in programs:
        listing = subprocess.run(["ldd", program], env=environment, capture_output=True, text=True, timeout=20).stdout
        missing |= set(re.findall(r"(\S+) => not found", listing))
    return missing


def _library_packages(package):
    listing = subprocess.run(["apt-cache", "depends", "--no-recommends", "--no-suggests", package], check=True,
                             capture_output=True, text=True, timeout=60).stdout
    for name in re.findall(r"Depends: (lib\S+)", listing):
        status = subprocess.run(["dpkg-query", "-W", "-f", "${db:Status-Status}", name], capture_output=True, text=True)
        if status.stdout != "installed":
            yield name


def version(package):
    """As the package's own changelog says it."""
    folder = unpacked(package) / "usr/share/doc" / package
    with gzip.open(next(folder.glob("changelog.Debian*.gz")), "rt", errors="replace") as changelog:
        return re.search(r"\((.*?)\)", changelog.readline()).group(1)


def need_user(name):
    """A system user by a name that the server insists on; made only where there is none."""
    try:
        return pwd.getpwnam(name)
    except KeyError:
        subprocess.run(["useradd", "--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent",
                        "--shell", "/usr/sbin/nologin", name], check=True, timeout=20)
        return pwd.getpwnam(name)


def need_group(name):
    try:
        return grp.getgrnam(name)
    except KeyError:
        subprocess.run(["groupadd", "--system", name], check=True, timeout=20)
        return grp.getgrnam(name)


class Mta:
    """A server that accepts mail for every address from localhost and puts it into a Maildir."""

    name = "?"
    package = "?"  # the one whose version is the server's

    def __init__(self):
        assert os.geteuid() == 0, f"{self.name} starts as root only: run the end to end tests as root"
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix=f"vestibule-{self.name}-"))
        self.folder.chmod(0o755)
        self.port = net.free_port()
        self.daemon = None
        self.mail = self.folder / "mail"
        for part in ("new", "cur", "tmp"):
            (self.mail / part).mkdir(parents=True)

    def start(self):
        raise NotImplementedError

    def stop(self):
        if self.daemon is None:
            return
        self.daemon.terminate()
        self.daemon.wait(10)
        self.daemon = None
        net.wait_until_closed(self.port)

    def queue(self):
        """Files of messages that are not delivered yet, or only half received."""
        raise NotImplementedError

    def remove(self):
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def log(self):
        return "".join(path.read_text(errors="replace") for path in sorted((self.folder / "log").glob("*")))

    def wait_started(self):
        net.wait_for_banner(self.port, what=self.name, log=self.log)

    def settle(self, seconds=10):
        """Until everything that was received is delivered and everything half received is forgotten."""
        deadline = time.monotonic() + seconds
        quiet = 0
        while quiet < 3:
            quiet = 0 if self.queue() else quiet + 1
            assert time.monotonic() < deadline, f"{self.name} still holds {self.queue()}\n{self.log()}"
            time.sleep(0.02)

    def inbox(self, recipient):
        """Whole messages that arrived for an address, line ends as LF."""
        marks = [f"\n{header}: {recipient}\n".encode() for header in ("Delivered-To", "Envelope-to")]
        found = []
        for path in sorted((self.mail / "new").iterdir()):
            message = path.read_bytes()
            if any(mark in b"\n" + message[:4096] for mark in marks):
                found.append(message)
        return found

    def arrived(self, recipient, count=1, seconds=15):
        """Waits for messages to an address; returns them when there are that many and no more are on the way."""
        deadline = time.monotonic() + seconds
        while len(self.inbox(recipient)) < count and time.monotonic() < deadline:
            time.sleep(0.02)
        self.settle()
        messages = self.inbox(recipient)
        assert len(messages) == count, f"{len(messages)} messages for {recipient} instead of {count}\n{self.log()[-4000:]}"
        return messages


def content(message, sent):
    """What is left of a message from the spool without trace headers; `sent` is what the client said, CR LF ends.

    Only headers that a mail server may add are taken away; where the client sent no header at all, those that it must
    add as well."""
    sent = sent.replace(b"\r\n", b"\n")
    if message.endswith(sent) and _headers_in(message[: len(message) - len(sent)], TRACE):
        return sent
    head, _, body = message.partition(b"\n\n")
    if _headers_in(head.rstrip(b"\n") + b"\n", TRACE | ADDED):
        return body
    return message


def _headers_in(head, names):
    lines = re.sub(rb"\n[ \t]+", b" ", head).split(b"\n")
    return lines[-1] == b"" and all(line.partition(b":")[0].lower() in names for line in lines[:-1])
