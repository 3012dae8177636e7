"""The program under test, in the foreground, with a configuration of its own on ports of its own."""

import contextlib
import os
import pathlib
import re
import signal
import subprocess
import time

import client
import net
import proc

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
BINARY = pathlib.Path(os.environ.get("VESTIBULE_BINARY", REPOSITORY / "build/vestibule")).absolute()
SANITIZER_REPORT = re.compile(r"(ERROR|WARNING): \w+Sanitizer.*|\S+: runtime error: .*")

# Sanitizers make a process slower and larger; what a test says of time and memory it says of the plain build.
SANITIZED = BINARY.exists() and any(mark in BINARY.read_bytes() for mark in (b"__asan_init", b"__tsan_init"))

# Those that run now, so that a failing test can show their logs.
live = []


def environment(**more):
    """Nothing of ours but what a sanitizer is told."""
    kept = {name: value for name, value in os.environ.items() if name.endswith("SAN_OPTIONS")}
    return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **kept, **more}


def run(*arguments, stdin="", timeout=30, **more):
    """A command of the program that ends by itself."""
    return subprocess.run([BINARY, *map(str, arguments)], input=stdin, capture_output=True, text=True, timeout=timeout,
                          env=environment(**more))


def render(settings):
    """A configuration file of {section: {key: value}}; a list is a repeated key, None is left out."""
    lines = []
    for section, keys in settings.items():
        if keys is None:
            continue
        lines.append(f"[{section}]")
        for key, value in keys.items():
            for one in value if isinstance(value, list) else [value]:
                if one is not None:
                    lines.append(f"{key} = {one}")
        lines.append("")
    return "\n".join(lines)


def merge(settings, changes):
    merged = {section: dict(keys) for section, keys in settings.items()}
    for section, keys in changes.items():
        merged[section] = None if keys is None else {**(merged.get(section) or {}), **keys}
    return merged


class Vestibule:
    def __init__(self, folder, certificates, users, upstream, changes=None, prefix=()):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.implicit = net.free_port()
        self.starttls = net.free_port()
        while self.starttls == self.implicit:
            self.starttls = net.free_port()
        self.state = self.folder / "state"
        self.state.mkdir(exist_ok=True)
        self.path = self.folder / "vestibule.conf"
        self.log_path = self.folder / "log"
        self.settings = merge({
            "server": {"hostname": "mail.example.test", "workers": 2, "state_dir": self.state, "drain_timeout": "5s"},
            "tls": {"certificate": [str(certificate) for certificate in certificates]},
            "listener submissions": {"address": f"127.0.0.1:{self.implicit}", "tls": "implicit"},
            "listener submission": {"address": f"127.0.0.1:{self.starttls}", "tls": "starttls"},
            "auth": {"backend": f"file:{users}", "failure_delay": "0"},
            "upstream": {"address": f"127.0.0.1:{upstream}", "queue_timeout": "1s"},
        }, changes or {})
        self.prefix = prefix  # of its command line: unshare and the like
        self.process = None

    def port(self, tls):
        return self.implicit if tls == "implicit" else self.starttls

    def configure(self, changes=None):
        self.settings = merge(self.settings, changes or {})
        self.path.write_text(render(self.settings))
        self.path.chmod(0o644)

    def start(self, wait=True):
        self.configure()
        with self.log_path.open("a") as log:
            self.process = subprocess.Popen([*self.prefix, BINARY, "-c", self.path], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env=environment(), cwd=self.folder)
        live.append(self)
        if wait and "proxy_protocol" in self.settings["listener submission"]:
            self.wait_logged("event=ready")
        elif wait:
            net.wait_for_banner(self.starttls, "vestibule", log=self.log, alive=lambda: self.process.poll() is None)
        return self

    def stop(self, status=0):
        """As a service manager does it; an orderly end and nothing left behind."""
        if self in live:
            live.remove(self)
        if self.process is None:
            return
        process, self.process = self.process, None
        family = proc.descendants(process.pid)
        process.send_signal(signal.SIGTERM)
        try:
            ended = process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"did not end within 30 s of SIGTERM\n{self.log()}") from None
        assert ended == status, f"ended with status {ended}\n{self.log()}"
        assert (report := SANITIZER_REPORT.search(self.log())) is None, f"{report.group()}\n{self.log()}"
        proc.wait_until(lambda: not [pid for pid in family if proc.alive(pid)], 2, "the front ends with the vault")

    @property
    def pid(self):
        return self.process.pid

    @property
    def fronts(self):
        return proc.children(self.pid)

    @property
    def front(self):
        """The one front, once there is just one."""
        proc.wait_until(lambda: len(self.fronts) == 1, 10, "there is one front")
        return self.fronts[0]

    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def log_lines(self, *patterns):
        """Lines of the log that hold each of the patterns."""
        return [line for line in self.log().splitlines() if all(re.search(pattern, line) for pattern in patterns)]

    def wait_logged(self, *patterns, count=1, seconds=5):
        proc.wait_until(lambda: len(self.log_lines(*patterns)) >= count, seconds,
                        f"the log says {' and '.join(patterns)}; it says\n{self.log()}")
        return self.log_lines(*patterns)

    def reload(self):
        """SIGHUP, and wait until the new front has taken over from the old one."""
        old = self.fronts
        self.process.send_signal(signal.SIGHUP)
        proc.wait_until(lambda: [pid for pid in self.fronts if pid not in old], 5,
                        f"SIGHUP starts a new front\n{self.log()}")

    def connect(self, tls="implicit", **options):
        options.setdefault("context", client.trusting(self.ca))
        return client.Client(self.port(tls), tls, **options)

    def plaintext(self, tls="starttls", **options):
        """A connection on which TLS does not begin by itself."""
        return client.Client(self.port(tls), None, context=client.trusting(self.ca), **options)


@contextlib.contextmanager
def running(folder, pki, upstream, changes=None, certificates=None, users=None, prefix=()):
    """Starts it; stops it again and checks that the end was an orderly one."""
    vestibule = Vestibule(folder, certificates or pki.certificates, users or pki.users, upstream, changes, prefix)
    vestibule.ca = pki.authority.certificate
    try:
        yield vestibule.start()
    except BaseException:
        with contextlib.suppress(AssertionError):
            vestibule.stop()
        raise
    else:
        vestibule.stop()
