"""What the servers under comparison have in common: a folder, a port, one core, and a tree of processes."""

import gzip
import os
import pathlib
import re
import signal
import socket
import ssl
import subprocess
import sys
import time

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
BUILD = REPOSITORY / os.environ.get("BUILD", "build")
UNPACKED = REPOSITORY / "build/unpacked"
sys.path.append(str(REPOSITORY / "test/e2e"))

import net  # noqa: E402
import pki  # noqa: E402

USER, PASSWORD = "alice@bench.test", "correct horse battery"
TICK = os.sysconf("SC_CLK_TCK")


class Failed(Exception):
    """A server does not do what it should; one sentence."""


def version(package):
    """As the package's own changelog says it."""
    documentation = UNPACKED / package / "usr/share/doc" / package
    for changelog in documentation.glob("changelog.Debian*.gz"):
        with gzip.open(changelog, "rt", errors="replace") as file:
            return re.search(r"\((.*?)\)", file.readline()).group(1)
    return "?"


def tree(pid):
    """The process and its descendants, from one look at /proc: there may be a thousand."""
    children = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            parent = pathlib.Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[1]
        except OSError:
            continue
        children.setdefault(int(parent), []).append(int(name))
    found = [pid]
    for one in found:
        found += children.get(one, ())
    return found


def cpu_seconds(pid):
    """User and system time of a process, its descendants, and those of them that have ended."""
    total = 0
    for one in tree(pid):
        try:
            # The process's own clock, to the nanosecond, threads that have ended included: clock_getcpuclockid(3).
            total += time.clock_gettime(~one << 3 | 2)
            fields = pathlib.Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # ended just now
        total += (int(fields[13]) + int(fields[14])) / TICK  # children that it has waited for
    return total


def thread_seconds(pid):
    """CPU time of each thread of the processes below this one."""
    found = {}
    for task in [task for one in tree(pid)[1:] for task in pathlib.Path(f"/proc/{one}/task").glob("*")]:
        try:
            found[int(task.name)] = int((task / "schedstat").read_text().split()[0]) / 1e9
        except OSError:
            pass  # ended just now
    return found


def proportional_memory(pid):
    """Octets, pages that processes share counted once."""
    total = 0
    for one in tree(pid):
        try:
            rollup = pathlib.Path(f"/proc/{one}/smaps_rollup").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        total += int(re.search(r"^Pss:\s+(\d+)", rollup, re.M).group(1)) * 1024
    return total


def hashed(password):
    """SHA-512 crypt, as most systems' passwords are."""
    return pki.openssl("passwd", "-6", "-stdin", input=password.encode()).decode().strip()


def listens(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True


class Site:
    """What all servers share: a folder, certificates, the cores, and the sink behind them."""

    def __init__(self, folder, server_cores, load_cores):
        self.folder = pathlib.Path(folder)
        self.folder.chmod(0o755)
        self.server_cores, self.load_cores = server_cores, load_cores
        self.all_cores = sorted({*server_cores, *load_cores})
        self.sink_port, self.open_sink_port = net.free_port(), net.free_port()  # the latter takes any password
        authority = pki.Authority(self.folder)
        self.authority = authority.certificate
        self.certificates = {kind: authority.issue(kind, kind=kind) for kind in ("ecdsa", "rsa")}
        self.users, self.logins, self.strangers = (self.folder / name for name in ("users", "logins", "strangers"))
        self.users.write_text(f"{USER}:{hashed(PASSWORD)}\n")
        self.users.chmod(0o644)
        self.logins.write_text(f"{USER}:{PASSWORD}\n")
        self.strangers.write_text("".join(f"stranger{n}@bench.test:unknown\n" for n in range(100)))

    def context(self):
        return ssl.create_default_context(cafile=self.authority)


class Server:
    """One program that takes TLS connections on `port` and goes on in plain SMTP to the sink.

    It runs as its package installs it, but from where the package was unpacked, in a mount namespace of its own where
    the package's files are in their place."""

    name = "?"
    packages = ()  # the first one's version is the server's
    ready = b"220"  # how it greets once it works
    concurrency = 32  # sessions at a time that it bears
    idle_sessions = 5000  # fewer where each is a process
    checks_passwords = True

    def __init__(self, site, kind="ecdsa", cores=None):
        self.site = site
        self.certificate = site.certificates[kind]
        self.cores = cores or site.server_cores[:1]
        self.folder = (site.folder / f"{self.name.replace(' ', '-')}-{kind}")
        self.folder.mkdir(exist_ok=True)
        self.folder.chmod(0o755)
        self.port = net.free_port()
        self.sink_port = site.sink_port if self.checks_passwords else site.open_sink_port
        self.process = None

    @classmethod
    def missing(cls):
        return [package for package in cls.packages if not (UNPACKED / package).is_dir()]

    @classmethod
    def version(cls):
        return version(cls.packages[0])

    def command(self):
        """Writes the configuration; the program and its arguments, in the foreground."""
        raise NotImplementedError

    def write(self, name, text, mode=0o644):
        path = self.folder / name
        path.write_text(text)
        path.chmod(mode)
        return path

    def pem(self):
        """Chain and key in one file."""
        return self.write("both.pem", self.certificate.chain.read_text() + self.certificate.key.read_text())

    def start(self):
        self.log_path = self.folder / "log"
        with open(self.log_path, "a") as log:
            self.process = subprocess.Popen(inside(self.packages, self.cores, self.command()), stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, cwd=self.folder, start_new_session=True,
                                            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
        deadline = time.monotonic() + 15
        while not self.greets():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise Failed(f"{self.name} does not start; its log: {self.log()}")
            time.sleep(0.05)
        return self

    def greets(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as plain:
                with self.site.context().wrap_socket(plain, server_hostname="localhost") as tls:
                    return tls.recv(512).startswith(self.ready)
        except OSError:
            return False

    def log(self):
        return self.log_path.read_text(errors="replace")[-2000:]

    def stop(self):
        if self.process is None:
            return
        family = tree(self.process.pid)
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(0.3)
        except subprocess.TimeoutExpired:
            pass  # nothing in there is worth a longer wait
        for pid in family:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait(10)
        self.process = None

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    def cpu_seconds(self):
        return cpu_seconds(self.process.pid)

    def thread_seconds(self):
        return thread_seconds(self.process.pid)

    def memory(self):
        return proportional_memory(self.process.pid)


def inside(packages, cores, command):
    """The command on these cores, and where /usr has the unpacked packages in it."""
    pinned = ["taskset", "-c", ",".join(map(str, cores)), *map(str, command)]
    if not packages:
        return pinned
    lower = ":".join(f"{UNPACKED}/{package}/usr" for package in packages)
    return ["unshare", "--mount", "sh", "-c",
            f'mount -t overlay overlay -o "lowerdir={lower}:/usr" /usr && exec "$@"', "sh", *pinned]


